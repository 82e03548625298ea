"""Writes a call's two-channel recording to a file while the call goes on."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.media.audio import ULAW_SILENCE, seconds
from openclaw_voicecall.media.recording import StereoRecorder, wav_header

logger = logging.getLogger(__name__)

FLUSH_EVERY = 1.0
"""Seconds between two writes; a crash loses no more sound than this."""
SETTLE = 1.5
"""Seconds that audio is kept before it is written: late caller frames and cleared agent audio still change it."""
ANCHOR_FRAMES = 50
"""Caller frames whose arrival is compared before the first is placed: the least delayed one tells the offset."""


HEADER: Final = len(wav_header(0))
"""Bytes before the sound."""


class CallRecorder:
    """One call's WAV file: left the caller, right the agent, 16 bit, 8000 Hz.

    A disk that takes no more costs the rest of the recording and not the call: the file ends after what was written.

    Args:
        path: The file; its folder is made when needed.
        clock: Monotonic time.
        awaits_notice: Whether the caller's channel stays silent until `notice_given`.
        failed: Told once why the recording ends before the call.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        awaits_notice: bool = False,
        failed: Callable[[str], None] = lambda detail: None,
    ) -> None:
        self.path = path
        self._failed = failed
        self._silent = awaits_notice
        self.tracks = StereoRecorder()
        self._clock = clock
        self._epoch: float | None = None
        self._offset: float | None = None
        self._unplaced: list[tuple[float, bytes]] = []
        self._best = float("inf")
        self._file: FileIO | None = None
        self._given_up = False
        self._writing: asyncio.Task[None] | None = None
        self._written = 0

    def start(self, now: float) -> float:
        """Begin at the first stream of the call, and return the monotonic time of the recording's first sample."""
        if self._epoch is None:
            self._epoch = now
        self._offset, self._best = None, float("inf")
        return self._epoch

    def caller(self, timestamp: float, audio: bytes) -> None:
        """Place caller audio. `timestamp` is the carrier's, in seconds since the stream began."""
        if self._epoch is None:
            return
        if self._silent:
            audio = ULAW_SILENCE * len(audio)
        if self._offset is not None:
            self.tracks.caller(timestamp + self._offset, audio)
            return
        arrived = self._clock.monotonic() - self._epoch
        self._best = min(self._best, arrived - timestamp - seconds(len(audio)))
        self._unplaced.append((timestamp, audio))
        if len(self._unplaced) >= ANCHOR_FRAMES:
            self._place()

    def notice_given(self) -> None:
        """The caller knows of the recording, and is recorded from here on."""
        self._silent = False

    async def run(self) -> None:
        """Write what is settled, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            if self._epoch is not None:
                await self._write(self._clock.monotonic() - self._epoch - SETTLE)

    async def close(self) -> None:
        """Write the rest and close the file."""
        if self._epoch is not None:
            self._place()
            until = self._clock.monotonic() - self._epoch
            self.tracks.clear_agent(until)
            await self._write(until)
        await self._finish_writing()
        if self._file is not None:
            await asyncio.to_thread(self._file.close)
            self._file = None

    def _place(self) -> None:
        if self._unplaced:
            self._offset = max(self._best, -self._unplaced[0][0])
            for timestamp, audio in self._unplaced:
                self.tracks.caller(timestamp + self._offset, audio)
            self._unplaced.clear()

    async def _write(self, until: float) -> None:
        await self._finish_writing()
        if until > 0 and self._offset is not None:
            data = self.tracks.take(until)  # also when nobody writes it, because it must not gather in memory
            if data and not self._given_up:
                self._writing = asyncio.create_task(asyncio.to_thread(self._append, data))
                await self._finish_writing()

    async def _finish_writing(self) -> None:
        """Return once nothing is on its way to the disk. Who is cancelled meanwhile leaves it on its way."""
        if self._writing is None:
            return
        try:
            await asyncio.shield(self._writing)
        except OSError as error:
            self._given_up = True
            detail = f"{self.path} cannot be written: {error.strerror or error}"
            logger.error("the recording ends before the call: %s", detail)
            self._failed(detail)
        self._writing = None

    def _append(self, data: bytes) -> None:
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                # Without a buffer: what did not fit must not come again at the next write, nor at the end.
                self._file = FileIO(descriptor, "wb")
                _write_all(self._file, wav_header(0))
            _write_all(self._file, data)
            self._file.seek(0)
            _write_all(self._file, wav_header(self._written + len(data)))
            self._file.seek(0, os.SEEK_END)
            self._written += len(data)
        except OSError:
            self._cut()
            raise

    def _cut(self) -> None:
        """Leave in the file what was written in whole before, or no file."""
        if self._file is None:
            return
        with suppress(OSError):
            if self._written:
                self._file.truncate(HEADER + self._written)
                self._file.seek(0)
                _write_all(self._file, wav_header(self._written))
            else:
                self.path.unlink()


def _write_all(file: FileIO, data: bytes) -> None:
    """Write all of it; a file without a buffer may take less at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) or 0 :]
