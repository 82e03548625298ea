"""Which process is meant: a pid alone may belong to another one by the time it is used."""

import os
import subprocess
from pathlib import Path


def process_start(pid: int) -> str | None:
    """When a process started, in the system's own words; None if there is no such living process.

    Together with the pid this names one process for good. A process that has exited and waits to be reaped counts as
    gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _ask_ps(pid)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain blanks and brackets
    return None if fields[0] in "ZX" else fields[19]


def is_running(pid: int, started: str) -> bool:
    """Whether this very process still runs."""
    return process_start(pid) == started


def own_start() -> str:
    """The start of this process."""
    return process_start(os.getpid()) or ""


def _ask_ps(pid: int) -> str | None:
    """Where there is no /proc, such as macOS."""
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
