"""What engines say, made fit for a call: one loudness, no long silence around it, mu-law at 8 kHz."""

import unicodedata
from typing import Final

import numpy as np
import numpy.typing as npt

from openclaw_voicecall.errors import VendorError, VendorRejected
from openclaw_voicecall.media.resample import UlawEncoder

SPEECH_LEVEL: Final = -20.0
"""dBFS of the speech itself, so that engines sound alike and a fallback does not startle."""
_PEAK_LIMIT: Final = 0.89
_MOST_GAIN, _LEAST_GAIN = 8.0, 0.1
_EDGE_SILENCE: Final = 0.08
"""Seconds of silence left at either end: more delays the answer, less clips soft consonants."""
_BLOCK: Final = 0.01
"""Seconds over which loudness is measured."""
_SILENT_BELOW: Final = 40.0
"""dB below the loudest block from which a block counts as silent."""

_ASCII: Final = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "–": ", ",
        "—": ", ",
        "…": "...",
        "\u00a0": " ",
        "ß": "ss",
        "€": " euros ",
    }
)


def ascii_text(text: str) -> str:
    """Text for an engine that reads ASCII only: quotes and dashes become plain, accents and pictures go."""
    plain = unicodedata.normalize("NFKD", text.translate(_ASCII))
    return " ".join(plain.encode("ascii", "ignore").decode().split())


def speakable(text: str, vendor: str) -> str:
    """The text, if there is anything in it to say.

    Raises:
        VendorRejected: There is no letter and no digit in it.
    """
    if not any(character.isalnum() for character in text):
        raise VendorRejected(
            f"{vendor}: there is nothing to say in {text[:20]!r}", vendor=vendor, operation="speak"
        )
    return text


def call_audio(pcm: bytes, rate: int, vendor: str) -> bytes:
    """Turn an engine's audio into call audio.

    Args:
        pcm: 16-bit little endian samples.
        rate: Their rate in Hz.
        vendor: Name of the engine, for the error.

    Raises:
        VendorError: The engine gave no sound.
    """
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32) / 32768.0
    block = max(1, int(rate * _BLOCK))
    power = np.square(samples[: len(samples) // block * block].reshape(-1, block)).mean(axis=1)
    if not power.size or float(power.max()) < 1e-7:
        raise VendorError(f"{vendor} gave no sound", vendor=vendor, operation="speak")
    spoken = np.flatnonzero(power > power.max() * 10 ** (-_SILENT_BELOW / 10))
    edge = int(rate * _EDGE_SILENCE)
    first = max(0, int(spoken[0]) * block - edge)
    last = min(len(samples), (int(spoken[-1]) + 1) * block + edge)
    louder = samples[first:last] * np.float32(_gain(samples, power[spoken]))
    encoder = UlawEncoder(rate)
    return encoder.push((louder * 32767.0).astype("<i2").tobytes()) + encoder.finish()


def _gain(samples: npt.NDArray[np.float32], power: npt.NDArray[np.float32]) -> float:
    """What brings the speech to its level without any peak being cut off."""
    wanted = 10 ** (SPEECH_LEVEL / 20) / float(np.sqrt(power.mean()))
    peak = float(np.abs(samples).max())
    return min(max(wanted, _LEAST_GAIN), _MOST_GAIN, _PEAK_LIMIT / peak)
