"""What the phone puts on the line: a line being said, background noise, or silence."""

from array import array
from collections.abc import Iterator

from openclaw_voicecall.providers.local.phone.audio import FRAME, SILENCE, mix, noise_frames


class Mouth:
    """Gives a frame every 20 ms, whether anything is said or not."""

    def __init__(self) -> None:
        self._words = b""
        self._noise: Iterator[array[int]] | None = None

    @property
    def speaking(self) -> bool:
        """Whether something is left to be said."""
        return bool(self._words)

    def say(self, audio: bytes) -> None:
        """Say mu-law audio from the next frame on, after what is being said."""
        self._words += audio

    def make_noise(self, dbfs: float | None) -> None:
        """Put noise of a level behind everything, or end it."""
        self._noise = None if dbfs is None else noise_frames(dbfs)

    def next_frame(self) -> bytes:
        """The next 20 ms."""
        frame, self._words = self._words[:FRAME], self._words[FRAME:]
        frame += SILENCE[len(frame) :]
        return frame if self._noise is None else mix(frame, next(self._noise))
