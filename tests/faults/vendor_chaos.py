"""Calls in which a vendor is cut, stalls or lies at a random moment: held, measured and judged.

A run is a seed. `chaos_plans` draws from it what happens, `chaos_line` is what it happens to. What is judged is what
the telephone heard and what was written down.
"""

import asyncio
import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from statistics import median, quantiles
from typing import Any

from chaos_line import APOLOGY, FILLERS, GOODBYE, RECONNECTED, ChaosLine, chaos_line
from chaos_plans import BEFORE, FOR_GOOD, GREETING, KINDS, Kind, Plan, Strike, draw
from hearing import BRIDGE
from vendor_line import OURS

from openclaw_voicecall.api.wire import unix_time
from openclaw_voicecall.errors import CallNotFound, VoiceCallError
from openclaw_voicecall.testing.emulators.twilio import Call, Ended, Person
from openclaw_voicecall.testing.emulators.twilio_phone import AUDIBLE, RATE

LONGEST_SILENCE = 6.0
"""Seconds in which a caller hears something, whatever fails."""
JITTER = 0.3
"""Seconds that this harness may add on two shared cores: its emulators, proxies and telephones are one process."""
PAUSE = 0.5
"""Seconds of quiet after which the caller takes the agent to be done."""
WRONG_ANSWER = 1.5
"""Seconds of quiet after which the caller takes something else than an answer for all that there is to come."""
TRIES = 4
"""How often a question is asked before the caller gives up."""
CALLER_LIMIT = 45.0
"""Seconds after which the caller has had enough."""
RECORD_LIMIT = 25.0
"""Seconds until a record must be closed after its call."""

_SOUND = bytes((~code & 0x7F) >= AUDIBLE for code in range(256))
_SILENCE = re.compile(rb"\x00+")
_AGAIN = (APOLOGY[-1], RECONNECTED[-1])
"""What ends with one of these asks the caller to speak."""
_CRASH = re.compile(r" ERROR +(?!aiohttp\.server)|never retrieved|Unclosed")
"""What is in the log when something of ours broke. What aiohttp says of spoilt requests is no fault of the service."""


@dataclass(slots=True)
class Run:
    """What came of one seed."""

    plan: Plan
    seconds: float = 0.0
    call: Call | None = None
    record: dict[str, Any] = field(default_factory=dict)
    journal: list[dict[str, Any]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    asked_first: set[int] = field(default_factory=set)
    """Which of the caller's utterances were new questions."""
    answered: int = 0
    struck: set[str] = field(default_factory=set)
    """Hops at which a fault had an effect."""
    events: list[tuple[float, str]] = field(default_factory=list)
    """What the harness did, by seconds of `time.time`."""
    log: str = ""
    silence: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def named(self) -> set[str]:
        """Hops that the journal says have failed."""
        return {entry["data"]["hop"] for entry in self.journal if "hop" in entry["data"]}

    @property
    def harmed(self) -> bool:
        """Whether the caller could tell that something was wrong."""
        said = self.call.said_by_carrier if self.call is not None else []
        whole = " ".join(self.heard)
        asked_again = self.call is not None and len(self.call.line.said) > len(self.asked_first)
        told = any(text in whole for text in (APOLOGY[0], RECONNECTED[0], GOODBYE[0]))
        return bool(said) or asked_again or told or self.answered < len(self.plan.talk)

    def note(self, text: str) -> None:
        """Put something on the timeline."""
        self.events.append((time.time(), text))

    def __str__(self) -> str:
        begin = min((at for at, _ in self.events), default=0.0)
        answer = self.call.started if self.call is not None and self.call.started else begin
        rows = [(at, f"  {text}") for at, text in self.events]
        for entry in self.journal:
            at = unix_time(entry["at"]) or 0.0
            told = {key: value for key, value in entry["data"].items() if value not in ("", None)}
            orders = " ".join(command["command"] for command in entry["commands"])
            rows.append((at, f"    {entry['event']} {told} {orders}"[:230]))
        timeline = "\n".join(f"{at - answer:7.2f}{text}" for at, text in sorted(rows, key=itemgetter(0)))
        end = f"ended by {self.call.ended_by}, {self.call.verbs}" if self.call is not None else "no call"
        return (
            f"{self.plan}\n  repeat with CHAOS_SEED={self.plan.seed}\n"
            + "".join(f"  PROBLEM {problem}\n" for problem in self.problems)
            + f"  silence {self.silence:.2f} s; struck {sorted(self.struck)}; named {sorted(self.named)}; {end}\n"
            + f"  record: {self.record.get('endReason')} {self.record.get('detail')!r}\n  heard: {self.heard}\n"
            + f"{timeline}\n{self.log}"
        )


def longest_unheard(heard: bytes, said: Sequence[tuple[float, bytes]], new: Iterable[int]) -> float:
    """The longest time, in seconds, in which a caller heard nothing although something was due.

    A new question begins it anew. While the same question is asked again nothing can be due, so that time is taken out;
    but what was waited before it still counts.

    Args:
        heard: What the caller heard from the answer on, mu-law at 8000 Hz.
        said: What the caller said: seconds since the answer, and the audio.
        new: Which of it was a new question.
    """
    sound, new = bytearray(bytes(heard).translate(_SOUND)), set(new)
    for index, (at, audio) in enumerate(said):
        begin = round(at * RATE)
        count = max(0, min(len(audio), len(sound) - begin))
        if index in new:
            sound[begin : begin + count] = b"\x01" * count
        else:
            piece = sound[begin : begin + count]
            sound[begin : begin + count] = piece if 1 in piece else b"\x02" * count
    waited = sound.translate(None, b"\x02")
    return max((len(found[0]) for found in _SILENCE.finditer(waited)), default=0) / RATE


class Caller:
    """Somebody who asks one thing after the other, asks again when told to or when nothing is heard, and hangs up.

    Args:
        line: Where.
        run: What they do is noted in it.
    """

    def __init__(self, line: ChaosLine, run: Run) -> None:
        self._line = line
        self._run = run

    async def __call__(self, phone: Person) -> None:
        """Be on the telephone."""
        try:
            async with asyncio.timeout(CALLER_LIMIT):
                await self._talk(phone)
        except TimeoutError:
            self._run.note("caller has had enough")
        phone.hang_up()

    async def _talk(self, phone: Person) -> None:
        run = self._run
        await self._listen(phone, 0.0, ())
        for question, answer in run.plan.talk:
            run.asked_first.add(len(phone.said))
            for _ in range(TRIES):
                await phone.wait(run.plan.thinks)
                run.note(f"caller asks: {question}")
                asked = phone.now
                await phone.say(self._line.question(question))
                if await self._listen(phone, asked, (answer,)):
                    run.answered += 1
                    break
            else:
                return  # nobody asks for ever

    async def _listen(self, phone: Person, since: float, wanted: tuple[str, ...]) -> bool:
        """Listen until this is heard (or anything), or the caller has to speak; whether it was heard."""
        begin = round(since * RATE)
        quiet_since = phone.now
        while True:
            await phone.wait(0.1)
            sound = bytes(phone.heard[begin:]).translate(_SOUND)
            last = (begin + sound.rfind(1) + 1) / RATE if 1 in sound else 0.0
            quiet = phone.now - max(last, quiet_since)
            if last <= quiet_since or phone.now - last < PAUSE:
                if quiet > self._run.plan.patience:
                    self._run.note("caller hears nothing")
                    return False
                continue
            heard = " ".join(self._line.heard(bytes(phone.heard[begin:])))
            if not wanted or any(text in heard for text in wanted):
                self._run.note(f"caller heard: {heard}")
                return True
            if any(text in heard for text in _AGAIN):
                self._run.note(f"caller is asked to speak: {heard}")
                return False
            for filler in FILLERS:
                heard = heard.replace(filler, "")
            if not heard.strip():
                quiet_since = last
            elif quiet > WRONG_ANSWER:
                self._run.note(f"caller heard something else: {heard}")
                return False


async def hold(line: ChaosLine, plan: Plan) -> Run:
    """Hold the call of a plan to its end, and judge it."""
    run, began = Run(plan), time.monotonic()
    line.begin()
    striking: list[asyncio.Task[None]] = []

    def strike(*, before: bool) -> None:
        for each in plan.strikes:
            if (each.at == BEFORE) == before:
                striking.append(asyncio.create_task(_strike(line, run, each)))

    try:
        strike(before=True)
        call_id = await _begin(line, run)
        if run.call is not None:
            with contextlib.suppress(Ended):
                await run.call.until_answered()
                strike(before=False)
            async with asyncio.timeout(CALLER_LIMIT + 15.0):
                await run.call.finished()
        await _read_record(line, run, call_id)
    except (TimeoutError, VoiceCallError) as error:
        run.problems.append(f"the call or its record did not end: {error!r}")
    finally:
        for task in striking:
            task.cancel()
        await asyncio.gather(*striking, return_exceptions=True)
    run.struck |= {each.hop for each in plan.strikes if line.strikes(each.vendor)}
    line.heal()
    await _judge(line, run)
    run.log, run.seconds = line.log(), time.monotonic() - began
    return run


async def _strike(line: ChaosLine, run: Run, strike: Strike) -> None:
    if strike.at != BEFORE:
        await asyncio.sleep(strike.at)
    if run.call is not None and run.call.over:
        return
    run.note(f"STRIKES {strike}")
    await line.strike(strike)
    if strike.lasts != FOR_GOOD:
        run.note(f"HEALED {strike.vendor}")


async def _begin(line: ChaosLine, run: Run) -> str:
    """Call, or be called; returns our id of the call where it is known."""
    number, person = f"+1555{run.plan.seed % 10_000_000:07d}", Caller(line, run)
    if run.plan.inbound:
        run.call = await line.twilio.dial_in(number, OURS, person)
        return ""
    line.twilio.person = person
    order = {"to": number, "message": GREETING, "mode": "conversation"}
    record = await line.client.place_call(order)
    async with asyncio.timeout(60.0):
        while not record["endReason"]:
            placed = [c for c in line.twilio.calls.values() if c.to_number == number and not c.over]
            if placed:
                run.call = placed[-1]
                break
            await asyncio.sleep(0.05)
            record = await line.client.get_call(record["callId"])
    return str(record["callId"])


async def _read_record(line: ChaosLine, run: Run, call_id: str) -> None:
    record: dict[str, Any] = {"endReason": None}
    key = call_id or (run.call.sid if run.call is not None else "")
    async with asyncio.timeout(RECORD_LIMIT):
        while not record["endReason"]:
            await asyncio.sleep(0.05)
            with contextlib.suppress(
                CallNotFound
            ):  # the carrier's id is in the store a moment after the call
                record = await line.client.get_call(key)
    run.record, run.journal = record, await line.client.journal(record["callId"])


async def _judge(line: ChaosLine, run: Run) -> None:
    """Find what was promised and not kept."""
    run.problems += _judge_record(run)
    if run.call is not None and run.call.answered:
        run.problems += _judge_call(line, run)
    async with asyncio.timeout(5.0):
        while live := (await line.client.status())["calls"]:
            await asyncio.sleep(0.05)
    if live:
        run.problems.append("a slot is still taken")
    crashes = [text for text in line.log().splitlines() if _CRASH.search(text)]
    run.problems += [f"in the log: {text}" for text in crashes[:3]]


def _judge_record(run: Run) -> list[str]:
    problems = []
    reason = run.record.get("endReason")
    if not reason or reason == "internal-error":
        problems.append(f"the record is closed with {reason}")
    garbled = any(strike.garbles for strike in run.plan.strikes)
    if run.struck and run.harmed and not garbled and not run.named & run.struck:
        problems.append(f"struck was {sorted(run.struck)}, and the record names {sorted(run.named)}")
    if run.named and not run.struck:
        problems.append(f"nothing was struck, and the record names {sorted(run.named)}")
    return problems


def _judge_call(line: ChaosLine, run: Run) -> list[str]:
    call = run.call
    assert call is not None
    problems = []
    run.heard = line.heard(bytes(call.line.heard))
    run.silence = longest_unheard(call.line.heard, call.line.said, run.asked_first)
    if run.silence > LONGEST_SILENCE + JITTER:
        problems.append(f"nothing was heard for {run.silence:.2f} s")
    if call.application_error is not None:
        problems.append(f"Twilio says that an application error has occurred: {call.application_error}")
    # Where a hang-up fails, the stream is closed instead: then Twilio says that it takes a moment before it asks us.
    words = [text for text in run.heard if text != BRIDGE]
    if call.ended_by != "person" and not (words and words[-1].endswith(GOODBYE[-1])):
        problems.append(f"the call was ended by {call.ended_by} without a word: {run.heard[-2:]}")
    if call.ended_by in ("time-limit", "network", "emulator"):
        problems.append(f"the call was ended by {call.ended_by}")
    hooks = [hook for hook in call.webhooks if hook.problem is not None]
    problems += [f"{hook.kind} webhook: {hook.status} {hook.problem}" for hook in hooks]
    return problems


async def hold_all(seeds: Sequence[int], lanes: int) -> list[Run]:
    """Hold the calls of many seeds, `lanes` at a time, each lane on one service after the other of what it needs.

    Args:
        seeds: The runs.
        lanes: Services at a time; at least one of each kind that is needed.
    """
    waiting: dict[Kind, deque[Plan]] = {kind: deque() for kind in KINDS}
    for plan in map(draw, seeds):
        waiting[plan.kind].append(plan)
    places = _places({kind: len(plans) for kind, plans in waiting.items() if plans}, lanes)
    runs: list[Run] = []

    async def lane(kind: Kind) -> None:
        async with chaos_line(kind) as line:
            while waiting[kind]:
                run = await hold(line, waiting[kind].popleft())
                runs.append(run)
                if run.problems or os.environ.get("CHAOS_VERBOSE"):
                    print(f"\n{run}", flush=True)

    await asyncio.gather(*map(lane, places))
    return runs


def _places(calls: Mapping[Kind, int], lanes: int) -> list[Kind]:
    """What kind of service each lane has: one for every kind, and the rest where most calls wait for each."""
    places = list(calls)
    while len(places) < min(lanes, sum(calls.values())):
        open_kinds = [kind for kind in calls if places.count(kind) < calls[kind]]
        places.append(max(open_kinds, key=lambda kind: calls[kind] / places.count(kind)))
    return places


def chosen_seeds(usual: Iterable[int]) -> list[int]:
    """The seeds to hold: those of `CHAOS_SEED` (`7`, `7,9` or `100-120`), else the usual ones."""
    wanted = os.environ.get("CHAOS_SEED", "")
    if not wanted:
        return list(usual)
    seeds: list[int] = []
    for part in wanted.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def figures(runs: Sequence[Run]) -> dict[str, Any]:
    """What is worth keeping of many runs."""
    silences = sorted(run.silence for run in runs)
    return {
        "runs": len(runs),
        "failed": sum(bool(run.problems) for run in runs),
        "struck": sum(bool(run.struck) for run in runs),
        "harmed": sum(bool(run.struck) and run.harmed for run in runs),
        "silence_p50": round(median(silences), 2),
        "silence_p95": round(quantiles(silences, n=20)[-1], 2) if len(silences) > 1 else silences[0],
        "silence_max": round(silences[-1], 2),
        "seconds_per_run": round(sum(run.seconds for run in runs) / len(runs), 1),
    }


def require_promises(runs: Sequence[Run]) -> None:
    """Fail with everything about the runs in which a promise was broken."""
    broken = [run for run in runs if run.problems]
    told = [f"{run.plan}: {problem}" for run in broken for problem in run.problems]
    assert not broken, f"{len(broken)} of {len(runs)} runs; their timelines are above:\n" + "\n".join(told)
