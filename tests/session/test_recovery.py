"""A call outlives what breaks in it: ears, voice, stream, carrier. Half a minute of it takes milliseconds here."""

import asyncio

import pytest
from rig import running_call

from openclaw_voicecall.api.carrier import CarrierCapabilities, LegStatus
from openclaw_voicecall.api.responder import SendDtmf, TextDelta, Transfer
from openclaw_voicecall.core.events import CallEnded, DigitsRequested, TransferAnswered
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.session.responding import Fillers
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import (
    ScriptedResponder,
    ScriptedSynthesizer,
    ScriptedTranscriber,
)

pytestmark = [pytest.mark.session, pytest.mark.looptime]

GREETING = CallPolicy(greeting="Hello, this is the agent.")
TAKES_TURNS = CarrierCapabilities(turns=True, dtmf_out="in-band", transfer=True)
HUMAN = "+15550002222"


async def by_turns(call, event="stream-over"):
    """What the carrier is told when it asks how to go on."""
    if await call.session.takeover.next_stream():
        return None
    return await call.session.parts.speaking.next_order()


async def next_words(call):
    """What the carrier is told to say, once there are words."""
    async with asyncio.timeout(30):
        while True:
            order = await call.session.parts.speaking.next_order()
            if order.action != "wait" and order.text:
                return order
            await asyncio.sleep(1.0)


async def test_a_carrier_takes_over_from_dead_ears_and_the_talk_goes_on():
    stt = [ScriptedTranscriber(refusals=99)]
    async with running_call(GREETING, stt=stt, replies=["It is noon."], capabilities=TAKES_TURNS) as call:
        call.carrier.on_take_over = call.far.drop
        await call.until(lambda: call.carrier.taken_over)
        assert call.said() == [("agent", "Hello, this is the agent.", False)], "what is being said is not cut"
        assert not await call.session.takeover.next_stream()
        order = await next_words(call)
        assert (order.action, order.text, order.listen) == ("turn", CallPolicy().reconnected, True)
        await asyncio.sleep(3.0)
        call.session.parts.speaking.heard("What time is it?", "")
        order = await next_words(call)
        assert (order.text, order.listen) == ("It is noon.", True)
        call.session.parts.speaking.heard("", "")
        await call.agent_quiet()
        assert call.said()[2:] == [("caller", "What time is it?", False), ("agent", "It is noon.", False)]
        assert call.words("takeover")


async def test_a_greeting_that_no_voice_can_speak_is_said_by_the_carrier():
    tts = [ScriptedSynthesizer(failures=99)]
    async with running_call(GREETING, tts=tts, capabilities=TAKES_TURNS) as call:
        call.carrier.on_take_over = call.far.drop
        await call.until(lambda: call.carrier.taken_over)
        await call.until(lambda: call.session.call.snapshot().media == "lost")
        order = await by_turns(call)
        assert order.text == "Hello, this is the agent."
        assert call.carrier.taken_over == 1


async def test_a_sentence_that_breaks_off_is_no_reason_to_leave_the_stream():
    tts = [ScriptedSynthesizer(breaks=frozenset({"It is noon."}))]
    async with running_call(replies=["It is noon."], tts=tts, capabilities=TAKES_TURNS) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        await call.until(lambda: call.tts[0].spoken[-1:] and "sorry" in call.tts[0].spoken[-1].lower())
        assert call.carrier.taken_over == 0


async def test_a_carrier_that_cannot_take_over_ends_the_call_with_words():
    stt = [ScriptedTranscriber(refusals=99)]
    async with running_call(GREETING, stt=stt, capabilities=TAKES_TURNS) as call:
        call.carrier.broken = True
        await call.session.wait_ended()
        assert call.reason == EndReason.TRANSCRIPTION_FAILED
        assert call.tts[0].spoken[-1] == "Goodbye."


async def test_a_stream_that_broke_is_tried_again_and_then_given_up():
    async with running_call(GREETING, capabilities=TAKES_TURNS) as call:
        await call.agent_quiet()
        for _ in range(2):
            call.far.drop()
            await call.until(lambda: call.session.call.snapshot().media == "lost")
            assert await by_turns(call) is None
            call.connect()
            await call.until(lambda: call.session.call.snapshot().media == "flowing")
        call.far.drop()
        await call.until(lambda: call.session.call.snapshot().media == "lost")
        order = await by_turns(call)
        assert order.action == "turn"
        assert call.session.call.snapshot().media == "flowing"


async def test_a_stream_that_the_carrier_calls_over_is_closed_on_our_side_too():
    async with running_call(GREETING, capabilities=TAKES_TURNS) as call:
        await call.agent_quiet()
        assert await by_turns(call) is None
        assert call.far.closed


async def test_a_call_whose_stream_ends_is_over_when_the_carrier_says_so():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        call.carrier.status = LegStatus(state="ended")
        lost = call.now()
        call.far.drop()
        await call.session.wait_ended()
        assert call.reason == EndReason.CALLER_HUNG_UP
        assert call.now() - lost < 1.0


async def test_a_long_wait_is_bridged_with_words_that_are_no_answer():
    async def slowly(request):
        await asyncio.sleep(9.0)
        return [TextDelta("It is noon.")]

    fillers = Fillers(phrases=("One moment.", "Still here."), after=2.5, every=5.0)
    async with running_call(replies=[slowly], fillers=fillers) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        asked = call.now()
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[1] == ("agent", "One moment. Still here. It is noon.", False)
        starts = [start - asked for start, _ in call.far.speech]
        assert starts[0] < 3.6
        assert [data["turn"] for data in call.words("filler")] == [1, 1]


async def test_a_filler_does_not_keep_another_model_from_answering():
    async def hang(request):
        await asyncio.sleep(30.0)
        return []

    llm = [ScriptedResponder(), ScriptedResponder()]
    llm[0].replies.append(hang)
    llm[1].replies.append("It is noon.")
    async with running_call(llm=llm, fillers=Fillers(phrases=("One moment.",))) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Time?")
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[1][1].endswith("It is noon.")
        llm[1].replies.append("Still noon.")
        await call.caller_says("And now?")
        await call.until(lambda: len(call.lines) == 4)
        assert len(llm[0].requests) == 1, "the one that failed is not waited for again"


async def test_digits_sound_once_each_even_when_the_caller_interrupts():
    long = "This is a long sentence that goes on for quite a while, and then for some more."
    async with running_call(replies=[long], capabilities=TAKES_TURNS) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("Go on.")
        await call.until(lambda: call.far.heard)
        call.session.request(DigitsRequested("12w3"))
        await asyncio.sleep(0.05)
        call.stream.edge(speaking=True)
        await call.until(lambda: call.far.clears)
        tones = [end - start for start, end in call.far.heard if end - start > 1.0]
        assert len(tones) == 1, "after the clear the keys are there again, whole"
        assert tones[0] == pytest.approx(3 * 0.2 + 0.5, abs=0.01)
        assert call.carrier.digits == []


async def test_a_responder_may_press_keys_without_a_word():
    async with running_call(replies=[[SendDtmf("5")], "Done."], capabilities=TAKES_TURNS) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("For sales press five.")
        await call.until(lambda: call.far.heard)
        await call.agent_quiet()
        await call.caller_says("Thank you.")
        await call.until(lambda: call.lines and call.lines[-1].text == "Done.")
        assert not [line for line in call.lines if "sorry" in line.text.lower()]


async def test_a_transfer_counts_when_somebody_answers_there():
    reply = [TextDelta("I will connect you."), Transfer(HUMAN)]
    async with running_call(replies=[reply], capabilities=TAKES_TURNS, can_transfer=True) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("A human, please.")
        await call.until(lambda: call.carrier.transfers)
        assert call.said()[-1] == ("agent", "I will connect you.", False)
        call.far.drop()
        await asyncio.sleep(10.0)
        call.session.post(TransferAnswered())
        await asyncio.sleep(400.0)
        call.session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await call.session.wait_ended()
        assert (call.carrier.transfers, call.reason) == ([HUMAN], EndReason.TRANSFERRED)


async def test_a_transfer_that_the_carrier_refuses_is_told_to_the_caller():
    reply = [TextDelta("I will connect you."), Transfer(HUMAN)]
    async with running_call(replies=[reply], capabilities=TAKES_TURNS, can_transfer=True) as call:
        call.carrier.broken = True
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("A human, please.")
        await call.until(lambda: call.lines and call.lines[-1].text == CallPolicy().transfer_failed)


async def test_a_transfer_that_is_not_allowed_is_none():
    reply = [TextDelta("I will connect you."), Transfer(HUMAN)]
    async with running_call(replies=[reply], capabilities=TAKES_TURNS) as call:
        await call.until(lambda: call.stt[0].streams)
        await call.caller_says("A human, please.")
        await call.until(lambda: call.words("transfer-refused"))
        await call.agent_quiet()
        assert call.carrier.transfers == []


async def test_a_vendor_that_hears_nothing_is_found_out_and_opened_again():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        voice = babble("somebody speaks for two seconds now", seed="caller")[:16000]
        for index in range(100):
            call.far.frames(1, index * 20, voice[index * 160 : index * 160 + 160])
        for index in range(250):
            call.far.frames(1, 2000 + index * 20)
        await call.until(lambda: len(call.stt[0].streams) == 2 and call.stream.audio)
        assert voice in bytes(call.stt[0].streams[1].audio), "nothing of what was said is lost"
        assert "no words" in call.words("vendor-failed")[0]["detail"]


async def test_the_last_words_before_a_hang_up_are_waited_for():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        stream = call.stream
        stream.edge(speaking=True)
        await asyncio.sleep(1.0)
        call.session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await call.until(lambda: "finish" in stream.told)
        call.session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await asyncio.sleep(1.0)
        stream.hear("Call me back at noon.")
        await call.session.wait_ended()
        assert call.said()[-1] == ("caller", "Call me back at noon.", False)
        assert call.reason == EndReason.CALLER_HUNG_UP


async def test_last_words_that_never_come_do_not_keep_a_call_open():
    async with running_call(GREETING) as call:
        await call.agent_quiet()
        call.stream.edge(speaking=True)
        await asyncio.sleep(1.0)
        ended = call.now()
        call.session.post(CallEnded(EndReason.CALLER_HUNG_UP))
        await call.session.wait_ended()
        assert call.now() - ended < 3.0
