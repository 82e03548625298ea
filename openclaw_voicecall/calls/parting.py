"""The end of all calls when the service stops."""

import asyncio
import logging
from collections.abc import Awaitable

from openclaw_voicecall.calls.live import LiveCalls
from openclaw_voicecall.core.events import HangUpRequested
from openclaw_voicecall.core.reasons import EndReason

logger = logging.getLogger(__name__)

GOODBYE_LIMIT = 10.0
"""Seconds for a goodbye when the service stops."""
HANG_UP_LIMIT = 3.0
"""Seconds for calls to end once they are hung up."""
HURRIED_LIMIT = 1.0
"""The same once somebody cannot wait."""
WRITE_LIMIT = 1.0
"""Seconds for calls that are given up to be written down."""


async def end_all(live: LiveCalls, hurry: asyncio.Event) -> None:
    """End every call: after a goodbye was heard, then without, then give up on it.

    A call that is given up keeps its record open, so that the next start finds it.

    Args:
        live: The calls. One that ends does not end the wait for the others.
        hurry: Set when nobody waits for goodbyes any more, also while they are being said.
    """
    if not hurry.is_set():
        _ask(live, goodbye=True)
        await either(live.wait_idle(), hurry.wait(), limit=GOODBYE_LIMIT)
    _ask(live, goodbye=False)
    limit = HURRIED_LIMIT if hurry.is_set() else HANG_UP_LIMIT
    await either(live.wait_idle(), limit=limit)
    left = [entry for entry in live if entry.task is not None]
    for entry in left:
        logger.error("call %s did not end; it is ended at the next start", entry.record.call_id)
    tasks = [entry.task for entry in left if entry.task is not None and not entry.task.done()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=WRITE_LIMIT)


async def either(*events: Awaitable[object], limit: float) -> None:
    """Wait for the first of these, or until `limit` seconds have passed."""
    waiting = {asyncio.ensure_future(event) for event in events}
    await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _ask(live: LiveCalls, *, goodbye: bool) -> None:
    for entry in live:
        farewell = entry.plan.policy.goodbye if goodbye else ""
        entry.session.post(HangUpRequested(EndReason.SHUTDOWN, farewell))
