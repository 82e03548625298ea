"""One WebSocket of OpenAI's Realtime transcription: events in, events out.

Events are those of the OpenAI SDK, `types/realtime/`; the order after a commit (committed, item added, item done,
deltas, completed) and the closes (4000 for a wrong address or dialect, 3000 for a wrong key, 1001 at the end of the
hour) are as users have recorded them.
"""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators import openai_checks, openai_sessions, openai_vad
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_transcripts import Utterance, item_of, transcript_events
from openclaw_voicecall.testing.emulators.serving import Fault

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator

EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
)
SHORTEST_COMMIT_MS = 100
HOUR_IS_OVER = "Your session hit the maximum duration of 60 minutes."
SERVER_ERROR = "The server had an error while processing your request."
GIBBERISH = ("{no JSON", "[]", '"text"', "{}", '{"type": 7}', '{"type": "input_audio_buffer.speech_started"}')
"""What a client that reads carefully passes over: no JSON, no object, no event, an event without its fields."""
NO_SESSION = "Missing required parameter: 'session'."


@dataclass(slots=True)
class TranscriptionSession:
    """What one connection did."""

    query: Mapping[str, str]
    config: dict[str, Any]
    """The session in force, as the last `session.created` or `session.updated` told it."""
    user_agent: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """Every `session.update` that came, right or wrong."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The `error` of every error event that was sent."""
    ready: bool = False
    """Whether `session.updated` was sent."""
    appends: int = 0
    early: int = 0
    """Bytes of audio that came before `session.updated` and were lost."""
    audio: bytearray = field(default_factory=bytearray)
    """What was heard: mu-law from `session.updated` on."""
    commits: int = 0
    """Commits by the client."""
    items: list[str] = field(default_factory=list)
    """Ids of the committed items, in order."""
    transcripts: list[str] = field(default_factory=list)
    """What was sent as completed, in the order of sending."""
    closed: str = ""
    """Who ended it: `client 1000`, `server 4000: reason`, `broken off`; empty while it is open."""


class Connection:
    """One WebSocket, from `session.created` to its close."""

    def __init__(
        self, emulator: "OpenAIRealtimeEmulator", request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._socket = socket
        self._kind = "transcription" if request.query.get("intent") == "transcription" else "realtime"
        self._session = TranscriptionSession(
            query=dict(request.query),
            config={
                "id": f"sess_{len(emulator.sessions) + 1:016d}",
                "object": f"realtime.{'transcription_session' if self._kind == 'transcription' else 'session'}",
                "type": self._kind,
                "expires_at": int(time.time()) + 3600,
                "include": [],
                "audio": {"input": openai_sessions.initial_input()},
            },
            user_agent=request.headers.get("User-Agent", ""),
        )
        emulator.sessions.append(self._session)
        self._events = 0
        self._items = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._half_migrated = emulator.take_fault("beta-half-migrated") is not None
        self._quiet = emulator.take_fault("quiet") is not None
        self._end = emulator.take_fault("close", "expire")
        self._vad: openai_vad.ServerVad | None = None
        self._begin = 0
        """Where in the heard audio the buffer begins."""
        self._item = ""
        """Id of the item that speech was detected for and that is not committed."""
        self._last_done: asyncio.Event | None = None
        self._held: asyncio.Event | None = None

    async def run(self) -> None:
        """Serve until either side closes."""
        if self._emulator.take_fault("auth-in-band"):
            await self._error("Incorrect API key provided: ***.", "invalid_api_key", None)
            await self.close(3000, "invalid_request_error.invalid_api_key")
            return
        if refusal := self._refused_address():
            await self._refuse("GET /v1/realtime", refusal, None)
            await self.close(4000, f"invalid_request_error.{refusal.code}")
            return
        await self._send("session.created", session=self._session.config)
        if self._end and "seconds" in self._end.options:
            self._spawn(self._after(self._end.options["seconds"], self._carry_out_end))
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            else:
                text = "Expected a text WebSocket message; binary frames are not supported."
                await self._refuse("binary message", SessionRefused(text, "invalid_event", None), None)
            self._emulator.note_change()

    async def finish(self) -> None:
        """End what still runs for this connection."""
        self._session.closed = self._session.closed or f"client {self._socket.close_code or 1006}"
        self._emulator.note_change()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, code: int, reason: str) -> None:
        """Close in good order."""
        self._session.closed = self._session.closed or f"server {code}: {reason}"
        await self._socket.close(code=code, message=reason.encode())

    def _refused_address(self) -> SessionRefused | None:
        """What is wrong with address and headers, so that there is no session at all."""
        model = self._request.query.get("model")
        if "realtime=v1" in self._request.headers.get("OpenAI-Beta", ""):
            text = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
            return SessionRefused(text, "beta_api_shape_disabled", None)
        if self._kind == "transcription":
            text = "You must not provide a model parameter for transcription sessions."
            return None if model is None else SessionRefused(text, "invalid_model", None)
        if not model:
            return SessionRefused("You must provide a model parameter.", "missing_model", None)
        if model in openai_sessions.MODELS:
            text = (
                f'Model "{model}" is a transcription model and cannot be used as the realtime session model. Use a '
                "realtime model for the session model. Pass this transcription model as "
                "audio.input.transcription.model instead."
            )
            return SessionRefused(text, "invalid_model", None)
        self._emulator.refuse("GET /v1/realtime", "without intent=transcription: a conversation session")
        return None

    async def _take(self, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            refusal = SessionRefused("Invalid event: failed to parse JSON value.", "invalid_json", None)
            await self._refuse("message", refusal, None)
            return
        name, event_id = event.get("type"), event.get("event_id")
        try:
            openai_checks.check_type(event.get("event_id", ""), str, "event_id")
            handle = self._handlers().get(str(name))
            if name == "transcription_session.update" and self._half_migrated:
                handle = self._update
            if handle is None:
                openai_checks.required(event, "type", "type")
                raise openai_checks.unsupported_value(name, EVENTS, "type")
            await handle(event)
        except SessionRefused as refusal:
            await self._refuse(str(name), refusal, event_id)

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        return dict(
            zip(EVENTS, (self._update, self._append, self._commit_by_client, self._clear), strict=True)
        )

    async def _update(self, event: dict[str, Any]) -> None:
        self._session.updates.append(event)
        if self._half_migrated:
            await self._error(NO_SESSION, "missing_required_parameter", None)
            return
        after = openai_sessions.updated_session(self._session.config, event)
        match self._emulator.take_fault("refuse-session", "slow-start", "no-session-updated"):
            case Fault(name="refuse-session"):
                await self._error(NO_SESSION, "missing_required_parameter", "session", event.get("event_id"))
            case Fault(name="slow-start", options=options):
                self._spawn(self._after(options.get("seconds", 1.0), lambda: self._put_in_force(after)))
            case None:
                await self._put_in_force(after)

    async def _put_in_force(self, config: dict[str, Any]) -> None:
        before = self._session.config["audio"]["input"]["turn_detection"]
        turn = config["audio"]["input"]["turn_detection"]
        self._session.config = config
        if not self._session.ready or turn != before:
            # When a sentence is over is for the vendor's model to say in semantic VAD; here it is by silence as well.
            settings = {
                key: turn[key]
                for key in ("threshold", "prefix_padding_ms", "silence_duration_ms")
                if turn and key in turn
            }
            heard = len(self._session.audio)
            self._vad = openai_vad.ServerVad(**settings, position=heard) if turn else None
        self._session.ready = True
        await self._send("session.updated", session=config)

    async def _append(self, event: dict[str, Any]) -> None:
        encoded = openai_checks.required(event, "audio", "audio")
        openai_checks.allow_keys(event, ("type", "event_id", "audio"), "")
        openai_checks.check_type(encoded, str, "audio")
        try:
            audio = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            text = "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value."
            raise SessionRefused(text, "invalid_value", "audio") from None
        session = self._session
        session.appends += 1
        if await self._lie_at_once():
            return
        if not session.ready:
            # The vendor's default is PCM at 24 kHz and no transcription: what a phone sends yields nothing.
            if not session.early:
                self._emulator.refuse("input_audio_buffer.append", "audio before session.updated")
            session.early += len(audio)
        elif session.config["audio"]["input"]["format"]["type"] != "audio/pcmu":
            self._emulator.refuse("input_audio_buffer.append", "this stand-in hears audio/pcmu only")
        else:
            session.audio += audio
            await self._detect(audio)
        end = self._end.options if self._end else {"seconds": 0}
        if "seconds" not in end and session.appends == end.get("appends", 1):
            await self._carry_out_end()

    async def _lie_at_once(self) -> bool:
        """Carry out a fault that strikes sessions that are open already; whether the audio is lost by it."""
        match self._emulator.take_fault("deaf", "close-now", "error-event", "gibberish"):
            case Fault(name="deaf"):
                return True
            case Fault(name="close-now") as fault:
                await self._break_off(fault)
                return True
            case Fault(name="error-event"):
                error = {"type": "server_error", "code": None, "message": SERVER_ERROR}
                await self._send("error", error={**error, "param": None, "event_id": None})
            case Fault(name="gibberish"):
                for text in GIBBERISH:
                    with suppress(ConnectionError):
                        await self._socket.send_str(text)
        return False

    async def _detect(self, audio: bytes) -> None:
        if self._vad is None or self._quiet:
            return
        for edge in self._vad.push(audio):
            milliseconds = edge.at // openai_vad.BYTES_PER_MS
            if edge.speaking:
                self._begin, self._item = edge.at, self._next_item()
                started = "input_audio_buffer.speech_started"
                await self._send(started, item_id=self._item, audio_start_ms=milliseconds)
                if fault := self._emulator.take_fault("close-after-speech-started"):
                    await self._break_off(fault)
                    return
            else:
                stopped = "input_audio_buffer.speech_stopped"
                await self._send(stopped, item_id=self._item, audio_end_ms=milliseconds)
                await self._commit(edge.at)

    async def _commit_by_client(self, event: dict[str, Any]) -> None:
        openai_checks.allow_keys(event, ("type", "event_id"), "")
        self._session.commits += 1
        end = len(self._session.audio)
        milliseconds = (end - self._begin) / openai_vad.BYTES_PER_MS
        if milliseconds < SHORTEST_COMMIT_MS:
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{SHORTEST_COMMIT_MS}ms of audio, but buffer only has {milliseconds:.2f}ms of audio."
            )
            raise SessionRefused(text, "input_audio_buffer_commit_empty", None)
        if self._vad is not None:
            self._vad.restart()
        await self._commit(end)

    async def _clear(self, event: dict[str, Any]) -> None:
        openai_checks.allow_keys(event, ("type", "event_id"), "")
        if self._vad is not None:
            self._vad.restart()
        self._begin, self._item = len(self._session.audio), ""
        await self._send("input_audio_buffer.cleared")

    async def _commit(self, end: int) -> None:
        """Make an item of the buffer up to here, and have it transcribed."""
        session = self._session
        audio = bytes(session.audio[self._begin : end])
        item_id = self._item or self._next_item()
        previous = session.items[-1] if session.items else None
        self._begin, self._item = end, ""
        session.items.append(item_id)
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        for event in ("conversation.item.added", "conversation.item.done"):
            await self._send(event, previous_item_id=previous, item=item_of(item_id))
        settings = session.config["audio"]["input"]
        if settings["transcription"] is None or self._quiet:
            return
        names = ["failed-item", "empty-transcript", "drop-deltas"]
        fault = self._emulator.take_fault(*names, *(() if self._held else ("out-of-order",)))
        words = None
        if self._emulator.recognizer is None:
            words = self._emulator.next_words(audio, (settings["turn_detection"] or {}).get("threshold", 0.5))
        after, done = self._last_done, [asyncio.Event()]
        if fault and fault.name == "out-of-order":
            after = self._held = asyncio.Event()
        else:
            self._last_done = done[0]
            if self._held:
                done.append(self._held)
                self._held = None
        logprobs = openai_sessions.LOGPROBS in session.config["include"]
        utterance = Utterance(item_id, audio, words, settings["transcription"], logprobs, fault)
        self._spawn(self._transcribe(utterance, after, done))

    async def _transcribe(
        self, utterance: Utterance, after: asyncio.Event | None, done: Sequence[asyncio.Event]
    ) -> None:
        try:
            await asyncio.sleep(self._emulator.delay)
            text = utterance.words
            if text is None and self._emulator.recognizer is not None:
                text = await self._emulator.recognizer(utterance.audio)
            if after is not None:
                await after.wait()
            for name, fields in transcript_events(utterance, text or ""):
                if name.endswith(".completed"):
                    self._session.transcripts.append(fields["transcript"])
                await self._send(name, **fields)
        finally:
            for event in done:
                event.set()
            self._emulator.note_change()

    async def _carry_out_end(self) -> None:
        fault, self._end = self._end, None
        if fault is not None and fault.name == "expire":
            if fault.options.get("error", True):
                await self._error(HOUR_IS_OVER, "session_expired", None)
            await self.close(1001, HOUR_IS_OVER)
        elif fault is not None:
            await self._break_off(fault)

    async def _break_off(self, fault: Fault) -> None:
        if code := fault.options.get("code"):
            await self.close(int(code), "server error")
            return
        self._session.closed = "broken off"
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _refuse(self, where: str, refusal: SessionRefused, event_id: Any) -> None:
        self._emulator.refuse(where, refusal.message)
        await self._error(refusal.message, refusal.code, refusal.param, event_id)

    async def _error(self, message: str, code: str | None, param: str | None, event_id: Any = None) -> None:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": param,
            "event_id": event_id,
        }
        self._session.errors.append(error)
        await self._send("error", error=error)

    async def _send(self, name: str, **fields: Any) -> None:
        self._events += 1
        self._emulator.stamp(name, fields.get("item_id", ""))
        with suppress(ConnectionError):  # the client went away; `run` will see it
            await self._socket.send_json({"type": name, "event_id": f"event_{self._events:016d}", **fields})

    def _next_item(self) -> str:
        self._items += 1
        return f"item_{self._items:016d}"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _after(self, seconds: float, do: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await do()
        self._emulator.note_change()
