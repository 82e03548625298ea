"""Answers begun before the caller's turn is over: heard early when it ends there, and never when it goes on."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager

import pytest
from rig import running_call

from openclaw_voicecall.api.responder import EndCall, SendDtmf, TextDelta
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.core.policy import CallPolicy, SpeculationPolicy
from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.session.breaker import Breaker, State
from openclaw_voicecall.session.voice import PREPARED
from openclaw_voicecall.testing.scripted import TONE, LoopClock, ScriptedResponder, ScriptedSynthesizer

pytestmark = [pytest.mark.session, pytest.mark.looptime]

EAGER = CallPolicy(speculation=SpeculationPolicy(enabled=True, most_starts=2, on_interims=False))
FIRST, SECOND = "The first answer is this.", "The second one is longer than that."


@asynccontextmanager
async def call_with(*replies, policy=EAGER, speculative=True, delay=0.04, tts_delay=0.1, **options):
    """A call whose responder takes 40 ms a word, and whose voice 100 ms; the caller has said half a sentence."""
    llm = ScriptedResponder(deque(replies), delay=delay, speculative=speculative)
    options = {"tts": [ScriptedSynthesizer(delay=tts_delay)], **options}
    async with running_call(policy, llm=[llm, *options.pop("others", ())], **options) as call:
        await call.until(lambda: call.stt[0].streams)
        await says(call, "book a table")
        yield call, llm


async def says(call, text):
    """A second of speech, and 0.3 s later what was said; the silence that ends the turn lasts 0.2 s more."""
    call.stream.edge(speaking=True)
    await asyncio.sleep(1.0)
    call.stream.edge(speaking=False, ago=0.3, closes=True)
    call.stream.hear(text)
    await asyncio.sleep(0)


def outcomes(call):
    return [data["outcome"] for data in call.words("rehearsal")]


def turns(call):
    """When responders were ordered to answer."""
    return [
        at for at, _, _, orders in call.journal for order in orders if order["command"] == "StartResponse"
    ]


async def test_an_answer_begun_in_the_pause_is_heard_as_much_earlier_and_asked_for_once():
    begins = {}
    for policy in (EAGER, CallPolicy()):
        async with call_with(FIRST, policy=policy) as (call, llm):
            await call.until(lambda far=call.far: far.heard)
            (asked,) = turns(call)
            begins[policy] = call.far.heard[0][0] - asked
            await call.agent_quiet()
            assert call.said() == [("caller", "book a table", False), ("agent", FIRST, False)]
            assert len(llm.requests) == 1
            assert call.tts[0].spoken == [FIRST]
    assert begins[CallPolicy()] - begins[EAGER] == pytest.approx(0.2, abs=0.03)


async def test_an_answer_that_is_ready_is_heard_in_the_moment_the_turn_ends():
    async with call_with(FIRST, delay=0.01, tts_delay=0.02) as (call, _):
        await call.until(lambda: call.far.heard)
        assert call.far.heard[0][0] - turns(call)[0] <= 0.02
        assert outcomes(call) == ["begun", "adopted"]


async def test_a_caller_who_goes_on_hears_nothing_of_the_answer_to_the_first_half():
    async with call_with(FIRST, SECOND, delay=0.01, tts_delay=0.01) as (call, llm):
        await asyncio.sleep(0.15)
        assert call.tts[0].spoken == [FIRST], "its beginning was made, and waits"
        await says(call, "for two, please.")
        await call.until(lambda: call.far.heard)
        await call.agent_quiet()
        assert call.said() == [("caller", "book a table for two, please.", False), ("agent", SECOND, False)]
        heard = sum(end - start for start, end in call.far.speech)
        assert heard == pytest.approx(0.06 * len(SECOND), abs=0.03)
        assert [request.text for request in llm.requests] == ["book a table", "book a table for two, please."]
        assert outcomes(call) == ["begun", "dropped", "begun", "adopted"]


async def test_a_start_that_is_thrown_away_is_aborted_at_the_vendor():
    async with call_with(FIRST, SECOND, delay=0.3) as (call, llm):
        await asyncio.sleep(0.1)
        call.stream.edge(speaking=True)
        await asyncio.sleep(0.1)
        assert llm.cancelled == [1]
        assert not call.far.heard


async def test_a_tool_runs_once_the_turn_is_certain_and_not_before():
    ran = []

    async def look_up(request, arguments):
        ran.append(asyncio.get_running_loop().time())
        return "at seven"

    async def reply(request):
        return [TextDelta("Your table is free "), TextDelta(await request.tools[0].run({}) + ".")]

    tool = ToolSpec(name="look_up", description="", parameters={}, handler=look_up)
    async with call_with(reply, reply, tools=[tool]) as (call, _):
        await asyncio.sleep(0.15)
        await says(call, "for two, please.")
        assert not ran, "the first half of the sentence was looked up"
        await call.agent_quiet()
        await call.until(lambda: call.far.heard)
        await call.agent_quiet()
        assert len(ran) == 1
        assert ran[0] >= turns(call)[0]
        assert call.said()[-1] == ("agent", "Your table is free at seven.", False)
        assert len(call.words("tool-called")) == 1


async def test_what_is_thrown_away_presses_no_keys_and_ends_no_call():
    rash = [SendDtmf("1"), TextDelta("Goodbye."), EndCall()]
    async with call_with(rash, SECOND) as (call, _):
        await asyncio.sleep(0.15)
        await says(call, "for two, please.")
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", SECOND, False)
        orders = {order["command"] for _, _, _, orders in call.journal for order in orders}
        assert not orders & {"SendDigits", "HangUp"}


async def test_what_is_adopted_does_all_it_says_in_its_order():
    async with call_with([SendDtmf("1"), TextDelta("Goodbye."), EndCall()]) as (call, _):
        await call.until(lambda: call.reason is not None)
        (asked,) = turns(call)
        orders = [(at, order["command"]) for at, _, _, orders in call.journal for order in orders]
        names = [name for _, name in orders if name in {"StartResponse", "SendDigits", "Speak", "HangUp"}]
        assert names == ["StartResponse", "SendDigits", "Speak", "HangUp"]
        assert min(at for at, name in orders if name == "SendDigits") >= asked


async def test_a_start_that_fails_is_forgotten_and_the_turn_asks_again_the_same_one():
    clock = LoopClock()
    breaker = Breaker("responder", "llm0", clock)
    error = VendorUnavailable("busy", vendor="scripted", operation="respond")
    other = ScriptedResponder(deque([SECOND]))
    async with call_with(error, FIRST, others=[other], breakers={"llm0": breaker}) as (call, llm):
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", FIRST, False)
        assert (len(llm.requests), len(other.requests)) == (2, 0)
        assert outcomes(call) == ["begun", "failed"]
        assert call.words("rehearsal")[-1]["detail"] == "busy"
        assert not call.words("vendor-failed")
        assert breaker.state is State.CLOSED


async def test_a_turn_that_breaks_off_after_it_was_adopted_is_taken_over_as_any_other():
    async def late_failure(request):
        await asyncio.sleep(0.5)
        raise VendorUnavailable("gone", vendor="scripted", operation="respond")

    other = ScriptedResponder(deque([SECOND]))
    async with call_with(late_failure, others=[other]) as (call, _):
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", SECOND, False)
        (failed,) = call.words("vendor-failed")
        assert failed["provider"] == "llm0"


async def test_a_voice_that_fails_ahead_of_time_is_asked_again():
    voice = ScriptedSynthesizer(delay=0.02, failures=1)
    async with call_with(FIRST, delay=0.01, tts=[voice]) as (call, _):
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", FIRST, False)
        assert not call.words("vendor-failed")


async def test_of_a_long_sentence_no_more_is_made_ahead_than_allowed_and_all_of_it_is_heard():
    class Counting(ScriptedSynthesizer):
        made = 0

        async def speak(self, request):
            async for piece in super().speak(request):
                self.made += len(piece)
                yield piece

    words = " ".join(["wonderful"] * 26) + "."
    voice = Counting(delay=0.01)
    async with call_with([TextDelta(words)], delay=0.01, tts=[voice]) as (call, _):
        await asyncio.sleep(0.15)
        assert PREPARED <= voice.made <= PREPARED + 5 * len(TONE)
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[-1] == ("agent", words, False)
        heard = sum(end - start for start, end in call.far.speech)
        assert heard == pytest.approx(0.06 * len(words), abs=0.03)


async def test_a_responder_that_gave_no_leave_is_asked_when_the_turn_is_over():
    async with call_with(FIRST, speculative=False) as (call, llm):
        await asyncio.sleep(0.15)
        assert not llm.requests
        await call.until(lambda: len(call.lines) == 2)
        assert outcomes(call) == []


async def test_a_caller_who_talks_over_an_adopted_answer_stops_it_at_the_vendor():
    long = " ".join(["Many words follow here."] * 10)
    async with call_with(long) as (call, llm):
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(0.6)
        call.stream.edge(speaking=True)
        await asyncio.sleep(0.2)
        call.stream.hear("no, wait", final=False)
        await asyncio.sleep(0.2)
        assert llm.cancelled == [1]
        assert call.far.clears
        assert call.lines[-1].interrupted


async def test_a_voice_that_our_own_ear_hears_is_given_time_to_be_reported():
    async with call_with(FIRST, SECOND, delay=0.01, tts_delay=0.01) as (call, _):
        await asyncio.sleep(0.15)
        call.far.frames(4, 0, TONE)
        await asyncio.sleep(0.15)
        assert not turns(call), "the silence was over before it ended the turn"
        await says(call, "for two, please.")
        await call.until(lambda: len(call.lines) == 2)
        assert call.said()[0] == ("caller", "book a table for two, please.", False)


async def test_a_mere_click_delays_the_answer_for_a_moment_only():
    async with call_with(FIRST, delay=0.01, tts_delay=0.01) as (call, _):
        began = call.now()
        await asyncio.sleep(0.15)
        call.far.frames(1, 0, TONE)
        await call.until(lambda: call.far.heard)
        assert call.far.heard[0][0] - began <= 0.5


async def test_a_call_that_ends_in_the_pause_leaves_nothing_at_work():
    async with call_with(FIRST, delay=0.3) as (call, llm):
        await asyncio.sleep(0.1)
        call.session.request_end = None
    assert llm.cancelled == [1]
    assert outcomes(call) == ["begun", "dropped"]
