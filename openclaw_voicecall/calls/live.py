"""The calls that hold a slot, and how each keeps its record true to its journal."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from openclaw_voicecall.api.carrier import CarrierEvent, LegOrder
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.policy import CallPlan
from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.calls import record as records
from openclaw_voicecall.calls.team import Team
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.events import TransferAnswered, TransferFailed
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Leg
from openclaw_voicecall.errors import CallNotFound, VendorError
from openclaw_voicecall.observe.latency import LatencyTracker
from openclaw_voicecall.session.effects import pauses
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.session.turns import TurnLine

LIMIT_MARGIN = 10.0
"""Seconds by which the carrier's own limit of a call is longer than ours."""
LIMIT_RETRIES = (0.3, 0.6)
"""Seconds between the first attempts to have the carrier limit a call: it is to be done within two seconds."""


@dataclass(slots=True)
class LiveCall:
    """One call that holds a slot."""

    session: CallSession
    record: CallRecord
    plan: CallPlan
    created: float
    """Monotonic seconds."""
    order: asyncio.Future[LegOrder]
    """The answer to an inbound offer."""
    busy: bool = False
    """Refused for want of a free slot, so the caller hears the busy tone."""
    task: asyncio.Task[None] | None = None
    overdue: bool = False
    """Found past its limit by the last sweep."""
    _latency: LatencyTracker = field(default_factory=LatencyTracker)
    _seq: int = 0

    def write(
        self, clock: Clock, event: str, data: dict[str, Any], commands: tuple[dict[str, Any], ...], call: Call
    ) -> JournalEntry:
        """Make a journal entry and bring the record up to date with it."""
        self._seq += 1
        wall = self._wall(clock)
        view = call.snapshot()
        entry = JournalEntry(
            call_id=self.record.call_id,
            seq=self._seq,
            at=wall,
            elapsed=clock.monotonic() - self.created,
            event=event,
            data=data,
            commands=commands,
            states={"leg": view.leg, "media": view.media, "caller": view.caller, "agent": view.agent},
        )
        leg_open = self.session.leg_open
        changed = records.after(self.record, event, commands, call, wall, data=data, leg_open=leg_open)
        latency = self._latency.push(entry)
        if latency is not None:
            changed = replace(changed, latencies=(*changed.latencies, latency))
        reason = changed.end_reason or records.decided_reason(changed)
        if reason and reason not in records.ENDED_WELL:
            changed = replace(changed, detail=self.session.detail)
        self.record = changed
        return entry

    @property
    def record_now(self) -> CallRecord:
        """The record with what the line meter shows at this moment."""
        return self.record if self.record.over else replace(self.record, line=self.session.meter.figures())

    @property
    def seq(self) -> int:
        """Journal entries so far."""
        return self._seq

    def finish(self, clock: Clock, reason: EndReason) -> JournalEntry:
        """End a call that is not over when all of it is closed: its leg goes on, or it did not come to its own end.

        Returns:
            Its last journal entry.
        """
        if self.session.leg_open:
            self.record = records.ending(self.record, reason)
        else:
            self.record = records.closed(self.record, reason, self._wall(clock), self.session.detail)
        self._seq += 1
        return JournalEntry(
            call_id=self.record.call_id,
            seq=self._seq,
            at=self._wall(clock),
            elapsed=clock.monotonic() - self.created,
            event="closed" if self.record.over else "leg-open",
            data={"reason": self.record.end_reason or str(records.decided_reason(self.record))},
        )

    def _wall(self, clock: Clock) -> float:
        """The time of day by the clock as it went when the call began: setting it must not make a call longer."""
        return self.record.created_at + clock.monotonic() - self.created

    async def how_to_go_on(self, event: CarrierEvent) -> LegOrder:
        """What the carrier is to do after what it reports; `stream` without an address asks for a new stream."""
        session = self.session
        session.absence.heard_of()
        if session.call.snapshot().leg in (Leg.ENDING, Leg.ENDED):
            return LegOrder(action="hang-up")
        match event.kind:
            case "answered":
                return await self.next_turn() if session.takeover.by_turns else LegOrder(action="stream")
            case "transfer":
                return await self._after_transfer(event)
            case "turn" if isinstance(session.parts.speaking, TurnLine):
                session.parts.speaking.heard(event.text, event.digits)
            case "poll" if isinstance(session.parts.speaking, TurnLine):
                session.parts.speaking.said()
            case _:
                if await session.takeover.next_stream():
                    return LegOrder(action="stream")
        return await self.next_turn()

    async def next_turn(self) -> LegOrder:
        """The carrier speaks and listens: what it is to do next."""
        line = self.session.takeover.go_by_turns()
        order = await line.next_order()
        self.session.absence.order_given(line.waiting_seconds)
        return replace(order, call_id=self.record.call_id)

    async def _after_transfer(self, event: CarrierEvent) -> LegOrder:
        session, verdict = self.session, event.verdict
        if verdict in ("answered", "completed"):
            session.post(TransferAnswered())
            return LegOrder(action="hang-up" if verdict == "completed" else "none")
        session.post(TransferFailed(verdict if verdict in records.PLAIN_RESULTS else event.detail or verdict))
        if session.parts.capabilities.limits_duration:
            session.start(self.limit_duration())  # for the transfer it was lifted
        if await session.takeover.next_stream(lost=False):
            return LegOrder(action="stream")
        return await self.next_turn()

    async def limit_duration(self) -> None:
        """Have the carrier end a call that it offered, should nobody else do so."""
        limit = self.plan.policy.max_duration + LIMIT_MARGIN
        for pause in chain(LIMIT_RETRIES, pauses()):
            try:
                await self.session.parts.carrier.limit_duration(self.session.leg, limit)
            except (VendorError, OSError) as error:
                # Until then only this process would end the call in time.
                self.session.carrier_failed("limit", str(error), f"tried again in {pause:g} s")
                await asyncio.sleep(pause)
            else:
                return

    def learn_leg(self, carrier_call_id: str) -> None:
        """The carrier has told its id of the leg."""
        if carrier_call_id and not self.session.carrier_call_id:
            self.session.carrier_call_id = carrier_call_id
            self.session.leg_known.set()
            self.record = replace(self.record, carrier_call_id=carrier_call_id)
            self.session.note("leg-known", {"carrier_call_id": carrier_call_id})


class LiveCalls:
    """Every call of the process that holds a slot, by our id.

    Args:
        team: Knows the calls that other processes hold.
    """

    def __init__(self, team: Team | None = None) -> None:
        self._team = team
        self._calls: dict[str, LiveCall] = {}
        self._reserved = 0
        self._being_made: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def reserved(self) -> Iterator[int]:
        """Hold a slot while a call is decided about; gives how many others are held or in use.

        A call that is over, or was refused, takes nobody's place while it is being closed; nor does one that is let go
        of before its carrier has ended the leg.
        """
        others = self.held + self._reserved + (self._team.slots if self._team else 0)
        self._reserved += 1
        try:
            yield others
        finally:
            self._reserved -= 1

    @property
    def held(self) -> int:
        """How many calls of this process hold a slot that is not free for another."""
        return sum(not (call.record.over or call.session.released) for call in self._calls.values())

    @property
    def busy(self) -> int:
        """The same with those that are being made."""
        return self.held + len(self._being_made)

    @contextmanager
    def being_made(self, call_id: str) -> Iterator[None]:
        """While a call has its record and is not among the live ones yet."""
        self._being_made.add(call_id)
        try:
            yield
        finally:
            self._being_made.discard(call_id)

    def __contains__(self, call_id: str) -> bool:
        if self._team is not None and call_id in self._team:
            return True
        return call_id in self._calls or call_id in self._being_made

    def dialled_elsewhere(self, number: str) -> bool:
        """Whether another process calls this number and has not told yet which leg that is."""
        return self._team is not None and self._team.is_dialling(number)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(tuple(self._calls.values()))

    def add(self, call: LiveCall) -> None:
        """Take a slot."""
        self._calls[call.record.call_id] = call
        self._idle.clear()

    def remove(self, call_id: str) -> None:
        """Give a slot back."""
        self._calls.pop(call_id, None)
        if not self._calls:
            self._idle.set()

    def get(self, call_id: str) -> LiveCall | None:
        """A call by our id."""
        return self._calls.get(call_id)

    def find(self, call_id: str) -> LiveCall:
        """A call by our id or the carrier's. Raises `CallNotFound`."""
        found = self.known(call_id)
        if found is None:
            raise CallNotFound(f"no call has the id {call_id}; `openclaw-voicecall calls` lists them")
        return found

    def known(self, call_id: str) -> LiveCall | None:
        """A call by our id or the carrier's; None when none is live."""
        return self._calls.get(call_id) or self._first(
            lambda call: bool(call_id) and call.session.carrier_call_id == call_id
        )

    def of(self, carrier: str, event: CarrierEvent) -> LiveCall | None:
        """The call that a carrier speaks of: by our own id where the carrier carries it, else by its own."""
        named = self._calls.get(event.call_id) if event.call_id else None
        if named is not None and (named.record.carrier == carrier or event.kind == "joined"):
            return named
        return self._first(
            lambda call: (
                call.record.carrier == carrier and call.session.carrier_call_id == event.carrier_call_id
            )
        )

    async def wait_idle(self) -> None:
        """Return once no call holds a slot."""
        await self._idle.wait()

    def _first(self, matches: Callable[[LiveCall], bool]) -> LiveCall | None:
        return next((call for call in self._calls.values() if matches(call)), None)
