"""GPT-Live without a socket: turns are told from the clock, and whatever comes, every reply ends once."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.live.session_accept_params import Session
from pydantic import ConfigDict, TypeAdapter

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.responder import Line as Said
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.providers.openai.live_session import GptLiveSession
from openclaw_voicecall.providers.openai.live_settings import DEFAULT_PAUSES, Granted, is_live, live_session
from openclaw_voicecall.testing.emulators.gpt_live_rules import check_accept, check_event
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.unit

SOUND = babble("hello")[:800]


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now

    def wall(self):
        return 1000.0


def started(voice="willow", encoding="audio/pcmu", **more):
    audio = {"format": {"type": encoding, "rate": 8000}, "output": {"voice": voice}}
    return {"type": "session.started", "session": {"audio": audio, **more}}


def sound(audio=SOUND):
    return {"type": "session.output_audio.delta", "delta": base64.b64encode(audio).decode()}


def words(text, side="output", at=10**6):
    return {"type": f"session.{side}_transcript.delta", "delta": text, "start_ms": at, "end_ms": at}


def nested(kind, **fields):
    return {"type": "response.event", "delegation_id": "item_1", "event": {"type": kind, **fields}}


def call(name):
    item = {"type": "function_call", "call_id": name, "name": "look_up", "arguments": "{}"}
    return nested("response.output_item.done", item=item)


class Line:
    """A session in a time of its own, and all that came of it."""

    def __init__(self, *, is_started=True):
        self.clock = Clock()
        self.session = GptLiveSession("{}", Granted("audio/pcmu", "willow"), self.clock, DEFAULT_PAUSES)
        self.session.connected()
        self.events = []
        self.sent = []
        self.session.take_messages()
        if is_started:
            self.get(started())

    def get(self, *messages):
        for message in messages:
            self.session.receive(message if isinstance(message, str) else json.dumps(message), self.clock.now)
            self._take()

    def do(self, name, *args, **kwargs):
        if name == "cut":
            kwargs["now"] = self.clock.now
        getattr(self.session, name)(*args, **kwargs)
        self._take()

    def wait(self, seconds):
        """Let time go by as a loop does: it wakes the session when it wants to be woken."""
        end = self.clock.now + seconds
        while (at := self.session.wake_at) is not None and at <= end:
            self.clock.now = max(at, self.clock.now)
            self.session.wake(self.clock.now)
            self._take()
        self.clock.now = end

    def _take(self):
        self.events += self.session.take_events()
        self.sent += [json.loads(each) for each in self.session.take_messages()]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def assert_sane(self):
        open_replies, over = set(), set()
        for event in self.events:
            match event:
                case r.ReplyBegan(reply):
                    assert not open_replies
                    assert reply not in over
                    open_replies.add(reply)
                case r.ReplyAudio(reply) | r.ReplyText(reply):
                    assert reply in open_replies
                case r.ToolCalled(_, _, _, reply):
                    assert reply in open_replies | over
                case r.ReplyEnded(reply):
                    assert reply not in over
                    open_replies.discard(reply)
                    over.add(reply)
        edges = [edge.speaking for edge in self.of(SpeechEdge)]
        assert edges == [index % 2 == 0 for index in range(len(edges))]
        finals = [each.item for each in self.of(r.CallerSaid) if each.final]
        assert finals == list(dict.fromkeys(finals))
        for message in self.sent:
            delegation = "responses" if message["type"].startswith("response.") else "client"
            check_event(message, sideband=False, delegation=delegation)


def test_a_reply_goes_from_its_first_sound_to_a_pause_and_silence_alone_is_none():
    line = Line()
    line.get(sound(b"\xff" * 800))
    assert line.of(r.ReplyBegan) == []
    line.get(words("Hel"), sound(), words("lo"))
    line.wait(0.9)
    line.get(sound(b"\xff" * 800))
    assert line.of(r.ReplyEnded) == []
    line.wait(0.2)
    assert line.of(r.ReplyEnded) == [r.ReplyEnded("reply_1", "completed", "", "")]
    assert [each.text for each in line.of(r.ReplyText)] == ["Hel", "lo"]
    assert len(line.of(r.ReplyAudio)) == 2


def test_a_breath_does_not_end_a_reply():
    line = Line()
    line.get(sound())
    line.wait(0.8)
    line.get(sound())
    line.wait(0.8)
    assert line.of(r.ReplyEnded) == []


def test_words_of_the_caller_are_final_after_a_pause():
    line = Line()
    line.get(words("I want", "input"))
    line.wait(0.5)
    line.get(words(" tea", "input"))
    line.wait(0.9)
    line.get(words("Please", "input"))
    said = [(each.item, each.text, each.final) for each in line.of(r.CallerSaid)]
    assert said == [
        ("caller_1", "I want", False),
        ("caller_1", "I want tea", False),
        ("caller_1", "I want tea", True),
        ("caller_2", "Please", False),
    ]
    assert [edge.speaking for edge in line.of(SpeechEdge)] == [True, False, True]


def test_the_callers_words_are_final_when_the_model_answers_and_late_ones_interrupt_nothing():
    line = Line()
    line.get(words("I want", "input"))
    line.wait(0.3)
    line.get(sound(), words(" tea", "input", at=200))
    line.wait(0.9)
    kinds = [type(each) for each in line.events if isinstance(each, SpeechEdge | r.CallerSaid | r.ReplyBegan)]
    assert kinds[:5] == [SpeechEdge, r.CallerSaid, SpeechEdge, r.CallerSaid, r.ReplyBegan]
    edge = line.of(SpeechEdge)[1]
    assert (edge.speaking, edge.ago) == (False, pytest.approx(0.3))
    assert len(line.of(SpeechEdge)) == 2
    assert [each.text for each in line.of(r.CallerSaid) if each.final] == ["I want", "tea"]
    assert line.of(r.ReplyEnded) == []


def test_a_reply_that_stops_while_the_caller_talks_was_talked_over():
    line = Line()
    line.get(sound())
    line.wait(0.7)
    line.get(words("wait", "input"))
    line.wait(0.4)
    assert [each.status for each in line.of(r.ReplyEnded)] == ["cancelled"]


def test_a_text_waits_for_silence_and_texts_go_one_by_one():
    line = Line()
    line.get(sound())
    line.do("say", "One.", asked="a")
    line.do("say", "Two.", asked="b")
    assert line.sent == []
    line.wait(1.1)
    [one] = line.sent
    assert one["content"].endswith('"One."')
    line.get(sound())
    line.wait(1.1)
    assert [each.asked for each in line.of(r.ReplyEnded)] == ["", "a"]
    assert line.sent[-1]["content"].endswith('"Two."')


def test_after_a_cut_the_rest_is_thrown_away_and_the_next_text_waits_until_it_is_over():
    line = Line()
    line.get(words("one two three four"), sound(), sound())
    line.do("say", "Bye.", asked="b")
    line.do("cut", "reply_1", [("item_1", 100)])
    [note] = line.sent
    assert note["type"] == "session.thinking.append"
    assert "'one two'" in note["content"]
    line.wait(0.3)
    line.get(sound(), words("five"))
    line.wait(0.3)
    assert len(line.sent) == 1
    line.wait(0.2)
    assert line.sent[-1]["content"].endswith('"Bye."')
    line.get(sound())
    assert line.of(r.ReplyBegan)[-1].asked == "b"
    assert len(line.of(r.ReplyAudio)) == 3


def test_a_result_follows_without_a_pause_after_a_word_of_patience():
    line = Line()
    line.get(nested("response.created", response={"id": "resp_1"}), call("f1"), sound())
    line.do("give_result", "f1", "yes", asked="a", answer=True)
    line.get(sound())
    assert [each["type"] for each in line.sent] == ["response.item.create", "response.create"]
    assert [each.asked for each in line.of(r.ReplyBegan)] == ["", "a"]
    assert line.of(r.ReplyBegan)[0].reply == "reply_1"
    assert line.of(r.ToolCalled) == [r.ToolCalled("f1", "look_up", "{}", "reply_1")]


def test_a_function_is_called_in_a_reply_also_when_nothing_is_said():
    line = Line()
    line.do("answer", "weather?", asked="a")
    line.get(nested("response.created", response={"id": "resp_1"}), call("f1"), call("f2"))
    line.wait(3)
    [began] = line.of(r.ReplyBegan)
    assert began.asked == "a"
    assert [each.reply for each in line.of(r.ToolCalled)] == [began.reply, began.reply]
    assert [each.status for each in line.of(r.ReplyEnded)] == ["completed"]


def test_help_that_nobody_can_give_is_refused():
    line = Line()
    line.get({"type": "session.delegation.created", "delegation": {"id": "item_7", "target": "client"}})
    [answer] = line.sent
    assert (answer["type"], answer["delegation_id"]) == ("session.commentary.append", "item_7")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (started(voice="marin"), VendorRejected),
        (started(encoding="audio/pcm"), VendorRejected),
        ({"type": "error", "error": {"code": "server_error", "message": "x"}}, VendorUnavailable),
        ({"type": "session.closed", "reason": "expired"}, VendorUnavailable),
        ({"type": "session.closed", "reason": "content"}, VendorRejected),
        ({"type": "session.closed"}, VendorUnavailable),
    ],
)
def test_what_ends_a_session_is_an_error(event, kind):
    with pytest.raises(kind):
        Line(is_started=False).get(event)


def test_a_caller_who_hangs_up_ends_the_call_and_keys_are_told():
    line = Line()
    line.get({"type": "transport.dtmf.received", "event": "5"})
    line.get({"type": "session.closed", "reason": "remote_hangup"})
    assert line.events[-2:] == [r.KeyPressed("5"), r.CallOver("the caller hung up")]


def test_the_end_is_announced_when_it_is_told():
    line = Line(is_started=False)
    line.get(started(expires_at=1600))
    assert line.of(r.SessionExpiring) == [r.SessionExpiring(600)]


def test_a_session_that_does_not_tell_its_voice_is_taken():
    line = Line(is_started=False)
    line.get({"type": "session.started", "session": {"audio": {"output": {"voice": {"id": "voice_1"}}}}})
    assert line.of(r.SessionReady)


def test_the_settings_of_a_call_over_sip_are_ones_that_openai_knows():
    class Config:
        model, voice_name = "gpt-live-1", "willow"

    tool = r.ModelTool(name="look_up", description="Looks.", parameters={"type": "object", "properties": {}})
    request = r.RealtimeRequest(
        call_id="c1", instructions="Be kind.", tools=(tool,), history=(Said("caller", "hi"),)
    )
    body = {"session": {"type": "live", **live_session(Config(), request, delegate="gpt-5.5")}}
    assert check_accept(body)["audio"] == {"output": {"voice": "willow"}}
    known = TypeAdapter(list[Session], config=ConfigDict(extra="forbid"))
    assert known.validate_python([body["session"]])[0]["type"] == "live"


def test_which_models_are_talked_to_this_way():
    assert is_live("gpt-live-1")
    assert not is_live("gpt-live-transcribe")
    assert not is_live("gpt-realtime-2.1")


STEPS = st.one_of(
    st.floats(0, 1.5),
    st.sampled_from(
        [
            sound(), sound(b"\xff" * 80), words("word "), words("word ", "input"),
            words("late ", "input", at=1), words(""), started(),
            nested("response.created", response={"id": "resp_1"}), call("f1"), call("f2"),
            nested("response.failed", response={"error": {"message": "x"}}),
            {"type": "error", "error": {"message": "x", "client_event_id": "say-1"}},
        ]
    ),
    st.sampled_from(
        [
            ("say", ("Hello.",), {"asked": "a"}),
            ("answer", ("5",), {"asked": "b"}),
            ("cut", ("reply_1", [("item_1", 10)]), {}),
            ("cut", ("reply_3", []), {}),
            ("give_result", ("f1", "yes"), {"asked": "c", "answer": True}),
            ("give_result", ("f2", "no"), {"asked": "", "answer": False}),
            ("attend", (False,), {}), ("attend", (True,), {}), ("send", (SOUND,), {}),
        ]
    ),
)  # fmt: skip


@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_in_whatever_order_every_reply_ends_once(steps):
    line = Line()
    for step in steps:
        match step:
            case float():
                line.wait(step)
            case dict():
                line.get(step)
            case (name, args, kwargs):
                line.do(name, *args, **kwargs)
    line.wait(5)
    line.assert_sane()
    assert len(line.of(r.ReplyBegan)) <= len(line.of(r.ReplyEnded))
    assert line.session.wake_at is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "delta",
                    "session",
                    "audio",
                    "delegation",
                    "event",
                    "item",
                    "response",
                    "error",
                    "id",
                    "type",
                    "target",
                    "expires_at",
                    "reason",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
KINDS = st.sampled_from(
    [
        "session.started",
        "session.output_audio.delta",
        "session.output_transcript.delta",
        "session.input_transcript.delta",
        "session.delegation.created",
        "response.event",
        "session.closed",
        "error",
        "transport.dtmf.received",
        "info",
    ]
)


@given(st.lists(st.tuples(KINDS, JSON), max_size=9), st.text(max_size=20))
def test_messages_that_are_none_are_passed_over_or_end_the_session(messages, nonsense):
    line = Line()
    line.get(nonsense)
    for kind, value in messages:
        fields = value if isinstance(value, dict) else {"delta": value}
        try:
            line.get({**fields, "type": kind})
        except VendorError:
            break
    line.assert_sane()
