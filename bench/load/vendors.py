"""The vendors, as quick as programmed: OpenAI hears, a chat model writes, ElevenLabs speaks, Twilio takes orders."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from load.http import Connection, Pending, Refusal, Request, Socket, Timing, now
from load.script import TOKENS, Script, reference_in, references_in
from load.sound import FRAME, RATE, speech
from load.transcribing import Listening

ACCOUNT, AUTH_TOKEN = "AC" + "0" * 31 + "b", "bench-token"
OPENAI_KEY, CHAT_KEY, VOICE_KEY = "sk-bench", "sk-bench-chat", "xi-bench"
VOICE = "54noaetjxv80HAvkIbfQ"
CHUNK = RATE // 10
"""Bytes of one piece of a voice: 100 ms."""
_CHAT_FIELDS = {
    "model", "messages", "stream", "stream_options", "temperature", "max_tokens", "max_completion_tokens",
    "reasoning_effort", "tools", "tool_choice", "user",
}  # fmt: skip
_VOICE_FIELDS = {"text", "model_id", "voice_settings", "language_code", "seed", "apply_text_normalization"}
_ORDER_FIELDS = {"Status", "Twiml", "Url", "Method", "StatusCallback", "StatusCallbackMethod", "TimeLimit"}


@dataclass
class Account:
    """What came in and went out, by call and turn."""

    told: set[tuple[int, int]] = field(default_factory=set)
    """Utterances of which at least the first words were told."""
    unclear: int = 0
    """Utterances whose sound did not arrive so that it could be told whose it was."""
    asked: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How often the model was asked about each."""
    unasked_for: int = 0
    """Requests to the model with words that nobody said."""
    counts: Counter[str] = field(default_factory=Counter)


class Vendors:
    """All vendors on one port of loopback.

    Args:
        script: What callers say and how long vendors take.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.timing = Timing()
        self.account = Account()
        self.refused: Counter[str] = Counter()
        self.status_urls: dict[str, str] = {}
        """Where the service wants to be told how a call ended, by the call's id."""
        self._server: asyncio.Server
        self.url = ""

    async def __aenter__(self) -> "Vendors":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._handle, self.refused), "127.0.0.1", 0, backlog=1024
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    def transcript_of(self, number: tuple[int, int] | None) -> str:
        """The words of an utterance, by the number in its sound."""
        if number is None:
            self.account.unclear += 1
            return "I could not make that out"
        self.account.told.add(number)
        return self.script.question_text(number)

    def _handle(self, request: Request, connection: Connection) -> Socket | None:
        path, parts = request.path, request.path.strip("/").split("/")
        match request.method, parts:
            case "GET", ["v1", "realtime"]:
                return self._listen(request)
            case "GET", ["v1", "models"]:
                connection.answer(200, {"object": "list", "data": [{"id": "grok-4.3", "object": "model"}]})
            case "POST", ["v1", "chat", "completions"]:
                _Reply(self, connection).begin(request)
            case "POST", ["v1", "text-to-speech", voice, "stream"] if voice == VOICE:
                _Voice(self, connection).begin(request)
            case "POST", ["2010-04-01", "Accounts", _, "Calls", call] if call.endswith(".json"):
                self._order(request, connection, call.removesuffix(".json"))
            case "GET", ["2010-04-01", "Accounts", _, "Calls", call] if call.endswith(".json"):
                _tell_call(connection, call.removesuffix(".json"), path, "in-progress")
            case _:
                raise Refusal(404, f"there is nothing at {path}")
        return None

    def _listen(self, request: Request) -> Socket:
        _require_key(request, "authorization", f"Bearer {OPENAI_KEY}")
        if request.headers.get("upgrade", "").lower() != "websocket":
            raise Refusal(400, "this is a WebSocket")
        if request.query != {"intent": "transcription"}:
            raise Refusal(400, "the address has to say intent=transcription")
        self.account.counts["transcription sessions"] += 1
        return Listening(self, self.account.counts["transcription sessions"])

    def _order(self, request: Request, connection: Connection, call: str) -> None:
        fields = request.form()
        if extra := set(fields) - _ORDER_FIELDS:
            raise Refusal(400, f"an order to Twilio has no {min(extra)}")
        self.account.counts["orders to Twilio"] += 1
        if url := fields.get("StatusCallback"):
            self.status_urls[call] = url
        if fields.get("Status") == "completed":
            self.account.counts["calls ended by the service"] += 1
        _tell_call(connection, call, request.path, fields.get("Status", "in-progress"))


def _tell_call(connection: Connection, call: str, path: str, status: str) -> None:
    connection.answer(200, {"sid": call, "account_sid": ACCOUNT, "status": status, "uri": path})


def _require_key(request: Request, header: str, value: str) -> None:
    if request.headers.get(header) != value:
        raise Refusal(401, f"the {header} is wrong")


class _Stream:
    """An answer that comes piece by piece, and ends when the service leaves."""

    def __init__(self, vendors: Vendors, connection: Connection) -> None:
        self._vendors = vendors
        self._connection = connection
        self._next: Pending | None = None

    def _left(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._vendors.account.counts[f"{type(self).__name__[1:].lower()} cancelled"] += 1

    def _at(self, when: float, act: Callable[[], None]) -> None:
        self._next = self._vendors.timing.at(when, act)


class _Reply(_Stream):
    """A chat completion: one token at a time."""

    def begin(self, request: Request) -> None:
        _require_key(request, "authorization", f"Bearer {CHAT_KEY}")
        body = request.json()
        messages = body.get("messages")
        if extra := set(body) - _CHAT_FIELDS:
            raise Refusal(400, f"unrecognized request argument: {min(extra)}")
        if not body.get("stream") or not body.get("model") or not isinstance(messages, list):
            raise Refusal(400, "model, messages and stream have to be there")
        said = [message for message in messages if message.get("role") == "user"]
        numbers = references_in(json.dumps(said[-1].get("content"))) if said else []
        number = numbers[-1] if numbers else None
        account = self._vendors.account
        account.counts["model requests"] += 1
        account.unasked_for += not numbers or not account.told.issuperset(numbers)
        account.asked.update(numbers)
        text = (
            self._vendors.script.reply_text(number) if number else "I did not get that. Please say it again."
        )
        self._tokens = TOKENS.findall(text)
        self._usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._head = {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
        }
        self._begun, self._sent = now(), 0
        self._connection.on_lost = self._left
        self._at(self._begun + self._vendors.script.latencies.first_token / 1000, self._token)

    def _token(self) -> None:
        if self._sent == 0:
            self._connection.begin("text/event-stream", self._left)
        delta = {"content": self._tokens[self._sent]} | ({} if self._sent else {"role": "assistant"})
        self._put([{"index": 0, "delta": delta, "finish_reason": None}])
        self._sent += 1
        if self._sent < len(self._tokens):
            latencies = self._vendors.script.latencies
            due = self._begun + (latencies.first_token + latencies.token * self._sent) / 1000
            self._at(due, self._token)
            return
        self._put([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        if self._usage:
            self._put(
                [],
                usage={"prompt_tokens": 20, "completion_tokens": self._sent, "total_tokens": 20 + self._sent},
            )
        self._connection.piece(b"data: [DONE]\n\n")
        self._connection.end()

    def _put(self, choices: list[dict[str, Any]], **more: Any) -> None:
        chunk = {**self._head, "choices": choices, **more}
        self._connection.piece(b"data: " + json.dumps(chunk).encode() + b"\n\n")


class _Voice(_Stream):
    """An utterance of ElevenLabs, made faster than it plays."""

    def begin(self, request: Request) -> None:
        _require_key(request, "xi-api-key", VOICE_KEY)
        body = request.json()
        if extra := set(body) - _VOICE_FIELDS:
            raise Refusal(400, f"unknown field {min(extra)}")
        if request.query != {"output_format": "ulaw_8000"} or not body.get("text"):
            raise Refusal(400, "text and output_format=ulaw_8000 have to be there")
        script = self._vendors.script
        frames = max(1, round(len(body["text"]) / script.characters_per_second * RATE / FRAME))
        self._audio = speech(frames, reference_in(body["text"]))
        self._vendors.account.counts["utterances spoken"] += 1
        self._begun, self._sent = now(), 0
        self._connection.on_lost = self._left
        self._at(self._begun + script.latencies.first_audio / 1000, self._chunk)

    def _chunk(self) -> None:
        if self._sent == 0:
            self._connection.begin("audio/basic", self._left)
        self._connection.piece(self._audio[self._sent : self._sent + CHUNK])
        self._sent += CHUNK
        if self._sent >= len(self._audio):
            self._connection.end()
            return
        latencies = self._vendors.script.latencies
        made = self._sent / RATE / latencies.audio_speed
        self._at(self._begun + latencies.first_audio / 1000 + made, self._chunk)
