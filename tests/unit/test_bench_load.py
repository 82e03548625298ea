"""The load of `bench/many_calls.py` notices what it is there to notice, and its table and parts are right."""

import base64
import json
from collections import Counter
from types import SimpleNamespace

import pytest
from load.caller import Caller, Figures, State
from load.profile import part_of
from load.report import errors
from load.run import lost_transcripts, spread
from load.script import Script, references_in
from load.sound import FRAME, number_in, speech, utterance
from load.transcribing import Listening
from load.vendors import Account, Vendors
from load.websocket import Broken, Reader, frame

pytestmark = pytest.mark.unit

STREAM = f"MZ{7:032x}"
SECOND = 50


class Line:
    """A call whose clock is turned by hand: the agent's words go in, what the caller sends is kept."""

    def __init__(self, clock, **script):
        self.figures = Figures(counting=True)
        self.sent = []
        reader = Reader()
        self.caller = Caller(
            Script(listen_first=0, greeting_begins=0, **script),
            self.figures,
            7,
            "CA7",
            lambda data: self.sent.extend(json.loads(text) for _, text in reader.feed(data)),
        )
        self.now = 0.0
        clock.setattr("load.caller.now", lambda: self.now)

    def pass_time(self, ticks):
        for _ in range(ticks):
            self.now += 0.02
            self.caller.tick(self.now)

    def agent(self, event, **fields):
        self.caller.receive(json.dumps({"event": event, "streamSid": STREAM, **fields}).encode())

    def say(self, audio):
        self.agent("media", media={"payload": base64.b64encode(audio).decode()})

    def ask(self):
        """Speak the question, and wait for as long as the vendors take."""
        self.go_on_until(State.WAITING)
        self.pass_time(SECOND)

    def go_on_until(self, state):
        while self.caller.state is not state:
            self.pass_time(1)


@pytest.fixture
def line(monkeypatch):
    return Line(monkeypatch)


def judged(figures):
    return figures.right, figures.wrong, figures.foreign


@pytest.mark.parametrize(
    ("number", "verdict"),
    [((7, 1), (1, 0, 0)), ((7, 3), (0, 1, 0)), ((8, 1), (0, 0, 1)), (None, (0, 1, 0))],
    ids=["its own", "of another turn", "of another call", "of nobody"],
)
def test_a_reply_is_known_by_its_sound(line, number, verdict):
    line.ask()
    line.say(speech(50, number))
    assert judged(line.figures) == verdict


def test_a_turn_lasts_from_the_last_word_to_the_first_sound(line):
    line.ask()
    line.say(speech(50, (7, 1)))
    assert line.figures.turns == [pytest.approx(1000)]


def test_silence_inside_a_reply_is_starvation_and_after_it_is_none(line):
    line.ask()
    line.say(speech(20, (7, 1)))
    line.pass_time(25)
    line.say(speech(20, None))
    line.pass_time(80)
    assert line.figures.starvations == 1
    assert line.figures.starved_ticks == 5
    assert line.figures.agent_ticks == 40


def test_whoever_is_talked_over_is_timed_to_clear_and_to_the_last_sound(monkeypatch):
    line = Line(monkeypatch, barge_every=1)
    line.ask()
    line.say(speech(150, (7, 1)))
    line.go_on_until(State.SPEAKING)
    line.pass_time(5)
    line.agent("mark", mark={"name": "end"})
    line.agent("clear")
    line.ask()
    line.say(speech(50, (7, 2)))
    assert line.figures.clears == [pytest.approx(100)]
    assert line.figures.hushes == [pytest.approx(120)]
    assert [message["mark"]["name"] for message in line.sent if message["event"] == "mark"] == ["end"]
    assert line.figures.leaked_ms == 0


def test_what_comes_after_clear_is_a_leak_and_no_reply(monkeypatch):
    line = Line(monkeypatch, barge_every=1)
    line.ask()
    line.say(speech(150, (7, 1)))
    line.go_on_until(State.SPEAKING)
    line.pass_time(5)
    line.agent("clear")
    line.say(speech(10, None))
    assert line.figures.leaked_ms == 200
    assert len(line.figures.turns) == 1


def test_a_reply_that_does_not_come_is_missed(line):
    line.ask()
    line.pass_time(9 * SECOND)
    assert line.figures.missed == 1


@pytest.mark.parametrize(
    "message",
    [
        b"no JSON",
        b'{"event":"media","streamSid":"MZ1","media":{"payload":"/w=="}}',
        json.dumps({"event": "media", "streamSid": STREAM, "media": {"payload": "***"}}).encode(),
        json.dumps({"event": "stop", "streamSid": STREAM}).encode(),
        json.dumps({"event": "clear", "streamSid": STREAM, "extra": 1}).encode(),
    ],
)
def test_what_twilio_would_not_take_breaks_the_stream(line, message):
    with pytest.raises(Broken):
        line.caller.receive(message)


@pytest.mark.parametrize("number", [(1, 1), (7, 255), (300, 17), (4095, 0)])
def test_the_number_in_a_sound_survives_a_beginning_that_was_lost(number):
    said = b"".join(map(base64.b64decode, utterance(*number)))
    assert number_in(said) == number
    assert number_in(said[3 * FRAME + 32 :]) == number
    assert number_in(said[: 5 * FRAME]) is None


def session(**changed):
    given = {
        "format": {"type": "audio/pcmu"},
        "transcription": {"model": "gpt-transcribe"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
    }
    return {"type": "transcription", "audio": {"input": {**given, **changed}}}


def told_to_the_transcriber(*messages):
    """What it answers, and what it has refused."""
    vendors, answers = Vendors(Script()), []
    listening = Listening(vendors, 1)
    listening.opened(answers.append)
    for message in messages:
        listening.receive(json.dumps(message).encode())
    return [answer["type"] for answer in answers], vendors.refused


def test_a_session_of_the_right_shape_is_granted():
    answers, refused = told_to_the_transcriber({"type": "session.update", "session": session()})
    assert answers == ["session.created", "session.updated"]
    assert not refused


@pytest.mark.parametrize(
    "message",
    [
        {"type": "session.update", "session": session(format={"type": "audio/pcmu", "rate": 8000})},
        {"type": "session.update", "session": session(transcription={})},
        {"type": "session.update", "session": session(turn_detection={"type": "server_vad", "silence": 1})},
        {"type": "session.update", "session": {**session(), "type": "realtime"}},
        {"type": "transcription_session.update", "session": session()},
        {"type": "response.create"},
    ],
)
def test_what_openai_would_refuse_is_refused_and_counted(message):
    answers, refused = told_to_the_transcriber(message)
    assert answers == ["session.created", "error"]
    assert refused.total() == 1


def test_audio_before_the_session_is_set_up_breaks_the_socket():
    with pytest.raises(Broken):
        told_to_the_transcriber({"type": "input_audio_buffer.append", "audio": "/w=="})


def test_words_that_never_reach_the_model_are_lost_unless_there_was_no_time_for_them():
    figures = Figures(spoken={(1, 1): 10.0, (1, 2): 12.0, (1, 3): 19.0, (2, 1): 1.0})
    account = Account(asked=Counter([(1, 1)]))
    stage = SimpleNamespace(
        vendors=SimpleNamespace(account=account), carrier=SimpleNamespace(figures=figures)
    )
    assert lost_transcripts(stage, since=5.0, until=20.0) == 1


def test_messages_come_out_whole_however_the_network_cuts_them():
    texts = [b"x" * 5, b"y" * 300, b"z" * 70_000]
    wire = b"".join(frame(text, client=masked) for text in texts for masked in (False, True))
    reader = Reader()
    taken = [text for at in range(0, len(wire), 997) for _, text in reader.feed(wire[at : at + 997])]
    assert taken == [text for text in texts for _ in range(2)]


def test_the_sum_of_the_vendors_ends_with_the_first_sentence():
    script = Script(reply="One two three. Four.")
    assert script.sum_of_latencies == 500 + 150 + 150 + 2 * 20 + 80


def test_numbers_are_read_where_words_carry_them():
    assert references_in(Script().question_text((12, 3)) + " and c4t5") == [(12, 3), (4, 5)]


def test_the_innermost_function_of_a_part_takes_the_time_and_not_whoever_turns_the_loop():
    loop = ["/lib/asyncio/base_events.py:BaseEventLoop._run_once", "/x/openclaw_voicecall/cli/serve.py:serve"]
    write = "/lib/asyncio/selector_events.py:_SelectorSocketTransport.write"
    assert part_of([write, "/x/openclaw_voicecall/session/link.py:MediaLink.run", *loop]) == "media socket"
    assert part_of([write, *loop]) == "event loop"
    asked = [
        "/x/aiohttp/client.py:ClientSession._request",
        "/x/openclaw_voicecall/providers/chat/asking.py:ask",
    ]
    assert part_of([*asked, *loop]) == "responder"
    assert part_of(["/x/aiohttp/client_proto.py:ResponseHandler.data_received", *loop]) == "vendors' sockets"


def test_a_spread_has_only_values_that_were_measured():
    assert spread([3.0, 1.0, 2.0]) == {"n": 3, "min": 1.0, "p50": 2.0, "p95": 3.0, "p99": 3.0, "max": 3.0}
    assert spread([])["p50"] is None


def test_every_refusal_counts_as_an_error():
    row = {
        "replies missed": 1,
        "calls failed": 0,
        "calls dropped": 2,
        "refused": {"x": 3},
        "errors": {"y": 4},
    }
    assert errors(row) == 10
