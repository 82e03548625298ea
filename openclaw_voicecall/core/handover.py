"""Handing the far party over to another number, and getting them back when nobody answers there.

A carrier that accepts a transfer has done nothing yet. Only an answer of the other number counts; everything else,
also silence, brings the far party back to the agent.
"""

from openclaw_voicecall.core.agenda import Agenda
from openclaw_voicecall.core.commands import Command, TransferCall
from openclaw_voicecall.core.floor import Floor
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.timers import Timer, Timers
from openclaw_voicecall.errors import RemoteProtocolError

SAID_A_SECOND = 10.0
"""Characters that a voice says in a second, at least."""


def time_to_answer(policy: CallPolicy, announce: str) -> float:
    """Seconds in which the other number has to answer; nobody has while they are told what it is about."""
    return policy.transfer_limit + len(announce) / SAID_A_SECOND


class Handover:
    """The transfer of one call.

    Args:
        policy: The tuning of the call.
        timers: The deadlines of the call.
        floor: Closed while the carrier has the far party.
        agenda: Says so when the transfer came to nothing.
        out: Where commands go.
    """

    def __init__(
        self, policy: CallPolicy, timers: Timers, floor: Floor, agenda: Agenda, out: list[Command]
    ) -> None:
        self._policy = policy
        self._timers = timers
        self._floor = floor
        self._agenda = agenda
        self._out = out
        self._was_answered = False
        self.under_way = False
        """Whether the far party is being handed over, or was."""
        self.nobody_left: EndReason | None = None
        """Why nobody of ours could talk to them, should they come back."""

    def begin(self, to: str, announce: str, now: float) -> None:
        """Let the carrier have the far party."""
        self._floor.close_floor()
        self._floor.write_caller_words()
        self.under_way = True
        self._timers.cancel(Timer.IDLE, Timer.MEDIA, Timer.WARNING)
        self._timers.arm(Timer.TRANSFER, now + time_to_answer(self._policy, announce))
        self._out.append(TransferCall(to, announce))

    def answered(self, now: float) -> None:
        """The other number answered. Raises `RemoteProtocolError` when nobody is being handed over."""
        self._require_open()
        self._was_answered = True
        self._timers.cancel(Timer.TRANSFER)
        self._timers.arm(Timer.MAX_DURATION, now + self._policy.transfer_duration)

    def failed(self, now: float, why: str, *, audible: bool) -> None:
        """It came to nothing: the agent says so and goes on. Raises `RemoteProtocolError` when nobody is handed over.

        Args:
            now: The time.
            why: `busy`, `no-answer`, or anything else.
            audible: Whether audio still flows, because the carrier refused at once.
        """
        self._require_open()
        self.under_way = False
        self._timers.cancel(Timer.TRANSFER)
        self._timers.arm(Timer.IDLE, now + self._policy.idle_timeout)
        policy = self._policy
        said = {"busy": policy.transfer_busy, "no-answer": policy.transfer_no_answer}
        self._agenda.add_apology(said.get(why, policy.transfer_failed) or policy.transfer_failed)
        if audible:
            self._floor.open_floor(now)
        else:
            self._timers.arm(Timer.MEDIA, now + self._policy.media_grace)

    def _require_open(self) -> None:
        if not self.under_way or self._was_answered:
            raise RemoteProtocolError("nobody is being handed over")
