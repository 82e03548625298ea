"""One WebSocket of Gemini Live: messages in, messages out, as JSON in binary frames.

The order of a turn is that of the google-genai SDK's `types.py` (LiveServerContent): audio and its transcript in no
particular order, `generationComplete`, and `turnComplete` once the reply must have been played. An interrupted turn
goes through `interrupted` and `turnComplete` only. Functions that the caller talks over are called off.
"""

import asyncio
import base64
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from aiohttp import WSMsgType, web

from openclaw_voicecall.media.g711 import pcm_to_ulaw
from openclaw_voicecall.testing.emulators import openai_vad
from openclaw_voicecall.testing.emulators.gemini_live_rules import (
    INVALID,
    LONGEST_REASON,
    MODELS,
    TEXT_TURNS,
    GeminiRefused,
    check_message,
    no_such_model,
    pcm_of,
)
from openclaw_voicecall.testing.emulators.gemini_live_sound import spoken
from openclaw_voicecall.testing.emulators.openai_replies import Cue, Reply
from openclaw_voicecall.testing.emulators.streams import pieces

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.gemini_live import GeminiLiveEmulator

PIECES: Final = (1920, 5000, 9601, 4799)
"""Bytes of audio a message, over and over: Google knows nothing of frames, and splits samples."""
BYTES_PER_SECOND: Final = 48000
BAD_KEY: Final = "API key not valid. Please pass a valid API key."
NO_KEY: Final = "Method doesn't allow unregistered callers (callers without established identity)."
QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."
GIBBERISH: Final = (
    b"{no JSON",
    b"[]",
    b'"text"',
    b"{}",
    b'{"serverContent": 7}',
    b"\xff\xfe",
    b'{"toolCall":{}}',
)
"""What a client that reads carefully passes over."""


@dataclass(slots=True)
class GeminiSession:
    """What one connection did."""

    setup: dict[str, Any] = field(default_factory=dict)
    """The set-up in force."""
    ready: bool = False
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Every message that came, right or wrong, without audio."""
    audio: bytearray = field(default_factory=bytearray)
    """What was heard, as mu-law 8 kHz."""
    texts: list[str] = field(default_factory=list)
    """Texts the model was given, as realtime input or as turns."""
    said: list[tuple[str, str]] = field(default_factory=list)
    """Texts and voices of the replies that were begun."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """The `functionResponses` that came."""
    interruptions: int = 0
    closed: str = ""
    """Who ended it: `client 1000`, `server 1007: reason`, `broken off`; empty while it is open."""


class Connection:
    """One WebSocket, from the set-up to its close."""

    def __init__(
        self,
        emulator: "GeminiLiveEmulator",
        request: web.Request,
        socket: web.WebSocketResponse,
        key: str,
    ) -> None:
        self._emulator = emulator
        self._request = request
        self._socket = socket
        self._key = key
        self._session = GeminiSession()
        emulator.sessions.append(self._session)
        self._quiet = emulator.take_fault("quiet") is not None
        self._vad = openai_vad.ServerVad()
        self._begin = 0
        self._turn: asyncio.Task[None] | None = None
        self._pending: set[str] = set()
        """Calls of functions that have no result yet."""
        self._called_off: set[str] = set()
        self._results: asyncio.Queue[list[str]] = asyncio.Queue()
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until either side closes."""
        async for message in self._socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            try:
                await self._take(message.data)
            except GeminiRefused as refusal:
                self._emulator.refuse(self._last_name(), refusal.reason)
                await self.close(refusal.code, refusal.reason)
            self._emulator.note_change()

    async def finish(self) -> None:
        """End what still runs for this connection."""
        self._session.closed = self._session.closed or f"client {self._socket.close_code or 1006}"
        self._emulator.note_change()
        for task in (*self._tasks, *([self._turn] if self._turn else [])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self, code: int, reason: str) -> None:
        """Close in good order."""
        reason = reason.encode()[:LONGEST_REASON].decode("utf-8", "ignore")
        self._session.closed = self._session.closed or f"server {code}: {reason}"
        await self._socket.close(code=code, message=reason.encode())

    def _last_name(self) -> str:
        return next(iter(self._session.messages[-1]), "message") if self._session.messages else "message"

    async def _take(self, data: str | bytes) -> None:
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise GeminiRefused("Invalid JSON payload received.")
        if "audio" not in (message.get("realtimeInput") or {}):
            self._session.messages.append(message)
        name = check_message(message)
        if (name == "setup") == bool(self._session.setup):
            raise GeminiRefused("setup must be the first message and only the first")
        if name == "setup":
            await self._set_up(message["setup"])
            return
        if not self._session.ready:
            self._emulator.refuse(name, "before setupComplete")
            raise GeminiRefused(INVALID)
        match name:
            case "realtimeInput":
                await self._input(message["realtimeInput"])
            case "clientContent":
                await self._turns_of_text(message["clientContent"])
            case "toolResponse":
                self._take_results(message["toolResponse"]["functionResponses"])

    async def _set_up(self, setup: dict[str, Any]) -> None:
        self._session.setup = setup
        if not self._key:
            raise GeminiRefused(NO_KEY, 1008)
        if self._key != self._emulator.key:
            raise GeminiRefused(BAD_KEY)
        if setup["model"] not in MODELS:
            raise no_such_model(setup["model"])
        if self._emulator.take_fault("quota"):
            await self.close(1011, QUOTA)
        elif self._emulator.take_fault("no-setup-complete"):
            return
        elif fault := self._emulator.take_fault("slow-start"):
            self._spawn(self._complete_set_up(fault.options.get("seconds", 1.0)))
        else:
            await self._complete_set_up(0)

    async def _complete_set_up(self, delay: float) -> None:
        await asyncio.sleep(delay)
        self._session.ready = True
        await self._send("setupComplete", {})
        self._emulator.note_change()

    async def _input(self, given: dict[str, Any]) -> None:
        if len(given) != 1:
            raise GeminiRefused(INVALID)
        if "text" in given:
            await self._take_text(given["text"])
        if "audio" not in given:
            return
        pcm = pcm_of(given["audio"])
        if await self._lie():
            return
        ulaw = pcm_to_ulaw(np.frombuffer(pcm, "<i2")[::2].tobytes())
        self._session.audio += ulaw
        if self._quiet:
            return
        for edge in self._vad.push(ulaw):
            if edge.speaking:
                self._begin = edge.at
                await self._interrupt()
            else:
                self._start_turn(self._answer_caller(bytes(self._session.audio[self._begin : edge.at])))

    async def _lie(self) -> bool:
        """Carry out a fault that strikes sessions that are open already; whether it was the end."""
        emulator = self._emulator
        if fault := emulator.take_fault("close"):
            if code := fault.options.get("code"):
                await self.close(int(code), str(fault.options.get("reason", "Internal error encountered.")))
            else:
                self._session.closed = "broken off"
                if self._request.transport is not None:
                    self._request.transport.abort()
            return True
        if fault := emulator.take_fault("go-away"):
            await self._send("goAway", {"timeLeft": f"{fault.options.get('seconds', 50)}s"})
        if emulator.take_fault("gibberish"):
            for nonsense in GIBBERISH:
                await self._socket.send_bytes(nonsense)
        return False

    async def _turns_of_text(self, content: dict[str, Any]) -> None:
        history = self._session.setup.get("historyConfig", {}).get("initialHistoryInClientContent")
        first = not self._session.audio and not self._session.texts
        if self._session.setup["model"] not in TEXT_TURNS and not (history and first):
            raise GeminiRefused(INVALID)
        texts = [part["text"] for turn in content.get("turns", []) for part in turn["parts"]]
        if history and first:
            return
        await self._interrupt()
        self._session.texts += texts
        if content.get("turnComplete"):
            self._start_turn(self._reply(Cue("asked", "", self._instructions, (), self._tools), texts[-1]))

    async def _take_text(self, text: str) -> None:
        await self._interrupt()
        self._session.texts.append(text)
        self._start_turn(self._reply(Cue("asked", "", self._instructions, (), self._tools), text))

    def _take_results(self, responses: list[dict[str, Any]]) -> None:
        outputs = []
        for response in responses:
            if response["id"] in self._called_off:
                continue
            if response["id"] not in self._pending:
                raise GeminiRefused("Requested entity was not found.", 1008)
            self._pending.discard(response["id"])
            self._session.results.append(response)
            outputs.append(str(response["response"].get("output", response["response"])))
        if outputs:
            self._results.put_nowait(outputs)

    @property
    def _instructions(self) -> str:
        parts = self._session.setup.get("systemInstruction", {}).get("parts", [])
        return "\n".join(part["text"] for part in parts)

    @property
    def _tools(self) -> tuple[str, ...]:
        declared = [tool.get("functionDeclarations", []) for tool in self._session.setup.get("tools", [])]
        return tuple(function["name"] for functions in declared for function in functions)

    @property
    def _voice(self) -> str:
        speech = self._session.setup["generationConfig"].get("speechConfig", {})
        name = speech.get("voiceConfig", {}).get("prebuiltVoiceConfig", {}).get("voiceName", "Puck")
        return str(name)

    def _start_turn(self, turn: Coroutine[Any, Any, None]) -> None:
        self._turn = asyncio.create_task(turn)

    async def _interrupt(self) -> None:
        """Break off the turn that is under way, if any."""
        turn, self._turn = self._turn, None
        if turn is None or turn.done():
            return
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        self._session.interruptions += 1
        if self._pending:
            await self._call_off()
        await self._content(interrupted=True)
        await self._content(turnComplete=True)

    async def _call_off(self) -> None:
        self._called_off |= self._pending
        await self._send("toolCallCancellation", {"ids": sorted(self._pending)})
        self._pending.clear()

    async def _answer_caller(self, audio: bytes) -> None:
        words = await self._emulator.words(audio)
        for index, word in enumerate(words.split()):
            if "inputAudioTranscription" in self._session.setup:
                await self._content(inputTranscription={"text": f" {word}" if index else word})
        await self._reply(Cue("turn", words, self._instructions, (), self._tools), "")

    async def _reply(self, cue: Cue, own: str) -> None:
        """Answer, call functions, and answer what they gave, until there is no more to say."""
        if self._emulator.take_fault("no-response"):
            await self._content(turnComplete=True)
            return
        reply = self._emulator.brain.reply(cue, own)
        await asyncio.sleep(reply.delay)
        length = await self._speak(reply) if reply.text else 0.0
        while reply.calls:
            await self._call(reply)
            if self._emulator.take_fault("tool-cancelled"):
                await self._call_off()
                break
            outputs = await self._results.get()
            while self._pending:
                outputs += await self._results.get()
            cue = Cue("turn", "", self._instructions, tuple(outputs), self._tools)
            reply = self._emulator.brain.reply(cue)
            await asyncio.sleep(reply.delay)
            length += await self._speak(reply) if reply.text else 0.0
        await self._content(generationComplete=True)
        await asyncio.sleep(length * self._emulator.pace)
        await self._content(turnComplete=True)
        self._emulator.note_change()

    async def _speak(self, reply: Reply) -> float:
        """Send a text as audio, with its words; how many seconds it lasts."""
        self._session.said.append((reply.text, self._voice))
        pcm = spoken(reply.text, self._voice)
        if self._emulator.take_fault("static"):
            pcm = np.random.default_rng(7).integers(-32768, 32767, len(pcm) // 2, np.int16).tobytes()
        stalls = self._emulator.take_fault("stall") is not None
        words = iter(reply.text.split(" "))
        for index, piece in enumerate(pieces(pcm, *PIECES)):
            if stalls and index == 1:
                await asyncio.Event().wait()
            blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(piece).decode()}
            await self._content(modelTurn={"role": "model", "parts": [{"inlineData": blob}]})
            if word := next(words, ""):
                await self._transcribe(f" {word}" if index else word)
        for word in words:
            await self._transcribe(f" {word}")
        self._emulator.note_change()
        return len(pcm) / BYTES_PER_SECOND

    async def _transcribe(self, words: str) -> None:
        if "outputAudioTranscription" in self._session.setup:
            await self._content(outputTranscription={"text": words})

    async def _call(self, reply: Reply) -> None:
        calls = []
        for call in reply.calls:
            self._count += 1
            name = f"function-call-{self._count}"
            self._pending.add(name)
            arguments = dict(call.arguments) if not isinstance(call.arguments, str) else {}
            calls.append({"id": name, "name": call.name, "args": arguments})
        await self._send("toolCall", {"functionCalls": calls})
        self._emulator.note_change()

    async def _content(self, **content: Any) -> None:
        await self._send("serverContent", content)

    async def _send(self, name: str, value: dict[str, Any]) -> None:
        self._emulator.stamp(name, ",".join(value))
        with suppress(ConnectionError):  # the client went away; `run` will see it
            await self._socket.send_bytes(json.dumps({name: value}).encode())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
