"""Moonshine tiny-en: the speech-to-text model that comes inside a wheel.

The model is two networks and a word list. The encoder turns the wave (16 kHz) into about 41 states a second. The
decoder writes one token after another, each from the tokens before it; its attention keys are handed from step to
step, so a step costs the same however long the text is already.

Only the three files are used, never the wheel's own code: importing that opens audio devices and a downloader.
This module runs inside the transcriber's worker process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import soxr

FloatArray = npt.NDArray[np.float32]

_MODEL_RATE = 16000
_START_TOKEN = 1
_END_TOKEN = 2
_TOKENS_PER_SECOND = 6.5
"""Nobody speaks faster; what comes beyond it is the decoder going round in circles."""
_LAYERS, _HEADS, _HEAD_SIZE = 6, 8, 36
_SHORTEST = 0.1
"""Seconds; the encoder has no state to give for less."""


class Moonshine:
    """The loaded model. Not safe for threads; one process decodes one utterance at a time.

    Args:
        folder: Where the model's three files are.
    """

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        # A second thread, or one that spins while it waits, burns several times the CPU for the same text.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._encoder = _session(folder / "encoder_model.ort", options)
        self._decoder = _session(folder / "decoder_model_merged.ort", options)
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._words = _read_words((folder / "tokenizer.bin").read_bytes())

    def decode(self, audio: FloatArray, rate: int) -> str:
        """The words in an utterance.

        Args:
            audio: Samples from -1 to 1.
            rate: Their rate in Hz.

        Returns:
            Cased and punctuated English with numbers as digits; empty for audio that is too short.
        """
        if len(audio) < _SHORTEST * rate:
            return ""
        wave = audio if rate == _MODEL_RATE else soxr.resample(audio, rate, _MODEL_RATE, quality="HQ")
        wave = np.ascontiguousarray(wave, dtype=np.float32)[np.newaxis]
        mask = np.ones(wave.shape, dtype=np.int64)
        (states,) = self._encoder.run(None, {"input_values": wave, "attention_mask": mask})
        limit = max(4, int(wave.shape[1] / _MODEL_RATE * _TOKENS_PER_SECOND))
        return self._text(self._tokens(states, mask, limit))

    def _tokens(self, states: FloatArray, mask: npt.NDArray[np.int64], limit: int) -> list[int]:
        """Write tokens greedily until the end token or the limit."""
        empty = np.zeros((1, _HEADS, 0, _HEAD_SIZE), dtype=np.float32)
        inputs: dict[str, Any] = {
            "encoder_attention_mask": mask,
            "encoder_hidden_states": states,
            "input_ids": np.array([[_START_TOKEN]], dtype=np.int64),
            "use_cache_branch": np.array([False]),
        }
        for layer in range(_LAYERS):
            for part in ("decoder.key", "decoder.value", "encoder.key", "encoder.value"):
                inputs[f"past_key_values.{layer}.{part}"] = empty
        tokens: list[int] = []
        while len(tokens) < limit:
            results: Mapping[str, Any] = dict(
                zip(self._outputs, self._decoder.run(self._outputs, inputs), strict=True)
            )
            token = int(results["logits"][0, -1].argmax())
            if token == _END_TOKEN:
                break
            tokens.append(token)
            first = len(tokens) == 1
            for name, value in results.items():
                # What the decoder attends to in the sound never changes, so it is kept from the first step.
                if name.startswith("present.") and (first or ".decoder." in name):
                    inputs[name.replace("present.", "past_key_values.")] = value
            inputs["input_ids"] = np.array([[token]], dtype=np.int64)
            inputs["use_cache_branch"] = np.array([True])
        return tokens

    def _text(self, tokens: list[int]) -> str:
        """Join tokens: some stand for single bytes of UTF-8, and a low line stands for a space."""
        raw = b"".join(self._words[token] for token in tokens if token < len(self._words))
        return raw.decode("utf-8", errors="ignore").replace("\u2581", " ").strip()


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _read_words(data: bytes) -> list[bytes]:
    """Read the word list: for each token a length (seven bits a byte, least significant first) and its bytes."""
    words: list[bytes] = []
    position = 0
    while position < len(data):
        length = shift = 0
        while True:
            byte = data[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        words.append(data[position : position + length])
        position += length
    return words
