"""Very many short calls over one service of a Twilio user, and what its process holds after them.

Of twenty calls twelve are talks, inbound and outbound, ended by either side; eight go wrong in a way of their own. What
the process holds is looked at when no call is live, so that whatever is left belongs to calls that are over.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from holdings import MIB, Held, Tally
from short_callers import (
    ANSWERS,
    CAST,
    GREETING,
    HEAR,
    QUIET,
    SAGA,
    STRANGER,
    WORD,
    Resident,
    Town,
    number,
    person_of,
    talk,
)
from twilio_scenes import Stage, answering, stage
from vendor_line import OURS, VendorLine

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.twilio import Person, Pickup

SETTLE = 20.0
"""Seconds in which a service must have let go of everything of its calls."""
WARM_UP = 0.1
"""Share of the calls in which caches and pools grow to their size."""


async def many_calls(count: int, at_once: int, *, every: int = 100, live: int = 20) -> Tally:
    """Hold so many calls, look at the process every so often, and tell what came of it.

    Args:
        count: Calls in all.
        at_once: Calls at the same time.
        every: Calls between two looks.
        live: Further calls that are all live together at the end, for what one takes.
    """
    settings = {
        "maxConcurrentCalls": 2 * max(at_once, live),
        "inboundGreeting": GREETING,
        "inboundPolicy": "allowlist",
        "allowFrom": [number(lane) for lane in range(max(at_once, live))],
        "outbound": {"dialsPerMinute": 10**6, "dialsPerNumberPerHour": 10**6, "dialsPerDay": 10**6},
        "streaming": {"preStartTimeoutMs": 400},
    }
    tally = Tally(at_once)
    async with stage(settings, respond=answering(ANSWERS)) as on:
        town = Town(on.line)
        begun = time.monotonic()
        done = 0
        while done < count:
            block = range(done, min(count, done + every))
            await _hold(block, at_once, town, on, tally)
            done = block.stop
            tally.samples.append(Held(done, await at_rest(on.client)))
            if tally.warm is None and done >= WARM_UP * count:
                tally.warm = Held(done, await settled(on))
                tally.extra += 1
        tally.seconds = time.monotonic() - begun
        tally.mib_per_call = await _live_together(live, town, on, tally)
        assert tally.warm is not None
        tally.last = Held(done, await settled(on, tally.warm))
        tally.extra += live + 1
        records = await on.client.list_calls(limit=2 * (count + tally.extra))
        tally.records = len(records)
        tally.open_records = sum(not record["endReason"] for record in records)
        for record in records:
            kind = town.kinds.get(record["carrierCallId"], "besides")
            tally.ends.setdefault(kind, Counter())[str(record["endReason"])] += 1
        tally.refusals += [f"{refusal.where}: {refusal.why}" for refusal in town.refusals()]
    return tally


async def at_rest(client: ControlClient) -> dict[str, int]:
    """What the process holds once no call holds anything; as it is, should it not let go in time."""
    held: dict[str, int] = {}
    try:
        async with asyncio.timeout(SETTLE):
            while True:
                held = (await client.status())["service"]["resources"]
                if not (held["liveCalls"] or held["streams"] or held["tokens"]):
                    return held
                await asyncio.sleep(0.05)
    except TimeoutError:
        return held


async def settled(on: Stage, before: Held | None = None) -> dict[str, int]:
    """What the process holds without the connections that it keeps for the next call.

    Vendors close those, and one more talk has the clients notice it.

    Args:
        on: Where.
        before: Levels to wait for, as long as `SETTLE`.
    """
    for emulator in (on.line.twilio, on.line.openai, on.line.chat, on.line.elevenlabs):
        emulator.close_idle()
    await on.ring(number(0), talk(on.line, WORD))
    held = await at_rest(on.client)
    try:
        async with asyncio.timeout(SETTLE):
            while before is not None and any(held[name] > level for name, level in before.handles.items()):
                await asyncio.sleep(0.1)
                held = await at_rest(on.client)
    except TimeoutError:
        pass
    return held


async def _hold(block: Sequence[int], at_once: int, town: Town, on: Stage, tally: Tally) -> None:
    """Hold a block of calls on as many lanes, each with a number of its own."""
    waiting = iter(block)

    async def lane(caller: str, client: ControlClient) -> None:
        for index in waiting:
            kind = CAST[index % len(CAST)]
            try:
                async with asyncio.timeout(4 * HEAR):
                    await _one(kind, caller, town, on.line, client)
            except Exception as error:  # the others go on; the test tells of it
                tally.troubles.append(f"call {index}, {kind}: {error!r}")

    async with ControlClient(on.line.service.state_dir / "control.sock") as client:
        await asyncio.gather(*(lane(number(index), client) for index in range(at_once)))


async def _live_together(count: int, town: Town, on: Stage, tally: Tally) -> float:
    """MiB that each of so many calls takes at the most, while the agent has much to say on all of them."""
    before = (await at_rest(on.client))["rssBytes"]
    over, talking = asyncio.Event(), asyncio.Semaphore(0)
    audio, most = on.line.words(SAGA), before

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        await phone.say(audio)
        await phone.wait_for_sound(HEAR)
        await phone.wait(1.0)
        talking.release()
        await over.wait()
        phone.hang_up()

    async def look() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, (await on.client.status())["service"]["resources"]["rssBytes"])
            await asyncio.sleep(0.05)

    calls = [await on.line.twilio.dial_in(number(lane), OURS, person) for lane in range(count)]
    looking = asyncio.create_task(look())
    try:
        async with asyncio.timeout(4 * HEAR):
            for _ in calls:
                await talking.acquire()
    except TimeoutError:
        tally.troubles.append(f"{count} calls were not all live together")
    over.set()
    await looking
    for call in calls:
        await asyncio.gather(
            call.finished(), return_exceptions=True
        )  # whoever heard nothing is a trouble already
        town.forget(call)
    return (most - before) / MIB / count


async def _one(kind: str, caller: str, town: Town, line: VendorLine, client: ControlClient) -> None:
    """One call, until it is over at Twilio."""
    outcomes = {"busy": Pickup("busy"), "failed": Pickup("failed")}
    resident = town.at[caller] = Resident(kind, person_of(kind, line), outcomes.get(kind, Pickup()))
    if kind in outcomes or kind.endswith("out"):
        await client.place_call({"to": caller, "message": GREETING, "mode": "conversation"})
        call = await resident.call
        await line.twilio.next_call()
    else:
        shown = STRANGER if kind == "rejected" else caller
        call = await line.twilio.dial_in(shown, OURS, resident.person)
        town.kinds[call.sid] = kind
    try:
        await call.finished()
    finally:
        town.forget(call)
