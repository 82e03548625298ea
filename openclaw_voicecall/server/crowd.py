"""Keeps strangers from filling the public door.

Anybody may connect, and behind a tunnel all strangers and the carrier come from one address. So nobody is refused at
the door. Instead everybody is a stranger until they bring a signed webhook or the token of a media stream, and when
strangers become too many, those go that have stood there longest. A carrier says at once what it wants, so a crowd of
silent connections cannot shut it out, however large it is.

A connection costs next to nothing until the head of its request is complete: only then is it handed to aiohttp.
"""

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import cast

from aiohttp import web

from openclaw_voicecall.server.notes import SparseLog

logger = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a stranger is let alone, however many there are up to `MOST`."""
HEAD_LIMIT = 5.0
"""Seconds in which the head of a request must have arrived."""
HEAD_BYTES = 16 * 1024
"""Bytes of a head; carriers send about one thousand."""
MOST = 800
"""Strangers at a time, young ones too; fewer where the process may not open twice as many files. One costs about 2 KiB
of memory, and 12 KiB once its request is being read."""
HELD_BYTES = 4 * 1024 * 1024
"""What all strangers together may have sent; whoever sent most goes first."""
LOOK_EVERY = 0.25
"""Seconds between looks at who has stood there too long."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Crowd:
    """All connections of strangers, oldest first.

    Args:
        calm: How many may stay for longer than `GRACE`.
        most: How many there may be at all; by the process's limit of open files, if not given.
    """

    def __init__(self, calm: int, *, most: int | None = None) -> None:
        self._most = min(MOST, _open_files() // 2) if most is None else most
        self._calm = min(calm, self._most)
        self._guests: dict[Guest, None] = {}
        self._held = 0
        self._look: asyncio.TimerHandle | None = None
        self._closed = False
        self._log = SparseLog(logger)
        self.pass_on: Callable[[asyncio.Transport, bytes], bool] | None = None
        """Gives connections away, by the head of their request, that another process is to serve."""
        self.shed = 0
        """Connections that were closed because there were too many."""

    def __len__(self) -> int:
        """How many strangers there are."""
        return len(self._guests)

    def gate(
        self, handler: Callable[[], asyncio.Protocol], begun: bytes = b""
    ) -> Callable[[], asyncio.Protocol]:
        """A protocol factory that lets connections through to those of `handler`.

        Args:
            handler: Makes the protocols.
            begun: What another process has read of the connection.
        """
        return lambda: Guest(self, handler, begun)

    def close(self) -> None:
        """Send all strangers away."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        for guest in list(self._guests):
            guest.leave()

    def enter(self, guest: "Guest") -> None:
        """Somebody has connected."""
        if self._closed:
            guest.leave()
            return
        self._guests[guest] = None
        if len(self._guests) > self._most:
            self._send_away(next(iter(self._guests)))
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look_around)

    def hold(self, guest: "Guest", count: int) -> None:
        """A stranger has sent so many bytes."""
        if guest not in self._guests:
            return
        guest.held += count
        self._held += count
        if self._held > HELD_BYTES:
            self._send_away(max(self._guests, key=lambda stranger: stranger.held))

    def forget(self, guest: "Guest") -> None:
        """Somebody is no stranger any more, or has gone."""
        if guest in self._guests:
            del self._guests[guest]
            self._held -= guest.held
            guest.held = 0

    def _look_around(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for guest in list(self._guests):
            age = now - guest.since
            if age < GRACE:
                break
            if len(self._guests) > self._calm:
                self._send_away(guest)
            elif age >= HEAD_LIMIT and not guest.asking:
                guest.leave()
        self._look = loop.call_later(LOOK_EVERY, self._look_around) if self._guests else None

    def _send_away(self, guest: "Guest") -> None:
        self.shed += 1
        self._log.warning(
            "the public port is crowded: connections that bring no signed request are closed, oldest first"
        )
        guest.leave()


class Guest(asyncio.Protocol):
    """One connection. Everything is passed on to a handler once the head of the request is there.

    It stands before aiohttp's handler and does not derive from it, because that one has no room for more.
    """

    __slots__ = ("_begun", "_crowd", "_handler", "_head", "_made", "_transport", "held", "since")

    def __init__(self, crowd: Crowd, handler: Callable[[], asyncio.Protocol], begun: bytes = b"") -> None:
        self._begun = begun
        self._crowd = crowd
        self._made = handler
        self._handler: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self.since = asyncio.get_running_loop().time()
        self.held = 0
        """Bytes sent while a stranger."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._crowd.enter(self)
        if self._begun:
            self.data_received(self._begun)

    def data_received(self, data: bytes) -> None:
        """Collect the head, then pass everything on."""
        self._crowd.hold(self, len(data))
        if self._handler is not None:
            self._handler.data_received(data)
            return
        if self._transport is None or self._transport.is_closing():
            return
        self._head += data
        if _is_whole(self._head):
            self._hand_over(self._transport)
        elif len(self._head) > HEAD_BYTES:
            self._transport.write(_TOO_LARGE)
            self._transport.close()

    def eof_received(self) -> bool | None:
        """The other side sends no more."""
        return self._handler.eof_received() if self._handler is not None else None

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The other side has read what waited."""
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._crowd.forget(self)
        self._transport = None
        if self._handler is not None:
            self._handler.connection_lost(exc)

    def leave(self) -> None:
        """Close the connection at once."""
        self._crowd.forget(self)
        if self._transport is not None:
            self._transport.abort()

    @property
    def asking(self) -> bool:
        """Whether the head of a request is there."""
        return self._handler is not None

    def trust(self) -> None:
        """This is no stranger."""
        self._crowd.forget(self)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        head, self._head = self._head, b""
        if self._crowd.pass_on is not None and self._crowd.pass_on(transport, head):
            return
        self._handler = handler = self._made()
        handler.connection_made(transport)
        handler.data_received(head)


def trust(request: web.Request) -> None:
    """Whoever sent this request is no stranger: it is signed, or brings a token that we gave out."""
    guest = request.transport.get_protocol() if request.transport is not None else None
    if isinstance(guest, Guest):
        guest.trust()


def _is_whole(head: bytes) -> bool:
    """Whether a head has come to its end, or can be none."""
    first = head[:1]
    return b"\r\n\r\n" in head[: HEAD_BYTES + 4] or b"\n\n" in head[:HEAD_BYTES] or not first.isalpha()


def _open_files() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 2 * MOST
