"""Deepgram's streaming speech to text, `GET /v1/listen`, and `GET /v1/projects`.

Written from Deepgram's SDK 7 (`deepgram/listen/v1/client.py` for the parameters, `deepgram/listen/v1/types/` for the
messages) and its pages on Finalize, KeepAlive, CloseStream, endpointing, UtteranceEnd and WebSocket errors.
"""

import json
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
_REFUSALS: Mapping[int, tuple[str, str]] = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    503: ("SERVICE_UNAVAILABLE", "The service is unavailable."),
}


class DeepgramEmulator(ListeningEmulator):
    """Deepgram."""

    vendor = "deepgram"
    KEY = "deepgram-key"
    SCHEMES = ("Token", "token")  # `Bearer` is for temporary tokens; an API key behind it is none
    FAULTS: ClassVar[Mapping[str, str]] = {**FAULTS, "error": "an Error message comes with the first audio"}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add `/v1/listen` and `/v1/projects`."""
        router.add_get("/v1/listen", self.listen)
        router.add_get("/v1/projects", self._projects)

    def request_id(self) -> str:
        """The id of the latest stream, in Deepgram's form."""
        return f"{len(self.streams):08x}-0000-4000-8000-000000000000"

    def new_socket(
        self, request: web.Request, socket: web.WebSocketResponse, record: ListeningRecord
    ) -> ListeningSocket:
        """What serves a WebSocket."""
        socket.headers["dg-request-id"] = self.request_id()
        return _Stream(self, request, socket, record)

    def refusal(self, status: int, why: str) -> web.Response:
        """An answer in Deepgram's form."""
        code, sentence = _REFUSALS.get(status) or ("INVALID_QUERY_PARAMETER", why)
        body = {"err_code": code, "err_msg": sentence, "request_id": self.request_id()}
        headers = {"dg-request-id": self.request_id(), "dg-error": json.dumps(body)}
        if status == 429:
            headers["Retry-After"] = "7"
        return web.json_response(body, status=status, headers=headers)

    def wrong_parameters(self, query: Mapping[str, str]) -> str:
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
        if gap is not None and (
            not gap.isdecimal() or int(gap) < 1000 or query.get("interim_results") != "true"
        ):
            return "utterance_end_ms needs interim_results=true and at least 1000"
        return ""

    async def _projects(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        return web.json_response({"projects": [{"project_id": "11111111", "name": "Voice calls"}]})


class _Stream(ListeningSocket):
    """One WebSocket."""

    NEWS = '{"type":"Weather","sky":"blue"}'
    CLOSED = "NET-0001"

    def __init__(
        self,
        owner: DeepgramEmulator,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: ListeningRecord,
    ) -> None:
        query = record.query
        super().__init__(owner, request, socket, record, endpointing_ms=_silence(query), faults=("error",))
        self._request_id = owner.request_id()
        self._vad_events = query.get("vad_events") == "true"
        self._utterance_end = int(query.get("utterance_end_ms", "0")) / 1000
        self._last_word: float | None = None

    async def _close_idle(self) -> None:
        why = "did not receive audio data or a text message within the timeout window"
        await self._refuse("no audio and no KeepAlive", 1011, f"Deepgram {why}. NET-0001")

    async def _take_audio(self, audio: bytes) -> None:
        if not audio:
            await self._refuse("an empty binary message", 1008, "DATA-0000")
            return
        if not await self._hear(audio):
            return
        last, now = self._last_word, self._ear.now
        if (
            self._utterance_end
            and last is not None
            and not self._ear.speaking
            and now - last >= self._utterance_end
        ):
            self._last_word = None
            await self._send({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": last})

    async def _take_text(self, kind: str, text: str) -> None:
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
                    "request_id": self._request_id,
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
        await self._answer_finish(heard, self._owner.take_fault("ignore-finalize", "late-finalize"))

    async def _report_finished(self, heard: Heard) -> None:
        await self._results(heard, is_final=True, from_finalize=True)

    async def _fail(self, fault: Fault) -> bool:
        if fault.name == "error":
            await self._send(
                {"type": "Error", "variant": "InternalError", "description": "Something went wrong"}
            )
            return True
        return await super()._fail(fault)

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
                    "request_id": self._request_id,
                    "model_info": {"name": self._record.query["model"], "version": "2026", "arch": "nova-3"},
                    "model_uuid": "00000000-0000-4000-8000-000000000000",
                },
                "from_finalize": from_finalize,
            }
        )


def _silence(query: Mapping[str, str]) -> int | None:
    """Milliseconds of silence that end an utterance; None for never."""
    endpointing = query.get("endpointing", "10")
    if endpointing == "false":
        return None
    return 10 if endpointing == "true" else int(endpointing)
