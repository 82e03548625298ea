"""Handing the far party over, the warning before the longest duration, and speech of which no word came back."""

import pytest
from line import Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

pytestmark = pytest.mark.unit

HUMAN = "+15550002222"
POLICY = CallPolicy()


def transferring() -> Line:
    """The agent said that it connects the caller, which was heard at 5 s, and the carrier has the caller."""
    line = Line().up().speaking("I'll connect you.", finished=False)
    line.at(4.1, e.TransferRequested(HUMAN), e.ResponseFinished(1))
    assert not any(isinstance(order, c.TransferCall) for order in line.all)
    assert c.TransferCall(HUMAN) in line.at(5.0, e.UtterancePlayed(1))
    return line


def test_the_caller_is_handed_over_once_the_agents_words_were_heard():
    line = transferring()
    assert line.at(5.2, e.MediaLost()) == []
    line.at(9.0, e.TransferAnswered())
    assert line.until(300.0) == []
    assert line.at(400.0, e.CallEnded(EndReason.CALLER_HUNG_UP)) == [c.ReleaseCall(EndReason.TRANSFERRED)]


def test_a_transfer_of_the_owner_needs_no_words():
    line = Line().up()
    assert line.at(1.0, e.TransferRequested(HUMAN)) == [c.TransferCall(HUMAN)]


def test_a_handed_over_call_does_not_outlive_its_own_limit():
    line = transferring()
    line.at(9.0, e.MediaLost(), e.TransferAnswered())
    assert line.until(9.0 + POLICY.transfer_duration) == [c.HangUp(EndReason.TRANSFERRED)]


def test_the_agent_goes_on_when_nobody_answers_there():
    line = transferring()
    line.at(5.2, e.MediaLost())
    assert line.at(30.0, e.TransferFailed("no-answer")) == []
    assert line.at(31.0, e.MediaConnected()) == [c.StartSaying(2, POLICY.transfer_no_answer)]


def test_a_busy_line_is_told_apart():
    line = transferring()
    assert line.at(5.3, e.TransferFailed("busy")) == [c.StartSaying(2, POLICY.transfer_busy)]


def test_the_owner_who_transfers_a_call_has_it_announced_to_the_caller_first():
    line = Line(CallPolicy(transferring="One moment.")).up()
    assert line.at(1.0, e.TransferRequested(HUMAN, "Sam, about the door")) == [
        c.StartSaying(1, "One moment.")
    ]
    line.at(1.1, e.ResponseChunk(1, 1, "One moment."), e.ResponseFinished(1))
    assert c.TransferCall(HUMAN, "Sam, about the door") in line.at(2.0, e.UtterancePlayed(1))


def test_the_agent_goes_on_at_once_when_the_carrier_refuses():
    line = transferring()
    assert line.at(5.3, e.TransferFailed("refused")) == [c.StartSaying(2, POLICY.transfer_failed)]


def test_a_transfer_that_nobody_speaks_of_again_is_taken_back():
    line = transferring()
    line.at(5.2, e.MediaLost())
    assert line.until(5.0 + POLICY.transfer_limit) == [c.TakeBack()]
    assert line.at(67.0, e.MediaConnected()) == [c.StartSaying(2, POLICY.transfer_no_answer)]


def test_a_transfer_that_nobody_speaks_of_again_and_a_caller_who_does_not_come_back_end_the_call():
    line = transferring()
    line.at(5.2, e.MediaLost())
    end = 5.0 + POLICY.transfer_limit + POLICY.media_grace
    assert line.until(end) == [c.TakeBack(), c.HangUp(EndReason.MEDIA_LOST)]


def test_a_caller_who_interrupts_is_not_handed_over():
    line = Line().up().speaking("I'll connect you.")
    line.at(4.1, e.TransferRequested(HUMAN))
    line.at(4.2, e.SpeechStarted())
    line.at(4.6, e.TranscriptReceived("no wait", final=True))
    line.at(5.0, e.SpeechStopped(), e.UtterancePlayed(1))
    line.until(20.0)
    assert not any(isinstance(order, c.TransferCall) for order in line.all)


def test_nothing_else_can_be_asked_of_a_call_that_is_handed_over():
    line = transferring()
    for wish in (e.SayRequested("hi"), e.DigitsRequested("1"), e.TransferRequested(HUMAN)):
        with pytest.raises(LocalProtocolError, match="being transferred"):
            line.at(6.0, wish)


def test_news_of_a_transfer_that_is_none_is_refused():
    for news in (e.TransferAnswered(), e.TransferFailed("x")):
        with pytest.raises(RemoteProtocolError):
            Line().up().at(1.0, news)


def test_the_caller_is_warned_before_the_longest_duration():
    line = Line(CallPolicy(max_duration=100.0)).up()
    assert line.until(80.0) == [c.StartSaying(1, POLICY.duration_warning)]
    line.at(81.0, e.ResponseChunk(1, 1, "x"), e.ResponseFinished(1), e.UtterancePlayed(1))
    assert line.until(100.0) == [c.HangUp(EndReason.MAX_DURATION)]


def test_a_short_call_and_a_notification_are_not_warned():
    for policy in (CallPolicy(max_duration=30.0), CallPolicy(max_duration=100.0, respond=False)):
        line = Line(policy).up()
        assert line.until(99.0)[:1] in ([], [c.HangUp(EndReason.MAX_DURATION)])


def test_a_caller_of_whom_nothing_was_understood_is_asked_to_say_it_again():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    assert line.until(6.0) == [c.FinishUtterance(), c.StartSaying(1, POLICY.apology)]


def test_a_deaf_line_says_goodbye():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    line.until(6.0)
    line.at(6.5, e.ResponseChunk(1, 1, "x"), e.ResponseFinished(1), e.UtterancePlayed(1))
    line.at(7.0, e.SpeechStarted())
    line.at(9.0, e.SpeechStopped())
    assert line.until(12.0) == [c.FinishUtterance(), c.StartSaying(2, POLICY.goodbye)]


def test_a_transcriber_that_hears_no_words_is_doubted_once_and_ends_no_call():
    line = Line().up()
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    asked = line.until(3.6)
    assert asked == [c.FinishUtterance()]
    line.at(3.7, e.TranscriptReceived("", final=True))
    assert line.until(6.0) == [c.StartSaying(1, POLICY.apology)]
    line.at(6.5, e.ResponseChunk(1, 1, "x"), e.ResponseFinished(1), e.UtterancePlayed(1))
    for start in (10.0, 20.0, 30.0):
        line.at(start, e.SpeechStarted())
        line.at(start + 2, e.SpeechStopped())
        line.until(start + 2.6)
        line.at(start + 2.7, e.TranscriptReceived("", final=True))
    later = line.until(60.0)
    assert not any(isinstance(order, c.StartSaying) for order in later)
    line.asked(now=61.0)
    assert line.call.snapshot().failures == 0


@pytest.mark.parametrize("lost", [e.TranscriptionFailed("deaf"), e.ModelLost("gone")])
def test_who_talks_elsewhere_needs_nobody_of_ours(lost):
    line = transferring()
    assert line.at(6.0, e.MediaLost(), lost) == []
    assert line.at(9.0, e.TransferAnswered()) == []
    assert line.until(300.0) == []


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        (e.TranscriptionFailed("deaf"), EndReason.TRANSCRIPTION_FAILED),
        (e.ModelLost("gone"), EndReason.RESPONSE_FAILED),
    ],
)
def test_who_comes_back_where_nobody_is_left_is_told_goodbye(lost, reason):
    line = transferring()
    line.at(6.0, lost)
    assert line.at(9.0, e.TransferFailed("busy")) == [c.StartSaying(2, POLICY.goodbye)]
    line = transferring()
    line.at(6.0, e.MediaLost(), lost)
    assert line.at(9.0, e.TransferFailed("busy")) == [c.HangUp(reason)]


def test_whom_nobody_of_ours_reaches_any_more_is_handed_over_at_once():
    line = Line(CallPolicy(transferring="One moment.")).up().speaking("A long story.", finished=False)
    assert c.TransferCall(HUMAN) in line.at(4.1, e.TransferRequested(HUMAN, at_once=True))


def test_the_other_number_has_longer_to_answer_where_it_is_told_something_first():
    line = Line().up()
    line.at(1.0, e.TransferRequested(HUMAN, "x" * 100))
    line.at(1.5, e.MediaLost())
    assert line.until(1.0 + POLICY.transfer_limit + 9.9) == []
    assert line.until(1.0 + POLICY.transfer_limit + 10.1) == [c.TakeBack()]
