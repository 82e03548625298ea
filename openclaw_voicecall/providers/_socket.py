"""A WebSocket to a vendor: what is sent goes to the network at once, and failures have names.

aiohttp opens the socket, reads it, and keeps it alive. The messages that we send, most of them 20 ms of audio, are put
into frames here: that takes a fifth of the time of a task which waits for each of them to be written.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aiohttp

from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.media.websocket import Opcode, frame
from openclaw_voicecall.providers._http import failure, names_proxy, unreachable
from openclaw_voicecall.providers._messages import json_value

BACKLOG = 2**20
"""Bytes that may wait to be sent; more means that the vendor has stopped reading."""
MESSAGE_LIMIT = 16 * 2**20
"""Bytes of one message of a vendor."""
HEARTBEAT = 20.0
"""Seconds between pings; a vendor that answers none within half of that is gone."""
CLOSE_LIMIT = 2.0
"""Seconds for the closing handshake."""
LOOK_EVERY = 0.01
"""Seconds between looks at whether all has left."""
REFUSAL_LIMIT = 64 * 1024
"""Bytes of a refusal that are read."""

_KEY = re.compile(r"\b(?:sk|ek|xai|gsk)[-_][\w*.-]+")
_WORDS = ("error", "err_msg", "detail", "message")
"""Where vendors put the reason of a refusal: OpenAI and xAI, Deepgram, ElevenLabs, and anybody else."""


class VendorSocket:
    """An open socket. Iterate over it for the vendor's messages, text as `str` and binary as `bytes`."""

    def __init__(self, socket: "_Opened", *, vendor: str, operation: str) -> None:
        self._socket = socket
        self._transport = socket.transport
        self._vendor = vendor
        self._operation = operation
        self.close_reason = ""

    @property
    def close_code(self) -> int | None:
        """The peer's close code, once it closed."""
        return self._socket.close_code

    def send(self, message: str | bytes) -> None:
        """Send a message; never waits.

        Raises:
            VendorUnavailable: The vendor does not read, or the socket is closed.
        """
        transport = self._transport
        if transport.is_closing() or self._socket.closed:
            raise self._lost("the connection is closed")
        if transport.get_write_buffer_size() > BACKLOG:
            raise self._lost("the vendor has stopped reading")
        key = random.getrandbits(32).to_bytes(4, "big")
        if isinstance(message, str):
            transport.write(frame(Opcode.TEXT, message.encode(), key))
        else:
            transport.write(frame(Opcode.BINARY, message, key))

    async def drain(self) -> None:
        """Wait until everything was handed to the network, or the socket broke."""
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():  # noqa: ASYNC110 aiohttp tells nobody
            await asyncio.sleep(LOOK_EVERY)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages until the vendor closes. Raises `VendorUnavailable` when that was no normal close."""
        while True:
            message = await self._socket.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                yield message.data
                continue
            if message.type is aiohttp.WSMsgType.CLOSE:
                self.close_reason = message.extra or ""
            if message.type is aiohttp.WSMsgType.ERROR or self.close_code not in (1000, 1001):
                raise self._lost(f"closed with {self.close_code} {self.close_reason}".rstrip())
            return

    def _lost(self, why: str) -> VendorUnavailable:
        return VendorUnavailable(
            f"{self._vendor} {self._operation}: {why}",
            vendor=self._vendor,
            operation=self._operation,
            status=self.close_code,
        )


@asynccontextmanager
async def open_socket(
    url: str,
    *,
    vendor: str,
    operation: str,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 the handshake's, not the block's
) -> AsyncIterator[VendorSocket]:
    """Connect to a vendor's WebSocket.

    Args:
        url: Address, `ws` or `wss`. Redirects are not followed: they would carry the key elsewhere.
        vendor: Name of the provider, for errors.
        operation: What the socket is for, for errors.
        headers: Of the handshake.
        timeout: Seconds for the whole handshake.

    Raises:
        VendorError: The vendor refuses the handshake or cannot be reached.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    async with aiohttp.ClientSession(
        trust_env=names_proxy(), trace_configs=[trace], response_class=_Handshake, ws_response_class=_Opened
    ) as session:
        try:
            async with asyncio.timeout(timeout):
                socket = await session.ws_connect(
                    url,
                    headers=headers,
                    heartbeat=HEARTBEAT,
                    max_msg_size=MESSAGE_LIMIT,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_LIMIT),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise failure(
                vendor, operation, error.status, error.message, headers=error.headers or {}
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(vendor, operation, error) from error
        if not isinstance(socket, _Opened):
            raise TypeError("aiohttp opened another kind of socket")
        try:
            yield VendorSocket(socket, vendor=vendor, operation=operation)
        finally:
            await socket.close()


class _Opened(aiohttp.ClientWebSocketResponse):
    """An open socket that shows its connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        response = next(each for each in given if isinstance(each, aiohttp.ClientResponse))
        connection = response.connection
        if connection is None or connection.transport is None:
            raise aiohttp.ClientConnectionError("the connection was lost in its handshake")
        self.transport: asyncio.Transport = connection.transport


class _Handshake(aiohttp.ClientResponse):
    """The answer to a handshake, which aiohttp throws away when it is a refusal, with the vendor's words in it."""

    async def start(self, connection: Any) -> Self:
        """Take the head of the answer, and of a refusal the body too. Raises `WSServerHandshakeError` then."""
        await super().start(connection)
        if self.status >= 400:
            body = bytearray()
            with suppress(aiohttp.ClientError):  # what came of it has to do
                while len(body) < REFUSAL_LIMIT and (piece := await self.content.read(REFUSAL_LIMIT)):
                    body += piece
            raise aiohttp.WSServerHandshakeError(
                self.request_info,
                self.history,
                status=self.status,
                message=_said(bytes(body)) or self.reason or "",
                headers=self.headers,
            )
        return self


def _said(body: bytes) -> str:
    """The reason in a refusal, without the key that it may quote; empty where there is none that a person can read."""
    text = body.decode("utf-8", "replace").strip()
    try:
        said = json_value(text)
    except ValueError:
        said = "" if text.startswith("<") else text
    while isinstance(said, dict):
        said = next((said[name] for name in _WORDS if said.get(name)), "")
    return _KEY.sub("[key]", said) if isinstance(said, str) else ""


async def _refuse_redirect(session: aiohttp.ClientSession, context: object, params: object) -> None:
    raise aiohttp.ClientError("the vendor redirects elsewhere, and a key is not carried there")
