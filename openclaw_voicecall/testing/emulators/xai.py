"""xAI's streaming speech to text, `GET /v1/stt`, and `GET /v1/models`.

Written from xAI's documentation, "Speech to Text" (streaming over WebSocket) and its API reference. `finalize` is
spelt in two ways there, and both are taken. How long a stream may be idle is not documented: ten seconds here.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.serving import Emulator, Fault
from openclaw_voicecall.testing.emulators.streams import Streams, break_off
from openclaw_voicecall.testing.emulators.utterances import Ear, Heard, Script, What

PARAMETERS = frozenset(
    {"sample_rate", "encoding", "interim_results", "endpointing", "language", "diarize", "multichannel"}
    | {"channels", "vad_threshold", "smart_turn", "smart_turn_timeout", "keyterm", "filler_words", "model"}
)
ENCODINGS = frozenset({"pcm", "mulaw", "alaw", "opus"})
RATES = frozenset({"8000", "16000", "22050", "24000", "44100", "48000"})
LANGUAGES = frozenset(
    {"ar", "cs", "da", "de", "en", "es", "fa", "fil", "fr", "hi", "id", "it", "ja", "ko", "mk", "ms", "nl"}
    | {"pl", "pt", "ro", "ru", "sv", "th", "tr", "vi"}
)


@dataclass(slots=True)
class XaiRecord:
    """One WebSocket, as xAI saw it."""

    query: dict[str, str]
    audio: bytearray = field(default_factory=bytearray)
    """Everything that came once the stream was ready, in the order in which it came."""
    controls: list[str] = field(default_factory=list)
    """Types of the text messages, in order."""
    closed: bool = False


class XaiEmulator(Emulator):
    """The streaming part of xAI.

    Fault options: `seconds` of audio before `close`, `cut` and `error` (0.5), or of delay for `slow-start` (0.3) and
    `late-finalize` (1); `code` and `reason` for `close` (1011).

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of audio.
        transcripts: Words of the utterances in their order, where there is no recognizer.
    """

    vendor = "xai"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "unauthorized": "the key is refused with 401",
        "rate-limit": "429, to be tried again in 7 seconds",
        "unavailable": "503",
        "hang": "the handshake is never answered",
        "slow-start": "transcript.created comes late",
        "no-start": "transcript.created never comes",
        "close": "the stream is closed in the middle",
        "cut": "the connection breaks in the middle",
        "quiet": "the stream stays open and says nothing once it has started",
        "error": "an error message comes, and nothing after it",
        "hiccup": "an error message comes, and the stream goes on",
        "ignore-finalize": "finalize is not answered",
        "late-finalize": "finalize is answered late",
        "repeat": "finalize locks a chunk only, the utterance comes again later, and the end repeats everything",
        "no-times": "partials do not say where in the audio they lie",
        "news": "messages come that no client knows",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "xai-key",
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.script = Script(transcripts)
        self.idle_limit = 10.0
        """Seconds without audio after which a stream is closed."""
        self.streams: list[XaiRecord] = []
        """Every WebSocket that was opened, oldest first."""
        self.pauses = Streams()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add `/v1/stt` and `/v1/models`."""
        router.add_get("/v1/stt", self._transcribe)
        router.add_get("/v1/models", self._models)

    def state(self) -> dict[str, Any]:
        """The streams so far."""
        return {
            "streams": [
                {"query": s.query, "seconds": len(s.audio) / 8000, "controls": s.controls, "closed": s.closed}
                for s in self.streams
            ]
        }

    async def stop(self) -> None:
        """End all pauses."""
        self.pauses.stop()

    async def _models(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        models = [{"id": name, "object": "model", "owned_by": "xai"} for name in ("grok-4.6", "grok-4.5")]
        return web.json_response({"object": "list", "data": models})

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        if self.take_fault("hang"):
            await self.pauses.pause()
        if refusal := self._refusal(request):
            return refusal
        query = dict(request.query)
        if why := _wrong_parameters(query):
            self.refuse("GET /v1/stt", why)
            return web.json_response({"error": why, "code": "invalid-argument"}, status=400)
        record = XaiRecord(query)
        self.streams.append(record)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        try:
            await _Stream(self, request, socket, record).serve()
        finally:
            record.closed = True
        return socket

    def _refusal(self, request: web.Request) -> web.Response | None:
        fault = self.take_fault("unauthorized", "rate-limit", "unavailable")
        if fault is not None and fault.name == "rate-limit":
            return web.json_response({"error": "Too many requests"}, status=429, headers={"Retry-After": "7"})
        if fault is not None and fault.name == "unavailable":
            return web.json_response({"error": "Service unavailable"}, status=503)
        authorization = request.headers.get("Authorization", "")
        if fault is None and authorization == f"Bearer {self.key}":
            return None
        if fault is None:
            scheme = authorization.partition(" ")[0] or "nothing"
            self.refuse(f"{request.method} {request.path}", f"Authorization: {scheme} with a wrong key")
        return web.json_response(
            {"error": "Incorrect API key provided", "code": "unauthenticated"}, status=401
        )


class _Stream:
    """One WebSocket."""

    def __init__(
        self, owner: XaiEmulator, request: web.Request, socket: web.WebSocketResponse, record: XaiRecord
    ) -> None:
        self._owner = owner
        self._request = request
        self._socket = socket
        self._record = record
        self._interims = record.query.get("interim_results") == "true"
        self._ear = Ear(
            owner.recognizer,
            owner.script,
            endpointing_ms=int(record.query.get("endpointing", "10")),
            interim_ms=500,
        )
        self._ready = False
        self._waiting: list[Heard] = []
        self._all: list[str] = []
        self._late: set[asyncio.Task[None]] = set()
        self._repeats = owner.take_fault("repeat") is not None
        self._times = owner.take_fault("no-times") is None
        self._news = owner.take_fault("news") is not None
        self._start: Fault | None = owner.take_fault("slow-start", "no-start")
        self._fault: Fault | None = owner.take_fault("close", "cut", "quiet", "error", "hiccup")

    async def serve(self) -> None:
        """Serve until the stream is over."""
        self._late.add(asyncio.create_task(self._become_ready()))
        try:
            await self._serve()
        finally:
            for task in self._late:
                task.cancel()
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _become_ready(self) -> None:
        await self._tell_news()
        if self._start is not None:
            slow = self._start.name == "slow-start"
            await self._owner.pauses.pause(self._start.options.get("seconds", 0.3) if slow else None)
        self._ready = True
        await self._socket.send_json({"type": "transcript.created", "id": f"stt-{len(self._owner.streams)}"})

    async def _serve(self) -> None:
        while not self._socket.closed:
            try:
                async with asyncio.timeout(self._owner.idle_limit):
                    message = await self._socket.receive()
            except TimeoutError:
                await self._refuse("no audio", "stream timeout")
                return
            await self._tell_news()
            if message.type is WSMsgType.BINARY:
                await self._take_audio(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._take_text(message.data)
            else:
                return

    async def _tell_news(self) -> None:
        if self._news:
            await self._socket.send_str('{"type":"transcript.mood","mood":"fair"}')
            await self._socket.send_str("no JSON at all")
            await self._socket.send_bytes(b"\x00")

    async def _take_audio(self, audio: bytes) -> None:
        if not self._ready:
            self._owner.refuse("/v1/stt", "audio before transcript.created, which is thrown away")
            return
        self._record.audio += audio
        if self._fault is not None and await self._fail(self._fault):
            return
        for heard in await self._ear.push(audio):
            await self._report(heard)

    async def _take_text(self, text: str) -> None:
        try:
            kind = json.loads(text)["type"]
        except (ValueError, KeyError, TypeError):
            kind = ""
        self._record.controls.append(kind)
        match kind:
            case "finalize" | "Finalize":
                await self._finalize()
            case "audio.done":
                rest = (await self._ear.finish()).whole
                last = " ".join((*self._all, rest)).strip() if self._repeats else rest
                await self._send(
                    {"type": "transcript.done", "text": last, "words": [], "duration": self._ear.now}
                )
            case _:
                await self._send({"type": "error", "message": f"unknown message {text[:80]}"})
                await self._refuse(f"text message {text[:80]!r}", "invalid message")

    async def _finalize(self) -> None:
        fault = self._owner.take_fault("ignore-finalize", "late-finalize")
        heard = await self._ear.finish()
        if not heard.whole and not heard.text:
            return
        if fault is None:
            await self._partial(heard, is_final=True, speech_final=not self._repeats)
        elif fault.name == "late-finalize":
            self._late.add(asyncio.create_task(self._answer_late(heard, fault.options.get("seconds", 1.0))))
        if self._repeats:
            self._waiting.append(heard)

    async def _answer_late(self, heard: Heard, seconds: float) -> None:
        await self._owner.pauses.pause(seconds)
        await self._partial(heard, is_final=True, speech_final=True)

    async def _fail(self, fault: Fault) -> bool:
        if fault.name == "quiet" or len(self._record.audio) < fault.options.get("seconds", 0.5) * 8000:
            return False
        if fault.name == "close":
            code, reason = fault.options.get("code", 1011), fault.options.get("reason", "internal error")
            await self._socket.close(code=code, message=str(reason).encode())
            return True
        if fault.name == "cut":
            break_off(self._request)
            return True
        await self._send({"type": "error", "message": "ASR backend is gone"})
        self._fault = Fault("quiet") if fault.name == "error" else None
        return False

    async def _report(self, heard: Heard) -> None:
        while self._waiting:
            await self._partial(self._waiting.pop(0), is_final=True, speech_final=True)
        if heard.what is What.INTERIM and self._interims and heard.text:
            await self._partial(heard)
        elif heard.what is What.CHUNK and heard.text:
            await self._partial(heard, is_final=True)
        elif heard.what is What.ENDED and heard.whole:
            await self._partial(heard, is_final=True, speech_final=True)

    async def _partial(self, heard: Heard, *, is_final: bool = False, speech_final: bool = False) -> None:
        text, start = (heard.whole, heard.whole_start) if speech_final else (heard.text, heard.start)
        if speech_final:
            self._all.append(text)
        message = {
            "type": "transcript.partial",
            "text": text,
            "words": [{"text": word, "start": begin, "end": end} for word, begin, end in heard.words()],
            "is_final": is_final,
            "speech_final": speech_final,
        }
        if self._times:
            message |= {"start": round(start, 2), "duration": round(heard.end - start, 2)}
        await self._send(message)

    async def _send(self, message: Mapping[str, Any]) -> None:
        if not self._socket.closed and (self._fault is None or self._fault.name != "quiet"):
            await self._socket.send_json(message)

    async def _refuse(self, why: str, reason: str) -> None:
        self._owner.refuse("/v1/stt", why)
        await self._socket.close(code=1008, message=reason.encode())


def _wrong_parameters(query: Mapping[str, str]) -> str:
    """What is wrong with the parameters of a stream; nothing when all is well."""
    if unknown := sorted(set(query) - PARAMETERS):
        return f"unknown parameter {unknown[0]}"
    if query.get("encoding", "pcm") not in ENCODINGS or query.get("sample_rate", "16000") not in RATES:
        return "unsupported encoding or sample_rate"
    if (query.get("encoding"), query.get("sample_rate")) != ("mulaw", "8000"):
        return "this stand-in hears mu-law at 8000 Hz only; anything else would be noise"
    if query.get("interim_results", "false") not in ("true", "false"):
        return "interim_results is neither true nor false"
    endpointing = query.get("endpointing", "10")
    if not endpointing.isdecimal() or int(endpointing) > 5000:
        return "endpointing must be between 0 and 5000"
    if query.get("language", "en") not in LANGUAGES:
        return "unsupported language"
    return ""
