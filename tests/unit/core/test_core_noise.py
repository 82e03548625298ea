"""Noise around the caller: it silences the agent twice at most, and keeps nobody from being answered."""

import pytest
from line import YIELD, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import BargeInPolicy, CallPolicy, EndpointingPolicy
from openclaw_voicecall.core.state import Agent, Caller
from openclaw_voicecall.core.turns import CallerTurn, FalseAlarms

pytestmark = pytest.mark.unit

NINE = "It is nine o'clock."


def guessed(text: str) -> e.TranscriptReceived:
    return e.TranscriptReceived(text, final=False)


def knock(line: Line, at: float) -> list[c.Command]:
    """A short sound, and what was ordered at its start; the agent has gone on when this returns."""
    orders = line.at(at, e.SpeechStarted())
    line.at(at + 0.2, e.SpeechStopped(0.1), e.TranscriptReceived("", final=True))
    line.until(at + 1.9)
    return orders


def test_the_third_sound_without_words_silences_the_agent_no_more():
    line = Line(YIELD).up().speaking(NINE)
    assert knock(line, 5.0) == [c.HoldAudio(1)]
    assert knock(line, 8.0) == [c.HoldAudio(1)]
    assert knock(line, 11.0) == []
    assert line.agent is Agent.DRAINING


def test_words_interrupt_an_agent_that_waits_for_them():
    line = Line(YIELD).up().speaking(NINE)
    knock(line, 5.0)
    knock(line, 8.0)
    assert line.at(11.0, e.SpeechStarted()) == []
    assert c.ClearAudio(1) in line.at(11.4, guessed("stop please"))
    assert line.agent is Agent.IDLE


def test_sounds_are_believed_again_after_a_while_without_any():
    span = BargeInPolicy().alarm_span
    line = Line(CallPolicy(idle_timeout=900.0, max_duration=900.0)).up().speaking(NINE)
    knock(line, 5.0)
    knock(line, 8.0)
    assert knock(line, 10.0 + span) == [c.HoldAudio(1)]


def test_a_sound_that_was_a_voice_after_all_makes_good_for_the_others():
    line = Line(YIELD).up().speaking(NINE)
    knock(line, 5.0)
    line.at(8.0, e.SpeechStarted(), guessed("stop it"))
    line.at(8.8, e.TranscriptReceived("stop it", final=True), e.SpeechStopped())
    line.until(9.6)
    line.at(10.0, e.ResponseChunk(2, 2, "All right, then."), e.ResponseFinished(2))
    assert knock(line, 11.0) == [c.HoldAudio(2)]
    assert knock(line, 14.0) == [c.HoldAudio(2)]


def test_alarms_count_within_their_span():
    alarms = FalseAlarms(2, 10.0)
    assert not alarms.are_enough(0.0)
    alarms.ring(1.0)
    alarms.ring(5.0)
    assert alarms.are_enough(10.9)
    assert not alarms.are_enough(11.0)
    alarms.ring(12.0)
    assert alarms.are_enough(14.0), "the last two count"
    alarms.forget()
    assert not alarms.are_enough(14.0)


def test_who_has_said_something_is_answered_although_a_noise_goes_on():
    line = Line().up()
    line.at(5.0, e.SpeechStarted(), guessed("what time"))
    line.at(6.0, guessed("what time is it"))
    stale = EndpointingPolicy().stale_after
    assert line.until(6.0 + stale - 0.1) == []
    assert line.until(6.0 + stale) == [c.FinishUtterance()]
    orders = line.at(6.2 + stale, e.TranscriptReceived("What time is it?", final=True)) + line.until(
        8.0 + stale
    )
    assert c.StartResponse(1, "What time is it?") in [
        c.StartResponse(order.turn, order.text) if isinstance(order, c.StartResponse) else order
        for order in orders
    ]
    assert line.caller is Caller.QUIET


def test_new_words_keep_the_turn_open_and_the_same_ones_do_not():
    line = Line().up()
    line.at(5.0, e.SpeechStarted(), guessed("my number is"))
    assert line.at(9.0, guessed("my number is five")) == []
    assert line.at(12.0, guessed("my number is five")) == []
    assert line.until(13.4) == []
    assert line.until(13.5) == [c.FinishUtterance()]


def test_where_words_come_after_a_pause_only_a_voice_is_never_stale():
    line = Line(CallPolicy(endpointing=EndpointingPolicy(stale_after=None))).up()
    line.at(5.0, e.SpeechStarted(), guessed("my number is"))
    assert line.until(30.0) == []


def test_a_sound_without_words_is_no_turn():
    line = Line().up()
    line.at(5.0, e.SpeechStarted())
    line.at(5.4, e.SpeechStopped(0.1), e.TranscriptReceived("", final=True))
    assert line.until(20.0) == []
    assert line.turn == 0


@pytest.mark.parametrize("mark", ["...", "♪", " - ", "?!", "。", "\u200b", "[ ]"])
def test_marks_without_a_letter_are_no_words(mark):
    words = CallerTurn(EndpointingPolicy())
    words.speech_started(0.0, new=True)
    assert words.hear(mark, final=True, talking=False) == ""
    assert words.text == ""
    line = Line().up()
    line.at(5.0, e.SpeechStarted(), e.SpeechStopped(0.1), e.TranscriptReceived(mark, final=True))
    assert not [order for order in line.until(9.0) if isinstance(order, c.StartResponse)]


@pytest.mark.parametrize("word", ["Ja.", "是", "да", "5", "ñ"])
def test_words_of_any_script_are_words(word):
    words = CallerTurn(EndpointingPolicy())
    words.speech_started(0.0, new=True)
    assert words.hear(word, final=True, talking=False) == word
