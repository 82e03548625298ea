"""A supplier that fails on many calls is asked last, by all of them, until it works again."""

import asyncio
import logging

import pytest
from line_rig import Hearing, Mind, Voice, conversation
from rig import running_call

from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.session.breaker import FAILURES, REST, WINDOW, Breaker, State
from openclaw_voicecall.session.chain import Link, Rotation
from openclaw_voicecall.testing.scripted import LoopClock

pytestmark = [pytest.mark.session, pytest.mark.looptime]

GREETING = CallPolicy(greeting="Hello.")


def opened(breaker: Breaker) -> Breaker:
    for _ in range(FAILURES):
        breaker.failed()
    return breaker


def links(*breakers: Breaker) -> tuple[Link, ...]:
    return tuple(Link(breaker.name, object(), breaker) for breaker in breakers)


def names(rotation: Rotation) -> list[str]:
    return [link.name for link in rotation.order()]


def nothing(word, data) -> None: ...


async def test_five_failures_within_half_a_minute_open_it():
    breaker = Breaker("synthesizer", "first", LoopClock())
    assert [breaker.failed() for _ in range(FAILURES + 1)] == [False] * 4 + [True, False]
    assert breaker.state is State.OPEN


async def test_failures_that_lie_further_apart_do_not():
    breaker = Breaker("synthesizer", "first", LoopClock())
    for _ in range(3 * FAILURES):
        assert not breaker.failed()
        await asyncio.sleep(WINDOW / (FAILURES - 1) + 0.1)
    assert breaker.state is State.CLOSED


async def test_an_open_one_is_asked_last_and_never_left_out():
    first, second, third = (Breaker("responder", name, LoopClock()) for name in ("first", "second", "third"))
    rotation = Rotation(links(first, second, third), nothing)
    opened(first)
    assert names(rotation) == ["second", "third", "first"]
    opened(second)
    assert names(rotation) == ["third", "first", "second"]
    opened(third)
    assert names(rotation) == ["first", "second", "third"], "when all are open they are asked all the same"


async def test_after_a_rest_one_call_tries_it_in_its_place_and_the_others_wait_for_what_comes_of_it():
    first, second = Breaker("responder", "first", LoopClock()), Breaker("responder", "second", LoopClock())
    calls = [Rotation(links(first, second), nothing) for _ in range(3)]
    opened(first)
    await asyncio.sleep(REST - 0.1)
    assert names(calls[0]) == ["second", "first"]
    await asyncio.sleep(0.2)
    assert first.state is State.HALF_OPEN
    assert [names(call) for call in calls] == [["first", "second"], ["second", "first"], ["second", "first"]]
    calls[0].failed(calls[0].order()[-1])
    assert first.state is State.OPEN
    assert names(calls[1]) == ["second", "first"]
    await asyncio.sleep(REST)
    assert names(calls[1]) == ["first", "second"]
    calls[1].worked(calls[1].order()[-1])
    assert first.state is State.CLOSED
    assert names(calls[2]) == ["first", "second"]


async def test_a_try_of_which_nothing_comes_does_not_keep_others_from_trying():
    first, second = Breaker("responder", "first", LoopClock()), Breaker("responder", "second", LoopClock())
    calls = [Rotation(links(first, second), nothing) for _ in range(2)]
    opened(first)
    await asyncio.sleep(REST)
    assert names(calls[0]) == ["first", "second"]
    await asyncio.sleep(REST)
    assert names(calls[1]) == ["first", "second"]


async def test_opening_and_closing_are_logged_and_noted_once(caplog):
    caplog.set_level(logging.INFO, "openclaw_voicecall")
    notes: list[tuple[str, dict]] = []
    breaker = Breaker("synthesizer", "first", LoopClock())
    (link,) = links(breaker)
    rotation = Rotation((link,), lambda word, data: notes.append((word, data)))
    for _ in range(3 * FAILURES):
        rotation.failed(link)
    for _ in range(3):
        rotation.worked(link)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "synthesizer first failed 5 times within 30 s; it is asked last until it works again",
        "synthesizer first works again; it is asked in its place",
    ]
    common = {"hop": "synthesizer", "provider": "first"}
    assert notes == [("breaker", {**common, "state": "open"}), ("breaker", {**common, "state": "closed"})]


async def test_calls_learn_from_one_another_which_synthesizer_to_ask():
    breakers = {name: Breaker("synthesizer", name, LoopClock()) for name in ("tts0", "tts1")}
    broken, good = Voice(["error"]), Voice(["ok"])
    for _ in range(3):  # each asks twice, because the failure costs so little
        async with running_call(GREETING, tts=[broken, good], breakers=breakers) as call:
            await call.agent_quiet()
    assert breakers["tts0"].state is State.OPEN
    async with running_call(GREETING, tts=[broken, good], breakers=breakers) as call:
        await call.until(lambda: call.far.heard)
        assert not call.words("vendor-failed"), "nobody waits for the one that fails"
        assert call.far.heard[0][0] - call.journal[0][0] < 0.5
    broken.ways = ["ok"]
    await asyncio.sleep(REST)
    async with running_call(GREETING, tts=[broken, good], breakers=breakers) as call:
        await call.agent_quiet()
        assert call.words("breaker") == [{"hop": "synthesizer", "provider": "tts0", "state": "closed"}]
    assert broken.spoken == ["Hello."]


async def test_calls_learn_from_one_another_which_responder_to_ask():
    breakers = {name: Breaker("responder", name, LoopClock()) for name in ("llm0", "llm1")}
    opened(breakers["llm0"])
    async with conversation(minds=["error", "ok"], breakers=breakers) as caller:
        await caller.call.session.wait_ended()
        assert [mind.asked for mind in caller.call.llm] == [0, 2]


async def test_calls_learn_from_one_another_which_transcriber_to_ask():
    breakers = {name: Breaker("transcriber", name, LoopClock()) for name in ("stt0", "stt1")}
    opened(breakers["stt0"])
    async with conversation(hearings=["deaf", "ok"], breakers=breakers) as caller:
        await caller.call.session.wait_ended()
        assert [len(hearing.streams) for hearing in caller.call.stt] == [0, 1]


async def test_a_transcriber_whose_breaker_is_open_is_not_opened_again_and_again():
    breakers = {name: Breaker("transcriber", name, LoopClock()) for name in ("stt0", "stt1")}
    for _ in range(FAILURES - 1):
        breakers["stt0"].failed()
    stt = [Hearing(["refuses"]), Hearing(["ok"])]
    async with running_call(GREETING, stt=stt, llm=[Mind(["ok"])], breakers=breakers) as call:
        await call.until(lambda: stt[1].streams)
        (failed,) = call.words("vendor-failed")
        assert failed["action"] == "stt1 listens instead"
        assert call.words("breaker")[0]["state"] == "open"
