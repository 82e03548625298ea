"""What the process holds right now, so that anybody can see that nothing leaks."""

import asyncio
import gc
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OLD_THRESHOLD = 3
"""Collections of the middle generation until the old one is looked through: every fifty short calls or so."""

_SELF = Path("/proc/self")
_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")
"""Where a process finds its own descriptors; the second also on macOS."""


def resources() -> dict[str, int | None]:
    """Memory and handles of this process; None for what this system does not tell.

    Returns:
        `rssBytes` of memory that is resident; asyncio `tasks` of the running loop; open `sockets`; other open
        descriptors as `files`, which counts pipes too; `threads`; `childProcesses`.
    """
    sockets, files = _descriptors()
    return {
        "rssBytes": resident(),
        "tasks": len(asyncio.all_tasks()),
        "sockets": sockets,
        "files": files,
        "threads": _threads(),
        "childProcesses": _children(),
    }


def keep_collections_short() -> None:
    """Have the garbage collector leave alone what the start has made: it lives as long as the process.

    Looking through all of it takes a tenth of a second and more, in which no call is served. What calls leave behind
    is little, so it can be looked through often, and the memory of calls that are over is not kept for long.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # what survives this one is what later ones are measured by
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_THRESHOLD)
    gc.enable()


def resident() -> int | None:
    """Bytes of memory of this process; None where the system does not tell."""
    try:
        pages = int((_SELF / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> tuple[int, int] | tuple[None, None]:
    """Sockets, and what is no socket."""
    for folder in _DESCRIPTORS:
        try:
            kinds = list(_kinds(os.listdir(folder)))
        except OSError:
            continue
        sockets = sum(kinds)
        return sockets, len(kinds) - sockets
    return None, None


def _kinds(names: list[str]) -> Iterator[bool]:
    """For every descriptor that is open, whether it is a socket."""
    for name in names:
        try:
            yield stat.S_ISSOCK(os.fstat(int(name)).st_mode)
        except (OSError, ValueError):
            continue  # the one that the folder was read through is closed again


def _threads() -> int:
    """Threads of the process: the libraries' own too, where the system tells."""
    try:
        return len(os.listdir(_SELF / "task"))
    except OSError:
        return threading.active_count()


def _children() -> int | None:
    counts = []
    for task in (_SELF / "task").glob("*/children"):
        with suppress(OSError):  # a thread that ends meanwhile
            counts.append(len(task.read_text(encoding="ascii").split()))
    return sum(counts) if counts else None
