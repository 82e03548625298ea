"""Lines that have to be said: first, to their end, and on the record."""

import pytest
from line import Line

from openclaw_voicecall.core.commands import (
    AppendTranscript,
    ClearAudio,
    HangUp,
    HoldAudio,
    NoteSaid,
    StartResponse,
    StartSaying,
)
from openclaw_voicecall.core.events import (
    BeepDetected,
    DtmfReceived,
    HangUpRequested,
    MachineDetected,
    MediaConnected,
    MediaLost,
    PlayoutProgressed,
    ResponseChunk,
    ResponseFinished,
    SayRequested,
    SpeechStarted,
    SpeechStopped,
    TranscriptReceived,
    UtteranceFailed,
    UtterancePlayed,
)
from openclaw_voicecall.core.policy import CallPolicy, MustSay
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent

pytestmark = pytest.mark.unit

DISCLOSURE = MustSay("disclosure", "This is a machine.")
NOTICE = MustSay("recording", "It is recorded.")
MESSAGE = "Your parcel has come."
BOTH = CallPolicy(must_say=(DISCLOSURE, NOTICE), greeting="Good morning.")
ONE = CallPolicy(must_say=(DISCLOSURE,), greeting="Good morning.")
SILENT = CallPolicy(must_say=(DISCLOSURE,))
TELLS = CallPolicy(must_say=(DISCLOSURE,), greeting=MESSAGE, respond=False, hang_up_after_greeting=3.0)


def said(line: Line) -> list[str]:
    return [order.text for order in line.all if isinstance(order, StartSaying)]


def noted(line: Line) -> list[str]:
    return [order.name for order in line.all if isinstance(order, NoteSaid)]


def speak(line: Line, now: float, number: int, text: str, *, played: bool = True) -> None:
    """The agent's open turn is spoken as one utterance."""
    line.at(now, ResponseChunk(line.turn, number, text), ResponseFinished(line.turn))
    if played:
        line.at(now, UtterancePlayed(number))


@pytest.mark.parametrize("outbound", [False, True])
def test_they_are_said_before_the_greeting_one_after_the_other_and_noted_once_heard(outbound):
    line = Line(BOTH, outbound=outbound).up()
    assert said(line) == [DISCLOSURE.text]
    speak(line, 1, 1, DISCLOSURE.text, played=False)
    assert noted(line) == []
    line.at(2, UtterancePlayed(1))
    assert noted(line) == ["disclosure"]
    speak(line, 3, 2, NOTICE.text)
    assert noted(line) == ["disclosure", "recording"]
    assert said(line) == [DISCLOSURE.text, NOTICE.text, "Good morning."]
    written = [order.text for order in line.all if isinstance(order, AppendTranscript)]
    assert written == [DISCLOSURE.text, NOTICE.text]


def test_neither_speech_nor_words_nor_keys_interrupt_them():
    line = Line(ONE).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    orders = line.at(1, SpeechStarted(), TranscriptReceived("stop that", final=False), DtmfReceived("1"))
    assert not any(isinstance(order, HoldAudio | ClearAudio) for order in orders)
    assert line.agent is Agent.DRAINING


def test_words_said_over_them_are_answered_after_the_greeting():
    line = Line(ONE).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    line.at(0.2, SpeechStarted())
    line.at(0.8, TranscriptReceived("who is this", final=True), SpeechStopped())
    line.until(2.5)
    assert line.agent is Agent.DRAINING
    line.at(3, UtterancePlayed(1))
    assert said(line) == [DISCLOSURE.text, "Good morning."]
    speak(line, 4, 2, "Good morning.")
    assert StartResponse(3, "who is this") in line.all


def test_keys_pressed_over_them_are_taken_up_afterwards():
    line = Line(SILENT).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    line.at(1, DtmfReceived("4"), DtmfReceived("#"))
    assert not any(isinstance(order, StartResponse) for order in line.all)
    line.at(2, UtterancePlayed(1))
    assert StartResponse(2, "", "4#") in line.all or StartResponse(2, "", "4") in line.all


def test_what_a_lost_stream_cut_is_said_again_from_its_beginning():
    line = Line(ONE).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    line.at(1, PlayoutProgressed(1, 0.9, 1.0), MediaLost())
    assert noted(line) == []
    line.at(2, MediaConnected())
    assert said(line) == [DISCLOSURE.text, DISCLOSURE.text]


def test_what_could_not_be_spoken_is_said_again_instead_of_an_apology():
    line = Line(ONE).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    line.at(1, UtteranceFailed(1, "the voice is gone"))
    assert said(line) == [DISCLOSURE.text, DISCLOSURE.text]
    speak(line, 2, 2, DISCLOSURE.text, played=False)
    line.at(3, UtteranceFailed(2, "the voice is gone"))
    assert said(line)[-1] == ONE.goodbye
    assert noted(line) == []


def test_a_farewell_needs_no_notice():
    line = Line(ONE).up()
    line.at(1, HangUpRequested(EndReason.AGENT_HUNG_UP, "Goodbye."))
    assert said(line) == [DISCLOSURE.text, "Goodbye."]
    speak(line, 2, 1, "Goodbye.")
    assert HangUp(EndReason.AGENT_HUNG_UP) in line.all
    assert noted(line) == []


def test_texts_of_the_owner_wait_for_them():
    line = Line(SILENT).up()
    line.at(0, SayRequested("One moment."))
    assert said(line) == [DISCLOSURE.text]
    speak(line, 1, 1, DISCLOSURE.text)
    assert said(line) == [DISCLOSURE.text, "One moment."]


def test_a_notification_says_them_too_and_hangs_up_after_its_message_only():
    line = Line(TELLS, outbound=True).up()
    speak(line, 0, 1, DISCLOSURE.text)
    line.until(10)
    assert not any(isinstance(order, HangUp) for order in line.all)
    speak(line, 10, 2, MESSAGE)
    line.until(14)
    assert HangUp(EndReason.COMPLETED) in line.all


def test_a_machine_hears_them_with_its_message():
    line = Line(TELLS, outbound=True).up()
    speak(line, 0, 1, DISCLOSURE.text, played=False)
    line.at(1, MachineDetected("machine"), BeepDetected())
    assert said(line)[-1] == f"{DISCLOSURE.text} {MESSAGE}"
    speak(line, 2, 2, said(line)[-1])
    assert noted(line) == ["disclosure"]
    assert HangUp(EndReason.VOICEMAIL) in line.all


def test_nobody_leaves_a_machine_only_them():
    line = Line(SILENT, outbound=True).up()
    line.at(1, MachineDetected("machine"), BeepDetected())
    assert HangUp(EndReason.VOICEMAIL) in line.all
    assert said(line) == [DISCLOSURE.text]


def test_the_view_tells_that_nobody_need_listen_meanwhile():
    line = Line(ONE).up()
    assert line.call.snapshot().gives_notice
    assert not line.call.snapshot().last_words
    speak(line, 0, 1, DISCLOSURE.text)
    assert not line.call.snapshot().gives_notice
