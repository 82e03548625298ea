"""Whether the caller's audio keeps up with the clock.

A turn ends after so much silence of the caller. What counts is silence that was heard: where the audio of the last
moments has not come yet, because a network or a busy machine holds it up, the caller may well be speaking in it.
"""

from typing import Final

BEHIND: Final = 0.05
"""Seconds without a frame from which on audio is missing; frames are 20 ms long."""
PATIENCE: Final = 0.3
"""Seconds for which missing audio is waited for."""
VOICE_PATIENCE: Final = 0.25
"""Seconds that a transcriber has to notice a voice which our own ear hears."""
AGAIN: Final = 0.02
"""Seconds after which to look again."""
_STEADY: Final = 0.9
"""Part of the time that audio must fill; carriers that send nothing in silence are never behind."""
_KNOWN_AFTER: Final = 1.0
"""Seconds after which that can be told."""


class Arrivals:
    """The frames of one media stream. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._first = self._last = float("-inf")
        self._heard = 0.0

    def came(self, seconds: float, now: float) -> None:
        """Audio of this length has just come."""
        if now - self._last > _KNOWN_AFTER:
            self._first, self._heard = now - seconds, 0.0
        self._heard += seconds
        self._last = now

    def are_behind(self, now: float) -> bool:
        """Whether a stream that has been steady so far owes some audio."""
        lasted = self._last - self._first
        steady = lasted >= _KNOWN_AFTER and self._heard >= _STEADY * lasted
        return steady and now - self._last > BEHIND
