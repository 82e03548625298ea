"""The caller speaks over the agent: the agent yields, and words decide."""

from dataclasses import replace

import pytest
from line import OFF, WORDS, YIELD, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import BargeInPolicy, CallPolicy
from openclaw_voicecall.core.state import Agent, Caller

pytestmark = pytest.mark.unit

NINE = "It is nine o'clock."


def heard(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=True)


def guessed(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=False)


@pytest.mark.parametrize("finished", [True, False])
def test_the_agent_falls_silent_at_the_first_sound(finished):
    line = Line().up().speaking(finished=finished)
    assert line.at(5.0, e.SpeechStarted()) == [c.HoldAudio(1)]
    assert line.agent is Agent.YIELDED


@pytest.mark.parametrize("final", [True, False])
def test_words_interrupt_a_yielded_agent_and_only_what_was_heard_is_written(final):
    line = Line().up().speaking(NINE, finished=False)
    line.at(5.0, e.PlayoutProgressed(1, 1.0, 1.6), e.SpeechStarted())
    assert line.at(5.4, e.TranscriptReceived("stop please", final=final)) == [
        c.CancelResponse(1),
        c.ClearAudio(1),
        c.AppendTranscript("agent", "It is nine", 1, interrupted=True),
    ]
    assert line.agent is Agent.IDLE


def test_a_finished_response_is_not_cancelled_by_an_interruption():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    assert line.at(5.4, guessed("stop")) == [c.ClearAudio(1)]


def test_interrupted_words_become_the_next_turn():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted(), guessed("stop"))
    line.at(6.0, heard("stop it"), e.SpeechStopped())
    assert line.until(6.5) == [c.AppendTranscript("caller", "stop it", 2), c.StartResponse(2, "stop it")]


def test_a_backchannel_is_recorded_and_the_agent_goes_on():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    assert line.at(5.2, guessed("Uh-huh")) == []
    assert line.at(5.3, heard("Uh-huh."), e.SpeechStopped()) == [
        c.AppendTranscript("caller", "Uh-huh.", 1),
        c.ResumeAudio(1),
    ]
    assert line.agent is Agent.DRAINING
    assert line.until(20.0) == []
    assert line.turn == 1


def test_a_backchannel_in_a_pause_is_recorded_too():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    line.at(5.3, e.SpeechStopped())
    assert line.at(5.4, heard("uh, huh")) == [c.AppendTranscript("caller", "uh, huh", 1), c.ResumeAudio(1)]
    assert line.caller is Caller.QUIET


def test_a_backchannel_does_not_make_the_agent_think_anew():
    line = Line().up().asked()
    line.at(4.0, e.SpeechStarted())
    assert line.at(4.3, heard("mm-hmm"), e.SpeechStopped()) == [c.AppendTranscript("caller", "mm-hmm", 1)]
    assert line.until(10.0) == []
    assert line.agent is Agent.THINKING


def test_a_backchannel_that_answers_an_idle_agent_is_a_turn():
    line = Line().up()
    line.at(5.0, e.SpeechStarted(), heard("mm-hmm"), e.SpeechStopped())
    assert line.until(5.5)[-1] == c.StartResponse(1, "mm-hmm")


def test_a_guessed_backchannel_whose_final_never_comes_is_recorded_and_no_turn():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted(), guessed("mm"))
    line.at(5.3, e.SpeechStopped())
    assert line.until(9.0) == [
        c.FinishUtterance(),
        c.ResumeAudio(1),
        c.AppendTranscript("caller", "mm", 1),
    ]


def test_a_short_sound_without_words_holds_the_agent_until_its_silence():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    line.at(5.4, e.SpeechStopped(silence=0.1))
    assert line.until(6.19) == [c.FinishUtterance()]
    assert line.until(6.21) == [c.ResumeAudio(1)]


def test_a_sound_that_lasts_without_words_holds_the_agent_for_two_seconds():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    assert line.until(6.9) == []
    assert line.until(7.0) == [c.ResumeAudio(1)]
    assert line.agent is Agent.DRAINING
    assert line.caller is Caller.TALKING


def test_words_that_come_after_the_agent_went_on_still_interrupt():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    line.until(7.0)
    assert line.at(8.0, guessed("hello")) == [c.ClearAudio(1)]


def test_sounds_that_come_again_and_again_do_not_hold_the_agent_for_ever():
    line = Line().up().speaking(NINE)
    held = line.at(5.0, e.SpeechStarted())
    for tenth in range(54, 90, 8):
        held += line.at(tenth / 10, e.SpeechStopped())
        held += line.at(tenth / 10 + 0.4, e.SpeechStarted())
    resumed = [order for order in held if order == c.ResumeAudio(1)]
    assert resumed == [c.ResumeAudio(1)]


def test_a_turn_without_words_lets_the_agent_go_on():
    line = Line(replace(YIELD, barge_in=BargeInPolicy(resume_after=5.0))).up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    line.at(5.4, e.SpeechStopped())
    line.until(5.9)
    assert line.at(6.0, heard("")) == [c.ResumeAudio(1)]


def test_what_comes_while_the_agent_is_held_is_kept_and_its_end_remembered():
    line = Line().up().speaking("One.", finished=False)
    line.at(5.0, e.SpeechStarted())
    assert line.at(5.1, e.ResponseChunk(1, 2, "Two.")) == [c.Speak(1, 2, "Two.")]
    assert line.at(5.2, e.ResponseFinished(1), e.UtterancePlayed(1)) == []
    assert line.agent is Agent.YIELDED
    line.at(5.3, e.SpeechStopped())
    line.until(6.2)
    assert line.agent is Agent.DRAINING
    assert line.at(7.0, e.UtterancePlayed(2)) == [c.AppendTranscript("agent", "One. Two.", 1)]


def test_a_response_that_is_still_open_is_spoken_on_after_the_hold():
    line = Line().up().speaking("One.", finished=False)
    line.at(5.0, e.SpeechStarted())
    line.until(7.0)
    assert line.agent is Agent.SPEAKING


def test_a_turn_that_was_played_out_while_held_ends_when_it_resumes():
    line = Line().up().speaking("One.")
    line.at(5.0, e.SpeechStarted(), e.UtterancePlayed(1))
    assert line.agent is Agent.YIELDED
    assert line.until(7.0) == [c.ResumeAudio(1), c.AppendTranscript("agent", "One.", 1)]


def test_a_response_that_begins_while_the_caller_makes_a_sound_is_held_back():
    line = Line().up().asked()
    line.at(4.0, e.SpeechStarted())
    assert line.at(4.5, e.ResponseChunk(1, 1, "One.")) == [c.HoldAudio(1), c.Speak(1, 1, "One.")]
    assert line.until(6.0) == [c.ResumeAudio(1)]


def test_a_response_that_begins_just_after_a_sound_is_held_back_until_it_is_decided():
    line = Line().up().asked()
    line.at(4.0, e.SpeechStarted())
    line.at(4.3, e.SpeechStopped())
    assert line.at(4.5, e.ResponseChunk(1, 1, "One.")) == [c.HoldAudio(1), c.Speak(1, 1, "One.")]
    assert line.until(5.2) == [c.FinishUtterance(), c.ResumeAudio(1)]


def test_a_response_that_begins_long_after_a_sound_began_is_spoken_over_it():
    line = Line().up().asked()
    line.at(4.0, e.SpeechStarted())
    assert line.at(6.5, e.ResponseChunk(1, 1, "One.")) == [c.Speak(1, 1, "One.")]


def test_one_word_is_not_enough_where_two_are_asked_for_but_it_is_a_turn():
    line = Line(CallPolicy(barge_in=BargeInPolicy(min_words=2))).up().speaking(NINE)
    line.at(5.0, e.SpeechStarted())
    assert line.at(5.2, guessed("stop")) == []
    line.at(5.3, e.SpeechStopped())
    assert line.until(5.8) == [c.FinishUtterance()]
    assert line.until(7.0) == [], "a word is awaited, so the agent does not go on"
    assert line.at(7.1, heard("stop")) == [
        c.ClearAudio(1),
        c.AppendTranscript("caller", "stop", 2),
        c.StartResponse(2, "stop"),
    ]


def test_where_words_are_asked_for_a_sound_holds_nothing():
    line = Line(WORDS).up().speaking(NINE)
    assert line.at(5.0, e.SpeechStarted()) == []
    assert line.at(5.2, guessed("uh")) == []
    assert line.at(5.4, guessed("uh stop")) == [c.ClearAudio(1)]


def test_where_interruptions_are_off_neither_sound_nor_words_nor_keys_cut_the_agent():
    line = Line(OFF).up().speaking(NINE)
    assert line.at(5.0, e.SpeechStarted(), guessed("stop it now"), e.DtmfReceived("1")) == []
    assert line.agent is Agent.DRAINING


def test_the_end_that_the_agent_wanted_is_off_when_the_caller_interrupts():
    line = Line().up().speaking("Goodbye then.", finished=False)
    line.at(4.1, e.ResponseFinished(1, end_call=True))
    line.at(5.0, e.SpeechStarted(), heard("one more thing"))
    line.at(5.5, e.SpeechStopped())
    assert line.until(6.0)[-1] == c.StartResponse(2, "one more thing")


def test_words_that_are_taken_back_after_they_cut_the_agent_do_not_leave_it_silent():
    line = Line().up().speaking(NINE)
    line.at(5.0, e.SpeechStarted(), guessed("thank you"))
    line.at(5.3, e.SpeechStopped())
    line.until(5.8)
    assert line.at(5.9, heard("")) == [c.StartSaying(2, YIELD.apology)]


def test_what_was_heard_of_a_turn_while_its_length_is_unknown_is_estimated_and_never_more():
    line = Line().up().speaking("The quick brown fox jumps over it.", finished=False)
    line.at(5.0, e.PlayoutProgressed(1, 1.0, None), e.SpeechStarted(), guessed("stop"))
    assert line.said()[-1] == ("agent", "The quick brown")


def test_audio_facts_of_a_turn_that_was_cut_are_dropped():
    line = Line().up().speaking(NINE, finished=False)
    line.at(5.0, e.SpeechStarted(), guessed("stop"))
    late = (
        e.ResponseChunk(1, 2, "More."),
        e.ResponseFinished(1),
        e.UtterancePlayed(1),
        e.ResponseFailed(1, "x"),
    )
    assert line.at(5.1, *late, e.UtteranceFailed(1, "x"), e.PlayoutProgressed(1, 1.0, 1.0)) == []
    assert line.agent is Agent.IDLE
