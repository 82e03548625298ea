"""xAI's streaming speech to text, `GET /v1/stt`, and `GET /v1/models`.

Written from xAI's documentation, "Speech to Text" (streaming over WebSocket) and its API reference. `finalize` is
spelt in two ways there, and both are taken. How long a stream may be idle is not documented: ten seconds here.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.listening import (
    FAULTS,
    ListeningEmulator,
    ListeningRecord,
    ListeningSocket,
)
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.utterances import Heard, What

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
_REFUSALS: Mapping[int, Mapping[str, str]] = {
    401: {"error": "Incorrect API key provided", "code": "unauthenticated"},
    429: {"error": "Too many requests"},
    503: {"error": "Service unavailable"},
}


class XaiEmulator(ListeningEmulator):
    """The streaming part of xAI.

    Further fault options: `seconds` of audio before `error` and `hiccup` (0.5), or of delay for `slow-start` (0.3).
    """

    vendor = "xai"
    KEY = "xai-key"
    SCHEMES = ("Bearer",)
    FAULTS: ClassVar[Mapping[str, str]] = {
        **FAULTS,
        "slow-start": "transcript.created comes late",
        "no-start": "transcript.created never comes",
        "error": "an error message comes, and nothing after it",
        "hiccup": "an error message comes, and the stream goes on",
        "repeat": "finalize locks a chunk only, the utterance comes again later, and the end repeats everything",
        "no-times": "partials do not say where in the audio they lie",
    }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add `/v1/stt` and `/v1/models`."""
        router.add_get("/v1/stt", self.listen)
        router.add_get("/v1/models", self._models)

    def new_socket(
        self, request: web.Request, socket: web.WebSocketResponse, record: ListeningRecord
    ) -> ListeningSocket:
        """What serves a WebSocket."""
        return _Stream(self, request, socket, record)

    def refusal(self, status: int, why: str) -> web.Response:
        """An answer in xAI's form."""
        body = _REFUSALS.get(status) or {"error": why, "code": "invalid-argument"}
        headers = {"Retry-After": "7"} if status == 429 else None
        return web.json_response(body, status=status, headers=headers)

    def wrong_parameters(self, query: Mapping[str, str]) -> str:
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

    async def _models(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        models = [{"id": name, "object": "model", "owned_by": "xai"} for name in ("grok-4.6", "grok-4.5")]
        return web.json_response({"object": "list", "data": models})


class _Stream(ListeningSocket):
    """One WebSocket."""

    NEWS = '{"type":"transcript.mood","mood":"fair"}'
    CLOSED = "internal error"

    def __init__(
        self,
        owner: XaiEmulator,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: ListeningRecord,
    ) -> None:
        super().__init__(
            owner,
            request,
            socket,
            record,
            endpointing_ms=int(record.query.get("endpointing", "10")),
            faults=("error", "hiccup"),
        )
        self._id = f"stt-{len(owner.streams)}"
        self._ready = False
        self._waiting: list[Heard] = []
        self._all: list[str] = []
        self._repeats = owner.take_fault("repeat") is not None
        self._times = owner.take_fault("no-times") is None
        self._start: Fault | None = owner.take_fault("slow-start", "no-start")

    async def serve(self) -> None:
        """Serve until the stream is over."""
        self._tasks.add(asyncio.create_task(self._become_ready()))
        await super().serve()

    async def _become_ready(self) -> None:
        await self._tell_news()
        if self._start is not None:
            slow = self._start.name == "slow-start"
            await self._owner.pauses.pause(self._start.options.get("seconds", 0.3) if slow else None)
        self._ready = True
        await self._socket.send_json({"type": "transcript.created", "id": self._id})

    async def _close_idle(self) -> None:
        await self._refuse("no audio", 1008, "stream timeout")

    async def _take_audio(self, audio: bytes) -> None:
        if not self._ready:
            self._owner.refuse("/v1/stt", "audio before transcript.created, which is thrown away")
            return
        await self._hear(audio)

    async def _take_text(self, kind: str, text: str) -> None:
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
                await self._refuse(f"text message {text[:80]!r}", 1008, "invalid message")

    async def _finalize(self) -> None:
        fault = self._owner.take_fault("ignore-finalize", "late-finalize")
        heard = await self._ear.finish()
        if not heard.whole and not heard.text:
            return
        await self._answer_finish(heard, fault)
        if self._repeats:
            self._waiting.append(heard)

    async def _report_finished(self, heard: Heard) -> None:
        await self._partial(heard, is_final=True, speech_final=not self._repeats)

    async def _fail(self, fault: Fault) -> bool:
        if await super()._fail(fault):
            return True
        if fault.name in ("error", "hiccup") and self._is_due(fault):
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
