"""A circuit breaker for each supplier, shared by all calls of the process.

A supplier that fails again and again is asked last for a while: callers then hear its fallback at once, instead of
each waiting for the failure first. It is never left out, because what is left may be no better.
"""

import logging
from collections import deque
from enum import StrEnum
from typing import Final

from openclaw_voicecall.api.clock import Clock

logger = logging.getLogger(__name__)

FAILURES: Final = 5
WINDOW: Final = 30.0
"""This many failures within so many seconds open a breaker."""
REST: Final = 30.0
"""Seconds after the last failure until one call may try the supplier again in its usual place."""
PROBE_LIMIT: Final = 30.0
"""Seconds for that try to say something; then another call may try."""


class State(StrEnum):
    """How a supplier is trusted."""

    CLOSED = "closed"
    """As usual."""
    OPEN = "open"
    """It is asked last."""
    HALF_OPEN = "half-open"
    """It is asked last, except by one call that tries whether it works again."""


class Breaker:
    """Counts the failures of one supplier.

    Args:
        hop: What it does: `transcriber`, `synthesizer` or `responder`.
        name: As the configuration calls it.
        clock: Monotonic time.
    """

    def __init__(self, hop: str, name: str, clock: Clock) -> None:
        self.hop = hop
        self.name = name
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._open = False
        self._tried_until = 0.0

    @property
    def state(self) -> State:
        """How the supplier is trusted now."""
        if not self._open:
            return State.CLOSED
        return State.HALF_OPEN if self._clock.monotonic() >= self._failures[-1] + REST else State.OPEN

    def take_probe(self) -> bool:
        """Whether the one who asks shall try if the supplier works again; then nobody else is told to, for a while."""
        now = self._clock.monotonic()
        if self.state is not State.HALF_OPEN or now < self._tried_until:
            return False
        self._tried_until = now + PROBE_LIMIT
        return True

    def failed(self) -> bool:
        """It has failed; true if that opened the breaker."""
        now = self._clock.monotonic()
        self._failures.append(now)
        self._tried_until = 0.0
        opens = not self._open and len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW
        if opens:
            self._open = True
            logger.warning(
                "%s %s failed %d times within %g s; it is asked last until it works again",
                self.hop,
                self.name,
                FAILURES,
                WINDOW,
            )
        return opens

    def worked(self) -> bool:
        """It did what it was asked for; true if that closed the breaker."""
        if not self._open:
            return False
        self._open = False
        self._failures.clear()
        self._tried_until = 0.0
        logger.info("%s %s works again; it is asked in its place", self.hop, self.name)
        return True
