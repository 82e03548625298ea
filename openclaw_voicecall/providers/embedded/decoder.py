"""Who is decoded next: one worker serves all calls, and a caller who waits for an answer comes first."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Self

from openclaw_voicecall.providers.embedded.engine_process import EngineProcess

_CROWDED_SHARE = 0.4
"""Share of the worker's time. Above it interims are left out, so that nobody waits for his final behind one."""
_SHARE_SECONDS = 2.0
"""Seconds over which that share is counted."""
_TIMEOUT = 5.0
"""Seconds. The longest utterance takes half a second on one core; a worker that takes ten times that hangs."""


class Urgency(IntEnum):
    """Why an utterance is decoded; smaller goes first."""

    FINAL = 0
    PAUSE = 1
    INTERIM = 2


class Decoder:
    """Decodes utterances in the worker process, the most urgent first.

    Args:
        process: The running worker.
    """

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._taken = False
        self._work: deque[tuple[float, float]] = deque(maxlen=500)
        """When each recent decode ended, and how many seconds it took."""

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, niceness: int, lazy: bool = False) -> AsyncIterator[Self]:
        """The worker with the model in `folder`; ready when entered, unless `lazy`. Raises `VendorUnavailable`."""
        process = EngineProcess("moonshine", str(folder), vendor="local", niceness=niceness, lazy=lazy)
        async with process:
            yield cls(process)

    @property
    def busy(self) -> bool:
        """Whether an interim would be in the way: something is being decoded, or was most of the time lately."""
        since = asyncio.get_running_loop().time() - _SHARE_SECONDS
        while self._work and self._work[0][0] < since:
            self._work.popleft()
        return self._taken or sum(took for _, took in self._work) > _CROWDED_SHARE * _SHARE_SECONDS

    @property
    def pid(self) -> int | None:
        """Process id of the worker."""
        return self._process.pid

    def wake(self) -> None:
        """Have the worker ready soon, if it does not run yet."""
        self._process.wake()

    async def decode(self, audio: bytes, urgency: Urgency) -> str:
        """The words in mu-law audio; empty when there are none. Raises `VendorError`."""
        await self._wait(urgency)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return (await self._process.ask(audio, limit=_TIMEOUT)).decode()
        finally:
            ended = loop.time()
            self._work.append((ended, ended - began))
            self._pass_on()

    async def _wait(self, urgency: Urgency) -> None:
        if not self._taken:
            self._taken = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (urgency, next(self._order), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._queue:
            _, _, waiting = heapq.heappop(self._queue)
            if not waiting.done():
                waiting.set_result(None)
                return
        self._taken = False
