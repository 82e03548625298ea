"""The transcription session of OpenAI without a socket: its set-up, whose turn is whose, and what is never lost."""

import base64
import json
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.api.speech import Heard, SpeechEdge
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers._models import retirement_notice
from openclaw_voicecall.providers.openai.config import (
    OpenAISynthesizerConfig,
    OpenAITranscriberConfig,
    synthesizer_notices,
    transcriber_notices,
)
from openclaw_voicecall.providers.openai.models import (
    DEFAULT_TRANSCRIBER,
    TRANSCRIBER_RETIREMENTS,
    has_server_vad,
)
from openclaw_voicecall.providers.openai.session_config import (
    NULLABLE,
    SessionSettings,
    session_update,
    without_nulls,
)
from openclaw_voicecall.providers.openai.transcription import PRE_ROLL, Phase, TranscriptionSession

pytestmark = pytest.mark.unit

FRAME = 160
SECOND = 8000
SETTINGS = SessionSettings(model="gpt-transcribe", language="en")
MANUAL = SessionSettings(model="gpt-realtime-whisper", language="en", server_vad=False)


def voice(seconds, start=0):
    """Audio in which every frame is unlike its neighbours."""
    return b"".join(bytes([(start + n) % 250]) * FRAME for n in range(round(seconds * 50)))


def updated(settings=SETTINGS, **changes):
    session = json.loads(session_update(settings, "x"))["session"]
    session["audio"]["input"].update(changes)
    return json.dumps({"type": "session.updated", "event_id": "e", "session": session})


def event(kind, **fields):
    return json.dumps({"type": kind, "event_id": "e", **fields})


def error(message="No.", *, code=None, kind="invalid_request_error", param=None, event_id=None):
    said = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
    return event("error", error=said)


def committed(item, previous=None):
    return event("input_audio_buffer.committed", item_id=item, previous_item_id=previous)


def delta(item, text):
    return event(
        "conversation.item.input_audio_transcription.delta", item_id=item, content_index=0, delta=text
    )


def completed(item, text):
    return event(
        "conversation.item.input_audio_transcription.completed",
        item_id=item,
        content_index=0,
        transcript=text,
    )


def failed(item, *, code="audio_unintelligible", kind="transcription_error"):
    said = {"type": kind, "code": code, "message": "The audio could not be transcribed.", "param": None}
    return event(
        "conversation.item.input_audio_transcription.failed", item_id=item, content_index=0, error=said
    )


def started(item, ms):
    return event("input_audio_buffer.speech_started", item_id=item, audio_start_ms=ms)


def stopped(item, ms):
    return event("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=ms)


class Wire:
    """A session and everything that came out of it."""

    def __init__(self, settings=SETTINGS, *, ready=True):
        self.settings = settings
        self.session = TranscriptionSession(settings)
        self.sent = []
        self.events = []
        if ready:
            self.session.connected()
            self.hear(event("session.created", session={"type": "transcription"}))
            self.hear(updated(settings))
            self.sent.clear()

    def collect(self):
        self.sent += [json.loads(message) for message in self.session.take_messages()]
        self.events += self.session.take_events()
        return self.events

    def hear(self, *messages):
        for message in messages:
            self.session.receive(message)
            self.collect()

    def say(self, audio):
        for at in range(0, len(audio), FRAME):
            self.session.send(audio[at : at + FRAME])
        self.collect()

    def finish(self):
        self.session.finish_utterance()
        self.collect()

    @property
    def audio(self):
        return b"".join(
            base64.b64decode(message["audio"])
            for message in self.sent
            if message["type"] == "input_audio_buffer.append"
        )

    @property
    def commits(self):
        return [m["event_id"] for m in self.sent if m["type"] == "input_audio_buffer.commit"]

    @property
    def finals(self):
        return [e.text for e in self.events if isinstance(e, Heard) and e.final]

    @property
    def interims(self):
        return [e.text for e in self.events if isinstance(e, Heard) and not e.final]

    @property
    def edges(self):
        return [e for e in self.events if isinstance(e, SpeechEdge)]


def test_the_update_is_exactly_what_the_api_documents():
    assert json.loads(session_update(SETTINGS, "cfg-1")) == {
        "type": "session.update",
        "event_id": "cfg-1",
        "session": {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "transcription": {"model": "gpt-transcribe", "language": "en"},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 800,
                    },
                }
            },
        },
    }


def test_what_means_off_is_null_and_what_means_nothing_is_left_out():
    settings = SessionSettings(model="gpt-live-transcribe", server_vad=False, noise_reduction="off")
    given_input = json.loads(session_update(settings, "x"))["session"]["audio"]["input"]
    assert given_input["turn_detection"] is None
    assert given_input["noise_reduction"] is None
    assert given_input["transcription"] == {"model": "gpt-live-transcribe"}


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.sampled_from([*NULLABLE, "format", "language", "x"]), children, max_size=4)
    ),
)


def nulls(node, at=()):
    if node is None:
        yield at
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from nulls(value, (*at, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nulls(value, (*at, index))


@given(st.dictionaries(st.text(max_size=4), trees, max_size=4))
def test_no_null_is_left_anywhere_but_where_it_means_off(tree):
    left = list(nulls(without_nulls(tree)))
    assert all(path[-1] in NULLABLE for path in left)


def test_nothing_is_sent_before_the_socket_is_open_and_only_the_update_before_it_is_granted():
    wire = Wire(ready=False)
    wire.say(voice(0.5))
    wire.finish()
    assert wire.sent == []
    wire.session.connected()
    wire.collect()
    wire.hear(event("session.created", session={"type": "transcription"}))
    assert [message["type"] for message in wire.sent] == ["session.update"]
    assert wire.session.phase is Phase.CONFIGURING


def test_the_first_words_are_not_lost_while_the_session_is_set_up():
    wire = Wire(ready=False)
    wire.say(voice(0.5))
    wire.session.connected()
    wire.say(voice(1.0, start=25))
    wire.session.speech_started()
    wire.say(voice(0.5, start=75))
    wire.finish()
    wire.hear(updated())
    wire.say(voice(0.2, start=100))
    assert wire.audio == voice(2.2)
    kinds = [message["type"].rpartition(".")[2] for message in wire.sent]
    assert kinds == ["update", *["append"] * 100, "commit", *["append"] * 10]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format": {"type": "audio/pcm", "rate": 24000}}, "format"),
        ({"format": None}, "format"),
        ({"transcription": None}, "model"),
        ({"transcription": {"model": "whisper-1"}}, "whisper-1"),
        ({"transcription": {"model": "gpt-transcribe", "language": "de"}}, "language"),
        ({"turn_detection": None}, "turn_detection"),
        ({"turn_detection": {"type": "semantic_vad"}}, "semantic_vad"),
        ({"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}, "500"),
    ],
)
def test_a_session_that_is_not_what_was_asked_for_fails_the_set_up(changes, word):
    wire = Wire(ready=False)
    wire.session.connected()
    with pytest.raises(VendorRejected, match=word):
        wire.hear(updated(**changes))
    assert wire.session.phase is Phase.CONFIGURING


@pytest.mark.parametrize(
    "changes",
    [
        {"turn_detection": {"type": "server_vad", "threshold": 0.5000000238418579}},
        {"turn_detection": {"type": "server_vad", "idle_timeout_ms": None, "create_response": True}},
        {"transcription": {"model": "gpt-transcribe", "language": None, "prompt": ""}},
        {"noise_reduction": None},
    ],
)
def test_what_the_echo_says_besides_does_not_matter(changes):
    wire = Wire(ready=False)
    wire.session.connected()
    wire.hear(updated(**changes))
    assert wire.session.phase is Phase.READY


def test_turn_detection_that_stays_on_against_our_wish_fails_the_set_up():
    wire = Wire(MANUAL, ready=False)
    wire.session.connected()
    with pytest.raises(VendorRejected, match="turn_detection"):
        wire.hear(updated(MANUAL, turn_detection={"type": "server_vad"}))


def test_an_error_before_the_session_is_ready_names_the_vendors_words_its_code_and_its_parameter():
    wire = Wire(ready=False)
    wire.session.connected()
    with pytest.raises(VendorRejected) as caught:
        wire.hear(
            error(
                "Missing required parameter: 'session'.",
                code="missing_required_parameter",
                param="session.type",
            )
        )
    said = str(caught.value)
    assert "Missing required parameter: 'session'." in said
    assert "missing_required_parameter" in said
    assert "session.type" in said
    assert caught.value.vendor == "openai"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"code": "invalid_api_key"}, VendorAuthError),
        ({"code": "insufficient_quota", "kind": "insufficient_quota"}, VendorRateLimited),
        ({"kind": "server_error"}, VendorUnavailable),
        ({"code": "beta_api_shape_disabled"}, VendorRejected),
    ],
)
def test_errors_have_the_kind_that_says_what_to_do(fields, kind):
    wire = Wire(ready=False)
    wire.session.connected()
    with pytest.raises(kind) as caught:
        wire.hear(error(**fields))
    assert type(caught.value) is kind


def test_a_key_that_the_vendor_quotes_is_not_repeated():
    wire = Wire(ready=False)
    wire.session.connected()
    with pytest.raises(VendorAuthError) as caught:
        wire.hear(error("Incorrect API key provided: sk-proj-abc***wxyz.", code="invalid_api_key"))
    assert "sk-proj" not in str(caught.value)
    assert "wxyz" not in str(caught.value)


def test_a_conversation_session_is_refused():
    wire = Wire(ready=False)
    wire.session.connected()
    with pytest.raises(VendorRejected, match="realtime"):
        wire.hear(event("session.created", session={"type": "realtime"}))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "7",
        b"\xff\xfe",
        "[" * 5000,
        event("input_audio_buffer.committed"),
        completed(7, "x"),
    ],
)
def test_what_cannot_be_read_is_the_vendors_failure(message):
    with pytest.raises(VendorError):
        Wire().hear(message)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "commit-1", "transcription", "server_error", "input_audio_buffer_commit_empty"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "audio", "input", "turn_detection", "threshold", "code", "event_id", "message"]
            ),
            children,
            max_size=3,
        )
    ),
    max_leaves=8,
)
wild = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "error",
                "session.created",
                "session.updated",
                *(f"input_audio_buffer.{what}" for what in ("speech_started", "speech_stopped", "committed")),
                *(
                    f"conversation.item.input_audio_transcription.{what}"
                    for what in ("delta", "completed", "failed", "segment")
                ),
            ]
        )
    },
    optional=dict.fromkeys(
        [
            "session",
            "error",
            "item_id",
            "previous_item_id",
            "audio_start_ms",
            "audio_end_ms",
            "delta",
            "transcript",
        ],
        values,
    ),
)


@given(st.booleans(), st.booleans(), st.lists(wild, max_size=12))
def test_nothing_that_the_vendor_sends_breaks_anything_but_the_session(ready, manual, messages):
    wire = Wire(MANUAL if manual else SETTINGS, ready=ready)
    with suppress(VendorError):
        for message in messages:
            wire.hear(json.dumps(message))
            wire.session.speech_started()
            wire.say(voice(0.2))
            wire.finish()
            wire.session.require_answers()


def test_unknown_events_are_passed_over():
    wire = Wire()
    wire.hear(
        event("conversation.item.added", item={}), event("rate_limits.updated"), event("new.thing"), "{}"
    )
    assert wire.events == []


def test_words_come_as_interims_and_then_as_a_final():
    wire = Wire()
    wire.say(voice(1))
    wire.hear(committed("a"), delta("a", "Hello"), delta("a", " there"), completed("a", " Hello there. "))
    assert wire.events == [Heard("Hello", False), Heard("Hello there", False), Heard("Hello there.", True)]


def test_finals_come_in_the_order_of_the_turns():
    wire = Wire()
    wire.hear(committed("a"), committed("b", "a"), completed("b", "second"))
    assert wire.finals == []
    assert wire.interims == ["second"]
    wire.hear(completed("a", "first"))
    assert wire.finals == ["first", "second"]


def test_the_words_of_the_next_utterance_stay_visible_when_the_one_before_is_final():
    wire = Wire()
    wire.hear(committed("a"), committed("b", "a"), delta("b", "and more"), completed("a", "first"))
    assert wire.events[-2:] == [Heard("first", True), Heard("and more", False)]


@st.composite
def transcriptions(draw):
    """Commits in order, and for each item its words, at any place that is not before its own earlier words."""
    count = draw(st.integers(1, 6))
    lanes = [[committed(f"i{n}", f"i{n - 1}" if n else None) for n in range(count)]]
    for n in range(count):
        words = [delta(f"i{n}", f"w{n} ") for _ in range(draw(st.integers(0, 2)))]
        lanes.append([*words, completed(f"i{n}", f"text {n}")])
    order = draw(st.permutations([lane for lane, events in enumerate(lanes) for _ in events]))
    queues = [iter(lane) for lane in lanes]
    return count, [next(queues[lane]) for lane in order]


@given(transcriptions())
def test_whatever_the_order_of_events_finals_come_once_and_in_turn(case):
    count, messages = case
    wire = Wire()
    wire.hear(*messages)
    assert wire.finals == [f"text {n}" for n in range(count)]
    assert not wire.session.is_finished
    wire.session.end()
    assert wire.session.is_finished


@given(transcriptions(), st.data())
def test_events_that_come_twice_change_nothing(case, data):
    count, messages = case
    again = data.draw(st.lists(st.sampled_from(messages), max_size=4))
    wire = Wire()
    wire.hear(*messages, *again)
    assert wire.finals == [f"text {n}" for n in range(count)]


def test_an_utterance_that_cannot_be_transcribed_does_not_hold_up_the_turn():
    wire = Wire()
    wire.hear(committed("a"), delta("a", "Hel"), failed("a"), committed("b", "a"), completed("b", "next"))
    assert wire.finals == ["Hel", "next"]


def test_a_second_failure_in_a_row_is_an_error():
    wire = Wire()
    wire.hear(committed("a"), failed("a"), committed("b", "a"))
    with pytest.raises(VendorRejected, match="could not be transcribed"):
        wire.hear(failed("b"))


def test_a_failure_of_the_service_is_an_error_at_once_so_that_the_words_can_be_said_again():
    wire = Wire()
    wire.hear(committed("a"))
    with pytest.raises(VendorUnavailable):
        wire.hear(failed("a", code=None, kind="server_error"))


def test_edges_say_how_long_ago_speech_began_and_ended():
    wire = Wire()
    wire.say(voice(2))
    wire.hear(started("a", 1500))
    wire.say(voice(3))
    wire.hear(stopped("a", 4600))
    began, ended = wire.edges
    assert began == SpeechEdge(speaking=True, ago=pytest.approx(0.2))
    assert ended == SpeechEdge(speaking=False, ago=pytest.approx(0.4 + 0.8), closes=True)


def test_times_that_lie_ahead_are_now():
    wire = Wire()
    wire.say(voice(1))
    wire.hear(started("a", 5000), stopped("a", 9000))
    assert [edge.ago for edge in wire.edges] == [0.0, 0.0]


def test_an_utterance_that_the_vendor_has_ended_is_waited_for_not_committed_again():
    wire = Wire()
    wire.say(voice(2))
    wire.hear(started("a", 100), stopped("a", 1900))
    wire.finish()
    wire.hear(committed("a"))
    wire.finish()
    assert wire.commits == []
    assert wire.finals == []
    wire.hear(completed("a", "Yes."))
    assert wire.finals == ["Yes."]


def test_speech_that_the_vendor_still_hears_is_committed_when_the_turn_is_over():
    wire = Wire()
    wire.say(voice(2))
    wire.hear(started("a", 100))
    wire.finish()
    assert wire.commits == ["commit-1"]
    assert [edge.speaking for edge in wire.edges] == [True, False]
    wire.finish()
    assert wire.commits == ["commit-1"]
    wire.hear(committed("a"), completed("a", "Yes."))
    assert wire.finals == ["Yes."]


def test_speech_that_only_the_turn_detector_heard_is_committed():
    wire = Wire()
    wire.session.speech_started()
    wire.say(voice(1))
    wire.session.speech_stopped()
    wire.finish()
    assert wire.commits == ["commit-1"]
    wire.hear(committed("a"), completed("a", "Hm?"))
    assert wire.finals == ["Hm?"]


def test_a_turn_without_speech_gets_an_empty_final_at_once():
    wire = Wire()
    wire.say(voice(1))
    wire.finish()
    assert wire.finals == [""]
    assert wire.commits == []


def test_a_sound_too_short_to_commit_gets_an_empty_final_at_once():
    wire = Wire()
    wire.session.speech_started()
    wire.say(voice(0.08))
    wire.finish()
    assert wire.finals == [""]
    assert wire.commits == []


@pytest.mark.parametrize("echo", [True, False])
def test_a_commit_that_finds_nothing_gets_an_empty_final(echo):
    wire = Wire()
    wire.session.speech_started()
    wire.say(voice(1))
    wire.finish()
    wire.hear(error(code="input_audio_buffer_commit_empty", event_id="commit-1" if echo else None))
    assert wire.finals == [""]
    wire.session.end()
    assert wire.session.is_finished


def test_a_commit_that_crosses_the_vendors_own_gets_its_words_once():
    wire = Wire()
    wire.say(voice(2))
    wire.hear(started("a", 100))
    wire.finish()
    wire.hear(stopped("a", 1900), committed("a"))
    wire.hear(error(code="input_audio_buffer_commit_empty", event_id="commit-1"))
    assert wire.finals == []
    wire.hear(completed("a", "Yes."))
    assert wire.finals == ["Yes."]
    assert [edge.speaking for edge in wire.edges] == [True, False]


def test_a_few_refused_messages_are_survived_and_many_are_not():
    wire = Wire()
    for _ in range(5):
        wire.hear(error("What?", code="invalid_value"))
    with pytest.raises(VendorRejected, match="What"):
        wire.hear(error("What?", code="invalid_value"))


@pytest.mark.parametrize("code", ["session_expired", "insufficient_quota", "invalid_api_key"])
def test_an_error_about_the_session_or_the_account_ends_it(code):
    with pytest.raises(VendorError):
        Wire().hear(error(code=code))


def test_an_utterance_that_is_never_transcribed_is_an_error():
    wire = Wire()
    wire.say(voice(2))
    wire.hear(committed("a"))
    wire.say(voice(9.9))
    wire.session.require_answers()
    wire.say(voice(0.2))
    with pytest.raises(VendorTimeout):
        wire.session.require_answers()


def test_a_commit_without_an_answer_is_an_error():
    wire = Wire(MANUAL)
    wire.session.speech_started()
    wire.say(voice(1))
    wire.finish()
    wire.say(voice(10.1))
    with pytest.raises(VendorTimeout):
        wire.session.require_answers()


def test_long_speech_is_no_missing_answer():
    wire = Wire(MANUAL)
    wire.session.speech_started()
    wire.hear(delta("a", "On and"))
    wire.say(voice(30))
    wire.session.require_answers()


def test_the_rest_is_committed_when_the_stream_ends():
    wire = Wire()
    wire.say(voice(1))
    wire.hear(started("a", 0))
    wire.session.end()
    wire.collect()
    assert wire.commits == ["commit-1"]
    assert not wire.session.is_finished
    wire.hear(committed("a"))
    assert not wire.session.is_finished
    wire.hear(completed("a", "Bye."))
    assert wire.session.is_finished
    assert wire.finals == ["Bye."]


def test_a_sound_at_the_very_end_is_committed_although_nobody_has_told_of_it_yet():
    wire = Wire()
    wire.say(voice(1))
    wire.session.end()
    wire.collect()
    assert wire.commits == ["commit-1"]


def test_silence_at_the_end_is_not_committed_because_models_hear_words_in_it():
    wire = Wire()
    wire.say(voice(1))
    wire.say(b"\xff" * SECOND)
    wire.session.end()
    wire.collect()
    assert wire.commits == []
    assert wire.session.is_finished


def test_less_than_100_ms_is_not_committed_when_the_stream_ends():
    wire = Wire()
    wire.say(voice(0.08))
    wire.session.end()
    wire.collect()
    assert wire.commits == []
    assert wire.session.is_finished


def test_without_server_vad_only_utterances_are_sent_with_what_came_just_before_them():
    wire = Wire(MANUAL)
    wire.say(voice(3))
    assert wire.audio == b""
    wire.session.speech_started()
    wire.say(voice(1, start=150))
    assert wire.audio == voice(4)[-SECOND - PRE_ROLL :]
    wire.session.speech_stopped()
    wire.say(voice(0.5, start=200))
    wire.finish()
    assert wire.commits == ["commit-1"]
    wire.say(voice(1))
    assert len(wire.audio) == PRE_ROLL + SECOND * 3 // 2


def test_without_server_vad_no_word_is_sent_twice_and_none_between_turns_is_lost():
    wire = Wire(MANUAL)
    wire.session.speech_started()
    wire.say(voice(1))
    wire.session.speech_stopped()
    wire.say(voice(0.2, start=50))
    wire.finish()
    first = len(wire.audio)
    wire.say(voice(0.1, start=60))
    wire.session.speech_started()
    wire.collect()
    # The pause is 0.2 s old, and its report came 0.1 s or more after the last word.
    assert wire.audio[first:] == voice(2)[SECOND - 800 : SECOND + 2400]


def test_without_server_vad_speech_that_goes_on_belongs_to_the_next_utterance():
    wire = Wire(MANUAL)
    wire.session.speech_started()
    wire.say(voice(1))
    wire.finish()
    wire.say(voice(1, start=50))
    assert wire.audio == voice(2)
    wire.session.speech_stopped()
    wire.finish()
    assert wire.commits == ["commit-1", "commit-2"]


def test_without_server_vad_a_turn_without_speech_gets_an_empty_final_at_once():
    wire = Wire(MANUAL)
    wire.say(voice(2))
    wire.finish()
    assert wire.finals == [""]
    assert wire.sent == []


def test_a_session_can_be_left_only_when_nothing_would_be_lost():
    wire = Wire()
    wire.say(voice(2))
    assert wire.session.is_quiet
    wire.hear(started("a", 1000))
    assert not wire.session.is_quiet
    wire.hear(stopped("a", 2000), committed("a"))
    wire.say(voice(2))
    assert not wire.session.is_quiet
    wire.hear(completed("a", "Yes."))
    assert wire.session.is_quiet


def test_the_default_model_lasts_and_detects_turns():
    assert has_server_vad(DEFAULT_TRANSCRIBER)
    assert retirement_notice(DEFAULT_TRANSCRIBER, TRANSCRIBER_RETIREMENTS, date(2026, 11, 1)) is None
    assert transcriber_notices(OpenAITranscriberConfig()) == []


@pytest.mark.parametrize(
    ("model", "vad"),
    [
        ("gpt-transcribe", True),
        ("gpt-4o-transcribe", True),
        ("whisper-1", True),
        ("gpt-live-transcribe", False),
        ("gpt-realtime-whisper", False),
        ("gpt-realtime-whisper-2026-05-01", False),
    ],
)
def test_which_models_detect_turns(model, vad):
    assert has_server_vad(model) is vad


def test_the_owner_is_told_about_models_that_end_and_models_without_turns():
    (retired,) = transcriber_notices(OpenAITranscriberConfig(model="gpt-4o-transcribe"))
    assert "2027-02-26" in retired
    assert "gpt-transcribe" in retired
    without, unused = transcriber_notices(
        OpenAITranscriberConfig(model="gpt-realtime-whisper", silence_duration_ms=500)
    )
    assert "turn detector" in without
    assert "silenceDurationMs" in unused
    spoken = synthesizer_notices(OpenAISynthesizerConfig(model="tts-1", instructions="Whisper."))
    assert len(spoken) == 2
    assert "2027-01-06" in spoken[0]
