"""Rounds of `kill -9` on a Twilio user's service, judged by what Twilio's ledger and the records say afterwards."""

import asyncio
import contextlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from vendor_line import OURS, VendorLine, vendor_line

from openclaw_voicecall.errors import VoiceCallError
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.twilio import Call, Person, Pickup
from openclaw_voicecall.testing.ports import free_port

OWNERLESS = 30.0
"""Seconds after a start in which every call of a dead service must be over and closed."""
LIMIT = 310
"""Seconds that Twilio lets a call last: ours and a margin."""
LONG = 100.0
"""Seconds that nobody takes up the phone: longer than any call may be without an owner."""
CONFIG = {"outbound": {"dialsPerDay": 100_000}, "ringTimeoutMs": 120_000}


@dataclass
class Outcome:
    """What a number of rounds came to. The lists name offending calls and stay empty."""

    rounds: int = 0
    calls: int = 0
    dialled_twice: list[str] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    never_closed: list[str] = field(default_factory=list)
    without_limit: list[str] = field(default_factory=list)
    states_at_kill: Counter[str] = field(default_factory=Counter)
    """In which states, by Twilio, the calls were when the service was killed."""
    slowest_end: float = 0.0
    """Seconds from a start, ready or not, until the last call of the dead service was over."""
    slowest_close: float = 0.0
    """The same until its record was closed."""
    slowest_start: float = 0.0
    """Seconds from the start of the process until it took calls."""
    seconds: float = 0.0
    """Of all rounds, some of which ran at the same time."""

    def add(self, other: "Outcome") -> None:
        """Take in the rounds of another line."""
        for name in (part.name for part in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            slowest = name.startswith("slowest") or name == "seconds"
            setattr(self, name, max(mine, theirs) if slowest else mine + theirs)

    def require_promises(self) -> None:
        """Nothing is dialled twice, left running or lost. Raises `AssertionError`."""
        offences = {
            part.name: value for part in fields(self) if isinstance(value := getattr(self, part.name), list)
        }
        assert not any(offences.values()), offences
        assert self.slowest_end <= OWNERLESS
        assert self.slowest_close <= OWNERLESS


async def kill_rounds(count: int, seed: int, *, lines: int = 2) -> Outcome:
    """Kill and start again, `count` times in all, on some lines at the same time.

    Args:
        count: Rounds.
        seed: Of everything that is left to chance.
        lines: Services that are killed at the same time; each has a Twilio of its own.
    """
    begun, outcome = time.monotonic(), Outcome()
    shares = [count // lines + (line < count % lines) for line in range(lines)]
    results = await asyncio.gather(
        *(_rounds(share, random.Random(f"{seed}/{line}")) for line, share in enumerate(shares) if share)
    )
    for result in results:
        outcome.add(result)
    outcome.seconds = time.monotonic() - begun
    return outcome


async def _rounds(count: int, chance: random.Random) -> Outcome:
    outcome = Outcome()
    async with own_line(CONFIG) as line:
        for _ in range(count):
            await _Round(line, chance, outcome).play()
    return outcome


@contextlib.asynccontextmanager
async def own_line(config: dict[str, Any], **options: Any) -> AsyncIterator[VendorLine]:
    """A Twilio user's service with emulators of its own, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    try:
        port = free_port()
        serve = {"bind": "127.0.0.1", "port": port, **config.get("serve", {})}
        async with vendor_line(folder / "s", port, config={**config, "serve": serve}, **options) as line:
            yield line
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def control(line: VendorLine) -> ControlClient:
    """The control API of a line's service."""
    return ControlClient(line.service.state_dir / "control.sock")


def own_id(call: Call) -> str:
    """Our id of a call, by the address that Twilio was given for it."""
    return parse_qs(urlsplit(call.orders.url).query).get("call", [""])[0]


class _Round:
    """A few calls, a kill at some moment of them, and a start.

    Args:
        line: Where. The service runs, before and after.
        chance: Decides.
        outcome: Where it is written down.
    """

    def __init__(self, line: VendorLine, chance: random.Random, outcome: Outcome) -> None:
        self._line = line
        self._chance = chance
        self._outcome = outcome
        self._before = set(line.twilio.calls)
        self._ordered: set[str] = set()
        """Our ids of the calls that the control API has acknowledged."""

    async def play(self) -> None:
        chance, line = self._chance, self._line
        same = f"+1555{chance.randrange(10**7):07d}" if chance.random() < 0.2 else ""
        orders = [asyncio.create_task(self._order(same)) for _ in range(chance.randint(1, 3))]
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        await asyncio.to_thread(line.service.kill)
        killed = time.time()
        await asyncio.gather(*orders)
        line.twilio.heal()
        self._outcome.states_at_kill.update(_state(call, killed) for call in self._calls())
        self._check_limits(killed)
        begun = time.monotonic()
        await asyncio.to_thread(line.service.start)
        if chance.random() < 0.15:  # once more, while it sees to what it has found
            await asyncio.to_thread(line.service.kill)
            begun = time.monotonic()
            await asyncio.to_thread(line.service.start)
        self._outcome.slowest_start = max(self._outcome.slowest_start, time.monotonic() - begun)
        await self._check_ledger(begun)
        await self._check_records(begun)
        self._outcome.rounds += 1
        self._outcome.calls += len(self._calls())

    def _calls(self) -> list[Call]:
        return [call for sid, call in self._line.twilio.calls.items() if sid not in self._before]

    async def _order(self, same: str) -> None:
        """Place a call or take one, a moment from now; and perhaps have it ended."""
        chance, twilio = self._chance, self._line.twilio
        number = same or f"+1555{chance.randrange(10**7):07d}"
        inbound, ends = chance.random() < 0.4, chance.random() < 0.3
        pickup = Pickup(
            outcome=chance.choice(["answer"] * 6 + ["busy", "no-answer"]),
            after=chance.choice([0.05, 0.05, 0.3, 1.0, LONG]),
        )
        lost = chance.choice(["", "", "", "rest-timeout", "rest-lost-reply"])
        delay, patience = chance.uniform(0.0, 0.4), chance.uniform(0.0, 1.5)
        person = _person(self._line, chance.choice(["listens", "talks", "leaves"]), chance.uniform(0.3, 2.0))
        await asyncio.sleep(delay)
        if inbound:
            await twilio.dial_in(number, OURS, person)
            return
        twilio.pickup, twilio.person = pickup, person
        if lost:
            twilio.fail_next(lost)
            twilio.fail_next("callbacks-lost", times=3)
        with contextlib.suppress(VoiceCallError, aiohttp.ClientError, OSError):
            async with control(self._line) as client:
                order = {"to": number, "message": "Hello, this is a call.", "mode": "conversation"}
                call = await client.place_call(order)
                self._ordered.add(call["callId"])
                if ends:
                    await asyncio.sleep(patience)
                    await client.end_call(call["callId"])

    def _check_limits(self, killed: float) -> None:
        """Twilio was told how long each call may last: with the dial, and within 2 s of an inbound answer."""
        for call in self._calls():
            due = call.direction == "outbound-api" or (
                call.started is not None and min(call.ended or killed, killed) - call.started > 2.0
            )
            if due and call.time_limit > LIMIT:
                self._outcome.without_limit.append(call.sid)

    async def _check_ledger(self, begun: float) -> None:
        """No call of the dead service goes on, and none was dialled twice."""
        ended = await _until(lambda: all(call.over for call in self._calls()), begun)
        self._outcome.slowest_end = max(self._outcome.slowest_end, ended)
        self._outcome.left_running += [call.sid for call in self._calls() if not call.over]
        dials = Counter(own_id(call) for call in self._calls() if call.direction == "outbound-api")
        self._outcome.dialled_twice += [call_id for call_id, times in dials.items() if times > 1]

    async def _check_records(self, begun: float) -> None:
        """Every call that somebody was told of is on record, and closed with a reason."""
        owed = {call.sid for call in self._calls() if call.direction == "inbound" and _was_taken(call)}
        async with control(self._line) as client:
            records = await client.list_calls(limit=10_000)
            while any(record["endReason"] is None for record in records):
                if time.monotonic() - begun > OWNERLESS:
                    break
                await asyncio.sleep(0.02)
                records = await client.list_calls(limit=10_000)
        self._outcome.slowest_close = max(self._outcome.slowest_close, time.monotonic() - begun)
        known = {record["callId"] for record in records} | {record["carrierCallId"] for record in records}
        self._outcome.lost += sorted((self._ordered | owed) - known)
        self._outcome.never_closed += [
            json.dumps(record) for record in records if not (record["endReason"] and record["endedAt"])
        ]


async def _until(condition: Callable[[], bool], begun: float) -> float:
    """Wait for a condition, as long as may be; seconds since `begun`."""
    while not condition() and time.monotonic() - begun < OWNERLESS:
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def _state(call: Call, moment: float) -> str:
    """How a call stood at a moment."""
    if call.ended is not None and call.ended < moment:
        return "over"
    if call.started is not None and call.started < moment:
        return "talking"
    return "ringing"


def _was_taken(call: Call) -> bool:
    """Whether the service has told Twilio that it takes a call."""
    return any(
        hook.kind == "voice" and hook.status == 200 and b"<Connect" in hook.body for hook in call.webhooks
    )


def _person(line: VendorLine, manner: str, seconds: float) -> Any:
    words = line.words("Who is calling, please?")

    async def person(phone: Person) -> None:
        if manner == "talks":
            await phone.wait_for_sound()
            await phone.say(words)
        elif manner == "leaves":
            await phone.wait(seconds)
            phone.hang_up()
        await phone.listen()

    return person
