"""The vendors' server: HTTP/1.1 as two client libraries speak it, and WebSockets, on bare transports.

One server stands for all vendors. It refuses what they would refuse, and counts it.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from load.websocket import CLOSE, PING, PONG, TEXT, Broken, Reader, accept_key, frame

LONGEST_HEAD = 64 * 1024
now = time.perf_counter


@dataclass
class Timing:
    """Timers that never fire early, and how late they were, in milliseconds."""

    late: list[float] = field(default_factory=list)

    def at(self, when: float, act: Callable[[], None]) -> "Pending":
        """Act at a time of `now`."""
        pending = Pending()
        self._arm(when, act, pending)
        return pending

    def _arm(self, when: float, act: Callable[[], None], pending: "Pending") -> None:
        delay = max(0.0, when - now())
        pending.handle = asyncio.get_running_loop().call_later(delay, self._fire, when, act, pending)

    def _fire(self, when: float, act: Callable[[], None], pending: "Pending") -> None:
        late = now() - when
        if late < -0.0002:  # loops with timers of whole milliseconds round either way
            self._arm(when, act, pending)
            return
        self.late.append(late * 1000)
        act()


class Pending:
    """A timer that may be called off."""

    handle: asyncio.TimerHandle

    def cancel(self) -> None:
        """Call it off."""
        self.handle.cancel()


@dataclass
class Request:
    """A request of the service."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body. Raises `Refusal` when it is no JSON object."""
        try:
            value = json.loads(self.body)
        except ValueError:
            raise Refusal(400, "the body is no JSON") from None
        if not isinstance(value, dict):
            raise Refusal(400, "the body is no JSON object")
        return value

    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class Refusal(Exception):
    """A request that the vendor does not take."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Socket(Protocol):
    """What serves a WebSocket of the service."""

    def opened(self, send: Callable[[dict[str, Any]], None]) -> None:
        """It may send from now on."""

    def receive(self, text: bytes) -> None:
        """Take a message. Raises `Broken` to end the socket."""

    def closed(self) -> None:
        """It is gone."""


Handler = Callable[[Request, Any], Socket | None]
"""Answers on the connection, now or later, or gives what serves the WebSocket that was asked for."""


class Connection(asyncio.Protocol):
    """One connection of the service to a vendor.

    Args:
        handle: Who answers requests.
        refused: Counts what was refused.
    """

    def __init__(self, handle: Handler, refused: Counter[str]) -> None:
        self._handle = handle
        self._refused = refused
        self._waiting = b""
        self._socket: Socket | None = None
        self._reader = Reader()
        self._transport: asyncio.Transport
        self.on_lost: Callable[[], None] | None = None
        """Told when the service leaves in the middle of an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._socket is not None:
            self._socket.closed()
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None

    def data_received(self, data: bytes) -> None:
        if self._socket is not None:
            self._receive_messages(data)
            return
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head = self._waiting[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
            }
            size = int(headers.get("content-length", "0"))
            if len(self._waiting) < end + 4 + size:
                return
            body, self._waiting = self._waiting[end + 4 : end + 4 + size], self._waiting[end + 4 + size :]
            method, target, _ = head[0].split(" ", 2)
            parts = urlsplit(target)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            self._take(Request(method, unquote(parts.path), query, headers, body))
        if len(self._waiting) > LONGEST_HEAD and b"\r\n\r\n" not in self._waiting:
            self._transport.abort()

    def _take(self, request: Request) -> None:
        try:
            if "chunked" in request.headers.get("transfer-encoding", ""):
                raise Refusal(411, "a body without its length")
            socket = self._handle(request, self)
        except Refusal as refusal:
            self._refused[f"{request.method} {request.path}: {refusal}"] += 1
            self.answer(refusal.status, {"error": {"message": str(refusal), "type": "invalid_request_error"}})
            return
        if socket is not None:
            self._upgrade(request, socket)

    def answer(self, status: int, value: Any) -> None:
        """Answer with JSON."""
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.on_lost = None
        self._transport.write(head.encode() + body)

    def begin(self, kind: str, on_lost: Callable[[], None]) -> None:
        """Begin an answer in pieces."""
        self.on_lost = on_lost
        self._transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    def piece(self, data: bytes) -> None:
        """Send a piece of it."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End it."""
        self.on_lost = None
        self._transport.write(b"0\r\n\r\n")

    def _upgrade(self, request: Request, socket: Socket) -> None:
        key = request.headers.get("sec-websocket-key", "").encode()
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key)
        )
        self._socket = socket
        socket.opened(self._send)
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._receive_messages(waiting)

    def _send(self, event: dict[str, Any]) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame(json.dumps(event).encode(), client=False))

    def _receive_messages(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode == TEXT:
                    self._socket.receive(payload)
                elif opcode == PING:
                    self._transport.write(frame(payload, opcode=PONG, client=False))
                elif opcode == CLOSE:
                    self._transport.write(frame(payload, opcode=CLOSE, client=False))
                    self._transport.close()
                    return
                elif opcode != PONG:
                    raise Broken(f"a message of the kind {opcode}")
        except Broken as broken:
            self._refused[f"WebSocket: {broken}"] += 1
            self._transport.abort()
