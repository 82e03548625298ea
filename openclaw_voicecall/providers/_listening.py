"""Streams of vendors that listen: one call's audio goes up a WebSocket, and its words come down.

A stream takes audio from its first moment and holds it until the vendor is ready, so that connecting costs no word.
What is said over the socket is the business of a `Listening`, of which every vendor has its own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from openclaw_voicecall.api.speech import Heard, SpeechEvent, TranscriptionStream
from openclaw_voicecall.errors import VendorError, VendorTimeout
from openclaw_voicecall.providers._events import Events
from openclaw_voicecall.providers._socket import VendorSocket, open_socket

logger = logging.getLogger(__name__)

OPERATION: Final = "transcribe"
LAST_WORDS_LIMIT: Final = 3.0
"""Seconds that the last words may take once the stream is closed, while somebody listens for them."""
FAREWELL_LIMIT: Final = 0.2
"""Seconds for handing the goodbye to the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds."""

    ready: float
    """Until the vendor takes audio. The handshake alone may take as long."""
    finish: float
    """Until the answer to `Listening.finish`; then the best interim is the final."""
    keep_alive: float
    """Without audio, until something is sent to keep the stream open."""
    complaint: float = 0.0
    """Until the vendor shows that it goes on, once it has reported an error that need not be the end."""


class Listening(Protocol):
    """What was sent, what was heard and what is owed on one stream: a vendor's protocol, without I/O.

    An answer to `finish` is not awaited for ever: the stream says when it is `overdue`.
    """

    vendor: str
    """Name of the provider, for errors."""
    goodbye: str
    """The message that ends the stream."""
    ready: bool
    """Whether the vendor takes audio. Where that is so from the handshake on, it is always true."""
    done: bool
    """Whether the vendor has said its last word, so that its closing need not be awaited."""
    complaint: str
    """The vendor's last error, until it shows that it goes on all the same; empty when all is well."""
    unanswered: int
    """Finals in a row that were overdue, with no message of any kind between them."""

    @property
    def keep_alive(self) -> str | bytes:
        """What is sent after a while without audio: a message, or some silence."""
        ...

    @property
    def owed(self) -> int:
        """How many finals were asked for and have not come."""
        ...

    def audio_sent(self, audio: bytes) -> Iterable[SpeechEvent]:
        """Count audio that goes out."""
        ...

    def detector_spoke(self) -> None:
        """A turn detector hears the call, too: its edges count, not the vendor's."""
        ...

    def finish(self) -> str:
        """The message that asks for the final of everything sent so far."""
        ...

    def overdue(self) -> Iterable[SpeechEvent]:
        """The final that is owed longest did not come: what was heard of it is final now."""
        ...

    def last_words(self) -> Iterable[SpeechEvent]:
        """What is left when the stream is over."""
        ...

    def receive(self, message: str | bytes) -> Iterable[SpeechEvent]:
        """Facts in one message of the vendor; none in those that are not known. Raises `VendorError`."""
        ...

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that the vendor closed, or should have."""
        ...


@asynccontextmanager
async def open_listening(
    url: str,
    headers: Mapping[str, str],
    listening: Listening,
    limits: Limits,
    *,
    explained: Callable[[VendorError], VendorError] = lambda error: error,
) -> AsyncIterator[TranscriptionStream]:
    """Open a stream for one call. It is there at once; that the vendor refuses is raised by iterating it.

    Args:
        url: Of the WebSocket, with all parameters.
        headers: Of its handshake.
        listening: What is said over it.
        limits: How long things may take.
        explained: Gives a better error for one of the handshake, where the vendor says more than HTTP does.
    """
    stream = ListeningStream(url, headers, listening, limits, explained=explained)
    try:
        yield stream
    finally:
        await stream.close()


class ListeningStream:
    """One call's audio going to a vendor and its words coming back. See `open_listening`."""

    never_waits = True

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        listening: Listening,
        limits: Limits,
        *,
        explained: Callable[[VendorError], VendorError],
    ) -> None:
        self._url = url
        self._headers = headers
        self._listening = listening
        self._limits = limits
        self._explained = explained
        self._events: Events[SpeechEvent] = Events()
        self._socket: VendorSocket | None = None
        self._held: list[bytes] = []
        self._held_finish = False
        self._has_audio = False
        self._sent_at = 0.0
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._deadlines: deque[asyncio.TimerHandle] = deque()
        self._ready_deadline: asyncio.TimerHandle | None = None
        if not listening.ready:
            self._ready_deadline = self._loop.call_later(limits.ready, self._not_ready)
        self._complaint_deadline: asyncio.TimerHandle | None = None
        self._waker: asyncio.Task[None] | None = None
        self._task = self._loop.create_task(self._run())

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio. What comes before the vendor is ready goes out first, once it is."""
        if self._events.over or self._closing or not audio:
            return
        self._has_audio = True
        if self._socket is None:
            self._held.append(audio)
            return
        try:
            self._send(self._socket, audio)
        except VendorError as error:
            self._fail(error)

    async def speech_started(self) -> None:
        """A turn detector listens, too. Before any audio it says nothing."""
        if self._has_audio:
            self._listening.detector_spoke()

    async def speech_stopped(self) -> None:
        """The vendor hears that by itself."""

    async def finish_utterance(self) -> None:
        """Have the vendor finish what it heard; the final comes after `Limits.finish` at the latest."""
        if self._events.over or self._closing:
            return
        self._deadlines.append(self._loop.call_later(self._limits.finish, self._finish_overdue))
        if self._socket is None:
            self._held_finish = True
            return
        try:
            self._socket.send(self._listening.finish())
        except VendorError as error:
            self._fail(error)

    def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """What is heard until the stream is over. Raises `VendorError` when the vendor fails."""
        return aiter(self._events)

    async def close(self) -> None:
        """Say goodbye; while somebody still listens, wait for the last words."""
        self._closing = True
        try:
            if self._socket is not None and not self._task.done():
                await self._say_goodbye(self._socket)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._end()

    async def _say_goodbye(self, socket: VendorSocket) -> None:
        with suppress(VendorError, TimeoutError):
            socket.send(self._listening.goodbye)
            if self._events.readers:
                await asyncio.wait({self._task}, timeout=LAST_WORDS_LIMIT)
            else:
                async with asyncio.timeout(FAREWELL_LIMIT):
                    await socket.drain()

    async def _run(self) -> None:
        try:
            async with open_socket(
                self._url,
                vendor=self._listening.vendor,
                operation=OPERATION,
                headers=self._headers,
                timeout=self._limits.ready,
            ) as socket:
                await self._listen(socket)
        except VendorError as error:
            self._events.end(self._explained(error))
        except Exception as error:  # a mistake of ours must not look like a caller who says nothing
            self._events.end(error)
        finally:
            self._end()

    async def _listen(self, socket: VendorSocket) -> None:
        listening = self._listening
        try:
            if listening.ready:
                self._start(socket)
            async for message in socket:
                self._give(listening.receive(message))
                if listening.done and self._closing:
                    return
                if listening.ready and self._socket is None:
                    self._start(socket)
                self._mind_complaint()
        except VendorError as error:
            if error.status is None:
                raise
        finally:
            if self._waker is not None:
                self._waker.cancel()
        if not self._closing or socket.close_code != 1000:
            raise listening.closed(socket.close_code, socket.close_reason)

    def _start(self, socket: VendorSocket) -> None:
        self._socket = socket
        if self._ready_deadline is not None:
            self._ready_deadline.cancel()
        self._sent_at = self._loop.time()
        for audio in self._held:
            self._send(socket, audio)
        self._held.clear()
        if self._held_finish:
            for _ in range(len(self._deadlines)):
                socket.send(self._listening.finish())
            self._held_finish = False
        self._waker = self._loop.create_task(self._keep_alive(socket))

    async def _keep_alive(self, socket: VendorSocket) -> None:
        limit = self._limits.keep_alive
        while True:
            quiet = self._loop.time() - self._sent_at
            if quiet >= limit:
                with suppress(VendorError):  # the reading side reports it
                    self._send(socket, self._listening.keep_alive)
                self._sent_at, quiet = self._loop.time(), 0.0
            await asyncio.sleep(limit - quiet)

    def _send(self, socket: VendorSocket, message: str | bytes) -> None:
        socket.send(message)
        self._sent_at = self._loop.time()
        if isinstance(message, bytes):
            self._give(self._listening.audio_sent(message))

    def _mind_complaint(self) -> None:
        """An error may be about one message only, or be the end: what follows it tells."""
        listening = self._listening
        if listening.complaint and self._socket is None:
            raise listening.closed(None, "")
        if listening.complaint and self._complaint_deadline is None:
            logger.warning("%s reports an error: %s", listening.vendor, listening.complaint)
            self._complaint_deadline = self._loop.call_later(self._limits.complaint, self._complaint_overdue)
        elif not listening.complaint and self._complaint_deadline is not None:
            self._complaint_deadline.cancel()
            self._complaint_deadline = None

    def _not_ready(self) -> None:
        self._fail(self._silent("was not ready in time"))

    def _complaint_overdue(self) -> None:
        self._fail(self._listening.closed(None, ""))

    def _finish_overdue(self) -> None:
        self._deadlines.popleft()
        if self._socket is None:
            self._give([Heard("", final=True)])
            return
        self._give(self._listening.overdue())
        if self._listening.unanswered > 1:
            self._fail(self._silent("says nothing any more"))

    def _silent(self, why: str) -> VendorTimeout:
        vendor = self._listening.vendor
        return VendorTimeout(f"{vendor} {why}", vendor=vendor, operation=OPERATION)

    def _fail(self, error: VendorError) -> None:
        self._events.end(error)
        self._task.cancel()

    def _give(self, events: Iterable[SpeechEvent]) -> None:
        self._events.give(events)
        while (
            self._socket is not None and not self._held_finish and len(self._deadlines) > self._listening.owed
        ):
            self._deadlines.popleft().cancel()

    def _end(self) -> None:
        if not self._events.over:
            self._give(self._listening.last_words())
            self._events.end()
        for deadline in (*self._deadlines, self._ready_deadline, self._complaint_deadline):
            if deadline is not None:
                deadline.cancel()
        self._deadlines.clear()
