"""A caller whose audio is held up on its way has not fallen silent: only silence that was heard ends a turn."""

import asyncio

import pytest
from rig import running_call

from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.session.arrivals import Arrivals

pytestmark = [pytest.mark.session, pytest.mark.looptime]

QUESTION = "When I was in town last week, did you have bells?"


def frame(call):
    """The next frame of the caller."""
    call.sent = getattr(call, "sent", 0) + 1
    call.far.frames(1, call.sent * 20)


async def audio(call, seconds):
    """So much audio, at its own pace."""
    for _ in range(round(seconds * 50)):
        frame(call)
        await asyncio.sleep(0.02)


async def speaks_with_a_pause(call, held_up):
    """A caller who pauses in the middle; what comes after the pause is held up for so long."""
    await audio(call, 1.5)
    call.stream.edge(speaking=True)
    await audio(call, 1.0)
    call.stream.hear("When I was in town", final=False)
    call.stream.on_finish = "When I was in town"
    call.stream.edge(speaking=False, ago=0.3)
    await call.until(lambda: call.session.call.snapshot().caller == "paused")
    endpoint = call.session.call.next_timer() - call.now()
    await audio(call, endpoint - 0.08)
    await asyncio.sleep(held_up)
    for _ in range(round(held_up * 50)):
        frame(call)
    call.stream.edge(speaking=True)
    await audio(call, 0.5)
    call.stream.on_finish = QUESTION
    call.stream.edge(speaking=False, ago=0.3)
    await audio(call, 3.0)


async def test_audio_that_is_held_up_in_a_pause_does_not_end_the_turn():
    async with running_call(CallPolicy(), replies=["We did."]) as call:
        await speaks_with_a_pause(call, held_up=0.25)
        assert [request.text for request in call.llm[0].requests] == [QUESTION]


async def test_audio_that_stays_away_ends_the_turn_all_the_same():
    async with running_call(CallPolicy(), replies=["We did."]) as call:
        await audio(call, 1.5)
        call.stream.edge(speaking=True)
        await audio(call, 1.0)
        call.stream.hear(QUESTION, final=False)
        call.stream.on_finish = QUESTION
        call.stream.edge(speaking=False, ago=0.3)
        await call.until(lambda: call.session.call.snapshot().caller == "paused")
        due = call.session.call.next_timer()
        await call.until(lambda: call.llm[0].requests)
        assert call.now() - due <= 0.4


@pytest.mark.parametrize(
    ("frames", "age", "behind"),
    [
        ([0.02] * 100, 0.04, False),
        ([0.02] * 100, 0.06, True),
        ([0.02] * 20, 0.06, False),  # it is not known yet whether it is steady
        ([0.2] * 20, 0.06, False),  # it sends a frame now and then only
    ],
)
async def test_only_a_steady_stream_can_be_behind(frames, age, behind):
    arrivals, now = Arrivals(), 100.0
    for step in frames:
        now += step
        arrivals.came(0.02, now)
    assert arrivals.are_behind(now + age) is behind


async def test_a_stream_that_comes_back_is_known_anew():
    arrivals = Arrivals()
    for index in range(100):
        arrivals.came(0.02, index * 0.02)
    arrivals.came(0.02, 10.0)
    assert not arrivals.are_behind(10.1)
