"""Scribe's wire format and ElevenLabs' settings, without a network."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from openclaw_voicecall.api.speech import Heard
from openclaw_voicecall.config.compat import migrate
from openclaw_voicecall.errors import (
    RemoteProtocolError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.providers.elevenlabs.account import Account, account, read_refusal
from openclaw_voicecall.providers.elevenlabs.config import (
    ElevenLabsScribeConfig,
    ElevenLabsSpeechConfig,
    describe_scribe,
    describe_speech,
    scribe_notices,
    speech_notices,
)
from openclaw_voicecall.providers.elevenlabs.scribe import ScribeSession

pytestmark = pytest.mark.unit

FRAME = b"\x55" * 160


def session(*, vendor_commits=False, frames=50):
    """A session that has started and heard a second of audio."""
    scribe = ScribeSession(vendor_commits=vendor_commits)
    say(scribe, "session_started", session_id="1", config={})
    for _ in range(frames):
        scribe.audio(FRAME)
    return scribe


def say(scribe, kind, **fields):
    return list(scribe.receive(json.dumps({"message_type": kind, **fields})))


def partial(scribe, text):
    return say(scribe, "partial_transcript", text=text)


def committed(scribe, text):
    return say(scribe, "committed_transcript", text=text)


def sent(messages):
    chunks = [json.loads(message) for message in messages]
    return b"".join(base64.b64decode(chunk["audio_base_64"]) for chunk in chunks), chunks


def test_a_session_takes_audio_once_the_vendor_says_so():
    scribe = ScribeSession(vendor_commits=False)
    assert not scribe.started
    say(scribe, "session_started", session_id="1", config={})
    assert scribe.started


def test_audio_goes_out_in_tenths_of_a_second_and_as_it_came():
    scribe = session(frames=0)
    frames = [bytes([number]) * 160 for number in range(12)]
    messages = [message for frame in frames for message in scribe.audio(frame)]
    audio, chunks = sent(messages)
    assert audio == b"".join(frames)[:1600]
    assert chunks[0] == {
        "message_type": "input_audio_chunk",
        "audio_base_64": base64.b64encode(b"".join(frames)[:800]).decode(),
        "commit": False,
        "sample_rate": 8000,
    }
    assert [chunk["commit"] for chunk in chunks] == [False, False]


def test_much_audio_at_once_is_cut_into_seconds():
    scribe = session(frames=0)
    audio, chunks = sent(scribe.audio(FRAME * 500))
    assert audio == FRAME * 500
    assert max(len(base64.b64decode(chunk["audio_base_64"])) for chunk in chunks) == 8000


def test_a_commit_brings_along_the_last_words():
    scribe = session(frames=20)
    scribe.audio(b"\x11" * 160)
    messages, events = scribe.finish()
    audio, chunks = sent(messages)
    assert audio == b"\x11" * 160
    assert chunks[0]["commit"] is True
    assert not events


def test_partials_are_interims_and_the_commit_is_the_final():
    scribe = session()
    assert partial(scribe, "two  pizzas ") == [Heard("two pizzas", final=False)]
    assert partial(scribe, "two pizzas") == []
    scribe.finish()
    assert committed(scribe, "Two pizzas, please.") == [Heard("Two pizzas, please.", final=True)]
    assert scribe.owed == 0


def test_a_segment_that_the_vendor_cuts_belongs_to_the_final_still_to_come():
    scribe = session()
    assert committed(scribe, "a very long story") == []
    scribe.audio(FRAME * 50)
    assert partial(scribe, "and its") == [Heard("a very long story and its", final=False)]
    scribe.finish()
    assert committed(scribe, "and its end") == [Heard("a very long story and its end", final=True)]
    scribe.audio(FRAME * 50)
    scribe.finish()
    assert committed(scribe, "next") == [Heard("next", final=True)]


def test_a_long_segment_is_cut_in_a_pause_and_its_words_are_kept_for_the_final():
    scribe = session(frames=0)
    scribe.audio(FRAME * 500)
    assert not scribe.pause()
    scribe.audio(FRAME * 520)
    assert json.loads(scribe.pause()[0])["commit"] is True
    scribe.audio(FRAME * 30)
    scribe.finish()
    assert committed(scribe, "my long story") == []
    assert committed(scribe, "ends here") == [Heard("my long story ends here", final=True)]


def test_a_final_that_is_asked_for_right_after_a_cut_has_the_words_of_the_cut():
    scribe = session(frames=1020)
    scribe.pause()
    messages, events = scribe.finish()
    assert messages
    assert not events
    assert committed(scribe, "my long story") == []
    assert committed(scribe, "") == [Heard("my long story", final=True)]


def test_a_segment_never_gets_so_long_that_the_vendor_cuts_it():
    scribe = session(frames=0)
    commits = [json.loads(message)["commit"] for message in scribe.audio(FRAME * 3000)]
    assert commits[-1] is True
    assert commits.count(True) == 1
    assert committed(scribe, "") == []


def test_a_cut_that_is_ignored_loses_no_words():
    scribe = session(frames=1020)
    partial(scribe, "hello there")
    scribe.pause()
    assert say(scribe, "commit_throttled", error="too early") == []
    scribe.audio(FRAME * 30)
    scribe.finish()
    assert committed(scribe, "") == [Heard("hello there", final=True)]


def test_a_cut_right_before_the_commit_still_gives_one_final():
    scribe = session()
    scribe.finish()
    assert committed(scribe, "all of it") == [Heard("all of it", final=True)]
    assert say(scribe, "commit_throttled", error="only 0.01s of uncommitted audio") == []


def test_too_little_audio_is_not_committed_but_answered():
    scribe = session()
    scribe.finish()
    committed(scribe, "yes")
    scribe.audio(FRAME * 3)
    assert scribe.finish() == ((), (Heard("", final=True),))


def test_finals_stay_in_order_when_asked_for_twice():
    scribe = session()
    scribe.finish()
    messages, events = scribe.finish()
    assert not events
    assert len(sent(messages)[0]) == 2400
    assert committed(scribe, "one") == [Heard("one", final=True)]
    assert committed(scribe, "") == [Heard("", final=True)]


def test_an_ignored_commit_gives_the_words_shown_last():
    scribe = session()
    partial(scribe, "hello there")
    scribe.finish()
    assert say(scribe, "insufficient_audio_activity", error="no speech") == [Heard("hello there", final=True)]


def test_with_the_vendors_voice_detection_every_segment_is_an_utterance():
    scribe = session(vendor_commits=True)
    assert committed(scribe, "one") == [Heard("one", final=True)]
    assert committed(scribe, "") == []
    assert committed(scribe, "two") == [Heard("two", final=True)]


def test_the_second_copy_with_timestamps_is_no_second_final():
    scribe = session()
    scribe.finish()
    assert committed(scribe, "hello") == [Heard("hello", final=True)]
    assert say(scribe, "committed_transcript_with_timestamps", text="hello", words=[]) == []


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("auth_error", VendorAuthError),
        ("quota_exceeded", VendorRejected),
        ("unaccepted_terms", VendorRejected),
        ("input_error", VendorRejected),
        ("rate_limited", VendorRateLimited),
        ("queue_overflow", VendorUnavailable),
        ("session_time_limit_exceeded", VendorUnavailable),
        ("transcriber_error", VendorUnavailable),
        ("error", VendorUnavailable),
        ("an_error_of_next_year", VendorUnavailable),
    ],
)
def test_every_error_of_the_vendor_ends_the_session_in_its_own_words(kind, error):
    with pytest.raises(error, match="as the vendor says"):
        say(session(), kind, error="as the vendor says")


def test_a_used_up_quota_is_not_called_a_wrong_key():
    with pytest.raises(VendorRejected, match="quota is used up") as caught:
        say(session(), "quota_exceeded", error="You have exceeded your quota.")
    assert not isinstance(caught.value, VendorAuthError)


def test_what_is_new_or_only_a_warning_is_left_aside():
    scribe = session()
    assert say(scribe, "warning", warning="soon") == []
    assert say(scribe, "committed_transcript_entities", entities=[]) == []
    assert say(scribe, "commit_throttled", error="too early") == []
    assert say(scribe, ["a", "list"], text="x") == []


@pytest.mark.parametrize(
    "message", [b"\x00", "<html>", "[]", '{"message_type": "partial_transcript"}', "[" * 90000]
)
def test_what_cannot_be_read_is_reported_and_harms_nothing(message):
    scribe = session()
    with pytest.raises(RemoteProtocolError):
        scribe.receive(message)
    scribe.finish()
    assert committed(scribe, "still here") == [Heard("still here", final=True)]


@given(
    st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.integers() | st.text()).map(json.dumps))
)
def test_no_message_breaks_the_session_otherwise(message):
    with contextlib.suppress(RemoteProtocolError, VendorError):
        session(frames=0).receive(message)


def test_the_settings_of_an_old_file_speak_with_their_voice_and_model():
    old = {
        "tts": {
            "elevenlabs": {"apiKey": "k", "voiceId": "54noaetjxv80HAvkIbfQ", "modelId": "eleven_turbo_v2_5"}
        }
    }
    raw, _ = migrate(old)
    config = ElevenLabsSpeechConfig.model_validate(raw["tts"]["providers"]["elevenlabs"])
    assert (config.voice, config.model) == ("54noaetjxv80HAvkIbfQ", "eleven_turbo_v2_5")
    assert describe_speech(config) == "ElevenLabs eleven_turbo_v2_5, voice 54noa…"
    assert [notice for notice in speech_notices(config) if "eleven_flash_v2_5" in notice]


def test_without_a_voice_the_documented_default_speaks_and_a_notice_says_so():
    config = ElevenLabsSpeechConfig()
    assert describe_speech(config) == "ElevenLabs eleven_flash_v2_5, voice JBFqn…"
    assert "speakerVoiceId is not set" in speech_notices(config)[0]


def test_settings_that_the_vendor_would_refuse_are_told_before_a_call():
    config = ElevenLabsSpeechConfig.model_validate(
        {
            "speakerVoiceId": "v",
            "modelId": "eleven_v3",
            "transport": "websocket",
            "languageCode": "de",
            "voiceSettings": {"speed": 1.8, "useSpeakerBoost": False},
        }
    )
    told = " ".join(speech_notices(config))
    assert "1.2 is used" in told
    assert "HTTP is used" in told
    assert "languageCode" in told
    assert not config.uses_socket
    assert config.voice_body() == {"speed": 1.2, "use_speaker_boost": False}


def test_the_language_is_enforced_only_where_the_model_follows_it():
    assert ElevenLabsSpeechConfig().language_for("de-AT") == "de"
    assert ElevenLabsSpeechConfig(model_id="eleven_multilingual_v2").language_for("de-AT") is None
    assert (
        ElevenLabsSpeechConfig(model_id="eleven_multilingual_v2", language_code="de").language_for("en")
        == "de"
    )


def test_scribe_is_asked_for_telephone_audio_whatever_the_file_says():
    config = ElevenLabsScribeConfig.model_validate({"audioFormat": "pcm_16000", "sampleRate": 16000})
    assert config.query("en-US") == {
        "model_id": "scribe_v2_realtime",
        "audio_format": "ulaw_8000",
        "commit_strategy": "manual",
        "language_code": "en",
    }
    assert len(scribe_notices(config)) == 2


def test_the_vendors_voice_detection_gets_its_tuning():
    config = ElevenLabsScribeConfig.model_validate(
        {"commitStrategy": "vad", "vadSilenceThresholdSecs": 0.5, "vadThreshold": 0.4, "languageCode": "de"}
    )
    query = config.query("en")
    assert query["vad_silence_threshold_secs"] == "0.5"
    assert query["vad_threshold"] == "0.4"
    assert query["language_code"] == "de"
    assert not scribe_notices(config)
    assert describe_scribe(config) == "ElevenLabs scribe_v2_realtime"


def test_tuning_that_has_no_effect_and_models_that_cannot_listen_are_told():
    config = ElevenLabsScribeConfig.model_validate({"modelId": "scribe_v2", "vadThreshold": 0.4})
    told = " ".join(scribe_notices(config))
    assert "transcribes files" in told
    assert "commitStrategy" in told
    assert "retired" in scribe_notices(ElevenLabsScribeConfig(model_id="scribe_v1"))[0]


@pytest.mark.parametrize(
    ("key", "value"), [("vadThreshold", 0.95), ("vadSilenceThresholdSecs", 0.1), ("nope", 1)]
)
def test_what_the_vendor_never_takes_is_refused_when_the_file_is_read(key, value):
    with pytest.raises(ValidationError):
        ElevenLabsScribeConfig.model_validate({key: value})


def test_a_missing_key_names_the_setting_and_the_variable():
    with pytest.raises(VendorAuthError, match=r"tts\.providers\.elevenlabs\.apiKey or ELEVENLABS_API_KEY"):
        account(None, None, settings="tts.providers.elevenlabs")
    with pytest.raises(VendorAuthError):
        account(SecretStr(" "), None, settings="tts.providers.elevenlabs")


def test_the_key_shows_nowhere():
    who = account(SecretStr("xi-secret"), None, settings="tts.providers.elevenlabs")
    error = who.refusal("speak", 401, "invalid_api_key", "the key xi-secret is wrong")
    assert "xi-secret" not in f"{who!r} {error}"
    assert who.base == "https://api.elevenlabs.io"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            '{"detail": {"status": "quota_exceeded", "message": "No credits."}}',
            "quota_exceeded",
            "No credits.",
        ),
        ('{"detail": {"type": "t", "code": "voice_not_found", "message": "m"}}', "voice_not_found", "m"),
        ('{"detail": [{"loc": ["body", "seed"], "msg": "too large"}]}', "", "body.seed: too large"),
        ('{"detail": "Not Found"}', "", "Not Found"),
        ("<html>", "", "<html>"),
        ("[]", "", "[]"),
    ],
)
def test_a_refusal_is_read_in_every_form_the_vendor_uses(body, code, message):
    assert read_refusal(body) == (code, message)


def test_a_wrong_key_and_a_used_up_quota_have_one_status_and_two_errors():
    who = Account("https://api.elevenlabs.io", "k", "tts.providers.elevenlabs")
    wrong = who.refusal("speak", 401, "invalid_api_key", "Invalid API key")
    spent = who.refusal("speak", 401, "quota_exceeded", "0 credits remaining")
    assert isinstance(wrong, VendorAuthError)
    assert "tts.providers.elevenlabs.apiKey" in str(wrong)
    assert not isinstance(spent, VendorAuthError)
    assert "quota is used up" in str(spent)
