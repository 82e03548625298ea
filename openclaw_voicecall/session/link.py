"""The writing side of a media stream."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

CLOSE_LIMIT = 3.0
"""Seconds for the last messages to leave, and for the far side to agree to the end."""


class TextSocket(Protocol):
    """What is needed of a WebSocket."""

    async def send_str(self, data: str) -> None:
        """Send one text message."""
        ...

    async def close(self) -> object:
        """Close the socket."""
        ...


def _nothing() -> None:
    pass


class MediaLink:
    """Sends messages in order from one task, so that nobody in the call ever waits for the network.

    The queue is bounded: a far side that does not read for that long has lost the stream.

    Args:
        socket: The WebSocket to the carrier.
        limit: Messages that may wait; at 100 ms of audio a message, 600 are a minute.
        abort: Breaks the connection: for a far side that does not even let it be closed.
    """

    def __init__(self, socket: TextSocket, *, limit: int = 600, abort: Callable[[], None] = _nothing) -> None:
        self._socket = socket
        self._limit = limit
        self._abort = abort
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._writing: asyncio.Task[None] | None = None
        self._writing_since: float | None = None

    @property
    def blocked(self) -> float:
        """Seconds for which the connection has been busy with one message."""
        if self._writing_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._writing_since

    def send(self, message: str, left: Callable[[], None] = _nothing) -> bool:
        """Queue a message. False when the far side has stopped reading; the stream is then being closed.

        Args:
            message: The text.
            left: Called once it has left.
        """
        if self._closing:
            return False
        if len(self._waiting) >= self._limit:
            self.close()
            return False
        self._waiting.append((message, left))
        self._wake.set()
        return True

    def close(self) -> None:
        """Close the socket once what is queued was sent; after a while, break it."""
        if not self._closing:
            self._closing = True
            self._wake.set()
            asyncio.get_running_loop().call_later(CLOSE_LIMIT, self._break)

    async def run(self) -> None:
        """Write until the link is closed or the socket breaks."""
        self._writing = asyncio.current_task()
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    message, left = self._waiting.popleft()
                    self._writing_since = loop.time()
                    await self._socket.send_str(message)
                    self._writing_since = None
                    left()
                if self._closing:
                    await self._socket.close()
                    return
        except (ConnectionError, RuntimeError):
            # aiohttp raises either for a socket that closed under us; the reading side reports the loss.
            self._closing = True
        finally:
            self._writing = None

    def _break(self) -> None:
        if self._writing is not None:
            self._abort()
            self._writing.cancel()
