"""What emulators of streaming speech recognition share: their server, their sockets, and an ear.

The ear cuts audio into utterances and reads them.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Final

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.openai_vad import STEP_BYTES, ServerVad, dbfs, speech_level
from openclaw_voicecall.testing.emulators.serving import Emulator, Fault
from openclaw_voicecall.testing.emulators.streams import Streams, break_off

RATE = 8000
"""Bytes a second of mu-law audio."""
CHARACTER = 480
"""Bytes of audio that a character of a scripted text takes, as in `voices`."""
NEVER = 10**9
"""Milliseconds of silence that do not come."""
INTERIM_MS = 500
"""Audio between two interims of a socket."""
FAULTS: Final[Mapping[str, str]] = {
    "unauthorized": "the key is refused with 401",
    "rate-limit": "429, to be tried again in 7 seconds",
    "unavailable": "503",
    "hang": "the handshake is never answered",
    "close": "the stream is closed in the middle",
    "cut": "the connection breaks in the middle",
    "quiet": "the stream stays open and says nothing once it has started",
    "ignore-finalize": "an order to finish the utterance is not answered",
    "late-finalize": "an order to finish the utterance is answered late",
    "news": "messages come that no client knows",
}
"""What can go wrong at every such vendor."""
_REFUSALS: Final = {"unauthorized": 401, "rate-limit": 429, "unavailable": 503}


@dataclass(slots=True)
class ListeningRecord:
    """One WebSocket, as the vendor saw it."""

    query: dict[str, str]
    audio: bytearray = field(default_factory=bytearray)
    """Everything that was taken, in the order in which it came."""
    controls: list[str] = field(default_factory=list)
    """Types of the text messages, in order."""
    closed: bool = False


class ListeningEmulator(Emulator):
    """A vendor that hears raw audio on a WebSocket and says its words. A subclass adds `listen` as a route.

    Fault options: `seconds` of audio before `close` and `cut` (0.5), or of delay for `late-finalize` (1); `code` and
    `reason` for `close` (1011 and the vendor's own).

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right; `KEY` unless it is given.
        recognizer: Gives the words of audio.
        transcripts: Words of the utterances in their order, where there is no recognizer.
    """

    FAULTS = FAULTS
    KEY: ClassVar[str]
    SCHEMES: ClassVar[tuple[str, ...]]
    """What may stand before the key in `Authorization`."""

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
    ) -> None:
        super().__init__(port=port)
        self.key = self.KEY if key is None else key
        self.recognizer = recognizer
        self.script = Script(transcripts)
        self.idle_limit = 10.0
        """Seconds without a message after which a stream is closed."""
        self.streams: list[ListeningRecord] = []
        """Every WebSocket that was opened, oldest first."""
        self.pauses = Streams()

    def wrong_parameters(self, query: Mapping[str, str]) -> str:
        """What is wrong with the parameters of a stream; nothing when all is well."""
        raise NotImplementedError

    def refusal(self, status: int, why: str) -> web.Response:
        """The vendor's answer to a handshake or question that it refuses; `why` where parameters are wrong."""
        raise NotImplementedError

    def new_socket(
        self, request: web.Request, socket: web.WebSocketResponse, record: ListeningRecord
    ) -> "ListeningSocket":
        """What serves a WebSocket. Headers of the handshake may still be added."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """The streams so far."""
        return {
            "streams": [
                {"query": s.query, "seconds": len(s.audio) / RATE, "controls": s.controls, "closed": s.closed}
                for s in self.streams
            ]
        }

    async def stop(self) -> None:
        """End all pauses."""
        self.pauses.stop()

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """Serve a WebSocket."""
        if self.take_fault("hang"):
            await self.pauses.pause()
        if refused := self.refused(request):
            return refused
        query = dict(request.query)
        if why := self.wrong_parameters(query):
            self.refuse(f"GET {request.path}", why)
            return self.refusal(400, why)
        record = ListeningRecord(query)
        self.streams.append(record)
        socket = web.WebSocketResponse()
        served = self.new_socket(request, socket, record)
        await socket.prepare(request)
        try:
            await served.serve()
        finally:
            record.closed = True
        return socket

    def refused(self, request: web.Request) -> web.Response | None:
        """The answer to who is not let in, because of a fault or for a wrong key."""
        if fault := self.take_fault(*_REFUSALS):
            return self.refusal(_REFUSALS[fault.name], "")
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme in self.SCHEMES and key == self.key:
            return None
        where = f"{request.method} {request.path}"
        self.refuse(where, f"Authorization: {scheme or 'nothing'} with a wrong key")
        return self.refusal(401, "")


class ListeningSocket:
    """One WebSocket of a `ListeningEmulator`. A subclass speaks the vendor's format.

    Args:
        owner: Whose it is.
        request: The handshake.
        socket: The socket.
        record: What is noted of it.
        endpointing_ms: Silence that ends an utterance; None for never.
        faults: Names of what may go wrong in the middle besides `close`, `cut` and `quiet`.
    """

    NEWS: ClassVar[str]
    """A message that no client knows."""
    CLOSED: ClassVar[str]
    """The reason that the fault `close` gives."""

    def __init__(
        self,
        owner: ListeningEmulator,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: ListeningRecord,
        *,
        endpointing_ms: int | None,
        faults: tuple[str, ...],
    ) -> None:
        self._owner = owner
        self._request = request
        self._socket = socket
        self._record = record
        self._interims = record.query.get("interim_results") == "true"
        self._ear = Ear(
            owner.recognizer, owner.script, endpointing_ms=endpointing_ms, interim_ms=INTERIM_MS
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = owner.take_fault("news") is not None
        self._fault: Fault | None = owner.take_fault("close", "cut", "quiet", *faults)

    async def serve(self) -> None:
        """Serve until the stream is over."""
        try:
            while not self._socket.closed and await self._take():
                pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take_audio(self, audio: bytes) -> None:
        raise NotImplementedError

    async def _take_text(self, kind: str, text: str) -> None:
        raise NotImplementedError

    async def _report(self, heard: "Heard") -> None:
        """Say what was heard."""
        raise NotImplementedError

    async def _report_finished(self, heard: "Heard") -> None:
        """Say what was heard of an utterance that the client has finished."""
        raise NotImplementedError

    async def _close_idle(self) -> None:
        raise NotImplementedError

    async def _take(self) -> bool:
        """Take a message; whether there may be another."""
        try:
            async with asyncio.timeout(self._owner.idle_limit):
                message = await self._socket.receive()
        except TimeoutError:
            await self._close_idle()
            return False
        await self._tell_news()
        if message.type is WSMsgType.BINARY:
            await self._take_audio(message.data)
        elif message.type is WSMsgType.TEXT:
            await self._take_text(_kind(message.data), message.data)
        else:
            return False
        return True

    async def _tell_news(self) -> None:
        if self._news:
            await self._socket.send_str(self.NEWS)
            await self._socket.send_str("no JSON at all")
            await self._socket.send_bytes(b"\x00")

    async def _hear(self, audio: bytes) -> bool:
        """Report what is heard in audio; False when a fault came between."""
        self._record.audio += audio
        if self._fault is not None and await self._fail(self._fault):
            return False
        for heard in await self._ear.push(audio):
            await self._report(heard)
        return True

    async def _fail(self, fault: Fault) -> bool:
        """Let a fault have its way once it is due; whether the audio is lost by it."""
        if fault.name not in ("close", "cut") or not self._is_due(fault):
            return False
        if fault.name == "close":
            code, reason = fault.options.get("code", 1011), fault.options.get("reason", self.CLOSED)
            await self._socket.close(code=code, message=str(reason).encode())
        else:
            break_off(self._request)
        return True

    def _is_due(self, fault: Fault) -> bool:
        return len(self._record.audio) >= fault.options.get("seconds", 0.5) * RATE

    async def _answer_finish(self, heard: "Heard", fault: Fault | None) -> None:
        """Answer an order to finish, unless the fault is against it."""
        if fault is None:
            await self._report_finished(heard)
        elif fault.name == "late-finalize":
            late = self._report_late(heard, fault.options.get("seconds", 1.0))
            self._tasks.add(asyncio.create_task(late))

    async def _report_late(self, heard: "Heard", seconds: float) -> None:
        await self._owner.pauses.pause(seconds)
        await self._report_finished(heard)

    async def _send(self, message: Mapping[str, Any]) -> None:
        if not self._socket.closed and (self._fault is None or self._fault.name != "quiet"):
            await self._socket.send_json(message)

    async def _refuse(self, why: str, code: int, reason: str) -> None:
        self._owner.refuse(self._request.path, why)
        await self._socket.close(code=code, message=reason.encode())


def _kind(text: str) -> str:
    """The type of a text message; empty when it has none."""
    try:
        return str(json.loads(text)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


class What(Enum):
    """What was heard."""

    STARTED = "started"
    INTERIM = "interim"
    CHUNK = "chunk"
    """A stretch whose words do not change any more, in the middle of an utterance or of silence."""
    ENDED = "ended"
    """The last stretch of an utterance."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of the audio and its words. Times are seconds from the start of the stream."""

    what: What
    text: str
    start: float
    end: float
    voice_start: float
    voice_end: float
    whole: str
    """The words of the utterance so far, earlier chunks too."""
    whole_start: float

    def words(self) -> list[tuple[str, float, float]]:
        """The words with their times, spread evenly over the voice."""
        words = self.text.split()
        step = (self.voice_end - self.voice_start) / max(len(words), 1)
        return [
            (word, round(self.voice_start + index * step, 3), round(self.voice_start + (index + 1) * step, 3))
            for index, word in enumerate(words)
        ]


class Script:
    """Texts of utterances in their order, for whoever has no recognizer. Shared by all streams of an emulator."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(texts)

    def next(self) -> str:
        """The words of the next utterance; none when all were said."""
        return self._texts.pop(0) if self._texts else ""


class Ear:
    """Hears one stream of mu-law audio at 8000 Hz.

    Args:
        recognizer: Gives the words of audio; without one the script does.
        script: Texts of utterances.
        endpointing_ms: Silence that ends an utterance; None for never.
        interim_ms: Audio between two interims.
        chunk_ms: Longest stretch of audio; at its end its words are final.
    """

    def __init__(
        self,
        recognizer: Recognizer | None,
        script: Script,
        *,
        endpointing_ms: int | None,
        interim_ms: int,
        chunk_ms: int = 3000,
    ) -> None:
        self._recognizer = recognizer
        self._script = script
        self._interim = interim_ms * RATE // 1000
        self._chunk = chunk_ms * RATE // 1000
        silence = NEVER if endpointing_ms is None else endpointing_ms
        self._vad = ServerVad(prefix_padding_ms=0, silence_duration_ms=silence)
        self.audio = bytearray()
        """Everything that was heard."""
        self._read = 0
        self._from = 0
        self._utterance_from = 0
        self._interim_at = 0
        self._words: list[str] = []
        self._scripted: str | None = None

    @property
    def now(self) -> float:
        """Seconds of audio that were heard."""
        return self._read / RATE

    @property
    def speaking(self) -> bool:
        """Whether an utterance goes on."""
        return self._vad.speaking

    @property
    def unread(self) -> float:
        """Seconds of audio whose words are not final yet."""
        return (len(self.audio) - self._from) / RATE

    async def push(self, audio: bytes) -> list[Heard]:
        """Take the next audio, of any size; return what was heard, oldest first."""
        self.audio += audio
        found = []
        while len(self.audio) - self._read >= STEP_BYTES:
            step = bytes(self.audio[self._read : self._read + STEP_BYTES])
            self._read += STEP_BYTES
            edges = self._vad.push(step)
            if edges and edges[0].speaking:
                self._interim_at = self._read
                if self._recognizer is None:
                    self._scripted = self._script.next()
                found.append(self._heard(What.STARTED, "", voice=(edges[0].at, self._read)))
            elif edges:
                found.append(await self._final(What.ENDED))
            elif self._vad.speaking and self._read - self._interim_at >= self._interim:
                self._interim_at = self._read
                found.append(self._heard(What.INTERIM, await self._text(final=False)))
            elif self._read - self._from >= self._chunk and (self._recognizer or not self._vad.speaking):
                found.append(await self._final(What.CHUNK))
        return found

    async def finish(self) -> Heard:
        """The utterance is over by order of the client: the rest of it."""
        self._read = len(self.audio)
        heard = await self._final(What.ENDED)
        self._vad.restart()
        return heard

    async def _final(self, what: What) -> Heard:
        heard = self._heard(what, await self._text(final=True))
        self._words.append(heard.text)
        self._from = self._interim_at = self._read
        if what is What.ENDED or not self._vad.speaking:
            self._utterance_from = self._read
            self._words.clear()
            self._scripted = None
        return heard

    async def _text(self, *, final: bool) -> str:
        if self._recognizer is not None:
            # The whole utterance is read each time: a word on the edge of two chunks would be read twice, or never.
            whole = await self._recognizer(bytes(self.audio[self._utterance_from : self._read]))
            return " ".join(whole.split()[sum(len(chunk.split()) for chunk in self._words) :])
        text = self._scripted or ""
        return text if final else text[: (self._read - self._from) // CHARACTER].rpartition(" ")[0]

    def _heard(self, what: What, text: str, voice: tuple[int, int] | None = None) -> Heard:
        start, end = voice or self._voice()
        return Heard(
            what,
            text,
            self._from / RATE,
            self._read / RATE,
            start / RATE,
            end / RATE,
            " ".join(part for part in (*self._words, text) if part),
            self._utterance_from / RATE,
        )

    def _voice(self) -> tuple[int, int]:
        loud = [
            at
            for at in range(self._from, self._read, STEP_BYTES)
            if dbfs(bytes(self.audio[at : at + STEP_BYTES])) >= speech_level(0.5)
        ]
        return (loud[0], loud[-1] + STEP_BYTES) if loud else (self._from, self._read)
