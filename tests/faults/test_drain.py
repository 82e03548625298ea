"""A service that is told to stop: what it still takes, how its calls end, and what is left when they do not."""

import asyncio
import os
import signal
import time
from typing import Any

import aiohttp
import pytest
from kill_rounds import control, own_line
from twilio_scenes import Played
from vendor_line import GREETING, OURS, VendorLine

from openclaw_voicecall.errors import LimitExceeded
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.emulators.twilio import Call, Pickup

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

CALLS = 10
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
LIMIT = 30.0


def caller(number: int) -> str:
    return f"+1555000{9000 + number}"


async def until(condition: Any, limit: float = LIMIT) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


def with_drain(seconds: float) -> dict[str, Any]:
    """Settings under which live calls may go on for so long."""
    return {"serve": {"drainSeconds": seconds}}


async def terminate(line: VendorLine) -> None:
    """The first SIGTERM; returns once the service says that it takes no more calls."""
    os.kill(line.service.pid, signal.SIGTERM)
    await draining(line)


async def draining(line: VendorLine) -> None:
    """Wait until the service says that it takes no more calls."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(LIMIT):
        while True:
            async with http.get(f"http://127.0.0.1:{line.service.port}/healthz") as response:
                if (await response.json())["status"] == "draining":
                    return


async def stop(line: VendorLine) -> float:
    """A SIGTERM; seconds until the service was gone, with exit code 0."""
    begun = time.monotonic()
    await asyncio.to_thread(line.service.stop)
    return time.monotonic() - begun


async def talking(line: VendorLine, count: int) -> list[Call]:
    """So many callers, each of whom the agent has greeted."""

    async def listens(phone: Any) -> None:
        await phone.listen()

    calls = [await line.twilio.dial_in(caller(number), OURS, listens) for number in range(count)]
    await until(lambda: all(call.streams for call in calls))
    return calls


async def greeted(line: VendorLine, calls: list[Call]) -> None:
    await until(lambda: all(GREETING in " ".join(line.heard(call.line.heard)) for call in calls))


async def records(line: VendorLine) -> list[dict[str, Any]]:
    """What is in the store now that nobody runs."""
    store = await SqliteStore.open(line.service.state_dir / "calls.db", read_only=True)
    try:
        return [
            {"sid": record.carrier_call_id, "reason": record.end_reason, "over": record.over}
            for record in await store.list_calls()
        ]
    finally:
        await store.close()


async def ten_calls() -> dict[str, Any]:
    """One SIGTERM; one of ten callers hangs up soon after it, and a stranger calls."""
    async with own_line(with_drain(2)) as line:
        calls = await talking(line, CALLS)
        await greeted(line, calls)
        begun = time.time()
        stopping = asyncio.create_task(stop(line))
        await draining(line)
        async with control(line) as client:
            refusal = await _refusal(client)
        stranger = await line.twilio.dial_in("+15550009999", OURS)
        calls[0].hang_up()
        await asyncio.gather(stranger.finished(), *(call.until_over() for call in calls))
        await stopping
        return {
            "calls": calls,
            "heard": [" ".join(line.heard(call.line.heard)) for call in calls],
            "ends": [call.ended - begun for call in calls],
            "stranger": stranger,
            "refusal": refusal,
            "records": await records(line),
        }


async def _refusal(client: ControlClient) -> Exception | None:
    try:
        await client.place_call({"to": "+15550009998", "message": "Hello.", "mode": "conversation"})
    except LimitExceeded as error:
        return error
    return None


async def hurried() -> dict[str, Any]:
    """The second SIGTERM comes while goodbyes are being said."""
    async with own_line(with_drain(0)) as line:
        calls = await talking(line, 3)
        await greeted(line, calls)
        reader = asyncio.create_task(_read_on(line))
        await terminate(line)
        await until(lambda: all("sorry" in " ".join(line.heard(call.line.heard)) for call in calls))
        took = await stop(line)
        await asyncio.gather(*(call.until_over() for call in calls))
        events = await reader
        return {"calls": calls, "took": took, "records": await records(line), "events": events}


async def _read_on(line: VendorLine) -> list[str]:
    """Somebody follows all calls for as long as the service lets them; the names of the entries they saw."""
    async with control(line) as client:
        return [item["entry"]["event"] async for item in client.feed()]


async def refused() -> dict[str, Any]:
    """Nothing can be ended when the service stops: it goes all the same, and the next one ends what is left."""
    async with own_line(with_drain(0)) as line:
        (call,) = await talking(line, 1)
        ringing = await _ringing(line)
        line.twilio.fail_next("rest-500", times=0)
        await terminate(line)
        took = await stop(line)
        left = await records(line)
        running = not ringing.over
        line.twilio.heal()
        await asyncio.to_thread(line.service.start)
        await asyncio.gather(call.until_over(), ringing.until_over())
        async with control(line) as client, asyncio.timeout(LIMIT):
            while any(record["endReason"] is None for record in await client.list_calls()):
                await asyncio.sleep(0.02)
            after = await client.get_call(ringing.sid)
        return {"took": took, "left": left, "running": running, "ringing": ringing, "after": after}


async def _ringing(line: VendorLine) -> Call:
    line.twilio.pickup = Pickup(after=100.0)
    async with control(line) as client, asyncio.timeout(LIMIT):
        placed = await client.place_call({"to": "+15550009997", "message": "Hello.", "mode": "conversation"})
        call = await line.twilio.next_call()
        while (await client.get_call(placed["callId"]))["carrierCallId"] != call.sid:
            await asyncio.sleep(0.02)
    return call


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        scenes = {"ten": ten_calls(), "hurried": hurried(), "refused": refused()}
        results = await asyncio.gather(*scenes.values(), return_exceptions=True)
        return Played(zip(scenes, results, strict=True))

    return asyncio.run(everything())


def test_ten_calls_go_on_are_said_goodbye_to_and_end(played):
    scene = played["ten"]
    others = list(zip(scene["calls"], scene["heard"], scene["ends"], strict=True))[1:]
    for call, heard, end in others:
        assert heard.endswith(GOODBYE), heard
        assert call.ended_by == "api"
        assert 2.0 <= end <= 20.0, "live calls go on for drainSeconds"


def test_one_call_that_ends_does_not_end_the_wait_for_the_others(played):
    scene = played["ten"]
    assert scene["calls"][0].ended_by == "person"
    assert scene["ends"][0] < min(scene["ends"][1:])


def test_every_record_is_closed_when_the_service_is_gone(played):
    reasons = {record["sid"]: record["reason"] for record in played["ten"]["records"]}
    first, *others = (call.sid for call in played["ten"]["calls"])
    assert reasons[first] == "caller-hung-up"
    assert {reasons[sid] for sid in others} == {"shutdown"}
    assert all(record["over"] for record in played["ten"]["records"])


def test_a_service_that_stops_takes_no_more_calls(played):
    scene = played["ten"]
    (document,) = scene["stranger"].documents
    assert '<Reject reason="busy"' in document
    assert "shutting down" in str(scene["refusal"])


def test_a_second_signal_hangs_up_at_once_though_goodbyes_are_being_said(played):
    scene = played["hurried"]
    assert scene["took"] <= 3.0
    assert all(call.ended_by in ("api", "twiml") for call in scene["calls"])
    assert {record["reason"] for record in scene["records"]} == {"shutdown"}
    assert scene["events"].count("CallEnded") == 3, (
        "who follows the calls sees all of their end, and holds up nobody"
    )


def test_what_could_not_be_ended_is_left_open_and_ended_by_the_next_start(played):
    scene = played["refused"]
    assert scene["took"] <= 3.0
    assert scene["running"]
    assert {record["sid"]: record["over"] for record in scene["left"]}[scene["ringing"].sid] is False
    assert scene["ringing"].ended_by == "api"
    assert scene["after"]["endReason"] == "shutdown"
