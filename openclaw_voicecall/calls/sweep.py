"""Every half minute: is each live call really live, and is each open record somebody's?

The last net under timers and webhooks. A carrier that says nothing of a call is asked, once a sweep at most; a call
past its limit is hung up and, should it still be there at the next sweep, given up to those who end legs.
"""

import asyncio
import logging

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.calls.live import LIMIT_MARGIN, LiveCall, LiveCalls
from openclaw_voicecall.calls.reconcile import ASK_LIMIT, Reconciler
from openclaw_voicecall.core.events import CallEnded, HangUpRequested
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import StoreError, VendorError

logger = logging.getLogger(__name__)

SWEEP_EVERY = 30.0
"""Seconds."""
SILENT_AFTER = 30.0
"""Seconds without a word or a sound from the carrier after which it is asked about a call."""
SETTLING = 20.0
"""Seconds beyond all limits of a call that its end may take."""


async def sweep_for_ever(live: LiveCalls, reconciler: Reconciler, clock: Clock, *, own: bool = False) -> None:
    """Sweep until cancelled; with `own` only through the calls of this process."""
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        try:
            await sweep(live, reconciler, clock, own=own)
        except StoreError as error:
            logger.error("open records cannot be looked for: %s", error)
        except Exception:  # a bug must not take the last net away
            logger.exception("a sweep failed")


async def sweep(live: LiveCalls, reconciler: Reconciler, clock: Clock, *, own: bool = False) -> None:
    """Look at every call once. Raises `StoreError`."""
    await asyncio.gather(*(_check(entry, clock) for entry in live))
    if not own:
        await reconciler.take_unowned()


async def _check(entry: LiveCall, clock: Clock) -> None:
    session, now = entry.session, clock.monotonic()
    past_limit = now - entry.created > _longest(entry)
    if not past_limit and now - session.heard_at < SILENT_AFTER:
        return
    if session.carrier_call_id and not session.released and await _is_over(entry):
        return
    if past_limit and entry.overdue and entry.task is not None:
        logger.error("call %s does not end; its leg is ended without it", entry.record.call_id)
        entry.task.cancel()
    elif past_limit:
        entry.overdue = True
        session.post(HangUpRequested(EndReason.MAX_DURATION))


async def _is_over(entry: LiveCall) -> bool:
    """Ask the carrier; a leg that has ended ends the call."""
    session = entry.session
    try:
        async with asyncio.timeout(ASK_LIMIT):
            status = await session.parts.carrier.fetch_status(session.leg)
    except (VendorError, OSError, TimeoutError) as error:
        session.carrier_failed("status", str(error) or "no answer in time", "asked again")
        return False
    if status.state != "ended":
        return False
    session.leg_open = False
    session.post(CallEnded(status.reason or EndReason.CALLER_HUNG_UP))
    return True


def _longest(entry: LiveCall) -> float:
    """Seconds from its beginning after which a call must be over."""
    policy = entry.plan.policy
    longest = policy.ring_timeout + policy.max_duration + LIMIT_MARGIN + SETTLING
    if entry.session.call.snapshot().transferring:
        longest += policy.transfer_limit + policy.transfer_duration
    return longest
