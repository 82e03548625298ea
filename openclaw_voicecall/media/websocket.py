"""WebSocket frames (RFC 6455) without I/O: what a call sends and takes a hundred times a second.

The handshakes are the libraries' business; this begins after them, without extensions. Messages of one frame, which
all of a call's audio is, take the short way; the rest of the protocol is here for everybody who uses it.
"""

import struct
from enum import IntEnum
from typing import Final


class Opcode(IntEnum):
    """What a message is."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


Message = tuple[Opcode, bytes]

NORMAL: Final = 1000
"""Close codes, RFC 6455 section 7.4.1."""
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
"""For a close without a code; it is never sent."""
BROKEN_OFF: Final = 1006
"""For a connection that ended without a close; it is never sent."""
NOT_TEXT: Final = 1007
REFUSED: Final = 1008
TOO_LARGE: Final = 1009

_CONTINUATION: Final = 0
_WHOLE_TEXT: Final = 0x81
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_LONGEST_CONTROL: Final = 125
_OPCODES: Final = {opcode.value: opcode for opcode in Opcode}
_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015)))
"""Close codes that may be sent; those from 3000 to 4999 are anybody's."""


class FrameError(ValueError):
    """The other side breaks the protocol. `code` is what the connection is to be closed with."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


class FrameReader:
    """Puts the messages of one direction together.

    Args:
        masked: Whether the other side has to mask its frames, as clients do and servers must not.
        limit: Bytes that a message may have.
    """

    def __init__(self, *, masked: bool, limit: int) -> None:
        self._masked = masked
        self._limit = limit
        self._rest = b""
        self._opcode: Opcode | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes and return every message that is whole now.

        Raises:
            FrameError: What the other side sends is no WebSocket frame, or too large. The messages before it are lost.
        """
        if self._rest:
            data = self._rest + data
        messages: list[Message] = []
        at, end = 0, len(data)
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            size, payload = second & 0x7F, at + 2
            if size == 126:
                if end - at < 4:
                    break
                size, payload = (data[at + 2] << 8) | data[at + 3], at + 4
            elif size == 127:
                if end - at < 10:
                    break
                size, payload = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            masked = second & _MASKED
            if first != _WHOLE_TEXT or self._opcode or bool(masked) is not self._masked or size > self._limit:
                self._check(first, second, size)
            begin = payload + 4 if masked else payload
            if end - begin < size:
                break
            at = begin + size
            body = data[begin:at]
            if masked:
                body = mask(body, data[payload:begin])
            if first & _FIN and first & 0x0F and (self._opcode is None or first & 0x08):
                messages.append((_OPCODES[first & 0x0F], body))
            elif (whole := self._gather(first, body)) is not None:
                messages.append(whole)
        self._rest = data[at:] if at < end else b""
        return messages

    def _check(self, first: int, second: int, size: int) -> None:
        """Refuse a frame by its head, before its body is waited for."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise FrameError(PROTOCOL_ERROR, "a reserved bit is set")
        if (second & _MASKED != 0) is not self._masked:
            raise FrameError(PROTOCOL_ERROR, "a frame is not masked" if self._masked else "a frame is masked")
        if opcode & 0x08:
            if opcode not in _OPCODES:
                raise FrameError(PROTOCOL_ERROR, "an unknown opcode")
            if size > _LONGEST_CONTROL or not first & _FIN:
                raise FrameError(PROTOCOL_ERROR, "a control frame is too long or in parts")
            return
        if opcode == _CONTINUATION:
            if self._opcode is None:
                raise FrameError(PROTOCOL_ERROR, "a message has no beginning")
        elif opcode not in _OPCODES:
            raise FrameError(PROTOCOL_ERROR, "an unknown opcode")
        elif self._opcode is not None:
            raise FrameError(PROTOCOL_ERROR, "a message begins within another")
        if self._size + size > self._limit:
            raise FrameError(TOO_LARGE, f"a message has more than {self._limit} bytes")

    def _gather(self, first: int, body: bytes) -> Message | None:
        """Add a part of a message that comes in several frames; gives the message with its last part."""
        if first & 0x0F:
            self._opcode = _OPCODES[first & 0x0F]
        self._parts.append(body)
        self._size += len(body)
        if not first & _FIN or self._opcode is None:
            return None
        message = (self._opcode, b"".join(self._parts))
        self._opcode, self._size = None, 0
        self._parts.clear()
        return message


def frame(opcode: Opcode, payload: bytes, key: bytes = b"") -> bytes:
    """One message as it goes over the wire; clients mask it with a fresh `key` of four bytes."""
    size, masked = len(payload), _MASKED if key else 0
    if size < 126:
        head = bytes((_FIN | opcode, masked | size))
    elif size < 65536:
        head = struct.pack("!BBH", _FIN | opcode, masked | 126, size)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, masked | 127, size)
    return head + key + mask(payload, key) if key else head + payload


def mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload: each byte is combined with one of the key's four by exclusive or."""
    size = len(payload)
    keys = key * ((size + 3) >> 2)
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(keys[:size], "little")
    return mixed.to_bytes(size, "little")


def text_of(payload: bytes) -> str:
    """The text of a message. Raises `FrameError` when it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(NOT_TEXT, "a text is not UTF-8") from None


def closing(code: int, reason: str = "") -> bytes:
    """The payload of a close; a reason that is too long is cut."""
    said = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return struct.pack("!H", code) + said


def close_code(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close. Raises `FrameError` for a code that nobody may send."""
    if not payload:
        return NO_CODE, ""
    if len(payload) < 2:
        raise FrameError(PROTOCOL_ERROR, "a close with half a code")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and not 3000 <= code <= 4999:
        raise FrameError(PROTOCOL_ERROR, "a close with a code that may not be sent")
    return code, text_of(payload[2:])
