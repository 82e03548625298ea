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
