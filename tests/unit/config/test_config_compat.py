import copy

import pytest

from openclaw_voicecall.config.compat import STEPS, migrate

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("old", ["log", "mock"])
def test_the_mock_provider_is_local(old):
    assert migrate({"provider": old}) == ({"provider": "local"}, (f'provider "{old}" is now "local".',))


def test_the_number_in_the_twilio_section_is_the_from_number():
    raw = {"twilio": {"from": "+15550001234", "accountSid": "AC1"}}
    assert migrate(raw) == (
        {"fromNumber": "+15550001234", "twilio": {"accountSid": "AC1"}},
        ("twilio.from is now fromNumber.",),
    )


def test_where_old_and_new_stand_the_new_one_wins_and_the_notice_says_so():
    raw = {"twilio": {"from": "+15550001234"}, "fromNumber": "+15550009999"}
    assert migrate(raw) == (
        {"fromNumber": "+15550009999"},
        ("twilio.from is ignored: fromNumber is set too and wins.",),
    )


def test_old_streaming_settings_become_those_of_openai():
    raw = {
        "streaming": {
            "enabled": True,
            "sttProvider": "openai-realtime",
            "openaiApiKey": "k",
            "sttModel": "m",
            "silenceDurationMs": 700,
            "vadThreshold": 0.4,
        }
    }
    new, notices = migrate(raw)
    assert new == {
        "streaming": {
            "enabled": True,
            "provider": "openai",
            "providers": {
                "openai": {"apiKey": "k", "model": "m", "silenceDurationMs": 700, "vadThreshold": 0.4}
            },
        }
    }
    assert notices == (
        "streaming.sttProvider is now streaming.provider.",
        'streaming.provider "openai-realtime" is now "openai".',
        "streaming.openaiApiKey is now streaming.providers.openai.apiKey.",
        "streaming.sttModel is now streaming.providers.openai.model.",
        "streaming.silenceDurationMs is now streaming.providers.openai.silenceDurationMs.",
        "streaming.vadThreshold is now streaming.providers.openai.vadThreshold.",
    )


def test_an_old_openai_key_without_a_provider_chooses_openai():
    new, notices = migrate({"streaming": {"enabled": True, "openaiApiKey": "k", "providers": {"xai": {}}}})
    assert new["streaming"]["provider"] == "openai"
    assert "streaming.provider is not set; openai is used, because its settings are there." in notices


def test_an_old_openai_key_does_not_overrule_a_named_provider():
    new, _ = migrate({"streaming": {"openaiApiKey": "k", "provider": "deepgram"}})
    assert new["streaming"]["provider"] == "deepgram"


def test_a_new_key_beats_the_old_one_beside_it():
    raw = {
        "streaming": {"provider": "openai", "openaiApiKey": "old", "providers": {"openai": {"apiKey": "new"}}}
    }
    new, notices = migrate(raw)
    assert new["streaming"]["providers"]["openai"]["apiKey"] == "new"
    assert notices == (
        "streaming.openaiApiKey is ignored: streaming.providers.openai.apiKey is set too and wins.",
    )


def test_the_stt_section_becomes_a_transcriber():
    new, notices = migrate({"stt": {"provider": "openai", "model": "whisper-1"}})
    assert new == {"streaming": {"provider": "openai", "providers": {"openai": {"model": "whisper-1"}}}}
    assert notices == (
        "stt.provider is now streaming.provider.",
        "stt.model is now streaming.providers.openai.model.",
    )


def test_old_voices_move_below_providers_under_their_new_names():
    raw = {
        "tts": {
            "provider": "elevenlabs",
            "elevenlabs": {"apiKey": "k", "voiceId": "v"},
            "openai": {"voice": "o"},
        }
    }
    new, notices = migrate(raw)
    assert new == {
        "tts": {
            "provider": "elevenlabs",
            "providers": {
                "elevenlabs": {"apiKey": "k", "speakerVoiceId": "v"},
                "openai": {"speakerVoice": "o"},
            },
        }
    }
    assert notices == (
        "tts.elevenlabs is now tts.providers.elevenlabs, where voiceId is speakerVoiceId.",
        "tts.openai is now tts.providers.openai, where voice is speakerVoice.",
    )


def test_old_and_new_voice_settings_join_and_the_new_ones_win():
    raw = {
        "tts": {
            "provider": "openai",
            "openai": {"voice": "old", "model": "m"},
            "providers": {"openai": {"speakerVoice": "new"}},
        }
    }
    new, notices = migrate(raw)
    assert new["tts"]["providers"]["openai"] == {"speakerVoice": "new", "model": "m"}
    assert notices == (
        "tts.openai.voice is ignored: tts.providers.openai.speakerVoice is set too and wins.",
        "tts.openai is now tts.providers.openai.",
    )


def test_voices_of_single_numbers_move_too():
    new, notices = migrate({"numbers": {"+15550001234": {"tts": {"openai": {"voice": "nova"}}}}})
    assert new["numbers"]["+15550001234"]["tts"] == {"providers": {"openai": {"speakerVoice": "nova"}}}
    assert len(notices) == 1


def test_command_and_edge_speech_keep_their_settings():
    new, _ = migrate({"tts": {"provider": "cli", "cli": {"command": "say"}, "edge": {"voice": "x"}}})
    assert new["tts"] == {"provider": "cli", "providers": {"cli": {"command": "say"}, "edge": {"voice": "x"}}}


def test_edge_is_not_chosen_because_it_makes_no_telephone_audio():
    new, notices = migrate({"tts": {"provider": "edge"}})
    assert new == {}
    assert notices == ('tts.provider "edge" makes no telephone audio and is ignored.',)


@pytest.mark.parametrize(
    ("mode", "tunnel"),
    [
        ("serve", {"tunnel": {"provider": "tailscale-serve", "path": "/x", "port": 8443}}),
        ("funnel", {"tunnel": {"provider": "tailscale-funnel", "path": "/x", "port": 8443}}),
        ("off", {}),
    ],
)
def test_tailscale_becomes_a_tunnel(mode, tunnel):
    raw = {"tailscale": {"mode": mode, "path": "/x", "port": 8443}}
    assert migrate(raw) == (tunnel, ("tailscale is now tunnel.",))


def test_a_tunnel_that_is_off_leaves_the_word_to_tailscale_as_in_openclaw():
    new, _ = migrate({"tailscale": {"mode": "funnel"}, "tunnel": {"provider": "none"}})
    assert new == {"tunnel": {"provider": "tailscale-funnel"}}


def test_another_tunnel_beats_tailscale():
    new, notices = migrate({"tailscale": {"mode": "funnel", "path": "/x"}, "tunnel": {"provider": "ngrok"}})
    assert new == {"tunnel": {"provider": "ngrok"}}
    assert notices == ("tailscale is ignored: tunnel.provider is set too and wins.",)


@pytest.mark.parametrize("section", ["streaming", "tts"])
def test_the_only_configured_vendor_is_used_when_none_is_named(section):
    new, notices = migrate({section: {"providers": {"deepgram": {}}}})
    assert new[section]["provider"] == "deepgram"
    assert notices == (f"{section}.provider is not set; deepgram is used, because its settings are there.",)


def test_two_configured_vendors_decide_nothing():
    raw = {"streaming": {"providers": {"deepgram": {}, "openai": {}}}}
    assert migrate(raw) == (raw, ())


def test_unknown_keys_stay_to_be_complained_about():
    raw = {"tailscale": {"moed": "x"}, "stt": {"foo": 1}, "twilio": {"form": "+1"}}
    new, _ = migrate(raw)
    assert new == raw


def test_values_of_the_wrong_type_break_no_step():
    for value in (None, 5, "text", [], [{}], True, {"provider": 5}, {"providers": 5}, {"mode": []}):
        for key in ("provider", "twilio", "streaming", "stt", "tts", "tailscale", "tunnel", "numbers"):
            migrate({key: value, "streaming2": {}})
        migrate({"tts": {"elevenlabs": value, "providers": value}, "numbers": {"x": {"tts": value}}})
        migrate({"streaming": {"openaiApiKey": "k", "providers": value}, "stt": {"model": "m"}})


def test_a_value_that_cannot_move_is_not_lost():
    raw = {"streaming": {"openaiApiKey": "k", "providers": "none"}}
    assert migrate(raw)[0] == raw


EVERYTHING_OLD = {
    "provider": "log",
    "twilio": {"from": "+15550001234"},
    "streaming": {"sttProvider": "openai-realtime", "openaiApiKey": "k", "vadThreshold": 0.5},
    "stt": {"provider": "openai", "model": "m"},
    "tts": {"provider": "edge", "elevenlabs": {"voiceId": "v"}, "cli": {"command": "say"}},
    "tailscale": {"mode": "funnel"},
    "numbers": {"+15550001234": {"tts": {"openai": {"voice": "nova"}}}},
}


def test_migrating_changes_nothing_in_place():
    before = copy.deepcopy(EVERYTHING_OLD)
    migrate(EVERYTHING_OLD)
    assert before == EVERYTHING_OLD


def test_migrating_twice_finds_nothing_more():
    once, notices = migrate(EVERYTHING_OLD)
    assert notices
    assert migrate(once) == (once, ())


def test_steps_are_numbered_in_order():
    numbers = [int(step.__name__.split("_")[1]) for step in STEPS]
    assert numbers == list(range(1, len(STEPS) + 1))
