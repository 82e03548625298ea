"""Whether the far end plays what it is sent.

A carrier echoes a mark once the audio before it was played. So while the agent speaks it is asked for an echo every
now and then. One that has echoed before, and does not any more, plays nothing: it reads too slowly, or nobody is there.
"""

from collections import deque
from typing import Final

EVERY: Final = 1.5
"""Seconds of audio from one question to the next."""
LATE: Final = 2.0
"""Seconds by which an echo may be late."""
_PREFIX: Final = "line:"


class Echoes:
    """The questions of one call to its media stream. Times are seconds of one clock, given as `now`."""

    def __init__(self) -> None:
        self._count = 0
        self.forget()

    def forget(self) -> None:
        """Another stream begins: nothing is known of it."""
        self._waiting: deque[tuple[str, float]] = deque()
        self._echoes = False
        self._asked_for = float("-inf")
        self._proof = float("-inf")

    def question(self, ends: float) -> str:
        """The name of a mark to be sent now, behind audio that ends at this time; empty when none is due."""
        if ends - self._asked_for < EVERY:
            return ""
        self._asked_for = ends
        self._count += 1
        name = f"{_PREFIX}{self._count}"
        self._waiting.append((name, ends))
        return name

    def due(self, name: str) -> float | None:
        """When the audio before a question was to end, as far as could be reckoned; None for any other mark."""
        return next((due for waiting, due in self._waiting if waiting == name), None)

    def echoed(self, name: str, now: float) -> bool:
        """A mark came back; whether it was one of these questions."""
        self._echoes = True
        self._proof = now
        if not name.startswith(_PREFIX):
            return False
        while any(name == waiting for waiting, _ in self._waiting):
            self._waiting.popleft()
        return True

    def cleared(self, now: float) -> None:
        """The far end was told to drop its audio: it echoes all at once. When it begins anew is asked at once."""
        self._waiting = deque((name, min(due, now)) for name, due in self._waiting)
        self._asked_for = float("-inf")

    def silent_since(self, now: float) -> float | None:
        """Since when nothing was played, as far as is known; None as long as echoes come, or never came."""
        if not self._echoes or not self._waiting or now < self._waiting[0][1] + LATE:
            return None
        return max(self._proof, self._waiting[0][1] - EVERY)
