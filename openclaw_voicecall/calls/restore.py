"""After a restart: every call that was open is asked for at its carrier, ended there and closed here.

Nothing is ever dialled from what is stored.
"""

import asyncio
import logging
from dataclasses import replace

from openclaw_voicecall.api.carrier import Carrier, LegRef, LegStatus
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import CallRecord, CallStore, JournalEntry
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorError

logger = logging.getLogger(__name__)

ASK_LIMIT = 5.0
"""Seconds a carrier may take to answer about one leg."""


async def close_left_over(
    store: CallStore, carriers: dict[str, Carrier], clock: Clock, hub: JournalHub
) -> list[CallRecord]:
    """Close the records that an earlier process left open, with the reason, and tell the observers.

    Returns:
        The closed records.
    """
    left = await store.list_calls(limit=10_000, open_only=True)
    closed = await asyncio.gather(*(_close(record, carriers.get(record.carrier), clock) for record in left))
    for record in closed:
        await store.put_call(record)
        entries = await store.journal(record.call_id)
        hub.write(record, _closing_entry(record, entries[-1].seq if entries else 0, clock))
        logger.warning(
            "call %s was open when the service died; closed: %s (%s)",
            record.call_id,
            record.end_reason,
            record.detail,
        )
    return list(closed)


def _closing_entry(record: CallRecord, last: int, clock: Clock) -> JournalEntry:
    return JournalEntry(
        call_id=record.call_id,
        seq=last + 1,
        at=clock.wall(),
        elapsed=max(0.0, clock.wall() - record.created_at),
        event="closed",
        data={"reason": record.end_reason, "detail": record.detail},
    )


async def _close(record: CallRecord, carrier: Carrier | None, clock: Clock) -> CallRecord:
    leg = LegRef(call_id=record.call_id, carrier_call_id=record.carrier_call_id)
    status = LegStatus(state="unknown")
    detail = "the service died during the call"
    if carrier is None:
        detail += (
            f"; carrier {record.carrier!r} is not configured any more, so nobody was asked about the leg"
        )
    elif not record.carrier_call_id:
        detail += " before the carrier confirmed it"
    else:
        try:
            async with asyncio.timeout(ASK_LIMIT):
                status = await carrier.fetch_status(leg)
                if status.state != "ended":
                    await carrier.hang_up(leg)
                    detail += "; the leg was still open and is hung up"
        except (VendorError, OSError, TimeoutError) as error:
            detail += f"; the carrier could not be asked: {error}"
    reason = status.reason if status.state == "ended" and status.reason else EndReason.INTERRUPTED
    return replace(
        record,
        state=reason.to_openclaw(),
        end_reason=str(reason),
        ended_at=clock.wall(),
        detail=record.detail or detail,
    )
