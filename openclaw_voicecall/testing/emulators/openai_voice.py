"""OpenAI's Realtime API for speech-to-speech: `GET /v1/realtime?model=`, a WebSocket, and calls over SIP.

Here are the addresses, the key and the faults. What goes over a socket is in `openai_voice_connection`, what a session
does in `openai_talk`, which settings it may have in `openai_voice_sessions`, and SIP in `openai_calls`.
"""

import base64
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, Literal

from aiohttp import web

from openclaw_voicecall.testing.emulators import openai_sessions, openai_voice_sessions
from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.openai_calls import Calls, problem
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_replies import Brain, Reply, Thinker
from openclaw_voicecall.testing.emulators.openai_talk import Talk
from openclaw_voicecall.testing.emulators.openai_vad import has_speech
from openclaw_voicecall.testing.emulators.openai_voice_connection import VoiceConnection
from openclaw_voicecall.testing.emulators.openai_voice_records import VoiceSession
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import SessionEmulator

MAX_MESSAGE: Final = 21 * 2**20
"""Bytes of a client event: 15 MiB of audio in base64."""
WRONG_KEY: Final = "Incorrect API key provided: ***. You can find your API key in your account settings."
WEBHOOK_SECRET: Final = "whsec_" + base64.b64encode(b"a secret of the emulated project").decode()


class OpenAIVoiceEmulator(SessionEmulator):
    """Speech-to-speech over a WebSocket and over SIP.

    Fault options: `seconds` for `slow-start`, `transcription-late` and `expire` (which otherwise comes with the next
    event of the client); `error=False` for `expire` to close without the event; `message`, `param` and `code` for
    `refuse-update`, and `static=True` to lose a call's audio format with it; `type`, `code` and `message` for
    `response-failed`; `count` for `late-deltas`; a close `code` for `mid-sentence-close` and `sideband-drop`, which
    otherwise break off without one; `after`, the name of a server event, for `sideband-drop` and `remote-hangup`
    (`response.created` unless told); `anyway=True` for `accept-500` and `refer-500` to do all the same what was
    asked; `fresh_id=True` for `incoming-twice`.

    Args:
        port: TCP port; 0 for any free one.
        key: The API key that is right.
        recognizer: Gives the words of a turn of the caller.
        transcripts: Without a recognizer, the words of the turns in order; then silence has none.
        replies: What the model says, one for each response that is not word for word; or what thinks of them.
        delta_ms: How much sound is in one delta.
        delta_interval: Seconds between two deltas; less than `delta_ms` is faster than real time.
        transcription_delay: Seconds between a commit and its transcript.
        prompts: Ids of prompts that the key may use.
        project: Whose SIP address it is.
        webhook_url: Who is told of calls; `webhook_url` may be set later as well.
        webhook_secret: With which that is signed, `whsec_` and base64.
        live_events: Whether a second event tells of each call, for the other API.
        accept_delay: Seconds after which an accept takes effect.
        ring_timeout: Seconds after which a call that nobody accepts is given up.
        invalid_accept: What becomes of a call that is accepted with settings that may not be: it is `gone`, or runs on
            `defaults` with static on the line; None for what users have seen, which depends on the setting.
    """

    vendor = "openai-voice"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "http-401": "the handshake is refused: wrong key",
        "http-429": "the handshake is refused: too many requests",
        "http-500": "the handshake is refused: the vendor's own error",
        "refuse-update": "a right session.update is refused",
        "no-session-updated": "session.updated never comes and nothing is applied",
        "slow-start": "session.updated comes after some seconds",
        "quiet": "a turn of the caller is not heard",
        "no-response": "a turn of the caller is heard, and not answered",
        "response-failed": "a response fails before its first output",
        "mid-sentence-close": "the connection, and a SIP call, ends in the middle of a reply",
        "expire": "the hour is over: session_expired, close 1001",
        "static": "the sound of a reply is noise",
        "silence": "the sound of a reply is silence",
        "stall": "a reply stops in the middle and does not end",
        "double-response": "a reply is followed by the same again, uninvited",
        "late-deltas": "sound of a reply that was cancelled goes on coming",
        "transcription-failed": "the transcription of a turn fails",
        "transcription-late": "the transcript of a turn comes later",
        "unknown-events": "the client gets events it knows nothing of",
        "gibberish": "the client gets messages that are no events",
        "incoming-twice": "a call is told of twice",
        "accept-404": "a call that is there is not found when it is accepted",
        "accept-500": "the vendor's own error when a call is accepted",
        "refer-500": "the vendor's own error when a call is referred",
        "refer-nothing": "a call is referred with 200, and nothing happens",
        "sideband-404": "the sideband of an accepted call is not found",
        "sideband-drop": "the sideband closes and the call goes on",
        "remote-hangup": "the vendor ends the call",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "sk-emulated",
        recognizer: Recognizer | None = None,
        transcripts: Iterable[str] = (),
        replies: Iterable[Reply | str] | Thinker = (),
        delta_ms: int = 100,
        delta_interval: float = 0.02,
        transcription_delay: float = 0.0,
        prompts: Collection[str] = (),
        project: str = "proj_emulated",
        webhook_url: str = "",
        webhook_secret: str = WEBHOOK_SECRET,
        live_events: bool = False,
        accept_delay: float = 0.15,
        ring_timeout: float = 30.0,
        invalid_accept: Literal["gone", "defaults"] | None = None,
    ) -> None:
        super().__init__(port=port)
        self.key = key
        self.recognizer = recognizer
        self.brain = Brain(replies)
        self.delta_ms = delta_ms
        self.delta_interval = delta_interval
        self.transcription_delay = transcription_delay
        self.prompts = prompts
        self.project = project
        self.webhook_url = webhook_url
        self.webhook_secret = webhook_secret
        self.live_events = live_events
        self.accept_delay = accept_delay
        self.ring_timeout = ring_timeout
        self.invalid_accept = invalid_accept
        self.sessions: list[VoiceSession] = []
        """Every session, of WebSockets and of accepted calls, oldest first."""
        self.calls = Calls(self)
        """The SIP side: `calls.all` are the calls, oldest first."""
        self._scripted = iter(transcripts)
        self._connections: set[VoiceConnection] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The socket, the list of models, the beta addresses that only say that they are gone, and SIP."""
        router.add_get("/v1/realtime", self._realtime)
        router.add_get("/v1/models", self._models)
        for path in ("/v1/realtime/sessions", "/v1/realtime/transcription_sessions"):
            router.add_post(path, self._beta)
        self.calls.add_routes(router)

    def state(self) -> dict[str, Any]:
        """The sessions and calls in short."""
        return {
            "sessions": [
                {
                    "ready": session.ready,
                    "call_id": session.call_id,
                    "config": session.config,
                    "errors": session.errors,
                    "appends": session.appends,
                    "early_bytes": session.early,
                    "heard_bytes": len(session.audio),
                    "heard": session.heard,
                    "responses": [
                        {"status": each.status, "reason": each.reason, "voice": each.voice, "text": each.text}
                        for each in session.responses
                    ],
                    "closed": session.closed,
                }
                for session in self.sessions
            ],
            "calls": self.calls.state(),
        }

    def new_session(self, model: str, **about: Any) -> VoiceSession:
        """A session on defaults, added to `sessions`; `about` are fields of `VoiceSession`."""
        session_id, expires_at = f"sess_{len(self.sessions) + 1:016d}", int(time.time()) + 3600
        sip = bool(about.get("call_id"))
        config = openai_voice_sessions.initial_session(session_id, model, expires_at, sip=sip)
        session = VoiceSession(config, **about)
        self.sessions.append(session)
        return session

    def next_words(self, audio: bytes, threshold: float) -> str:
        """The next scripted words of the caller, if there is speech in the audio and a text left."""
        return next(self._scripted, "") if has_speech(audio, threshold) else ""

    def take_fault_after(self, event: str, *names: str) -> Fault | None:
        """A switched-on fault that strikes after this server event."""
        for fault in self._faults:
            if fault.name in names and fault.options.get("after", "response.created") == event:
                return self.take_fault(fault.name)
        return None

    def take_timed_fault(self, name: str) -> Fault | None:
        """A switched-on fault that strikes after some seconds."""
        timed = any(fault.name == name and "seconds" in fault.options for fault in self._faults)
        return self.take_fault(name) if timed else None

    def take_untimed_fault(self, name: str) -> Fault | None:
        """A switched-on fault that strikes at once."""
        timed = any(fault.name == name and "seconds" in fault.options for fault in self._faults)
        return None if timed else self.take_fault(name)

    def key_problem(self, request: web.Request) -> web.Response | None:
        """The answer to a wrong key or to none; None where it is right."""
        where, bearer = f"{request.method} {request.path}", request.headers.get("Authorization", "")
        if not bearer.startswith("Bearer "):
            self.refuse(where, "no bearer")
            return problem(401, None, "Missing bearer or basic authentication in header")
        if bearer != f"Bearer {self.key}":
            self.refuse(where, "wrong key")
            return problem(401, "invalid_api_key", WRONG_KEY)
        return None

    async def serve_socket(
        self,
        request: web.Request,
        talk: Talk,
        *,
        trouble: SessionRefused | None = None,
        sideband: bool = False,
    ) -> web.StreamResponse:
        """Serve a WebSocket on a session, which ends with it unless it is a call's."""
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, timeout=1.0)
        if not socket.can_prepare(request):
            self.refuse("GET /v1/realtime", "no WebSocket handshake")
            return problem(400, None, "Expected a WebSocket handshake.")
        await socket.prepare(request)
        connection = VoiceConnection(self, request, socket, talk)
        self._connections.add(connection)
        try:
            if refusal := self._refused_address(request, sideband=sideband):
                await connection.refuse_address(refusal)
            else:
                await connection.run(trouble=trouble)
        finally:
            self._connections.discard(connection)
            connection.finish()
            if not sideband:
                await talk.finish()
        return socket

    async def stop(self) -> None:
        """End every call and close every session."""
        for connection in list(self._connections):
            await connection.close(1001, "emulator stopped")
        await self.calls.stop()

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused_handshake(request):
            return refused
        about = {"query": dict(request.query), "user_agent": request.headers.get("User-Agent", "")}
        if "call_id" in request.query:
            return await self.calls.sideband(request, **about)
        session = self.new_session(request.query.get("model", ""), **about)
        return await self.serve_socket(request, Talk(self, session))

    async def _models(self, request: web.Request) -> web.Response:
        """What a check of the key asks for; it costs nothing."""
        if refused := self.key_problem(request):
            return refused
        names = sorted({*openai_voice_sessions.MODELS, *openai_sessions.MODELS})
        models = [{"id": name, "object": "model", "owned_by": "openai"} for name in names]
        return web.json_response({"object": "list", "data": models})

    async def _beta(self, request: web.Request) -> web.Response:
        self.refuse(f"POST {request.path}", "beta address")
        return problem(400, "beta_api_shape_disabled", "The Realtime Beta API is no longer supported.")

    def _refused_handshake(self, request: web.Request) -> web.Response | None:
        match self.take_fault("http-401", "http-429", "http-500"):
            case Fault(name="http-401"):
                return problem(401, "invalid_api_key", WRONG_KEY)
            case Fault(name="http-429", options=options):
                after = {"Retry-After": str(options.get("retry_after", 1))}
                return problem(429, "rate_limit_exceeded", "Rate limit reached.", "requests", headers=after)
            case Fault(name="http-500"):
                text = "The server had an error while processing your request."
                return problem(500, None, text, "server_error")
        return self.key_problem(request)

    def _refused_address(self, request: web.Request, *, sideband: bool) -> SessionRefused | None:
        """What is wrong with address and headers, so that there is no session at all."""
        model = request.query.get("model")
        if "realtime=v1" in request.headers.get("OpenAI-Beta", ""):
            text = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            return SessionRefused(text, "beta_api_shape_disabled", None)
        if sideband:
            text = "You must not provide a model parameter for the session of a call."
            return None if model is None else SessionRefused(text, "invalid_model", None)
        if request.query.get("intent") == "transcription":
            self.refuse("GET /v1/realtime", "this stand-in has no transcription sessions")
            return SessionRefused("This emulator has conversations only.", "emulator_voice_only", None)
        if not model:
            return SessionRefused("You must provide a model parameter.", "missing_model", None)
        if model in openai_sessions.MODELS:
            text = (
                f'Model "{model}" is a transcription model and cannot be used as the realtime session model. Use a '
                "realtime model for the session model. Pass this transcription model as "
                "audio.input.transcription.model instead."
            )
            return SessionRefused(text, "invalid_model", None)
        return None if model in openai_voice_sessions.MODELS else openai_voice_sessions.unknown_model(model)
