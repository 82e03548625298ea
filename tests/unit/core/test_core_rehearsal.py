"""When an answer is begun before the caller's turn is over, and what becomes of it."""

import pytest
from line import Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy, SpeculationPolicy
from openclaw_voicecall.core.reasons import EndReason

pytestmark = pytest.mark.unit

TWICE = CallPolicy(speculation=SpeculationPolicy(enabled=True, most_starts=2))
FINALS = CallPolicy(speculation=SpeculationPolicy(enabled=True, most_starts=2, on_interims=False))


def heard(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=True)


def guessed(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=False)


def paused(policy: CallPolicy = TWICE) -> Line:
    """The caller has said something final, and the answer to it is rehearsed. The time is 2.15 s."""
    line = Line(policy).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, heard("book a table"), e.SpeechStopped())
    assert line.until(2.15) == [c.Rehearse(1, "book a table")]
    return line


def test_an_answer_is_begun_in_the_pause_and_is_the_turn_when_the_silence_lasts():
    line = paused()
    assert line.said() == []
    assert line.until(2.5) == [
        c.AppendTranscript("caller", "book a table", 1),
        c.StartResponse(1, "book a table"),
    ]
    assert line.until(9.0) == []


def test_a_caller_who_goes_on_is_answered_as_a_whole_and_nothing_is_written_of_the_first_try():
    line = paused()
    assert line.at(2.3, e.SpeechStarted()) == [c.DropRehearsal(1)]
    line.at(3.0, heard("for us"), e.SpeechStopped())
    assert line.until(3.5)[-3:] == [
        c.Rehearse(1, "book a table for us"),
        c.AppendTranscript("caller", "book a table for us", 1),
        c.StartResponse(1, "book a table for us"),
    ]
    assert line.said() == [("caller", "book a table for us")]


def test_a_turn_is_begun_no_more_often_than_allowed_and_the_next_turn_as_often_again():
    line = paused()
    for at in (2.3, 3.2, 4.1):
        line.at(at, e.SpeechStarted())
        line.at(at + 0.5, heard("please"), e.SpeechStopped())
    line.until(6.0)
    assert [order for order in line.all if isinstance(order, c.Rehearse)] == [
        c.Rehearse(1, "book a table"),
        c.Rehearse(1, "book a table please"),
    ]
    line.at(6.0, e.ResponseChunk(1, 1, "Done."), e.ResponseFinished(1), e.UtterancePlayed(1))
    line.at(7.0, e.SpeechStarted())
    line.at(8.0, heard("thanks a lot"), e.SpeechStopped())
    assert line.until(8.2) == [c.Rehearse(2, "thanks a lot")]


def test_without_leave_nothing_is_begun():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, heard("book a table"), e.SpeechStopped())
    assert line.until(2.49) == []


def test_words_that_change_restart_the_wait_and_replace_what_was_begun():
    line = Line(TWICE).up()
    line.at(1.0, e.SpeechStarted(), guessed("book"))
    line.at(2.0, e.SpeechStopped())
    assert line.at(2.1, guessed("book a")) == []
    assert line.until(2.24) == []
    assert line.until(2.25) == [c.Rehearse(1, "book a")]
    assert line.at(2.3, guessed("book a table")) == [c.DropRehearsal(1)]
    assert line.at(2.4, heard("book a table")) == [c.Rehearse(1, "book a table")]


def test_a_guess_that_the_final_text_confirms_is_kept():
    line = Line(TWICE).up()
    line.at(1.0, e.SpeechStarted(), guessed("book a table"))
    line.at(2.0, e.SpeechStopped())
    assert line.until(2.15) == [c.Rehearse(1, "book a table")]
    assert line.until(2.5) == [c.FinishUtterance()]
    assert line.at(2.6, heard("book a table")) == [
        c.AppendTranscript("caller", "book a table", 1),
        c.StartResponse(1, "book a table"),
    ]


def test_a_final_text_in_other_words_is_answered_anew():
    line = Line(TWICE).up()
    line.at(1.0, e.SpeechStarted(), guessed("book a cable"))
    line.at(2.0, e.SpeechStopped())
    line.until(2.5)
    orders = line.at(2.6, heard("book a table"))
    assert orders == [
        c.AppendTranscript("caller", "book a table", 1),
        c.DropRehearsal(1),
        c.StartResponse(1, "book a table"),
    ]


def test_guesses_of_a_transcriber_that_writes_only_after_a_pause_begin_nothing():
    line = Line(FINALS).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.3, e.SpeechStopped(0.3, closes=True))
    line.at(2.3, guessed("book"))
    assert line.until(2.49) == []
    assert line.at(2.49, heard("book a table")) == [c.Rehearse(1, "book a table")]


@pytest.mark.parametrize("first", [2.45, 2.95])
def test_words_of_a_closed_utterance_that_come_after_speech_has_gone_on_do_not_end_what_follows(first):
    line = Line(FINALS).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.3, e.SpeechStopped(0.3, closes=True))
    line.at(2.4, e.SpeechStarted())
    later = [(2.9, e.SpeechStopped(0.3, closes=True)), (first, heard("book a table"))]
    for at, fact in sorted(later, key=lambda each: each[0]):
        assert not line.at(at, fact)
    assert line.until(3.1) == [c.FinishUtterance()], "the second half is waited for"
    assert line.at(3.2, heard("for us")) == [
        c.AppendTranscript("caller", "book a table for us", 1),
        c.StartResponse(1, "book a table for us"),
    ]


@pytest.mark.parametrize(
    "fact",
    [
        e.SpeechStarted(),
        e.DtmfReceived("1"),
        e.MediaLost(),
        e.HangUpRequested(EndReason.AGENT_HUNG_UP),
        e.HangUpRequested(EndReason.AGENT_HUNG_UP, farewell="Goodbye."),
        e.TransferRequested("+15550002222"),
        e.CallEnded(EndReason.CALLER_HUNG_UP),
        e.TranscriptionFailed("gone"),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_whatever_takes_the_pause_away_drops_what_was_begun_before_anything_else_is_ordered(fact):
    line = paused()
    orders = line.at(2.2, fact)
    assert orders.count(c.DropRehearsal(1)) == 1
    later = (c.HangUp, c.ReleaseCall, c.StartSaying, c.TransferCall)
    assert not any(isinstance(order, later) for order in orders[: orders.index(c.DropRehearsal(1))])


def test_a_text_of_the_owner_waits_for_the_answer_that_was_begun():
    line = paused()
    assert line.at(2.2, e.SayRequested("By the way.")) == []
    assert line.until(2.5)[-1] == c.StartResponse(1, "book a table")


def test_nobody_answers_a_machine_ahead_of_time():
    line = Line(TWICE, outbound=True).up()
    line.at(0.5, e.MachineDetected("machine"))
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, heard("please leave a message after the tone"), e.SpeechStopped())
    line.until(3.0)
    assert not any(isinstance(order, c.Rehearse) for order in line.all)
