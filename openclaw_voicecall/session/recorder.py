"""Writes a call's two-channel recording to a file while the call goes on."""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.media.audio import ULAW_SILENCE, seconds
from openclaw_voicecall.media.recording import StereoRecorder, wav_header

FLUSH_EVERY = 1.0
"""Seconds between two writes; a crash loses no more sound than this."""
SETTLE = 1.5
"""Seconds that audio is kept before it is written: late caller frames and cleared agent audio still change it."""
ANCHOR_FRAMES = 50
"""Caller frames whose arrival is compared before the first is placed: the least delayed one tells the offset."""


class CallRecorder:
    """One call's WAV file: left the caller, right the agent, 16 bit, 8000 Hz.

    Args:
        path: The file; its folder is made when needed.
        clock: Monotonic time.
        awaits_notice: Whether the caller's channel stays silent until `notice_given`.
    """

    def __init__(self, path: Path, clock: Clock, *, awaits_notice: bool = False) -> None:
        self.path = path
        self._silent = awaits_notice
        self.tracks = StereoRecorder()
        self._clock = clock
        self._epoch: float | None = None
        self._offset: float | None = None
        self._unplaced: list[tuple[float, bytes]] = []
        self._best = float("inf")
        self._file: BinaryIO | None = None
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
        if until > 0 and self._offset is not None:
            data = self.tracks.take(until)
            if data:
                await asyncio.to_thread(self._append, data)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._file.write(wav_header(0))
        self._file.write(data)
        self._written += len(data)
        self._file.seek(0)
        self._file.write(wav_header(self._written))
        self._file.seek(0, os.SEEK_END)
        self._file.flush()
