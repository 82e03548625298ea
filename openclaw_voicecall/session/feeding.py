"""What a call hands to its transcriber: in order, and without the line ever waiting for it."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from openclaw_voicecall.api.speech import TranscriptionStream

Work = Coroutine[Any, Any, None]


class Feed:
    """Does what one transcription stream is told.

    A stream that says of itself that it never waits is told at once, which takes a twentieth of the time. For any
    other one a task does it, one thing after the other.

    Args:
        stream: The stream.
        failed: Called with what went wrong, once; nothing more is done then.
    """

    def __init__(self, stream: TranscriptionStream, failed: Callable[[Exception], None]) -> None:
        self.stream = stream
        self._failed = failed
        self._at_once = bool(getattr(stream, "never_waits", False))
        self._waiting: deque[Work] = deque()
        self._wake = asyncio.Event()
        self._broken = False
        self._task = None if self._at_once else asyncio.create_task(self._run())

    def give(self, work: Work) -> None:
        """Have this done, after what was given before."""
        if self._broken:
            work.close()
        elif self._at_once:
            try:
                work.send(None)
            except StopIteration:
                return
            except Exception as error:  # a plugin's bug must not cost the caller the line
                self._break(error)
                return
            work.close()
            self._break(RuntimeError("the transcriber waits, although it says that it never does"))
        else:
            self._waiting.append(work)
            self._wake.set()

    def close(self) -> None:
        """Do no more."""
        self._forget()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._waiting.popleft()
                except Exception as error:  # as above
                    self._break(error)
                    return

    def _break(self, error: Exception) -> None:
        self._forget()
        self._failed(error)

    def _forget(self) -> None:
        self._broken = True
        for work in self._waiting:
            work.close()
        self._waiting.clear()
