import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.load import load_config
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import ConfigError

pytestmark = pytest.mark.unit

MODEL = build_config_model()


@pytest.fixture(autouse=True)
def empty_folders(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def load(source=None, *, env=None, overrides=None, model=MODEL):
    return load_config(source, model=model, env=env or {}, overrides=overrides or {})


def refused(source, **options):
    with pytest.raises(ConfigError) as caught:
        load(source, **options)
    return str(caught.value)


def write(text, name="voicecall.json5"):
    Path(name).write_text(text)
    return Path(name)


REPORT_A = """{
  "provider": "twilio",
  "twilio": { "accountSid": "ACxxx", "authToken": "xxx" },
  "fromNumber": "+12670000000",
  "inboundPolicy": "open",
  "inboundGreeting": "Hello, this is Clawdbot. I'm here to help you today.",
  "skipSignatureVerification": true,
  "maxConcurrentCalls": 20,
  "publicUrl": "https://xxx.tail0b12a7.ts.net/voice/webhook",
  "tunnel": { "provider": "none" },
  "outbound": { "defaultMode": "conversation", "notifyHangupDelaySec": 3 },
  "streaming": { "enabled": true, "streamPath": "/voice/stream", "openaiApiKey": "sk-proj-xxx" },
  "responseModel": "xai/grok-4-1-fast-reasoning",
  "responseTimeoutMs": 20000,
  "tts": { "provider": "elevenlabs",
           "elevenlabs": { "apiKey": "xxx", "voiceId": "54noaetjxv80HAvkIbfQ", "modelId": "eleven_turbo_v2_5" } }
}"""


def test_the_configuration_of_a_user_of_early_2026_loads_unchanged():
    loaded = load(write(REPORT_A, "openclaw.json"))
    assert loaded.notices == (
        "streaming.openaiApiKey is now streaming.providers.openai.apiKey.",
        "streaming.provider is not set; openai is used, because its settings are there.",
        "tts.elevenlabs is now tts.providers.elevenlabs, where voiceId is speakerVoiceId.",
        "These settings are accepted and have no effect here: skipSignatureVerification.",
    )
    config = loaded.config
    assert (config.provider, config.from_number, config.max_concurrent_calls) == (
        "twilio",
        "+12670000000",
        20,
    )
    assert config.outbound.default_mode == "conversation"
    assert config.response_model == "xai/grok-4-1-fast-reasoning"
    transcriber = config.transcriber_settings(config.streaming.provider)
    assert transcriber.api_key.get_secret_value() == "sk-proj-xxx"
    voice = config.synthesizer_settings(config.tts.provider)
    assert (voice.speaker_voice_id, voice.model_id) == ("54noaetjxv80HAvkIbfQ", "eleven_turbo_v2_5")


ALL_OF_OPENCLAW = {
    "enabled": True,
    "provider": "twilio",
    "fromNumber": "+15550001234",
    "toNumber": "+15550005678",
    "agentId": "main",
    "sessionScope": "per-call",
    "numbers": {
        "+15550001111": {
            "inboundGreeting": "Hi.",
            "tts": {"provider": "openai", "providers": {"openai": {"speakerVoice": "nova"}}},
            "agentId": "second",
            "responseModel": "openai/gpt-5",
            "responseSystemPrompt": "Be short.",
            "responseTimeoutMs": 10000,
        }
    },
    "inboundPolicy": "allowlist",
    "allowFrom": ["+15550005678"],
    "inboundGreeting": "Hello.",
    "maxDurationSeconds": 300,
    "staleCallReaperSeconds": 120,
    "silenceTimeoutMs": 800,
    "transcriptTimeoutMs": 180000,
    "ringTimeoutMs": 30000,
    "maxConcurrentCalls": 1,
    "outbound": {"defaultMode": "notify", "notifyHangupDelaySec": 3},
    "skipSignatureVerification": False,
    "store": "~/calls",
    "responseModel": "openai/gpt-5",
    "responseSystemPrompt": "Be kind.",
    "responseTimeoutMs": 30000,
    "twilio": {"accountSid": "AC1", "authToken": "t", "region": "ie1"},
    "telnyx": {"apiKey": "k", "connectionId": "c", "publicKey": "p"},
    "plivo": {"authId": "MA1", "authToken": "t"},
    "serve": {"port": 3334, "bind": "127.0.0.1", "path": "/voice/webhook"},
    "publicUrl": "https://voice.example.com/voice/webhook",
    "tunnel": {
        "provider": "ngrok",
        "ngrokAuthToken": "t",
        "ngrokDomain": "example.ngrok.app",
        "allowNgrokFreeTierLoopbackBypass": True,
    },
    "webhookSecurity": {
        "allowedHosts": ["voice.example.com"],
        "trustForwardingHeaders": True,
        "trustedProxyIPs": ["100.64.0.1"],
    },
    "streaming": {
        "enabled": True,
        "provider": "openai",
        "streamPath": "/voice/stream",
        "providers": {
            "openai": {
                "apiKey": "k",
                "model": "gpt-4o-transcribe",
                "silenceDurationMs": 800,
                "vadThreshold": 0.5,
            },
            "xai": {"apiKey": "k", "endpointingMs": 800, "language": "en"},
            "deepgram": {"apiKey": "k", "model": "nova-3"},
            "elevenlabs": {"apiKey": "k"},
            "mistral": {"apiKey": "k"},
        },
        "preStartTimeoutMs": 5000,
        "maxPendingConnections": 32,
        "maxPendingConnectionsPerIp": 4,
        "maxConnections": 128,
    },
    "realtime": {
        "enabled": False,
        "provider": "openai",
        "streamPath": "/voice/stream/realtime",
        "instructions": "Be brief.",
        "toolPolicy": "safe-read-only",
        "consultPolicy": "substantive",
        "consultThinkingLevel": "low",
        "consultFastMode": True,
        "tools": [{"type": "function", "name": "x"}],
        "agentContext": {
            "enabled": True,
            "maxChars": 4000,
            "includeIdentity": True,
            "includeWorkspaceFiles": True,
            "files": ["SOUL.md"],
        },
        "fastContext": {"enabled": True, "timeoutMs": 500, "fallbackToConsult": True},
        "providers": {
            "openai": {"apiKey": "k", "model": "gpt-realtime", "voice": "cedar"},
            "google": {
                "apiKey": "k",
                "model": "m",
                "speakerVoice": "Kore",
                "silenceDurationMs": 500,
                "startSensitivity": "high",
                "endSensitivity": "low",
            },
        },
    },
    "tts": {
        "provider": "elevenlabs",
        "providers": {
            "elevenlabs": {
                "apiKey": "k",
                "speakerVoiceId": "v",
                "modelId": "m",
                "baseUrl": "https://api.example.com",
                "seed": 1,
                "languageCode": "en",
                "applyTextNormalization": "auto",
                "voiceSettings": {
                    "stability": 0.5,
                    "similarityBoost": 0.5,
                    "style": 0,
                    "useSpeakerBoost": True,
                    "speed": 1.1,
                },
            },
            "openai": {"apiKey": "k", "model": "m", "speakerVoice": "alloy"},
        },
        "auto": "off",
        "mode": "final",
        "timeoutMs": 30000,
        "maxTextLength": 4000,
    },
}


def test_every_key_of_openclaw_is_accepted_and_what_has_no_effect_is_named_once():
    loaded = load(ALL_OF_OPENCLAW)
    assert loaded.notices == (
        "These settings are accepted and have no effect here: tunnel.allowNgrokFreeTierLoopbackBypass, "
        "streaming.maxPendingConnectionsPerIp, "
        "tts.auto, tts.mode, tts.timeoutMs, tts.maxTextLength.",
    )
    assert loaded.config.webhook_security.trusted_proxy_ips == ("100.64.0.1",)
    assert loaded.config.store == Path("~/calls").expanduser()


@pytest.mark.parametrize("mode", ["off", "serve", "funnel"])
def test_the_tailscale_section_is_accepted(mode):
    loaded = load({"tailscale": {"mode": mode, "path": "/voice/webhook", "port": 8443}})
    assert loaded.config.tailscale is None
    assert loaded.config.tunnel.port == (443 if mode == "off" else 8443)


@pytest.mark.parametrize("provider", ["twilio", "telnyx", "plivo", "mock", "log", "local"])
def test_every_carrier_of_openclaw_is_accepted(provider):
    assert load({"provider": provider}).config.provider == {"mock": "local", "log": "local"}.get(
        provider, provider
    )


def test_what_of_a_realtime_model_has_no_effect_is_named_once_it_is_switched_on():
    realtime = {"enabled": True, "consultFastMode": True, "toolPolicy": "owner"}
    assert load({"realtime": realtime}).notices == (
        "These settings are accepted and have no effect here: realtime.consultFastMode.",
    )


def test_realtime_and_streaming_do_not_go_together():
    message = refused({"realtime": {"enabled": True}, "streaming": {"enabled": True}})
    assert message.endswith("expected one of realtime.enabled and streaming.enabled, found both")


def test_no_file_means_defaults():
    loaded = load()
    assert (loaded.path, loaded.notices) == (None, ())
    assert (loaded.config.provider, loaded.config.serve.port) == ("local", 3334)


def test_files_are_looked_for_here_and_then_in_the_users_folder(tmp_path):
    users = tmp_path / "config" / "openclaw-voicecall"
    users.mkdir(parents=True)
    (users / "voicecall.yaml").write_text("serve: {port: 1}")
    assert load().config.serve.port == 1
    write("{serve: {port: 2}}", "voicecall.json")
    assert load().config.serve.port == 2
    write("{serve: {port: 3}}", "voicecall.json5")
    loaded = load()
    assert (loaded.config.serve.port, loaded.path) == (3, Path("voicecall.json5"))
    assert loaded.notices == ("voicecall.json is ignored: voicecall.json5 is there too.",)
    write("{serve: {port: 4}}", "other.conf")
    assert load(env={"OPENCLAW_VOICECALL_CONFIG": "other.conf"}).config.serve.port == 4
    assert load("voicecall.json", env={"OPENCLAW_VOICECALL_CONFIG": "other.conf"}).config.serve.port == 2


def test_a_host_program_hands_the_configuration_over_in_the_variable():
    env = {"OPENCLAW_VOICECALL_CONFIG": '{"serve": {"port": 5}, "python": "/usr/bin/python3"}'}
    assert load(env=env).config.serve.port == 5
    message = refused(None, env={"OPENCLAW_VOICECALL_CONFIG": '{"serve": {"port": "x"}}'})
    assert message == "$OPENCLAW_VOICECALL_CONFIG, line 1: serve.port: expected a whole number, found 'x'"


def test_a_whole_openclaw_json_is_taken_with_its_lines():
    whole = {
        "gateway": {"port": 1},
        "plugins": {"entries": {"voice-call": {"enabled": False, "config": {"serve": {"port": 6}}}}},
    }
    loaded = load(write(json.dumps(whole), "openclaw.json"))
    assert (loaded.config.serve.port, loaded.config.enabled) == (6, False)
    whole["plugins"]["entries"]["voice-call"]["config"]["serve"]["prt"] = 7
    message = refused(write(json.dumps(whole, indent=1), "openclaw.json"))
    assert message == 'openclaw.json, line 12: serve.prt: unknown setting; did you mean "port"?'


def test_an_openclaw_json_without_voice_calls_is_refused():
    message = refused(write('{"plugins": {"entries": {"other": {}}}}', "openclaw.json"))
    assert (
        message
        == "openclaw.json: expected the settings of voice calls at plugins.entries.voice-call.config, found none"
    )


def test_our_own_plugins_section_is_not_taken_for_openclaws():
    assert load({"plugins": {"disabled": ["x"]}}).config.plugins.disabled == ("x",)


def test_command_line_beats_environment_beats_file():
    path = write("{serve: {port: 1, bind: '0.0.0.0', path: '/f'}}")
    env = {"VOICECALL_SERVE__PORT": "2", "VOICECALL_SERVE__BIND": "::1"}
    serve = load(path, env=env, overrides={"serve.port": 3, "serve": {"drain_seconds": 9}}).config.serve
    assert (serve.port, serve.bind, serve.path, serve.drain_seconds) == (3, "::1", "/f", 9)


def test_options_that_were_not_given_change_nothing():
    path = write("{serve: {port: 1}}")
    assert load(path, overrides={"serve.port": None, "from_number": None}).config.serve.port == 1


def test_the_environment_sets_every_kind_of_value():
    env = {
        "VOICECALL_FROM_NUMBER": "+15550001234",
        "VOICECALL_MAX_CONCURRENT_CALLS": "3",
        "VOICECALL_RECORDING__ENABLED": "yes",
        "VOICECALL_STREAMING__ENABLED": "0",
        "VOICECALL_ALLOW_FROM": "+15550001234, +15550001235",
        "VOICECALL_PLUGINS__MODULES": '["a", "b"]',
        "VOICECALL_WEBHOOK_SECURITY__TRUSTED_PROXY_IPS": "10.0.0.0/8",
        "VOICECALL_TTS__PROVIDERS__OPENAI__API_KEY": "k",
        "VOICECALL_NUMBERS": '{"+15550001111": {"agentId": "a"}}',
        "VOICECALL_STREAMING__PROVIDERS__OPENAI__VAD_THRESHOLD": "0.4",
        "VOICECALL_INBOUND_GREETING": "  ",
        "VOICECALL_RESPONSE_SYSTEM_PROMPT": "123",
    }
    config = load(env=env).config
    assert (config.from_number, config.max_concurrent_calls) == ("+15550001234", 3)
    assert (config.recording.enabled, config.streaming.enabled) == (True, False)
    assert config.allow_from == ("+15550001234", "+15550001235")
    assert config.plugins.modules == ("a", "b")
    assert config.webhook_security.trusted_proxy_ips == ("10.0.0.0/8",)
    assert config.tts.providers.openai.api_key.get_secret_value() == "k"
    assert config.numbers["+15550001111"].agent_id == "a"
    assert config.streaming.providers.openai.vad_threshold == 0.4
    assert config.inbound_greeting.startswith("Hello")
    assert config.response_system_prompt == "123"


def test_wrong_values_in_the_environment_name_the_variable():
    env = {"VOICECALL_SERVE__PORT": "many", "VOICECALL_NUMBERS": "x", "VOICECALL_PROVIDER": "local"}
    assert refused(None, env=env) == (
        "the configuration: 2 problems\n"
        "  numbers (given by VOICECALL_NUMBERS): expected a group of settings as JSON\n"
        "  serve.port (given by VOICECALL_SERVE__PORT): expected a whole number, found 'many'"
    )


def test_an_unknown_variable_gets_a_notice_with_the_nearest_name():
    loaded = load(env={"VOICECALL_SRVE__PORT": "1", "VOICECALL_SERVE__PRT": "1", "VOICECALL_ZZZ": "1"})
    assert loaded.notices == (
        'VOICECALL_SERVE__PRT is not a setting; did you mean "port"?',
        'VOICECALL_SRVE__PORT is not a setting; did you mean "serve"?',
        "VOICECALL_ZZZ is not a setting.",
    )


def test_wrong_values_on_the_command_line_say_so():
    message = refused({}, overrides={"serve.port": 70000})
    assert message == (
        "the configuration of the host: serve.port (given by the command line): expected at most 65535, found 70000"
    )


@pytest.mark.parametrize(
    ("provider", "env", "field", "value"),
    [
        ("twilio", "TWILIO_ACCOUNT_SID", "account_sid", "AC1"),
        ("telnyx", "TELNYX_CONNECTION_ID", "connection_id", "c"),
        ("plivo", "PLIVO_AUTH_ID", "auth_id", "MA1"),
    ],
)
def test_openclaws_variables_fill_the_selected_carrier(provider, env, field, value):
    config = load({"provider": provider}, env={env: value}).config
    assert getattr(config.carrier_settings(provider), field) == value


def test_openclaws_variables_do_not_overrule_the_file_and_configure_no_vendor_alone():
    env = {"TWILIO_AUTH_TOKEN": "env", "OPENAI_API_KEY": "key", "TWILIO_FROM_NUMBER": "+15550001234"}
    config = load({}, env=env).config
    assert config.carrier_settings("twilio").auth_token is None
    assert (config.from_number, config.streaming.provider) == (None, "local")
    raw = {"provider": "twilio", "twilio": {"authToken": "file"}, "tts": {"provider": "openai"}}
    config = load(raw, env=env).config
    assert config.carrier_settings("twilio").auth_token.get_secret_value() == "file"
    assert config.from_number == "+15550001234"
    assert config.synthesizer_settings("openai").api_key.get_secret_value() == "key"


def test_ngrok_and_state_folder_come_from_openclaws_variables():
    env = {"NGROK_AUTHTOKEN": "t", "NGROK_DOMAIN": "d", "OPENCLAW_STATE_DIR": "/var/lib/openclaw/"}
    config = load({"tunnel": {"provider": "ngrok"}}, env=env).config
    assert (config.tunnel.ngrok_auth_token.get_secret_value(), config.tunnel.ngrok_domain) == ("t", "d")
    assert config.store == Path("/var/lib/openclaw/voice-calls")
    assert load({"store": "/x"}, env=env).config.store == Path("/x")
    assert load({}, env={"NGROK_AUTHTOKEN": "t"}).config.tunnel.ngrok_auth_token is None


def test_a_secret_from_the_environment_is_not_read_as_a_reference():
    config = load({"provider": "twilio"}, env={"TWILIO_AUTH_TOKEN": "env:NOPE"}).config
    assert config.carrier_settings("twilio").auth_token.get_secret_value() == "env:NOPE"


class NeedsKey(CamelModel):
    """A carrier that cannot do without a key."""

    api_key: SecretStr


def test_what_the_selected_provider_needs_is_asked_for_at_the_start():
    model = build_config_model({"phones": NeedsKey}, responders={"brain": NeedsKey})
    assert load({}, model=model).config.provider == "local"
    message = refused({"provider": "phones", "responseModel": "brain/large"}, model=model)
    assert "phones.apiKey: is required" in message
    assert "responders.brain.apiKey: is required" in message


def test_what_providers_that_may_take_over_need_is_asked_for_at_the_start():
    model = build_config_model(
        transcribers={"ears": NeedsKey}, synthesizers={"mouth": NeedsKey}, responders={"brain": NeedsKey}
    )
    message = refused(
        {
            "streaming": {"fallbacks": ["ears"]},
            "tts": {"fallbacks": ["mouth"]},
            "responseFallbacks": ["brain/small"],
        },
        model=model,
    )
    for place in ("streaming.providers.ears", "tts.providers.mouth", "responders.brain"):
        assert f"{place}.apiKey: is required" in message


def test_all_problems_are_listed_with_line_key_expectation_and_guess():
    path = write(
        """{
  streeming: {enabled: true},
  serve: {port: "x", bnd: 1},
  twilio: {authToken: 5},
  fromNumber: 15550001234,
  toNumber: "+1 555 000 1234",
  numbers: {abc: {agent: "x"}},
  allowFrom: ["+15550001234",
    "5"],
  tunnel: {provider: "ngork"},
  streaming: {providers: {opnai: {}}, openaiApiKey: 7},
  maxConcurrentCalls: true,
  outbound: [],
  endpointing: {silenceMs: 0.5, afterQuestionMs: 0},
}"""
    )
    assert refused(path) == (
        "voicecall.json5: 16 problems\n"
        '  line 2: streeming: unknown setting; did you mean "streaming"?\n'
        '  line 3: serve.bnd: unknown setting; did you mean "bind"?\n'
        "  line 3: serve.port: expected a whole number, found 'x'\n"
        "  line 4: twilio.authToken: expected text, found a number\n"
        "  line 5: fromNumber: expected text, found 15550001234\n"
        "  line 6: toNumber: expected a phone number in E.164 form, such as +15550001234, "
        "found '+1 555 000 1234'; write it as +15550001234\n"
        '  line 7: numbers.abc.agent: unknown setting; did you mean "agentId"?\n'
        "  line 7: numbers.abc: expected a phone number in E.164 form, such as +15550001234, found 'abc'\n"
        "  line 9: allowFrom[1]: expected a phone number in E.164 form, such as +15550001234, found '5'\n"
        "  line 10: tunnel.provider: expected 'none', 'ngrok', 'tailscale-serve' or 'tailscale-funnel', "
        "found 'ngork'\n"
        "  line 11: streaming.openaiApiKey (now streaming.providers.openai.apiKey): "
        "expected text, found a number\n"
        '  line 11: streaming.providers.opnai: unknown setting; did you mean "openai"?\n'
        "  line 12: maxConcurrentCalls: expected a whole number, found true\n"
        "  line 13: outbound: expected a group of settings, found a list\n"
        "  line 14: endpointing.afterQuestionMs: expected at least 1, found 0\n"
        "  line 14: endpointing.silenceMs: expected a whole number, found 0.5"
    )


def test_yaml_problems_have_lines_too():
    path = write("serve:\n  port: 3334\n  bind:\nlogging:\n  level: loud\n", "voicecall.yaml")
    assert refused(path) == (
        "voicecall.yaml, line 5: logging.level: expected 'debug', 'info', 'warning' or 'error', found 'loud'"
    )


def test_very_many_problems_are_not_all_shown():
    message = refused({f"x{n}": 1 for n in range(50)})
    assert message.startswith("the configuration of the host: 50 problems\n")
    assert message.endswith("  and 30 more")


@pytest.mark.parametrize("key", ["__proto__", "__class__", "__init__"])
def test_names_of_a_programming_language_are_unknown_everywhere(key):
    for raw in ({key: {"a": 1}}, {"tts": {"personas": {key: {}}}}, {"numbers": {key: {}}}):
        assert f"{key}: unknown setting" in refused(raw)


def test_a_key_without_a_value_counts_as_not_set():
    config = load({"serve": None, "tts": {"provider": None}, "store": None}).config
    assert (config.serve.port, config.tts.provider, config.store) == (3334, "local", None)


def test_keys_may_be_written_in_snake_case_but_not_in_both_styles():
    assert load({"max_concurrent_calls": 3}).config.max_concurrent_calls == 3
    message = refused({"max_concurrent_calls": 3, "maxConcurrentCalls": 4})
    assert message.endswith("maxConcurrentCalls: written twice, in two spellings")


def test_nobody_can_call_in_with_an_empty_allowlist():
    assert load({"inboundPolicy": "allowlist"}).notices == (
        'inboundPolicy is "allowlist" and allowFrom is empty: nobody can call in.',
    )


@pytest.mark.parametrize(
    "url",
    [
        "voice.example.com",
        "ftp://x",
        "https://",
        "https://u:p@x/",
        "https://x/?a=b",
        "http://[::1",
        "https://x:99999",
    ],
)
def test_a_public_url_that_carriers_cannot_use_is_refused(url):
    assert "publicUrl: expected an" in refused({"publicUrl": url})


def test_paths_get_their_slash_and_must_differ():
    config = load({"serve": {"path": "hook/"}, "streaming": {"streamPath": "media"}}).config
    assert (config.serve.path, config.streaming.stream_path) == ("/hook", "/media")
    assert "to differ" in refused({"serve": {"path": "/voice/stream"}})
    for path in ("/a b", "/a?b", "/../etc", "/a//b"):
        assert "expected the path of a URL" in refused({"serve": {"path": path}})


def test_a_funnel_has_three_ports():
    assert "443, 8443 or 10000" in refused({"tailscale": {"mode": "funnel", "port": 1234}})


def test_a_proxy_is_an_address():
    assert "expected an IP address" in refused({"webhookSecurity": {"trustedProxyIPs": ["proxy"]}})


def test_a_missing_file_that_was_named_is_an_error_and_not_a_default():
    assert "nowhere.json5: the configuration cannot be read" in refused("nowhere.json5")
    assert "cannot be read" in refused(None, env={"OPENCLAW_VOICECALL_CONFIG": "nowhere.json5"})


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("inf"), "a number that is not finite"),
        (float("nan"), "a number that is not finite"),
        (2**70, "a number that is too large"),
        ("\ud800", "text with a half character in it"),
        (b"x", "a value of type bytes"),
        ({1, 2}, "a value of type set"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_place(value, found):
    message = refused({"tts": {"providers": {"openai": {"speed": value}}}})
    assert message.endswith(f"tts.providers.openai.speed: expected a setting, found {found}")
