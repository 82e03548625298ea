"""How this process is doing: how late its event loop is, and how much memory it has.

A process over a limit of the settings takes no new call; those it has go on undisturbed.
"""

import asyncio
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from openclaw_voicecall.calls.team import Load
from openclaw_voicecall.server.resources import resident

if TYPE_CHECKING:
    from openclaw_voicecall.config.sections import ServeConfig

LOOK_EVERY = 0.1
"""Seconds between looks."""
LOOKS = 30
"""Looks that are judged together: one long garbage collection, or a moment in which others have the core, is none."""
MEGABYTE = 1_000_000


class LoadMonitor:
    """Measures, and compares with the limits.

    Args:
        limits: The settings.
    """

    def __init__(self, limits: "ServeConfig") -> None:
        self._limits = limits
        self._lags: deque[float] = deque(maxlen=LOOKS)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self.look(max(0.0, loop.time() - due) * 1000)

    def look(self, lag_ms: float) -> None:
        """Once more the loop was late by so much."""
        self._lags.append(lag_ms)

    def load(self) -> Load:
        """How late it usually was within the last seconds, and why it is too much."""
        lag = median(self._lags) if self._lags else 0.0
        return Load(self._late(lag) or self._large(), lag)

    def _late(self, lag: float) -> str:
        limit = self._limits.max_loop_lag_ms
        if len(self._lags) < LOOKS or lag <= limit:
            return ""
        return (
            f"serve.maxLoopLagMs: this machine is {lag:.0f} ms late with everything and takes no more calls above "
            f"{limit:g} ms; wait, give it more processors and serve.workers, or raise the setting"
        )

    def _large(self) -> str:
        limit = self._limits.max_memory_mb
        size = resident() if limit is not None else None
        if limit is None or size is None or size <= limit * MEGABYTE:
            return ""
        return (
            f"serve.maxMemoryMb: a process has {size / MEGABYTE:.0f} MB of memory and takes no more calls above "
            f"{limit:g} MB; wait, or raise the setting"
        )
