"""The list of people who do not want to be called: one small file that the service reads before every call."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from openclaw_voicecall.config.callers import is_number
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store.sharedfile import SharedFile, a_time

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut:
    """A number that is never dialled, and since when. `at` is Unix seconds."""

    number: str
    at: float


class OptOutList:
    """Reads and changes the list in a folder.

    Every method raises `StoreError` when the file cannot be read or written; a damaged one is left as it is.

    Args:
        folder: The private state directory. Changing the list needs it to exist, reading does not.
        wall: Unix seconds.
    """

    def __init__(self, folder: Path, *, wall: Callable[[], float] = time.time) -> None:
        self.path = folder / "optout.json"
        self._file = SharedFile(self.path)
        self._wall = wall

    def read(self) -> tuple[OptedOut, ...]:
        """Everybody on the list, oldest first."""
        text = self._file.read()
        return () if text is None else self._parse(text)

    def holds(self, number: str) -> bool:
        """Whether exactly this number, E.164, is on the list."""
        return any(entry.number == number for entry in self.read())

    def add(self, number: str) -> bool:
        """Never dial this number, E.164, any more; false when it was on the list already."""
        with self._file.locked():
            entries = self.read()
            if any(entry.number == number for entry in entries):
                return False
            self._write((*entries, OptedOut(number=number, at=self._wall())))
        return True

    def remove(self, number: str) -> bool:
        """Take a number off the list; false when it was not on it."""
        with self._file.locked():
            entries = self.read()
            rest = tuple(entry for entry in entries if entry.number != number)
            if len(rest) == len(entries):
                return False
            self._write(rest)
        return True

    def _write(self, entries: tuple[OptedOut, ...]) -> None:
        self._file.replace({"version": _VERSION, "numbers": [asdict(entry) for entry in entries]})

    def _parse(self, text: str) -> tuple[OptedOut, ...]:
        try:
            body = json.loads(text)
            if body["version"] != _VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer version of openclaw-voicecall. Upgrade this program."
                )
            return tuple(OptedOut(number=_number(entry), at=a_time(entry["at"])) for entry in body["numbers"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise StoreError(
                f"{self.path} is damaged ({error!r}) and was left as it is; nobody is called meanwhile. Repair it, or "
                "move it away: then nobody is on the list any more."
            ) from error


def _number(entry: Any) -> str:
    number = entry["number"]
    if not isinstance(number, str) or not is_number(number):
        raise ValueError(f"{number!r} is no phone number")
    return number
