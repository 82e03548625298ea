"""Piper: a neural voice that was downloaded before. Runs inside a worker process."""

from pathlib import Path


class PiperModel:
    """A loaded voice.

    Args:
        path: Its `.onnx` file; its settings lie beside it as `.onnx.json`.
    """

    def __init__(self, path: Path) -> None:
        from piper import PiperVoice

        self._voice = PiperVoice.load(str(path))

    def speak(self, text: str, voices: list[str], speed: float) -> tuple[int, bytes]:
        """Speak a sentence; gives its rate in Hz and its 16-bit samples.

        Args:
            text: What to say.
            voices: Not used: a file holds one voice.
            speed: 1.0 is the voice's own pace.
        """
        from piper import SynthesisConfig

        rate, pieces = 0, []
        for chunk in self._voice.synthesize(text, SynthesisConfig(length_scale=1 / speed)):
            rate = chunk.sample_rate
            pieces.append(chunk.audio_int16_bytes)
        return rate or 22050, b"".join(pieces)
