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
END_PATIENCE = 3.5
"""Seconds after the voice in which it must have said that an utterance which it has heard begin is over."""
PATIENCE_AGAIN = 1.5
"""The same for one that is told again what another, or it itself, has not heard: the caller has waited already."""


class DeafnessWatch:
    """Compares what one call's caller does with what the transcriber says about it."""

    def __init__(self) -> None:
        self._vad = EnergyVad()
        self._voice = 0.0
        self._spoken = 0.0
        self._since = 0.0
        self._unfinished = False
        self._awaits_end = False

    @property
    def voice_sounds(self) -> bool:
        """Whether the caller speaks now."""
        return self._vad.speaking

    @property
    def voice_stirs(self) -> bool:
        """Whether the caller speaks, or may have begun to."""
        return self._vad.stirring

    @property
    def voice_unanswered(self) -> bool:
        """Whether there was voice since the transcriber last said anything."""
        return self._vad.speaking or self._voice > 0

    @property
    def words_owed(self) -> bool:
        """Whether the caller said something, is quiet again, and the transcriber has not answered it."""
        return not self._vad.speaking and (self._voice >= VOICE or self._awaits_end)

    def push(self, audio: bytes) -> bool:
        """Take the next caller audio, mu-law 8 kHz; True once the transcriber must be deaf."""
        self._vad.push(audio)
        length = seconds(len(audio))
        if self._vad.speaking:
            self._voice += length
            self._spoken += length
            self._since = 0.0
            self._awaits_end = self._awaits_end or self._unfinished  # it may have noticed before our ear did
            return False
        self._since += length
        if self._voice >= VOICE:
            return self._since >= PATIENCE
        return self._awaits_end and self._since >= END_PATIENCE

    def told_again(self) -> None:
        """Another stream gets the voice that is unanswered, and some time to say something about it."""
        if self._voice > 0 or self._awaits_end:
            self._since = min(self._since, PATIENCE - PATIENCE_AGAIN)

    @property
    def spoken(self) -> bool:
        """Whether there was voice enough for words in the utterance that is not over yet."""
        return self._spoken >= VOICE

    def take_spoken(self) -> bool:
        """An utterance is over: whether there was voice enough in it for words."""
        spoken, self._spoken = self.spoken, 0.0
        return spoken

    def answered(self, *, unfinished: bool = False) -> None:
        """The transcriber said something: it hears.

        Args:
            unfinished: That an utterance has begun, or goes on: its end has to come, too.
        """
        # What only the transcriber takes for a voice may last for as long as the noise of the line does.
        self._unfinished = unfinished
        self._awaits_end = unfinished and (self._awaits_end or self._vad.speaking or self._voice > 0)
        self._voice = self._since = 0.0
