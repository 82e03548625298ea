"""How an emulated Gemini sounds."""

import numpy as np

from openclaw_voicecall.media.g711 import ulaw_to_pcm
from openclaw_voicecall.testing.emulators.voices import babble


def spoken(text: str, voice: str) -> bytes:
    """What a session says for a text, s16le at 24 kHz: the babble of the voice, two samples put between each two."""
    samples = np.frombuffer(ulaw_to_pcm(babble(text, seed=voice)), "<i2").astype(np.float64)
    at = np.arange(samples.size * 3) / 3
    return bytes(np.rint(np.interp(at, np.arange(samples.size), samples)).astype("<i2").tobytes())
