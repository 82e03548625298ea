"""Gemini Live: `BidiGenerateContent` over a WebSocket, as the Gemini Developer API serves it.

Here are the address, the key and the faults; what goes over the socket is in `gemini_live_connection`, and which
messages are right in `gemini_live_rules`. A wrong key is refused after the handshake, by closing the socket.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.gemini_live_connection import Connection, GeminiSession
from openclaw_voicecall.testing.emulators.gemini_live_rules import MODELS
from openclaw_voicecall.testing.emulators.openai_replies import Brain, Reply, Thinker
from openclaw_voicecall.testing.emulators.openai_vad import has_speech
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import SessionEmulator

PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


class GeminiLiveEmulator(SessionEmulator):
    """Gemini Live.

    Fault options: `seconds` for `slow-start` and `go-away`; a close `code` and `reason` for `close`, which otherwise
    breaks the connection off.

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of an utterance.
        transcripts: Without a recognizer, the words of the utterances in order; then none.
        replies: What the model says, one for each turn or result that it answers, or what thinks of them. `cue.why`
            is `turn` or `asked`.
        pace: How long the model takes a reply to be played, in parts of its length: that is when `turnComplete` comes.
    """

    vendor = "gemini-live"
    FAULTS: ClassVar = {
        "http-401": "the handshake is refused: unauthorised",
        "http-429": "the handshake is refused: too many requests",
        "http-503": "the handshake is refused: overloaded",
        "no-setup-complete": "setupComplete never comes",
        "slow-start": "setupComplete comes after some seconds",
        "quota": "the set-up is answered by close 1011: the quota is used up",
        "close": "an open session is closed, or breaks, at its next audio",
        "go-away": "an open session is told at its next audio that it ends in some seconds",
        "gibberish": "an open session gets messages at its next audio that are none",
        "quiet": "a session takes everything and hears nothing",
        "no-response": "a turn is answered by turnComplete and nothing else",
        "stall": "a turn stops in the middle of its audio and never ends",
        "static": "a turn's audio is noise",
        "tool-cancelled": "a function is called and called off at once",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "AIza-emulated",
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
        replies: Iterable[Reply | str] | Thinker = (),
        pace: float = 1.0,
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.brain = Brain(replies)
        self.pace = pace
        self.sessions: list[GeminiSession] = []
        """Every WebSocket that was opened, oldest first."""
        self._scripted = iter(transcripts)
        self._connections: set[Connection] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The socket, and the list of models that a check of the key asks for."""
        router.add_get(PATH, self._live)
        router.add_get("/v1beta/models", self._models)

    def state(self) -> dict[str, Any]:
        """The sessions in short."""
        return {
            "sessions": [
                {
                    "setup": session.setup,
                    "heard_bytes": len(session.audio),
                    "texts": session.texts,
                    "said": session.said,
                    "results": session.results,
                    "closed": session.closed,
                }
                for session in self.sessions
            ]
        }

    async def words(self, audio: bytes) -> str:
        """The words of an utterance."""
        if self.recognizer is not None:
            return await self.recognizer(audio)
        return next(self._scripted, "") if has_speech(audio) else ""

    async def stop(self) -> None:
        """Close every session."""
        for connection in list(self._connections):
            await connection.close(1001, "emulator stopped")

    def _key_of(self, request: web.Request) -> str:
        return request.headers.get("x-goog-api-key") or request.query.get("key", "")

    async def _models(self, request: web.Request) -> web.Response:
        if self._key_of(request) != self.key:
            return _problem(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT")
        return web.json_response({"models": [{"name": name} for name in MODELS]})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        match self.take_fault("http-401", "http-429", "http-503"):
            case Fault(name="http-401"):
                return _problem(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
            case Fault(name="http-429"):
                return _problem(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED")
            case Fault(name="http-503"):
                return _problem(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
        socket = web.WebSocketResponse(max_msg_size=2**24, timeout=1.0)
        if not socket.can_prepare(request):
            self.refuse(f"GET {request.path}", "no WebSocket handshake")
            return _problem(400, "Expected a WebSocket handshake.", "INVALID_ARGUMENT")
        await socket.prepare(request)
        connection = Connection(self, request, socket, self._key_of(request))
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            await connection.finish()
        return socket


def _problem(status: int, message: str, word: str) -> web.Response:
    error = {"code": status, "message": message, "status": word}
    return web.json_response({"error": error}, status=status)
