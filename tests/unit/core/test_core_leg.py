"""The leg, the media stream, the greeting, and how calls end."""

import pytest
from line import GREETING, NOTIFY, Line

from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Agent, Leg, Media, to_openclaw_state
from openclaw_voicecall.errors import LocalProtocolError, RemoteProtocolError

pytestmark = pytest.mark.unit


def test_a_placed_call_that_nobody_answers_is_hung_up():
    line = Line(outbound=True)
    assert line.at(0.0, e.CallPlaced()) == []
    assert line.at(5.0, e.CallRinging()) == [c.StartListening()]
    assert line.until(29.9) == []
    assert line.until(30.0) == [c.HangUp(EndReason.NO_ANSWER)]
    assert line.at(31.0, e.CallEnded(EndReason.CALLER_HUNG_UP)) == [c.ReleaseCall(EndReason.NO_ANSWER)]


def test_the_ears_open_once_whether_ringing_was_told_or_not():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced())
    assert line.at(1.0, e.CallAnswered()) == [c.StartListening()]
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.CallRinging(), e.CallRinging(), e.CallAnswered())
    assert line.all == [c.StartListening()]


def test_an_admitted_offer_is_answered_and_listened_to_before_audio_flows():
    line = Line()
    assert line.at(0.0, e.CallOffered(admitted=True)) == [c.AnswerCall(), c.StartListening()]
    assert line.leg is Leg.RINGING


def test_a_refused_offer_is_rejected_and_released_without_being_answered():
    line = Line()
    assert line.at(0.0, e.CallOffered(admitted=False)) == [
        c.RejectCall(EndReason.REJECTED),
        c.ReleaseCall(EndReason.REJECTED),
    ]
    assert line.leg is Leg.ENDED


def test_an_answer_of_ours_that_does_not_come_about_ends_the_call():
    line = Line()
    line.at(0.0, e.CallOffered(admitted=True))
    assert line.until(30.0) == [c.HangUp(EndReason.FAILED)]


def test_a_carrier_that_does_not_confirm_the_hang_up_is_not_waited_for():
    line = Line().up()
    assert line.at(5.0, e.HangUpRequested(EndReason.AGENT_HUNG_UP)) == [c.HangUp(EndReason.AGENT_HUNG_UP)]
    assert line.until(14.9) == []
    assert line.until(15.0) == [c.ReleaseCall(EndReason.AGENT_HUNG_UP)]


def test_the_carriers_reason_stands_when_the_far_side_ends_the_call():
    line = Line().up()
    assert line.at(5.0, e.CallEnded(EndReason.CALLER_HUNG_UP)) == [c.ReleaseCall(EndReason.CALLER_HUNG_UP)]
    assert line.call.next_timer() is None


def test_after_the_end_everything_is_silently_ignored():
    line = Line().up()
    line.at(5.0, e.CallEnded(EndReason.BUSY))
    for fact in (
        e.CallAnswered(),
        e.MediaLost(),
        e.SpeechStarted(),
        e.ResponseChunk(9, 9, "late"),
        e.SayRequested("late"),
        e.HangUpRequested(EndReason.SHUTDOWN),
        e.CallEnded(EndReason.FAILED),
    ):
        assert line.at(6.0, fact) == []
    assert line.call.snapshot().reason is EndReason.BUSY


def test_a_call_that_could_not_be_placed_is_released_with_the_carriers_reason():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced())
    assert line.at(0.2, e.CallEnded(EndReason.FAILED)) == [c.ReleaseCall(EndReason.FAILED)]


def test_a_hang_up_before_the_first_fact_releases_the_call():
    line = Line(outbound=True)
    assert line.at(0.0, e.HangUpRequested(EndReason.SHUTDOWN)) == [c.ReleaseCall(EndReason.SHUTDOWN)]


def test_a_hang_up_while_it_rings_happens_at_once_even_with_a_farewell():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.CallRinging())
    assert line.at(1.0, e.HangUpRequested(EndReason.AGENT_HUNG_UP, "Bye.")) == [
        c.HangUp(EndReason.AGENT_HUNG_UP)
    ]
    assert line.at(1.1, e.CallAnswered(), e.CallRinging()) == []
    assert line.leg is Leg.ENDING


def test_a_second_hang_up_is_not_sent():
    line = Line().up()
    line.at(1.0, e.HangUpRequested(EndReason.AGENT_HUNG_UP))
    assert line.at(2.0, e.HangUpRequested(EndReason.SHUTDOWN, "Bye."), e.MachineDetected("fax")) == []


@pytest.mark.parametrize(
    ("before", "fact"),
    [
        ([], e.CallAnswered()),
        ([], e.CallRinging()),
        ([], e.MediaConnected()),
        ([], e.SpeechStarted()),
        ([], e.CallOffered(admitted=True)),
        ([e.CallPlaced()], e.CallPlaced()),
        ([e.CallPlaced()], e.MediaLost()),
        ([e.CallPlaced(), e.CallAnswered()], e.CallAnswered()),
        ([e.CallPlaced(), e.CallAnswered()], e.CallRinging()),
        ([e.CallPlaced(), e.CallAnswered(), e.MediaConnected()], e.MediaConnected()),
        ([e.CallPlaced(), e.CallAnswered(), e.MediaConnected()], e.DtmfReceived("x")),
        ([e.CallPlaced(), e.CallAnswered(), e.MediaConnected()], e.ResponseChunk(7, 1, "of the future")),
    ],
)
def test_an_impossible_fact_is_refused_and_changes_nothing(before, fact):
    line = Line(outbound=True)
    line.at(0.0, *before)
    view, timer = line.call.snapshot(), line.call.next_timer()
    with pytest.raises(RemoteProtocolError):
        line.call.receive(fact, 1.0)
    assert (line.call.snapshot(), line.call.next_timer()) == (view, timer)


def test_an_inbound_call_cannot_be_placed():
    with pytest.raises(RemoteProtocolError):
        Line().call.receive(e.CallPlaced(), 0.0)


@pytest.mark.parametrize("fact", [e.SayRequested("hi"), e.DigitsRequested("1")])
def test_a_wish_before_the_call_is_up_is_our_own_mistake(fact):
    line = Line(outbound=True)
    with pytest.raises(LocalProtocolError):
        line.call.receive(fact, 0.0)
    line.at(0.0, e.CallPlaced(), e.CallRinging())
    with pytest.raises(LocalProtocolError):
        line.call.receive(fact, 1.0)


def test_an_answered_call_without_audio_is_hung_up():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced())
    line.at(3.0, e.CallAnswered())
    assert line.until(8.0) == [c.HangUp(EndReason.MEDIA_LOST)]


def test_audio_that_flows_before_the_answer_needs_no_grace():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.MediaConnected())
    line.at(3.0, e.CallAnswered())
    assert line.until(60.0) == []


def test_a_stream_that_comes_back_in_time_keeps_the_call():
    line = Line().up()
    line.at(10.0, e.MediaLost())
    line.at(14.9, e.MediaConnected())
    assert line.until(60.0) == []
    line.at(60.0, e.MediaLost())
    assert line.until(65.0) == [c.HangUp(EndReason.MEDIA_LOST)]
    assert line.call.snapshot().media is Media.LOST


def test_the_longest_duration_ends_a_call_at_once():
    line = Line().up()
    for now in range(100, 300, 100):
        line.at(now, e.DtmfReceived("*"), e.DtmfReceived("#"))
    assert line.until(300.0)[-1] == c.HangUp(EndReason.MAX_DURATION)


def test_a_silent_call_ends_with_a_goodbye():
    line = Line().up()
    assert line.until(179.9) == []
    assert line.until(180.0) == [c.StartSaying(1, CallPolicy().idle_goodbye)]
    line.at(180.1, e.ResponseChunk(1, 1, "Goodbye."), e.ResponseFinished(1))
    assert line.at(182.0, e.UtterancePlayed(1))[-1] == c.HangUp(EndReason.IDLE)


@pytest.mark.parametrize(
    "fact",
    [e.DtmfReceived("5"), e.TranscriptReceived("hello", final=False)],
)
def test_what_the_caller_does_puts_the_idle_end_off(fact):
    line = Line(CallPolicy(idle_timeout=20.0, respond=False)).up()
    line.at(15.0, fact)
    assert not any(isinstance(order, c.StartSaying) for order in line.until(34.9))
    assert any(isinstance(order, c.StartSaying) for order in line.until(35.0))


def test_what_the_agent_says_puts_the_idle_end_off():
    line = Line(CallPolicy(idle_timeout=10.0)).up().asked()
    line.at(9.0, e.ResponseChunk(1, 1, "A very long story about a parcel."))
    line.at(18.0, e.PlayoutProgressed(1, 8.0, 20.0))
    assert line.until(27.9) == []
    assert line.until(28.0)[0] == c.CancelResponse(1)


def test_the_greeting_waits_for_the_answer_and_for_audio():
    line = Line(GREETING)
    assert line.at(0.0, e.CallOffered(admitted=True)) == [c.AnswerCall(), c.StartListening()]
    assert line.at(0.5, e.CallAnswered()) == []
    assert line.at(1.0, e.MediaConnected()) == [c.StartSaying(1, "Good morning.")]


def test_a_greeting_that_was_partly_heard_is_not_said_again_after_a_reconnect():
    line = Line(GREETING).up()
    line.at(0.0, e.ResponseChunk(1, 1, "Good morning."))
    line.at(1.0, e.PlayoutProgressed(1, 1.0, 1.3))
    assert line.at(1.0, e.MediaLost()) == [
        c.CancelResponse(1),
        c.ClearAudio(1),
        c.AppendTranscript("agent", "Good", 1, interrupted=True),
    ]
    assert line.at(2.0, e.MediaConnected()) == [c.StartSaying(2, GREETING.reconnected)]


def test_a_greeting_that_nobody_heard_is_said_again_after_a_reconnect():
    line = Line(GREETING).up()
    line.at(0.0, e.ResponseChunk(1, 1, "Good morning."))
    assert line.at(0.1, e.MediaLost()) == [c.CancelResponse(1), c.ClearAudio(1)]
    assert line.at(2.0, e.MediaConnected()) == [c.StartSaying(2, "Good morning.")]


def test_an_answer_that_was_lost_unheard_is_apologised_for_and_not_asked_for_twice():
    line = Line().up().asked()
    assert line.at(4.0, e.MediaLost()) == [c.CancelResponse(1)]
    assert line.at(5.0, e.MediaConnected()) == [c.StartSaying(2, CallPolicy().apology)]


def test_a_notification_hangs_up_after_its_message_was_played():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.1, e.ResponseChunk(1, 1, "Your parcel has come."), e.ResponseFinished(1))
    assert line.until(4.0) == []
    assert line.at(4.0, e.UtterancePlayed(1)) == [c.AppendTranscript("agent", "Your parcel has come.", 1)]
    assert line.until(6.9) == []
    assert line.until(7.0) == [c.HangUp(EndReason.COMPLETED)]


def test_a_notification_is_not_cut_by_the_caller_and_what_they_say_is_recorded_and_not_answered():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.1, e.ResponseChunk(1, 1, "Your parcel has come."), e.ResponseFinished(1))
    line.at(0.5, e.SpeechStarted())
    line.at(1.0, e.TranscriptReceived("hello who is this", final=True), e.SpeechStopped())
    line.at(4.0, e.UtterancePlayed(1))
    assert line.until(7.0) == [c.HangUp(EndReason.COMPLETED)]
    assert line.said() == [("caller", "hello who is this"), ("agent", "Your parcel has come.")]
    kinds = {type(order) for order in line.all}
    assert not kinds & {c.HoldAudio, c.ClearAudio, c.CancelResponse, c.StartResponse}


def test_a_notification_cut_by_the_line_is_said_again_from_the_start():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.1, e.ResponseChunk(1, 1, "Your parcel has come."))
    line.at(1.0, e.PlayoutProgressed(1, 1.0, 1.5), e.MediaLost())
    assert line.at(2.0, e.MediaConnected()) == [c.StartSaying(2, "Your parcel has come.")]


def test_a_notification_that_could_not_be_spoken_is_tried_again_and_then_given_up():
    line = Line(NOTIFY, outbound=True).up()
    line.at(0.1, e.ResponseChunk(1, 1, "Your parcel has come."), e.ResponseFinished(1))
    assert line.at(0.5, e.UtteranceFailed(1, "503")) == [c.StartSaying(2, "Your parcel has come.")]
    line.at(0.6, e.ResponseChunk(2, 2, "Your parcel has come."), e.ResponseFinished(2))
    assert line.at(0.9, e.UtteranceFailed(2, "503")) == [c.StartSaying(3, NOTIFY.goodbye)]
    line.at(1.0, e.ResponseChunk(3, 3, "Goodbye."), e.ResponseFinished(3))
    assert line.at(1.1, e.UtteranceFailed(3, "503")) == [c.HangUp(EndReason.SYNTHESIS_FAILED)]


def test_a_deaf_notification_is_still_delivered():
    line = Line(NOTIFY, outbound=True).up()
    assert line.at(0.2, e.TranscriptionFailed("no transcriber")) == []
    assert line.agent is Agent.THINKING


def test_words_just_before_the_end_are_written_down():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), e.TranscriptReceived("please cancel", final=True))
    line.at(1.5, e.TranscriptReceived("my order", final=False))
    assert line.at(2.0, e.CallEnded(EndReason.CALLER_HUNG_UP)) == [
        c.AppendTranscript("caller", "please cancel my order", 0),
        c.ReleaseCall(EndReason.CALLER_HUNG_UP),
    ]


def test_a_final_that_comes_during_the_hang_up_adds_only_what_is_new():
    line = Line().up()
    line.at(1.0, e.SpeechStarted(), e.TranscriptReceived("please cancel", final=False))
    line.at(2.0, e.HangUpRequested(EndReason.SHUTDOWN))
    line.at(2.1, e.TranscriptReceived("please cancel my order", final=True))
    line.at(2.2, e.CallEnded(EndReason.CALLER_HUNG_UP))
    assert line.said() == [("caller", "please cancel"), ("caller", "my order")]


def test_what_was_heard_of_the_agent_is_written_before_the_hang_up():
    line = Line().up().speaking("One two three.", "Four five six.")
    line.at(6.0, e.UtterancePlayed(1), e.PlayoutProgressed(2, 1.0, 1.4))
    assert line.at(6.0, e.HangUpRequested(EndReason.SHUTDOWN)) == [
        c.ClearAudio(1),
        c.AppendTranscript("agent", "One two three. Four five", 1, interrupted=True),
        c.HangUp(EndReason.SHUTDOWN),
    ]


def test_the_states_that_openclaw_knows_follow_a_call():
    line = Line(outbound=True)
    words = [to_openclaw_state(line.call)]
    for fact in (e.CallPlaced(), e.CallRinging(), e.CallAnswered(), e.MediaConnected()):
        line.at(0.0, fact)
        words.append(to_openclaw_state(line.call.snapshot()))
    line.asked()
    words.append(to_openclaw_state(line.call))
    line.at(4.0, e.ResponseChunk(1, 1, "Nine."))
    words.append(to_openclaw_state(line.call))
    line.at(5.0, e.MediaLost())
    words.append(to_openclaw_state(line.call))
    line.at(6.0, e.CallEnded(EndReason.CALLER_HUNG_UP))
    words.append(to_openclaw_state(line.call))
    assert words == [
        "initiated",
        "initiated",
        "ringing",
        "answered",
        "listening",
        "active",
        "speaking",
        "active",
        "hangup-user",
    ]


def test_early_audio_that_is_lost_again_is_waited_for_only_after_the_answer():
    line = Line(outbound=True)
    line.at(0.0, e.CallPlaced(), e.MediaConnected(), e.MediaLost())
    assert line.until(20.0) == []
    line.at(20.0, e.CallAnswered())
    assert line.until(25.0) == [c.HangUp(EndReason.MEDIA_LOST)]
