"""What the agent's side says without being asked, and what becomes of a call when one of its turns is over.

Four things wait for a free floor: lines that have to be said, the first words (a greeting, or an apology after a
failure), dialled turns of the caller, and texts of the owner. A turn that fails is apologised for, but not for ever:
failures are counted.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from openclaw_voicecall.core.floor import Floor, Unheard
from openclaw_voicecall.core.policy import CallPolicy, MustSay
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Caller
from openclaw_voicecall.core.turns import AgentTurn, Kind
from openclaw_voicecall.errors import LocalProtocolError

QUEUE_LIMIT: Final = 20
"""Texts of the owner that may wait for the floor."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The call is to end, and why."""

    reason: EndReason
    goodbye: bool = False
    """Whether the far party is told first."""


class Agenda:
    """What waits to be said on one call, and how many of its turns failed in a row.

    Args:
        policy: The tuning of the call.
        floor: Where it is said.
    """

    def __init__(self, policy: CallPolicy, floor: Floor) -> None:
        self.failures = 0
        self._policy = policy
        self._floor = floor
        self._notices = deque(policy.must_say)
        self._first: tuple[Kind, str] | None = (Kind.GREETING, policy.greeting) if policy.greeting else None
        self._dialled: deque[str] = deque()
        self._texts: deque[str] = deque()
        self._doubted = False

    @property
    def queued(self) -> int:
        """How many texts of the owner wait."""
        return len(self._texts)

    def message(self) -> str:
        """What is said to a machine after its beep; empty for nothing."""
        if not self._policy.greeting:
            return ""
        return " ".join((*(line.text for line in self._policy.must_say), self._policy.greeting))

    def take_said(self, turn: AgentTurn) -> tuple[MustSay, ...]:
        """The lines that had to be said and were heard to their end with this turn, each once."""
        if turn.was_heard and turn.kind is Kind.NOTICE and self._notices:
            return (self._notices.popleft(),)
        return self._policy.must_say if turn.was_heard and turn.kind is Kind.VOICEMAIL else ()

    def add_apology(self, text: str) -> None:
        """Say this first once the floor is free, unless something else is to be said first already."""
        if text and self._first is None:
            self._first = (Kind.APOLOGY, text)

    def break_silence(self, text: str) -> None:
        """Say this, unless something is due anyway: both sides might wait for the other."""
        if not (self._texts or self._dialled):
            self.add_apology(text)

    def warn(self, text: str) -> None:
        """Say this as soon as the floor is free, before texts of the owner."""
        if text:
            self._texts.appendleft(text)

    def unheard(self, why: Unheard) -> Ending | None:
        """The caller spoke, as it seems, and no word of it came to us.

        A transcriber that fails counts as a failed turn. One that hears no words may be right, so it is doubted once,
        until something was understood again: a noisy line must not end the call, nor be talked to all the time.
        """
        if why is Unheard.WORDLESS:
            if not self._doubted:
                self._doubted = True
                self._apologise()
            return None
        self.failures += 1
        if self.failures >= self._policy.max_failures:
            return Ending(EndReason.TRANSCRIPTION_FAILED, goodbye=True)
        self._apologise()
        return None

    def add_text(self, text: str) -> None:
        """Say this once the floor is free and the caller is quiet.

        Raises:
            LocalProtocolError: There is nothing to say, or too much waits already. No text is ever dropped for it.
        """
        if not text.strip():
            raise LocalProtocolError("there is nothing to say")
        if len(self._texts) >= QUEUE_LIMIT:
            raise LocalProtocolError(f"{QUEUE_LIMIT} texts already wait to be said")
        self._texts.append(text)

    def add_digits(self, digits: str) -> None:
        """Take up a dialled turn: at once if the agent may be interrupted, otherwise once the floor is free."""
        if self._floor.is_open and self._floor.may_interrupt:
            self._floor.answer("", digits)
        else:
            self._dialled.append(digits)

    def drop_texts(self) -> None:
        """The end is decided: nothing more is said."""
        self._notices.clear()
        self._first = None
        self._texts.clear()

    def write_digits(self) -> None:
        """Write down the dialled turns that can no longer be taken up."""
        while self._dialled:
            self._floor.write("caller", f"[keys {self._dialled.popleft()}]", self._floor.turn)

    def proceed(self, now: float, *, dialling: bool) -> None:
        """Give a free floor to what waits for it. Texts of the owner also wait while the caller talks or dials."""
        floor = self._floor
        if not floor.is_free:
            return
        if self._notices:
            floor.open_turn(Kind.NOTICE, self._notices[0].text)
        elif self._first is not None:
            (kind, text), self._first = self._first, None
            floor.open_turn(kind, text)
        elif floor.words.ready:
            floor.commit(now)
        elif self._dialled:
            floor.answer("", self._dialled.popleft())
        elif self._texts and floor.caller.state is Caller.QUIET and not dialling:
            floor.open_turn(Kind.SAYING, self._texts.popleft())

    def review(self, turn: AgentTurn, *, media_lost: bool) -> Ending | None:
        """Draw the conclusions from an agent's turn that is over; return the end of the call if it follows."""
        self._count(turn)
        self._doubted = self._doubted and turn.kind is not Kind.RESPONSE
        exhausted = turn.failure is not None and self.failures >= self._policy.max_failures
        if turn.interrupted and not (exhausted and not turn.is_last_word):
            return self._after_cut(turn) if media_lost else None
        if turn.kind is Kind.VOICEMAIL:
            return Ending(turn.failure or EndReason.VOICEMAIL)
        if turn.kind is Kind.FAREWELL:
            return Ending(EndReason.COMPLETED)
        if turn.end_call:
            return Ending(EndReason.AGENT_HUNG_UP)
        if turn.failure is None:
            return None
        if exhausted:
            return Ending(turn.failure, goodbye=True)
        if self._is_message(turn):
            self._first = (turn.kind, turn.text)
        elif turn.kind is not Kind.NOTICE:  # which waits until it was heard, so that it is said again
            self._apologise()
        return None

    def _after_cut(self, turn: AgentTurn) -> Ending | None:
        """A lost stream has cut the turn. What nobody heard is said again once audio flows."""
        if turn.is_last_word:
            return Ending(EndReason.MEDIA_LOST)
        if turn.kind is Kind.NOTICE:
            pass
        elif self._is_message(turn) or (turn.kind is Kind.GREETING and not turn.heard_text()):
            self._first = (turn.kind, turn.text)
        elif turn.heard_text():
            pass
        elif turn.kind is Kind.SAYING:
            self._texts.appendleft(turn.text)
        else:
            # An answer is not asked for twice: what it did on the way may not be done again.
            self._apologise()
        return None

    def _is_message(self, turn: AgentTurn) -> bool:
        """Whether the turn is the message of a notification, which has to be heard to its end."""
        return turn.kind is Kind.GREETING and self._policy.hang_up_after_greeting is not None

    def _apologise(self) -> None:
        if self._policy.apology:
            self._first = (Kind.APOLOGY, self._policy.apology)

    def _count(self, turn: AgentTurn) -> None:
        """Count failed turns in a row. An apology that was heard does not end the row."""
        if turn.failure is not None:
            self.failures += 1
        elif turn.kind is not Kind.APOLOGY and turn.heard_text():
            self.failures = 0
