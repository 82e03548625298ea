"""The events of a streamed chat completion, read from the bytes of the answer.

Format: WHATWG HTML, "Server-sent events"; vendors send one line of `data:` an event and end with `[DONE]`.
"""

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp

from openclaw_voicecall.providers.chat.failures import Refusal

LONGEST: Final = 2**20
"""Bytes of an event; a word of a reply has a few hundred."""
_DONE: Final = "[DONE]"


class EventReader:
    """Puts the data of events together from bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the data of every event that is whole now.

        Raises:
            ValueError: An event is too long, or no UTF-8.
        """
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError(f"an event has more than {LONGEST} bytes")
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].decode().removeprefix(" "))
            elif not line and self._data:
                found.append("\n".join(self._data))
                self._data.clear()
        return found

    def end(self) -> list[str]:
        """There is no more: vendors forget the empty line after the last event."""
        return self.feed(b"\n\n")


async def read_chunks(answer: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of a completion as the vendor wrote them.

    Raises:
        Refusal: The vendor reports an error inside the stream.
        ValueError: It sends no JSON.
    """
    reader, done = EventReader(), False
    async for piece in answer.content.iter_any():
        for data in () if done else reader.feed(piece):
            if done := data.startswith(_DONE):
                break  # and read on: only a connection that was read to its end is used again
            if (chunk := _chunk(data)) is not None:
                yield chunk
    for data in () if done else reader.end():
        if not data.startswith(_DONE) and (chunk := _chunk(data)) is not None:
            yield chunk


def _chunk(data: str) -> dict[str, Any] | None:
    chunk = json.loads(data)
    if not isinstance(chunk, dict):
        return None
    if error := chunk.get("error"):
        raise Refusal("it reports an error", error)
    return chunk
