"""Voice activity by the Silero model at its native 8 kHz.

The model looks at 32 ms of audio at a time and remembers what came before in a small state. One loaded session
serves all calls, and each call keeps only its state: a session per call would cost about 9 MB each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.media.audio import SAMPLE_RATE
from openclaw_voicecall.media.wav import decode_ulaw
from openclaw_voicecall.providers.embedded.settings import SileroConfig

_WINDOW = 256
"""Samples the model judges at a time: 32 ms."""
_CONTEXT = 32
"""Samples of the window before that it wants to see as well."""
_HYSTERESIS = 0.15
"""Speech goes on until the model is this much less sure than it had to be at the start."""

_FLOATS = decode_ulaw(bytes(range(256))).astype(np.float32) / np.float32(32768.0)


class SileroModel:
    """The loaded model, shared by the detectors of all calls.

    Args:
        path: The model's file.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)

    def new_state(self) -> Any:
        """What the model remembers at the beginning of a call."""
        return np.zeros((2, 1, 128), dtype=np.float32)

    def judge(self, window: Any, state: Any) -> tuple[float, Any]:
        """How sure the model is, from 0 to 1, that a window holds speech; and its memory after it."""
        probability, state = self._session.run(None, {"input": window, "state": state, "sr": self._rate})
        return float(probability[0, 0]), state


class SileroDetector:
    """Hears one call's caller and says when speech begins and ends.

    Args:
        model: The loaded model.
        config: How sure it must be, and how long.
    """

    def __init__(self, model: SileroModel, config: SileroConfig) -> None:
        self._model = model
        self._state = model.new_state()
        self._start_above = config.threshold
        self._stop_below = max(0.01, config.threshold - _HYSTERESIS)
        self._start_samples = config.start_ms * SAMPLE_RATE // 1000
        self._stop_samples = config.stop_ms * SAMPLE_RATE // 1000
        self._window = np.zeros((1, _CONTEXT + _WINDOW), dtype=np.float32)
        self._pending = bytearray()
        self._against = 0
        """Samples in a row that speak against the present state."""
        self._speaking = False

    def push(self, audio: bytes) -> Sequence[SpeechEdge]:
        """Take the next mu-law audio of any length and return the edges found in it, oldest first."""
        self._pending += audio
        edges: list[SpeechEdge] = []
        while len(self._pending) >= _WINDOW:
            window = self._window
            window[0, :_CONTEXT] = window[0, -_CONTEXT:]
            window[0, _CONTEXT:] = _FLOATS[np.frombuffer(bytes(self._pending[:_WINDOW]), dtype=np.uint8)]
            del self._pending[:_WINDOW]
            probability, self._state = self._model.judge(window, self._state)
            against = self._count(probability)
            if against:
                self._speaking = not self._speaking
                ago = (against + len(self._pending)) / SAMPLE_RATE
                edges.append(SpeechEdge(speaking=self._speaking, ago=ago))
        return edges

    def _count(self, probability: float) -> int:
        """Count one more window; gives how many samples speak against the present state, once they are enough."""
        differs = probability < self._stop_below if self._speaking else probability >= self._start_above
        self._against = self._against + _WINDOW if differs else 0
        needed = self._stop_samples if self._speaking else self._start_samples
        if self._against < needed:
            return 0
        enough, self._against = self._against, 0
        return enough
