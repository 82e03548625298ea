"""Where a call-second goes: which part of the product a sampled function works for."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from load.run import Plan, Stage, measure

PROFILED = Path(__file__).with_name("profiled.py")
WRITTEN_WITHIN = 10.0

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("media socket", ("server/media", "server/crowd", "session/streaming", "session/link", "providers/_mediastreams")),
    (
        "caller's audio",
        (
            "session/listening", "session/meter", "session/watch", "session/recorder", "session/deafness", "media/echo",
            "media/level", "media/vad", "media/tones", "media/static", "media/audio", "providers/embedded",
        ),
    ),
    (
        "transcriber",
        ("providers/openai", "providers/_socket", "providers/_events", "providers/_listening", "session/feeding"),
    ),
    (
        "responder",
        (
            "providers/chat", "session/responding", "session/rehearsal", "session/tools", "media/sentences",
            "media/speakable", "core/rehearsal",
        ),
    ),
    ("synthesizer", ("providers/elevenlabs", "session/voice", "session/chain", "session/clips")),
    ("pacing", ("media/pacer", "session/speaking", "session/delivery", "session/echoes")),
    ("journal and store", ("store/", "calls/journal", "calls/record", "observe/")),
    ("turns and calls", ("core/", "session/", "calls/")),
)  # fmt: skip
"""A part and where in the package its code is. The innermost function that lies in one of them decides."""
LIBRARIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("media socket", ("/aiohttp/web",)),
    ("vendors' sockets", ("/aiohttp/client", "/httpx", "/httpcore", "/openai/", "/h11/")),
)
"""Where no code of the package is at work: what the loop has read is taken apart before anybody is told of it."""
OURS = "/openclaw_voicecall/"
ROUND = ("BaseEventLoop._run_once", "Runner.run")
"""What turns the loop; whoever has started it works for nothing."""
MOST = 25


def part_of(stack: list[str]) -> str:
    """The part that a stack, innermost function first, works for."""
    turned = next((at for at, place in enumerate(stack) if place.endswith(ROUND)), len(stack))
    inner = stack[:turned]
    places = [place.rpartition(OURS)[2] for place in inner if OURS in place]
    for place in places:
        for part, marks in PARTS:
            if place.startswith(marks):
                return part
    if places:
        return "other of ours"
    for part, marks in LIBRARIES:
        if any(mark in place for place in inner for mark in marks):
            return part
    return "event loop" if turned < len(stack) else "other"


async def profile(plan: Plan, calls: int) -> dict[str, Any]:
    """Hold so many calls over a service that is looked at. Raises `NotStarted`."""
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        out = Path(folder) / "notes.json"
        looked_at = replace(plan.setting, inside=_inside(out))

        async def watch(stage: Stage, seconds: float) -> dict[str, Any]:
            os.kill(stage.service.pid, signal.SIGUSR1)
            await asyncio.sleep(seconds - 0.5)
            os.kill(stage.service.pid, signal.SIGUSR1)
            async with asyncio.timeout(WRITTEN_WITHIN):
                while not out.exists():
                    await asyncio.sleep(0.05)
            notes: dict[str, Any] = json.loads(out.read_text())
            return notes

        row = await measure(replace(plan, setting=looked_at), calls, watch)
    notes = row.pop("beside")
    call_seconds = (plan.seconds - 0.5) * row["live"]
    return {"row": row, **shares(notes, call_seconds)}


def _inside(out: Path) -> tuple[str, ...]:
    """Stands before `python -m openclaw_voicecall`, and swallows the interpreter that is named there."""
    become = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:3], *sys.argv[4:]])"
    return (sys.executable, "-S", "-c", become, str(PROFILED), str(out))


def shares(notes: dict[str, Any], call_seconds: float) -> dict[str, Any]:
    """Milliseconds of a call-second by part, and the functions that take most of them."""
    main, garbage = notes["main seconds"], notes["garbage seconds"]
    sampled = sum(seconds for _, seconds in notes["stacks"]) or 1.0
    # Collections happen inside of whatever function makes the last object, so each gives its share of them back.
    scale = 1000 / call_seconds * (main - garbage) / sampled
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for stack, seconds in notes["stacks"]:
        parts[part_of(stack)] += seconds * scale
        functions[_short(stack[0])] += seconds * scale
    parts["garbage collection"] = 1000 * garbage / call_seconds
    parts["other threads"] = 1000 * (notes["all seconds"] - main) / call_seconds
    return {
        "ms per call-second": round(1000 * notes["all seconds"] / call_seconds, 3),
        "parts": {part: round(ms, 3) for part, ms in parts.most_common()},
        "functions": {name: round(ms, 3) for name, ms in functions.most_common(MOST)},
        "looks": notes["looks"],
    }


def _short(place: str) -> str:
    """A function's place without the folders that all have in common."""
    path, _, function = place.rpartition(":")
    for root in ("site-packages/", "openclaw_voicecall/", "/lib/"):
        if root in path:
            head = "" if root != "openclaw_voicecall/" else root
            return f"{head}{path.rpartition(root)[2]} {function}"
    return f"{path} {function}"
