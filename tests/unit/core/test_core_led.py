"""Calls that a speech-to-speech model leads: whose reply is heard, who is answered, and in which order lines stand."""

import pytest
from line import Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy, MustSay
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Caller
from openclaw_voicecall.errors import RemoteProtocolError

pytestmark = pytest.mark.unit

LED = CallPolicy(model_led=True)
GREETED = CallPolicy(model_led=True, greeting="Good morning.")


def said(line: Line, now: float, text: str) -> None:
    """The caller says something that takes a second."""
    line.at(now, e.SpeechStarted())
    line.at(now + 1, e.SpeechStopped())
    line.at(now + 1.2, e.TranscriptReceived(text, final=True))


def answered(line: Line, now: float, text: str, *, utterance: int = 1) -> list[c.Command]:
    """The model answers by itself, and nothing of it was played yet."""
    orders = line.at(now, e.ReplyBegan("r1"))
    turn = line.turn
    line.at(now, e.ResponseChunk(turn, utterance, ""), e.UtteranceGrew(turn, utterance, text))
    line.at(now, e.ResponseFinished(turn))
    return orders


def test_a_reply_of_the_model_is_a_turn_of_the_agent():
    line = Line(LED).up()
    said(line, 1.0, "what time is it")
    assert answered(line, 2.5, "It is nine o'clock.") == [c.AdoptReply(1, "r1")]
    line.at(4.0, e.UtterancePlayed(1))
    assert line.said() == [("caller", "what time is it"), ("agent", "It is nine o'clock.")]
    assert line.agent is Agent.IDLE
    assert line.caller is Caller.QUIET


def test_words_that_come_after_the_answer_stand_before_it():
    line = Line(LED).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    answered(line, 2.1, "It is nine o'clock.")
    line.at(3.0, e.UtterancePlayed(1))
    assert line.said() == []
    line.at(3.4, e.TranscriptReceived("what time is it", final=True))
    assert line.said() == [("caller", "what time is it"), ("agent", "It is nine o'clock.")]


def test_words_that_never_come_hold_no_line_back_for_ever():
    line = Line(LED).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    answered(line, 2.1, "It is nine o'clock.")
    line.at(3.0, e.UtterancePlayed(1))
    line.until(2.0 + LED.endpointing.transcript_wait)
    assert line.said() == [("agent", "It is nine o'clock.")]


def test_speech_cuts_the_agent_at_once_and_only_what_was_heard_is_written():
    line = Line(LED).up()
    said(line, 1.0, "tell me a story")
    answered(line, 2.5, "Once upon a time there was a telephone line.")
    line.at(3.5, e.PlayoutProgressed(1, 1.0, 3.0))
    assert line.at(3.5, e.SpeechStarted()) == [
        c.ClearAudio(1),
        c.AppendTranscript("agent", "Once upon a", 1, interrupted=True),
    ]
    assert line.agent is Agent.IDLE


def test_who_is_not_answered_in_time_is_answered_at_our_wish():
    line = Line(LED).up()
    said(line, 1.0, "are you there")
    assert line.until(2.0 + LED.reply_patience) == [c.StartResponse(1, "are you there")]


def test_a_short_noise_without_words_is_not_answered():
    line = Line(LED).up()
    line.at(1.0, e.SpeechStarted())
    line.at(1.2, e.SpeechStopped())
    line.at(1.4, e.TranscriptReceived("", final=True))
    line.until(10.0)
    assert not [order for order in line.all if isinstance(order, c.StartResponse)]
    assert line.caller is Caller.QUIET


def test_a_late_transcript_is_no_reason_to_answer_twice():
    line = Line(LED).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    answered(line, 2.1, "It is nine.")
    line.at(2.5, e.TranscriptReceived("what time is it", final=True))
    line.at(3.0, e.UtterancePlayed(1))
    line.at(3.5, e.SpeechStarted())
    line.at(3.6, e.SpeechStopped())
    line.at(3.7, e.TranscriptReceived("", final=True))
    line.until(12.0)
    assert not [order for order in line.all if isinstance(order, c.StartResponse)]


def test_the_greeting_is_heard_although_somebody_says_hello_into_it():
    line = Line(GREETED).up()
    said(line, 0.1, "hello?")
    assert line.at(1.4, e.ReplyBegan("auto")) == [c.DropReply("auto")]
    line.at(1.5, e.ResponseChunk(1, 1, "Good morning."), e.ResponseFinished(1), e.UtterancePlayed(1))
    assert line.said() == [("caller", "hello?"), ("agent", "Good morning.")]


def test_a_greeting_that_sounds_may_be_interrupted():
    line = Line(GREETED).up()
    line.at(0.5, e.ResponseChunk(1, 1, "Good morning."))
    assert c.ClearAudio(1) in line.at(0.8, e.SpeechStarted())


@pytest.mark.parametrize(
    "policy",
    [
        CallPolicy(model_led=True, must_say=(MustSay("disclosure", "I am a machine."),)),
        CallPolicy(model_led=True, greeting="Your parcel.", respond=False, hang_up_after_greeting=3.0),
    ],
)
def test_nobody_talks_into_lines_that_have_to_be_heard(policy):
    line = Line(policy).up()
    line.at(0.5, e.ResponseChunk(1, 1, "x"))
    line.at(0.6, e.SpeechStarted())
    line.at(1.6, e.SpeechStopped(), e.ReplyBegan("auto"))
    assert c.DropReply("auto") in line.all
    assert not [order for order in line.all if isinstance(order, c.ClearAudio)]


def test_a_reply_during_a_transfer_or_a_farewell_is_dropped():
    line = Line(LED).up()
    line.at(1.0, e.HangUpRequested(EndReason.AGENT_HUNG_UP, "Goodbye."))
    assert line.at(1.1, e.ReplyBegan("auto")) == [c.DropReply("auto")]
    other = Line(LED).up()
    other.at(1.0, e.TransferRequested("+15550002222"))
    assert other.at(1.1, e.ReplyBegan("auto")) == [c.DropReply("auto")]


def test_keys_are_answered_by_the_model():
    line = Line(LED).up()
    line.at(1.0, e.DtmfReceived("1"))
    assert line.at(1.5, e.DtmfReceived("#")) == [
        c.AppendTranscript("caller", "[keys 1]", 1),
        c.StartResponse(1, "", "1"),
    ]


def test_a_model_that_is_gone_says_goodbye_and_why():
    line = Line(LED).up()
    said(line, 1.0, "what time is it")
    answered(line, 2.5, "It is nine o'clock and all is well.")
    line.at(3.0, e.PlayoutProgressed(1, 0.5, 2.0))
    orders = line.at(3.0, e.ModelLost("gone"))
    assert c.StartSaying(2, LED.goodbye) in orders
    line.at(3.1, e.ResponseChunk(2, 2, LED.goodbye), e.ResponseFinished(2))
    assert line.at(5.0, e.UtterancePlayed(2)) == [
        c.AppendTranscript("agent", LED.goodbye, 2),
        c.HangUp(EndReason.RESPONSE_FAILED),
    ]


def test_a_pipeline_goes_on_as_on_every_other_call():
    line = Line(LED).up()
    line.at(2.0, e.ModelLost("gone", instead=True))
    line.at(2.1, e.ResponseChunk(1, 1, "Sorry."), e.ResponseFinished(1), e.UtterancePlayed(1))
    line.at(4.0, e.SpeechStarted())
    line.at(5.0, e.TranscriptReceived("what time is it", final=True), e.SpeechStopped())
    assert c.StartResponse(2, "what time is it") in line.until(6.5)


def test_a_reply_is_impossible_where_no_model_leads():
    with pytest.raises(RemoteProtocolError):
        Line().up().at(1.0, e.ReplyBegan("r"))


def test_words_that_are_owed_at_the_end_are_written_when_they_come():
    line = Line(LED).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0, e.SpeechStopped())
    line.at(2.1, e.HangUpRequested(EndReason.AGENT_HUNG_UP))
    line.at(2.4, e.TranscriptReceived("bye then", final=True))
    assert line.said() == [("caller", "bye then")]
