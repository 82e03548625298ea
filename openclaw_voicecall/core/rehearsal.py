"""Answers that are begun while the silence that ends the caller's turn still runs.

When the words of a pause are known, nobody can tell yet whether more of them will come. A rehearsal bets that none
will: the answer is begun, and nobody hears it. If the turn ends with these very words it becomes the agent's turn. If
the caller goes on, or anything else happens, it is dropped, and neither the record nor another order knows of it.
"""

from openclaw_voicecall.core.commands import Command, DropRehearsal, Rehearse
from openclaw_voicecall.core.policy import SpeculationPolicy
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.core.turns import CallerTurn


class Rehearsals:
    """The rehearsals of one call, one at a time.

    Args:
        policy: Whether there are any, and when.
        timers: The deadlines of the call; `REHEARSAL` is armed here.
        out: Where commands go.
    """

    __slots__ = ("_out", "_policy", "_starts", "_text", "_timers", "_turn")

    def __init__(self, policy: SpeculationPolicy, timers: Timers, out: list[Command]) -> None:
        self._policy = policy
        self._timers = timers
        self._out = out
        self._turn: int | None = None
        self._text = ""
        self._starts = 0

    def look(self, words: CallerTurn, turn: int, now: float) -> None:
        """The caller pauses, and is answered in this turn if nothing more is said: rehearse that once it is due."""
        if not self._policy.enabled:
            return
        self._timers.cancel(Timer.REHEARSAL)
        if self._turn is not None and (self._turn, self._text) != (turn, words.text):
            self.drop()
        if self._turn is not None or not words.text or self._starts >= self._policy.most_starts:
            return
        due = self._due(words)
        if due is None or (words.endpoint() <= now and not words.open):
            return  # nothing to go by, or nothing to win: the turn is over
        if due > now:
            self._timers.arm(Timer.REHEARSAL, due)
        else:
            self._turn, self._text = turn, words.text
            self._starts += 1
            self._out.append(Rehearse(turn, words.text))

    def drop(self) -> None:
        """What was rehearsed, if anything, will not be said."""
        self._timers.cancel(Timer.REHEARSAL)
        if self._turn is not None:
            self._out.append(DropRehearsal(self._turn))
            self._turn = None

    def commit(self, turn: int, text: str) -> None:
        """This is being answered: what was rehearsed for it is used, anything else dropped."""
        if (turn, text) == (self._turn, self._text):
            self._turn = None
        self.drop()

    def caller_is_quiet(self) -> None:
        """The caller's turn is over, however it ended: the next one may be rehearsed as often again."""
        self.drop()
        self._starts = 0

    def _due(self, words: CallerTurn) -> float | None:
        """When the words have been stable for long enough; None where nothing shows it."""
        if not words.open:
            return words.ended_at + self._policy.stable_after
        if not self._policy.on_interims:
            return None
        return max(words.ended_at, words.changed_at) + self._policy.stable_after
