"""The agent's turns, their failures, what the owner asks for, and pressed keys."""

from dataclasses import replace

import pytest
from line import GREETING, NOTIFY, OFF, YIELD, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy, DtmfPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Leg
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

pytestmark = pytest.mark.unit


def press(line: Line, now: float, digits: str) -> list[c.Command]:
    return line.at(now, *(e.DtmfReceived(digit) for digit in digits))


def test_a_turn_is_spoken_as_it_comes_and_written_when_all_of_it_was_played():
    line = Line().up().asked()
    assert line.at(4.0, e.ResponseChunk(1, 1, "One.")) == [c.Speak(1, 1, "One.")]
    assert line.at(4.5, e.ResponseChunk(1, 2, "Two.")) == [c.Speak(1, 2, "Two.")]
    assert line.at(5.0, e.UtterancePlayed(1), e.ResponseFinished(1)) == []
    assert line.agent is Agent.DRAINING
    assert line.at(6.0, e.UtterancePlayed(2)) == [c.AppendTranscript("agent", "One. Two.", 1)]
    assert line.agent is Agent.IDLE


def test_an_utterance_is_given_only_once():
    line = Line().up().speaking("One.", finished=False)
    with pytest.raises(RemoteProtocolError):
        line.at(5.0, e.ResponseChunk(1, 1, "One again."))


def test_late_words_of_an_old_turn_are_not_spoken():
    line = Line().up().speaking("One.", finished=False)
    line.at(5.0, e.SpeechStarted(), e.TranscriptReceived("no", final=True), e.SpeechStopped())
    line.until(6.0)
    assert line.turn == 2
    assert line.at(6.1, e.ResponseChunk(1, 2, "Two."), e.ResponseFinished(1), e.ResponseFailed(1, "x")) == []
    assert line.agent is Agent.THINKING


def test_a_failed_response_is_apologised_for_after_what_it_said_was_played():
    line = Line().up().speaking("One.", finished=False)
    assert line.at(4.5, e.ResponseFailed(1, "timeout")) == []
    assert line.at(5.0, e.UtterancePlayed(1)) == [
        c.AppendTranscript("agent", "One.", 1),
        c.StartSaying(2, YIELD.apology),
    ]
    assert line.call.snapshot().failures == 1


def test_silence_of_the_responder_is_a_failure():
    line = Line().up().asked()
    assert line.at(4.0, e.ResponseFinished(1)) == [c.StartSaying(2, YIELD.apology)]


def test_failures_in_a_row_end_the_call_with_a_goodbye_although_the_apology_was_heard():
    line = Line().up().asked()
    line.at(4.0, e.ResponseFailed(1, "x"), e.ResponseChunk(2, 1, "Sorry."), e.ResponseFinished(2))
    line.at(5.0, e.UtterancePlayed(1))
    line.asked(now=10.0)
    assert line.at(13.0, e.ResponseFailed(3, "x")) == [c.StartSaying(4, YIELD.goodbye)]
    line.at(13.1, e.ResponseChunk(4, 2, "Goodbye."), e.ResponseFinished(4))
    assert line.at(14.0, e.UtterancePlayed(2)) == [
        c.AppendTranscript("agent", "Goodbye.", 4),
        c.HangUp(EndReason.RESPONSE_FAILED),
    ]


def test_a_turn_that_was_heard_starts_the_count_anew():
    line = Line().up().asked()
    line.at(4.0, e.ResponseFailed(1, "x"), e.ResponseChunk(2, 1, "Sorry."), e.ResponseFinished(2))
    line.at(5.0, e.UtterancePlayed(1))
    line.asked(now=10.0)
    line.at(13.0, e.ResponseChunk(3, 2, "Fine."), e.ResponseFinished(3), e.UtterancePlayed(2))
    assert line.call.snapshot().failures == 0


def test_a_dead_synthesizer_ends_the_call_by_count_and_never_loops():
    line = Line().up().speaking("One.")
    assert line.at(4.5, e.UtteranceFailed(1, "503")) == [c.StartSaying(2, YIELD.apology)]
    line.at(4.6, e.ResponseChunk(2, 2, "Sorry."), e.ResponseFinished(2))
    assert line.at(5.0, e.UtteranceFailed(2, "503")) == [c.StartSaying(3, YIELD.goodbye)]
    line.at(5.1, e.ResponseChunk(3, 3, "Goodbye."), e.ResponseFinished(3))
    assert line.at(5.5, e.UtteranceFailed(3, "503")) == [c.HangUp(EndReason.SYNTHESIS_FAILED)]
    assert line.said() == [("caller", "what time is it")]


def test_an_utterance_that_failed_is_not_written_as_heard():
    line = Line().up().speaking("One.", "Two.", "Three.")
    line.at(5.0, e.UtterancePlayed(1), e.UtteranceFailed(2, "x"))
    assert line.at(6.0, e.UtterancePlayed(3)) == [
        c.AppendTranscript("agent", "One. Three.", 1),
        c.StartSaying(2, YIELD.apology),
    ]


def test_failures_of_turns_that_the_caller_cut_count_too():
    line = Line().up().speaking("One.", "Two.", finished=False)
    line.at(4.5, e.UtteranceFailed(1, "x"))
    line.at(5.0, e.SpeechStarted(), e.TranscriptReceived("hello?", final=True), e.SpeechStopped())
    line.until(6.0)
    assert line.call.snapshot().failures == 1
    assert line.at(6.1, e.ResponseFailed(2, "x")) == [c.StartSaying(3, YIELD.goodbye)]


def test_a_caller_who_cuts_every_failing_turn_is_not_kept_for_ever():
    line = Line().up().speaking("One.", "Two.", finished=False)
    line.at(4.5, e.UtteranceFailed(1, "x"))
    line.at(5.0, e.SpeechStarted(), e.TranscriptReceived("hello", final=True), e.SpeechStopped())
    line.until(6.0)
    line.at(6.1, e.ResponseChunk(2, 3, "Three."), e.ResponseChunk(2, 4, "Four."), e.UtteranceFailed(3, "x"))
    line.at(7.0, e.SpeechStarted())
    assert line.at(7.5, e.TranscriptReceived("hello again", final=True)) == [
        c.CancelResponse(2),
        c.ClearAudio(2),
        c.AppendTranscript("caller", "hello again", 2),
        c.StartSaying(3, YIELD.goodbye),
    ]


def test_a_failed_turn_that_the_far_side_cuts_by_hanging_up_ends_nothing_twice():
    line = Line().up().asked()
    line.at(4.0, e.ResponseFailed(1, "x"), e.ResponseChunk(2, 1, "Sorry."), e.UtteranceFailed(1, "x"))
    assert line.at(5.0, e.CallEnded(EndReason.CALLER_HUNG_UP)) == [
        c.CancelResponse(2),
        c.ClearAudio(2),
        c.ReleaseCall(EndReason.CALLER_HUNG_UP),
    ]


def test_the_agent_ends_the_call_once_its_last_words_were_heard():
    line = Line().up().speaking("Goodbye.", finished=False)
    assert line.at(4.1, e.ResponseFinished(1, end_call=True)) == []
    assert line.at(5.0, e.UtterancePlayed(1)) == [
        c.AppendTranscript("agent", "Goodbye.", 1),
        c.HangUp(EndReason.AGENT_HUNG_UP),
    ]


def test_the_agent_may_end_the_call_without_a_word():
    line = Line().up().asked()
    assert line.at(4.0, e.ResponseFinished(1, end_call=True)) == [c.HangUp(EndReason.AGENT_HUNG_UP)]


def test_a_call_that_has_become_deaf_ends_with_a_goodbye():
    line = Line().up().speaking("One two three.")
    assert line.at(5.0, e.TranscriptionFailed("x")) == [c.ClearAudio(1), c.StartSaying(2, YIELD.goodbye)]
    line.at(5.1, e.ResponseChunk(2, 2, "Goodbye."), e.ResponseFinished(2))
    assert line.at(6.0, e.UtterancePlayed(2))[-1] == c.HangUp(EndReason.TRANSCRIPTION_FAILED)


def test_a_text_of_the_owner_is_said_at_once_on_a_free_floor():
    line = Line().up()
    assert line.at(1.0, e.SayRequested("One moment.")) == [c.StartSaying(1, "One moment.")]


def test_texts_of_the_owner_wait_for_the_agent_and_for_the_caller():
    line = Line().up().speaking("One.")
    assert line.at(4.5, e.SayRequested("First."), e.SayRequested("Second.")) == []
    assert line.call.snapshot().queued == 2
    assert line.at(5.0, e.UtterancePlayed(1))[-1] == c.StartSaying(2, "First.")
    line.at(5.1, e.ResponseChunk(2, 2, "First."), e.ResponseFinished(2), e.SpeechStarted())
    line.at(5.2, e.TranscriptReceived("mm", final=False), e.UtterancePlayed(2))
    assert line.until(7.1) == [c.ResumeAudio(2), c.AppendTranscript("agent", "First.", 2)]
    line.at(7.2, e.SpeechStopped(), e.TranscriptReceived("", final=True))
    assert line.until(7.7) == [c.StartSaying(3, "Second.")]


def test_texts_of_the_owner_wait_for_keys_that_are_being_pressed():
    line = Line().up()
    press(line, 1.0, "1")
    assert line.at(1.5, e.SayRequested("Hello.")) == []
    assert line.until(3.0)[-1] == c.StartResponse(1, "", "1")


def test_texts_of_the_owner_wait_for_audio():
    line = Line()
    line.at(0.0, e.CallOffered(admitted=True), e.CallAnswered())
    assert line.at(0.1, e.SayRequested("Hello.")) == []
    assert line.at(0.5, e.MediaConnected()) == [c.StartSaying(1, "Hello.")]


def test_a_text_that_was_lost_unheard_is_said_again():
    line = Line().up()
    line.at(1.0, e.SayRequested("Hello."), e.ResponseChunk(1, 1, "Hello."))
    line.at(1.1, e.MediaLost())
    assert line.at(2.0, e.MediaConnected()) == [c.StartSaying(2, "Hello.")]


def test_no_text_of_the_owner_is_dropped_the_twenty_first_is_refused():
    line = Line().up().asked()
    line.at(4.0, *(e.SayRequested(str(number)) for number in range(20)))
    with pytest.raises(LocalProtocolError):
        line.at(4.0, e.SayRequested("too many"))
    assert line.call.snapshot().queued == 20


def test_an_empty_text_is_refused():
    with pytest.raises(LocalProtocolError):
        Line().up().at(1.0, e.SayRequested(" "))


def test_digits_are_sent_while_the_call_is_up():
    line = Line().up()
    assert line.at(1.0, e.DigitsRequested("12#")) == [c.SendDigits("12#")]
    line.at(2.0, e.HangUpRequested(EndReason.AGENT_HUNG_UP))
    for wish in (e.DigitsRequested("1"), e.SayRequested("hi")):
        with pytest.raises(LocalProtocolError):
            line.at(2.1, wish)


def test_a_farewell_is_heard_before_the_hang_up():
    line = Line().up().speaking("One two three.", finished=False)
    line.at(5.0, e.UtterancePlayed(1))
    assert line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye.")) == [
        c.CancelResponse(1),
        c.ClearAudio(1),
        c.AppendTranscript("agent", "One two three.", 1, interrupted=True),
        c.StartSaying(2, "Bye."),
    ]
    with pytest.raises(LocalProtocolError):
        line.at(5.1, e.SayRequested("and another thing"))
    line.at(5.2, e.ResponseChunk(2, 2, "Bye."), e.ResponseFinished(2))
    assert line.at(6.0, e.UtterancePlayed(2))[-1] == c.HangUp(EndReason.COMPLETED)


def test_a_farewell_may_not_delay_the_hang_up_for_long():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."), e.ResponseChunk(1, 1, "Bye."))
    assert line.until(14.9) == []
    assert line.until(15.0) == [c.CancelResponse(1), c.ClearAudio(1), c.HangUp(EndReason.COMPLETED)]


def test_nothing_interrupts_a_farewell_and_nothing_said_over_it_is_lost():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."), e.ResponseChunk(1, 1, "Bye."))
    line.at(5.1, e.ResponseFinished(1), e.SpeechStarted(), e.DtmfReceived("7"))
    line.at(5.2, e.TranscriptReceived("wait a moment", final=True), e.SpeechStopped())
    line.at(6.0, e.TranscriptReceived("I am not done", final=True))
    assert line.at(6.1, e.UtterancePlayed(1))[-1:] == [c.HangUp(EndReason.COMPLETED)]
    assert line.said() == [
        ("caller", "wait a moment"),
        ("agent", "Bye."),
        ("caller", "I am not done"),
        ("caller", "[keys 7]"),
    ]
    assert not {type(order) for order in line.all} & {c.HoldAudio, c.StartResponse}


def test_the_first_reason_stands_when_the_far_side_hangs_up_during_a_farewell():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."))
    assert line.at(5.5, e.CallEnded(EndReason.CALLER_HUNG_UP))[-1] == c.ReleaseCall(EndReason.COMPLETED)


def test_a_farewell_that_loses_its_stream_is_over():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."), e.ResponseChunk(1, 1, "Bye."))
    assert line.at(5.5, e.MediaLost())[-1] == c.HangUp(EndReason.COMPLETED)


def test_a_farewell_without_audio_is_not_waited_for():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.CallAnswered())
    assert line.at(1.0, e.HangUpRequested(EndReason.COMPLETED, "Bye.")) == [c.HangUp(EndReason.COMPLETED)]


def test_a_second_wish_to_end_does_not_start_the_farewell_again_but_an_urgent_one_cuts_it():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."))
    assert line.at(5.1, e.HangUpRequested(EndReason.SHUTDOWN, "Bye bye.")) == []
    assert line.at(5.2, e.HangUpRequested(EndReason.SHUTDOWN))[-1] == c.HangUp(EndReason.COMPLETED)
    assert line.leg is Leg.ENDING


def test_keys_become_a_turn_after_a_pause():
    line = Line().up()
    press(line, 1.0, "12")
    press(line, 2.5, "34")
    assert line.call.snapshot().digits == "1234"
    assert line.until(4.4) == []
    assert line.until(4.5) == [c.AppendTranscript("caller", "[keys 1234]", 1), c.StartResponse(1, "", "1234")]


def test_the_terminator_ends_a_dialled_turn_and_is_no_part_of_it():
    assert press(Line().up(), 1.0, "12#")[-1] == c.StartResponse(1, "", "12")


def test_a_terminator_alone_means_itself():
    assert press(Line().up(), 1.0, "#")[-1] == c.StartResponse(1, "", "#")


def test_enough_keys_end_a_dialled_turn():
    line = Line(replace(YIELD, dtmf=DtmfPolicy(max_digits=3))).up()
    assert press(line, 1.0, "123")[-1] == c.StartResponse(1, "", "123")
    assert line.until(10.0) == []


def test_the_first_key_interrupts_the_agent():
    line = Line(GREETING).up()
    line.at(0.1, e.ResponseChunk(1, 1, "Good morning."))
    assert press(line, 0.2, "1") == [c.CancelResponse(1), c.ClearAudio(1)]


def test_keys_wait_for_an_agent_that_may_not_be_interrupted():
    line = Line(OFF).up().speaking("One.")
    assert press(line, 4.5, "1#") == []
    assert press(line, 4.6, "2#") == []
    assert line.at(5.0, e.UtterancePlayed(1))[1:] == [
        c.AppendTranscript("caller", "[keys 1]", 2),
        c.StartResponse(2, "", "1"),
    ]


def test_keys_are_recorded_where_nobody_answers():
    line = Line(CallPolicy(respond=False)).up()
    assert press(line, 1.0, "5#") == [c.AppendTranscript("caller", "[keys 5]", 1)]


@pytest.mark.parametrize(
    "end", [e.CallEnded(EndReason.CALLER_HUNG_UP), e.HangUpRequested(EndReason.SHUTDOWN)]
)
def test_keys_pressed_just_before_the_end_are_written_down(end):
    line = Line(NOTIFY).up()
    press(line, 1.0, "1#2")
    line.at(1.5, end)
    assert line.said() == [("caller", "[keys 1]"), ("caller", "[keys 2]")]


def test_keys_pressed_during_the_hang_up_are_written_down():
    line = Line().up()
    line.at(1.0, e.HangUpRequested(EndReason.SHUTDOWN))
    press(line, 1.1, "12")
    line.at(5.0, e.CallEnded(EndReason.SHUTDOWN))
    assert line.said() == [("caller", "[keys 12]")]


def test_where_no_apology_is_wanted_a_failure_is_passed_over_in_silence():
    line = Line(replace(YIELD, apology="")).up().asked()
    assert line.at(4.0, e.ResponseFailed(1, "x")) == []
    assert line.agent is Agent.IDLE


def test_what_would_end_a_call_does_not_cut_its_farewell():
    line = Line().up()
    line.at(5.0, e.HangUpRequested(EndReason.COMPLETED, "Bye."))
    assert line.at(5.1, e.TranscriptionFailed("x")) == []
