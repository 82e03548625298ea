"""People who connect to a server and do not behave, to see whether those who do are still served.

```python
async with Strangers("127.0.0.1", port) as crowd:
    await crowd.silent(500)
    await crowd.slow(50)
    await crowd.half_open(200)
    ...                          # a genuine request must be answered meanwhile
print(crowd.fates())             # {"silent": {"open": 32, "closed": 468}, ...}
```

Nothing but loopback addresses is ever connected to. Mind the limit of open files (`ulimit -n`) of both processes.
"""

import asyncio
import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

AT_ONCE = 100
"""Connections that are opened at a time; more would only wait in the server's queue."""
TRICKLE = 0.1
"""Seconds between two bytes of those who are slow."""


@dataclass(slots=True)
class Stranger:
    """One connection of somebody who does not behave."""

    kind: str
    """`silent`, `slow-head`, `slow-body`, `half-open` or `wrong-token`."""
    first: bytes = b""
    """What is sent at once."""
    drop: bytes = b""
    """What is sent again and again, slowly."""
    reads: bool = True
    """Whether they read what the server says."""
    answer: bytes = b""
    """What the server said, where they read it."""
    fate: str = "connecting"
    """`open`; or how it ended: `answered 403`, `closed` without a word, `refused` on connecting."""
    link: "_Link | None" = field(default=None, repr=False)


class Strangers:
    """A crowd on one server.

    Args:
        host: A loopback address.
        port: The server's port.
        path: Path of a webhook, for requests that never come to their end.
        again: Whether those who were sent away connect again, for as long as the crowd is there.

    Raises:
        ValueError: The address is not on this machine.
    """

    def __init__(self, host: str, port: int, *, path: str = "/", again: bool = False) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} is not this machine")
        self._host, self._port, self._path = host, port, path
        self._again = again
        self.members: list[Stranger] = []
        """Everybody who ever connected, oldest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._leaving = False

    async def __aenter__(self) -> Self:
        """Begin with nobody."""
        self._start(self._trickle())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let everybody go."""
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self.members:
            if member.link is not None:
                member.link.leave()
        await asyncio.sleep(0)

    async def silent(self, count: int) -> None:
        """Connect, and say nothing."""
        await self._join(count, lambda: Stranger("silent"))

    async def slow(self, count: int) -> None:
        """Send a request byte by byte: half of them its head, half of them its body."""
        head = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        signed = (
            head + b"Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: c2lnbmF0dXJl\r\n"
        )
        kinds = (
            lambda: Stranger("slow-head", head, b"X"),
            lambda: Stranger("slow-body", signed + b"Content-Length: 60000\r\n\r\n", b"a"),
        )
        await self._join(count - count // 2, kinds[0])
        await self._join(count // 2, kinds[1])

    async def half_open(self, count: int) -> None:
        """Send a part of a request, then neither write nor read any more, as a machine that has lost its power."""
        part = f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nContent-Le".encode()
        await self._join(count, lambda: Stranger("half-open", part, reads=False))

    async def wrong_tokens(self, count: int, path: str) -> None:
        """Ask for a media stream with a token that nobody gave out.

        Args:
            count: How many.
            path: Path of the media streams of a carrier; the token follows.
        """

        def ask() -> Stranger:
            request = (
                f"GET {path}/{secrets.token_urlsafe(24)} HTTP/1.1\r\nHost: localhost\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: c3RyYW5nZXJzdHJhbmdlcg==\r\n\r\n"
            )
            return Stranger("wrong-token", request.encode())

        await self._join(count, ask)

    def fates(self) -> dict[str, dict[str, int]]:
        """For each kind what became of how many."""
        kinds: dict[str, Counter[str]] = {}
        for member in self.members:
            kinds.setdefault(member.kind, Counter())[member.fate] += 1
        return {kind: dict(counts) for kind, counts in kinds.items()}

    @property
    def open(self) -> int:
        """How many are connected now."""
        return sum(member.fate == "open" for member in self.members)

    async def _join(self, count: int, make: Callable[[], Stranger]) -> None:
        await asyncio.gather(*(self._connect(make) for _ in range(count)))

    async def _connect(self, make: Callable[[], Stranger]) -> None:
        member = make()
        self.members.append(member)

        def gone() -> None:
            # A wrong token was answered: that was all they wanted.
            if self._again and not self._leaving and member.kind != "wrong-token":
                self._start(self._connect(make))

        async with self._places:
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: _Link(member, gone), self._host, self._port
                )
            except OSError:
                member.fate = "refused"

    async def _trickle(self) -> None:
        while True:
            await asyncio.sleep(TRICKLE)
            for member in self.members:
                if member.drop and member.link is not None:
                    member.link.send(member.drop)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Link(asyncio.Protocol):
    """The socket of one stranger."""

    def __init__(self, member: Stranger, gone: Callable[[], None]) -> None:
        self._member = member
        self._gone = gone
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._member.fate, self._member.link = "open", self
        if not self._member.reads:
            self._transport.pause_reading()
        self.send(self._member.first)

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._member.answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        words = self._member.answer.split(b" ", 2)
        answered = words[0].startswith(b"HTTP/") and len(words) > 1
        self._member.fate = f"answered {words[1].decode('ascii', 'replace')}" if answered else "closed"
        self._member.link = None
        self._gone()

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()
