"""The writing side of a media stream."""

import asyncio
from collections import deque
from typing import Protocol


class TextSocket(Protocol):
    """What is needed of a WebSocket."""

    async def send_str(self, data: str) -> None:
        """Send one text message."""
        ...

    async def close(self) -> object:
        """Close the socket."""
        ...


class MediaLink:
    """Sends messages in order from one task, so that nobody in the call ever waits for the network.

    The queue is bounded: a far side that does not read for that long has lost the stream.

    Args:
        socket: The WebSocket to the carrier.
        limit: Messages that may wait; at 100 ms of audio a message, 600 are a minute.
    """

    def __init__(self, socket: TextSocket, *, limit: int = 600) -> None:
        self._socket = socket
        self._limit = limit
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    def send(self, message: str) -> bool:
        """Queue a message. False when the far side has stopped reading; the stream is then being closed."""
        if self._closing:
            return False
        if len(self._waiting) >= self._limit:
            self.close()
            return False
        self._waiting.append(message)
        self._wake.set()
        return True

    def close(self) -> None:
        """Close the socket once what is queued was sent."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write until the link is closed or the socket breaks."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._socket.send_str(self._waiting.popleft())
                if self._closing:
                    await self._socket.close()
                    return
        except (ConnectionError, RuntimeError):
            # aiohttp raises either for a socket that closed under us; the reading side reports the loss.
            self._closing = True
