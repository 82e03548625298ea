"""Runs a Python module as `python -m` would, and notes where its main thread spends processor time.

    python profiled.py FILE -m openclaw_voicecall serve ...

A timer that runs with the process's own processor time interrupts it. What the thread has used since the last time
counts for the functions it is in, so that all parts add up to what the system has measured. The first SIGUSR1 begins
the notes, the second one writes them to FILE.
"""

import gc
import json
import os
import runpy
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY = 0.004
"""Seconds of processor time between two looks: as often as Linux's timers tick, at most."""
DEEPEST = 60


class Sampler:
    """Notes of one process.

    Args:
        out: Where they are written.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stacks: Counter[tuple[str, ...]] = Counter()
        self._looks = 0
        self._on = False
        self._seen = self._began = self._began_all = 0.0
        self._collected = self._collecting = 0.0

    def install(self) -> None:
        """Wait for the first SIGUSR1."""
        signal.signal(signal.SIGPROF, self._look)
        signal.signal(signal.SIGUSR1, self._switch)
        # The service's own system calls are not to fail because of the timer.
        signal.siginterrupt(signal.SIGPROF, False)
        gc.callbacks.append(self._collect)

    def _switch(self, number: int, frame: FrameType | None) -> None:
        self._on = not self._on
        if self._on:
            self._seen = self._began = time.thread_time()
            self._began_all = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        notes = {
            "main seconds": time.thread_time() - self._began,
            "all seconds": time.process_time() - self._began_all,
            "garbage seconds": self._collected,
            "looks": self._looks,
            "stacks": [[list(stack), seconds] for stack, seconds in self._stacks.items()],
        }
        written = self._out.with_suffix(".part")
        written.write_text(json.dumps(notes))
        os.replace(written, self._out)

    def _look(self, number: int, frame: FrameType | None) -> None:
        used = time.thread_time()
        stack: list[str] = []
        while frame is not None and len(stack) < DEEPEST:
            code = frame.f_code
            stack.append(f"{code.co_filename}:{code.co_qualname}")
            frame = frame.f_back
        self._stacks[tuple(stack)] += used - self._seen  # type: ignore[assignment] # a counter of seconds
        self._seen = used
        self._looks += 1

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        elif self._on:
            self._collected += time.thread_time() - self._collecting


def main() -> None:
    """Become the module."""
    out, _, module, *arguments = sys.argv[1:]
    Sampler(Path(out)).install()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    main()
