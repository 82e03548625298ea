"""Calls whose end the host has yet to be told of, kept across restarts; and their transcripts, for its agent to read.

Each such call has an empty file named by its id, from its first moment until the host took the report. A file costs
less than a row, and nothing has to be migrated.
"""

import logging
import os
import re
import time
from pathlib import Path
from typing import Final

from openclaw_voicecall.api.store import CallRecord, TranscriptLine

logger = logging.getLogger(__name__)

KEPT: Final = 7 * 86400.0
"""Seconds after which a report is no news any more."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Untold:
    """The calls to tell of.

    Args:
        folder: Private state folder of the service.
    """

    def __init__(self, folder: Path) -> None:
        self._marks = folder / "untold"
        self._transcripts = folder / "transcripts"

    def add(self, call_id: str) -> None:
        """Remember that the host is to be told of this call."""
        if not _ID.fullmatch(call_id):
            return
        try:
            self._marks.mkdir(mode=0o700, exist_ok=True)
            (self._marks / call_id).touch(mode=0o600)
        except OSError as error:
            logger.warning(
                "call %s is told to the host only while this service runs: %s", call_id, error.strerror
            )

    def has(self, call_id: str) -> bool:
        """Whether the host is still to be told."""
        return bool(_ID.fullmatch(call_id)) and (self._marks / call_id).exists()

    def done(self, call_id: str) -> None:
        """The host was told."""
        try:
            if _ID.fullmatch(call_id):
                (self._marks / call_id).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("call %s may be told to the host again: %s", call_id, error.strerror)

    def left(self) -> list[str]:
        """Calls that earlier processes did not tell of, oldest first. What is no news any more is forgotten."""
        try:
            found = sorted((path.stat().st_mtime, path.name) for path in self._marks.iterdir())
        except OSError:  # there are none
            return []
        old = time.time() - KEPT
        for at, call_id in found:
            if at < old:
                self.done(call_id)
        return [call_id for at, call_id in found if at >= old]

    def write_transcript(self, record: CallRecord) -> str:
        """Write what was said into a file, readable for its owner only. Returns its path; empty where there is none."""
        if not record.transcript or not _ID.fullmatch(record.call_id):
            return ""
        path = self._transcripts / f"{record.call_id}.txt"
        lines = [_line(line, record.answered_at or record.created_at) for line in record.transcript]
        try:
            self._transcripts.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="replace") as file:
                file.write("\n".join([*_head(record), *lines, ""]))
        except OSError as error:
            logger.warning("the transcript of call %s cannot be written: %s", record.call_id, error.strerror)
            return ""
        return str(path)


def _head(record: CallRecord) -> list[str]:
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(record.created_at))
    return [
        f"{record.direction} call {record.call_id}, {began}, from {record.from_number} to {record.to_number}",
        "",
    ]


def _line(line: TranscriptLine, began: float) -> str:
    seconds = max(0, round(line.at - began))
    who = "agent" if line.speaker == "agent" else "caller"
    cut = " (interrupted)" if line.interrupted else ""
    return f"{seconds // 60}:{seconds % 60:02d} {who}: {' '.join(line.text.split())}{cut}"
