"""What calls cost when there are many, and what else the service costs: one command, figures that can be repeated.

Starts the real service on one core, with the configuration of a Twilio user, and on another core everybody it talks to:
Twilio with callers who follow a script, OpenAI that transcribes, a chat model, ElevenLabs. The vendors take their time
as programmed. Each utterance carries the number of its call and turn in its sound, the transcript repeats it, the model
repeats it, and so does the sound of the reply; so nothing can be lost or mixed up unnoticed.

    python bench/many_calls.py                                  # everything, about six minutes
    python bench/many_calls.py --only calls --sizes 1,50,200    # many calls alone
    python bench/many_calls.py --profile --sizes 50             # where a call-second goes

docs/performance.md says what each figure is.
"""

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from load import report, smaller
from load.engines import local_engines
from load.process import cores, supported
from load.profile import profile
from load.run import LATE_MS, Plan, as_json, measure
from load.script import Script
from load.service import NotStarted, Setting

from openclaw_voicecall.testing.service import ServiceCrashed

SIZES = (1, 10, 25, 50, 100)
PROFILED = 25
PARTS = ("calls", "start", "help", "idle", "store", "engines")
SECONDS = 24.0
FEW, LONGER = 5, 60.0
"""Fewer calls than these are measured for so many seconds, to have turns to count."""


def main() -> None:
    """Measure, print and save."""
    options = arguments()
    if not supported():
        sys.exit("many_calls.py reads what processes use from Linux's /proc, so it runs on Linux only")
    # The commands whose start is measured may keep their bytecode, as those of an installation.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    plan = Plan(
        seconds=options.seconds or SECONDS,
        ramp=options.ramp,
        setting=Setting(
            cores=place(options), workers=options.workers, speculation=not options.no_speculation
        ),
        script=Script(barge_every=options.barge_every),
    )
    try:
        figures = run(plan, options)
    except NotStarted as error:
        sys.exit(f"the service under test did not start: {error}")
    except ServiceCrashed as error:
        sys.exit(f"the service under test did not live to the end: {error}")
    for path in report.save(figures, options.out):
        print(f"wrote {path}")
    if options.check and any(row["verdict"] != "ok" for row in figures.get("sizes", [])):
        sys.exit(1)


def place(options: argparse.Namespace) -> tuple[int, ...]:
    """Give the load its cores; returns those of the service."""
    mine = cores()
    taken = options.server_cores or tuple(mine[: options.workers])
    if strangers := set(taken) - set(mine):
        sys.exit(f"core {min(strangers)} is none of those that may be used: {', '.join(map(str, mine))}")
    if rest := set(mine) - set(taken):
        os.sched_setaffinity(0, rest)
    else:
        print("service and load share all cores, so the load takes time from what it measures", flush=True)
    return taken


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = ",".join(map(str, SIZES))
    parser.add_argument(
        "--sizes", type=numbers, help=f"calls at a time, with commas [{sizes}; with --profile {PROFILED}]"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"measured seconds of a size [{SECONDS:g}, below {FEW} calls {LONGER:g}]",
    )
    parser.add_argument(
        "--ramp", type=float, default=8.0, help="seconds in which the calls begin, at least [8]"
    )
    parser.add_argument("--only", help=f"parts with commas, of {', '.join(PARTS)} [all]")
    parser.add_argument("--profile", action="store_true", help="say where a call-second goes, for one size")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service [1]")
    parser.add_argument("--no-speculation", action="store_true", help="set endpointing.speculate to false")
    parser.add_argument(
        "--barge-every", type=int, default=3, help="every so many replies are talked over; 0 for none [3]"
    )
    parser.add_argument(
        "--server-cores", type=numbers, help="cores of the service, with commas [the first; one a worker]"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/bench"), help="folder of JSON and picture [out/bench]"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a size is not good")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table for a page of documentation, too"
    )
    options = parser.parse_args()
    options.parts = PARTS if options.only is None else tuple(options.only.split(","))
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    options.sizes = options.sizes or ((PROFILED,) if options.profile else SIZES)
    if options.profile and options.workers > 1:
        parser.error("--profile looks at one process; leave out --workers")
    if min(options.sizes) < 1 or options.workers < 1 or (options.seconds or 1) <= 0:
        parser.error("--sizes, --workers and --seconds are above 0")
    return options


def numbers(text: str) -> tuple[int, ...]:
    """Numbers with commas."""
    return tuple(int(number) for number in text.split(","))


def run(plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for. Raises `NotStarted`."""
    loop = "uvloop" if _has_uvloop() else "asyncio"
    figures: dict[str, Any] = {
        "machine": report.machine(loop, len(plan.setting.cores)),
        "plan": as_json(plan),
    }
    where = figures["machine"]
    print(
        f"{where['cores']} cores, {where['processor'] or where['architecture']}, Python {where['python']}, "
        f"commit {where['commit']}, {where['date']}; load on {loop}",
        flush=True,
    )
    if options.profile:
        figures["profile"] = wait(profile(plan, options.sizes[0]))
        print(report.show_profile(figures["profile"]))
        print(f"{report.head()}\n{report.line(figures['profile']['row'])}")
        return figures
    if "calls" in options.parts:
        print(report.head(), flush=True)
        figures["sizes"] = []
        for size in options.sizes:
            seconds = options.seconds or (LONGER if size < FEW else SECONDS)
            row = wait(measure(replace(plan, seconds=seconds), size))
            figures["sizes"].append(row)
            print(report.line(row), flush=True)
        if any("load itself" in row["verdict"] for row in figures["sizes"]):
            print(
                f"rows in which the load was more than {LATE_MS} ms late do not count: they tell of the load"
            )
        if options.markdown:
            print(report.markdown(figures["sizes"]))
    for name in options.parts:
        if name != "calls":
            figures[name] = smaller_part(name, plan)
            print(report.show_smaller(name, figures[name]), flush=True)
    return figures


def smaller_part(name: str, plan: Plan) -> dict[str, Any]:
    """One of the measurements besides many calls."""
    match name:
        case "start":
            return wait(smaller.cold_start(plan))
        case "help":
            return smaller.show_help(plan)
        case "idle":
            return wait(smaller.idle_call(plan))
        case "store":
            return wait(smaller.store_under_load(plan))
        case _:
            # The engines run in children of this process, and want no loop but the usual one.
            return asyncio.run(local_engines())


def wait(work: Any) -> dict[str, Any]:
    """Run something on the quickest loop there is: the load needs it, not the service."""
    if _has_uvloop():
        import uvloop

        return dict(uvloop.run(work))
    return dict(asyncio.run(work))


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401 asked for, not used
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
