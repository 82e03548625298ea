"""Notices that the caller speaks and the transcriber says nothing about it.

A vendor may accept audio for ever and answer nothing: no error, no words. A cheap ear of our own listens along and
compares. It counts audio, never a clock.
"""

from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.vad import EnergyVad

VOICE = 0.8
"""Seconds of voice that a working transcriber would have noticed."""
PATIENCE = 2.5
"""Seconds after the voice in which it must have said something about it."""
PATIENCE_AGAIN = 1.5
"""The same for one that is told again what another, or it itself, has not heard: the caller has waited already."""


class DeafnessWatch:
    """Compares what one call's caller does with what the transcriber says about it."""

    def __init__(self) -> None:
        self._vad = EnergyVad()
        self._voice = 0.0
        self._since = 0.0

    @property
    def voice_sounds(self) -> bool:
        """Whether the caller speaks now."""
        return self._vad.speaking

    @property
    def voice_unanswered(self) -> bool:
        """Whether there was voice since the transcriber last said anything."""
        return self._vad.speaking or self._voice > 0

    def push(self, audio: bytes) -> bool:
        """Take the next caller audio, mu-law 8 kHz; True once the transcriber must be deaf."""
        self._vad.push(audio)
        length = seconds(len(audio))
        if self._vad.speaking:
            self._voice += length
            self._since = 0.0
            return False
        self._since += length
        return self._voice >= VOICE and self._since >= PATIENCE

    def told_again(self) -> None:
        """Another stream gets the voice that is unanswered, and some time to say something about it."""
        if self._voice > 0:
            self._since = min(self._since, PATIENCE - PATIENCE_AGAIN)

    def answered(self) -> None:
        """The transcriber said something: it hears."""
        self._voice = self._since = 0.0
