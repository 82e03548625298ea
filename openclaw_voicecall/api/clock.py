"""Time and ids come from outside, so that tests can decide them."""

from typing import Protocol


class Clock(Protocol):
    """Two clocks with two jobs."""

    def monotonic(self) -> float:
        """Seconds for deadlines and durations; never jumps."""
        ...

    def wall(self) -> float:
        """Unix seconds for people to read; may jump."""
        ...


class Ids(Protocol):
    """Makes the ids and secrets of calls."""

    def call_id(self) -> str:
        """A new call id."""
        ...

    def token(self) -> str:
        """A new secret of at least 128 bits, safe in a URL path."""
        ...
