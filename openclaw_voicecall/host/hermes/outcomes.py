"""Outcomes of calls that wait to be told: the session that asked for one may be in another process, or not running.

A file each, in a folder that all processes of one hermes share. Whoever takes an outcome removes its file first, so
that it is told once.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

KEPT: Final = 200
"""Outcomes that may wait; of more the oldest are forgotten."""
KEPT_SECONDS: Final = 14 * 86_400.0
"""How long one waits. The record of the call stays."""
_SUFFIX: Final = ".json"


class Outcomes:
    """What is to be told to sessions of hermes.

    Args:
        folder: Where they wait; made with the first one, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, session: str, name: str, text: str) -> None:
        """Keep an outcome until its session takes it; under the same name it is kept once. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear()
        key = hashlib.sha256(f"{session}\n{name}".encode()).hexdigest()[:32]
        draft = self._folder / f"{key}.{os.getpid()}.tmp"
        with open(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump({"session": session, "text": text}, file)
        draft.replace(self._folder / f"{key}{_SUFFIX}")

    def take(self, wanted: Callable[[str], bool]) -> list[str]:
        """The outcomes for sessions whose keys are `wanted`, oldest first; they are not given again."""
        return [text for path in self._waiting() if wanted(_read(path, "session")) and (text := _taken(path))]

    def _waiting(self) -> list[Path]:
        return [
            path for _, path in sorted((_written(path), path) for path in self._folder.glob(f"*{_SUFFIX}"))
        ]

    def _clear(self) -> None:
        waiting = self._waiting()
        oldest = time.time() - KEPT_SECONDS
        for number, path in enumerate(waiting):
            if len(waiting) - number >= KEPT or _written(path) < oldest:
                path.unlink(missing_ok=True)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # somebody took it just now


def _taken(path: Path) -> str:
    ours = path.with_suffix(f".{os.getpid()}.taken")
    try:
        path.rename(ours)
    except OSError:
        return ""  # another process was quicker
    try:
        return _read(ours, "text")
    finally:
        ours.unlink(missing_ok=True)


def _read(path: Path, name: str) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))[name])
    except (OSError, ValueError, LookupError, TypeError):
        return ""  # taken just now, or written by nobody of us
