"""Where a turn's time went, from journals written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.api.store import JournalEntry, TurnLatency
from openclaw_voicecall.observe.latency import LatencyTracker, measure, summarise

pytestmark = pytest.mark.unit


def entry(elapsed, event, data=None, *commands):
    return JournalEntry(
        call_id="call-1",
        seq=1,
        at=1e9 + elapsed,
        elapsed=elapsed,
        event=event,
        data=data or {},
        commands=commands,
    )


def finish():
    return {"command": "FinishUtterance"}


def respond(turn):
    return {"command": "StartResponse", "turn": turn, "text": "hello", "digits": ""}


def say(turn):
    return {"command": "StartSaying", "turn": turn, "text": "Good morning."}


def speak(turn, utterance):
    return {"command": "Speak", "turn": turn, "utterance": utterance, "text": "Well."}


def chunk(elapsed, turn, utterance):
    data = {"turn": turn, "utterance": utterance, "text": "Well."}
    return entry(elapsed, "ResponseChunk", data, speak(turn, utterance))


def caller_speaks(at):
    """Speech that ends at `at`, noticed 0.3 s later."""
    return [
        entry(at - 1.0, "SpeechStarted"),
        entry(at + 0.3, "SpeechStopped", {"silence": 0.3}),
    ]


def agent_answers(at, turn):
    """First token 0.2 s after `at`, first sentence 0.35 s, first audio 0.5 s."""
    return [
        entry(at + 0.2, "first-token", {"turn": turn}),
        chunk(at + 0.35, turn, turn * 10),
        chunk(at + 0.4, turn, turn * 10 + 1),
        entry(at + 0.5, "first-audio", {"turn": turn, "utterance": turn * 10}),
    ]


def test_a_turn_is_taken_apart_stage_by_stage():
    journal = [
        *caller_speaks(10.0),
        entry(10.7, "timer", None, finish()),
        entry(10.85, "TranscriptReceived", {"text": "hello", "final": True}, respond(3)),
        *agent_answers(10.85, 3),
    ]
    assert measure(journal) == [
        TurnLatency(
            turn=3,
            endpointing_ms=700.0,
            transcript_ms=150.0,
            first_token_ms=200.0,
            first_sentence_ms=150.0,
            first_audio_ms=150.0,
            total_ms=1350.0,
        )
    ]


def test_the_latency_is_given_with_the_first_audio_and_only_then():
    tracker = LatencyTracker()
    journal = [*caller_speaks(1.0), entry(1.7, "timer", None, respond(1)), *agent_answers(1.7, 1)]
    assert [tracker.push(each) for each in journal[:-1]] == [None] * (len(journal) - 1)
    assert tracker.push(journal[-1]) is not None
    assert tracker.push(journal[-1]) is None


def test_a_final_text_that_came_before_the_decision_leaves_no_stage_of_its_own():
    journal = [
        *caller_speaks(1.0),
        entry(1.4, "TranscriptReceived", {"text": "hello", "final": True}),
        entry(1.7, "timer", None, respond(1)),
        *agent_answers(1.7, 1),
    ]
    [latency] = measure(journal)
    assert (latency.endpointing_ms, latency.transcript_ms, latency.total_ms) == (700.0, None, 1200.0)


def test_a_greeting_has_only_the_stage_that_applies():
    journal = [
        entry(0.5, "MediaConnected", None, say(1)),
        chunk(0.5, 1, 1),
        entry(0.62, "first-audio", {"turn": 1, "utterance": 1}),
    ]
    assert measure(journal) == [TurnLatency(turn=1, first_audio_ms=120.0)]


def test_a_sentence_of_the_owner_is_no_answer_to_what_the_caller_said():
    journal = [
        *caller_speaks(1.0),
        entry(9.0, "SayRequested", {"text": "x"}, say(1)),
        entry(9.1, "first-audio", {"turn": 1, "utterance": 1}),
        entry(9.5, "timer", None, respond(2)),
        *agent_answers(9.5, 2),
    ]
    said, answered = measure(journal)
    assert said == TurnLatency(turn=1, first_audio_ms=100.0)
    assert answered.total_ms == 9000.0


def test_a_caller_who_goes_on_starts_the_clock_anew():
    journal = [
        *caller_speaks(1.0),
        entry(1.6, "timer", None, finish()),
        *caller_speaks(3.0),
        entry(3.5, "timer", None, finish()),
        entry(3.6, "TranscriptReceived", {"text": "x", "final": True}, respond(1)),
        *agent_answers(3.6, 1),
    ]
    [latency] = measure(journal)
    assert (latency.endpointing_ms, latency.transcript_ms, latency.total_ms) == (500.0, 100.0, 1100.0)


def test_a_second_request_for_the_final_is_not_the_decision():
    journal = [
        *caller_speaks(1.0),
        entry(1.5, "timer", None, finish()),
        entry(2.5, "timer", None, finish()),
        entry(3.0, "timer", None, respond(1)),
        *agent_answers(3.0, 1),
    ]
    [latency] = measure(journal)
    assert (latency.endpointing_ms, latency.transcript_ms) == (500.0, 1500.0)


def test_a_cancelled_turn_has_no_latency_even_if_its_audio_comes_late():
    journal = [
        *caller_speaks(1.0),
        entry(1.7, "timer", None, respond(1)),
        entry(1.9, "SpeechStarted", None, {"command": "CancelResponse", "turn": 1}),
        *agent_answers(1.7, 1),
        *caller_speaks(4.0),
        entry(4.7, "timer", None, respond(2)),
        *agent_answers(4.7, 2),
    ]
    [latency] = measure(journal)
    assert (latency.turn, latency.total_ms) == (2, 1200.0)


def test_keys_that_were_pressed_are_no_speech():
    journal = [
        *caller_speaks(1.0),
        entry(1.7, "timer", None, respond(1)),
        *agent_answers(1.7, 1),
        entry(8.0, "DtmfReceived", {"digit": "1"}, respond(2)),
        *agent_answers(8.0, 2),
    ]
    assert measure(journal)[1] == TurnLatency(
        turn=2, first_token_ms=200.0, first_sentence_ms=150.0, first_audio_ms=150.0
    )


def test_a_model_that_speaks_itself_has_no_stages_of_text():
    journal = [
        *caller_speaks(1.0),
        entry(1.5, "TranscriptReceived", {"text": "x", "final": True}, respond(1)),
        entry(1.9, "first-audio", {"turn": 1, "utterance": 1}),
    ]
    assert measure(journal) == [TurnLatency(turn=1, endpointing_ms=500.0, total_ms=900.0)]


def test_words_of_the_shell_about_unknown_turns_are_passed_over():
    assert (
        measure([entry(1.0, "first-audio", {"turn": 9}), entry(1.0, "first-token"), chunk(1.0, 9, 1)]) == []
    )


steps = st.lists(st.floats(0.001, 5.0), min_size=6, max_size=6)


@given(steps)
def test_the_stages_add_up_to_the_whole(waits):
    moments = [sum(waits[:index]) for index in range(7)]
    stopped, decided, final, token, sentence, audio = moments[1:]
    journal = [
        entry(0.0, "SpeechStarted"),
        entry(stopped, "SpeechStopped", {"silence": 0.0}),
        entry(decided, "timer", None, finish()),
        entry(final, "TranscriptReceived", {"text": "x", "final": True}, respond(1)),
        entry(token, "first-token", {"turn": 1}),
        chunk(sentence, 1, 1),
        entry(audio, "first-audio", {"turn": 1, "utterance": 1}),
    ]
    [latency] = measure(journal)
    stages = (
        latency.endpointing_ms,
        latency.transcript_ms,
        latency.first_token_ms,
        latency.first_sentence_ms,
        latency.first_audio_ms,
    )
    assert sum(stages) == pytest.approx(latency.total_ms, abs=0.5)
    assert all(stage >= 0 for stage in stages)


def test_a_summary_has_openclaws_shape():
    turns = [
        TurnLatency(
            turn=number, endpointing_ms=100.0, transcript_ms=float(number), total_ms=float(number * 10)
        )
        for number in range(1, 21)
    ]
    summary = summarise([*turns, TurnLatency(turn=21, first_audio_ms=80.0)], calls=4)
    assert summary["recordsScanned"] == 4
    assert summary["turnLatency"] == {
        "count": 20,
        "minMs": 10.0,
        "maxMs": 200.0,
        "avgMs": 105.0,
        "p50Ms": 100.0,
        "p95Ms": 190.0,
    }
    assert summary["listenWait"]["minMs"] == 101.0
    assert summary["stages"]["firstAudio"] == {
        "count": 1,
        "minMs": 80.0,
        "maxMs": 80.0,
        "avgMs": 80.0,
        "p50Ms": 80.0,
        "p95Ms": 80.0,
    }
    assert summary["stages"]["firstToken"]["count"] == 0


def test_the_head_start_of_an_answer_that_was_begun_in_the_pause_is_told():
    dropped = {"turn": 1, "outcome": "dropped", "detail": "the turn went on"}
    journal = [
        *caller_speaks(1.0),
        entry(1.35, "rehearsal", {"turn": 1, "outcome": "begun"}),
        entry(1.36, "rehearsal", dropped),
        entry(1.37, "rehearsal", {"turn": 1, "outcome": "begun"}),
        entry(1.5, "timer", {}, respond(1)),
        entry(1.5, "rehearsal", {"turn": 1, "outcome": "adopted", "seconds": 0.13}),
        *agent_answers(1.5, 1),
    ]
    (latency,) = measure(journal)
    assert latency.head_start_ms == 130.0
    assert summarise([latency])["stages"]["headStart"]["maxMs"] == 130.0


def test_a_summary_of_nothing_is_zeros():
    nothing = {"count": 0, "minMs": 0, "maxMs": 0, "avgMs": 0, "p50Ms": 0, "p95Ms": 0}
    summary = summarise([])
    assert summary["recordsScanned"] == 0
    assert summary["turnLatency"] == summary["listenWait"] == nothing
    assert set(summary["stages"]) == {
        "endpointing",
        "transcript",
        "headStart",
        "firstToken",
        "firstSentence",
        "firstAudio",
    }


def test_a_reply_that_a_speech_model_began_by_itself_is_measured():
    journal = [
        *caller_speaks(2.0),
        entry(2.35, "ReplyBegan", {"reply": "r1"}, {"command": "AdoptReply", "turn": 1, "reply": "r1"}),
        entry(2.5, "first-token", {"turn": 1}),
        chunk(2.51, 1, 1),
        entry(2.53, "first-audio", {"turn": 1, "utterance": 1}),
    ]
    [latency] = measure(journal)
    assert (latency.endpointing_ms, latency.first_token_ms) == (350.0, 150.0)
    assert latency.total_ms == 530.0


def test_a_fixed_text_that_a_speech_model_says_takes_no_time_before_it_is_asked_for():
    journal = [
        entry(1.0, "MediaConnected", {}, say(1)),
        entry(1.3, "first-token", {"turn": 1}),
        chunk(1.31, 1, 1),
        entry(1.34, "first-audio", {"turn": 1, "utterance": 1}),
    ]
    [latency] = measure(journal)
    assert (latency.first_token_ms, latency.first_sentence_ms, latency.first_audio_ms) == (None, None, 340.0)
