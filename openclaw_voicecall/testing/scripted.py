"""Providers whose behaviour a test writes down: for the shell of a call on virtual time.

They speak tones and hear what the test says. Whoever wants real speech uses the embedded engines instead.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from openclaw_voicecall.api.responder import ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.speech import (
    Heard,
    SpeechEdge,
    SpeechEvent,
    SpeechRequest,
    TranscriptionRequest,
)
from openclaw_voicecall.errors import VendorUnavailable

TONE = bytes([0x0F, 0x8F]) * 80
"""20 ms of loud mu-law sound."""


class LoopClock:
    """The event loop's time, which `looptime` makes virtual."""

    def monotonic(self) -> float:
        """Seconds of the running loop."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """A fixed day in 2026, moving with the loop."""
        return 1_790_000_000.0 + self.monotonic()


class CountingIds:
    """Ids a person can read in a failed test: `call-1`, `token-1`."""

    def __init__(self) -> None:
        self._calls = self._tokens = 0

    def call_id(self) -> str:
        """`call-1`, `call-2` ..."""
        self._calls += 1
        return f"call-{self._calls}"

    def token(self) -> str:
        """`token-1`, `token-2` ..."""
        self._tokens += 1
        return f"token-{self._tokens}"


@dataclass
class ScriptedStream:
    """One transcription stream; the test plays the vendor."""

    request: TranscriptionRequest
    audio: bytearray = field(default_factory=bytearray)
    told: list[str] = field(default_factory=list)
    """`started`, `stopped` and `finish`, in the order they came."""
    on_finish: str | None = None
    """When set, `finish_utterance` is answered with this final at once."""
    _events: asyncio.Queue[SpeechEvent | BaseException | None] = field(default_factory=asyncio.Queue)

    async def send(self, audio: bytes) -> None:
        """Keep the audio."""
        self.audio += audio

    async def speech_started(self) -> None:
        """Note it."""
        self.told.append("started")

    async def speech_stopped(self) -> None:
        """Note it."""
        self.told.append("stopped")

    async def finish_utterance(self) -> None:
        """Note it, and answer when the test prepared an answer."""
        self.told.append("finish")
        if self.on_finish is not None:
            text, self.on_finish = self.on_finish, None
            self.hear(text)

    def hear(self, text: str, *, final: bool = True) -> None:
        """Give words, as the vendor would."""
        self._events.put_nowait(Heard(text, final))

    def edge(self, *, speaking: bool, ago: float = 0.0, closes: bool = False) -> None:
        """Report voice activity, as a vendor with its own detection would."""
        self._events.put_nowait(SpeechEdge(speaking, ago, closes))

    def fail(self, error: BaseException) -> None:
        """Break the stream."""
        self._events.put_nowait(error)

    def end(self) -> None:
        """Close the stream from the vendor's side."""
        self._events.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """What the test gave."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event


@dataclass
class ScriptedTranscriber:
    """Opens `ScriptedStream`s and keeps them for the test. `refusals` openings fail first."""

    refusals: int = 0
    streams: list[ScriptedStream] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def open_stream(self, request: TranscriptionRequest) -> AsyncIterator[ScriptedStream]:
        """A stream, or a refusal."""
        if self.refusals:
            self.refusals -= 1
            raise VendorUnavailable("refused by the script", vendor="scripted", operation="open stream")
        stream = ScriptedStream(request)
        self.streams.append(stream)
        self.opened.set()
        yield stream


@dataclass
class ScriptedSynthesizer:
    """Speaks a tone of 60 ms a character, in pieces of 100 ms, after `delay` seconds.

    `failures` utterances raise before any audio; an utterance whose text is in `breaks` raises after 200 ms of it;
    one whose text is in `mute` ends without audio.
    """

    delay: float = 0.05
    per_character: float = 0.06
    failures: int = 0
    breaks: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()
    spoken: list[str] = field(default_factory=list)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """The tone of an utterance."""
        await asyncio.sleep(self.delay)
        if self.failures:
            self.failures -= 1
            raise VendorUnavailable("refused by the script", vendor="scripted", operation="speak")
        if request.text in self.mute:
            return
        self.spoken.append(request.text)
        frames = max(1, round(len(request.text) * self.per_character / 0.02))
        for index in range(0, frames, 5):
            if request.text in self.breaks and index >= 10:
                raise VendorUnavailable("broken off by the script", vendor="scripted", operation="speak")
            yield TONE * min(5, frames - index)


Reply = (
    str
    | Iterable[ResponseEvent]
    | BaseException
    | Callable[[TurnRequest], Awaitable[Iterable[ResponseEvent]]]
)


@dataclass
class ScriptedResponder:
    """Answers turns with prepared replies, in order; `delay` seconds pass before each event.

    A string is one `TextDelta` a word; an exception is raised; a coroutine function is asked for the events. With
    `speculative` it may be asked for answers that are thrown away.
    """

    replies: deque[Reply] = field(default_factory=deque)
    delay: float = 0.01
    speculative: bool = False
    requests: list[TurnRequest] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    """Turns whose reply was closed before its end."""

    async def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """The next prepared reply. Fails the test's turn loudly when there is none."""
        self.requests.append(request)
        if not self.replies:
            raise VendorUnavailable("the script has no more replies", vendor="scripted", operation="respond")
        reply = self.replies.popleft()
        if isinstance(reply, BaseException):
            raise reply
        if callable(reply):
            reply = await reply(request)
        events = [TextDelta(word + " ") for word in reply.split()] if isinstance(reply, str) else list(reply)
        finished = False
        try:
            for event in events:
                await asyncio.sleep(self.delay)
                yield event
            finished = True
        finally:
            if not finished:
                self.cancelled.append(request.turn)
