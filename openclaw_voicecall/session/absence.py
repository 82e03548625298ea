"""The carrier has fallen silent about a call: it is asked what became of the leg.

A carrier need not tell that a call is over: a callback is lost, or a number has none. What it does is stop: the media
stream ends, or nobody asks for the next turn any more.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from openclaw_voicecall.core.events import CallEnded
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Leg
from openclaw_voicecall.errors import VendorError

if TYPE_CHECKING:
    from openclaw_voicecall.session.session import CallSession

logger = logging.getLogger(__name__)

AFTER_STREAM = (0.4, 1.0, 1.5)
"""Seconds between questions once the media stream is lost; a new stream or a report ends them."""
BEFORE_STREAM = (1.5, 2.0, 3.0)
"""The same while a stream that the carrier was told to open has not begun."""
BETWEEN_TURNS = 4.0
"""Seconds that a carrier may be quiet beyond the time that what it was told to do takes, before it is asked. A caller
who talks for long makes it as quiet as one who has hung up."""


class Absence:
    """Asks after the leg of one call when the carrier no longer speaks of it.

    Args:
        session: The call.
    """

    def __init__(self, session: "CallSession") -> None:
        self._session = session
        self._asking: asyncio.Task[None] | None = None

    def stream_ordered(self) -> None:
        """The carrier was told to open a media stream."""
        self._begin(BEFORE_STREAM)

    def stream_lost(self) -> None:
        """The media stream is gone."""
        self._begin(AFTER_STREAM)

    def order_given(self, seconds: float) -> None:
        """The carrier was told something that takes so long, after which it asks again."""
        self._begin((seconds + BETWEEN_TURNS, *(2 * BETWEEN_TURNS,) * 100))

    def heard_of(self) -> None:
        """The carrier spoke of the call."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _begin(self, delays: tuple[float, ...]) -> None:
        self.heard_of()
        self._asking = self._session.start(self._ask(delays))

    async def _ask(self, delays: tuple[float, ...]) -> None:
        session = self._session
        for delay in delays:
            await asyncio.sleep(delay)
            if session.call.snapshot().leg is not Leg.UP:
                return
            try:
                status = await session.parts.carrier.fetch_status(session.leg)
            except (VendorError, OSError) as error:
                session.carrier_failed("status", str(error), "asked again")
                continue
            if status.state == "ended":
                self._asking = None  # what follows must not cancel this task
                session.leg_open = False
                logger.info(
                    "carrier reports nothing of the call any more; asked, it says that it is over; closed"
                )
                session.post(CallEnded(status.reason or EndReason.CALLER_HUNG_UP))
                return
