"""Deepgram's streaming speech to text, `GET /v1/listen`, and `GET /v1/projects`.

Written from Deepgram's SDK 7 (`deepgram/listen/v1/client.py` for the parameters, `deepgram/listen/v1/types/` for the
messages) and its pages on Finalize, KeepAlive, CloseStream, endpointing, UtteranceEnd and WebSocket errors.
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
    {"callback", "callback_method", "channels", "detect_entities", "diarize", "diarize_model", "dictation"}
    | {"encoding", "endpointing", "extra", "interim_results", "keyterm", "keywords", "language"}
    | {"language_hint", "mip_opt_out", "model", "multichannel", "numerals", "profanity_filter", "punctuate"}
    | {"redact", "replace", "sample_rate", "search", "smart_format", "tag", "utterance_end_ms", "vad_events"}
    | {"version"}
)
ENCODINGS = frozenset(
    {"linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb", "opus", "ogg-opus", "speex", "g729"}
)
FAMILIES = (
    "nova",
    "enhanced",
    "base",
    "meeting",
    "phonecall",
    "finance",
    "conversationalai",
    "voicemail",
    "video",
)
NOTICEABLE = 0.1
"""Seconds of audio without final words below which `Finalize` has no answer."""
CONTROLS = frozenset({"KeepAlive", "Finalize", "CloseStream", "Configure"})


class Refused(Exception):
    """The handshake is refused. Its arguments are the status, Deepgram's code, and the sentence."""


@dataclass(slots=True)
class DeepgramRecord:
    """One WebSocket, as Deepgram saw it."""

    query: dict[str, str]
    audio: bytearray = field(default_factory=bytearray)
    """Everything that came, in the order in which it came."""
    controls: list[str] = field(default_factory=list)
    """Types of the text messages, in order."""
    closed: bool = False


class DeepgramEmulator(Emulator):
    """Deepgram.

    Fault options: `seconds` of audio before `close` and `cut` (0.5), or of delay for `late-finalize` (1); `code` and
    `reason` for `close` (1011 and `NET-0001`).

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of audio.
        transcripts: Words of the utterances in their order, where there is no recognizer.
    """

    vendor = "deepgram"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "unauthorized": "the key is refused with 401",
        "rate-limit": "429, to be tried again in 7 seconds",
        "unavailable": "503",
        "hang": "the handshake is never answered",
        "close": "the stream is closed in the middle",
        "cut": "the connection breaks in the middle",
        "quiet": "the stream stays open and says nothing",
        "error": "an Error message comes with the first audio",
        "ignore-finalize": "Finalize is not answered",
        "late-finalize": "Finalize is answered late",
        "news": "messages come that no client knows",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "deepgram-key",
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.script = Script(transcripts)
        self.idle_limit = 10.0
        """Seconds without audio or `KeepAlive` after which a stream is closed."""
        self.streams: list[DeepgramRecord] = []
        """Every WebSocket that was opened, oldest first."""
        self.pauses = Streams()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add `/v1/listen` and `/v1/projects`."""
        router.add_get("/v1/listen", self._listen)
        router.add_get("/v1/projects", self._projects)

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

    def request_id(self) -> str:
        """An id of a stream, in Deepgram's form."""
        return f"{len(self.streams):08x}-0000-4000-8000-000000000000"

    async def _projects(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
        except Refused as refused:
            return self._refusal(request, refused)
        return web.json_response({"projects": [{"project_id": "11111111", "name": "Voice calls"}]})

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if self.take_fault("hang"):
            await self.pauses.pause()
        try:
            self._admit(request)
            query = self._parameters(request)
        except Refused as refused:
            return self._refusal(request, refused)
        record = DeepgramRecord(query)
        self.streams.append(record)
        socket = web.WebSocketResponse()
        socket.headers["dg-request-id"] = self.request_id()
        await socket.prepare(request)
        stream = _Stream(self, request, socket, record)
        try:
            await stream.serve()
        finally:
            record.closed = True
        return socket

    def _admit(self, request: web.Request) -> None:
        fault = self.take_fault("unauthorized", "rate-limit", "unavailable")
        if fault is not None and fault.name == "rate-limit":
            raise Refused(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later")
        if fault is not None and fault.name == "unavailable":
            raise Refused(503, "SERVICE_UNAVAILABLE", "The service is unavailable.")
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if fault is not None:
            raise Refused(401, "INVALID_AUTH", "Invalid credentials.")
        if scheme.lower() != "token" or key != self.key:
            # `Bearer` is for temporary tokens; an API key behind it is none.
            self.refuse(
                f"{request.method} {request.path}", f"Authorization: {scheme or 'nothing'} with a wrong key"
            )
            raise Refused(401, "INVALID_AUTH", "Invalid credentials.")

    def _parameters(self, request: web.Request) -> dict[str, str]:
        query = dict(request.query)
        if why := _wrong_parameters(query):
            self.refuse("GET /v1/listen", why)
            raise Refused(400, "INVALID_QUERY_PARAMETER", why)
        return query

    def _refusal(self, request: web.Request, refused: Refused) -> web.Response:
        status, code, sentence = refused.args
        body = {"err_code": code, "err_msg": sentence, "request_id": self.request_id()}
        headers = {"dg-request-id": self.request_id(), "dg-error": json.dumps(body)}
        if status == 429:
            headers["Retry-After"] = "7"
        return web.json_response(body, status=status, headers=headers)


class _Stream:
    """One WebSocket."""

    def __init__(
        self,
        owner: DeepgramEmulator,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: DeepgramRecord,
    ) -> None:
        self._owner = owner
        self._request = request
        self._socket = socket
        self._record = record
        query = record.query
        self._interims = query.get("interim_results") == "true"
        self._vad_events = query.get("vad_events") == "true"
        self._utterance_end = int(query.get("utterance_end_ms", "0")) / 1000
        endpointing = query.get("endpointing", "10")
        self._ear = Ear(
            owner.recognizer,
            owner.script,
            endpointing_ms=None
            if endpointing == "false"
            else 10
            if endpointing == "true"
            else int(endpointing),
            interim_ms=500,
        )
        self._last_word: float | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._fault: Fault | None = owner.take_fault("close", "cut", "quiet", "error")

    async def serve(self) -> None:
        """Serve until the stream is over."""
        try:
            await self._serve()
        finally:
            for task in self._late:
                task.cancel()
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _serve(self) -> None:
        news = self._owner.take_fault("news")
        while not self._socket.closed:
            try:
                async with asyncio.timeout(self._owner.idle_limit):
                    message = await self._socket.receive()
            except TimeoutError:
                why = "did not receive audio data or a text message within the timeout window"
                await self._refuse("no audio and no KeepAlive", 1011, f"Deepgram {why}. NET-0001")
                return
            if news:
                await self._socket.send_str('{"type":"Weather","sky":"blue"}')
                await self._socket.send_str("no JSON at all")
                await self._socket.send_bytes(b"\x00")
            if message.type is WSMsgType.BINARY:
                await self._take_audio(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._take_text(message.data)
            else:
                return

    async def _take_audio(self, audio: bytes) -> None:
        if not audio:
            await self._refuse("an empty binary message", 1008, "DATA-0000")
            return
        self._record.audio += audio
        if self._fault is not None and await self._fail(self._fault):
            return
        for heard in await self._ear.push(audio):
            await self._report(heard)
        last, now = self._last_word, self._ear.now
        if (
            self._utterance_end
            and last is not None
            and not self._ear.speaking
            and now - last >= self._utterance_end
        ):
            self._last_word = None
            await self._send({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": last})

    async def _take_text(self, text: str) -> None:
        try:
            kind = json.loads(text)["type"]
        except (ValueError, KeyError, TypeError):
            kind = ""
        if kind not in CONTROLS:
            await self._send(
                {
                    "type": "Error",
                    "variant": "SchemaError",
                    "description": "Could not deserialize",
                    "message": text,
                }
            )
            await self._refuse(f"text message {text[:80]!r}", 1008, "DATA-0000")
            return
        self._record.controls.append(kind)
        if kind == "Finalize":
            await self._finalize()
        elif kind == "CloseStream":
            if self._ear.unread:
                await self._results(await self._ear.finish(), is_final=True)
            await self._send(
                {
                    "type": "Metadata",
                    "transaction_key": "deprecated",
                    "request_id": self._owner.request_id(),
                    "sha256": "0" * 64,
                    "created": "2026-01-01T00:00:00.000Z",
                    "duration": self._ear.now,
                    "channels": 1,
                }
            )
            if self._fault is None or self._fault.name != "quiet":
                await self._socket.close(code=1000)

    async def _finalize(self) -> None:
        if self._ear.unread < NOTICEABLE:
            return
        heard = await self._ear.finish()
        fault = self._owner.take_fault("ignore-finalize", "late-finalize")
        if fault is None:
            await self._results(heard, is_final=True, from_finalize=True)
        elif fault.name == "late-finalize":
            self._late.add(asyncio.create_task(self._answer_late(heard, fault.options.get("seconds", 1.0))))

    async def _answer_late(self, heard: Heard, seconds: float) -> None:
        await self._owner.pauses.pause(seconds)
        await self._results(heard, is_final=True, from_finalize=True)

    async def _fail(self, fault: Fault) -> bool:
        if fault.name == "error":
            await self._send(
                {"type": "Error", "variant": "InternalError", "description": "Something went wrong"}
            )
            return True
        if fault.name == "quiet" or len(self._record.audio) < fault.options.get("seconds", 0.5) * 8000:
            return False
        if fault.name == "close":
            code, reason = fault.options.get("code", 1011), fault.options.get("reason", "NET-0001")
            await self._socket.close(code=code, message=str(reason).encode())
        else:
            break_off(self._request)
        return True

    async def _report(self, heard: Heard) -> None:
        if heard.what is What.STARTED:
            if self._vad_events:
                await self._send({"type": "SpeechStarted", "channel": [0], "timestamp": heard.voice_start})
        elif heard.what is What.INTERIM:
            if self._interims:
                await self._results(heard)
        else:
            await self._results(heard, is_final=True, speech_final=heard.what is What.ENDED)

    async def _results(
        self, heard: Heard, *, is_final: bool = False, speech_final: bool = False, from_finalize: bool = False
    ) -> None:
        words = [
            {"word": word.lower(), "start": start, "end": end, "confidence": 0.98, "punctuated_word": word}
            for word, start, end in heard.words()
        ]
        if words:
            self._last_word = heard.voice_end
        confidence = 0.98 if words else 0.0
        alternative = {"transcript": heard.text, "confidence": confidence, "words": words}
        await self._send(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "duration": round(heard.end - heard.start, 3),
                "start": round(heard.start, 3),
                "is_final": is_final,
                "speech_final": speech_final,
                "channel": {"alternatives": [alternative]},
                "metadata": {
                    "request_id": self._owner.request_id(),
                    "model_info": {"name": self._record.query["model"], "version": "2026", "arch": "nova-3"},
                    "model_uuid": "00000000-0000-4000-8000-000000000000",
                },
                "from_finalize": from_finalize,
            }
        )

    async def _send(self, message: Mapping[str, Any]) -> None:
        if not self._socket.closed and (self._fault is None or self._fault.name != "quiet"):
            await self._socket.send_json(message)

    async def _refuse(self, why: str, code: int, reason: str) -> None:
        self._owner.refuse("/v1/listen", why)
        await self._socket.close(code=code, message=reason.encode())


def _wrong_parameters(query: Mapping[str, str]) -> str:
    """What is wrong with the parameters of a stream; nothing when all is well."""
    if unknown := sorted(set(query) - PARAMETERS):
        return f"unknown parameter {unknown[0]}"
    if not query.get("model", "").startswith(FAMILIES):
        return f"no such model/language/tier combination found: {query.get('model')}"
    if query.get("encoding", "mulaw") not in ENCODINGS:
        return "unsupported encoding"
    if ("encoding" in query) != ("sample_rate" in query):
        return "encoding and sample_rate go together"
    if (query.get("encoding"), query.get("sample_rate")) != ("mulaw", "8000"):
        return "this stand-in hears mu-law at 8000 Hz only; say so, or raw audio cannot be read"
    for name in ("interim_results", "vad_events", "smart_format", "punctuate"):
        if query.get(name, "true") not in ("true", "false"):
            return f"{name} is neither true nor false"
    endpointing = query.get("endpointing", "10")
    if endpointing not in ("true", "false") and not endpointing.isdecimal():
        return "endpointing is no number of milliseconds"
    gap = query.get("utterance_end_ms")
    if gap is not None and (not gap.isdecimal() or int(gap) < 1000 or query.get("interim_results") != "true"):
        return "utterance_end_ms needs interim_results=true and at least 1000"
    return ""
