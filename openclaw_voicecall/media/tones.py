"""Telephone tones: a detector for the beep of an answering machine, and generators for tests and for the local line."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE, Rechunker, silence
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.level import is_audible

Signal = NDArray[np.float64]

_ROWS: Final = (697, 770, 852, 941)
_COLUMNS: Final = (1209, 1336, 1477, 1633)
_KEYS: Final = ("123A", "456B", "789C", "*0#D")
_TONE_DBFS: Final = -10.0
"""Level of each generated tone, as a sine against full scale."""

_WINDOW: Final = 640
"""Samples of one spectrum, 80 ms: long enough to tell the two tones of a ringback (440 and 480 Hz) apart."""
_FRAMES: Final = _WINDOW // FRAME_BYTES
_HANN: Final = np.hanning(_WINDOW + 1)[:-1]
_BIN_HZ: Final = SAMPLE_RATE / _WINDOW


_BELL_MS: Final = 1300
_SWELL: Final = 40
"""Samples in which the bell of `attention` swells: 5 ms, so that it does not click."""
_BELL_DB: Final = (-6.0, -38.0)
"""Where its level begins and ends, against other tones: from as loud as a voice to below the noise of a line."""


class BeepDetector:
    """Hears the single tone that an answering machine plays before it records.

    A beep is one steady tone of 400 to 2000 Hz that is reported once, when it has lasted 400 ms, or when it ends after
    150 ms or more and no other tone follows at once, as it would in a melody or in the three notes before
    "the number you have dialled". Dialled digits, ringback and busy tones are two tones at a time, speech and
    music have harmonics, and a fax answers at 2100 Hz, so none of them counts. A calling fax (1100 Hz) and a
    whistled note cannot be told from a beep.

    A spectrum of 80 ms is taken every 20 ms; that costs 25 microseconds, and 3 where the line is quiet.

    Args:
        min_dbfs: Quieter tones are left out.
    """

    _PURITY: Final = 0.85
    """Part of the energy that must lie in the one tone."""
    _LOWEST_HZ: Final = 395.0
    _HIGHEST_HZ: Final = 2010.0
    _DRIFT_HZ: Final = 12.0
    _SHORT: Final = 4
    """Spectra in a row that make 150 ms: 80 ms and three steps of 20, give or take where the steps fall."""
    _LONG: Final = 17
    """Spectra in a row that make 400 ms."""
    _AFTER: Final = 8
    """Spectra after the last pure one in which no other tone may last; the first four still hold some of the tone."""

    def __init__(self, *, min_dbfs: float = -40.0) -> None:
        self._frames = Rechunker(FRAME_BYTES)
        self._recent: list[bytes] = []
        self._min_dbfs = min_dbfs
        self._hz = 0.0
        self._run = 0
        self._reported = False
        self._pending = False
        self._since_tone = self._AFTER

    def push(self, ulaw: bytes) -> bool:
        """Take the next audio, of any size; True once for each beep."""
        heard = False
        for frame in self._frames.push(ulaw):
            self._recent.append(frame)
            if len(self._recent) == _FRAMES:
                heard = self._step(self._tone(b"".join(self._recent))) or heard
                del self._recent[0]
        return heard

    def _step(self, hz: float | None) -> bool:
        self._since_tone += 1
        if hz is not None and self._run and abs(hz - self._hz) <= self._DRIFT_HZ:
            self._run += 1
            self._hz += (hz - self._hz) / self._run
            if self._run == self._LONG and not self._reported:
                self._reported = True
                return True
        else:
            if self._run >= self._SHORT:
                self._since_tone = 0
                self._pending = not self._reported
            self._hz, self._run = hz or 0.0, int(hz is not None)
            self._reported = self._since_tone < self._AFTER  # the next note of a melody is no beep either
        if self._pending and self._since_tone >= self._AFTER:
            self._pending = False
            return self._run < self._SHORT
        return False

    def _tone(self, ulaw: bytes) -> float | None:
        """The frequency of the only tone in a window, in Hz, or None."""
        if not is_audible(ulaw, self._min_dbfs):
            return None
        samples = np.frombuffer(ulaw_to_pcm(ulaw), "<i2") / 32768.0
        powers = np.square(samples).reshape(_FRAMES, FRAME_BYTES).mean(axis=1)
        if float(powers.min()) < float(powers.mean()) / 2:
            return None  # the tone does not fill the window
        spectrum = np.abs(np.fft.rfft(samples * _HANN)) ** 2
        peak = int(np.argmax(spectrum))
        if not self._LOWEST_HZ - _BIN_HZ <= peak * _BIN_HZ <= self._HIGHEST_HZ + _BIN_HZ:
            return None
        around = spectrum[peak - 2 : peak + 3]
        if float(around.sum()) < self._PURITY * float(spectrum[2:].sum()):
            return None
        hz = float(np.dot(around, np.arange(peak - 2, peak + 3)) / around.sum()) * _BIN_HZ
        return hz if self._LOWEST_HZ <= hz <= self._HIGHEST_HZ else None


def beep(ms: float, hz: float = 1000.0) -> bytes:
    """A single tone, as an answering machine plays it."""
    return _encode(_sines(ms, hz))


def attention() -> bytes:
    """A soft bell of a good second: somebody is there, and busy.

    Whoever hears it come back takes it for no speech, key or beep: it is two tones, and its level falls so slowly that
    it does not waver from one hundredth of a second, into which both tones fit, to the next.
    """
    chord = _sines(_BELL_MS, 500, 700)
    swell = np.minimum(np.arange(len(chord)) / _SWELL, 1.0)
    fall = 10.0 ** (np.linspace(*_BELL_DB, len(chord)) / 20.0)
    return _encode(swell * fall * chord)


def dtmf_tone(digit: str, ms: float) -> bytes:
    """The two tones of a key.

    Raises:
        ValueError: `digit` is not one of `0-9 * # A-D`.
    """
    for row, keys in zip(_ROWS, _KEYS, strict=True):
        if len(digit) == 1 and digit in keys:
            return _encode(_sines(ms, row, _COLUMNS[keys.index(digit)]))
    raise ValueError(f"no key is called {digit!r}")


def ringback(ms: float) -> bytes:
    """What a caller hears while the far phone rings in North America: 440 and 480 Hz, 2 s on, 4 s off."""
    return _cadence(ms, 2000, 4000, 440, 480)


def busy_tone(ms: float) -> bytes:
    """The North American busy tone: 480 and 620 Hz, half a second on, half a second off."""
    return _cadence(ms, 500, 500, 480, 620)


def white_noise(ms: float, dbfs: float, seed: int) -> bytes:
    """Noise of this level; the same seed gives the same noise."""
    count = round(ms * SAMPLE_RATE / 1000)
    return _encode(np.random.default_rng(seed).standard_normal(count) * 10.0 ** (dbfs / 20.0))


def _sines(ms: float, *hz: float) -> Signal:
    time = np.arange(round(ms * SAMPLE_RATE / 1000)) / SAMPLE_RATE
    amplitude = 10.0 ** (_TONE_DBFS / 20.0)
    signal = np.zeros(len(time))
    for each in hz:
        signal += amplitude * np.sin(2.0 * np.pi * each * time)
    return signal


def _cadence(ms: float, on: int, off: int, *hz: float) -> bytes:
    period = _encode(_sines(on, *hz)) + silence(off)
    length = round(ms * SAMPLE_RATE / 1000)
    return (period * (length // len(period) + 1))[:length]


def _encode(signal: Signal) -> bytes:
    samples = np.clip(np.rint(signal * 32767.0), -32768, 32767).astype("<i2")
    return pcm_to_ulaw(samples.tobytes())
