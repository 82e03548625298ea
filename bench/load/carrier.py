"""Plays Twilio to the service: signed webhooks, media streams, and callers whose frames leave at exact times."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp

from load.caller import OVER, Caller, Figures
from load.http import now
from load.script import Script
from load.vendors import ACCOUNT, AUTH_TOKEN, Vendors
from load.websocket import CLOSE, PING, PONG, TEXT, Broken, Reader, accept_key, frame, new_key

OURS = "+12670000000"
SLOTS = 20
"""Milliseconds of a frame; the calls are spread over them."""
OPEN_LIMIT = 15.0


def signature(url: str, fields: Mapping[str, str] | None = None) -> str:
    """`X-Twilio-Signature` of a request."""
    text = url + "".join(name + value for name, value in sorted((fields or {}).items()))
    return base64.b64encode(hmac.new(AUTH_TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Stream:
    """What the service answered a call with."""

    url: str
    parameters: dict[str, str]


class MediaSocket(asyncio.Protocol):
    """Twilio's end of one media stream.

    Args:
        path: What of the service is asked for.
        host: Its host, as in the address.
        signed: The signature.
        figures: Where is counted what goes wrong.
    """

    def __init__(self, path: str, host: str, signed: str, figures: Figures) -> None:
        self._ask, self._figures = (path, host, signed), figures
        self._key = new_key()
        self._head = b""
        self._reader = Reader()
        self._transport: asyncio.Transport
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.caller: Caller | None = None
        self.leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        path, host, signed = self._ask
        transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self._key.decode()}\r\n"
            f"X-Twilio-Signature: {signed}\r\nUser-Agent: Twilio.TmeWs/1.0\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(ConnectionError("the media stream was closed before it was open"))
        if self.caller is not None and not self.leaving:
            self._figures.dropped += 1
            self.caller.state = OVER
        if not self.closed.done():
            self.closed.set_result(None)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def leave(self) -> None:
        """Say that the stream is over."""
        self.leaving = True
        self._transport.write(frame((1000).to_bytes(2, "big"), opcode=CLOSE, client=True))

    def abort(self) -> None:
        """Break the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self.open.done():
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0] or accept_key(self._key) not in head:
                self.open.set_exception(ConnectionError(head.split(b"\r\n")[0].decode("latin-1")))
                self._transport.abort()
                return
            self.open.set_result(None)
        try:
            for opcode, payload in self._reader.feed(data):
                self._take(opcode, payload)
        except Broken as broken:
            self._figures.errors[f"media stream: {broken}"] += 1
            self._transport.abort()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT and self.caller is not None:
            self.caller.receive(payload)
        elif opcode == PING:
            self._transport.write(frame(payload, opcode=PONG, client=True))
        elif opcode == CLOSE:
            if not self.leaving:
                self._transport.write(frame(payload, opcode=CLOSE, client=True))
            self._transport.close()
        elif opcode != PONG:
            raise Broken(f"a message of the kind {opcode}, or one before the stream had begun")


class Wheel:
    """Gives every call its tick of 20 ms at absolute times, whatever the ticks before took.

    Args:
        figures: Where its own lateness is noted.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._slots: list[list[Caller]] = [[] for _ in range(SLOTS)]
        self._begun = now()
        self._turning = False
        self._pending: asyncio.Handle | None = None

    def add(self, caller: Caller, number: int) -> None:
        """Give a call its place."""
        self._slots[number * 7 % SLOTS].append(caller)
        if not self._turning:
            self._turning = True
            self._arm(int((now() - self._begun) * 1000) + 1)

    def stop(self) -> None:
        """No more ticks."""
        if self._pending is not None:
            self._pending.cancel()
        self._turning = False

    def _arm(self, millisecond: int) -> None:
        while not self._slots[millisecond % SLOTS]:
            millisecond += 1
        wait = max(0.0, self._begun + millisecond / 1000 - now())
        self._pending = asyncio.get_running_loop().call_later(wait, self._turn, millisecond)

    def _turn(self, millisecond: int) -> None:
        # Whatever is due goes out at once: a round of the loop for each millisecond would fall behind more and more.
        while (late := now() - self._begun - millisecond / 1000) > -0.0003:
            self._figures.add(self._figures.late, late * 1000)
            for caller in self._slots[millisecond % SLOTS]:
                if caller.state is not OVER:
                    caller.tick(now())
            millisecond += 1
            while not self._slots[millisecond % SLOTS]:
                millisecond += 1
        self._arm(millisecond)


class Carrier:
    """All calls of one run.

    Args:
        script: What happens in them.
        vendors: Whom the service gives its orders.
        webhook: Where calls are announced.
        port: Where the service listens.
    """

    def __init__(self, script: Script, vendors: Vendors, webhook: str, port: int) -> None:
        self.figures = Figures()
        self.sockets: list[MediaSocket] = []
        self._script, self._vendors, self._webhook, self._port = script, vendors, webhook, port
        self._wheel = Wheel(self.figures)
        self._numbers: dict[str, int] = {}

    @property
    def live(self) -> int:
        """Calls that go on."""
        return sum(socket.caller is not None and socket.caller.state is not OVER for socket in self.sockets)

    async def ring(self, http: aiohttp.ClientSession, number: int) -> None:
        """Have somebody call in."""
        call_sid, begun = f"CA{number:032x}", now()
        self._numbers[call_sid] = number
        try:
            async with asyncio.timeout(OPEN_LIMIT):
                stream = await self._announce(http, number, call_sid)
                await self._connect(stream, number, call_sid)
        except (OSError, RuntimeError, TimeoutError, aiohttp.ClientError, ElementTree.ParseError) as error:
            self.figures.failed += 1
            self.figures.errors[f"a call did not begin: {type(error).__name__} {error}"[:120]] += 1
            return
        self.figures.setups.append((now() - begun) * 1000)

    async def hang_up(self, http: aiohttp.ClientSession) -> None:
        """End all calls, as their callers do."""
        self._wheel.stop()
        leaving = [socket for socket in self.sockets if socket.caller is not None]
        for socket in leaving:
            if socket.caller is not None and socket.caller.state is not OVER:
                socket.caller.stop(ACCOUNT)
                socket.leave()
        told = (
            self._tell_end(http, socket.caller.call_sid) for socket in leaving if socket.caller is not None
        )
        await asyncio.gather(*told)
        if leaving:
            await asyncio.wait([socket.closed for socket in leaving], timeout=5)
        for socket in leaving:
            socket.abort()

    async def _announce(self, http: aiohttp.ClientSession, number: int, call_sid: str) -> _Stream:
        body = await self._post(http, self._webhook, number, call_sid, "ringing")
        # The service is ours, and its answer is read by this process alone.
        found = ElementTree.fromstring(body).find(".//Connect/Stream")
        if found is None:
            raise RuntimeError(f"the call was not answered with a stream: {body[:80]!r}")
        parameters = {each.get("name", ""): each.get("value", "") for each in found.findall("Parameter")}
        return _Stream(found.get("url", ""), parameters)

    async def _connect(self, stream: _Stream, number: int, call_sid: str) -> None:
        parts = urlsplit(stream.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: MediaSocket(path, parts.netloc, signature(stream.url), self.figures),
            "127.0.0.1",
            self._port,
        )
        self.sockets.append(socket)
        await socket.open
        caller = Caller(self._script, self.figures, number, call_sid, socket.write)
        socket.caller = caller
        caller.start(ACCOUNT, stream.parameters)
        self._wheel.add(caller, number)

    async def _tell_end(self, http: aiohttp.ClientSession, call_sid: str) -> None:
        url = self._vendors.status_urls.get(call_sid, self._webhook)
        with suppress(OSError, RuntimeError, TimeoutError, aiohttp.ClientError):
            await self._post(http, url, self._numbers[call_sid], call_sid, "completed")

    async def _post(
        self, http: aiohttp.ClientSession, url: str, number: int, call_sid: str, status: str
    ) -> bytes:
        caller = f"+1555{number:07d}"
        form = {
            "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": call_sid, "CallStatus": status,
            "Called": OURS, "Caller": caller, "Direction": "inbound", "From": caller, "To": OURS,
        }  # fmt: skip
        headers = {
            "X-Twilio-Signature": signature(url, form),
            "I-Twilio-Idempotency-Token": f"{call_sid}-{status}",
            "User-Agent": "TwilioProxy/1.1",
        }
        async with http.post(url, data=form, headers=headers) as response:
            body = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{url} answered {response.status}: {body[:80]!r}")
            return body
