"""A bad network on loopback: a TCP proxy that delays, throttles, drops, spoils, cuts and hangs on demand.

```python
async with FaultProxy("127.0.0.1", server_port) as proxy:
    client = await connect(f"ws://127.0.0.1:{proxy.port}/")
    proxy.cut_after(100, Direction.TO_CLIENT)     # the server's answer breaks off in the middle of a message
```

Faults hold for open connections and for those to come, until `heal()`.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self


class Direction(StrEnum):
    """Which way bytes go through the proxy."""

    TO_SERVER = "to-server"
    TO_CLIENT = "to-client"


BOTH = (Direction.TO_SERVER, Direction.TO_CLIENT)
READ_SIZE = 16384
"""Bytes taken from a socket at a time."""
SMALL_BUFFER = 16384
"""Bytes that may wait here unread, about; and in the system, where somebody reads slowly."""


class FaultProxy:
    """Forwards TCP connections to a server on loopback, until told to misbehave.

    Args:
        host: Address of the server.
        port: Port of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        """Where clients connect; set once the proxy is entered."""
        self.accepted = 0
        """Connections taken so far, refused ones not counted."""
        self.forwarded = dict.fromkeys(BOTH, 0)
        """Bytes that reached the other side."""
        self.dropped = dict.fromkeys(BOTH, 0)
        """Bytes that were swallowed."""
        self.spoiled = dict.fromkeys(BOTH, 0)
        """Bytes that were changed."""
        self.struck = 0
        """How often a fault has done something: to a piece of data, or to a connection."""
        self._target = (host, port)
        self._faults = {direction: _Faults() for direction in BOTH}
        self._refusing = False
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Start to listen on a free port."""
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=SMALL_BUFFER)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, cut every connection, and wait until nothing of the proxy runs."""
        assert self._server is not None  # noqa: S101 set by __aenter__
        self._server.close()
        self._refusing = True  # a connection may be accepted already whose handler is yet to be called
        while self._handlers:
            for handler in self._handlers:
                handler.cancel()
            await asyncio.wait(self._handlers)
        await self._server.wait_closed()

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the counters or on `open_connections` holds; it is asked at every change."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Deliver bytes this much later, in order; both ways when no direction is named."""
        for faults in self._chosen(directions):
            faults.delay = seconds

    def throttle(self, bytes_per_second: float, *directions: Direction) -> None:
        """Let bytes through no faster than this."""
        for faults in self._chosen(directions):
            faults.rate = bytes_per_second

    def drop(self, *directions: Direction) -> None:
        """Swallow bytes without a word; the connection stays open."""
        for faults in self._chosen(directions):
            faults.dropping = True

    def stall(self, *directions: Direction) -> None:
        """Half-open: forward nothing and read no more, as when the far machine lost power; senders block."""
        for faults in self._chosen(directions):
            faults.flowing.clear()

    def read_slowly(self, bytes_per_second: float, *directions: Direction) -> None:
        """Take bytes in no faster than this, as a program does that is too slow: what waits fills the sender's buffers.

        `throttle` is another thing: there the network takes everything and delivers it late.
        """
        for faults in self._chosen(directions):
            faults.reading_rate = bytes_per_second
        for direction in directions or BOTH:
            for connection in self._connections:
                _shrink_buffer(connection.writers[_opposite(direction)])

    def corrupt(self, every: int, *directions: Direction, seed: int = 0) -> None:
        """Change a bit of about one in `every` bytes; no byte is lost or added. The same seed spoils the same bytes."""
        for faults in self._chosen(directions):
            faults.spoil_every, faults.random = every, random.Random(seed)

    def cut_after(self, count: int, *directions: Direction) -> None:
        """Reset the connection that passes `count` more bytes, in the middle of a message if need be."""
        for faults in self._chosen(directions):
            faults.cut_after = count

    def cut(self) -> None:
        """Reset every open connection now; both sides see the connection break, not end."""
        for connection in list(self._connections):
            self.struck += 1
            connection.reset()

    def end(self, direction: Direction) -> None:
        """Close one direction in good order, as a peer does that will send nothing more but still listens."""
        for connection in self._connections:
            self.struck += 1
            writer = connection.writers[direction]
            if writer.can_write_eof():
                writer.write_eof()

    def refuse(self) -> None:
        """Reset new connections at once; open ones live on."""
        self._refusing = True

    def heal(self) -> None:
        """Behave again. What was swallowed stays lost; what was held back is delivered."""
        self._refusing = False
        for faults in self._faults.values():
            faults.heal()

    def _chosen(self, directions: Iterable[Direction]) -> list["_Faults"]:
        return [self._faults[direction] for direction in tuple(directions) or BOTH]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.struck += 1
            _reset(writer)
            return
        handler = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target, limit=SMALL_BUFFER)
        except OSError:
            _reset(writer)
            return
        except asyncio.CancelledError:
            _reset(writer)
            raise
        self.accepted += 1
        connection = _Connection({Direction.TO_SERVER: server_writer, Direction.TO_CLIENT: writer})
        self._connections.add(connection)
        for direction in BOTH:
            if self._faults[direction].reading_rate is not None:
                _shrink_buffer(connection.writers[_opposite(direction)])
        self._changed.set()
        ended = False
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(connection, reader, Direction.TO_SERVER))
                pumps.create_task(self._pump(connection, server_reader, Direction.TO_CLIENT))
            ended = True
        except* OSError:
            pass  # one side broke off; so does the other
        finally:
            if not ended:
                connection.reset()
            self._connections.discard(connection)
            self._changed.set()
            await connection.close()

    async def _pump(
        self, connection: "_Connection", reader: asyncio.StreamReader, direction: Direction
    ) -> None:
        faults = self._faults[direction]
        writer = connection.writers[direction]
        line = _DelayLine()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver(connection, line, direction))
            while data := await reader.read(faults.read_size):
                self.struck += faults.present
                if faults.reading_rate is not None:
                    await asyncio.sleep(len(data) / faults.reading_rate)
                await faults.flowing.wait()
                if faults.dropping:
                    self.dropped[direction] += len(data)
                    self._changed.set()
                    continue
                line.put(data, faults.delay)
            line.put(b"", faults.delay)
        with suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()

    async def _deliver(self, connection: "_Connection", line: "_DelayLine", direction: Direction) -> None:
        faults = self._faults[direction]
        writer = connection.writers[direction]
        while data := await line.get():
            await faults.flowing.wait()
            for whole in faults.pieces(data):
                if faults.rate is not None:
                    await asyncio.sleep(len(whole) / faults.rate)
                piece, changes = faults.spoil(whole)
                self.spoiled[direction] += changes
                writer.write(piece)
                await writer.drain()
                self.forwarded[direction] += len(piece)
                self._changed.set()
            if faults.spent(len(data)):
                self.struck += 1
                connection.reset()
                return


class _Faults:
    """What is wrong with one direction."""

    def __init__(self) -> None:
        self.flowing = asyncio.Event()
        self.heal()

    def heal(self) -> None:
        self.delay = 0.0
        self.rate: float | None = None
        self.reading_rate: float | None = None
        self.dropping = False
        self.cut_after: int | None = None
        self.spoil_every: int | None = None
        self.random = random.Random(0)
        self.flowing.set()

    @property
    def present(self) -> bool:
        """Whether data that comes now will feel something. A cut is felt by the connection that it breaks."""
        slow = self.delay > 0 or self.rate is not None or self.reading_rate is not None
        return slow or self.dropping or self.spoil_every is not None or not self.flowing.is_set()

    @property
    def read_size(self) -> int:
        """Bytes to take in at a time: few when that is to be slow, so that it is a trickle."""
        if self.reading_rate is None:
            return READ_SIZE
        return min(max(int(self.reading_rate * 0.05), 1), READ_SIZE)

    def spoil(self, data: bytes) -> tuple[bytes, int]:
        """The data with some of its bits changed, and how many of its bytes are."""
        if self.spoil_every is None:
            return data, 0
        spoiled, changes = bytearray(data), 0
        for at in range(len(data)):
            roll = self.random.random() * self.spoil_every  # one for each byte, however the data is cut
            if roll < 1:
                spoiled[at] ^= 1 << int(roll * 8)
                changes += 1
        return bytes(spoiled), changes

    def pieces(self, data: bytes) -> list[bytes]:
        """What may pass of `data`, small enough for a steady trickle when throttled."""
        if self.cut_after is not None:
            data = data[: self.cut_after]
        size = len(data) if self.rate is None else max(int(self.rate * 0.02), 1)
        return [data[start : start + size] for start in range(0, len(data), max(size, 1))]

    def spent(self, count: int) -> bool:
        """Whether the allowance of `cut_after` is used up once `count` bytes came."""
        if self.cut_after is None:
            return False
        self.cut_after -= min(count, self.cut_after)
        if self.cut_after:
            return False
        self.cut_after = None
        return True


class _DelayLine:
    """A queue whose items come out a while after they went in. Bounded by what tests send."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    def put(self, data: bytes, delay: float) -> None:
        self._queue.put_nowait((asyncio.get_running_loop().time() + delay, data))

    async def get(self) -> bytes:
        due, data = await self._queue.get()
        await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
        return data


class _Connection:
    """Both ends of one proxied connection, by the direction in which they are written to."""

    def __init__(self, writers: dict[Direction, asyncio.StreamWriter]) -> None:
        self.writers = writers

    def reset(self) -> None:
        for writer in self.writers.values():
            _reset(writer)

    async def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _opposite(direction: Direction) -> Direction:
    return Direction.TO_CLIENT if direction is Direction.TO_SERVER else Direction.TO_SERVER


def _shrink_buffer(writer: asyncio.StreamWriter) -> None:
    """Have the system keep little of what its peer sends, so that the peer feels a slow reader soon."""
    raw = writer.get_extra_info("socket")
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset: nothing queued is sent, and the peer gets an error instead of an end."""
    raw = writer.get_extra_info("socket")
    with suppress(OSError):
        # Linger on with zero seconds is how a reset is asked for.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
