"""Gemini Live without a socket: in whatever order messages come, and whatever they are, every reply ends once."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.providers.google.config import (
    GoogleRealtimeConfig,
    notices,
    takes_turns_of_text,
)
from openclaw_voicecall.providers.google.live_session import GeminiLiveSession
from openclaw_voicecall.providers.google.sound import CallerSound, ModelSound
from openclaw_voicecall.providers.google.wire import closed, seconds
from openclaw_voicecall.testing.emulators.gemini_live_rules import check_message
from openclaw_voicecall.testing.emulators.gemini_live_sound import spoken
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.unit

REQUEST = r.RealtimeRequest(call_id="c1", instructions="You answer the phone.")
SPEECH = {
    "inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(b"\1\2" * 480).decode()}
}


def content(**fields):
    return {"serverContent": fields}


AUDIO = content(modelTurn={"parts": [SPEECH]})
DONE = content(generationComplete=True)
COMPLETE = content(turnComplete=True)
INTERRUPTED = content(interrupted=True)
READY = {"setupComplete": {}}


def called(*names):
    return {"toolCall": {"functionCalls": [{"id": name, "name": "look_up", "args": {}} for name in names]}}


class Line:
    """A session, and all that came of it."""

    now = 0.0

    def __init__(self, *, model="gemini-3.8-live"):
        self.session = GeminiLiveSession(GoogleRealtimeConfig(model=model), REQUEST)
        self.session.connected()
        self.events = []
        self.sent = []
        self._take()
        self.get(READY)

    def get(self, *messages):
        for message in messages:
            data = json.dumps(message).encode() if isinstance(message, dict) else message
            self.session.receive(data, self.now)
            self._take()

    def do(self, name, *args, **kwargs):
        if name == "wait":
            self.wait(*args)
            return
        getattr(self.session, name)(*args, **kwargs)
        self._take()

    def wait(self, seconds):
        self.now += seconds
        if self.session.wake_at is not None and self.now >= self.session.wake_at:
            self.session.wake(self.now)
            self._take()

    def _take(self):
        self.events += self.session.take_events()
        self.sent += [json.loads(each) for each in self.session.take_messages()]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def assert_sane(self):
        """Replies begin once, are heard between beginning and end only, and callers' items become final in order."""
        open_replies, over, final = set(), set(), []
        for event in self.events:
            match event:
                case r.ReplyBegan(reply):
                    assert not open_replies
                    assert reply not in over
                    open_replies.add(reply)
                case r.ReplyAudio(reply) | r.ReplyText(reply) | r.ToolCalled(_, _, _, reply):
                    assert reply in open_replies
                case r.ReplyEnded(reply):
                    assert reply not in over
                    open_replies.discard(reply)
                    over.add(reply)
                case r.CallerSaid(item, _, True):
                    assert item not in final
                    final.append(item)
        assert len(final) >= sum(not edge.speaking for edge in self.of(SpeechEdge)) - 1
        assert final == sorted(final, key=lambda item: int(item.partition("_")[2]))
        edges = [edge.speaking for edge in self.of(SpeechEdge)]
        assert edges == [index % 2 == 0 for index in range(len(edges))]
        for message in self.sent:
            check_message(message)


def test_nothing_is_said_before_the_set_up_is_confirmed_and_nothing_is_lost():
    session = GeminiLiveSession(GoogleRealtimeConfig(), REQUEST)
    session.send(babble("hello"))
    session.say("Hello.", asked="a")
    assert session.take_messages() == []
    session.connected()
    [setup] = session.take_messages()
    assert "setup" in json.loads(setup)
    session.receive(json.dumps(READY), 0.0)
    audio, text = (json.loads(each)["realtimeInput"] for each in session.take_messages())
    assert len(base64.b64decode(audio["audio"]["data"])) == 4 * len(babble("hello"))
    assert '"Hello."' in text["text"]


def test_a_late_transcript_of_what_is_answered_already_is_one_item_and_no_interruption():
    line = Line()
    line.get(
        content(inputTranscription={"text": "I want"}), AUDIO, content(inputTranscription={"text": " tea"})
    )
    line.get(DONE, COMPLETE)
    assert line.of(r.CallerSaid)[-1] == r.CallerSaid("caller_1", "I want tea", True)
    assert [edge.speaking for edge in line.of(SpeechEdge)] == [True, False]


def test_words_that_come_before_their_sound_belong_to_the_reply():
    line = Line()
    line.get(content(outputTranscription={"text": "Hel"}), AUDIO, content(outputTranscription={"text": "lo"}))
    assert "".join(each.text for each in line.of(r.ReplyText)) == "Hello"


def test_a_reply_ends_when_it_is_here_as_a_whole_and_not_when_it_was_played_and_late_words_belong_to_it():
    line = Line()
    line.get(AUDIO, DONE)
    line.wait(0.4)
    line.get(content(outputTranscription={"text": "late"}))
    assert line.of(r.ReplyEnded) == []
    line.wait(0.2)
    assert [each.status for each in line.of(r.ReplyEnded)] == ["completed"]
    assert [each.text for each in line.of(r.ReplyText)] == ["late"]
    line.get(COMPLETE)
    assert len(line.of(r.ReplyEnded)) == 1


def test_a_text_that_ends_what_the_model_believes_to_be_played_is_no_interruption_by_the_caller():
    line = Line()
    line.get(AUDIO, DONE)
    line.wait(0.6)
    line.do("say", "One.", asked="a")
    line.get(INTERRUPTED, COMPLETE, AUDIO, DONE, COMPLETE)
    assert line.of(SpeechEdge) == []
    assert [(each.status, each.asked) for each in line.of(r.ReplyEnded)] == [
        ("completed", ""),
        ("completed", "a"),
    ]


def test_a_caller_who_talks_while_the_rest_is_played_interrupts():
    line = Line()
    line.get(AUDIO, DONE)
    line.wait(0.6)
    line.get(INTERRUPTED, COMPLETE)
    assert line.of(SpeechEdge) == [SpeechEdge(True)]


def test_a_text_waits_for_the_end_of_the_reply_and_texts_go_one_by_one():
    line = Line()
    line.get(AUDIO)
    line.do("say", "One.", asked="a")
    line.do("say", "Two.", asked="b")
    line.get(DONE)
    assert len(line.sent) == 1
    line.wait(0.6)
    assert len(line.sent) == 2
    line.get(COMPLETE, AUDIO, COMPLETE)
    assert [each.asked for each in line.of(r.ReplyEnded)] == ["", "a"]
    assert len(line.sent) == 3


def test_a_wish_that_the_caller_talks_over_before_it_began_is_told_of():
    line = Line()
    line.do("say", "One.", asked="a")
    line.get(INTERRUPTED, COMPLETE)
    [ended] = line.of(r.ReplyEnded)
    assert (ended.status, ended.asked) == ("cancelled", "a")


def test_whoever_talks_over_the_model_is_owed_a_final_and_be_it_without_words():
    line = Line()
    line.get(AUDIO, INTERRUPTED, COMPLETE)
    assert line.of(r.CallerSaid) == []
    line.get(AUDIO, DONE, COMPLETE)
    assert line.of(r.CallerSaid) == [r.CallerSaid("caller_1", "", True)]
    assert [edge.speaking for edge in line.of(SpeechEdge)] == [True, False]


def test_a_turn_that_fails_says_why():
    line = Line()
    line.get(AUDIO, content(turnComplete=True, turnCompleteReason="RESPONSE_REJECTED"))
    [ended] = line.of(r.ReplyEnded)
    assert (ended.status, ended.detail) == ("failed", "RESPONSE_REJECTED")


def test_a_word_of_patience_does_not_lose_the_result_of_a_function_that_it_calls_off():
    line = Line()
    line.get(called("f1"))
    line.do("say", "One moment.", asked="a")
    line.get({"toolCallCancellation": {"ids": ["f1"]}}, INTERRUPTED, COMPLETE, AUDIO)
    line.do("give_result", "f1", "sunny", asked="b", answer=True)
    line.get(DONE, COMPLETE)
    assert "look_up has given this: sunny" in line.sent[-1]["realtimeInput"]["text"]
    line.get(AUDIO, COMPLETE)
    assert [(each.status, each.asked) for each in line.of(r.ReplyEnded)[1:]] == [
        ("completed", "a"),
        ("completed", "b"),
    ]
    assert line.of(SpeechEdge) == []


def test_a_word_of_patience_that_calls_nothing_off_is_said_before_the_result_is_told():
    line = Line()
    line.get(called("f1"))
    line.do("say", "One moment.", asked="a")
    line.do("give_result", "f1", "sunny", asked="b", answer=True)
    assert "toolResponse" not in line.sent[-1]
    line.get(AUDIO, COMPLETE)
    assert "toolResponse" in line.sent[-1]
    line.get(AUDIO, COMPLETE)
    assert [each.asked for each in line.of(r.ReplyEnded)] == ["", "a", "b"]


def test_results_go_back_when_the_last_is_there_also_if_that_one_was_called_off():
    line = Line()
    line.get(called("f1", "f2"))
    line.do("give_result", "f1", "yes", asked="a", answer=True)
    assert len(line.sent) == 1
    line.get({"toolCallCancellation": {"ids": ["f2"]}})
    assert line.sent[-1]["toolResponse"]["functionResponses"] == [
        {"id": "f1", "name": "look_up", "response": {"output": "yes"}}
    ]
    line.get(AUDIO, COMPLETE)
    assert line.of(r.ReplyEnded)[-1].asked == "a"


@pytest.mark.parametrize("model", ["gemini-3.8-live", "gemini-2.5-flash-native-audio-preview-12-2025"])
def test_what_was_heard_of_a_reply_is_told_to_every_model(model):
    line = Line(model=model)
    line.get(content(outputTranscription={"text": "one two three four"}), AUDIO, AUDIO)
    reply = line.of(r.ReplyBegan)[0].reply
    line.do("cut", reply, [(line.of(r.ReplyAudio)[0].item, 20)], 0.0)
    line.do("answer", "", asked="a")
    told = json.dumps(line.sent[1:])
    assert "'one two'" in told
    assert ("turnComplete" in told) is takes_turns_of_text(model)


@given(st.lists(st.binary(max_size=999)), st.data())
def test_the_sound_does_not_depend_on_how_it_was_cut(texts, data):
    pcm = b"".join(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pcm)), max_size=5)))
    whole, cut = ModelSound(), ModelSound()
    parts = [cut.push(pcm[a:b]) for a, b in zip([0, *cuts], [*cuts, len(pcm)], strict=True)]
    assert b"".join(parts) + cut.finish() == whole.push(pcm) + whole.finish()


def test_the_callers_samples_reach_the_vendor_unchanged_and_2_ms_late():
    ulaw = babble("hello there")
    up = CallerSound()
    pcm = b"".join(up.push(ulaw[at : at + 160]) for at in range(0, len(ulaw), 160))
    assert len(pcm) == 4 * len(ulaw)
    heard = np.frombuffer(pcm, "<i2")[::2].tobytes()
    assert heard[32:] == ulaw_to_pcm(ulaw)[:-32]


def test_a_tone_comes_down_as_loud_as_it_was_and_one_that_no_line_carries_does_not():
    at = np.arange(24000) / 24000
    down = {}
    for hertz in (1000, 6000):
        tone = (10000 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes()
        heard = np.frombuffer(ulaw_to_pcm(ModelSound().push(tone)), "<i2")[100:]
        down[hertz] = float(np.sqrt(np.mean(heard.astype(float) ** 2)))
    assert down[1000] == pytest.approx(10000 / np.sqrt(2), rel=0.02)
    assert down[6000] < 100


def test_speech_comes_down_as_long_as_it_was():
    sound = ModelSound()
    heard = sound.push(spoken("hello there", "Kore")) + sound.finish()
    assert len(heard) == len(babble("hello there"))
    assert pcm_to_ulaw(ulaw_to_pcm(heard)) == heard


MESSAGES = st.sampled_from(
    [
        READY, AUDIO, DONE, COMPLETE, INTERRUPTED,
        content(outputTranscription={"text": "word "}),
        content(inputTranscription={"text": "word "}),
        content(inputTranscription={"text": "end", "finished": True}),
        content(interimInputTranscription={"text": "wo"}),
        called("f1"), called("f1", "f2"), {"toolCallCancellation": {"ids": ["f1"]}},
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}},
        {"goAway": {"timeLeft": "5s"}},
    ]
)  # fmt: skip
DEEDS = st.sampled_from(
    [
        ("wait", (0.4,), {}),
        ("say", ("Hello.",), {"asked": "a"}),
        ("answer", ("",), {"asked": "b"}),
        ("cut", ("reply_1", [("item_1", 10)], 0.0), {}),
        ("cut", ("reply_2", [], 0.0), {}),
        ("give_result", ("f1", "yes"), {"asked": "c", "answer": True}),
        ("give_result", ("f2", "no"), {"asked": "", "answer": False}),
        ("attend", (False,), {}),
        ("send", (b"\0" * 160,), {}),
    ]
)


@given(st.lists(st.one_of(MESSAGES, DEEDS), max_size=40))
def test_whatever_happens_in_whatever_order_every_reply_ends_once(steps):
    line = Line()
    for step in steps:
        if isinstance(step, dict):
            line.get(step)
        else:
            line.do(step[0], *step[1], **step[2])
    line.assert_sane()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "serverContent",
                    "toolCall",
                    "toolCallCancellation",
                    "goAway",
                    "setupComplete",
                    "modelTurn",
                    "parts",
                    "inlineData",
                    "data",
                    "mimeType",
                    "functionCalls",
                    "id",
                    "name",
                    "args",
                    "ids",
                    "timeLeft",
                    "inputTranscription",
                    "outputTranscription",
                    "text",
                    "finished",
                    "interrupted",
                    "turnComplete",
                    "voiceActivity",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30), max_size=9))
def test_messages_that_are_none_are_passed_over(messages):
    line = Line()
    line.get(*messages)
    line.assert_sane()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1007, "API key not valid. Please pass a valid API key.", VendorAuthError),
        (1008, "Method doesn't allow unregistered callers (callers without", VendorAuthError),
        (1007, "Request contains an invalid argument.", VendorRejected),
        (
            1008,
            "models/x is not found for API version v1beta, or is not supported for bidi",
            VendorRejected,
        ),
        (1008, "Operation is not implemented, or supported, or enabled.", VendorUnavailable),
        (1011, "You exceeded your current quota", VendorRateLimited),
        (1011, "Internal error encountered.", VendorUnavailable),
        (1000, "", VendorUnavailable),
        (None, "", VendorUnavailable),
    ],
)
def test_a_close_is_read(code, reason, kind):
    assert type(closed(code, reason)) is kind


@pytest.mark.parametrize(("text", "value"), [("9.5s", 9.5), ("60s", 60), ("", 0), ("-1s", 0), ("soon", 0)])
def test_a_duration_is_read(text, value):
    assert seconds(text) == value


def test_old_models_are_told_of():
    [retired] = notices(GoogleRealtimeConfig(model="gemini-2.0-flash-live-001"))
    assert "was retired on 2025-12-09; use gemini-3.8-live" in retired
    [old] = notices(GoogleRealtimeConfig(model="models/gemini-2.5-flash-native-audio-preview-12-2025"))
    assert "deprecated" in old
    assert notices(GoogleRealtimeConfig()) == []
    assert len(notices(GoogleRealtimeConfig(voice="Puck", speaker_voice="Kore"))) == 1
