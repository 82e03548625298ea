"""A small file of JSON that the service and the command line both read and write.

A lock beside it makes every change whole; readers need none, because the file is replaced and never rewritten in
place.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from openclaw_voicecall.errors import StoreError

_END_OF_TIME: Final = 253_402_300_800
"""Unix seconds at the end of the year 9999, the last that a date can have."""
_LOCK_ATTEMPTS: Final = 50
_LOCK_PAUSE: Final = 0.02
"""Seconds. Others hold the lock for some milliseconds, as long as a flush to the disk takes."""


class SharedFile:
    """Reads and replaces the file. Every method raises `StoreError` when that cannot be done.

    Args:
        path: The file, in the private state directory. Changing it needs the directory to exist, reading does not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = path.with_suffix(".lock")

    def read(self) -> str | None:
        """The text of the file, or None where there is none."""
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(f"{self._lock} cannot be opened: {error.strerror}") from error
        try:
            for attempt in range(_LOCK_ATTEMPTS):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt + 1 == _LOCK_ATTEMPTS:
                        raise StoreError(
                            f"another process holds {self._lock}; try again, or end that process"
                        ) from None
                    time.sleep(_LOCK_PAUSE)
            yield
        finally:
            os.close(descriptor)

    def replace(self, body: Any) -> None:
        """Put new content in place of the old, with mode 0600; it is on the disk when this returns."""
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(body, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            _flush_folder(self.path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error


def a_time(value: Any) -> float:
    """Unix seconds in the content of such a file. Raises `ValueError` for what is no time of a call."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        raise ValueError("a time is not in Unix seconds")
    return float(value)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
