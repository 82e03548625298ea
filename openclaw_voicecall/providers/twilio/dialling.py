"""One order, one call: dials that surely were not carried out are sent again, all others are looked for."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openclaw_voicecall.api.carrier import PlaceCall
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.errors import (
    DialUnknown,
    VendorError,
    VendorRateLimited,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers.twilio.rest import NotSent, OutcomeUnknown, TwilioApi

logger = logging.getLogger(__name__)

LOOK_UP_AT = (0.2, 1.0, 2.5, 5.0, 10.0)
"""Seconds after a dial of unknown outcome at which Twilio is asked for the call."""
DIAL_AGAIN = (0.5, 1.0, 2.0)
"""Seconds until a dial that Twilio has surely not carried out is sent again; each is drawn from half to one and a half
of it, so that many calls do not come back together."""
LONGEST_WAIT = 5.0
"""Seconds that a dial waits at most because Twilio asks for it."""
CLOCKS_APART = 5.0
"""Seconds that a call may be off when it is looked for by its time."""
PLACED_KEPT = 100
"""Own SIDs that are remembered; only those of the last seconds matter."""

_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True, eq=False)
class _Dial:
    """A call that Twilio has been asked for."""

    request: PlaceCall
    begun: float
    """Monotonic seconds of the request."""
    sid: asyncio.Future[str]
    """Set by the first webhook that brings our own id."""


class Dialling:
    """The dials of one account.

    Args:
        api: Its REST API.
        clock: Both clocks.
    """

    def __init__(self, api: TwilioApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._open: dict[str, _Dial] = {}
        """Calls whose SID is not known yet, by our id."""
        self._placed: deque[str] = deque(maxlen=PLACED_KEPT)
        """SIDs of this process's last calls, which no other dial can have made."""

    def heard(self, call_id: str, sid: str) -> None:
        """A webhook has brought our id of a call together with Twilio's."""
        dial = self._open.get(call_id)
        if dial is not None and not dial.sid.done():
            dial.sid.set_result(sid)

    async def dial(self, request: PlaceCall, parameters: Callable[[], dict[str, Any]]) -> str:
        """Place a call; returns its SID.

        Args:
            request: The call.
            parameters: Gives those of the SDK; they are made anew for each request.

        Raises:
            DialUnknown: The outcome is still unknown after the last look.
            VendorError: Twilio refuses, or was not reached.
        """
        dial = _Dial(request, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        self._open[request.call_id] = dial
        try:
            try:
                sid = await self._create(request.call_id, parameters)
            except (OutcomeUnknown, VendorTimeout) as error:
                logger.warning(
                    "call %s: the dial's outcome is unknown (%s); looking for it", request.call_id, error
                )
                sid = await self._look_up(dial, error)
        finally:
            del self._open[request.call_id]
        self._placed.append(sid)
        return sid

    async def find(self, to_number: str, from_number: str, since: float, until: float) -> list[str]:
        """SIDs of calls between two numbers that began in a span and that no dial of this process made.

        Raises:
            VendorUnavailable: One of them may be that of a dial which is under way.
            VendorError: Twilio cannot be asked.
        """
        if any(_parties(dial.request) == (to_number, from_number) for dial in self._open.values()):
            raise VendorUnavailable(
                "another dial between the two numbers is under way", vendor="twilio", operation="find the leg"
            )
        calls = await self._api.find_calls(to_number, from_number)
        ahead = self._twilio_time() - self._clock.wall()
        return [
            call.sid
            for call in calls
            if call.direction == "outbound-api"
            and since - CLOCKS_APART <= call.created - ahead <= until + CLOCKS_APART
            and call.sid not in self._placed
        ]

    async def _create(self, call_id: str, parameters: Callable[[], dict[str, Any]]) -> str:
        """Ask Twilio to dial, again where it surely has not. Raises `VendorError`."""
        for pause in DIAL_AGAIN:
            try:
                return await self._api.create_call(**parameters())
            except (NotSent, VendorRateLimited) as error:
                drawn = pause * _RANDOM.uniform(0.5, 1.5)
                wait = max(drawn, min(error.retry_after or 0.0, LONGEST_WAIT))
                logger.warning("call %s: not dialled (%s); again in %.1f s", call_id, error, wait)
                await asyncio.sleep(wait)
        return await self._api.create_call(**parameters())

    async def _look_up(self, dial: _Dial, cause: VendorError) -> str:
        """Find the call that a dial of unknown outcome may have made. Raises `DialUnknown`."""
        begun = self._clock.monotonic()
        found: set[str] = set()
        for moment in LOOK_UP_AT:
            await asyncio.wait((dial.sid,), timeout=max(0.0, moment - (self._clock.monotonic() - begun)))
            if not dial.sid.done():
                found = await self._candidates(dial)
            if dial.sid.done():
                return dial.sid.result()
            if len(found) == 1 and not self._has_rival(dial):
                return found.pop()
        which = f"; it may be one of {', '.join(sorted(found))}" if found else ""
        raise DialUnknown(
            f"whether the call was placed is unknown, and it is not placed again: {cause}{which}",
            vendor="twilio",
            operation="place call",
            status=cause.status,
            request_id=cause.request_id,
        )

    async def _candidates(self, dial: _Dial) -> set[str]:
        """Calls between the two numbers, as young as the dial, that no other dial of ours is known to have made."""
        to_number, from_number = _parties(dial.request)
        try:
            calls = await self._api.find_calls(to_number, from_number)
        except VendorError as error:
            logger.warning("call %s cannot be looked for: %s", dial.request.call_id, error)
            return set()
        since = self._twilio_time() - (self._clock.monotonic() - dial.begun)
        return {
            call.sid
            for call in calls
            if call.direction == "outbound-api"
            and call.created >= since - CLOCKS_APART
            and call.sid not in self._placed
        }

    def _twilio_time(self) -> float:
        """Unix seconds by Twilio's clock: ours may be set meanwhile, or be wrong."""
        told = self._api.now
        return self._clock.wall() if told is None else told

    def _has_rival(self, dial: _Dial) -> bool:
        """Whether another dial between the same numbers is open, which may have made the call as well."""
        return any(
            other is not dial and _parties(other.request) == _parties(dial.request)
            for other in self._open.values()
        )


def _parties(request: PlaceCall) -> tuple[str, str]:
    return request.to_number, request.from_number
