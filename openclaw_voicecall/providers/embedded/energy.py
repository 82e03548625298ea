"""Voice activity by energy, as a turn detector: needs no model, and takes every sound on the line for speech."""

from collections.abc import Sequence

from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.media.vad import EnergyVad
from openclaw_voicecall.providers.embedded.settings import EnergyConfig


class EnergyDetector:
    """Hears one call's caller and says when sound begins and ends.

    Args:
        config: How long sound and quiet must last.
    """

    def __init__(self, config: EnergyConfig) -> None:
        self._vad = EnergyVad(start_ms=config.start_ms, stop_ms=config.stop_ms)

    def push(self, audio: bytes) -> Sequence[SpeechEdge]:
        """Take the next mu-law audio of any length and return the edges found in it, oldest first."""
        return [SpeechEdge(speaking=edge.speaking, ago=edge.ago) for edge in self._vad.push(audio)]
