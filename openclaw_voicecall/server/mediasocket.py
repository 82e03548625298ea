"""The socket of a media stream: a WebSocket on a connection that aiohttp has taken in.

aiohttp checks the request and hands the connection over. From then on nothing stands between the network and the call:
a frame is taken from the bytes, given to whoever waits for it, and what is said goes to the network at once.
"""

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self, cast

from aiohttp import web

from openclaw_voicecall.media.websocket import (
    NO_CODE,
    NORMAL,
    FrameError,
    FrameReader,
    Opcode,
    close_code,
    closing,
    frame,
    text_of,
)

READ_AT_ONCE: Final = 4096
"""Bytes; a frame of 20 ms has about 430."""
UNREAD: Final = 512
"""Messages that may wait to be taken; above that the far side is not read for a while. It is 10 s of audio."""
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept(request: web.Request, *, limit: int) -> "MediaSocket":
    """Answer a handshake, and take the connection.

    Args:
        request: Asks for a WebSocket.
        limit: Bytes that a message may have.

    Raises:
        HTTPBadRequest: It is no handshake.
        HTTPServiceUnavailable: Whoever asked is gone.
    """
    if not web.WebSocketResponse(compress=False).can_prepare(request):
        raise web.HTTPBadRequest(text="a media stream is a WebSocket\n")
    transport = request.transport
    if transport is None or transport.is_closing():
        raise web.HTTPServiceUnavailable
    key = request.headers["Sec-WebSocket-Key"].encode()
    answer = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 the protocol's own choice
    transport.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n"
    )
    return MediaSocket(transport, limit=limit)


class MediaSocket(asyncio.BufferedProtocol):
    """An open socket. Iterate over it for the far side's messages, or be given them: text as `str`, binary as `bytes`.

    Args:
        transport: The connection.
        limit: Bytes that a message may have.
    """

    def __init__(self, transport: asyncio.Transport, *, limit: int) -> None:
        self._transport = transport
        self._before = cast("asyncio.Protocol", transport.get_protocol())
        self._reader = FrameReader(masked=True, limit=limit)
        self._buffer = memoryview(bytearray(READ_AT_ONCE))
        self._messages: deque[str | bytes] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._give: Callable[[str | bytes], bool] | None = None
        self._over = False
        self._closing = False
        self._gone = asyncio.get_running_loop().create_future()
        self.flowing = True
        """Whether what is sent leaves at once."""
        self.on_flow: Callable[[], None] = _nothing
        """Called when what was sent has left, after it had to wait."""
        # So that whoever sends notices at once that the far side does not read.
        transport.set_write_buffer_limits(high=0)
        transport.set_protocol(self)

    def send(self, text: str) -> None:
        """Send one text message; nothing once the socket is being closed."""
        if not self._closing:
            self._transport.write(frame(Opcode.TEXT, text.encode()))

    async def close(self, code: int = NORMAL, reason: str = "", *, limit: float = 2.0) -> None:
        """Say goodbye, and wait so many seconds for the far side to do so."""
        self._say_goodbye(code, reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await asyncio.shield(self._gone)
        self._transport.close()
        self._end()

    def abort(self) -> None:
        """Break the connection without another word."""
        self._transport.abort()

    async def wait_gone(self) -> None:
        """Return once the connection is gone."""
        await asyncio.shield(self._gone)

    def __aiter__(self) -> Self:
        """Messages until the socket closes or breaks."""
        return self

    async def __anext__(self) -> str | bytes:
        """The next message."""
        while not self._messages:
            if self._over:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if len(self._messages) == UNREAD and not self._over:
            self._transport.resume_reading()
        return self._messages.popleft()

    async def give(self, take: Callable[[str | bytes], bool]) -> None:
        """Hand over every message the moment it comes, until the socket ends or one is answered with False."""
        self._give = take
        try:
            while self._messages:
                if not take(self._messages.popleft()):
                    return
            self._transport.resume_reading()
            while not self._over:
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
        finally:
            self._give = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where bytes of the far side are put; other protocols are given a new quarter of a megabyte each time."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the far side have come."""
        if self._over:
            return
        try:
            for opcode, payload in self._reader.feed(bytes(self._buffer[:nbytes])):
                self._take(opcode, payload)
        except FrameError as error:
            self._say_goodbye(error.code, str(error))
            self._transport.close()
            self._end()
        except Exception as error:  # of whoever was given a message, and who waits for the end of them
            self._end(error)
        if self._messages:
            self._wake()
            if len(self._messages) >= UNREAD:
                self._transport.pause_reading()

    def pause_writing(self) -> None:
        """What was sent waits for the network."""
        self.flowing = False

    def resume_writing(self) -> None:
        """It has left."""
        self.flowing = True
        self.on_flow()

    def eof_received(self) -> bool | None:
        """The far side sends no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._closing = True
        if not self._gone.done():
            self._gone.set_result(None)
        self._end()
        self._before.connection_lost(exc)

    def _take(self, opcode: Opcode, payload: bytes) -> None:
        if self._over:
            return
        match opcode:
            case Opcode.TEXT:
                self._hand_over(text_of(payload))
            case Opcode.BINARY:
                self._hand_over(payload)
            case Opcode.PING:
                if not self._closing:
                    self._transport.write(frame(Opcode.PONG, payload))
            case Opcode.CLOSE:
                code, _ = close_code(payload)
                self._say_goodbye(NORMAL if code == NO_CODE else code)
                self._transport.close()
                self._end()

    def _hand_over(self, message: str | bytes) -> None:
        if self._give is None:
            self._messages.append(message)
        elif not self._give(message):
            self._end()

    def _say_goodbye(self, code: int, reason: str = "") -> None:
        if not self._closing:
            self._closing = True
            self._transport.write(frame(Opcode.CLOSE, closing(code, reason)))

    def _end(self, error: Exception | None = None) -> None:
        """No more messages come."""
        self._over = True
        if error is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _nothing() -> None:
    pass
