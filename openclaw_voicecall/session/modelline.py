"""One session with a speech-to-speech model, from its opening to its end, and a fresh one when it grows old."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from openclaw_voicecall.api.realtime import RealtimeEvent, RealtimeRequest, RealtimeSession
from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.session.modelsounds import Probe

Opens = Callable[[RealtimeRequest], AbstractAsyncContextManager[RealtimeSession]]
"""Opens a session with one model."""

WARNING: Final = 180.0
"""Seconds before its limit from which on a session is to be replaced in a pause of the talk."""
LAST_MOMENT: Final = 20.0
"""Seconds before its limit at which it is replaced whatever is being said."""


class ModelLine:
    """A session and the task that reads it.

    Args:
        name: Of the model.
        opens: Opens it.
        request: What it is opened with.
        take: Takes its events.
        now: Monotonic time.
        limit: Seconds that it may last.
    """

    def __init__(
        self,
        name: str,
        opens: Opens,
        request: RealtimeRequest,
        take: "Callable[[ModelLine, RealtimeEvent], None]",
        *,
        now: float,
        limit: float,
    ) -> None:
        self.name = name
        self._opens = opens
        self._request = request
        self._take = take
        self.began = now
        self.ends = now + limit
        """When the vendor ends it at the latest, monotonic seconds."""
        self._session: RealtimeSession | None = None
        self._waiting: list[Callable[[RealtimeSession], None]] = []
        self.ready = False
        self.probe = Probe()
        self.task = asyncio.create_task(self._run())

    def do(self, act: Callable[[RealtimeSession], None]) -> None:
        """Use the session, as soon as it is there."""
        if self._session is not None:
            act(self._session)
        elif not self.task.done():
            self._waiting.append(act)

    def is_old(self, now: float) -> bool:
        """Whether a fresh one is to take over in the next pause."""
        return now >= self.ends - WARNING

    def is_overdue(self, now: float) -> bool:
        """Whether a fresh one has to take over now."""
        return now >= self.ends - LAST_MOMENT

    async def close(self) -> None:
        """End it."""
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _run(self) -> None:
        async with self._opens(self._request) as session:
            self._session = session
            waiting, self._waiting = self._waiting, []
            for act in waiting:
                act(session)
            try:
                async for event in session:
                    self._take(self, event)
            finally:
                self._session = None
        raise VendorUnavailable("the session ended", operation="talk")
