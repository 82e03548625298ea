"""A speech-to-speech session and the socket it is carried by. All sockets of a call have one writer and one reader.

`open_voice` does not wait for the network: what is asked for waits in the session. A failure comes out of the
iteration, and a socket that closes is one, whatever its code.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from openclaw_voicecall.api.realtime import RealtimeEvent, RealtimeSession
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers._events import Events
from openclaw_voicecall.providers._socket import VendorSocket
from openclaw_voicecall.providers.openai.conversation import TALK, Phase, VoiceSession
from openclaw_voicecall.providers.openai.refusals import VENDOR, without_keys

TICK: Final = 0.5
"""Seconds between looks at the clock."""
_WRONG_CLOSES: Final = frozenset({1003, 1007, 1008, 4000})
"""Codes after which another attempt would end in the same way (OpenAI SDK, `types/websocket_reconnection.py`)."""


@dataclass(frozen=True, slots=True)
class VoiceLimits:
    """How long things may take, in seconds."""

    ready: float = 5.0
    """From the first attempt to connect until the session must be ready."""


Connect = Callable[[], AbstractAsyncContextManager[VendorSocket]]
"""Opens the socket; raises `VendorError`."""
Closed = Callable[[VendorError], Awaitable[tuple[Sequence[RealtimeEvent], VendorError]]]
"""Finds out what it means that the socket is closed: what happened last, and the error that ends the session."""


async def _as_it_says(error: VendorError) -> tuple[Sequence[RealtimeEvent], VendorError]:
    return (), error


@asynccontextmanager
async def open_voice(
    session: VoiceSession, connect: Connect, limits: VoiceLimits, *, closed: Closed = _as_it_says
) -> AsyncIterator[RealtimeSession]:
    """Carry a session until the block is left, which closes its socket."""
    line = VoiceLine(session, connect, limits, closed)
    try:
        yield line
    finally:
        await line.close()


class VoiceLine:
    """One call's talk with the model. See `open_voice`."""

    def __init__(self, session: VoiceSession, connect: Connect, limits: VoiceLimits, closed: Closed) -> None:
        self._session = session
        self._connect = connect
        self._limits = limits
        self._closed = closed
        self._events: Events[RealtimeEvent] = Events()
        self._socket: VendorSocket | None = None
        self._task = asyncio.create_task(self._run())
        self._ticker = asyncio.create_task(self._tick())

    def send(self, audio: bytes) -> None:
        """Take the next caller audio, mu-law 8 kHz."""
        self._do(lambda: self._session.send(audio))

    def say(self, text: str, *, asked: str) -> None:
        """Have this text said, word for word."""
        self._do(lambda: self._session.say(text, asked=asked))

    def answer(self, text: str = "", *, asked: str) -> None:
        """Have the caller answered now."""
        self._do(lambda: self._session.answer(text, asked=asked))

    def cut(self, reply: str, heard: Sequence[tuple[str, int]]) -> None:
        """Say no more of this reply, and let the model know what was heard of it."""
        self._do(lambda: self._session.cut(reply, heard))

    def attend(self, listens: bool) -> None:
        """Whether speech of the caller interrupts the model and is answered."""
        self._do(lambda: self._session.attend(listens))

    def give_result(self, call: str, output: str, *, asked: str = "", answer: bool = True) -> None:
        """The result of a function."""
        self._do(lambda: self._session.give_result(call, output, asked=asked, answer=answer))

    def __aiter__(self) -> AsyncIterator[RealtimeEvent]:
        """What happens, until the session is closed. Raises `VendorError` when OpenAI fails or ends it."""
        return aiter(self._events)

    async def close(self) -> None:
        """Close the socket; iterating ends."""
        self._events.end()
        for task in (self._task, self._ticker):
            task.cancel()
        await asyncio.gather(self._task, self._ticker, return_exceptions=True)

    def _do(self, act: Callable[[], None]) -> None:
        if not self._events.over:
            act()
            self._pump()

    async def _run(self) -> None:
        try:
            await self._serve()
        except VendorError as error:
            self._events.end(error)
        except Exception as error:  # a bug of ours must not leave the call without a voice
            self._events.end(error)
        finally:
            self._ticker.cancel()

    async def _serve(self) -> None:
        session = self._session
        try:
            async with asyncio.timeout(self._limits.ready) as limit, self._connect() as socket:
                self._socket = socket
                session.connected()
                self._pump()
                try:
                    async for message in socket:
                        session.receive(message)
                        self._pump()
                        if session.phase is Phase.READY and limit.when() is not None:
                            limit.reschedule(None)
                except VendorUnavailable as error:
                    if error.status is None:
                        raise
                finally:
                    self._events.give(session.take_events())
                limit.reschedule(None)
                events, failure = await self._closed(_ended(socket))
                self._events.give(events)
                raise failure
        except TimeoutError as error:
            raise VendorTimeout(
                f"OpenAI's speech model was not ready within {self._limits.ready:g} s",
                vendor=VENDOR,
                operation=TALK,
            ) from error

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._do(self._session.tick)

    def _pump(self) -> None:
        """Pass on what the session has for OpenAI and for us."""
        if self._socket is not None and self._socket.close_code is None:  # else the reading side says why
            try:
                for message in self._session.take_messages():
                    self._socket.send(message)
            except VendorError as error:
                self._events.give(self._session.take_events())
                self._events.end(error)
                self._task.cancel()
        self._events.give(self._session.take_events())


def _ended(socket: VendorSocket) -> VendorError:
    """The error for a socket that OpenAI closed, whatever it says about it."""
    code, reason = socket.close_code, without_keys(socket.close_reason)
    kind: type[VendorError] = VendorUnavailable
    if "api key" in reason.lower() or "api_key" in reason.lower():
        kind = VendorAuthError
    elif code in _WRONG_CLOSES:
        kind = VendorRejected
    return kind(
        f"OpenAI ended the session: {code} {reason}".rstrip(), vendor=VENDOR, operation=TALK, status=code
    )
