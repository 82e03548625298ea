"""The writing side of a media stream."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

CLOSE_LIMIT = 3.0
"""Seconds for the last messages to leave, and for the far side to agree to the end."""


class TextSocket(Protocol):
    """What is needed of a WebSocket."""

    flowing: bool
    """Whether what is sent leaves at once."""
    on_flow: Callable[[], None]
    """Is called when what was sent has left, after it had to wait."""

    def send(self, text: str) -> None:
        """Send one text message; never waits."""
        ...

    async def close(self) -> None:
        """Close the socket."""
        ...

    async def wait_gone(self) -> None:
        """Return once the connection is gone."""
        ...

    def abort(self) -> None:
        """Break the connection: for a far side that does not even let it be closed."""
        ...


def _nothing() -> None:
    pass


class MediaLink:
    """Sends messages in order, so that nobody in the call ever waits for the network.

    What the network does not take waits here. That is bounded: a far side that does not read for that long has lost
    the stream.

    Args:
        socket: The WebSocket to the carrier.
        limit: Messages that may wait; at 200 ms of audio a message, 600 are two minutes.
    """

    def __init__(self, socket: TextSocket, *, limit: int = 600) -> None:
        self._socket = socket
        self._limit = limit
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self._left: Callable[[], None] | None = None
        """Of the message that the network is busy with."""
        self._busy_since: float | None = None
        self._closing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = False
        socket.on_flow = self._flow

    @property
    def blocked(self) -> float:
        """Seconds for which the connection has been busy with one message."""
        if self._busy_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._busy_since

    def send(self, message: str, left: Callable[[], None] = _nothing) -> bool:
        """Send a message, or queue it. False when the far side has stopped reading; the stream is then being closed.

        Args:
            message: The text.
            left: Called once it has left.
        """
        if self._closing.is_set():
            return False
        if self._waiting or not self._socket.flowing:
            if len(self._waiting) >= self._limit:
                self.close()
                return False
            self._waiting.append((message, left))
            return True
        self._write(message, left)
        return True

    def close(self) -> None:
        """Close the socket once what is queued was sent; after a while, break it."""
        if not self._closing.is_set():
            self._closing.set()
            asyncio.get_running_loop().call_later(CLOSE_LIMIT, self._break)

    async def run(self) -> None:
        """Live until the link is closed or the socket breaks."""
        self._running = True
        ending = asyncio.create_task(self._end())
        gone = asyncio.create_task(self._socket.wait_gone())
        try:
            await asyncio.wait((ending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing.set()
            self._running = False
            ending.cancel()
            gone.cancel()

    async def _end(self) -> None:
        await self._closing.wait()
        await self._idle.wait()
        await self._socket.close()

    def _write(self, message: str, left: Callable[[], None]) -> None:
        self._socket.send(message)
        if self._socket.flowing:
            left()
        else:
            self._left = left
            self._idle.clear()
            self._busy_since = asyncio.get_running_loop().time()

    def _flow(self) -> None:
        """The network takes more."""
        self._busy_since = None
        if self._left is not None:
            left, self._left = self._left, None
            left()
        while self._waiting and self._busy_since is None:
            self._write(*self._waiting.popleft())
        if self._busy_since is None:
            self._idle.set()

    def _break(self) -> None:
        if self._running:
            self._socket.abort()
