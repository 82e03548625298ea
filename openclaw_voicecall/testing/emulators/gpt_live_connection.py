"""One WebSocket of GPT-Live: events in, events out, audio at the pace of speech.

Events are those of the OpenAI SDK, `types/live/server_event.py`. The model hears and talks at once: it stops when the
caller begins to speak, there is silence before and after what it says, and nothing tells where a turn begins or ends.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators import openai_vad
from openclaw_voicecall.testing.emulators.gpt_live_rules import DEFAULT_VOICE, check_event, check_start
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_replies import Cue, Reply
from openclaw_voicecall.testing.emulators.streams import pieces
from openclaw_voicecall.testing.emulators.voices import babble

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator

PIECE: Final = 800
"""Bytes of audio an event: 100 ms."""
SILENCE: Final = b"\xff" * PIECE
EXPIRES_AT: Final = 4102444800
GIBBERISH: Final = ("{no JSON", "[]", '"text"', "{}", '{"type": 7}', '{"type": "session.output_audio.delta"}')
"""What a client that reads carefully passes over."""


@dataclass(slots=True)
class LiveSession:
    """What one session did."""

    id: str
    config: dict[str, Any] = field(default_factory=dict)
    """The session in force."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """Every event that came, right or wrong."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    """What the model heard: silence while it was muted."""
    muted: bool = False
    said: list[tuple[str, str]] = field(default_factory=list)
    """Texts and voices of what was begun to be said."""
    known: list[str] = field(default_factory=list)
    """Thinking and instructions that were appended."""
    results: dict[str, str] = field(default_factory=dict)
    """Results of functions, by call."""
    closed: str = ""
    """Who ended it: `client 1000`, `server 1000: reason`, `broken off`; empty while it is open."""

    @property
    def voice(self) -> str:
        """The voice in force."""
        return str(self.config.get("audio", {}).get("output", {}).get("voice", DEFAULT_VOICE))

    @property
    def delegation(self) -> str:
        """Who does what the model delegates."""
        return str((self.config.get("delegation") or {"type": "client"})["type"])


class Connection:
    """One primary WebSocket, from `session.start` to its close."""

    def __init__(
        self, emulator: "GptLiveEmulator", request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._socket = socket
        self._session = LiveSession(f"live_{len(emulator.sessions) + 1:04d}")
        emulator.sessions.append(self._session)
        self._quiet = emulator.take_fault("quiet") is not None
        self._started = False
        self._vad = openai_vad.ServerVad()
        self._begin = 0
        self._talking: asyncio.Task[None] | None = None
        self._pending: dict[str, bool] = {}
        """Calls of functions, and whether their results are there."""
        self._go_on = asyncio.Event()
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._floor = asyncio.Lock()
        """Held by whatever the model says."""

    async def run(self) -> None:
        """Serve until either side closes."""
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            else:
                await self._refuse("binary message", SessionRefused("Expected text.", "invalid_event", None))
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

    async def end(self, reason: str) -> None:
        """Say that the session is over, and close."""
        usage = {"seconds": len(self._session.audio) // 8000}
        await self._send("session.closed", reason=reason, session=self._resource(), usage=usage)
        await self.close(1000, reason)

    async def _take(self, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            refusal = SessionRefused("Invalid event: failed to parse JSON value.", "invalid_json", None)
            await self._refuse("message", refusal)
            return
        name, event_id = str(event.get("type")), event.get("event_id")
        self._session.events.append(event)
        try:
            if name == "session.start" and not self._session.config:
                await self._start(check_start(event))
                return
            if not self._started:
                raise SessionRefused("The session has not started.", "session_not_started", None)
            check_event(event, sideband=False, delegation=self._session.delegation)
            await self._carry_out(name, event)
        except SessionRefused as refusal:
            await self._refuse(name, refusal, event_id)

    async def _start(self, session: dict[str, Any]) -> None:
        fault = self._emulator.take_fault("refuse-session", "slow-start", "no-session-started", "other-voice")
        kind = fault.name if fault else ""
        if kind == "refuse-session":
            error = {"type": "server_error", "code": "server_error", "message": "Sorry.", "param": None}
            await self._send("error", error=error)
            return
        self._session.config = session
        if kind == "other-voice":
            session["audio"] = {**session.get("audio", {}), "output": {"voice": DEFAULT_VOICE}}
        if kind != "no-session-started":
            delay = fault.options.get("seconds", 1.0) if fault and kind == "slow-start" else 0.0
            self._spawn(self._begin_session(delay))

    async def _begin_session(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._started = True
        await self._send("session.started", session=self._resource())
        self._emulator.note_change()

    def _resource(self) -> dict[str, Any]:
        audio = dict(self._session.config.get("audio", {}))
        audio["output"] = {"voice": self._session.voice}
        told = {**self._session.config, "audio": audio}
        return {**told, "id": self._session.id, "expires_at": EXPIRES_AT, "status": "active"}

    async def _carry_out(self, name: str, event: dict[str, Any]) -> None:
        match name:
            case "session.input_audio.append":
                await self._append(event["audio"])
            case "session.input_audio.mute" | "session.input_audio.unmute":
                self._session.muted = name.endswith(".mute")
                await self._send(f"{name}d", client_event_id=event.get("event_id"))
            case "session.close":
                await self.end("close_requested")
            case "session.commentary.append":
                await self._comment(event)
            case "session.thinking.append" | "session.instructions.append":
                self._session.known.append(event["content"])
                await self._appended(name, event)
            case "response.item.create":
                self._take_result(event["item"])
            case "response.create":
                self._continue_response()

    async def _append(self, encoded: str) -> None:
        try:
            audio = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise SessionRefused("Invalid 'audio': expected base64.", "invalid_value", "audio") from None
        if await self._lie():
            return
        heard = b"\xff" * len(audio) if self._session.muted else audio
        self._session.audio += heard
        if self._quiet:
            return
        for edge in self._vad.push(heard):
            if edge.speaking:
                self._begin = edge.at
                if self._talking is not None:
                    self._talking.cancel()
            else:
                utterance = bytes(self._session.audio[self._begin : edge.at])
                self._spawn(self._answer_caller(utterance))

    async def _lie(self) -> bool:
        """Carry out a fault that strikes sessions that run already; whether it was the end."""
        emulator = self._emulator
        if fault := emulator.take_fault("close"):
            if code := fault.options.get("code"):
                await self.close(int(code), "server error")
            else:
                self._session.closed = "broken off"
                if self._request.transport is not None:
                    self._request.transport.abort()
            return True
        if fault := emulator.take_fault("ended"):
            await self.end(str(fault.options.get("reason", "expired")))
            return True
        if emulator.take_fault("error-event"):
            error = {"type": "server_error", "code": "server_error", "message": "Sorry.", "param": None}
            await self._send("error", error=error)
        if emulator.take_fault("gibberish"):
            for nonsense in GIBBERISH:
                await self._socket.send_str(nonsense)
        return False

    async def _comment(self, event: dict[str, Any]) -> None:
        if self._emulator.take_fault("refuse-commentary"):
            raise SessionRefused("Sorry.", "server_error", None)
        await self._appended("session.commentary.append", event)
        self._spawn(self._reply(Cue("asked", "", self._instructions, (), self._tools), event["content"]))

    async def _appended(self, name: str, event: dict[str, Any]) -> None:
        at = len(self._session.audio) // 8
        await self._send(f"{name}ed", start_ms=at, end_ms=at, client_event_id=event.get("event_id"))

    @property
    def _instructions(self) -> str:
        return str(self._session.config.get("instructions") or "")

    @property
    def _tools(self) -> tuple[str, ...]:
        responses = (self._session.config.get("delegation") or {}).get("responses", {})
        return tuple(tool["name"] for tool in responses.get("tools", []) if tool["type"] == "function")

    async def _answer_caller(self, audio: bytes) -> None:
        words = await self._emulator.words(audio)
        end = len(self._session.audio) // 8
        for index, word in enumerate(words.split()):
            delta = f" {word}" if index else word
            await self._send("session.input_transcript.delta", delta=delta, start_ms=end, end_ms=end)
        await self._reply(Cue("turn", words, self._instructions, (), self._tools), "")

    async def _reply(self, cue: Cue, own: str) -> None:
        """Answer, have functions called, and answer what they gave, until there is no more to say."""
        if self._emulator.take_fault("no-response"):
            return
        reply = self._emulator.brain.reply(cue, own)
        while True:
            await asyncio.sleep(reply.delay)
            if reply.text:
                await self._talk(reply.text)
            if not reply.calls:
                break
            outputs = await self._delegate(reply)
            cue = Cue("turn", "", self._instructions, outputs, self._tools)
            reply = self._emulator.brain.reply(cue)
        self._emulator.note_change()

    async def _talk(self, text: str) -> None:
        """Say something, once the model is silent; the caller may break it off."""
        async with self._floor:
            self._session.said.append((text, self._session.voice))
            self._talking = talking = asyncio.create_task(self._speak(text))
            try:
                await asyncio.wait({talking})
            finally:
                talking.cancel()
                self._talking = None

    async def _speak(self, text: str) -> None:
        audio = babble(text, seed=self._session.voice)
        if self._emulator.take_fault("static"):
            audio = np.random.default_rng(7).integers(0, 256, len(audio), np.uint8).tobytes()
        stalls = self._emulator.take_fault("stall") is not None
        await self._sound(SILENCE)
        words = text.split(" ")
        told = 0
        for index, piece in enumerate(pieces(audio, PIECE)):
            if stalls and index == 1:
                await asyncio.Event().wait()
            await self._sound(piece)
            due = len(words) * (index + 1) * PIECE // max(len(audio), 1)
            for word in words[told:due]:
                await self._transcribe(f" {word}" if told else word)
                told += 1
        for word in words[told:]:
            await self._transcribe(f" {word}" if told else word)
            told += 1
        await self._sound(SILENCE)

    async def _sound(self, audio: bytes) -> None:
        with suppress(ConnectionError):
            delta = base64.b64encode(audio).decode()
            await self._socket.send_json({"type": "session.output_audio.delta", "delta": delta})
        await asyncio.sleep(len(audio) / 8000 * self._emulator.pace)

    async def _transcribe(self, words: str) -> None:
        at = len(self._session.audio) // 8
        await self._send("session.output_transcript.delta", delta=words, start_ms=at, end_ms=at)

    async def _delegate(self, reply: Reply) -> tuple[str, ...]:
        """Have functions called by the backend; what they gave."""
        self._count += 1
        response = {"id": f"resp_{self._count}", "status": "in_progress"}
        delegation = {"id": f"item_{self._count}", "type": "delegation", "target": "responses"}
        delegation["response_id"] = str(response["id"])
        at = len(self._session.audio) // 8
        await self._send("session.delegation.created", delegation=delegation, offset_ms=at)
        await self._nested(delegation["id"], "response.created", response=response)
        calls = []
        for index, call in enumerate(reply.calls):
            name = f"call_{self._count}_{index}"
            calls.append(name)
            self._pending[name] = False
            item = {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": call.name}
            item |= {"arguments": call.written, "status": "completed"}
            await self._nested(delegation["id"], "response.output_item.done", output_index=index, item=item)
        await self._nested(delegation["id"], "response.completed", response=response)
        self._emulator.note_change()
        self._go_on.clear()
        await self._go_on.wait()
        return tuple(self._session.results[name] for name in calls)

    def _take_result(self, item: dict[str, Any]) -> None:
        call = item.get("call_id")
        if item["type"] != "function_call_output":
            return
        if call not in self._pending:
            text = f"No tool call found for function call output with call_id {call}."
            raise SessionRefused(text, "invalid_value", "item.call_id")
        self._pending[call] = True
        self._session.results[call] = item["output"]

    def _continue_response(self) -> None:
        for call, there in self._pending.items():
            if not there:
                text = f"No tool output found for function call {call}."
                raise SessionRefused(text, "invalid_request", None)
        self._pending.clear()
        self._go_on.set()

    async def _nested(self, delegation: str, name: str, **fields: Any) -> None:
        await self._send("response.event", delegation_id=delegation, event={"type": name, **fields})

    async def _refuse(self, where: str, refusal: SessionRefused, event_id: Any = None) -> None:
        self._emulator.refuse(where, refusal.message)
        error = {
            "type": "invalid_request_error",
            "code": refusal.code or "invalid_request",
            "message": refusal.message,
            "param": refusal.param,
        }
        if isinstance(event_id, str):
            error["client_event_id"] = event_id
        self._session.errors.append(error)
        await self._send("error", error=error)

    async def _send(self, name: str, **fields: Any) -> None:
        self._count += 1
        self._emulator.stamp(name)
        told = {key: value for key, value in fields.items() if value is not None}
        with suppress(ConnectionError):  # the client went away; `run` will see it
            await self._socket.send_json({"type": name, "event_id": f"event_{self._count:08d}", **told})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
