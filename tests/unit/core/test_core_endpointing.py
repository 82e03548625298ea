"""When the caller's turn is over, and which words belong to it."""

import pytest
from line import OFF, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Caller

pytestmark = pytest.mark.unit


def heard(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=True)


def guessed(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=False)


@pytest.mark.parametrize(
    ("words", "delay"),
    [
        ("book a table", 0.5),
        ("can you book a table?", 0.4),
        ("my number is 555 12", 1.2),
        ("my number is five five", 1.2),
        ("it is twenty-one", 1.2),
        ("is it 12?", 0.4),
    ],
)
def test_the_silence_that_ends_a_turn_depends_on_its_last_word(words, delay):
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, heard(words), e.SpeechStopped())
    assert line.until(2.0 + delay - 0.01) == []
    assert line.until(2.0 + delay) == [c.AppendTranscript("caller", words, 1), c.StartResponse(1, words)]


def test_silence_that_was_already_heard_counts():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("book a table"))
    line.at(2.3, e.SpeechStopped(silence=0.3))
    assert line.call.next_timer() == pytest.approx(2.5)
    line.at(2.4, e.SpeechStarted())
    assert line.at(4.0, e.SpeechStopped(silence=0.8)) == []
    assert line.call.next_timer() == 4.0


def test_words_that_come_in_the_pause_move_the_end_relative_to_the_end_of_speech():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    line.at(2.2, heard("my number is 555"))
    assert line.call.next_timer() == pytest.approx(3.2)
    line.at(2.3, heard("right?"))
    assert line.call.next_timer() == pytest.approx(2.4)


def test_the_final_text_is_asked_for_once_and_commits_the_turn_when_it_comes():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book a"))
    line.at(2.0, e.SpeechStopped())
    assert line.until(2.5) == [c.FinishUtterance()]
    assert line.at(2.6, guessed("book a table")) == []
    assert line.at(2.7, heard("book a table")) == [
        c.AppendTranscript("caller", "book a table", 1),
        c.StartResponse(1, "book a table"),
    ]
    assert line.all.count(c.FinishUtterance()) == 1


def test_the_last_guess_has_to_do_when_the_final_never_comes():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book a table"))
    line.at(2.0, e.SpeechStopped())
    line.until(4.4)
    assert line.agent is Agent.IDLE
    assert line.until(4.5) == [
        c.AppendTranscript("caller", "book a table", 1),
        c.StartResponse(1, "book a table"),
    ]


def test_a_final_that_comes_after_its_guess_was_answered_is_no_second_turn():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book a table"))
    line.at(2.0, e.SpeechStopped())
    line.until(4.5)
    assert line.at(5.0, heard("book a table")) == []
    assert line.until(10.0) == []


def test_what_a_late_final_adds_to_its_guess_is_not_lost():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book a table"))
    line.at(2.0, e.SpeechStopped())
    line.until(4.5)
    line.at(5.0, heard("book a table for nobody"))
    line.until(6.0)
    assert line.said() == [("caller", "book a table"), ("caller", "for nobody")]


def test_a_sound_without_words_is_no_turn():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(1.3, e.SpeechStopped())
    assert line.until(1.8) == [c.FinishUtterance()]
    assert line.at(1.9, heard("")) == []
    assert line.caller is Caller.QUIET
    assert line.turn == 0


def test_a_sound_about_which_the_transcriber_says_nothing_is_no_turn_either():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(1.3, e.SpeechStopped())
    assert line.until(3.8) == [c.FinishUtterance()]
    assert line.caller is Caller.QUIET


def test_an_empty_final_takes_a_guess_back():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("thank you"))
    line.at(1.3, e.SpeechStopped(), heard(""))
    assert line.until(5.0) == []
    assert line.said() == []


def test_a_vendor_that_decides_itself_gives_the_final_before_the_end_of_speech():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book"), heard("book a table"))
    line.at(2.0, e.SpeechStopped())
    assert line.until(2.5) == [
        c.AppendTranscript("caller", "book a table", 1),
        c.StartResponse(1, "book a table"),
    ]


def test_an_utterance_in_several_finals_is_one_turn():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("book a table"))
    line.at(2.0, guessed("for four"))
    line.at(2.1, e.SpeechStopped())
    assert line.until(3.4) == [c.FinishUtterance()]
    line.at(3.5, heard("for four people"))
    assert line.said() == [("caller", "book a table for four people")]


def test_speech_that_goes_on_before_the_final_keeps_the_turn_open_and_both_parts():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), guessed("book a table"))
    line.at(2.0, e.SpeechStopped())
    assert line.until(2.5) == [c.FinishUtterance()]
    line.at(2.6, e.SpeechStarted())
    assert line.at(2.7, heard("book a table")) == []
    line.at(3.0, e.SpeechStopped())
    assert line.until(3.5) == [c.FinishUtterance()], "the second part is not final yet"
    assert line.at(3.6, heard("for two")) == [
        c.AppendTranscript("caller", "book a table for two", 1),
        c.StartResponse(1, "book a table for two"),
    ]


def test_a_final_that_is_still_owed_does_not_commit_without_the_words_after_it():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    line.until(2.5)
    line.at(2.6, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    assert line.until(3.5) == [c.FinishUtterance()]
    assert line.at(3.6, heard("book a table")) == []
    line.at(3.7, heard("for two"))
    assert line.said() == [("caller", "book a table for two")]


def test_a_late_final_while_the_caller_is_quiet_opens_a_pause():
    line = Line().up()
    line.at(5.0, heard("are you there"))
    assert line.caller is Caller.PAUSED
    assert line.until(5.5)[-1] == c.StartResponse(1, "are you there")


def test_words_without_voice_activity_end_half_a_second_after_the_last_of_them():
    line = Line().up()
    line.at(5.0, guessed("are"))
    line.at(5.4, guessed("are you"))
    line.at(5.8, guessed("are you there"))
    assert line.until(6.29) == []
    assert line.until(6.3) == [c.FinishUtterance()]


def test_speech_that_goes_on_cancels_the_end_of_the_turn():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("one moment"))
    line.at(2.0, e.SpeechStopped())
    line.at(2.4, e.SpeechStarted())
    assert line.until(5.0) == []
    assert line.caller is Caller.TALKING


def test_a_repeated_edge_of_speech_changes_nothing():
    line = Line().up()
    line.at(1.0, e.SpeechStopped(), e.SpeechStarted(), e.SpeechStarted(), heard("hello there"))
    line.at(2.0, e.SpeechStopped())
    line.at(2.4, e.SpeechStopped())
    assert line.until(2.5)[-1] == c.StartResponse(1, "hello there")


def test_a_turn_interrupts_an_agent_that_thinks():
    line = Line().up().asked()
    line.at(4.0, e.SpeechStarted(), heard("mm"))
    assert line.agent is Agent.THINKING
    assert line.at(4.1, guessed("no wait")) == [c.CancelResponse(1)]
    line.at(4.5, heard("no wait"), e.SpeechStopped())
    assert line.until(5.0)[-1] == c.StartResponse(2, "no wait")


def test_words_before_the_call_is_up_begin_the_callers_first_turn():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.MediaConnected(), e.SpeechStarted(), heard("hello"))
    assert line.caller is Caller.QUIET
    line.at(0.1, e.CallAnswered())
    assert line.until(0.6)[-1] == c.StartResponse(1, "hello")


def test_words_before_a_lost_stream_are_answered_after_the_reconnect():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("book a table"))
    line.at(1.5, e.MediaLost())
    assert line.caller is Caller.QUIET
    line.at(2.0, heard("for Anna"))
    assert line.until(3.0) == []
    line.at(3.0, e.MediaConnected())
    assert line.until(3.5)[-1] == c.StartResponse(1, "book a table for Anna")


def test_words_before_a_stream_that_stays_lost_are_written_down():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("book a table"))
    line.at(1.5, e.MediaLost())
    assert line.until(6.5) == [
        c.AppendTranscript("caller", "book a table", 0),
        c.HangUp(EndReason.MEDIA_LOST),
    ]


def test_where_nothing_interrupts_a_turn_waits_for_the_agent_and_is_answered_then():
    line = Line(OFF).up().speaking("It is nine.")
    line.at(5.0, e.SpeechStarted(), heard("thanks and goodbye"))
    line.at(5.5, e.SpeechStopped())
    assert line.until(8.0) == []
    line.at(8.0, heard("then"))
    assert line.at(9.0, e.UtterancePlayed(1)) == [
        c.AppendTranscript("agent", "It is nine.", 1),
        c.AppendTranscript("caller", "thanks and goodbye then", 2),
        c.StartResponse(2, "thanks and goodbye then"),
    ]


def test_where_nothing_interrupts_a_caller_who_goes_on_is_waited_for():
    line = Line(OFF).up().speaking("It is nine.")
    line.at(5.0, e.SpeechStarted(), heard("thanks"))
    line.at(5.5, e.SpeechStopped())
    line.at(8.0, e.SpeechStarted())
    assert line.at(9.0, e.UtterancePlayed(1)) == [c.AppendTranscript("agent", "It is nine.", 1)]
    line.at(9.5, heard("goodbye"), e.SpeechStopped())
    assert line.until(10.0)[-1] == c.StartResponse(2, "thanks goodbye")


def test_where_nobody_answers_turns_are_numbered_and_recorded():
    line = Line(CallPolicy(respond=False)).up()
    line.at(1.0, e.SpeechStarted(), heard("hello"))
    line.at(2.0, e.SpeechStopped())
    assert line.until(2.5) == [c.AppendTranscript("caller", "hello", 1)]
    assert line.agent is Agent.IDLE


def test_the_view_shows_the_words_of_the_open_turn():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), heard("book a table"), guessed("for"))
    view = line.call.snapshot()
    assert (view.turn_text, view.interim, view.lines) == ("book a table for", "for", 0)


def test_an_empty_answer_to_an_earlier_question_closes_nothing_that_is_still_sounding():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(1.5, e.SpeechStopped())
    line.until(4.0)
    line.at(5.0, e.SpeechStarted(), guessed("book a table"), heard(""))
    line.at(6.0, e.SpeechStopped())
    assert line.until(6.5) == [c.FinishUtterance()]
    line.at(6.6, heard("book a table"))
    assert line.said() == [("caller", "book a table")]
