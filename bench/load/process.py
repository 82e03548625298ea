"""What processes use, read from Linux's /proc, and which core they run on."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def supported() -> bool:
    """Whether this system tells what is asked for here."""
    return sys.platform == "linux"


def cores() -> list[int]:
    """The cores that may be used."""
    return sorted(os.sched_getaffinity(0))


def pinned(cores: Sequence[int]) -> list[str]:
    """What to put before a command, so that it and its children run on some cores; nothing for none."""
    if not cores:
        return []
    become = (
        "import os, sys; os.sched_setaffinity(0, set(map(int, sys.argv[1].split(','))));"
        "os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-S", "-c", become, ",".join(map(str, cores))]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used so far, and what they hold."""

    user: float = 0.0
    system: float = 0.0
    """Seconds of processors."""
    waited: float = 0.0
    """Seconds in which it could have run, and no core was free."""
    memory: int = 0
    """Bytes, pages shared with others in parts (PSS)."""
    own: int = 0
    """Bytes of it that no file is behind: what others on the machine do changes nothing in it."""
    threads: int = 0
    processes: int = 0

    @property
    def cpu(self) -> float:
        """Seconds of processors."""
        return self.user + self.system


def usage(pid: int) -> Usage:
    """What the tree of a process uses; what is gone meanwhile counts nothing."""
    user = system = waited = 0.0
    memory = own = threads = processes = 0
    for member in _tree(pid):
        try:
            fields = _stat(member)
            user += int(fields[11]) / _TICKS
            system += int(fields[12]) / _TICKS
            for task in (PROC / str(member) / "task").iterdir():
                waited += int((task / "schedstat").read_text().split()[1]) / 1e9
                threads += 1
            held = _held(member)
            memory += held["Pss"]
            own += held["Anonymous"]
            processes += 1
        except (OSError, IndexError, ValueError):
            continue
    return Usage(user, system, waited, memory, own, threads, processes)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (OSError, IndexError, ValueError):
                continue
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of `stat` from the third one on; the second is a name, which may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _held(pid: int) -> dict[str, int]:
    """The sums of a process's memory, in bytes."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}
