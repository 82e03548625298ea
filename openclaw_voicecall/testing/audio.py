"""Measures on captured audio: what can be heard, when, and how far two captures of it are apart.

Samples are linear 16-bit numpy arrays of one channel; times are seconds, except where the name says `ms`.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openclaw_voicecall.media.wav import Samples, Sound, decode_ulaw, decode_wav, encode_ulaw, encode_wav

__all__ = [
    "Samples",
    "Segment",
    "Sound",
    "longest_gap",
    "offset_ms",
    "read_ulaw",
    "read_wav",
    "rms_dbfs",
    "segments",
    "split_channels",
    "write_ulaw",
    "write_wav",
]

_WINDOW_MS = 5
_SAME_SOUND = 0.3


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of audio, in seconds from its start."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


def read_wav(path: str | Path) -> Sound:
    """Read a WAV file: 16-bit PCM, A-law or mu-law. Raises `CodecError`."""
    return decode_wav(Path(path).read_bytes())


def write_wav(path: str | Path, rate: int, *channels: Samples) -> None:
    """Write a 16-bit PCM WAV file; shorter channels are filled with silence."""
    Path(path).write_bytes(encode_wav(rate, *channels))


def split_channels(path: str | Path) -> tuple[Samples, Samples]:
    """The caller's and the agent's channel of a recorded call. Raises `ValueError` when there are not two."""
    sound = read_wav(path)
    if len(sound.channels) != 2:
        raise ValueError(f"{path} has {len(sound.channels)} channels; a recorded call has two")
    return sound.channels[0], sound.channels[1]


def read_ulaw(path: str | Path) -> Samples:
    """Read raw mu-law bytes, the form in which audio travels on a media stream."""
    return decode_ulaw(Path(path).read_bytes())


def write_ulaw(path: str | Path, samples: Samples) -> None:
    """Write raw mu-law bytes."""
    Path(path).write_bytes(encode_ulaw(samples))


def rms_dbfs(pcm: Samples) -> float:
    """Loudness in decibels below full scale; minus infinity for digital silence or no samples at all."""
    power = float(np.mean(np.square(pcm.astype(np.float64)))) if len(pcm) else 0.0
    return 10 * float(np.log10(power / 32768**2)) if power else float("-inf")


def segments(
    pcm: Samples, rate: int, threshold_dbfs: float = -45.0, min_gap_ms: float = 200.0
) -> list[Segment]:
    """The audible stretches, found in windows of 5 ms.

    Args:
        pcm: Samples of one channel.
        rate: Sample rate in Hz.
        threshold_dbfs: A window as loud as this can be heard.
        min_gap_ms: Silence shorter than this, as between words, does not split a stretch.
    """
    step = rate * _WINDOW_MS // 1000
    windows = -(-len(pcm) // step)
    padded = np.zeros(windows * step, dtype=np.float64)
    padded[: len(pcm)] = pcm
    power = np.square(padded).reshape(-1, step).mean(axis=1)
    audible = np.flatnonzero(power >= (32768 * 10 ** (threshold_dbfs / 20)) ** 2)
    found: list[Segment] = []
    for window in audible.tolist():
        start, end = window * step / rate, min((window + 1) * step, len(pcm)) / rate
        if found and start - found[-1].end < min_gap_ms / 1000:
            found[-1] = Segment(found[-1].start, end)
        else:
            found.append(Segment(start, end))
    return found


def longest_gap(pcm: Samples, rate: int, threshold_dbfs: float = -45.0) -> Segment:
    """The longest silence between the first and the last sound; empty when there is none.

    Raises:
        ValueError: Nothing can be heard at all.
    """
    audible = segments(pcm, rate, threshold_dbfs, min_gap_ms=0.0)
    if not audible:
        raise ValueError(f"nothing in these {len(pcm) / rate:.1f} s is as loud as {threshold_dbfs} dBFS")
    gaps = [Segment(before.end, after.start) for before, after in pairwise(audible)]
    return max(gaps, key=lambda gap: gap.duration, default=Segment(audible[0].end, audible[0].end))


def offset_ms(a: Samples, b: Samples, rate: int = 8000) -> float:
    """How many milliseconds later the sound in `a` comes in `b`; negative when it comes earlier.

    Found by cross-correlation, to a fraction of a sample.

    Raises:
        ValueError: The two do not hold the same sound, or one is silent.
    """
    first, second = _centred(a), _centred(b)
    size = 1 << (len(first) + len(second)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)), size)
    peak = int(np.argmax(correlation))
    lag = peak - size if peak > size // 2 else peak
    overlap_a = first[max(-lag, 0) : max(len(second) - lag, 0)]
    overlap_b = second[max(lag, 0) : max(lag, 0) + len(overlap_a)]
    scale = float(np.linalg.norm(overlap_a) * np.linalg.norm(overlap_b))
    likeness = float(correlation[peak]) / scale if scale else 0.0
    if likeness < _SAME_SOUND:
        raise ValueError(f"not the same sound: their best likeness is {likeness:.2f} of 1")
    before, at, after = (float(correlation[(peak + step) % size]) for step in (-1, 0, 1))
    bend = before - 2 * at + after
    fraction = 0.5 * (before - after) / bend if bend else 0.0
    return (lag + fraction) * 1000 / rate


def _centred(pcm: Samples) -> NDArray[np.float64]:
    if not len(pcm):
        raise ValueError("not the same sound: one of them is empty")
    samples: NDArray[np.float64] = pcm.astype(np.float64)
    samples -= samples.mean()
    return samples
