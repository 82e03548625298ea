"""ElevenLabs' two WebSocket protocols: `stream-input` with one text, `multi-stream-input` with a text per context.

Messages are those of the ElevenLabs SDK, types/initialize_connection.py, types/send_text.py and their neighbours. A
text waits until there is enough of it (`chunk_length_schedule`), until `flush`, or until the end, unless `auto_mode`
is on. Words are glued together when a client forgets the space at the end of a text, as they are in the world.

The reference says that the first message of a context must be a single space; a guide of the vendor's starts contexts
with words all the same. A client that sends the space is right by both, so the space is demanded.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators.elevenlabs_rules import (
    LIMITS,
    QUOTA,
    WITHOUT_SOCKETS,
    Complaint,
    format_complaint,
    settings_complaint,
    silence_like,
)
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import Streams, break_off, pieces

QUERY_KEYS = frozenset(
    {
        "model_id", "language_code", "enable_logging", "enable_ssml_parsing", "output_format", "inactivity_timeout",
        "sync_alignment", "auto_mode", "apply_text_normalization", "seed",
    }
)  # fmt: skip
FIRST_KEYS = frozenset(
    {"voice_settings", "generation_config", "pronunciation_dictionary_locators", "xi-api-key", "xi_api_key"}
)
TEXT_KEYS = frozenset({"text", "flush", "try_trigger_generation"})
CONTEXT_KEYS = frozenset({"context_id", "close_context", "close_socket"})
SCHEDULE = (120, 160, 250, 290)
CONTEXTS = 5
"""How many contexts a socket may have at a time."""
PATIENCE = (20, 180)
"""Seconds without input before a socket or context ends, and how many may be asked for."""
SIZES = (701, 1333, 97, 2111)
MISTAKE = "Could not parse input message, make sure it is a json and follows the schema outlined in protocol."
TOO_MANY = (
    f"Maximum simultaneous contexts per WebSocket connection exceeded ({CONTEXTS}). Please close an existing context"
    " before opening a new one."
)
IDLE = (
    "Have not received a new text input within the timeout of {seconds} seconds. Streaming input terminated. Please"
    " make sure to either feed the input in the timely manner, or to send the end of input text (empty string"
    ' "") when done.'
)
FAULTS = ("quota", "500", "empty", "silent", "json", "html", "slow", "cut", "hang", "close")
"""What may happen to an utterance."""
RUBBISH = {
    "json": '{"audio": 7, "isFinal": "soon", "detail": ["queued"]}',
    "html": "<!doctype html><p>Welcome",
}
SORRY = "We are sorry, something went wrong. You are not charged for this request."


class Studio(Protocol):
    """What a socket needs of its emulator."""

    streams: Streams
    chunk_delay: float

    def say(
        self, text: str, *, voice: str, model: str, transport: str, output_format: str, context: str = ""
    ) -> bytes:
        """Turn a text into sound, and note it."""
        ...

    def refuse(self, where: str, why: str) -> None:
        """Note what the client did wrong."""
        ...

    def take_fault(self, *names: str) -> Fault | None:
        """The fault that is switched on, if any."""
        ...


def handshake_complaint(query: Mapping[str, str]) -> Complaint | None:
    """What keeps a socket from being opened: the validator answers 403 before there is a socket to say more on."""
    model = query.get("model_id", "eleven_multilingual_v2")
    seconds = query.get("inactivity_timeout", "20")
    said = ""
    if surplus := sorted(query.keys() - QUERY_KEYS):
        said = f"unknown in the query: {', '.join(surplus)}"
    elif complaint := format_complaint(query):
        said = complaint.message
    elif model not in LIMITS or model in WITHOUT_SOCKETS:
        said = f"the model {model} has no WebSockets"
    elif not seconds.isdecimal() or not 1 <= int(seconds) <= PATIENCE[1]:
        said = f"inactivity_timeout goes from 1 to {PATIENCE[1]}"
    return Complaint(403, said, "forbidden") if said else None


class Socket:
    """One connection, from handshake to end."""

    def __init__(self, studio: Studio, request: web.Request, *, key: str, voices: Collection[str]) -> None:
        self._studio = studio
        self._request = request
        self._key = key
        self._voice = request.match_info["voice"]
        self._voice_known = self._voice in voices
        self._transport = request.path.rpartition("/")[2]
        self._many = self._transport == "multi-stream-input"
        query = request.query
        self._model = query.get("model_id", "eleven_multilingual_v2")
        self._format = query["output_format"]
        self._patience = float(query.get("inactivity_timeout", PATIENCE[0]))
        self._auto = query.get("auto_mode", "").lower() == "true"
        self._aligned = query.get("sync_alignment", "").lower() == "true"
        self._admitted = "xi-api-key" in request.headers
        self._ws = web.WebSocketResponse()
        self._contexts: dict[str, _Context] = {}
        self._workers: dict[asyncio.Task[None], _Context] = {}
        self._ending = False
        self._heard = 0.0

    async def serve(self) -> web.WebSocketResponse:
        """Talk until one side ends it."""
        await self._ws.prepare(self._request)
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        try:
            if not self._voice_known:
                said = f"A voice with voice_id {self._voice} does not exist."
                self._studio.refuse(self._transport, said)
                await self._end("voice_id_does_not_exist", said)
            while not self._ws.closed:
                try:
                    message = await self._ws.receive(timeout=self._time_left(loop.time()))
                except TimeoutError:
                    await self._expire(loop.time())
                    continue
                if message.type is not WSMsgType.TEXT and message.type is not WSMsgType.BINARY:
                    break
                self._heard = loop.time()
                await self._take(message.data)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        return self._ws

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Close the connection in good order."""
        with contextlib.suppress(ConnectionError):
            await self._ws.close(code=code, message=reason.encode()[:123])

    async def _take(self, data: Any) -> None:
        try:
            message = json.loads(data) if isinstance(data, str) else None
        except ValueError:
            message = None
        if self._ending:
            self._studio.refuse(self._transport, "a message after the end")
            return
        why = "not a JSON object" if not isinstance(message, dict) else self._wrong(message)
        if why or not isinstance(message, dict):
            await self._mistake(why)
        elif message.get("close_socket"):
            self._ending = True
            for context in list(self._contexts.values()):
                self._leave(context)
            if not self._workers:
                await self.close(1000)
        elif (name := message.get("context_id") or "default") in self._contexts:
            await self._continue(self._contexts[name], message)
        elif not message.get("close_context"):
            await self._begin(name, message)

    def _wrong(self, message: dict[str, Any]) -> str:
        """What is wrong with the shape of a message, in a few words; empty when nothing is."""
        allowed = TEXT_KEYS | FIRST_KEYS | {"generator_config"} | (CONTEXT_KEYS if self._many else set())
        if surplus := sorted(message.keys() - allowed):
            return f"unknown: {', '.join(surplus)}"
        controls = ("flush", "close_context", "close_socket")
        if "text" not in message and not (self._many and any(message.get(name) for name in controls)):
            return "no text"
        kinds = {"text": str, "context_id": str, "generation_config": dict, **dict.fromkeys(controls, bool)}
        for name, kind in kinds.items():
            if message.get(name) is not None and not isinstance(message[name], kind):
                return f"wrong type of {name}"
        if complaint := settings_complaint(message.get("voice_settings"), where=("voice_settings",)):
            return complaint.message
        schedule = (message.get("generation_config") or {}).get("chunk_length_schedule", SCHEDULE)
        if not schedule or not all(isinstance(item, int | float) and 50 <= item <= 500 for item in schedule):
            return "chunk_length_schedule has items from 50 to 500"
        return ""

    async def _begin(self, name: str, message: dict[str, Any]) -> None:
        if not self._admitted:
            given = message.get("xi-api-key") or message.get("xi_api_key")
            if given != self._key:
                self._studio.refuse(self._transport, "no valid key in the header or the first message")
                await self._end("invalid_api_key", "Invalid API key")
                return
            self._admitted = True
        if message.get("text") != " ":
            await self._mistake("the first message must have a single space as its text")
        elif len(self._workers) >= (CONTEXTS if self._many else 1):
            self._studio.refuse(self._transport, TOO_MANY)
            await self._end("max_active_conversations", TOO_MANY)
        else:
            context = _Context(name, message, self._heard)
            self._contexts[name] = context
            worker = asyncio.get_running_loop().create_task(self._work(context))
            self._workers[worker] = context

    async def _continue(self, context: "_Context", message: dict[str, Any]) -> None:
        context.heard = self._heard
        if changed := context.changed(message):
            await self._mistake(f"{changed} can be given in the first message only")
            return
        if message.get("close_context"):
            self._leave(context)
            return
        text = message.get("text") or ""
        if text == "" and "text" in message and not self._many:
            context.flush()
            self._leave(context)
            self._ending = True
            return
        context.add(text, at_once=self._auto)
        if message.get("flush"):
            context.flush()

    def _leave(self, context: "_Context") -> None:
        """Take no more text; what was flushed before is still said, and what was not is dropped."""
        self._contexts.pop(context.name, None)
        context.queue.put_nowait(None)

    async def _work(self, context: "_Context") -> None:
        """Say what a context has to say, then that this was all."""
        while (text := await context.queue.get()) is not None:
            with self._studio.streams.counted():
                await self._utter(context, text)
        with contextlib.suppress(ConnectionError):
            await self._send(
                context, {"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None}
            )
        if worker := asyncio.current_task():
            self._workers.pop(worker, None)
        if self._ending and not self._workers:
            await self.close(1000)

    async def _utter(self, context: "_Context", text: str) -> None:
        fault = self._studio.take_fault(*FAULTS)
        name, options = (fault.name, fault.options) if fault else ("", {})
        if name == "quota":
            await self._end(QUOTA.code, QUOTA.message)
        elif name == "500":
            await self._end("internal_server_error", SORRY)
        elif name == "hang":
            await self._studio.streams.pause()
        elif name in RUBBISH:
            await self._ws.send_str(RUBBISH[name])
        if name in {"quota", "500", "hang", "empty", *RUBBISH}:
            return
        if name == "slow":
            await self._studio.streams.pause(float(options.get("seconds", 1.0)))
        sound = self._studio.say(
            text,
            voice=self._voice,
            model=self._model,
            transport=self._transport,
            output_format=self._format,
            context=context.name if self._many else "",
        )
        if name == "silent":
            sound = silence_like(sound, self._format)
        whole, at = len(sound), 0
        if name in {"cut", "close"}:
            sound = sound[: whole // 2]
        for piece in pieces(sound, *SIZES):
            times = _alignment(text, whole, at, at + len(piece)) if self._aligned else None
            if not self._aligned and at == 0:
                times = _alignment(text, whole, 0, whole)
            at += len(piece)
            audio = base64.b64encode(piece).decode()
            frame = {"audio": audio, "isFinal": None, "alignment": times, "normalizedAlignment": times}
            await self._send(context, frame)
            await self._studio.streams.pause(self._studio.chunk_delay)
        if name == "cut":
            break_off(self._request)
        elif name == "close":
            await self.close(int(options.get("code", 1011)), SORRY)

    async def _send(self, context: "_Context", frame: dict[str, Any]) -> None:
        await self._ws.send_json(frame | ({"contextId": context.name} if self._many else {}))

    def _time_left(self, now: float) -> float | None:
        if self._ending:
            return None
        started = [context.heard for context in self._contexts.values()]
        # To aiohttp a timeout of 0 means none.
        return max(min(started, default=self._heard) + self._patience - now, 0.001)

    async def _expire(self, now: float) -> None:
        """End what got no input for too long: a context when there are many, else the connection."""
        idle = [context for context in self._contexts.values() if context.heard + self._patience <= now]
        if self._many and self._contexts:
            for context in idle:
                self._leave(context)
            return
        if self._heard + self._patience <= now:
            await self._end("input_timeout_exceeded", IDLE.format(seconds=f"{self._patience:g}"))

    async def _mistake(self, why: str) -> None:
        self._studio.refuse(self._transport, why)
        await self._end("invalid_input_message", MISTAKE)

    async def _end(self, error: str, message: str) -> None:
        """Tell what went wrong, and close."""
        with contextlib.suppress(ConnectionError):
            await self._ws.send_json({"message": message, "error": error, "code": 1008})
        await self.close(1008, message)


class _Context:
    """One text that is said as it comes."""

    def __init__(self, name: str, first: Mapping[str, Any], heard: float) -> None:
        self.name = name
        self.heard = heard
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        """What to say, one utterance each; None ends it."""
        self._first = first
        self._schedule = list((first.get("generation_config") or {}).get("chunk_length_schedule", SCHEDULE))
        self._buffer = ""

    def changed(self, message: Mapping[str, Any]) -> str:
        """The name of a setting that comes too late."""
        late = (name for name in FIRST_KEYS if message.get(name) not in (None, self._first.get(name)))
        return next(late, "")

    def add(self, text: str, *, at_once: bool) -> None:
        """Take more text, and say it as soon as there is enough."""
        self._buffer += text
        if at_once or len(self._buffer) >= self._schedule[0]:
            self.flush()
            if len(self._schedule) > 1:
                del self._schedule[0]

    def flush(self) -> None:
        """Say what there is."""
        if self._buffer.strip():
            self.queue.put_nowait(self._buffer.strip())
        self._buffer = ""


def _alignment(text: str, whole: int, begin: int, end: int) -> dict[str, list[Any]] | None:
    """When the characters sound that start between two bytes, in ms from the first of these bytes."""
    width = whole / len(text)
    inside = [at for at in range(len(text)) if begin <= at * width < end]
    if not inside:
        return None
    ms = 60 / width
    return {
        "chars": [text[at] for at in inside],
        "charStartTimesMs": [round((at * width - begin) * ms) for at in inside],
        "charDurationsMs": [60] * len(inside),
    }
