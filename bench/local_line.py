"""How fast a call feels on the local line, with the speech engines of this machine.

Starts the service, lets it call scripted phones, and measures on the phones' own recordings:

* reply: the caller's last audible sound to the agent's first audible sound;
* yield: the caller's first audible sound over the agent to the agent's last;
* gaps: silences of more than 40 ms inside an utterance of the agent.

    python bench/local_line.py                    # five calls, one after the other
    python bench/local_line.py --at-once 10       # ten calls together
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import tempfile
from pathlib import Path

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.witness import Witness

SCRIPT = Path(__file__).parent / "talker.yaml"


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(name: str, seconds: list[float]) -> dict[str, float | int | str]:
    values = [value * 1000 for value in seconds]
    return {
        "measure": name,
        "n": len(values),
        "min_ms": round(min(values)),
        "p50_ms": round(statistics.median(values)),
        "p95_ms": round(percentile(values, 0.95)),
        "max_ms": round(max(values)),
    }


async def hold_call(client: ControlClient, folder: Path, number: int) -> tuple[Witness, dict]:
    wav, report = folder / f"{number}.wav", folder / f"{number}.json"
    call = await client.place_call(
        {
            "to": f"+1555000{number:04d}",
            "message": "Hello, this is the bench calling.",
            "mode": "conversation",
            "script": str(SCRIPT),
            "options": {"record": str(wav), "report": str(report)},
        }
    )
    async for item in client.feed(call_id=call["callId"]):
        call = item["call"]
    async with asyncio.timeout(10):
        while not report.exists():
            await asyncio.sleep(0.05)
    return Witness(wav, report), call


async def hold_calls(socket_path: Path, folder: Path, calls: int, at_once: int) -> list[tuple[Witness, dict]]:
    results: list[tuple[Witness, dict]] = []
    async with ControlClient(socket_path) as client:
        for start in range(0, calls, at_once):
            batch = range(start, min(start + at_once, calls))
            results += await asyncio.gather(*(hold_call(client, folder, number) for number in batch))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="calls in all [5, or as many as at once]")
    parser.add_argument("--at-once", type=int, default=1, help="calls at the same time [1]")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    calls = options.calls or max(5, options.at_once)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ovc-bench-") as folder:
        state = Path(folder) / "state"
        with RunningService(state, port=port, config={"maxConcurrentCalls": 100}) as service:
            served = service.cli("status").json["service"]
            results = asyncio.run(hold_calls(Path(served["socket"]), Path(folder), calls, options.at_once))
            figures = summarise(results, options.at_once)
    figures["engines"] = [engine["description"] for engine in served["engines"]]
    print(f"{figures['machine']}; {calls} calls, {options.at_once} at once; {', '.join(figures['engines'])}")
    for line in figures["rows"]:
        print(
            f"{line['measure']:8} n={line['n']:<4} min {line['min_ms']:>5}  p50 {line['p50_ms']:>5}  "
            f"p95 {line['p95_ms']:>5}  max {line['max_ms']:>5}  ms"
        )
    print(
        f"gaps over 40 ms inside an utterance: {figures['gaps']}; calls that ended well: {figures['ended_well']}"
    )
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


def summarise(results: list[tuple[Witness, dict]], at_once: int) -> dict:
    replies = [delay for witness, _ in results for delay in witness.reply_delays()]
    yields = [delay for witness, _ in results for delay in witness.yield_delays()]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "at_once": at_once,
        "calls": len(results),
        "rows": [row("reply", replies), row("yield", yields)],
        "gaps": sum(len(witness.gaps) for witness, _ in results),
        "ended_well": sum(call["endReason"] == "agent-hung-up" for _, call in results),
    }


if __name__ == "__main__":
    main()
