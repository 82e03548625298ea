"""A voice that costs nothing: sound with the rhythm of speech, different for every text."""

import hashlib

import numpy as np

from openclaw_voicecall.media.g711 import pcm_to_ulaw

RATE = 8000
CHARACTER = 480
"""Samples a character, 60 ms: the pace of a brisk speaker."""


def babble(text: str, *, seed: str = "") -> bytes:
    """Deterministic mu-law audio at 8000 Hz for a text: 60 ms a character, voiced from its first to its last frame.

    A hum with a few harmonics rises and falls as syllables do, so that energy detectors take it for speech; noise
    drawn from the text makes every 20 ms of it unlike any other audio.

    Args:
        text: The words; an empty one gives no audio.
        seed: Another speaker.
    """
    digest = hashlib.sha256(f"{seed}\0{text}".encode()).digest()
    source = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    count = len(text) * CHARACTER
    time = np.arange(count) / RATE
    pitch = 90 + digest[8] / 4
    hum = sum(np.sin(2 * np.pi * pitch * harmonic * time) / harmonic for harmonic in (1, 2, 3, 5))
    syllables = 0.54 + 0.46 * np.cos(2 * np.pi * 5 * time)
    wave = (5000 * hum + source.normal(0, 1200, count)) * syllables
    return pcm_to_ulaw(np.clip(wave, -30000, 30000).astype("<i2").tobytes())
