"""Between the phone line's audio and Gemini's: mu-law 8 kHz, PCM 16 kHz up, PCM 24 kHz down.

A short filter of our own instead of soxr, which collects 10 to 118 ms before it gives anything out: here a sample
waits 2 ms. Audio may come in pieces of any size, also ones that end in the middle of a sample; the output does not
depend on how it was cut.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm

UP_RATE: Final = 16000
_HALF: Final = 16
"""Samples at 8 kHz that the filter looks back and ahead."""


def _low_pass(factor: int) -> NDArray[np.float64]:
    """A windowed sinc for 8 kHz times `factor`. Samples that are there at 8 kHz go through it unchanged."""
    at = np.arange(-_HALF * factor, _HALF * factor + 1) / factor
    return np.asarray(np.sinc(at) * np.kaiser(at.size, 6.0), np.float64)


_UP: Final = _low_pass(2)
_DOWN: Final = _low_pass(3) / 3


class CallerSound:
    """The caller's audio on its way up: mu-law 8 kHz in, s16le 16 kHz out, two samples for each."""

    def __init__(self) -> None:
        self._before = np.zeros(_UP.size - 1, np.float64)

    def push(self, ulaw: bytes) -> bytes:
        """Take the next audio and return as much of it as was given, 16 samples late."""
        spread = np.zeros(len(ulaw) * 2, np.float64)
        spread[::2] = np.frombuffer(ulaw_to_pcm(ulaw), "<i2")
        whole = np.concatenate((self._before, spread))
        self._before = whole[-(_UP.size - 1) :]
        return _samples(np.convolve(whole, _UP, "valid")) if ulaw else b""


class ModelSound:
    """A reply's audio on its way down: s16le 24 kHz in, mu-law 8 kHz out, one sample for three."""

    def __init__(self) -> None:
        self._before = np.zeros(_HALF * 3, np.float64)
        self._odd = b""

    def push(self, pcm: bytes) -> bytes:
        """Take the next audio and return what is ready, maybe nothing."""
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % 2
        self._odd, pcm = pcm[whole:], pcm[:whole]
        return self._filter(np.frombuffer(pcm, "<i2").astype(np.float64))

    def finish(self) -> bytes:
        """The last 2 ms of the reply, once; what comes after them is as if after silence."""
        if not self._before.any():
            return b""
        rest = self._filter(np.zeros(_HALF * 3, np.float64))
        self._before, self._odd = np.zeros(_HALF * 3, np.float64), b""
        return rest

    def _filter(self, samples: NDArray[np.float64]) -> bytes:
        whole = np.concatenate((self._before, samples))
        ready = (whole.size - _DOWN.size) // 3 + 1
        if ready <= 0:
            self._before = whole
            return b""
        windows = np.lib.stride_tricks.sliding_window_view(whole, _DOWN.size)[: ready * 3 : 3]
        self._before = whole[ready * 3 :]
        return pcm_to_ulaw(_samples(windows @ _DOWN))


def _samples(wave: NDArray[np.float64]) -> bytes:
    return bytes(np.clip(np.rint(wave), -32768, 32767).astype("<i2").tobytes())
