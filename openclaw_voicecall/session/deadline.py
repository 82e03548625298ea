"""One deadline for a turn, carried through all that has to happen until the caller hears something of it.

A turn passes several hops, each with limits and fallbacks of its own. Every one of them asks the turn's deadline how
long it may take, so that the sum is never more than the caller was promised.
"""

from dataclasses import dataclass, field
from typing import Final

HEARD_BY: Final = 10.0
"""Seconds after the caller's last word by which the answer has begun, or an apology was heard."""
ON_THE_WAY: Final = 0.5
"""Seconds of these that audio may take from the first piece of it to the caller's ear."""
FIRST_AUDIO_LIMIT: Final = 3.0
"""Seconds a synthesizer may take to its first sound before the next one is asked."""
NEXT_AUDIO_LIMIT: Final = 2.0
"""The same for the next one: the caller has waited already."""
LEAST: Final = 1.0
"""Seconds that a synthesizer is given in any case."""


@dataclass(slots=True)
class Deadline:
    """Of one turn. All times are seconds of the monotonic clock."""

    turn: int
    asked: float
    """When the caller's last word ended; of what is said unasked, when it was to be said."""
    reply_by: float
    """When the reply has to be complete."""
    late: bool = False
    """Whether the caller was told that it takes long. That is said once."""
    fillers: list[str] = field(default_factory=list)
    """What was said to bridge the wait."""

    def voice_limit(self, now: float, *, first: bool, left: int) -> float:
        """Seconds until the first sound of an utterance.

        Args:
            now: Monotonic time.
            first: Whether no other synthesizer was asked for it yet.
            left: How many synthesizers can be asked, this one included.
        """
        usual = FIRST_AUDIO_LIMIT if first else NEXT_AUDIO_LIMIT
        rest = self.asked + HEARD_BY - ON_THE_WAY - now
        if self.late or (first and rest <= 0):
            return usual  # the caller was told, or the promise was broken before anything was to be said
        return min(usual, max(LEAST, rest / left))

    def words_limit(self, now: float, *, left: int) -> float:
        """Seconds until the first words of a reply, so that each responder that is left has as long.

        Args:
            now: Monotonic time.
            left: How many responders can be asked, this one included.
        """
        return max(0.0, self.reply_by - now) / left


class Deadlines:
    """The deadline of the turn that a call is in."""

    def __init__(self) -> None:
        self._current = Deadline(0, 0.0, 0.0)

    @property
    def current(self) -> Deadline:
        """Of the newest turn."""
        return self._current

    def begin(self, turn: int, now: float, *, waited: float = 0.0, reply_within: float = 0.0) -> Deadline:
        """A turn begins.

        Args:
            turn: Its number.
            now: Monotonic time.
            waited: Seconds since the caller's last word.
            reply_within: Seconds for the whole reply.
        """
        self._current = Deadline(turn, now - waited, now + reply_within)
        return self._current

    def of(self, turn: int, now: float) -> Deadline:
        """The deadline of a turn; a turn that nobody began has all its time."""
        return self._current if self._current.turn == turn else Deadline(turn, now, now)
