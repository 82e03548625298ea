"""WebSockets on a bare transport, as little of RFC 6455 as well-behaved peers need.

The load has to send and take thirty thousand messages a second on one core, for which no library is quick enough. The
service under test uses its own; whatever is odd on the wire ends the socket and is counted.
"""

import base64
import hashlib
import os
from collections.abc import Iterator

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_MASKED, _FIN = 0x80, 0x80
NO_MASK = b"\x00\x00\x00\x00"
"""Clients have to mask what they send; this mask changes nothing, and the far side works as much for it as for any."""


class Broken(Exception):
    """The peer sent what this end does not take."""


def accept_key(key: bytes) -> bytes:
    """The server's answer to a client's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def new_key() -> bytes:
    """A client's key."""
    return base64.b64encode(os.urandom(16))


def frame(payload: bytes, *, opcode: int = TEXT, client: bool) -> bytes:
    """A whole message."""
    size, mask = len(payload), _MASKED if client else 0
    if size < 126:
        head = bytes((_FIN | opcode, mask | size))
    elif size < 65536:
        head = bytes((_FIN | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, mask | 127)) + size.to_bytes(8, "big")
    return head + NO_MASK + payload if client else head + payload


class Reader:
    """Puts messages together from what the network gives."""

    def __init__(self) -> None:
        self._waiting = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of every message that is complete. Raises `Broken`."""
        buffer = self._waiting + data if self._waiting else data
        at, end = 0, len(buffer)
        while end - at >= 2:
            first, second = buffer[at], buffer[at + 1]
            size, body = second & 0x7F, at + 2
            if size == 126:
                size, body = int.from_bytes(buffer[body : body + 2], "big"), body + 2
            elif size == 127:
                size, body = int.from_bytes(buffer[body : body + 8], "big"), body + 8
            mask = b""
            if second & _MASKED:
                mask, body = buffer[body : body + 4], body + 4
            # Short slices at the end of the buffer give sizes that are too small, but then `body` lies behind it.
            if body > end or end - body < size:
                break
            payload = buffer[body : body + size]
            at = body + size
            if first & 0x70 or not first & _FIN:
                raise Broken("a compressed or divided message")
            yield first & 0x0F, _unmasked(payload, mask) if mask else payload
        self._waiting = buffer[at:]


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if mask == NO_MASK:
        return payload
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
