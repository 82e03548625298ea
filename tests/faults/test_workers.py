"""Several processes behind one port: to carriers, to the owner and to every limit they are one service."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kill_rounds import control, own_line
from twilio_scenes import Played, together
from vendor_line import GREETING, OURS, VendorLine

from openclaw_voicecall.errors import LimitExceeded
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.emulators.twilio import Call

pytestmark = [pytest.mark.faults, pytest.mark.heavy, pytest.mark.timeout(180)]

LIMIT = 20.0


async def until(condition: Any, limit: float = LIMIT) -> None:
    """Wait for something to be so; `condition` may be a coroutine function."""
    async with asyncio.timeout(limit):
        while not (await held if asyncio.iscoroutine(held := condition()) else held):
            await asyncio.sleep(0.02)


async def listens(phone: Any) -> None:
    await phone.listen()


async def ring(line: VendorLine, count: int, first: int = 0) -> list[Call]:
    """So many people who call at the same moment."""
    numbers = [f"+1555000{7000 + first + number}" for number in range(count)]
    return list(await asyncio.gather(*(line.twilio.dial_in(number, OURS, listens) for number in numbers)))


async def greeted(line: VendorLine, calls: Sequence[Call]) -> None:
    await until(lambda: all(call.streams for call in calls))
    await until(lambda: all(GREETING in said_to(line, call) for call in calls))


async def hang_up(line: VendorLine) -> None:
    """Everybody hangs up."""
    calls = [call for call in line.twilio.calls.values() if not call.over]
    for call in calls:
        call.hang_up()

    async def noticed() -> bool:
        return (await status(line))["liveCalls"] == 0

    await until(noticed)


def said_to(line: VendorLine, call: Call) -> str:
    return " ".join(line.heard(call.line.heard))


async def status(line: VendorLine) -> dict[str, Any]:
    async with control(line) as client:
        return (await client.status())["service"]


async def records(line: VendorLine) -> dict[str, dict[str, Any]]:
    """Records of all calls, by the carrier's id."""
    async with control(line) as client:
        return {record["carrierCallId"]: record for record in await client.list_calls()}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def at_work(line: VendorLine) -> Played:
    """Six people call two processes at once; the owner looks, speaks and hangs up."""
    async with control(line) as client:
        seen: list[dict[str, Any]] = []

        async def watch() -> None:
            async for item in client.feed():
                seen.append(item)

        watching = asyncio.create_task(watch())
        calls = await ring(line, 6)
        await greeted(line, calls)
        played = Played(calls=calls, status=await client.status(), pids=children(line.service.pid))
        ids = {sid: record["callId"] for sid, record in (await records(line)).items()}
        (played["over the limit"],) = over = await ring(line, 1, first=50)
        await over[0].finished()
        try:
            await client.place_call({"to": "+15550006001", "mode": "conversation", "message": "Hello."})
        except LimitExceeded as refusal:
            played["refusal"] = str(refusal)
        for call in calls:
            await client.speak(ids[call.sid], f"You are {call.sid[-4:]}.")
        await until(lambda: all(f"You are {call.sid[-4:]}." in said_to(line, call) for call in calls))
        played["heard"] = [said_to(line, call) for call in calls]
        played["shown"] = [await client.get_call(call.sid) for call in calls]
        played["journals"] = [await client.journal(ids[call.sid]) for call in calls]
        ended = [line.cli("end", ids[call.sid]) for call in calls[:2]]
        await asyncio.gather(*ended, *(client.end_call(ids[call.sid]) for call in calls[2:]))
        await asyncio.gather(*(call.until_over() for call in calls))
        await until(lambda: sum(item["call"]["endReason"] == "agent-hung-up" for item in seen) >= 6)
        watching.cancel()
        played["seen"] = {item["call"]["carrierCallId"] for item in seen}
        played["ends"] = await records(line)
        played["refusals"] = [*line.twilio.refusals]
        return played


async def dialling(line: VendorLine) -> Played:
    """The owner asks for six calls at once, and three may be dialled within a minute."""
    line.twilio.person = listens
    before = len(line.twilio.calls)
    async with control(line) as client:

        async def place(number: int) -> Any:
            try:
                order = {"to": f"+1555000{6100 + number}", "mode": "conversation", "message": GREETING}
                return await client.place_call(order, key=f"order-{number}")
            except LimitExceeded as refusal:
                return str(refusal)

        results = await asyncio.gather(*(place(number) for number in range(6)))
        placed = [result for result in results if isinstance(result, dict)]
        await until(lambda: len(line.twilio.calls) >= before + 3)
        calls = list(line.twilio.calls.values())[before:]
        await greeted(line, calls)
        played = Played(results=results, placed=placed, workers=(await status(line))["workers"])
        played["again"] = await place(results.index(placed[0]))
        played["dialled"] = len(line.twilio.calls) - before
        await hang_up(line)
        return played


async def killed(line: VendorLine) -> Played:
    """The other process dies with its calls; the service goes on, and has another one soon."""
    calls = await ring(line, 4, first=10)
    await greeted(line, calls)
    (victim,) = (await status(line))["workers"]
    os.kill(victim["pid"], signal.SIGKILL)
    await until(lambda: sum(call.over for call in calls) == 2)
    lost = [call for call in calls if call.over]

    async def closed() -> bool:
        known = await records(line)
        return all(known[call.sid]["endReason"] for call in lost)

    await until(closed)
    played = Played(lost=lost, victim=victim["pid"], records=await records(line))

    async def replaced() -> bool:
        workers = (await status(line))["workers"]
        return [worker["pid"] for worker in workers] not in ([], [victim["pid"]])

    await until(replaced, limit=60)
    await greeted(line, await ring(line, 4, first=20))
    played["new"] = (await status(line))["workers"][0]
    played["left"] = [call.over for call in calls if call not in lost]
    return played


async def stopped(line: VendorLine) -> Played:
    """SIGTERM while people talk in both processes."""
    calls = [call for call in line.twilio.calls.values() if not call.over]
    children_then = children(line.service.pid)
    stopping = asyncio.create_task(asyncio.to_thread(line.service.stop))
    await asyncio.gather(*(call.until_over() for call in calls))
    await stopping
    store = await SqliteStore.open(line.service.state_dir / "calls.db", read_only=True)
    try:
        stored = {record.carrier_call_id: record.end_reason for record in await store.list_calls()}
    finally:
        await store.close()
    return Played(
        calls=calls,
        heard=[said_to(line, call) for call in calls],
        running=[is_running(child) for child in children_then],
        reasons={stored[call.sid] for call in calls},
        files=sorted(path.name for path in line.service.state_dir.glob("*.sock")),
    )


async def one_day() -> Played:
    """What happens to one service from its start to its end."""
    config = {
        "serve": {"workers": 2, "drainSeconds": 1},
        "maxConcurrentCalls": 6,
        "outbound": {"dialsPerMinute": 3, "dialsPerNumberPerHour": 1000, "defaultMode": "conversation"},
    }
    played = Played()
    async with own_line(config) as line:
        for scene in (at_work, dialling, killed, stopped):
            played[scene.__name__] = await scene(line)
    return played


async def deaf_and_orphaned() -> Played:
    """The other process stands still, so that it gets no more calls; then the service itself is killed."""
    async with own_line({"serve": {"workers": 2}}) as line:
        (pid,) = children(line.service.pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            (first,) = await ring(line, 1)
            await first.until_over()  # it was given to that process before anybody knew
            calls = await ring(line, 2, first=20)
            await greeted(line, calls)
            played = Played(over=[call.over for call in calls])
        finally:
            os.kill(pid, signal.SIGCONT)
        calls += await ring(line, 3, first=30)
        await greeted(line, calls)
        await asyncio.to_thread(line.service.kill)
        await until(lambda: not is_running(pid), limit=5)
        await asyncio.to_thread(line.service.start)
        await asyncio.gather(*(call.until_over() for call in calls))

        async def closed() -> bool:
            return all(record["endReason"] for record in (await records(line)).values())

        await until(closed)
        known = await records(line)
        played["reasons"] = [known[call.sid]["endReason"] for call in calls]
        return played


async def full() -> Played:
    """One process that has more memory than it may have."""
    async with own_line({"serve": {"maxMemoryMb": 10}}) as line, control(line) as client:
        (call,) = await ring(line, 1)
        await call.finished()
        played = Played(call=call, pids=children(line.service.pid))
        try:
            await client.place_call({"to": "+15550006001", "mode": "conversation", "message": "Hello."})
        except LimitExceeded as refusal:
            played["refusal"] = str(refusal)
        played["record"] = (await records(line))[call.sid]
        return played


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        scenes = await together({"day": one_day(), "deaf": deaf_and_orphaned(), "full": full()})
        return Played({**scenes, **scenes["day"]})

    return asyncio.run(everything())


def test_calls_are_spread_and_each_stream_comes_to_the_process_of_its_call(played):
    (worker,) = played["at_work"]["status"]["service"]["workers"]
    assert worker["liveCalls"] == worker["resources"]["streams"] == 3
    assert [worker["pid"]] == played["at_work"]["pids"]


def test_the_owner_sees_the_calls_of_all_processes(played):
    scene = played["at_work"]
    assert {call["carrierCallId"] for call in scene["status"]["calls"]} == {
        call.sid for call in scene["calls"]
    }
    assert scene["status"]["service"]["liveCalls"] == 6
    assert [record["carrierCallId"] for record in scene["shown"]] == [call.sid for call in scene["calls"]]
    assert all(journal[0]["seq"] == 1 for journal in scene["journals"])
    assert {call.sid for call in scene["calls"]} <= scene["seen"]


def test_the_owner_speaks_on_every_call_and_ends_every_call(played):
    scene = played["at_work"]
    for call, heard in zip(scene["calls"], scene["heard"], strict=True):
        assert heard == f"{GREETING} You are {call.sid[-4:]}."
        assert scene["ends"][call.sid]["endReason"] == "agent-hung-up"


def test_one_limit_counts_the_calls_of_all_processes(played):
    scene = played["at_work"]
    assert scene["over the limit"].status == "busy"
    assert "maxConcurrentCalls" in scene["refusal"]
    assert "maxConcurrentCalls" in scene["ends"][scene["over the limit"].sid]["detail"]


def test_the_carrier_had_nothing_to_refuse(played):
    assert played["at_work"]["refusals"] == []


def test_orders_at_the_same_moment_are_dialled_as_often_as_may_be_and_no_more(played):
    scene = played["dialling"]
    refused = [result for result in scene["results"] if isinstance(result, str)]
    assert len(scene["placed"]) == len(refused) == scene["dialled"] == 3
    assert all("dialsPerMinute" in refusal for refusal in refused)


def test_dialled_calls_are_spread_too(played):
    (worker,) = played["dialling"]["workers"]
    assert worker["liveCalls"] in (1, 2)


def test_an_order_that_comes_again_under_its_key_is_the_same_call(played):
    scene = played["dialling"]
    assert scene["again"]["callId"] == scene["placed"][0]["callId"]


def test_calls_of_a_process_that_was_killed_are_hung_up_and_closed_with_the_reason(played):
    scene = played["killed"]
    assert len(scene["lost"]) == 2
    for call in scene["lost"]:
        record = scene["records"][call.sid]
        assert record["endReason"] == "interrupted"
        assert f"process {scene['victim']}) died" in record["detail"]


def test_the_other_calls_go_on_and_the_dead_process_is_replaced(played):
    assert played["killed"]["left"] == [False, False]
    assert played["killed"]["new"]["liveCalls"] == played["killed"]["new"]["resources"]["streams"] == 3


def test_a_process_that_stands_still_gets_no_more_calls(played):
    assert played["deaf"]["over"] == [False, False]


def test_all_calls_hear_a_goodbye_when_the_service_stops_and_no_process_is_left(played):
    scene = played["stopped"]
    assert all(heard.endswith("Goodbye.") for heard in scene["heard"])
    assert {call.ended_by for call in scene["calls"]} == {"api"}
    assert len(scene["calls"]) == 6
    assert scene["reasons"] == {"shutdown"}
    assert scene["running"] == [False]
    assert scene["files"] == []


def test_no_process_outlives_the_service_and_the_next_start_ends_its_calls(played):
    assert played["deaf"]["reasons"] == ["interrupted"] * 5


def test_a_process_with_too_much_memory_refuses_politely_and_says_why(played):
    scene = played["full"]
    assert scene["call"].status == "busy"
    assert scene["record"]["endReason"] == "rejected"
    assert "serve.maxMemoryMb" in scene["record"]["detail"]
    assert "serve.maxMemoryMb" in scene["refusal"]


def test_one_process_starts_no_other(played):
    assert played["full"]["pids"] == []
