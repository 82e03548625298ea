import json
import warnings

import pytest
from pydantic import SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.schema import VoiceCallConfig, build_config_model, config_schema
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.errors import ConfigError, DuplicateProvider, PluginLoadError

pytestmark = pytest.mark.unit


class Parrot(CamelModel):
    """A parrot."""

    pitch: int = 3


class Locked(CamelModel):
    """Needs a key."""

    api_key: SecretStr


MODEL = build_config_model(
    {"pigeon": Parrot},
    transcribers={"parrot": Parrot},
    synthesizers={"elevenlabs": Parrot},
    responders={"parrot-two": Parrot, "locked": Locked},
    turn_detectors={"silero": Parrot},
    realtime_models={"parrot": Parrot},
    sections={"aviary": Parrot},
)


def test_defaults_give_the_default_policy():
    said_by_default = MODEL().phrases.transferring
    assert MODEL().call_policy("outbound", "conversation") == CallPolicy(transferring=said_by_default)


def test_notify_mode_does_not_listen_and_hangs_up_after_the_message():
    config = MODEL(outbound={"notify_hangup_delay_sec": 7})
    policy = config.call_policy("outbound", "notify", "Your table is ready.")
    assert policy.greeting == "Your table is ready."
    assert (policy.respond, policy.hang_up_after_greeting) == (False, 7.0)


def test_an_inbound_call_is_always_a_conversation_with_a_greeting():
    policy = MODEL(inbound_greeting="Hello.").call_policy("inbound", "notify")
    assert (policy.greeting, policy.respond, policy.hang_up_after_greeting) == ("Hello.", True, None)
    assert policy.leave_voicemail is False
    assert MODEL().call_policy("inbound", "conversation", "").greeting == ""


def test_every_tuning_of_the_core_can_be_set():
    config = MODEL.model_validate(
        {
            "ringTimeoutMs": 20500,
            "maxDurationSeconds": 60,
            "transcriptTimeoutMs": 90000,
            "endpointing": {
                "silenceMs": 650,
                "afterQuestionMs": 300,
                "afterDigitsMs": 1500,
                "transcriptWaitMs": 1000,
                "stableMs": 200,
                "mostStarts": 1,
            },
            "interruptions": {
                "mode": "words",
                "minWords": 3,
                "resumeAfterMs": 700,
                "noiseAfterMs": 1100,
                "backchannels": ["Aha"],
            },
            "dtmf": {"interDigitMs": 1500, "terminator": "", "maxDigits": 4},
            "limits": {
                "mediaGraceMs": 2500,
                "hangUpGraceMs": 8000,
                "farewellMs": 9000,
                "maxFailures": 5,
                "warnBeforeSeconds": 10,
            },
            "phrases": {
                "apology": "Sorry.",
                "goodbye": "Bye.",
                "idleGoodbye": "Quiet.",
                "durationWarning": "Soon over.",
                "transferFailed": "Nobody there.",
                "transferBusy": "Busy.",
                "transferNoAnswer": "No answer.",
                "transferring": "Wait.",
                "reconnected": "Back.",
            },
            "transfer": {"answerMs": 20000, "maxDurationSeconds": 600},
            "outbound": {"leaveVoicemail": False, "voicemailWindowMs": 12000},
        }
    )
    policy = config.call_policy("outbound", "conversation")
    default = CallPolicy()
    assert (policy.ring_timeout, policy.max_duration, policy.idle_timeout) == (20.5, 60.0, 90.0)
    assert (policy.endpointing.after, policy.endpointing.after_question) == (0.65, 0.3)
    assert (policy.endpointing.after_digits, policy.endpointing.transcript_wait) == (1.5, 1.0)
    assert (policy.speculation.stable_after, policy.speculation.most_starts) == (0.2, 1)
    assert (policy.barge_in.mode, policy.barge_in.min_words) == ("words", 3)
    assert (policy.barge_in.resume_after, policy.barge_in.noise_after) == (0.7, 1.1)
    assert policy.barge_in.backchannels == {"aha"}
    assert (policy.dtmf.inter_digit, policy.dtmf.terminator, policy.dtmf.max_digits) == (1.5, "", 4)
    assert (policy.media_grace, policy.hang_up_grace, policy.farewell_limit) == (2.5, 8.0, 9.0)
    assert (policy.max_failures, policy.apology, policy.goodbye) == (5, "Sorry.", "Bye.")
    assert policy.idle_goodbye == "Quiet."
    assert (policy.warn_before, policy.duration_warning) == (10.0, "Soon over.")
    assert (policy.transfer_limit, policy.transfer_duration) == (20.0, 600.0)
    assert (policy.transfer_failed, policy.reconnected) == ("Nobody there.", "Back.")
    assert (policy.leave_voicemail, policy.voicemail_window) == (False, 12.0)
    assert (policy.transfer_busy, policy.transfer_no_answer) == ("Busy.", "No answer.")
    untouched = {"greeting", "must_say", "respond", "hang_up_after_greeting", "model_led", "reply_patience"}
    for name in CallPolicy.__dataclass_fields__.keys() - untouched:
        assert getattr(policy, name) != getattr(default, name), name


def test_the_old_silence_timeout_counts_until_the_new_one_is_set():
    assert MODEL(silence_timeout_ms=900).call_policy("inbound", "conversation").endpointing.after == 0.9
    both = MODEL.model_validate({"silenceTimeoutMs": 900, "endpointing": {"silenceMs": 400}})
    assert both.call_policy("inbound", "conversation").endpointing.after == 0.4


def test_registered_providers_get_their_sections():
    config = MODEL.model_validate(
        {
            "pigeon": {"pitch": 1},
            "streaming": {"providers": {"parrot": {"pitch": 2}}},
            "responders": {"parrot-two": {"pitch": 5}},
            "aviary": {"pitch": 6},
        }
    )
    assert config.carrier_settings("pigeon") == Parrot(pitch=1)
    assert config.transcriber_settings("parrot") == Parrot(pitch=2)
    assert config.responder_settings("parrot-two") == Parrot(pitch=5)
    assert config.aviary == Parrot(pitch=6)


def test_a_provider_without_a_section_has_its_defaults():
    config = MODEL()
    assert config.carrier_settings("pigeon") == Parrot()
    assert config.synthesizer_settings("elevenlabs") == Parrot()
    assert config.turn_detector_settings("silero") == Parrot()
    assert config.realtime_settings("parrot") == Parrot()


def test_a_registered_provider_replaces_the_keys_known_from_openclaw():
    with pytest.raises(ValueError, match="speakerVoiceId"):
        MODEL.model_validate({"tts": {"providers": {"elevenlabs": {"speakerVoiceId": "x"}}}})


def test_missing_required_settings_are_named():
    with pytest.raises(
        ConfigError, match=r"locked is not configured: responders\.locked\.apiKey is required"
    ):
        MODEL().responder_settings("locked")


@pytest.mark.parametrize("name", ["serve", "nobody", ""])
def test_settings_of_an_unknown_carrier_are_refused(name):
    with pytest.raises(ConfigError, match="no settings are known"):
        MODEL().carrier_settings(name)


def test_the_voice_of_a_number_is_laid_over_the_common_one():
    model = build_config_model()
    config = model.model_validate(
        {
            "tts": {
                "provider": "openai",
                "providers": {"openai": {"apiKey": "k", "model": "m", "speakerVoice": "a"}},
            },
            "numbers": {
                "+15550001234": {"tts": {"providers": {"openai": {"speakerVoice": "b"}}}},
                "+15550001235": {"tts": {"provider": "elevenlabs"}},
                "+15550001236": {},
            },
        }
    )
    merged = config.synthesizer_settings("openai", dialled="+15550001234")
    assert (merged.api_key.get_secret_value(), merged.model, merged.speaker_voice) == ("k", "m", "b")
    assert config.tts_for("+15550001235").provider == "elevenlabs"
    assert config.tts_for("+15550001236") is config.tts
    assert config.tts_for("+15550009999") is config.tts
    assert config.tts.providers.openai.speaker_voice == "a"


@pytest.mark.parametrize(
    "name", ["serve", "tts", "webhook_security", "webhookSecurity", "Twilio", "a b", "__class__", ""]
)
def test_a_carrier_may_not_take_the_name_of_a_setting_or_no_name(name):
    with pytest.raises(PluginLoadError):
        build_config_model({name: Parrot})


def test_a_section_may_not_take_the_name_of_a_carrier():
    with pytest.raises(DuplicateProvider):
        build_config_model({"pigeon": Parrot}, sections={"pigeon": Parrot})
    with pytest.raises(DuplicateProvider):
        build_config_model(transcribers={"a-b": Parrot, "a_b": Parrot})


def test_provider_names_that_python_or_pydantic_use_work():
    names = ("json", "copy", "class", "schema", "model_fields", "model-x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build_config_model(transcribers=dict.fromkeys(names, Parrot))
    for name in names:
        config = model.model_validate({"streaming": {"providers": {name: {"pitch": 9}}}})
        assert config.transcriber_settings(name) == Parrot(pitch=9)
        assert config.model_dump(by_alias=True, exclude_none=True)["streaming"]["providers"] == {
            name: {"pitch": 9}
        }


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        MODEL().enabled = False


def test_the_schema_is_json_in_camel_case_and_knows_references_to_secrets():
    schema = config_schema(build_config_model({"locked": Locked}))
    text = json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert "trustedProxyIPs" in text
    assert "trusted_proxy" not in text
    key = schema["$defs"]["Locked"]["properties"]["apiKey"]
    assert {"$ref": "#/$defs/SecretReference"} in key["anyOf"]
    assert text.count('"format": "password"') == text.count('{"$ref": "#/$defs/SecretReference"}')


def test_the_base_model_knows_no_provider():
    assert VoiceCallConfig().carrier_names == frozenset()
    assert MODEL.carrier_names >= {"pigeon", "twilio", "telnyx", "plivo"}
