"""Server VAD as OpenAI's Realtime API describes it, by energy, on mu-law audio at 8000 Hz. Pure.

The settings are those of the OpenAI SDK, `types/realtime/realtime_transcription_session_audio_input_turn_detection`.
The vendor's detector is a model; this one goes by level, so a test decides what counts as speech by how loud it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES_PER_MS = 8
STEP_BYTES = 160
ONSET_STEPS = 2
"""Loud steps of 20 ms in a row that start speech; a click is shorter."""


def _mulaw_levels() -> NDArray[np.float64]:
    """The linear amplitude of each of the 256 mu-law codes, full scale being 1 (ITU-T G.711, 14 bits)."""
    codes = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (codes >> 4) & 7, (codes & 15).astype(np.int32)
    return np.asarray((((mantissa << 1) + 33) << exponent) - 33, np.float64) / 8031.0


LEVELS = _mulaw_levels()


def dbfs(audio: bytes) -> float:
    """Level of mu-law audio against full scale; -96 for silence and for no audio."""
    if not audio:
        return -96.0
    power = float(np.mean(LEVELS[np.frombuffer(audio, np.uint8)] ** 2))
    return max(10.0 * float(np.log10(power)), -96.0) if power else -96.0


def speech_level(threshold: float) -> float:
    """Level in dBFS from which on audio is speech, for a `threshold` of 0 to 1; -40 dBFS for the default of 0.5."""
    return -60.0 + 40.0 * threshold


def has_speech(audio: bytes, threshold: float = 0.5) -> bool:
    """Whether some 40 ms of the audio are as loud as speech."""
    detector = ServerVad(threshold=threshold)
    return any(edge.speaking for edge in detector.push(audio))


@dataclass(frozen=True, slots=True)
class Edge:
    """Speech began or ended. `at` is a byte of the session's audio: with the padding before, the silence after."""

    speaking: bool
    at: int


class ServerVad:
    """Finds utterances in a stream.

    Args:
        threshold: 0 to 1; a higher one needs louder speech.
        prefix_padding_ms: How much audio before the first loud sound belongs to the utterance.
        silence_duration_ms: How much quiet ends it.
        position: Bytes of the session's audio that came before the first `push`.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        prefix_padding_ms: int = 300,
        silence_duration_ms: int = 500,
        position: int = 0,
    ) -> None:
        self._level = speech_level(threshold)
        self._padding = prefix_padding_ms * BYTES_PER_MS
        self._silence = max(silence_duration_ms, 20) * BYTES_PER_MS
        self._pending = bytearray()
        self._position = position
        self._floor = position
        self._loud_steps = 0
        self._last_loud = position
        self.speaking = False
        """Whether an utterance goes on."""

    def push(self, audio: bytes) -> list[Edge]:
        """Take the next audio, of any size; return the edges in it, oldest first."""
        self._pending += audio
        edges = []
        while len(self._pending) >= STEP_BYTES:
            step = bytes(self._pending[:STEP_BYTES])
            del self._pending[:STEP_BYTES]
            self._position += STEP_BYTES
            if edge := self._step(dbfs(step) >= self._level):
                edges.append(edge)
        return edges

    def restart(self) -> None:
        """The client committed or cleared the buffer: what comes now is a new utterance."""
        self._position += len(self._pending)
        self._pending.clear()
        self._floor = self._position
        self._loud_steps = 0
        self.speaking = False

    def _step(self, loud: bool) -> Edge | None:
        self._loud_steps = self._loud_steps + 1 if loud else 0
        if loud:
            self._last_loud = self._position
        if not self.speaking and self._loud_steps >= ONSET_STEPS:
            self.speaking = True
            onset = self._position - self._loud_steps * STEP_BYTES
            return Edge(True, max(onset - self._padding, self._floor))
        if self.speaking and self._position - self._last_loud >= self._silence:
            self.speaking = False
            self._floor = self._position
            return Edge(False, self._position)
        return None
