"""Very many short calls over one service of a Twilio user, and what its process holds after them.

Of twenty calls twelve are talks, inbound and outbound, ended by either side; eight go wrong in a way of their own. What
the process holds is looked at when no call is live, so that whatever is left belongs to calls that are over.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from twilio_scenes import Stage, answering, stage, tool
from vendor_line import OURS, VendorLine

from openclaw_voicecall.cli.client import ControlClient
from openclaw_voicecall.testing.emulators.twilio import Call, Person, Pickup

GREETING, WORD, ANSWER = "Hi.", "Yes.", "Ok."
STORY, LONG, STOP = "Story?", "This is a long story of many words, and it goes on and on.", "Stop."
SAGA, WHOLE_SAGA = "Saga?", " ".join([LONG] * 8)
"""Half a minute of audio, which vendors give much faster than it is heard."""
BYE, FAREWELL = "Bye.", "Bye bye."
STRANGER = "+15550009999"
"""Not in `allowFrom`."""
HEAR = 10.0
"""Seconds that somebody waits for the agent: far more than it takes."""
QUIET = 0.12
"""Seconds of silence after which the agent has said what it had to say."""
SETTLE = 20.0
"""Seconds in which a service must have let go of everything of its calls."""
WARM_UP = 0.1
"""Share of the calls in which caches and pools grow to their size."""
MIB = 2**20
POOL = min(32, (os.cpu_count() or 1) + 4)
"""Threads that asyncio's pool may still start, see `concurrent.futures.ThreadPoolExecutor`."""

ANSWERS = {
    WORD: ANSWER,
    STORY: LONG,
    SAGA: WHOLE_SAGA,
    STOP: ANSWER,
    BYE: [tool("end_call", FAREWELL, reason="done")],
}
TALKS = ("talk in", "talk out", "farewell in", "talk in", "talk out", "farewell out")
BROKEN = ("reset", "cut off", "never starts", "rejected", "silent", "barge-in", "busy", "failed")
CAST = (*TALKS, *BROKEN[:4], *TALKS, *BROKEN[4:])
"""What becomes of twenty calls in a row; then it begins again."""
ENDS = {
    "rejected": {"rejected"},
    "busy": {"busy"},
    "failed": {"failed"},
    "farewell in": {"agent-hung-up"},
    "farewell out": {"agent-hung-up"},
}
"""How calls end; those that are not named, by the person's hanging up."""


@dataclass(frozen=True)
class Held:
    """What the process held after so many calls."""

    calls: int
    resources: dict[str, int]

    @property
    def mib(self) -> float:
        """Memory that is resident."""
        return self.resources["rssBytes"] / MIB

    @property
    def handles(self) -> dict[str, int]:
        """What must come back to where it was, to the last one."""
        return {name: self.resources[name] for name in ("tasks", "sockets", "files", "childProcesses")}

    @property
    def slots(self) -> dict[str, int]:
        """What belongs to live calls only."""
        return {name: self.resources[name] for name in ("liveCalls", "streams", "tokens")}


@dataclass
class Tally:
    """What came of all calls."""

    at_once: int
    samples: list[Held] = field(default_factory=list)
    """Taken while connections may still be kept for the next call."""
    warm: Held | None = None
    """After the warm-up, when everything had settled."""
    last: Held | None = None
    """The same at the end."""
    ends: dict[str, Counter[str]] = field(default_factory=dict)
    """How often calls of each kind ended for which reason, by our records."""
    troubles: list[str] = field(default_factory=list)
    """Calls that did not go as their kind says."""
    records: int = 0
    open_records: int = 0
    seconds: float = 0.0
    refusals: list[str] = field(default_factory=list)
    """What vendors had to refuse."""
    mib_per_call: float = 0.0
    """The most that a live call took, of those that were live together."""

    phones: int = 0
    """Processes of phones that are left over."""
    extra: int = 0
    """Calls that were held besides, to look at the process."""

    @property
    def calls(self) -> int:
        """Records, by kind."""
        return sum(found.total() for found in self.ends.values())

    @property
    def looks(self) -> list[Held]:
        """All that was seen of the process, oldest first."""
        ends = [held for held in (self.warm, self.last) if held is not None]
        return sorted([*self.samples, *ends], key=lambda held: held.calls)

    @property
    def left_over(self) -> dict[str, tuple[int, int]]:
        """What the process holds more of than after the warm-up: before and after."""
        assert self.warm is not None and self.last is not None
        before, after = self.warm.handles, self.last.handles
        more = {name: (before[name], after[name]) for name in before if after[name] > before[name]}
        threads = self.warm.resources["threads"], self.last.resources["threads"]
        return more | ({"threads": threads} if threads[1] > threads[0] + POOL else {})

    @property
    def slope(self) -> float:
        """Growth of the memory in MiB for a hundred calls, by least squares over everything after the warm-up."""
        assert self.warm is not None
        points = [held for held in self.samples if held.calls >= self.warm.calls]
        across, up = [held.calls for held in points], [held.mib for held in points]
        return float(np.polyfit(across, up, 1)[0]) * 100

    @property
    def growth(self) -> float:
        """MiB from the end of the warm-up to the end of all."""
        assert self.warm is not None and self.last is not None
        return self.last.mib - self.warm.mib

    @property
    def wrong_ends(self) -> dict[str, Counter[str]]:
        """Ends that calls of their kind do not have."""
        wrong = {
            kind: Counter({end: count for end, count in found.items() if end not in _ends_of(kind)})
            for kind, found in self.ends.items()
        }
        return {kind: found for kind, found in wrong.items() if found}

    def figures(self) -> dict[str, Any]:
        """For people to read."""
        assert self.warm is not None and self.last is not None
        return {
            "calls": self.calls,
            "at_once": self.at_once,
            "seconds": round(self.seconds),
            "calls_per_second": round(self.calls / self.seconds, 2),
            "mib_per_100_calls": round(self.slope, 3),
            "mib_warm": round(self.warm.mib, 1),
            "mib_last": round(self.last.mib, 1),
            "mib_per_live_call": round(self.mib_per_call, 2),
            "held_warm": self.warm.handles | {"threads": self.warm.resources["threads"]},
            "held_last": self.last.handles | {"threads": self.last.resources["threads"]},
            "slots_last": self.last.slots,
            "records": self.records,
            "open_records": self.open_records,
            "troubles": len(self.troubles),
        }


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
        "allowFrom": [_number(lane) for lane in range(max(at_once, live))],
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
        tally.mib_per_call = await _live_together(live, town, on)
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
    await on.ring(_number(0), _talk(on.line, WORD))
    held = await at_rest(on.client)
    try:
        async with asyncio.timeout(SETTLE):
            while before is not None and any(held[name] > level for name, level in before.handles.items()):
                await asyncio.sleep(0.1)
                held = await at_rest(on.client)
    except TimeoutError:
        pass
    return held


@dataclass
class Resident:
    """Somebody with a phone, for one call."""

    kind: str
    person: Callable[[Person], Awaitable[None]] | None = None
    pickup: Pickup = field(default_factory=Pickup)
    call: "asyncio.Future[Call]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Town:
    """Who is at which number just now, so that many calls at once each meet their own person and their own fault."""

    def __init__(self, line: VendorLine) -> None:
        self.line = line
        self.kinds: dict[str, str] = {}
        """Kinds of calls by Twilio's id."""
        self.at: dict[str, Resident] = {}
        twilio: Any = line.twilio
        self._place, self._new_stream = twilio.place, twilio.new_stream
        twilio.place, twilio.new_stream = self._placed, self._streamed
        twilio.person = self._act

    def refusals(self) -> list[Any]:
        """What vendors had to refuse, but for what comes of the faults."""
        line = self.line
        return [
            refusal
            for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs)
            for refusal in emulator.refusals
            if "3192" not in refusal.why and "3195" not in refusal.why
        ]

    def forget(self, call: Call) -> None:
        """Keep nothing of a call that is over, nor of what vendors noted meanwhile."""
        line = self.line
        line.twilio.calls.pop(call.sid, None)
        line.openai.sessions[:] = [session for session in line.openai.sessions if not session.closed]
        for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs):
            emulator.moments.clear()
        for ledger in (line.chat.requests, line.elevenlabs.spoken, line.elevenlabs.bodies):
            ledger.clear()

    def _placed(self, from_number: str, to_number: str, orders: Any) -> Call:
        resident = self.at[to_number]
        self.line.twilio.pickup = resident.pickup
        call: Call = self._place(from_number, to_number, orders)
        self.kinds[call.sid] = resident.kind
        resident.call.set_result(call)
        return call

    def _streamed(self, call: Call, *noun: Any, **options: Any) -> Any:
        if self.kinds.get(call.sid) == "never starts" and not call.streams:
            self.line.twilio.fail_next("stream-never-starts")
        return self._new_stream(call, *noun, **options)

    async def _act(self, phone: Person) -> None:
        person = self.at[phone.number].person
        if person is not None:
            await person(phone)


async def _hold(block: Sequence[int], at_once: int, town: Town, on: Stage, tally: Tally) -> None:
    """Hold a block of calls on as many lanes, each with a number of its own."""
    waiting = iter(block)

    async def lane(number: str, client: ControlClient) -> None:
        for index in waiting:
            kind = CAST[index % len(CAST)]
            try:
                async with asyncio.timeout(4 * HEAR):
                    await _one(kind, number, town, on.line, client)
            except Exception as error:  # the others go on; the test tells of it
                tally.troubles.append(f"call {index}, {kind}: {error!r}")

    async with ControlClient(on.line.service.state_dir / "control.sock") as client:
        await asyncio.gather(*(lane(_number(index), client) for index in range(at_once)))


async def _live_together(count: int, town: Town, on: Stage) -> float:
    """MiB that each of so many calls takes at the most, while the agent has much to say on all of them."""
    before = (await at_rest(on.client))["rssBytes"]
    over, answered = asyncio.Event(), asyncio.Barrier(count + 1)
    audio, most = on.line.words(SAGA), before

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        await phone.say(audio)
        await phone.wait_for_sound(HEAR)
        await phone.wait(1.0)
        await answered.wait()
        await over.wait()
        phone.hang_up()

    async def look() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, (await on.client.status())["service"]["resources"]["rssBytes"])
            await asyncio.sleep(0.05)

    calls = [await on.line.twilio.dial_in(_number(lane), OURS, person) for lane in range(count)]
    looking = asyncio.create_task(look())
    try:
        async with asyncio.timeout(4 * HEAR):
            await answered.wait()
    finally:
        over.set()
        await looking
    for call in calls:
        await call.finished()
        town.forget(call)
    return (most - before) / MIB / count


async def _one(kind: str, number: str, town: Town, line: VendorLine, client: ControlClient) -> None:
    """One call, until it is over at Twilio."""
    outcomes = {"busy": Pickup("busy"), "failed": Pickup("failed")}
    resident = town.at[number] = Resident(kind, _person(kind, line), outcomes.get(kind, Pickup()))
    if kind in outcomes or kind.endswith("out"):
        await client.place_call({"to": number, "message": GREETING, "mode": "conversation"})
        call = await resident.call
        await line.twilio.next_call()
    else:
        caller = STRANGER if kind == "rejected" else number
        call = await line.twilio.dial_in(caller, OURS, resident.person)
        town.kinds[call.sid] = kind
    try:
        await call.finished()
    finally:
        town.forget(call)


def _person(kind: str, line: VendorLine) -> Callable[[Person], Awaitable[None]] | None:
    match kind:
        case "talk in" | "talk out" | "never starts":
            return _talk(line, WORD)
        case "farewell in" | "farewell out":
            return _talk(line, BYE, stays=True)
        case "barge-in":
            return _interrupting(line)
        case "reset":
            return _reset(line)
        case "cut off":
            return _cut_off(line)
        case "silent":
            return _silent
    return None


def _talk(line: VendorLine, word: str, *, stays: bool = False) -> Callable[[Person], Awaitable[None]]:
    audio = line.words(word)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        await phone.say(audio)
        if stays:
            await phone.listen()
        else:
            await phone.wait_for_agent(QUIET, HEAR)
            phone.hang_up()

    return person


def _interrupting(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    story, stop = line.words(STORY), line.words(STOP)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        await phone.say(story)
        await phone.wait_for_sound(HEAR)
        await phone.wait(0.3)
        await phone.say(stop)
        await phone.wait_for_agent(QUIET, HEAR)
        phone.hang_up()

    return person


def _reset(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    """The network breaks the stream while the caller speaks."""
    audio = line.words(WORD)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        phone.cut_stream()
        await phone.say(audio)
        await phone.wait_for_sound(HEAR)
        phone.hang_up()

    return person


def _cut_off(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    """Gone in the middle of the own words, after the agent's first."""
    audio = line.words(STORY)

    async def person(phone: Person) -> None:
        await phone.wait_for_sound(HEAR)
        speaking = asyncio.ensure_future(phone.say(audio))
        try:
            await phone.wait(0.2)
            phone.hang_up()
        finally:
            speaking.cancel()

    return person


async def _silent(phone: Person) -> None:
    await phone.wait_for_agent(QUIET, HEAR)
    await phone.wait(1.0)
    phone.hang_up()


def _ends_of(kind: str) -> set[str]:
    return ENDS.get(kind, {"caller-hung-up", "completed"})


def _number(lane: int) -> str:
    return f"+1555010{lane:04d}"
