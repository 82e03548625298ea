"""Sockets of speech-to-speech models: one call's talk, opened in the background.

What is said over the socket is the business of a `Talk`, of which every vendor has its own. Nothing that is asked of
a session waits for the network: the talk keeps it until the vendor is ready. A failure comes out of the iteration.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import RealtimeEvent
from openclaw_voicecall.errors import VendorError, VendorTimeout
from openclaw_voicecall.providers._events import Events
from openclaw_voicecall.providers._socket import VendorSocket, open_socket

OPERATION: Final = "talk"
READY_LIMIT: Final = 5.0
"""Seconds from the first attempt to connect until the vendor must have confirmed the settings."""
FAREWELL_LIMIT: Final = 0.2
"""Seconds for handing the goodbye to the network."""


class Talk(Protocol):
    """What was asked for, said and heard in one session: a vendor's protocol, without I/O.

    It gets the time with everything that happens, and says when it wants to be woken.
    """

    vendor: str
    """Name of the provider, for errors."""
    goodbye: str
    """The message that ends the session; empty where closing the socket does."""
    ready: bool
    """Whether the vendor has confirmed the settings."""

    def connected(self) -> None:
        """The socket is open: the first message may go."""
        ...

    def receive(self, message: str | bytes, now: float) -> None:
        """Take a message of the vendor. Raises `VendorError` for one that ends the session."""
        ...

    def wake(self, now: float) -> None:
        """It is as late as `wake_at` said."""
        ...

    @property
    def wake_at(self) -> float | None:
        """Monotonic seconds at which to call `wake`; None for no time."""
        ...

    def take_messages(self) -> Iterable[str]:
        """What is to be sent and was not yet, in order."""
        ...

    def take_events(self) -> Iterable[RealtimeEvent]:
        """What happened and was not told yet, in order."""
        ...

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that the vendor closed."""
        ...

    def send(self, audio: bytes) -> None:
        """Take the next caller audio. This and what follows is as in `RealtimeSession`."""
        ...

    def say(self, text: str, *, asked: str) -> None:
        """Have a text said, word for word, once the model is silent."""
        ...

    def answer(self, text: str, *, asked: str) -> None:
        """Have the caller answered, once the model is silent."""
        ...

    def cut(self, reply: str, heard: Sequence[tuple[str, int]], now: float) -> None:
        """Say no more of a reply; what was heard of it is told to the model."""
        ...

    def attend(self, listens: bool) -> None:
        """Whether the model hears the caller."""
        ...

    def give_result(self, call: str, output: str, *, asked: str, answer: bool) -> None:
        """The result of a function."""
        ...


def heard_words(said: str, length: float, heard: float) -> str:
    """The words of a reply that lie in its first part: words lie in time as letters lie in a text.

    Args:
        said: All of them.
        length: How long the reply's audio is.
        heard: How much of it was heard, in the same unit.
    """
    if length and heard >= length:
        return said.strip()
    part = said[: int(len(said) * max(heard, 0) / length)] if length else ""
    return part.rpartition(" ")[0].strip()


@asynccontextmanager
async def open_talk(
    url: str, headers: Mapping[str, str], talk: Talk, clock: Clock, *, ready_limit: float = READY_LIMIT
) -> AsyncIterator["TalkingSession"]:
    """Open a session for one call; it is closed at the end of the block. Does not wait for the network.

    Args:
        url: Address, `ws` or `wss`.
        headers: Of the handshake, with the key.
        talk: What is said over the socket.
        clock: Monotonic time.
        ready_limit: Seconds until the vendor must have confirmed the settings.
    """
    session = TalkingSession(url, headers, talk, clock, ready_limit)
    try:
        yield session
    finally:
        await session.close()


class TalkingSession:
    """One call's talk with a vendor's model, as `RealtimeSession` says. See `open_talk`."""

    def __init__(
        self, url: str, headers: Mapping[str, str], talk: Talk, clock: Clock, ready_limit: float
    ) -> None:
        self._url = url
        self._headers = headers
        self._talk = talk
        self._clock = clock
        self._ready_limit = ready_limit
        self._events: Events[RealtimeEvent] = Events()
        self._socket: VendorSocket | None = None
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._run())

    def send(self, audio: bytes) -> None:
        """Take the next caller audio; what comes before the vendor is ready is kept and goes first."""
        if audio:
            self._do(lambda: self._talk.send(audio))

    def say(self, text: str, *, asked: str) -> None:
        """Have this text said, word for word, after a reply that is under way."""
        self._do(lambda: self._talk.say(text, asked=asked))

    def answer(self, text: str = "", *, asked: str) -> None:
        """Have the caller answered, after a reply that is under way."""
        self._do(lambda: self._talk.answer(text, asked=asked))

    def cut(self, reply: str, heard: Sequence[tuple[str, int]]) -> None:
        """Say no more of this reply, and let the model know what was heard of it."""
        self._do(lambda: self._talk.cut(reply, heard, self._clock.monotonic()))

    def attend(self, listens: bool) -> None:
        """Whether the model hears the caller."""
        self._do(lambda: self._talk.attend(listens))

    def give_result(self, call: str, output: str, *, asked: str = "", answer: bool = True) -> None:
        """The result of a function."""
        self._do(lambda: self._talk.give_result(call, output, asked=asked, answer=answer))

    def __aiter__(self) -> AsyncIterator[RealtimeEvent]:
        """What happens, until the session is closed. Raises `VendorError` when the vendor fails or ends it."""
        return aiter(self._events)

    async def close(self) -> None:
        """Say goodbye and close the socket."""
        was_open = not self._events.over
        self._end(None)
        try:
            if was_open and self._socket is not None and self._talk.goodbye:
                with suppress(VendorError, TimeoutError):
                    self._socket.send(self._talk.goodbye)
                    async with asyncio.timeout(FAREWELL_LIMIT):
                        await self._socket.drain()
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _do(self, act: Callable[[], None]) -> None:
        """Let the talk act. A failure ends the iteration: those who send audio cannot handle it."""
        if self._events.over:
            return
        try:
            act()
            self._pump()
        except VendorError as error:
            self._end(error)

    async def _run(self) -> None:
        try:
            await self._serve()
        except VendorError as error:
            self._end(error)
        except Exception as error:  # a mistake of ours must not look like a model that says nothing
            self._end(error)

    async def _serve(self) -> None:
        vendor = self._talk.vendor
        try:
            async with (
                asyncio.timeout(self._ready_limit) as limit,
                open_socket(
                    self._url,
                    vendor=vendor,
                    operation=OPERATION,
                    headers=self._headers,
                    timeout=self._ready_limit * 2,
                ) as socket,
            ):
                self._socket = socket
                self._talk.connected()
                self._pump()
                await self._listen(socket, limit)
        except TimeoutError as error:
            raise VendorTimeout(
                f"{vendor} did not set the session up in time", vendor=vendor, operation=OPERATION
            ) from error

    async def _listen(self, socket: VendorSocket, limit: asyncio.Timeout) -> None:
        try:
            async for message in socket:
                self._talk.receive(message, self._clock.monotonic())
                self._pump()
                if self._talk.ready and limit.when() is not None:
                    limit.reschedule(None)
        except VendorError as error:
            if socket.close_code is None:
                raise
            raise self._talk.closed(socket.close_code, socket.close_reason) from error
        finally:
            self._pump_events()
        raise self._talk.closed(socket.close_code, socket.close_reason)

    def _pump(self) -> None:
        """Pass on what the talk has for the vendor and for us."""
        if self._events.over:
            return
        if self._socket is not None and self._socket.close_code is None:  # else the reading side says why
            for message in self._talk.take_messages():
                self._socket.send(message)
        self._pump_events()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if (at := self._talk.wake_at) is not None:
            self._alarm = self._loop.call_later(max(0.0, at - self._clock.monotonic()), self._wake)

    def _pump_events(self) -> None:
        if not self._events.over:
            self._events.give(self._talk.take_events())

    def _wake(self) -> None:
        self._alarm = None
        self._do(lambda: self._talk.wake(self._clock.monotonic()))

    def _end(self, error: Exception | None) -> None:
        self._events.end(error)
        if self._alarm is not None:
            self._alarm.cancel()
