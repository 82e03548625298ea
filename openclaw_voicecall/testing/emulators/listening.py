"""What emulators of vendors that hear raw audio on a WebSocket share: most of their server and of their socket."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.serving import Emulator, Fault
from openclaw_voicecall.testing.emulators.streams import Streams, break_off
from openclaw_voicecall.testing.emulators.utterances import RATE, Ear, Heard, Script

INTERIM_MS = 500
"""Audio between two interims of a socket."""
FAULTS: Final[Mapping[str, str]] = {
    "unauthorized": "the key is refused with 401",
    "rate-limit": "429, to be tried again in 7 seconds",
    "unavailable": "503",
    "hang": "the handshake is never answered",
    "close": "the stream is closed in the middle",
    "cut": "the connection breaks in the middle",
    "deaf": "audio is taken and thrown away, in open streams too",
    "close-now": "an open stream is closed at its next audio",
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
    `reason` for `close` and `close-now` (1011 and the vendor's own).

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
        self._ear = Ear(owner.recognizer, owner.script, endpointing_ms=endpointing_ms, interim_ms=INTERIM_MS)
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

    async def _report(self, heard: Heard) -> None:
        """Say what was heard."""
        raise NotImplementedError

    async def _report_finished(self, heard: Heard) -> None:
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
        if self._owner.take_fault("deaf"):
            return False
        if fault := self._owner.take_fault("close-now"):
            await self._close_for(fault)
            return False
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
            await self._close_for(fault)
        else:
            break_off(self._request)
        return True

    async def _close_for(self, fault: Fault) -> None:
        code, reason = fault.options.get("code", 1011), fault.options.get("reason", self.CLOSED)
        await self._socket.close(code=code, message=str(reason).encode())

    def _is_due(self, fault: Fault) -> bool:
        due: float = fault.options.get("seconds", 0.5) * RATE
        return len(self._record.audio) >= due

    async def _answer_finish(self, heard: Heard, fault: Fault | None) -> None:
        """Answer an order to finish, unless the fault is against it."""
        if fault is None:
            await self._report_finished(heard)
        elif fault.name == "late-finalize":
            late = self._report_late(heard, fault.options.get("seconds", 1.0))
            self._tasks.add(asyncio.create_task(late))

    async def _report_late(self, heard: Heard, seconds: float) -> None:
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
