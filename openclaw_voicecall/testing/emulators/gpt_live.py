"""GPT-Live: `/v1/live/sessions`, a WebSocket of one's own, and the REST calls and sideband of calls over SIP.

Here are addresses, the key and the faults. What goes over a socket is in `gpt_live_connection`, the SIP side in
`gpt_live_sip`, and which messages are right in `gpt_live_rules`. Source: OpenAI SDK, `resources/live/`, `types/live/`.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.gpt_live_connection import Connection, LiveSession
from openclaw_voicecall.testing.emulators.gpt_live_rules import MODELS
from openclaw_voicecall.testing.emulators.gpt_live_sip import SipSide, problem
from openclaw_voicecall.testing.emulators.openai_replies import Brain, Reply, Thinker
from openclaw_voicecall.testing.emulators.openai_vad import has_speech
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import SessionEmulator


class GptLiveEmulator(SessionEmulator):
    """GPT-Live.

    Fault options: `seconds` for `slow-start`; a close `code` for `close`, which otherwise breaks the connection off; a
    `reason` for `ended`.

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of an utterance.
        transcripts: Without a recognizer, the words of the utterances in order; then none.
        replies: What the model says, one for each turn or result that it answers, or what thinks of them. `cue.why`
            is `turn` or `asked`.
        pace: How long a second of the model's speech takes to come, in seconds.
    """

    vendor = "gpt-live"
    FAULTS: ClassVar = {
        "http-401": "the handshake is refused: wrong key",
        "http-429": "the handshake is refused: too many requests",
        "http-500": "the handshake is refused: the vendor's own error",
        "refuse-session": "a right session.start is refused",
        "slow-start": "session.started comes after some seconds",
        "no-session-started": "session.started never comes",
        "other-voice": "the session starts with the vendor's own voice",
        "close": "a session is closed, or breaks, at its next audio",
        "ended": "a session is over at its next audio: session.closed",
        "error-event": "a session tells of an error of the server's, and goes on",
        "gibberish": "a session gets messages that are no events",
        "quiet": "a session takes everything and hears nothing",
        "no-response": "something that the model should answer is not answered",
        "refuse-commentary": "a right commentary is refused",
        "stall": "speech stops after its first piece and never goes on",
        "static": "speech is noise",
        "sip-404": "a REST call of the SIP side finds no such session",
        "sip-500": "a REST call of the SIP side fails",
        "attach-404": "a sideband finds no such session yet",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "sk-emulated",
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
        self.sessions: list[LiveSession] = []
        """Every primary WebSocket that was opened, oldest first."""
        self.sip = SipSide(self)
        """Calls over SIP."""
        self._scripted = iter(transcripts)
        self._connections: set[Connection] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The socket, the SIP side, and the list of models that a check of the key asks for."""
        router.add_get("/v1/live/sessions", self._live)
        router.add_get("/v1/models", self._models)
        self.sip.add_routes(router)

    def state(self) -> dict[str, Any]:
        """The sessions in short."""
        return {
            "sessions": [
                {
                    "id": session.id,
                    "config": session.config,
                    "heard_bytes": len(session.audio),
                    "said": session.said,
                    "errors": session.errors,
                    "closed": session.closed,
                }
                for session in self.sessions
            ],
            "calls": {name: call.state for name, call in self.sip.calls.items()},
        }

    async def words(self, audio: bytes) -> str:
        """The words of an utterance."""
        if self.recognizer is not None:
            return await self.recognizer(audio)
        return next(self._scripted, "") if has_speech(audio) else ""

    async def stop(self) -> None:
        """Close every socket."""
        for connection in list(self._connections):
            await connection.close(1001, "emulator stopped")
        await self.sip.stop()

    def wrong_key(self, request: web.Request) -> web.Response | None:
        """The refusal of a request without the right key."""
        if request.headers.get("Authorization") == f"Bearer {self.key}":
            return None
        self.refuse(f"{request.method} {request.path}", "wrong key")
        return problem(401, "invalid_api_key", "Incorrect API key provided: ***.")

    async def _models(self, request: web.Request) -> web.Response:
        if refused := self.wrong_key(request):
            return refused
        models = [{"id": name, "object": "model", "owned_by": "openai"} for name in MODELS]
        return web.json_response({"object": "list", "data": models})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        match self.take_fault("http-401", "http-429", "http-500"):
            case Fault(name="http-401"):
                return problem(401, "invalid_api_key", "Incorrect API key provided: ***.")
            case Fault(name="http-429"):
                return problem(429, "rate_limit_exceeded", "Rate limit reached.")
            case Fault(name="http-500"):
                return problem(500, None, "The server had an error while processing your request.")
        if refused := self.wrong_key(request):
            return refused
        if request.query:
            self.refuse("GET /v1/live/sessions", "a query: the model is named in session.start")
            return problem(400, "unknown_parameter", "Unknown query parameter.")
        socket = web.WebSocketResponse(max_msg_size=2**24, timeout=1.0)
        if not socket.can_prepare(request):
            self.refuse("GET /v1/live/sessions", "no WebSocket handshake")
            return problem(400, None, "Expected a WebSocket handshake.")
        await socket.prepare(request)
        connection = Connection(self, request, socket)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            await connection.finish()
        return socket
