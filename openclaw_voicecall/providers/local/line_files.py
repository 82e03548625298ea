"""The local line's files in the state directory, folder `local`, all readable by their owner only.

- `line.json` says where the running service takes webhooks and holds the key they are signed with. A phone in another
  terminal finds the service through it.
- `LC….json` says how a phone stands; the phone itself keeps it, so that a restarted service can ask.
- `LC….log` has what a called phone wrote to stderr.
"""

import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from openclaw_voicecall.errors import ServiceNotRunning, StoreError
from openclaw_voicecall.providers.local.processes import is_running, own_start

T = TypeVar("T")

KEEP_SECONDS = 7 * 86400
"""Files of phones that ended longer ago are removed when the line opens."""

_LEG_ID = re.compile(r"LC[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFile:
    """What `line.json` holds."""

    url: str
    key: str
    pid: int
    started: str
    """The service process's start, as `process_start` gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneStatus:
    """How a phone stands: `dialing`, `ringing`, `answered` or `ended`, with an `EndReason` word at the end."""

    pid: int
    started: str
    state: str
    reason: str = ""
    takes_signals: bool = False
    """Whether the process is nothing but this phone, so that SIGTERM hangs it up."""

    def running(self) -> bool:
        """Whether its process still runs."""
        return is_running(self.pid, self.started)


def line_folder(state_dir: Path) -> Path:
    """The folder, made if it is missing.

    Raises:
        StoreError: It cannot be made.
    """
    folder = state_dir / "local"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}") from error
    return folder


def open_line_file(state_dir: Path, url: str, key: str) -> Path:
    """Write `line.json` for this process; returns its path."""
    path = line_folder(state_dir) / "line.json"
    write_private(path, asdict(LineFile(url=url, key=key, pid=os.getpid(), started=own_start())))
    return path


def close_line_file(path: Path) -> None:
    """Remove `line.json`, unless another service has written its own meanwhile."""
    line = _read(path)
    if line is not None and line.get("pid") == os.getpid():
        path.unlink(missing_ok=True)


def find_line(state_dir: Path) -> LineFile:
    """The line of the running service.

    Raises:
        ServiceNotRunning: No service runs on this state directory, or it has no local line.
    """
    line = _made(LineFile, _read(state_dir / "local" / "line.json"))
    if line is None or not is_running(line.pid, line.started):
        raise ServiceNotRunning(
            f"no service with a local line runs on {state_dir}; start one with `openclaw-voicecall serve`"
        )
    return line


def status_path(state_dir: Path, carrier_call_id: str) -> Path:
    """Where the status of a phone is kept.

    Raises:
        ValueError: This is no id of the local line.
    """
    if not _LEG_ID.fullmatch(carrier_call_id):
        raise ValueError("not an id of the local line")
    return state_dir / "local" / f"{carrier_call_id}.json"


def write_status(path: Path, status: PhoneStatus) -> None:
    """Write how a phone stands."""
    write_private(path, asdict(status))


def read_status(path: Path) -> PhoneStatus | None:
    """How a phone stands; None if nothing is known of it."""
    return _made(PhoneStatus, _read(path))


def write_private(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file of mode 0600, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(values, file)
    draft.replace(path)


def remove_old_files(state_dir: Path) -> None:
    """Remove what phones left behind that ended long ago."""
    oldest = time.time() - KEEP_SECONDS
    for path in line_folder(state_dir).glob("LC*"):
        status = read_status(path.with_suffix(".json"))
        if path.stat().st_mtime < oldest and not (status is not None and status.running()):
            path.unlink(missing_ok=True)


def _made(kind: type[T], values: dict[str, Any] | None) -> T | None:
    """The object that a file holds; None where another version wrote it, or nobody."""
    try:
        made = kind(**(values or {}))
    except TypeError:
        return None
    right = all(isinstance(getattr(made, name), its) for name, its in get_type_hints(kind).items())
    return made if right else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
