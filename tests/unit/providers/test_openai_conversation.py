"""A speech-to-speech session of OpenAI without a socket: nothing is said too early, twice, or by nobody."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime as sdk

from openclaw_voicecall.api.realtime import (
    CallerSaid,
    KeyPressed,
    ModelTool,
    PlaybackBegan,
    PlaybackEnded,
    RealtimeRequest,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyText,
    SessionExpiring,
    SessionReady,
    ToolCalled,
    VendorComplained,
)
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.providers.openai.accept_check import sdk_problems
from openclaw_voicecall.providers.openai.conversation import COMPLAINTS, Phase, VoiceSession
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig
from openclaw_voicecall.providers.openai.voice_settings import voice_settings

pytestmark = pytest.mark.unit

FRAME = b"\x7f" * 160
LOOK_UP = ModelTool(name="look_up", description="", parameters={"type": "object", "properties": {}})
SHAPES = {
    "session.update": sdk.SessionUpdateEventParam,
    "response.create": sdk.ResponseCreateEventParam,
    "response.cancel": sdk.ResponseCancelEventParam,
    "conversation.item.create": sdk.ConversationItemCreateEventParam,
    "conversation.item.truncate": sdk.ConversationItemTruncateEventParam,
    "input_audio_buffer.append": sdk.InputAudioBufferAppendEventParam,
    "output_audio_buffer.clear": sdk.OutputAudioBufferClearEventParam,
}


class Hand:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now


class Talk:
    """A session, and what came out of it so far. Every message is held against the SDK's types."""

    def __init__(self, *, sip=False, attached=False, history=(), config=None, age=0.0):
        self.clock = Hand()
        request = RealtimeRequest(call_id="c1", instructions="Be kind.", tools=(LOOK_UP,), history=history)
        settings = voice_settings(
            OpenAIVoiceConfig.model_validate(config or {}), request, sip=sip, attached=attached
        )
        self.session = VoiceSession(settings, self.clock, age=age)
        self.sent = []
        self.events = []

    def __getattr__(self, name):
        method = getattr(self.session, name)

        def call(*arguments, **named):
            try:
                return method(*arguments, **named)
            finally:
                self.collect()

        return call

    def collect(self):
        for text in self.session.take_messages():
            message = json.loads(text)
            assert sdk_problems(SHAPES[message["type"]], message) == []
            assert message["event_id"] not in [each["event_id"] for each in self.sent]
            self.sent.append(message)
        self.events += self.session.take_events()

    def event(self, kind, **fields):
        self.receive(json.dumps({"type": kind, "event_id": "e", **fields}))

    def error(self, message="No.", *, code=None, kind="invalid_request_error", param=None, about=None):
        said = {"type": kind, "code": code, "message": message, "param": param, "event_id": about}
        self.event("error", error=said)

    def echo(self, message=None, **changes):
        self.event("session.updated", session={**(message or self.updates[-1])["session"], **changes})

    def ready(self):
        self.connected()
        self.echo()
        assert self.events[-1] == SessionReady()
        return self

    def created(self, reply, message=None, **fields):
        metadata = message["response"]["metadata"] if message else None
        self.event("response.created", response={"id": reply, "metadata": metadata, **fields})

    def done(self, reply, status="completed", **fields):
        self.event("response.done", response={"id": reply, "status": status, **fields})

    def audio(self, reply, item, ms):
        payload = base64.b64encode(b"\x01" * ms * 8).decode()
        self.event(
            "response.output_audio.delta",
            response_id=reply,
            item_id=item,
            output_index=0,
            content_index=0,
            delta=payload,
        )

    def calls(self, reply, call, name="look_up"):
        item = {
            "type": "function_call",
            "status": "completed",
            "call_id": call,
            "name": name,
            "arguments": "{}",
        }
        self.event("response.output_item.done", response_id=reply, item=item)

    def of(self, kind):
        return [message for message in self.sent if message["type"] == kind]

    @property
    def updates(self):
        return self.of("session.update")

    @property
    def asked(self):
        return self.of("response.create")

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def test_nothing_is_sent_or_said_before_the_voice_is_confirmed():
    talk = Talk(history=(Line("caller", "Hello?"), Line("agent", "Good morning.")))
    talk.send(FRAME)
    talk.say("Welcome.", asked="greeting")
    talk.connected()
    talk.send(FRAME)
    assert [message["type"] for message in talk.sent] == ["session.update"]
    talk.echo()
    assert [message["type"] for message in talk.sent[1:]] == [
        "conversation.item.create",
        "conversation.item.create",
        "input_audio_buffer.append",
        "input_audio_buffer.append",
        "response.create",
    ]
    assert talk.asked[0]["response"]["audio"]["output"]["voice"] == "marin"
    assert talk.told(SessionReady)


def test_a_set_up_in_another_voice_is_an_error_that_names_it():
    talk = Talk()
    talk.connected()
    wrong = json.loads(json.dumps(talk.updates[0]["session"]["audio"]))
    wrong["output"]["voice"] = "alloy"
    with pytest.raises(VendorRejected, match=r"audio\.output\.voice is 'alloy'"):
        talk.echo(audio=wrong)
    assert talk.session.phase is not Phase.READY


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"message": "Unknown parameter", "param": "session.x"}, VendorRejected),
        ({"message": "No key", "code": "invalid_api_key"}, VendorAuthError),
        ({"message": "Slow down", "code": "rate_limit_exceeded"}, VendorRateLimited),
        ({"message": "The hour is over", "code": "session_expired"}, VendorUnavailable),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_refused_set_up_says_what_and_where(fields, kind, named):
    talk = Talk()
    talk.connected()
    with pytest.raises(kind) as refused:
        talk.error(**fields, about=talk.updates[0]["event_id"] if named else None)
    assert fields["message"] in str(refused.value)
    assert fields.get("param", "") in str(refused.value)


def test_a_reply_waits_for_the_one_under_way_and_keeps_its_name():
    talk = Talk().ready()
    talk.say("One.", asked="a")
    talk.say("Two.", asked="b")
    assert len(talk.asked) == 1
    talk.created("r1", talk.asked[0])
    assert len(talk.asked) == 1
    talk.done("r1")
    talk.created("r2", talk.asked[1])
    talk.done("r2", "incomplete", status_details={"reason": "max_output_tokens"})
    assert talk.told(ReplyBegan) == [ReplyBegan("r1", "a"), ReplyBegan("r2", "b")]
    assert talk.told(ReplyEnded) == [
        ReplyEnded("r1", "completed", "", "a"),
        ReplyEnded("r2", "incomplete", "max_output_tokens", "b"),
    ]


@pytest.mark.parametrize("code", ["conversation_already_has_active_response", None])
def test_where_openai_was_quicker_the_reply_is_asked_for_again_after_it(code):
    talk = Talk().ready()
    talk.answer("12#", asked="keys")
    talk.created("own")
    message = "Conversation already has an active response in progress: own."
    talk.error(message, code=code, about=talk.asked[0]["event_id"] if code else None)
    assert len(talk.asked) == 1
    talk.done("own")
    talk.created("r2", talk.asked[1])
    assert len(talk.of("conversation.item.create")) == 1
    assert talk.told(ReplyBegan) == [ReplyBegan("own"), ReplyBegan("r2", "keys")]


def test_a_reply_that_is_busy_with_nothing_is_asked_for_again_after_a_while():
    talk = Talk().ready()
    talk.say("Hello.", asked="a")
    talk.error("Conversation already has an active response", about=talk.asked[0]["event_id"])
    assert len(talk.asked) == 1
    talk.clock.now += 2.5
    talk.tick()
    assert len(talk.asked) == 2


def test_an_answer_of_the_models_own_is_not_taken_for_the_one_that_was_asked_for():
    talk = Talk().ready()
    talk.event("input_audio_buffer.committed", item_id="i1", previous_item_id=None)
    talk.say("One moment.", asked="filler")
    talk.created("own")
    talk.done("own")
    talk.created("r2", talk.asked[0])
    assert talk.told(ReplyBegan) == [ReplyBegan("own", ""), ReplyBegan("r2", "filler")]


def test_replies_are_known_by_their_order_where_the_server_keeps_no_metadata():
    talk = Talk().ready()
    talk.say("One.", asked="a")
    talk.event("response.created", response={"id": "r1", "status": "in_progress"})
    assert talk.told(ReplyBegan) == [ReplyBegan("r1", "a")]


@pytest.mark.parametrize("named", [True, False])
def test_a_reply_that_is_refused_has_ended_all_the_same(named):
    talk = Talk().ready()
    talk.say("One.", asked="a")
    talk.error(
        "No such voice",
        param="response.audio.output.voice",
        about=talk.asked[0]["event_id"] if named else None,
    )
    ended = talk.told(ReplyEnded)[0]
    assert (ended.status, ended.asked) == ("failed", "a")
    assert "No such voice" in ended.detail
    talk.say("Two.", asked="b")
    assert len(talk.asked) == 2


def test_a_reply_that_never_begins_has_ended_after_a_while():
    talk = Talk().ready()
    talk.say("One.", asked="a")
    talk.clock.now += 11
    talk.tick()
    assert [(each.status, each.asked) for each in talk.told(ReplyEnded)] == [("failed", "a")]


def test_a_cut_reply_is_cancelled_truncated_to_what_was_heard_and_heard_no_more():
    talk = Talk().ready()
    talk.created("r1")
    talk.audio("r1", "i1", 400)
    talk.event("response.output_audio.done", response_id="r1", item_id="i1", content_index=0)
    talk.audio("r1", "i2", 400)
    talk.cut("r1", [("i1", 400), ("i2", 9999)])
    assert talk.of("response.cancel")[0]["response_id"] == "r1"
    # What was heard to its end keeps its words; of the other no more was made than this.
    assert [(each["item_id"], each["audio_end_ms"]) for each in talk.of("conversation.item.truncate")] == [
        ("i2", 400)
    ]
    talk.audio("r1", "i2", 100)
    talk.event("response.output_audio_transcript.delta", response_id="r1", item_id="i2", delta="late")
    talk.cut("r1", [("i2", 10)])
    assert sum(len(each.audio) for each in talk.told(ReplyAudio)) == 800 * 8
    assert not talk.told(ReplyText)
    assert len(talk.of("response.cancel")) == len(talk.of("conversation.item.truncate")) == 1
    talk.done("r1", "cancelled", status_details={"reason": "client_cancelled"})
    assert talk.told(ReplyEnded) == [ReplyEnded("r1", "cancelled", "client_cancelled", "")]


def test_a_reply_that_is_complete_is_truncated_without_a_cancel_and_unheard_items_to_nothing():
    talk = Talk().ready()
    talk.created("r1")
    talk.audio("r1", "i1", 1000)
    talk.audio("r1", "i2", 1000)
    talk.done("r1")
    talk.cut("r1", [("i1", 480)])
    assert not talk.of("response.cancel")
    assert [(each["item_id"], each["audio_end_ms"]) for each in talk.of("conversation.item.truncate")] == [
        ("i1", 480),
        ("i2", 0),
    ]


def test_a_cancel_that_comes_too_late_is_nobodys_business():
    talk = Talk().ready()
    talk.created("r1")
    talk.cut("r1", [])
    talk.error("Cancellation failed: no active response found", code="response_cancel_not_active")
    assert not talk.told(VendorComplained)


def test_the_model_goes_on_once_after_the_last_result_of_a_reply():
    talk = Talk().ready()
    talk.created("r1")
    talk.calls("r1", "c1")
    talk.calls("r1", "c2")
    talk.calls("r1", "c2")
    talk.give_result("c1", "one", asked="after")
    assert [each["item"]["call_id"] for each in talk.of("conversation.item.create")] == ["c1"]
    talk.done("r1")
    assert not talk.asked
    talk.give_result("c2", "two", answer=False)
    assert len(talk.asked) == 1
    talk.give_result("c2", "two again")
    talk.created("r2", talk.asked[0])
    assert talk.told(ReplyBegan)[-1] == ReplyBegan("r2", "after")
    assert [each.call for each in talk.told(ToolCalled)] == ["c1", "c2"]
    assert len(talk.of("conversation.item.create")) == 2


def test_a_result_that_the_model_need_not_speak_of_asks_for_nothing():
    talk = Talk().ready()
    talk.created("r1")
    call = {"type": "function_call", "status": "completed", "call_id": "c1", "name": "x", "arguments": "{}"}
    talk.done("r1", output=[call, "?"])
    talk.give_result("c1", "done", answer=False)
    assert talk.told(ToolCalled) == [ToolCalled("c1", "x", "{}", "r1")]
    assert len(talk.of("conversation.item.create")) == 1
    assert not talk.asked


def test_a_result_for_another_session_ends_the_reply_that_somebody_waits_for():
    talk = Talk().ready()
    talk.give_result("gone", "x", asked="a")
    assert [(each.status, each.asked) for each in talk.told(ReplyEnded)] == [("failed", "a")]
    assert not talk.of("conversation.item.create")


@given(st.permutations(["c1", "c2", "c3"]), st.permutations(range(6)))
def test_callers_words_come_in_the_order_in_which_they_were_said(finals, order):
    talk = Talk().ready()
    steps = [("commit", "c1", None), ("commit", "c2", "c1"), ("commit", "c3", "c2")]
    steps += [("words", item, None) for item in finals]
    for at in order:
        what, item, previous = steps[at]
        if what == "commit":
            talk.event("input_audio_buffer.committed", item_id=item, previous_item_id=previous)
        else:
            talk.event(
                "conversation.item.input_audio_transcription.completed",
                item_id=item,
                content_index=0,
                transcript=f"words of {item}",
            )
    said = [each.item for each in talk.told(CallerSaid) if each.final]
    assert sorted(said) == ["c1", "c2", "c3"]
    commits = [steps[at][1] for at in order if at < 3]
    assert said == ["c1", "c2", "c3"] or commits != ["c1", "c2", "c3"]


def test_words_that_cannot_be_made_out_hold_nobody_up():
    talk = Talk().ready()
    for item, previous in (("c1", None), ("c2", "c1"), ("c3", "c2")):
        talk.event("input_audio_buffer.committed", item_id=item, previous_item_id=previous)
    prefix = "conversation.item.input_audio_transcription"
    talk.event(f"{prefix}.delta", item_id="c1", delta="Hel")
    talk.event(f"{prefix}.failed", item_id="c1", error={"message": "No."})
    talk.event(f"{prefix}.completed", item_id="c3", transcript="Bye.")
    assert talk.told(CallerSaid) == [CallerSaid("c1", "Hel", False), CallerSaid("c1", "", True)]
    talk.clock.now += 11
    talk.tick()
    assert talk.told(CallerSaid)[2:] == [CallerSaid("c2", "", True), CallerSaid("c3", "Bye.", True)]


def test_edges_of_speech_count_from_the_audio_that_was_sent():
    talk = Talk().ready()
    talk.send(FRAME * 50)
    talk.event("input_audio_buffer.speech_started", item_id="i", audio_start_ms=200)
    talk.event("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=1000)
    assert talk.told(SpeechEdge) == [SpeechEdge(True, ago=0.5), SpeechEdge(False, ago=0.5)]


def test_attention_is_switched_with_the_whole_turn_detection():
    talk = Talk().ready()
    talk.attend(False)
    talk.attend(False)
    detection = talk.updates[-1]["session"]["audio"]["input"]["turn_detection"]
    assert len(talk.updates) == 2
    assert detection == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": False,
        "interrupt_response": False,
    }
    assert talk.updates[-1]["session"]["type"] == "realtime"
    talk.attend(True)
    assert talk.updates[-1]["session"]["audio"]["input"]["turn_detection"]["create_response"] is True


def test_attention_that_changes_during_the_set_up_is_asked_for_after_it():
    talk = Talk()
    talk.connected()
    talk.attend(False)
    talk.echo()
    assert talk.updates[-1]["session"]["audio"]["input"]["turn_detection"]["create_response"] is False
    early = Talk()
    early.attend(False)
    early.ready()
    assert len(early.updates) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_refused_later_update_is_told_and_everything_is_asked_for_once_more(named):
    talk = Talk(config={"tracing": {}}).ready()
    talk.attend(False)
    talk.error(
        "Nothing was applied", param="session.x", about=talk.updates[-1]["event_id"] if named else None
    )
    assert [each.what for each in talk.told(VendorComplained)] == ["session.update"]
    repair = talk.updates[-1]["session"]
    assert [tool["name"] for tool in repair["tools"]] == ["look_up"]
    assert repair["audio"]["input"]["turn_detection"]["create_response"] is False
    assert "tracing" not in repair
    talk.error(
        "Nothing was applied", param="session.x", about=talk.updates[-1]["event_id"] if named else None
    )
    assert len(talk.updates) == 3


def test_the_voice_is_not_named_again_once_it_was_heard():
    talk = Talk().ready()
    talk.created("r1")
    talk.audio("r1", "i1", 20)
    talk.attend(False)
    talk.error("No.", about=talk.updates[-1]["event_id"])
    assert "voice" not in talk.updates[-1]["session"]["audio"]["output"]


def test_an_update_that_is_not_granted_is_told_and_repaired():
    talk = Talk().ready()
    talk.attend(False)
    talk.echo(talk.updates[0])
    assert "create_response" in talk.told(VendorComplained)[0].detail
    assert len(talk.updates) == 3


def test_an_error_that_is_the_end_ends_the_session():
    for code, kind in (("session_expired", VendorUnavailable), ("invalid_api_key", VendorAuthError)):
        talk = Talk().ready()
        with pytest.raises(kind):
            talk.error("Over.", code=code)


def test_errors_without_end_are_the_end():
    talk = Talk().ready()
    for _ in range(COMPLAINTS):
        talk.error("No.")
    with pytest.raises(VendorError):
        talk.error("No.")
    assert len(talk.told(VendorComplained)) == COMPLAINTS + 1


def test_the_end_of_the_hour_is_announced_once():
    talk = Talk(age=60.0).ready()
    talk.clock.now = 3600 - 60 - 181
    talk.tick()
    assert not talk.told(SessionExpiring)
    talk.clock.now += 2
    talk.tick()
    talk.tick()
    assert [round(each.seconds) for each in talk.told(SessionExpiring)] == [179]


def test_a_sip_call_tells_what_is_played_and_pressed_and_is_cut_where_it_is_played():
    talk = Talk(sip=True).ready()
    talk.send(FRAME)
    talk.say("Hello.", asked="a")
    assert "format" not in talk.asked[0]["response"]["audio"]["output"]
    talk.created("r1", talk.asked[0])
    talk.event("output_audio_buffer.started", response_id="r1")
    talk.audio("r1", "i1", 500)
    talk.done("r1")
    talk.event("input_audio_buffer.dtmf_event_received", event="5", received_at=1)
    talk.cut("r1", [("i1", 100)])
    talk.event("output_audio_buffer.cleared", response_id="r1")
    assert [message["type"] for message in talk.sent] == [
        "session.update",
        "response.create",
        "output_audio_buffer.clear",
    ]
    assert talk.events[1:] == [
        ReplyBegan("r1", "a"),
        PlaybackBegan("r1"),
        ReplyEnded("r1", "completed", "", "a"),
        KeyPressed("5"),
        PlaybackEnded("r1", cut=True),
    ]


def test_a_refused_accept_is_repaired_once_before_anything_is_said():
    talk = Talk(sip=True, config={"noiseReduction": "near_field", "speed": 1.2})
    talk.say("Hello.", asked="a")
    talk.connected()
    talk.error("Invalid value", param="session.tracing", about="initial_session_update")
    repair = talk.updates[-1]
    assert len(talk.updates) == 2
    assert "noise_reduction" not in repair["session"]["audio"]["input"]
    talk.error("Invalid value", about=talk.updates[0]["event_id"])
    assert not talk.asked
    talk.echo(repair)
    assert talk.told(SessionReady)
    assert len(talk.asked) == 1
    assert "accept" in [each.what for each in talk.told(VendorComplained)]


def test_an_accept_whose_repair_is_refused_as_well_is_an_error():
    talk = Talk(sip=True)
    talk.connected()
    talk.error("Invalid value", param="session.tools[0].type", about="initial_session_update")
    talk.error("Invalid value", about=talk.updates[0]["event_id"])
    with pytest.raises(VendorRejected, match="Invalid value"):
        talk.error("Invalid value", about=talk.updates[1]["event_id"])


def test_a_repaired_session_that_has_lost_the_calls_audio_format_is_an_error():
    talk = Talk(sip=True)
    talk.connected()
    talk.error("Invalid value", param="session.tools[0].type", about="initial_session_update")
    audio = json.loads(json.dumps(talk.updates[-1]["session"]["audio"]))
    audio["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
    with pytest.raises(VendorRejected, match="static") as lost:
        talk.echo(audio=audio)
    assert "tools[0].type" in str(lost.value.__cause__)


def test_a_format_that_changes_during_a_call_is_an_error():
    talk = Talk(sip=True)
    talk.connected()
    audio = json.loads(json.dumps(talk.updates[-1]["session"]["audio"]))
    audio["output"]["format"] = {"type": "audio/pcmu"}
    talk.echo(audio=audio)
    talk.attend(False)
    audio["output"]["format"] = {"type": "audio/pcm"}
    with pytest.raises(VendorRejected, match="static"):
        talk.echo(audio=audio)


def test_a_fresh_socket_of_an_old_call_names_neither_voice_nor_tracing_nor_the_past():
    talk = Talk(sip=True, attached=True, history=(Line("caller", "Hi."),), config={"tracing": {}})
    talk.connected()
    session = talk.updates[0]["session"]
    assert "tracing" not in session
    assert "output" not in session["audio"]
    talk.echo(audio={**session["audio"], "output": {"voice": "alloy"}})
    assert talk.told(SessionReady)
    assert "alloy" in talk.told(VendorComplained)[0].detail
    assert not talk.of("conversation.item.create")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.sampled_from(["r1", "i1", "c1", "", "AAAA"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "metadata",
                    "status",
                    "output",
                    "item",
                    "error",
                    "code",
                    "type",
                    "call_id",
                    "name",
                    "message",
                ]
            ),
            inner,
        )
    ),
    max_leaves=6,
)
KINDS = [
    "error", "session.created", "session.updated", "response.created", "response.done", "response.output_item.done",
    "response.output_audio.delta", "response.output_audio.done", "response.output_audio_transcript.delta",
    "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.delta", "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed", "output_audio_buffer.started",
    "output_audio_buffer.cleared", "input_audio_buffer.dtmf_event_received", "rate_limits.updated", "new.thing",
]  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        name: VALUES
        for name in (
            "session", "response", "error", "item", "item_id", "response_id", "delta", "transcript", "event",
            "previous_item_id", "audio_start_ms", "audio_end_ms", "content_index",
        )
    },
)  # fmt: skip
ACTS = st.sampled_from(["say", "answer", "cut", "attend", "result", "send", "later"])


@given(st.booleans(), st.lists(FIELDS | ACTS | VALUES, max_size=25))
def test_whatever_openai_sends_nothing_crashes_and_every_message_fits_the_sdk(sip, steps):
    talk = Talk(sip=sip).ready()
    asked = 0
    with suppress(VendorError):
        for step in steps:
            match step:
                case "say" | "answer":
                    asked += 1
                    getattr(talk, step)("words", asked=f"a{asked}")
                case "cut":
                    talk.cut("r1", [("i1", 40), ("?", -3)])
                case "attend":
                    talk.attend(not talk.session.attends)
                case "result":
                    talk.give_result("c1", "out", asked="result")
                case "send":
                    talk.send(FRAME)
                case "later":
                    talk.clock.now += 3
                    talk.tick()
                case _:
                    talk.receive(json.dumps(step))
    begun = [each.reply for each in talk.told(ReplyBegan)]
    assert len(begun) == len(set(begun))


@pytest.mark.parametrize("message", ["", "[]", "nonsense", b"\x00", "[" * 5000, '{"type":["error"]}'])
def test_what_is_no_event_changes_nothing(message):
    talk = Talk().ready()
    talk.receive(message)
    assert talk.events == [SessionReady()]


@given(st.lists(st.sampled_from(["ask", "own", "created", "done", "busy", "refuse"]), max_size=30))
def test_every_reply_that_was_asked_for_ends_exactly_once(steps):
    """OpenAI may begin replies of its own at any moment; every name that was asked for is ended once at the end."""
    talk = Talk().ready()
    asked, own, active, waiting = 0, 0, "", None
    seen = 0
    for step in [*steps, *(["done", "created"] * (len(steps) + 2))]:
        if waiting is None and len(talk.asked) > seen:
            waiting = talk.asked[seen]
            seen += 1
        if step == "ask":
            asked += 1
            talk.say("words", asked=f"a{asked}")
        elif step == "own" and not active:
            own += 1
            active = f"own{own}"
            talk.created(active, {"response": {"metadata": {"other": "x", "openclaw": "nobody"}}})
        elif step == "created" and waiting is not None and not active:
            own += 1
            active = f"r{own}"
            talk.created(active, waiting)
            waiting = None
        elif step == "done" and active:
            talk.done(active)
            active = ""
        elif step == "busy" and waiting is not None and active:
            talk.error("Conversation already has an active response", about=waiting["event_id"])
            waiting = None
        elif step == "refuse" and waiting is not None:
            talk.error("No.", about=waiting["event_id"])
            waiting = None
    ended = sorted(each.asked for each in talk.told(ReplyEnded) if each.asked)
    assert ended == sorted(f"a{number}" for number in range(1, asked + 1))
