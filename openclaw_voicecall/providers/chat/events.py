"""The events of a streamed chat completion, read from the bytes of the answer.

OpenAI's SDK reads them too, and makes typed objects of them: that takes ten times as long, for every word of a reply
and of every call, and nothing of the objects is used but a text.

Format: WHATWG HTML, "Server-sent events"; vendors send one line of `data:` an event and end with `[DONE]`.
"""

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from openai import APIError

if TYPE_CHECKING:
    from openai import AsyncStream

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


async def read_chunks(stream: "AsyncStream[Any]") -> AsyncGenerator[dict[str, Any], None]:
    """The chunks of a completion as the vendor wrote them.

    Raises:
        APIError: The vendor reports an error inside the stream.
        ValueError: It sends no JSON.
    """
    reader, done = EventReader(), False
    async for piece in stream.response.aiter_bytes():
        for data in () if done else reader.feed(piece):
            if done := data.startswith(_DONE):
                break  # and read on: only a connection that was read to its end is used again
            if (chunk := _chunk(stream, data)) is not None:
                yield chunk
    for data in () if done else reader.end():
        if not data.startswith(_DONE) and (chunk := _chunk(stream, data)) is not None:
            yield chunk


def _chunk(stream: "AsyncStream[Any]", data: str) -> dict[str, Any] | None:
    chunk = json.loads(data)
    if not isinstance(chunk, dict):
        return None
    if error := chunk.get("error"):
        said = error.get("message") if isinstance(error, dict) else None
        message = said if isinstance(said, str) and said else "An error occurred during streaming"
        raise APIError(message=message, request=stream.response.request, body=error)
    return chunk
