"""Hands connections over to another process: the socket itself, with what was read from it so far.

No byte of a media stream passes through the process that accepted it.
"""

import asyncio
import logging
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")
_AT_ONCE = 64 * 1024
_MOST_SOCKETS = 16
"""That come with one read; systems give those of one message at a time."""


class Sender:
    """Gives connections away.

    Args:
        end: One of a pair of stream sockets.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)

    def send(self, connection: asyncio.Transport, head: bytes) -> bool:
        """Give a connection away, unless the other side takes none; it is closed here then as well."""
        carried = connection.get_extra_info("socket")
        message = _LENGTH.pack(len(head)) + head
        sent = 0
        with suppress(OSError):
            sent = socket.send_fds(self._end, [message], [carried.fileno()])
        if sent and sent < len(message):
            # What is left of a message must follow it, or nothing after it could be read.
            self._end.shutdown(socket.SHUT_RDWR)
            sent = 0
        # Nothing is said to the other end by this: the connection lives on in whoever has its socket.
        connection.abort()
        return sent > 0

    def close(self) -> None:
        """Give no more away."""
        self._end.close()


class Receiver:
    """Takes connections.

    Args:
        end: The other of the pair.
        gate: Makes what takes a connection that begins with these bytes.
    """

    def __init__(self, end: socket.socket, gate: Callable[[bytes], asyncio.Protocol]) -> None:
        self._end = end
        self._gate = gate
        self._bytes = b""
        self._sockets: deque[int] = deque()
        self._taking: set[asyncio.Task[object]] = set()
        end.setblocking(False)

    def open(self) -> None:
        """Take connections from now on."""
        asyncio.get_running_loop().add_reader(self._end, self._read)

    def close(self) -> None:
        """Take no more."""
        asyncio.get_running_loop().remove_reader(self._end)
        self._end.close()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _AT_ONCE, _MOST_SOCKETS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._end)
            return
        self._bytes += data
        self._sockets.extend(descriptors)
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            head, self._bytes = self._bytes[_LENGTH.size : end], self._bytes[end:]
            self._take(socket.socket(fileno=self._sockets.popleft()), head)

    def _take(self, connection: socket.socket, head: bytes) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: self._gate(head), connection))
        self._taking.add(task)
        task.add_done_callback(self._taken)

    def _taken(self, task: "asyncio.Task[object]") -> None:
        self._taking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a connection could not be taken over: %s", error)


class StreamPaths:
    """Knows by the head of a request whose media stream it opens.

    Args:
        path: `streaming.streamPath` of the configuration.
    """

    def __init__(self, path: str) -> None:
        streams = re.escape(path.rstrip("/").encode())
        self._pattern = re.compile(rb"GET " + streams + rb"/[^/?\s]{1,64}/w(\d{1,3})\.[^/?\s]*[? ]")

    def worker(self, head: bytes) -> int | None:
        """The number of the process that gave out the token; None for this one's, and for all other requests."""
        found = self._pattern.match(head)
        return int(found[1]) if found else None


def prefix(worker: int) -> str:
    """What the tokens of a process begin with. No secret has a dot in it."""
    return f"w{worker}."
