"""What a turn of OpenClaw's own agent costs beyond the model's time, in a real gateway with a scripted model.

Measured from the moment our Python side asks for a turn to the first text that can be spoken, less the time from the
model's getting the request to its first word:

* first: the first turn after the gateway's start, once the plugin has warmed the agent up;
* warm: later turns of the same call;
* new: the first turns of other calls in the warm gateway.

Then Python is killed, and `back` is the time until its successor is ready to place calls with the local engines.

    python bench/agent_turn.py
    python bench/agent_turn.py --turns 40 --json

OpenClaw and Node come from the cache of the tests, or from the registry that npm is configured for.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "host"))

from openclaw_rig import MODEL, OpenClaw

from openclaw_voicecall import __version__
from openclaw_voicecall.api.responder import TurnRequest
from openclaw_voicecall.host.openclaw.__main__ import own_streams
from openclaw_voicecall.host.openclaw.agent import OpenClawHost
from openclaw_voicecall.host.openclaw.plugin_manifest import plugin_manifest
from openclaw_voicecall.host.stdio import Params, Peer
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.testing.emulators.chat import ChatEmulator

BRIDGE = Path(__file__).parents[1] / "openclaw_voicecall" / "host" / "openclaw" / "bridge"
FIRST_TOKEN, TOKEN = 0.2, 0.05
"""Seconds that the model takes."""
FIRST_TARGET_MS, WARM_TARGET_MS, BACK_TARGET_MS = 1500, 200, 2000
WARM = "the agent is warm"


class Child:
    """Stands where our service stands, and takes turns without a telephone."""

    async def run(self) -> None:
        reader, writer = await own_streams()
        self._peer = Peer(reader, writer, self._handle)
        self._host = OpenClawHost(self._peer)
        self._peer.tell("ready", pid=os.getpid(), version=__version__, url="http://127.0.0.1:9", notices=[])
        await self._peer.run()

    async def _handle(self, method: str, params: Params) -> list[tuple[float, float]]:
        """When each turn was asked for, and when its first text came: seconds of the machine's monotonic clock."""
        number = str(params["callId"])
        turns = []
        for turn in range(int(str(params["message"]))):
            request = TurnRequest(
                text=f"This is question number {turn}.",
                call_id=f"call-{number}",
                turn=turn + 1,
                to_number=number,
                session_key=f"agent:main:voice:{number}",
                agent_tools=("voice_call", "web_search", "web_fetch"),
            )
            asked = time.monotonic()
            async with aclosing(self._host.agent_turn(request)) as events:
                await anext(events)
                turns.append((asked, time.monotonic()))
                async for _ in events:
                    pass
        return turns


async def measure(folder: Path, turns: int) -> dict[str, Any]:
    plugin = folder / "plugin"
    stage(plugin)
    home = folder / "home"
    home.mkdir()
    async with ChatEmulator(
        models=[MODEL],
        respond=lambda messages, body: "It is noon, as far as I can see.",
        first_token_delay=FIRST_TOKEN,
        token_delay=TOKEN,
    ) as model:
        stand_in = folder / "stand-in"
        stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).absolute()}" --child\n')
        stand_in.chmod(0o755)
        async with OpenClaw(home, model.url, plugin=plugin, settings={"python": str(stand_in)}) as openclaw:
            await openclaw.start()
            await openclaw.logged(WARM, seconds=60)
            first = await hold(openclaw, model, "+15550001000", 1)
            warm = await hold(openclaw, model, "+15550001000", turns)
            new = [
                ms for number in range(1, 6) for ms in await hold(openclaw, model, f"+1555000100{number}", 1)
            ]
            await openclaw.stop()
            openclaw.configure({"python": sys.executable, "provider": "local", "serve": {"port": 0}})
            stopped = len(openclaw.log)
            await openclaw.start()
            await openclaw.logged(WARM, since=stopped, seconds=60)
            back = await kill(openclaw)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "rows": [row("first", first), row("warm", warm), row("new", new), row("back", [back])],
        "targets_ms": {"first": FIRST_TARGET_MS, "warm": WARM_TARGET_MS, "back": BACK_TARGET_MS},
    }


async def hold(openclaw: OpenClaw, model: ChatEmulator, number: str, turns: int) -> list[float]:
    """Take turns with the agent; gives the overhead of each in ms."""
    model.moments.clear()
    params = {"callId": number, "message": str(turns)}
    taken = await openclaw.call("voicecall.continue", params, seconds=60 + 5 * turns)
    return [(heard - asked - own_time(model, asked)) * 1000 for asked, heard in taken]


def own_time(model: ChatEmulator, since: float) -> float:
    """Seconds that the model took for its first word."""
    begun = next(moment.at for moment in model.moments if moment.what == "request" and moment.at >= since)
    word = next(moment.at for moment in model.moments if moment.what == "token" and moment.at >= begun)
    return word - begun


async def kill(openclaw: OpenClaw) -> float:
    """Kill the service's process; milliseconds until the next one is ready."""
    service = json.loads((openclaw.state_dir / "voice-calls" / "service.json").read_text())
    seen = len(openclaw.log)
    os.kill(service["pid"], 9)
    begun = time.monotonic()
    await openclaw.logged("voice-call: ready at", since=seen)
    return (time.monotonic() - begun) * 1000


def stage(folder: Path) -> None:
    """The bridge as our installer puts it together: real copies, with the manifest."""
    for path in BRIDGE.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(BRIDGE)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            target.write_bytes(path.read_bytes())
    manifest = plugin_manifest(load_registry(load_entry_points=False))
    (folder / "openclaw.plugin.json").write_text(json.dumps(manifest))


def row(name: str, values: list[float]) -> dict[str, float | int | str]:
    ordered = sorted(values)
    return {
        "measure": name,
        "n": len(values),
        "min_ms": round(ordered[0]),
        "p50_ms": round(statistics.median(values)),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]),
        "max_ms": round(ordered[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=20, help="warm turns [20]")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(Child().run())
        return
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        figures = asyncio.run(measure(Path(folder), options.turns))
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{figures['machine']}; beyond the model's own {FIRST_TOKEN + TOKEN:g} s to its first word")
    for line in figures["rows"]:
        target = figures["targets_ms"].get(line["measure"])
        print(
            f"{line['measure']:8} n={line['n']:<4} min {line['min_ms']:>5}  p50 {line['p50_ms']:>5}  "
            f"p95 {line['p95_ms']:>5}  max {line['max_ms']:>5}  ms{f'   target {target}' if target else ''}"
        )


if __name__ == "__main__":
    main()
