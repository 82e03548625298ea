"""ElevenLabs Scribe realtime transcription: `GET /v1/speech-to-text/realtime`, a WebSocket.

Written from the vendor's SDK (`realtime/scribe.py`, `realtime/connection.py`, `types/scribe_*.py`) and its page
"Transcripts and commit strategies". After an error message the socket is closed with 1008; only a commit of less than
0.3 s of audio is refused without that.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.openai_vad import has_speech
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import SessionEmulator, break_off

LEAST_COMMIT = 2400
"""Bytes: 0.3 s."""
LARGEST_CHUNK = 16000
"""Bytes of audio in one message; the vendor recommends 0.1 to 1 s and keeps its limit to itself."""
PARTIAL = 4000
"""Bytes between two partial transcripts."""
LOUDNESS = 0.5
"""Threshold of the vendor's voice detection, unless the client says otherwise."""
BOUNDS = {
    "vad_silence_threshold_secs": (0.3, 3.0),
    "vad_threshold": (0.1, 0.9),
    "min_speech_duration_ms": (50.0, 2000.0),
    "min_silence_duration_ms": (50.0, 2000.0),
}
FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
WORDS = {
    "model_id",
    "audio_format",
    "commit_strategy",
    "language_code",
    "include_timestamps",
    "enable_logging",
}
CHUNK_KEYS = {"message_type", "audio_base_64", "commit", "sample_rate", "previous_text"}


class Refused(Exception):
    """The vendor sends an error and closes. Its arguments are the message type and the sentence."""


@dataclass(slots=True)
class ScribeRecord:
    """One WebSocket, as the vendor saw it."""

    query: dict[str, str]
    audio: bytearray = field(default_factory=bytearray)
    """Everything that was heard."""
    chunks: int = 0
    commits: int = 0
    """Commits that the client asked for and that were taken."""
    transcripts: list[str] = field(default_factory=list)
    """Committed texts, oldest first."""
    closed: bool = False


class ScribeEmulator(SessionEmulator):
    """Scribe realtime.

    Fault options: `chunks` of audio after which `close` comes (1); `seconds` for `slow-start` (1).

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of a segment; without one every segment is without words.
        longest: Bytes of audio after which a segment is committed without being asked: 90 s.
    """

    vendor = "elevenlabs-scribe"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "401": "the handshake is refused: wrong key",
        "429": "the handshake is refused: too many requests",
        "auth": "the handshake is taken, then auth_error comes",
        "quota": "the session starts, then quota_exceeded comes",
        "slow-start": "session_started comes after some seconds",
        "close": "the connection breaks in the middle of the audio",
        "expire": "the session has run for too long",
        "quiet": "takes everything and never answers",
        "throttle": "a commit is ignored",
        "junk": "a message comes that nobody can read",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "xi-emulated",
        recognizer: Recognizer | None = None,
        longest: int = 90 * 8000,
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.longest = longest
        self.sessions: list[ScribeRecord] = []
        """Every WebSocket that was opened, oldest first."""
        self._sockets: set[web.WebSocketResponse] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The socket, and the account's plan."""
        router.add_get("/v1/speech-to-text/realtime", self._realtime)
        router.add_get("/v1/user/subscription", self._subscription)

    def state(self) -> dict[str, Any]:
        """The sessions in short."""
        return {
            "sessions": [
                {
                    "query": record.query,
                    "heard_bytes": len(record.audio),
                    "commits": record.commits,
                    "transcripts": record.transcripts,
                    "closed": record.closed,
                }
                for record in self.sessions
            ]
        }

    async def stop(self) -> None:
        """Close every session."""
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"emulator stopped")

    async def _subscription(self, request: web.Request) -> web.Response:
        if request.headers.get("xi-api-key") != self.key:
            self.refuse(f"GET {request.path}", "wrong key")
            return _problem(401, "invalid_api_key", "Invalid API key")
        return web.json_response(
            {"tier": "creator", "character_count": 1200, "character_limit": 100000, "status": "active"}
        )

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if fault := self.take_fault("401", "429"):
            code = "invalid_api_key" if fault.name == "401" else "rate_limit_exceeded"
            return _problem(int(fault.name), code, "refused by a fault")
        socket = web.WebSocketResponse(timeout=1.0)
        if not socket.can_prepare(request):
            self.refuse(f"GET {request.path}", "no WebSocket handshake")
            return _problem(426, "upgrade_required", "WebSocket only")
        await socket.prepare(request)
        self._sockets.add(socket)
        record = ScribeRecord(dict(request.query))
        self.sessions.append(record)
        try:
            await _Session(self, request, socket, record).run()
        except Refused as refused:
            kind, why = refused.args
            await socket.send_json({"message_type": kind, "error": why})
            await socket.close(code=1008, message=why.encode()[:120])
        except ConnectionError:
            pass  # the client went away while it was answered
        finally:
            record.closed = True
            self._sockets.discard(socket)
            self.note_change()
        return socket


class _Session:
    """One socket's segments."""

    def __init__(
        self,
        emulator: ScribeEmulator,
        request: web.Request,
        socket: web.WebSocketResponse,
        record: ScribeRecord,
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._socket = socket
        self._record = record
        self._segment = bytearray()
        self._shown = ""
        self._looked = 0
        self._silence = 0
        self._spoken = False
        self._closing: Fault | None = None

    async def run(self) -> None:
        emulator, query = self._emulator, self._record.query
        if self._request.headers.get("xi-api-key") != emulator.key:
            emulator.refuse("handshake", "wrong key")
            raise Refused("auth_error", "You must be authenticated to use this endpoint.")
        if emulator.take_fault("auth"):
            raise Refused("auth_error", "You must be authenticated to use this endpoint.")
        if why := _wrong_query(query):
            emulator.refuse("handshake", why)
            raise Refused("invalid_request", why)
        if fault := emulator.take_fault("slow-start"):
            await asyncio.sleep(float(fault.options.get("seconds", 1)))
        await self._say("session_started", session_id="0b0a72b5", config={**query, "sample_rate": 8000})
        if emulator.take_fault("quota"):
            raise Refused("quota_exceeded", "You have exceeded your quota.")
        quiet = emulator.take_fault("quiet") is not None
        self._closing = emulator.take_fault("close")
        async for message in self._socket:
            try:
                audio, commit = _read(message.data, first=self._record.chunks == 0)
            except Refused as refused:
                emulator.refuse("input_audio_chunk", refused.args[1])
                raise
            self._record.chunks += 1
            self._record.audio += audio
            emulator.note_change()
            await self._fail()
            if not quiet:
                await self._take(audio, commit=commit)

    async def _fail(self) -> None:
        """Let faults have their way with the running session."""
        if self._emulator.take_fault("junk"):
            await self._socket.send_str("<html>")
        if self._emulator.take_fault("expire"):
            raise Refused("session_time_limit_exceeded", "Session time limit exceeded")
        if self._closing and self._record.chunks >= int(self._closing.options.get("chunks", 1)):
            break_off(self._request)

    async def _take(self, audio: bytes, *, commit: bool) -> None:
        self._segment += audio
        if commit:
            await self._commit_asked()
        elif len(self._segment) >= self._emulator.longest or self._silence_ends(audio):
            await self._commit()
        elif len(self._segment) - self._looked >= PARTIAL:
            recent = bytes(self._segment[self._looked :])
            self._looked = len(self._segment)
            if has_speech(recent, LOUDNESS):
                await self._show(await self._words())

    async def _commit_asked(self) -> None:
        length = len(self._segment)
        short = length < LEAST_COMMIT
        if short:
            self._emulator.refuse("commit", f"only {length / 8000:.2f} s of audio")
        if short or self._emulator.take_fault("throttle"):
            why = f"only {length / 8000:.2f}s of uncommitted audio. You need at least 0.3s"
            await self._say(
                "commit_throttled",
                error=f"Commit request ignored: {why} of uncommitted audio before committing.",
            )
            return
        self._record.commits += 1
        await self._commit()

    async def _commit(self) -> None:
        words = await self._words()
        self._segment.clear()
        self._shown, self._looked, self._silence, self._spoken = "", 0, 0, False
        self._record.transcripts.append(words)
        await self._say("committed_transcript", text=words)
        self._emulator.note_change()

    def _silence_ends(self, audio: bytes) -> bool:
        """Whether the vendor's own voice detection ends the segment here."""
        query = self._record.query
        if query["commit_strategy"] != "vad" or not audio:
            return False
        if has_speech(audio, float(query.get("vad_threshold", LOUDNESS))):
            self._spoken, self._silence = True, 0
        else:
            self._silence += len(audio)
        limit = float(query.get("vad_silence_threshold_secs", 1.5))
        return self._spoken and self._silence >= limit * 8000

    async def _words(self) -> str:
        recognizer = self._emulator.recognizer
        return await recognizer(bytes(self._segment)) if recognizer is not None else ""

    async def _show(self, words: str) -> None:
        if words and words != self._shown:
            self._shown = words
            await self._say("partial_transcript", text=words)

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._socket.send_json({"message_type": kind, **fields})


def _wrong_query(query: Mapping[str, str]) -> str:
    """What is wrong with the query; empty when nothing is."""
    if unknown := sorted(set(query) - WORDS - set(BOUNDS)):
        return f"unknown parameters: {', '.join(unknown)}"
    if query.get("model_id") != "scribe_v2_realtime":
        return f"Invalid model ID: {query.get('model_id')}"
    if query.get("audio_format") not in FORMATS:
        return f"Invalid audio format: {query.get('audio_format')}"
    if query["audio_format"] != "ulaw_8000":
        return f"call audio is ulaw_8000, and was announced as {query['audio_format']}"
    if query.get("commit_strategy") not in ("manual", "vad"):
        return f"Invalid commit strategy: {query.get('commit_strategy')}"
    language = query.get("language_code", "en")
    if not (language.isascii() and language.islower() and language.isalpha() and len(language) in (2, 3)):
        return f"Invalid language code: {language}"
    for name, (least, most) in BOUNDS.items():
        try:
            right = least <= float(query.get(name, least)) <= most
        except ValueError:
            right = False
        if not right:
            return f"{name} must be between {least:g} and {most:g}"
    return ""


def _read(message: object, *, first: bool) -> tuple[bytes, bool]:
    """Audio and whether to commit, of one message of the client. Raises `Refused`."""
    if not isinstance(message, str):
        raise Refused("input_error", "audio has to be sent as JSON text")
    try:
        data = json.loads(message)
        kind, keys = data["message_type"], set(data)
    except (ValueError, TypeError, LookupError):
        raise Refused("input_error", "a message has to be a JSON object with a message_type") from None
    if kind != "input_audio_chunk":
        raise Refused("invalid_request", f"unknown message type {kind}")
    if keys - CHUNK_KEYS:
        raise Refused("invalid_request", f"unknown fields: {', '.join(sorted(keys - CHUNK_KEYS))}")
    if not isinstance(data.get("commit"), bool):
        raise Refused("invalid_request", "commit has to be true or false")
    if data.get("sample_rate") != 8000:
        raise Refused("input_error", f"sample_rate {data.get('sample_rate')} does not fit the audio format")
    if data.get("previous_text") is not None and not first:
        raise Refused("input_error", "previous_text may only come with the first chunk")
    try:
        audio = base64.b64decode(data["audio_base_64"], validate=True)
    except (ValueError, TypeError, LookupError):
        raise Refused("input_error", "audio_base_64 is not base64") from None
    if len(audio) > LARGEST_CHUNK:
        raise Refused("chunk_size_exceeded", f"{len(audio)} bytes of audio in one chunk")
    return audio, data["commit"]


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"detail": {"status": code, "message": message}}, status=status)
