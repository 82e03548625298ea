"""OpenAI's Realtime API for transcription sessions: `GET /v1/realtime?intent=transcription`, a WebSocket.

Here are the address, the key and the faults; what goes over the socket is in `openai_connection`, and which settings
a session may have in `openai_sessions`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.openai_connection import Connection, TranscriptionSession
from openclaw_voicecall.testing.emulators.openai_sessions import MODELS
from openclaw_voicecall.testing.emulators.openai_vad import has_speech
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import SessionEmulator

MAX_MESSAGE = 21 * 2**20
"""Bytes of a client event: 15 MiB of audio in base64."""


class OpenAIRealtimeEmulator(SessionEmulator):
    """Realtime transcription.

    Fault options: `seconds` for `slow-start`; `seconds` after the handshake or a number of `appends` for `close` and
    `expire`, which otherwise come with the first append; a close `code` for `close`, `close-now` and
    `close-after-speech-started`, which otherwise break the connection off without one; `error=False` for `expire` to
    close without the event.

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of an utterance.
        transcripts: Without a recognizer, the words of the utterances in order; then silence has none.
        delay: Seconds between a commit and its transcript.
    """

    vendor = "openai-realtime"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "http-401": "the handshake is refused: wrong key",
        "http-429": "the handshake is refused: too many requests",
        "http-500": "the handshake is refused: the vendor's own error",
        "auth-in-band": "the handshake is taken, then an error says that the key is wrong, and close 3000",
        "refuse-session": "a right session.update is refused: Missing required parameter: 'session'.",
        "beta-half-migrated": "so is every one of this connection, without telling which event was meant",
        "slow-start": "session.updated comes after some seconds",
        "no-session-updated": "session.updated never comes and nothing is applied",
        "quiet": "takes everything, detects and transcribes nothing",
        "close": "the connection breaks",
        "close-after-speech-started": "the connection breaks between speech_started and the transcript",
        "expire": "the hour is over: session_expired, close 1001",
        "failed-item": "the transcription of an utterance fails",
        "out-of-order": "the transcript of an utterance comes after that of the next one",
        "empty-transcript": "an utterance is heard and has no words",
        "drop-deltas": "an utterance has no deltas, only its completed transcript",
        "deaf": "audio is taken and thrown away, in open sessions too",
        "close-now": "an open session is closed at its next audio",
        "error-event": "an open session tells of an error of the server's, and goes on",
        "gibberish": "an open session gets messages that are no events",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "sk-emulated",
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
        delay: float = 0.0,
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.delay = delay
        self.sessions: list[TranscriptionSession] = []
        """Every WebSocket that was opened, oldest first."""
        self._scripted = iter(transcripts)
        self._connections: set[Connection] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The socket, and the beta addresses that only say that they are gone."""
        router.add_get("/v1/realtime", self._realtime)
        router.add_get("/v1/models", self._models)
        for path in ("/v1/realtime/sessions", "/v1/realtime/transcription_sessions"):
            router.add_post(path, self._beta)

    async def _models(self, request: web.Request) -> web.Response:
        """What a check of the key asks for; it costs nothing."""
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "param": None}
            return web.json_response({"error": {**error, "code": "invalid_api_key"}}, status=401)
        models = [{"id": name, "object": "model", "owned_by": "openai"} for name in sorted(MODELS)]
        return web.json_response({"object": "list", "data": models})

    def state(self) -> dict[str, Any]:
        """The sessions in short."""
        return {
            "sessions": [
                {
                    "ready": session.ready,
                    "updates": len(session.updates),
                    "config": session.config,
                    "errors": session.errors,
                    "appends": session.appends,
                    "early_bytes": session.early,
                    "heard_bytes": len(session.audio),
                    "commits": session.commits,
                    "transcripts": session.transcripts,
                    "closed": session.closed,
                }
                for session in self.sessions
            ]
        }

    def next_words(self, audio: bytes, threshold: float) -> str:
        """The next scripted transcript, if there is speech in the audio and a transcript left."""
        return next(self._scripted, "") if has_speech(audio, threshold) else ""

    async def stop(self) -> None:
        """Close every session."""
        for connection in list(self._connections):
            await connection.close(1001, "emulator stopped")

    async def _beta(self, request: web.Request) -> web.Response:
        self.refuse(f"POST {request.path}", "beta address")
        return _problem(400, "beta_api_shape_disabled", "The Realtime Beta API is no longer supported.")

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused_handshake(request):
            return refused
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, timeout=1.0)
        if not socket.can_prepare(request):
            self.refuse("GET /v1/realtime", "no WebSocket handshake")
            return _problem(400, None, "Expected a WebSocket handshake.")
        await socket.prepare(request)
        connection = Connection(self, request, socket)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            await connection.finish()
        return socket

    def _refused_handshake(self, request: web.Request) -> web.Response | None:
        fault = self.take_fault("http-401", "http-429", "http-500")
        bearer = request.headers.get("Authorization", "")
        wrong_key = "Incorrect API key provided: ***. You can find your API key in your account settings."
        match fault:
            case Fault(name="http-401"):
                return _problem(401, "invalid_api_key", wrong_key)
            case Fault(name="http-429", options=options):
                after = {"Retry-After": str(options.get("retry_after", 1))}
                return _problem(429, "rate_limit_exceeded", "Rate limit reached.", "requests", after)
            case Fault(name="http-500"):
                text = "The server had an error while processing your request."
                return _problem(500, None, text, "server_error")
        if not bearer.startswith("Bearer "):
            self.refuse("GET /v1/realtime", "no bearer")
            return _problem(401, None, "Missing bearer or basic authentication in header")
        if bearer != f"Bearer {self.key}":
            self.refuse("GET /v1/realtime", "wrong key")
            return _problem(401, "invalid_api_key", wrong_key)
        return None


def _problem(
    status: int,
    code: str | None,
    message: str,
    kind: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
