"""From call audio to words that were really said.

A speech model always finds words: on silence it writes "You", on music it writes notes, and now and then it goes
round in circles. This module decides what of its output a caller can have said.
"""

import re
from typing import Protocol

import numpy as np
import numpy.typing as npt

from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE
from openclaw_voicecall.media.wav import decode_ulaw

FloatArray = npt.NDArray[np.float32]

_QUIETEST_SPEECH = -52.0
"""dBFS of a 20 ms frame; a line's own noise lies below."""
_SHORTEST_SPEECH = 3
"""Frames of 20 ms. Less sound than this is a click."""
_WEAK_SPEECH = 8
"""Frames of 20 ms. With less sound than this the model's favourite phrases are not believed."""
_WORKING_LEVEL = -20.0
"""dBFS to which quiet speech is raised: the model hears quiet words worse."""
_LARGEST_GAIN = 20.0
_PHANTOMS = frozenset(
    {"you", "thank you", "thanks", "bye", "okay", "oh", "so", "the", "i", "and", "uh", "hmm"}
)
"""What the model writes when there is nothing to hear."""
_MOST_REPEATS = 5
"""A caller says "no, no, no"; a model in a circle says it forty times."""
_LONGEST_LOOP = 8
_NOT_SPEECH = re.compile(r"[♪♫♬♩]+|\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_WORD = re.compile(r"[^\W_]")


class Model(Protocol):
    """What turns a wave into text."""

    def decode(self, audio: FloatArray, rate: int) -> str:
        """The text for samples from -1 to 1 at `rate` Hz."""
        ...


class Hearing:
    """Hears words in mu-law audio with a model that may invent some.

    Args:
        model: The loaded speech model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def warm_up(self) -> None:
        """Decode once, so that the first caller does not wait for memory to be set up."""
        noise = np.random.default_rng(1).normal(0, 0.05, 2 * SAMPLE_RATE).astype(np.float32)
        self._model.decode(noise, SAMPLE_RATE)

    def words(self, audio: bytes) -> str:
        """The words in one utterance of mu-law audio; empty when there are none."""
        samples = decode_ulaw(audio).astype(np.float32) / 32768.0
        levels = frame_levels(samples)
        sound = int((levels > _QUIETEST_SPEECH).sum())
        if sound < _SHORTEST_SPEECH:
            return ""
        text = tidy(self._model.decode(_raised(samples, levels), SAMPLE_RATE))
        if sound < _WEAK_SPEECH and text.lower().strip(" .,!?") in _PHANTOMS:
            return ""
        return text


def frame_levels(samples: FloatArray) -> FloatArray:
    """The level of each whole 20 ms frame in dBFS."""
    frames = samples[: len(samples) // FRAME_BYTES * FRAME_BYTES].reshape(-1, FRAME_BYTES)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    levels: FloatArray = (10.0 * np.log10(power + 1e-10)).astype(np.float32)
    return levels


def tidy(text: str) -> str:
    """Remove what is no speech: notes, bracketed sounds, and circles of words beyond what a person repeats."""
    text = _without_loops(" ".join(_NOT_SPEECH.sub(" ", text).split()))
    return text if _WORD.search(text) else ""


def _raised(samples: FloatArray, levels: FloatArray) -> FloatArray:
    """Raise quiet speech to the level at which the model hears best; loud speech stays as it is."""
    loud = float(np.percentile(levels[levels > _QUIETEST_SPEECH], 80))
    gain = min(_LARGEST_GAIN, 10 ** ((_WORKING_LEVEL - loud) / 20))
    if gain <= 1.0:
        return samples
    raised: FloatArray = np.clip(samples * np.float32(gain), -1.0, 1.0).astype(np.float32)
    return raised


def _without_loops(text: str) -> str:
    words = text.split()
    keys = [word.lower().strip(".,!?") for word in words]
    for length in range(1, _LONGEST_LOOP + 1):
        start = 0
        while start + length <= len(keys):
            end = start + length
            while keys[end : end + length] == keys[start : start + length]:
                end += length
            if (end - start) // length > _MOST_REPEATS and not all(key.isdigit() for key in keys[start:end]):
                del words[start + length : end], keys[start + length : end]
            start += 1
    return " ".join(words)
