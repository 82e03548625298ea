"""Calls that nobody talks on while their leg may still cost money: each is asked for at its carrier and ended there.

They come from three sides: an earlier process died with them, the carrier did not end them when it was told to, or
nobody knows whether a dial was carried out. Their records stay open until the carrier says that the leg is over, so
that a crash at any moment leaves them to the next start. They hold no slot.

Nothing is dialled from what is stored, and no talk is resumed: what was being said, and to whom, died with the process
that knew it. Who was handed over to another number talks on, because they need nobody here.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from openclaw_voicecall.api.carrier import Carrier, CarrierEvent, LegRef, LegStatus
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import ENDING, CallRecord, CallStore, JournalEntry
from openclaw_voicecall.calls import record as records
from openclaw_voicecall.calls.engines import Engines
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.live import LiveCalls
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import StoreError, VendorError, VendorUnavailable
from openclaw_voicecall.observe.logs import call_id as logged_call
from openclaw_voicecall.session.effects import pauses

logger = logging.getLogger(__name__)

FIRST_LOOK = 2.0
"""Seconds that a start waits for its carriers to answer about left calls; what takes longer goes on beside it."""
ASK_LIMIT = 8.0
"""Seconds that a carrier may take for all that is asked of it about one leg at a time."""
AT_A_TIME = 8
"""Legs that are asked about at once."""
LOOK_AGAIN = (0.2, 0.8, 1.5, 2.5, 5.0)
"""Seconds between looks for a leg that the carrier does not list yet: 10 s in all."""
DIAL_SPAN = 60.0
"""Seconds from the record of a dial in which its leg can have begun."""
WATCH_EVERY = 30.0
"""Seconds between questions about a leg that goes on without us."""
LONGEST_LEG = 4 * 3600.0
"""Seconds that a leg may last whose record does not say."""
LEFT = "the service died during the call"
UNOWNED = "the carrier did not confirm the end of the call"


@dataclass(slots=True, eq=False)
class _Loose:
    """A call that nobody talks on."""

    record: CallRecord
    seq: int
    """Journal entries so far."""
    why: str
    look_again: Iterator[float] = field(default_factory=lambda: iter(LOOK_AGAIN))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first look."""
    task: asyncio.Task[None] | None = None
    taken: tuple[float, float] = (0.0, 0.0)
    """When it was taken: by the wall clock and by the monotonic one."""

    @property
    def leg(self) -> LegRef:
        return LegRef(call_id=self.record.call_id, carrier_call_id=self.record.carrier_call_id)


class Reconciler:
    """Ends the legs that nobody owns.

    Args:
        store: Where records are kept.
        engines: The carriers.
        live: Calls that somebody owns.
        hub: Takes journal entries.
        clock: Both clocks.
    """

    def __init__(
        self, store: CallStore, engines: Engines, live: LiveCalls, hub: JournalHub, clock: Clock
    ) -> None:
        self._store = store
        self._engines = engines
        self._live = live
        self._hub = hub
        self._clock = clock
        self._loose: dict[str, _Loose] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Semaphore(AT_A_TIME)

    @property
    def records(self) -> list[CallRecord]:
        """Records of the calls whose leg is still to be ended."""
        return [loose.record for loose in self._loose.values()]

    def record(self, call_id: str) -> CallRecord | None:
        """The record of such a call, by our id."""
        loose = self._loose.get(call_id)
        return loose.record if loose else None

    async def begin(self) -> None:
        """Take what earlier processes left open, and give the carriers a moment to answer.

        Raises:
            StoreError: The store cannot be read.
        """
        await self.take_unowned(LEFT)
        looks = [asyncio.create_task(loose.looked.wait()) for loose in self._loose.values()]
        if looks:
            await asyncio.wait(looks, timeout=FIRST_LOOK)
        for look in looks:
            look.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await self._hub.flush()

    async def take_unowned(self, why: str = UNOWNED) -> None:
        """Take the calls that are open in the store and that nobody owns. Raises `StoreError`."""
        for listed in await self._store.list_calls(limit=10_000, open_only=True):
            if self._is_owned(listed.call_id):
                continue
            entries = await self._store.journal(listed.call_id)
            # Again, because it may have been closed since the list was made.
            record = await self._store.get_call(listed.call_id)
            if record is not None and not record.over and not self._is_owned(record.call_id):
                self._take(_Loose(record, entries[-1].seq if entries else 0, why))

    def take(self, record: CallRecord, seq: int) -> None:
        """Take a call of this process whose leg goes on without it; `seq` counts its journal entries."""
        self._take(_Loose(record, seq, UNOWNED))

    async def stored(self, carrier: str, event: CarrierEvent) -> CallRecord | None:
        """The record of the call that a carrier speaks of, where it is no live one. Raises `StoreError`."""
        for call_id in (event.call_id, event.carrier_call_id):
            record = await self._store.get_call(call_id) if call_id else None
            if record is not None and record.carrier == carrier:
                return record
        return None

    async def heard(self, carrier: str, event: CarrierEvent) -> None:
        """The carrier spoke of a call that is not live."""
        try:
            record = await self.stored(carrier, event)
        except StoreError as error:
            logger.error("a call that %s speaks of cannot be looked up: %s", carrier, error)
            return
        loose = self._loose.get(record.call_id) if record is not None else None
        if loose is not None:
            self._learn_leg(loose, event.carrier_call_id)
            if event.kind == "transfer" and event.verdict not in ("answered", "completed"):
                loose.record = replace(loose.record, metadata=records.not_handed_over(loose.record))
            if event.kind == "ended":
                told = LegStatus(state="ended", reason=event.reason)
                self._close(loose, replace(told, reason=None) if _tells_nothing(event) else told)
            loose.wake.set()
        elif record is not None and record.over and event.kind in ("ringing", "machine"):
            logger.warning("call %s is over, but its leg is not; it is hung up", record.call_id)
            self._start(self._end_stray(replace(record, carrier_call_id=event.carrier_call_id)))

    async def close(self, limit: float) -> None:
        """Try once more to end what is left, for `limit` seconds at most, and stop. It stays open in the store."""
        for loose in self._loose.values():
            loose.wake.set()
        ending = [
            loose.task for loose in self._loose.values() if loose.task and not _talks_elsewhere(loose.record)
        ]
        if ending:
            await asyncio.wait(ending, timeout=limit)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_owned(self, call_id: str) -> bool:
        if call_id in self._live or call_id in self._loose:
            return True
        return self._hub.unsaved(call_id) is not None  # it is over, and the store has yet to hear of it

    def _take(self, loose: _Loose) -> None:
        loose.taken = max(self._clock.wall(), loose.record.created_at), self._clock.monotonic()
        self._loose[loose.record.call_id] = loose
        loose.task = self._start(self._settle(loose))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _settle(self, loose: _Loose) -> None:
        """Ask and hang up until the call is closed."""
        logged_call.set(loose.record.call_id)
        after_failure = pauses()
        while True:
            loose.wake.clear()
            overdue = _is_overdue(loose.record, self._time(loose))
            try:
                async with self._asking, asyncio.timeout(ASK_LIMIT):
                    pause = await self._look(loose, overdue=overdue)
            except Exception as error:  # whatever it is, the leg must not be left to itself
                pause = next(after_failure)
                if not isinstance(error, VendorError | StoreError | OSError | TimeoutError):
                    logger.exception("a leg could not be asked for")
                if not loose.record.over:
                    self._failed(loose, str(error) or "no answer in time", pause, last=overdue)
            loose.looked.set()
            if loose.record.over:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await loose.wake.wait()

    async def _look(self, loose: _Loose, *, overdue: bool) -> float:
        """Ask for a leg and end it. Returns the seconds until the next look, should the call not be closed by then."""
        carrier = self._engines.carriers.get(loose.record.carrier)
        if carrier is None:
            name = loose.record.carrier
            self._close(
                loose,
                detail=f"carrier {name!r} is not configured any more, so nobody was asked about the leg",
            )
            return 0.0
        if not loose.record.carrier_call_id:
            if not self._can_be_found(loose.record):
                self._close(loose, detail="it died before the carrier confirmed the call")
                return 0.0
            if not await self._found(loose, carrier):
                # The carrier may not list a leg yet that is so young.
                young = self._time(loose) - loose.record.created_at < sum(LOOK_AGAIN)
                pause = next(loose.look_again, None) if young else None
                if pause is None:
                    self._close(loose, detail="the carrier knows of no such call")
                return pause or 0.0
        status = await carrier.fetch_status(loose.leg)
        if status.state == "ended":
            self._close(loose, status)
        elif status.state == "live" and _talks_elsewhere(loose.record) and not overdue:
            return WATCH_EVERY
        else:
            await carrier.hang_up(loose.leg)
            self._close(
                loose, detail="the leg was still open and is hung up" if status.state == "live" else ""
            )
        return 0.0

    async def _found(self, loose: _Loose, carrier: Carrier) -> bool:
        """Look for the leg of a dial whose answer never came.

        Raises:
            VendorError: The carrier cannot be asked, or there are more such legs than we can have dialled.
        """
        record = loose.record
        if self._live.dialled_elsewhere(record.to_number):
            raise VendorUnavailable("another dial to the number is under way", operation="find the leg")
        found = await carrier.find_legs(
            to_number=record.to_number,
            from_number=record.from_number,
            since=record.created_at,
            until=record.created_at + DIAL_SPAN,
        )
        unowned = [sid for sid in found if await self._is_unowned(sid, record)]
        rivals = sum(_same_parties(other.record, record) for other in self._loose.values())
        if len(unowned) > rivals:
            # Somebody else may dial by the same account. A leg of ours names itself as soon as the carrier reports it.
            raise VendorUnavailable(
                f"the leg may be one of {', '.join(sorted(unowned))}", operation="find the leg"
            )
        if unowned:
            self._learn_leg(loose, unowned[0])
        return bool(unowned)

    def _can_be_found(self, record: CallRecord) -> bool:
        return record.direction == "outbound" and self._engines.capabilities[record.carrier].finds_legs

    async def _is_unowned(self, carrier_call_id: str, record: CallRecord) -> bool:
        if any(loose.record.carrier_call_id == carrier_call_id for loose in self._loose.values()):
            return False
        owner = await self._store.get_call(carrier_call_id)
        return owner is None or owner.call_id == record.call_id

    def _time(self, loose: _Loose) -> float:
        """The time of day by the clock as it went when the call was taken: setting it must not end a call."""
        wall, monotonic = loose.taken
        return wall + self._clock.monotonic() - monotonic

    def _learn_leg(self, loose: _Loose, carrier_call_id: str) -> None:
        if carrier_call_id and not loose.record.carrier_call_id:
            loose.record = replace(loose.record, carrier_call_id=carrier_call_id)
            self._write(loose, "leg-known", {"carrier_call_id": carrier_call_id})

    def _failed(self, loose: _Loose, detail: str, pause: float, *, last: bool) -> None:
        action = "given up: by its own limit the leg has ended" if last else f"asked again in {pause:g} s"
        logger.warning(
            "carrier %s about a call that nobody owns: %s; %s", loose.record.carrier, detail, action
        )
        if last:
            self._close(
                loose, detail=f"the carrier could not be asked: {detail}; by its own limit the leg has ended"
            )
            return
        if loose.record.state != ENDING and not _talks_elsewhere(loose.record):
            loose.record = replace(loose.record, state=ENDING)
        data = {"hop": "carrier", "provider": "hang-up", "detail": detail, "action": action}
        self._write(loose, "vendor-failed", data)

    def _close(self, loose: _Loose, status: LegStatus | None = None, detail: str = "") -> None:
        """The leg is over: close its record, unless that is done already."""
        if self._loose.pop(loose.record.call_id, None) is None:
            return
        record, now = loose.record, self._clock.wall()
        told = status or LegStatus(state="unknown")
        reason = told.reason or (EndReason.TRANSFERRED if _talks_elsewhere(record) else EndReason.INTERRUPTED)
        answered_at = record.answered_at or told.answered_at
        began = answered_at or record.created_at
        # Clocks differ, the carrier's from ours and ours from what it was before it was set.
        ended_at = max(record.created_at, began, min(now, told.ended_at or now))
        record = replace(record, answered_at=answered_at)
        why = f"{loose.why}; {detail}" if detail else loose.why
        loose.record = records.closed(record, reason, ended_at, why)
        self._write(loose, "closed", {"reason": loose.record.end_reason, "detail": loose.record.detail})
        named = {"call_id": record.call_id}  # a webhook may have brought us here, which names no call
        logger.warning(
            "a call that nobody owned is closed: %s (%s)", loose.record.end_reason, why, extra=named
        )

    def _write(self, loose: _Loose, event: str, data: dict[str, Any]) -> None:
        loose.seq += 1
        wall = self._clock.wall()
        entry = JournalEntry(
            call_id=loose.record.call_id,
            seq=loose.seq,
            at=wall,
            elapsed=max(0.0, wall - loose.record.created_at),
            event=event,
            data=data,
        )
        self._hub.write(loose.record, entry)

    async def _end_stray(self, record: CallRecord) -> None:
        """Hang up a leg that came up after its call was closed."""
        logged_call.set(record.call_id)
        carrier = self._engines.carriers[record.carrier]
        for pause in pauses():
            try:
                await carrier.hang_up(LegRef(call_id=record.call_id, carrier_call_id=record.carrier_call_id))
            except (VendorError, OSError) as error:
                logger.warning("the leg cannot be ended: %s; tried again in %g s", error, pause)
                if _is_overdue(record, self._clock.wall()):
                    return
                await asyncio.sleep(pause)
            else:
                return


def _is_overdue(record: CallRecord, now: float) -> bool:
    """Whether the carrier has ended the leg by its own limit, whatever else went wrong."""
    deadline = record.metadata.get(records.DEADLINE)
    if not isinstance(deadline, int | float):
        deadline = record.created_at + LONGEST_LEG
    return now > deadline


def _talks_elsewhere(record: CallRecord) -> bool:
    return bool(record.metadata.get(records.HANDED_OVER))


def _tells_nothing(event: CarrierEvent) -> bool:
    """Whether an end says only that it came: who ended a call that nobody here talked on is of no interest."""
    return event.reason not in (EndReason.BUSY, EndReason.NO_ANSWER, EndReason.FAILED)


def _same_parties(one: CallRecord, other: CallRecord) -> bool:
    """Whether two dials whose legs are unknown went to one number from the same one."""
    return (
        not one.carrier_call_id
        and one.direction == "outbound"
        and (one.carrier, one.to_number, one.from_number)
        == (other.carrier, other.to_number, other.from_number)
    )
