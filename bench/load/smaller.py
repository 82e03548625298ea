"""What is measured besides many calls: a start, `--help`, calls in which nobody talks, and the store under load."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from load.process import pinned, usage
from load.run import Plan, Stage, measure, spread
from load.service import free_port, serving
from load.vendors import Vendors
from openclaw_voicecall.server.client import ControlClient

STARTS, HELPS = 6, 10
IDLE_CALLS = 10
STORE_CALLS = 25
READ_EVERY = 0.05
"""Seconds between two questions to the store."""
_TIMED = (
    "import os, sys, time; begun = time.perf_counter();"
    "pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ);"
    "_, _, used = os.wait4(pid, 0); print((time.perf_counter() - begun) * 1000, used.ru_maxrss)"
)
"""Runs a command and tells its time and memory. A process counts the memory of whoever started it, too, so that has to
be a small one."""


async def cold_start(plan: Plan) -> dict[str, Any]:
    """From nothing to the `ready` line, several times; the first one may have to compile the package."""
    took, held = [], []
    async with Vendors(plan.script) as vendors:
        for _ in range(STARTS):
            with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
                running = serving(Path(folder), free_port(), vendors.url, calls=10, setting=plan.setting)
                begun = time.perf_counter()
                service = await asyncio.to_thread(running.__enter__)
                took.append((time.perf_counter() - begun) * 1000)
                held.append(usage(service.pid).memory / 1e6)
                await asyncio.to_thread(running.__exit__, None, None, None)
    return {"ready ms": spread(took[1:]), "first ready ms": round(took[0]), "memory MB": spread(held)}


def show_help(plan: Plan) -> dict[str, Any]:
    """`openclaw-voicecall --help`, several times."""
    took, held = [], []
    command = [sys.executable, "-m", "openclaw_voicecall", "--help"]
    for _ in range(HELPS):
        timed = [*pinned(plan.setting.cores), sys.executable, "-S", "-c", _TIMED, *command]
        said = subprocess.run(timed, check=True, capture_output=True, text=True).stdout.split()
        took.append(float(said[-2]))
        held.append(int(said[-1]) / 1000)
    return {"ms": spread(took[1:]), "memory MB": spread(held)}


async def idle_call(plan: Plan) -> dict[str, Any]:
    """Calls in which nobody says a word, against a service without calls."""
    quiet = replace(
        plan, seconds=min(plan.seconds, 10.0), ramp=2.0, settle=6.0, script=replace(plan.script, silent=True)
    )
    alone = await measure(replace(quiet, ramp=0.0, settle=0.0), 0)
    calls = await measure(quiet, IDLE_CALLS)
    return {
        "calls": IDLE_CALLS,
        "cpu ms per call-second": calls["cpu ms per call-second"],
        "memory KB per call": calls["memory KB per call"],
        "own memory KB per call": calls["own memory KB per call"],
        "cpu ms per second without calls": round(10 * alone["cpu percent of a core"], 1),
        "memory MB without calls": alone["memory MB"],
        "verdict": calls["verdict"],
    }


async def store_under_load(plan: Plan) -> dict[str, Any]:
    """Records and journals read, as the commands do it, while calls write theirs."""
    row = await measure(plan, STORE_CALLS, _read_store)
    figures: dict[str, Any] = row.pop("beside")
    return {
        "calls": STORE_CALLS,
        **figures,
        "entries per call-second": round(figures["entries written"] / row["seconds"] / STORE_CALLS, 2),
        "added ms": row["added ms"],
        "verdict": row["verdict"],
    }


async def _read_store(stage: Stage, seconds: float) -> dict[str, Any]:
    state = stage.service.state_dir
    client_of = ControlClient.of(json.loads((state / "service.json").read_text()))
    took: dict[str, list[float]] = {"list ms": [], "record ms": [], "journal ms": []}
    before = await asyncio.to_thread(_written, state / "calls.db")
    begun = time.perf_counter()
    async with client_of as client:
        ids = [call["callId"] for call in await client.list_calls(limit=STORE_CALLS)]
        for call_id in cycle(ids):
            questions: dict[str, Callable[[], Awaitable[Any]]] = {
                "list ms": lambda: client.list_calls(limit=100),
                "record ms": lambda wanted=call_id: client.get_call(wanted),
                "journal ms": lambda wanted=call_id: client.journal(wanted),
            }
            for name, ask in questions.items():
                asked = time.perf_counter()
                await ask()
                took[name].append((time.perf_counter() - asked) * 1000)
                await asyncio.sleep(READ_EVERY)
            if time.perf_counter() - begun > seconds - 1:
                break
    after = await asyncio.to_thread(_written, state / "calls.db")
    return {
        "entries written": after[0] - before[0],
        "entries written per second": round((after[0] - before[0]) / (time.perf_counter() - begun), 1),
        "bytes per entry": round((after[1] - before[1]) / max(1, after[0] - before[0])),
        "read": {name: spread(values) for name, values in took.items()},
    }


def _written(path: Path) -> tuple[int, int]:
    """Journal entries in the database, and the bytes of their data."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        entries, size = database.execute("SELECT count(*), total(length(data)) FROM journal").fetchone()
    return int(entries), int(size)
