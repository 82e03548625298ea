"""How loud call audio is.

Levels are in dBFS against a full-scale square wave, so 0 is the loudest there is, a full-scale sine is -3 and speech
on a telephone line is about -15 to -35.
"""

import math
from functools import lru_cache
from typing import Final

from openclaw_voicecall.media.audio import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, Rechunker
from openclaw_voicecall.media.g711 import audioop

SILENCE_DBFS: Final = -96.0
"""The level given for no sound at all; half a step of 16 bits."""

AUDIBLE_DBFS: Final = -45.0
"""Above this a listener hears something on the line; comfort noise lies below."""


def rms_dbfs(ulaw: bytes) -> float:
    """Level of mu-law audio; `SILENCE_DBFS` for silence and for no audio. Takes 0.34 microseconds for 20 ms."""
    rms = audioop.rms(audioop.ulaw2lin(ulaw, 2), 2)
    return 20.0 * math.log10(rms / 32768.0) if rms else SILENCE_DBFS


def is_audible(ulaw: bytes, threshold_dbfs: float = AUDIBLE_DBFS) -> bool:
    """Whether mu-law audio is louder than a threshold. Takes 0.38 microseconds for 20 ms."""
    return audioop.rms(audioop.ulaw2lin(ulaw, 2), 2) > _amplitude(threshold_dbfs)


def audible_seconds(ulaw: bytes) -> float:
    """How much of mu-law audio can be heard, by frames of 20 ms."""
    if len(ulaw) == FRAME_BYTES:
        return FRAME_MS / 1000 if is_audible(ulaw) else 0.0
    frames = (ulaw[at : at + FRAME_BYTES] for at in range(0, len(ulaw), FRAME_BYTES))
    return sum(len(frame) / SAMPLE_RATE for frame in frames if is_audible(frame))


@lru_cache(maxsize=32)
def _amplitude(dbfs: float) -> float:
    return float(32768.0 * 10.0 ** (dbfs / 20.0))


class LevelMeter:
    """Adds up how much of a stream can be heard, frame by frame.

    Args:
        threshold_dbfs: Frames louder than this are audible.
    """

    def __init__(self, threshold_dbfs: float = AUDIBLE_DBFS) -> None:
        self._threshold = threshold_dbfs
        self._frames = Rechunker(FRAME_BYTES)
        self.total_ms = 0.0
        """Milliseconds of audio measured."""
        self.audible_ms = 0.0
        """Milliseconds of it that can be heard."""
        self.first_audible: float | None = None
        """Time at which the first audible frame began; None as long as there was none."""
        self.last_audible: float | None = None
        """Time at which the last audible frame ended; None as long as there was none."""

    def push(self, audio: bytes, now: float) -> None:
        """Measure the next audio, of any size; `now` is the time at which it ends."""
        frames = self._frames.push(audio)
        ends = now - (self._frames.pending + FRAME_BYTES * (len(frames) - 1)) / SAMPLE_RATE
        for frame in frames:
            self.total_ms += FRAME_MS
            if is_audible(frame, self._threshold):
                self.audible_ms += FRAME_MS
                self.last_audible = ends
                if self.first_audible is None:
                    self.first_audible = ends - FRAME_MS / 1000
            ends += FRAME_MS / 1000


class PlayedMeter:
    """What can be heard of audio that is sent ahead, on the far end's time axis.

    Audio is pushed with the time at which the far end begins to play it, in order. What was sent and not played yet
    may be taken back.

    Args:
        threshold_dbfs: Frames louder than this are audible.
    """

    def __init__(self, threshold_dbfs: float = AUDIBLE_DBFS) -> None:
        self._threshold = threshold_dbfs
        self._over = 0.0
        self._spans: list[tuple[float, float]] = []
        """Times between which something audible plays; what is long past is only counted, in `_over`."""

    def push(self, audio: bytes, starts: float) -> float | None:
        """Measure mu-law audio, and return when the first audible frame of it begins; None if there is none."""
        first = None
        for at in range(0, len(audio), FRAME_BYTES):
            frame = audio[at : at + FRAME_BYTES]
            if not is_audible(frame, self._threshold):
                continue
            begins = starts + at / SAMPLE_RATE
            ends = begins + len(frame) / SAMPLE_RATE
            first = begins if first is None else first
            if self._spans and begins <= self._spans[-1][1] + _JOIN:
                self._spans[-1] = (self._spans[-1][0], max(ends, self._spans[-1][1]))
            else:
                self._spans.append((begins, ends))
        while len(self._spans) > _KEPT:
            begins, ends = self._spans.pop(0)
            self._over += ends - begins
        return first

    def cut(self, at: float) -> None:
        """What was to be played after this time is not."""
        self._spans = [(begins, min(ends, at)) for begins, ends in self._spans if begins < at]

    def seconds(self, now: float) -> float:
        """Seconds of audible sound that were played until now."""
        return self._over + sum(min(ends, now) - begins for begins, ends in self._spans if begins < now)

    def last(self, now: float) -> float | None:
        """When something audible was last played; `now` if it plays, None if there was nothing yet."""
        return next((min(ends, now) for begins, ends in reversed(self._spans) if begins < now), None)


_JOIN: Final = 0.001
"""Seconds between two frames that are one sound."""
_KEPT: Final = 64
"""Sounds that may still be taken back, or asked about."""
