"""Answering machines: what makes one, and how a message is left."""

import pytest
from line import GREETING, NOTIFY, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.amd import MachineDetector
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason

pytestmark = pytest.mark.unit

ANNOUNCEMENT = "Anna is not here, please leave a message after the tone."


def announced(line: Line) -> Line:
    """A machine has talked over our greeting from 1 s to 5 s."""
    line.at(0.2, e.ResponseChunk(1, 1, "Good morning."))
    line.at(1.0, e.SpeechStarted(), e.TranscriptReceived("Anna is not here", final=False))
    line.at(5.0, e.TranscriptReceived(ANNOUNCEMENT, final=True), e.SpeechStopped())
    return line


def test_the_message_is_left_after_the_beep_and_then_the_call_ends():
    line = announced(Line(GREETING, outbound=True).up())
    assert line.until(6.0) == [c.AppendTranscript("caller", ANNOUNCEMENT, 1)]
    assert line.at(6.5, e.BeepDetected()) == [c.StartSaying(2, "Good morning.")]
    assert line.at(6.6, e.ResponseChunk(2, 2, "Good morning."), e.ResponseFinished(2)) == [
        c.Speak(2, 2, "Good morning.")
    ]
    assert line.at(7.0, e.SpeechStarted(), e.TranscriptReceived("are you there", final=True)) == []
    assert line.at(8.0, e.BeepDetected()) == []
    assert line.at(9.0, e.UtterancePlayed(2)) == [
        c.AppendTranscript("agent", "Good morning.", 2),
        c.AppendTranscript("caller", "are you there", 2),
        c.HangUp(EndReason.VOICEMAIL),
    ]


def test_a_beep_cuts_what_the_agent_says():
    line = Line(CallPolicy(greeting="Good morning.", respond=False), outbound=True).up()
    line.at(0.2, e.ResponseChunk(1, 1, "Good morning."), e.MachineDetected("machine"))
    assert line.at(3.0, e.BeepDetected()) == [
        c.CancelResponse(1),
        c.ClearAudio(1),
        c.StartSaying(2, "Good morning."),
    ]


def test_without_a_message_a_machine_is_hung_up_on():
    line = Line(outbound=True).up()
    line.at(2.0, e.MachineDetected("machine"))
    assert line.at(3.0, e.BeepDetected()) == [c.HangUp(EndReason.VOICEMAIL)]


def test_four_seconds_of_unbroken_talk_before_a_beep_are_a_machine():
    line = Line(GREETING, outbound=True).up()
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    line.at(3.5, e.SpeechStarted())
    line.at(5.0, e.SpeechStopped())
    assert line.at(5.8, e.BeepDetected())[-1] == c.StartSaying(2, "Good morning.")


@pytest.mark.parametrize("beep", [2.5, 8.0])
def test_a_beep_after_a_short_word_or_long_after_the_talk_is_no_machine(beep):
    line = Line(GREETING, outbound=True).up()
    line.at(1.0, e.SpeechStarted())
    line.at(2.0 if beep < 5 else 5.0, e.SpeechStopped())
    line.until(beep)
    assert line.at(beep, e.BeepDetected()) == []


def test_people_who_pause_are_no_machine():
    line = Line(GREETING, outbound=True).up()
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.SpeechStopped())
    line.at(4.5, e.SpeechStarted())
    line.at(6.0, e.SpeechStopped())
    line.until(6.2)
    assert line.at(6.2, e.BeepDetected()) == []


def test_the_carriers_word_for_a_person_outweighs_long_talk():
    line = Line(GREETING, outbound=True).up()
    line.at(0.5, e.MachineDetected("human"), e.SpeechStarted())
    line.at(6.0, e.SpeechStopped())
    assert line.at(6.2, e.BeepDetected()) == []


@pytest.mark.parametrize(
    ("policy", "outbound", "at"),
    [
        (GREETING, False, 7.0),
        (CallPolicy(greeting="Good morning.", leave_voicemail=False), True, 7.0),
        (CallPolicy(greeting="Good morning.", voicemail_window=6.0), True, 7.0),
    ],
)
def test_a_beep_means_nothing_on_inbound_calls_when_not_wanted_or_too_late(policy, outbound, at):
    line = announced(Line(policy, outbound=outbound).up())
    line.until(at)
    assert not any(isinstance(order, c.StartSaying) for order in line.at(at, e.BeepDetected()))


def test_an_announcement_without_a_beep_was_said_by_a_person():
    line = announced(Line(GREETING, outbound=True).up())
    line.at(16.0, e.SpeechStarted(), e.TranscriptReceived("hello", final=True), e.SpeechStopped())
    assert line.until(16.5) == [c.AppendTranscript("caller", "hello", 1)]
    line.at(17.1, e.SpeechStarted(), e.TranscriptReceived("hello again", final=True), e.SpeechStopped())
    assert line.until(18.0)[-1] == c.StartResponse(2, "hello again")


def test_the_words_of_an_announcement_late_in_a_call_are_words_like_others():
    line = Line(outbound=True).up()
    line.at(
        60.0, e.SpeechStarted(), e.TranscriptReceived("I am not available", final=True), e.SpeechStopped()
    )
    assert line.until(61.0)[-1] == c.StartResponse(1, "I am not available")


def test_a_notification_waits_for_the_beep_of_a_machine():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.2, e.ResponseChunk(1, 1, "Your parcel has come."), e.ResponseFinished(1))
    line.at(1.0, e.SpeechStarted())
    line.at(3.0, e.UtterancePlayed(1))
    line.at(5.5, e.TranscriptReceived(ANNOUNCEMENT, final=False))
    line.at(6.0, e.SpeechStopped())
    assert not any(isinstance(order, c.HangUp) for order in line.until(8.0))
    assert line.at(8.0, e.BeepDetected())[-1] == c.StartSaying(2, "Your parcel has come.")


def test_a_notification_waits_for_a_beep_only_so_long():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.2, e.ResponseChunk(1, 1, "Your parcel has come."), e.ResponseFinished(1))
    line.at(2.0, e.MachineDetected("machine"))
    line.at(3.0, e.UtterancePlayed(1))
    assert line.until(13.9) == []
    assert line.until(14.0) == [c.HangUp(EndReason.COMPLETED)]


@pytest.mark.parametrize("up", [True, False])
def test_a_fax_is_hung_up_on(up):
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced())
    if up:
        line.at(0.0, e.CallAnswered(), e.MediaConnected())
    assert line.at(2.0, e.MachineDetected("fax")) == [c.HangUp(EndReason.FAILED)]


def test_a_message_that_could_not_be_spoken_was_not_left():
    line = announced(Line(GREETING, outbound=True).up())
    line.at(6.5, e.BeepDetected(), e.ResponseChunk(2, 2, "Good morning."), e.ResponseFinished(2))
    assert line.at(7.0, e.UtteranceFailed(2, "x")) == [c.HangUp(EndReason.SYNTHESIS_FAILED)]


def test_a_message_that_the_line_cut_was_not_left():
    line = announced(Line(GREETING, outbound=True).up())
    line.at(6.5, e.BeepDetected(), e.ResponseChunk(2, 2, "Good morning."))
    assert line.at(7.0, e.MediaLost())[-1] == c.HangUp(EndReason.MEDIA_LOST)


@pytest.mark.parametrize(
    "words",
    [
        "Please leave your name and a message",
        "record your message after the beep",
        "at the tone",
        "the person you are calling is unavailable",
        "you have reached the voice mail of",
        "the mailbox belongs to",
        "I can't come to the phone right now",
        "Sprechen Sie nach dem Signalton",
    ],
)
def test_machines_are_known_by_what_they_say(words):
    detector = MachineDetector(45.0)
    detector.answered(0.0)
    detector.heard(words, 2.0)
    assert detector.is_machine_talk(2.0)
    assert detector.is_message_beep(3.0)


@pytest.mark.parametrize("words", ["Hello?", "Who is this", "Yes, Anna speaking", "call me at the office"])
def test_people_are_known_by_what_they_say(words):
    detector = MachineDetector(45.0)
    detector.answered(0.0)
    detector.heard(words, 2.0)
    assert not detector.is_machine_talk(2.0)
    assert not detector.is_message_beep(3.0)


def test_talk_of_a_machine_lasts_until_its_voice_ends_and_twelve_seconds_more():
    detector = MachineDetector(45.0)
    detector.answered(0.0)
    detector.speech_started(1.0)
    detector.heard("after the tone", 5.0)
    assert detector.is_machine_talk(30.0)
    assert detector.beep_expected_until(6.0) == 18.0
    detector.speech_stopped(7.0)
    assert detector.is_machine_talk(19.0)
    assert not detector.is_machine_talk(19.1)
    assert detector.beep_expected_until(18.0) == 19.0
    assert detector.beep_expected_until(19.0) is None


def test_words_that_come_after_their_beep_explain_it():
    line = Line(GREETING, outbound=True).up()
    line.at(1.0, e.SpeechStarted())
    assert line.at(2.5, e.BeepDetected()) == []
    line.at(3.5, e.SpeechStopped())
    orders = line.at(3.6, e.TranscriptReceived("Leave a message.", final=True))
    assert orders[-2:] == [
        c.AppendTranscript("caller", "Leave a message.", 1),
        c.StartSaying(2, "Good morning."),
    ]


def test_words_explain_their_beep_also_where_that_was_taken_for_speech_of_its_own():
    line = Line(GREETING, outbound=True).up()
    line.at(0.5, e.SpeechStarted())
    line.at(1.6, e.SpeechStopped(silence=0.6))
    assert line.at(1.65, e.BeepDetected()) == [c.FinishUtterance()]
    line.at(2.5, e.SpeechStarted())
    orders = line.at(3.0, e.SpeechStopped(), e.TranscriptReceived("Leave a message.", final=True))
    assert orders[-1] == c.StartSaying(2, "Good morning.")


def test_a_beep_before_the_words_began_is_not_theirs():
    line = Line(GREETING, outbound=True).up()
    line.at(0.5, e.BeepDetected())
    line.at(1.0, e.SpeechStarted())
    orders = line.at(2.0, e.SpeechStopped(), e.TranscriptReceived("Leave a message.", final=True))
    assert not any(isinstance(order, c.StartSaying) for order in orders)
