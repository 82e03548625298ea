"""One measured run: vendors, service and callers for a number of calls, and the figures of it."""

import asyncio
import gc
import math
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from load.carrier import Carrier
from load.http import now
from load.process import Usage, usage
from load.script import Script
from load.service import Setting, free_port, serving, webhook
from load.vendors import Vendors
from openclaw_voicecall.testing.service import RunningService

GRACE = 3.0
"""Seconds in which a transcript has to lead to a request at the model."""
LATE_MS = 20
"""A row in which the load itself was later than this, for one in a hundred frames or timers, does not count."""
ADDED_MS, STARVED_PERCENT = 100.0, 0.1
"""What a row may have to be called good."""
EARLY_MS = 150
"""A turn that begins so much before the sum of the vendors was begun ahead."""
NEWS = 0.1
"""Seconds that the load waits after it has read /proc, which keeps it from its work for some milliseconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes."""

    seconds: float = 24.0
    """What is measured."""
    ramp: float = 8.0
    """Seconds in which all calls begin, at least."""
    rate: float = 20.0
    """Calls that begin in a second, at most."""
    settle: float = 2.0
    script: Script = field(default_factory=Script)
    setting: Setting = field(default_factory=Setting)


@dataclass
class Stage:
    """What runs while it is measured."""

    vendors: Vendors
    service: RunningService
    carrier: Carrier


Beside = Callable[[Stage, float], Awaitable[Any]]
"""What is done to the service besides, for so many seconds, while it is measured."""


@asynccontextmanager
async def staged(plan: Plan, calls: int) -> AsyncIterator[Stage]:
    """Vendors and a fresh service, with nobody calling yet."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        async with Vendors(plan.script) as vendors:
            running = serving(Path(folder), port, vendors.url, calls=calls, setting=plan.setting)
            service = await asyncio.to_thread(running.__enter__)
            try:
                yield Stage(vendors, service, Carrier(plan.script, vendors, webhook(port), port))
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)


async def measure(plan: Plan, calls: int, beside: Beside | None = None) -> dict[str, Any]:
    """Hold so many calls at a time. Gives a row of figures. Raises `NotStarted`."""
    async with staged(plan, calls) as stage:
        await asyncio.sleep(1.0)
        idle = usage(stage.service.pid)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as http:
            # The load's own pauses would look like the service's.
            gc.collect()
            gc.disable()
            try:
                await _begin(plan, stage.carrier, http, calls)
                before, after, other = await _window(plan, stage, beside)
                row = figures(plan, stage, calls, idle, before, after)
            finally:
                gc.enable()
                await stage.carrier.hang_up(http)
        stderr = stage.service.stderr
    row["service said"] = stderr.strip().splitlines()[-5:]
    if other is not None:
        row["beside"] = other
    return row


async def _begin(plan: Plan, carrier: Carrier, http: aiohttp.ClientSession, calls: int) -> None:
    begun = now()
    ramp = max(plan.ramp if calls > 1 else 0.0, calls / plan.rate)
    ringing = []
    for number in range(calls):
        await asyncio.sleep(max(0.0, begun + ramp * number / calls - now()))
        ringing.append(asyncio.create_task(carrier.ring(http, number + 1)))
    await asyncio.gather(*ringing)
    await asyncio.sleep(max(0.0, begun + ramp - now()) + plan.settle)


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    service: Usage
    load: Usage


async def _window(plan: Plan, stage: Stage, beside: Beside | None) -> tuple[_Moment, _Moment, Any]:
    before = _Moment(now(), usage(stage.service.pid), usage(os.getpid()))
    await asyncio.sleep(NEWS)
    stage.vendors.timing.late.clear()
    stage.carrier.figures.counting = True
    besides = asyncio.ensure_future(beside(stage, plan.seconds)) if beside else None
    await asyncio.sleep(plan.seconds)
    stage.carrier.figures.counting = False
    after = _Moment(now(), usage(stage.service.pid), usage(os.getpid()))
    return before, after, await besides if besides else None


def figures(
    plan: Plan, stage: Stage, calls: int, idle: Usage, before: _Moment, after: _Moment
) -> dict[str, Any]:
    """All that is known of a run."""
    measured, vendors, script = stage.carrier.figures, stage.vendors, plan.script
    live, span = stage.carrier.live, after.at - before.at
    cpu = after.service.cpu - before.service.cpu
    waited = after.service.waited - before.service.waited
    floor, vad = script.sum_of_latencies, script.latencies.speech_start
    added = [turn - floor for turn in measured.turns]
    lost = lost_transcripts(stage, before.at, after.at)
    row: dict[str, Any] = {
        "calls": calls,
        "live": live,
        "seconds": round(span, 2),
        "cpu ms per call-second": round(1000 * cpu / (live * span), 3) if live else None,
        "cpu percent of a core": round(100 * cpu / span, 1),
        "of it in the kernel": round(100 * (after.service.system - before.service.system) / cpu)
        if cpu
        else 0,
        "waited for a core percent": round(100 * waited / span, 1),
        "memory MB": round(after.service.memory / 1e6, 1),
        "memory MB idle": round(idle.memory / 1e6, 1),
        "memory KB per call": round((after.service.memory - idle.memory) / 1e3 / live) if live else None,
        "own memory KB per call": round((after.service.own - idle.own) / 1e3 / live) if live else None,
        "threads": after.service.threads,
        "processes": after.service.processes,
        "sum of vendors ms": floor,
        "turn ms": spread(measured.turns),
        "added ms": spread(added),
        "early percent": round(100 * sum(value <= -EARLY_MS for value in added) / len(added))
        if added
        else None,
        "clear ms": spread(measured.clears),
        "clear after detection ms": spread([clear - vad + 20 for clear in measured.clears]),
        "hush ms": spread(measured.hushes),
        "hush after detection ms": spread([hush - vad for hush in measured.hushes]),
        "setup ms": spread(measured.setups),
        "turns": len(measured.turns),
        "barge-ins": len(measured.hushes),
        "starved percent": round(100 * measured.starved_ticks / max(1, measured.agent_ticks), 3),
        "starvations": measured.starvations,
        "agent seconds": measured.agent_ticks / 50,
        "messages of the service": measured.messages,
        "bytes of agent audio": measured.audio_bytes,
        "frames of callers": measured.frames,
        "leaked ms": measured.leaked_ms,
        "transcripts lost": lost,
        "transcripts unclear": vendors.account.unclear,
        "replies right": measured.right,
        "replies wrong": measured.wrong,
        "replies foreign": measured.foreign,
        "replies missed": measured.missed + measured.stalled,
        "model asked for nothing said": vendors.account.unasked_for,
        "model asked more than once": sum(times > 1 for times in vendors.account.asked.values()),
        "calls failed": measured.failed,
        "calls dropped": measured.dropped,
        "refused": dict(vendors.refused.most_common(5)),
        "errors": dict(measured.errors.most_common(5)),
        "load": {
            "late ms": spread(measured.late),
            "timers late ms": spread(vendors.timing.late),
            # The service is a child of the load.
            "cpu percent of a core": round(100 * (after.load.cpu - before.load.cpu - cpu) / span, 1),
            "waited for a core percent": round(
                100 * (after.load.waited - before.load.waited - waited) / span, 1
            ),
        },
        "vendors": dict(vendors.account.counts),
    }
    return row | {"verdict": verdict(row)}


def lost_transcripts(stage: Stage, since: float, until: float) -> int:
    """Utterances that were spoken to their end, but whose words never reached the model."""
    account, script = stage.vendors.account, stage.carrier.figures
    return sum(
        since <= at <= until - GRACE and number not in account.asked for number, at in script.spoken.items()
    )


def verdict(row: dict[str, Any]) -> str:
    """`ok`, or what is wrong with a row."""
    load = row["load"]
    late = max(each["p99"] or 0 for each in (load["late ms"], load["timers late ms"]))
    wrong = [
        f"{name}: {row[name]}"
        for name in (
            "transcripts lost", "transcripts unclear", "replies wrong", "replies foreign", "replies missed",
            "model asked for nothing said", "calls failed", "calls dropped", "refused", "errors",
        )
        if row[name]
    ]  # fmt: skip
    if row["starved percent"] > STARVED_PERCENT:
        wrong.append("starvation")
    if (row["added ms"]["p95"] or 0) > ADDED_MS:
        wrong.append("latency")
    if late > LATE_MS:
        wrong.append("does not count: the load itself was late")
    return ", ".join(wrong) or "ok"


def spread(values: list[float]) -> dict[str, float | int | None]:
    """How values are spread, each one that was measured."""
    ordered = sorted(values)

    def share(percent: int) -> float | None:
        return round(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)], 2) if ordered else None

    lowest = round(ordered[0], 2) if ordered else None
    return {
        "n": len(ordered),
        "min": lowest,
        "p50": share(50),
        "p95": share(95),
        "p99": share(99),
        "max": share(100),
    }


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as it is kept with the figures."""
    kept = asdict(plan)
    kept["setting"].pop("inside")
    return kept
