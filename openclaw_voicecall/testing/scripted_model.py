"""A speech-to-speech model whose behaviour a test writes down, for the shell of a call on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from openclaw_voicecall.api import realtime as r
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.testing.emulators.voices import babble


@dataclass
class ScriptedModelSession:
    """One session; the test plays the model."""

    request: r.RealtimeRequest
    audio: bytearray = field(default_factory=bytearray)
    """What it heard of the caller."""
    said: list[str] = field(default_factory=list)
    """What it was told to say."""
    asked: list[str] = field(default_factory=list)
    """What it was told to answer."""
    cuts: list[tuple[str, list[tuple[str, int]]]] = field(default_factory=list)
    """Replies that were cut, with the milliseconds that were heard of each item."""
    attention: list[bool] = field(default_factory=list)
    results: list[tuple[str, str, bool]] = field(default_factory=list)
    """Results of tools: call, output, and whether an answer was wanted."""
    speaks: bool = True
    """Whether it says what it is told to."""
    _ready: bool = False
    _waiting: list[tuple[str, str]] = field(default_factory=list)
    _events: asyncio.Queue[r.RealtimeEvent | BaseException] = field(default_factory=asyncio.Queue)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def send(self, audio: bytes) -> None:
        """Keep the audio."""
        self.audio += audio

    def say(self, text: str, *, asked: str) -> None:
        """Say it, unless the test does not want it said."""
        self.said.append(text)
        if not self.speaks:
            return
        if self._ready:
            self.reply(text, asked=asked)
        else:
            self._waiting.append((text, asked))

    def answer(self, text: str = "", *, asked: str) -> None:
        """Note it; the test answers with `reply`."""
        self.asked.append(asked)

    def cut(self, reply: str, heard: Sequence[tuple[str, int]]) -> None:
        """Note it."""
        self.cuts.append((reply, list(heard)))

    def attend(self, listens: bool) -> None:
        """Note it."""
        self.attention.append(listens)

    def give_result(self, call: str, output: str, *, asked: str = "", answer: bool = True) -> None:
        """Note it; the test goes on with `reply`."""
        self.results.append((call, output, answer))
        if answer:
            self.asked.append(asked)

    async def __aiter__(self) -> AsyncIterator[r.RealtimeEvent]:
        """What the test has happen."""
        while True:
            event = await self._events.get()
            if isinstance(event, BaseException):
                raise event
            yield event

    # What the test has happen.

    def emit(self, *events: r.RealtimeEvent) -> None:
        """These events, in order."""
        for event in events:
            self._events.put_nowait(event)
            if isinstance(event, r.SessionReady):
                self._ready = True
                while self._waiting:
                    text, asked = self._waiting.pop(0)
                    self.reply(text, asked=asked)

    def fail(self, error: BaseException | None = None) -> None:
        """The session breaks."""
        self._events.put_nowait(error or VendorUnavailable("broken by the script", operation="talk"))

    def hear(self, text: str) -> None:
        """The caller has just said this, for a second."""
        item = f"caller-{next(self._numbers)}"
        self.emit(SpeechEdge(True), SpeechEdge(False), r.CallerSaid(item, text, final=True))

    def reply(
        self, text: str, *, asked: str = "", audio: bytes | None = None, ends: str = "completed"
    ) -> str:
        """The model says this, all at once. Returns the reply's id."""
        number = next(self._numbers)
        reply, item = f"reply-{number}", f"item-{number}"
        self.emit(r.ReplyBegan(reply, asked), r.ReplyText(reply, item, text))
        sound = babble(text) if audio is None else audio
        for at in range(0, len(sound), 800):
            self.emit(r.ReplyAudio(reply, item, sound[at : at + 800]))
        if ends:
            self.emit(r.ReplyEnded(reply, ends, asked=asked))
        return reply

    def call_tool(self, name: str, arguments: str = "{}", *, says: str = "", asked: str = "") -> str:
        """The model calls a function, after saying something. Returns the call's id."""
        reply = self.reply(says, asked=asked, ends="")
        call = f"call-{next(self._numbers)}"
        self.emit(r.ToolCalled(call, name, arguments, reply), r.ReplyEnded(reply, "completed", asked=asked))
        return call


@dataclass
class ScriptedModel:
    """A model and its sessions."""

    ready: bool = True
    """Whether sessions are ready at once."""
    failures: int = 0
    """So many sessions cannot be opened."""
    sessions: list[ScriptedModelSession] = field(default_factory=list)

    @property
    def session(self) -> ScriptedModelSession:
        """The newest."""
        return self.sessions[-1]

    @asynccontextmanager
    async def open_session(self, request: r.RealtimeRequest) -> AsyncIterator[ScriptedModelSession]:
        """Open one for a call. Raises `VendorUnavailable` as often as the test wants."""
        if self.failures:
            self.failures -= 1
            raise VendorUnavailable("not there, says the script", operation="talk")
        session = ScriptedModelSession(request)
        self.sessions.append(session)
        if self.ready:
            session.emit(r.SessionReady())
        yield session
