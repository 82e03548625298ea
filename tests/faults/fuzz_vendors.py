"""What vendors send: speech to text, text to speech, chat models, and refusals of all of them."""

import asyncio
import base64
import json
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import httpx2
from fuzz_common import said, storable, waited_for
from openai import AsyncOpenAI
from pydantic import SecretStr

from openclaw_voicecall.api.responder import EndCall, SendDtmf, TextDelta, Tool, Transfer, TurnRequest
from openclaw_voicecall.api.speech import Heard, SpeechEdge, SpeechRequest
from openclaw_voicecall.api.turntools import TurnTools
from openclaw_voicecall.errors import ConfigError, RemoteProtocolError, VendorError
from openclaw_voicecall.media.audio import SAMPLE_RATE
from openclaw_voicecall.providers import _http, _socket
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.connection import ChatConnection, _listed
from openclaw_voicecall.providers.chat.responder import ChatResponder
from openclaw_voicecall.providers.chat.spoken import SpokenText
from openclaw_voicecall.providers.chat.tools import ToolCall, run_all
from openclaw_voicecall.providers.chat.vendors import VENDORS
from openclaw_voicecall.providers.deepgram.listening_protocol import DeepgramListening
from openclaw_voicecall.providers.elevenlabs.account import Account, read_refusal
from openclaw_voicecall.providers.elevenlabs.scribe import ScribeSession
from openclaw_voicecall.providers.elevenlabs.speech_socket import _Line
from openclaw_voicecall.providers.openai.account import _said as openai_said
from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig
from openclaw_voicecall.providers.openai.session_config import SessionSettings, session_update
from openclaw_voicecall.providers.openai.speech import OpenAISynthesizer, parts
from openclaw_voicecall.providers.openai.transcription import TranscriptionSession
from openclaw_voicecall.providers.twilio.rest import _Answer, _failure
from openclaw_voicecall.providers.xai.listening_protocol import XaiListening
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import Binary, JsonText, Series, Text, Tree

FRAME = b"\x7f" * 160
LONGEST = 64 * 1024
"""Characters that an utterance may have, whatever a vendor sends."""
WORDS = ("hello", "what", "time", "is", "it", "two", "Zoë", "你好", "don't", "4.5")
DEED = "do:"
"""Marks items of a series that are no message of the vendor but what our side does in between."""


def words(random: Random) -> str:
    return " ".join(random.choices(WORDS, k=random.randrange(5)))


def heard(event: Any, sent: float) -> None:
    """Check what became of a message."""
    match event:
        case Heard(text, final):
            assert len(storable(text)) <= LONGEST, f"{len(text)} characters in one utterance"
            assert isinstance(final, bool)
        case SpeechEdge(speaking, ago):
            assert isinstance(speaking, bool)
            assert math.isfinite(ago)
            assert 0 <= ago <= sent + 1, f"an edge {ago:g} s ago, of {sent:g} s of audio"
        case _:
            raise AssertionError(f"{type(event).__name__} is no event of a transcriber")


def with_deeds(random: Random, messages: list[str], deeds: tuple[str, ...]) -> list[str]:
    for _ in range(random.randrange(4)):
        messages.insert(random.randrange(len(messages) + 1), DEED + random.choice(deeds))
    return messages


def deepgram_messages(random: Random) -> list[str]:
    messages = []
    at = 0.0
    for _ in range(random.randrange(1, 6)):
        said, length = words(random), random.random()
        found = [{"word": word, "start": at, "end": at + length, "confidence": 0.9} for word in said.split()]
        results = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": at,
            "duration": length,
            "is_final": random.random() < 0.5,
            "speech_final": random.random() < 0.3,
            "channel": {"alternatives": [{"transcript": said, "confidence": 0.9, "words": found}]},
        }
        if random.random() < 0.1:
            results["from_finalize"] = True
        others = (
            {"type": "SpeechStarted", "channel": [0, 1], "timestamp": at},
            {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": at},
            {"type": "Metadata", "request_id": "x", "duration": at},
        )
        messages.append(json.dumps(random.choice((results, results, *others))))
        at += length
    return with_deeds(random, messages, ("audio", "finish", "overdue", "last", "detector"))


def deepgram_result(*, start: float = 6.0, words: Any = ()) -> str:
    found = [{"transcript": "hello", "words": list(words)}]
    ended = {"is_final": True, "speech_final": True, "channel": {"alternatives": found}}
    return json.dumps({"type": "Results", "start": start, "duration": 7, **ended})


def listen(listening: Any, items: list[str]) -> None:
    """A codec of `_listening` through a series of messages and deeds."""
    error = None
    for item in items:
        deed = item.removeprefix(DEED)
        try:
            match deed if deed != item else "":
                case "audio":
                    events = listening.audio_sent(FRAME * 50)
                case "finish":
                    json.loads(listening.finish())
                    events = ()
                case "overdue":
                    events = listening.overdue()
                case "last":
                    events = listening.last_words()
                case "detector":
                    events = listening.detector_spoke() or ()
                case _:
                    events = listening.receive(item)
            for event in events:
                heard(event, listening.sent)
        except VendorError as failure:
            error = failure
            said(failure)
        assert 0 <= listening.owed <= len(items)
    for event in listening.last_words():
        heard(event, listening.sent)
    assert listening.owed == 0
    said(listening.closed(1006, listening.complaint), LONGEST)
    if error is not None:
        raise error


def xai_messages(random: Random) -> list[str]:
    messages = [json.dumps({"type": "transcript.created", "id": "x"})]
    at = 0.0
    for _ in range(random.randrange(1, 6)):
        length = random.random() * 3
        partial = {
            "type": "transcript.partial",
            "text": words(random),
            "is_final": random.random() < 0.5,
            "speech_final": random.random() < 0.3,
            "start": at,
            "duration": length,
        }
        others = ({"type": "transcript.done", "text": words(random)}, {"type": "error", "message": "no"})
        messages.append(json.dumps(random.choice((partial, partial, partial, *others))))
        at += length
    return with_deeds(random, messages, ("audio", "finish", "overdue", "last", "detector"))


SETTINGS = {
    "connect": SessionSettings(model="gpt-4o-transcribe", language="en"),
    "manual": SessionSettings(model="whisper", server_vad=False),
}
"""By the deed that connects."""


def session_updated(way: str) -> str:
    return json.dumps(json.loads(session_update(SETTINGS[way], "x")) | {"type": "session.updated"})


def openai_messages(random: Random) -> list[str]:
    kind = "conversation.item.input_audio_transcription."
    way = random.choice(list(SETTINGS))
    messages: list[dict[str, Any]] = [
        {"type": "session.created", "session": {"type": "transcription"}},
        json.loads(session_updated(way)),
    ]
    previous = None
    for number in range(random.randrange(4)):
        item, said = f"item_{number}", words(random)
        about = {"item_id": item, "content_index": 0}
        messages += random.sample(
            [
                {
                    "type": "input_audio_buffer.speech_started",
                    "item_id": item,
                    "audio_start_ms": number * 900,
                },
                {
                    "type": "input_audio_buffer.speech_stopped",
                    "item_id": item,
                    "audio_end_ms": number * 900 + 500,
                },
                {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous},
                {"type": f"{kind}delta", "delta": said, **about},
                {"type": f"{kind}completed", "transcript": said, **about},
            ],
            k=5 if random.random() < 0.5 else random.randrange(6),
        )
        previous = item
    return [
        DEED + way,
        *with_deeds(random, list(map(json.dumps, messages)), ("audio", "started", "stopped", "finish")),
    ]


def transcribe_by_openai(items: list[str]) -> None:
    session = TranscriptionSession(SETTINGS["manual" if f"{DEED}manual" in items else "connect"])
    sent, error = 0.0, None
    for item in items:
        deed = item.removeprefix(DEED)
        try:
            match deed if deed != item else "":
                case "connect" | "manual":
                    session.connected()
                case "audio":
                    session.send(FRAME * 50)
                    sent += len(FRAME) * 50 / SAMPLE_RATE
                    session.require_answers()
                case "started":
                    session.speech_started()
                case "stopped":
                    session.speech_stopped()
                case "finish":
                    session.finish_utterance()
                case _:
                    session.receive(item)
        except VendorError as failure:
            error = failure
            said(failure)
        for message in session.take_messages():
            assert json.loads(message)["type"]
        for event in session.take_events():
            heard(event, sent)
    session.end()
    for event in session.take_events():
        heard(event, sent)
    if error is not None:
        raise error


def scribe_messages(random: Random) -> list[str]:
    messages = [{"message_type": "session_started", "session_id": "x", "config": {}}]
    for _ in range(random.randrange(6)):
        kind = random.choice(("partial_transcript", "committed_transcript", "commit_throttled"))
        messages.append({"message_type": kind, "text": words(random)})
    return with_deeds(random, list(map(json.dumps, messages)), ("audio", "pause", "finish"))


def transcribe_by_scribe(items: list[str]) -> None:
    error: Exception | None = None
    for vendor_commits in (True, False):
        session = ScribeSession(vendor_commits=vendor_commits)
        for item in items:
            deed = item.removeprefix(DEED)
            try:
                match deed if deed != item else "":
                    case "audio":
                        sent, events = session.audio(FRAME * 400), ()
                    case "pause":
                        sent, events = session.pause(), ()
                    case "finish":
                        sent, events = session.finish()
                    case _:
                        sent, events = (), session.receive(item)
            except (VendorError, RemoteProtocolError) as failure:
                error = failure
                said(failure)
                continue
            for message in sent:
                assert json.loads(message)["message_type"] == "input_audio_chunk"
            for event in events:
                heard(event, 1e9)
            assert session.owed >= 0
    if error is not None:
        raise error


WHO = Account("https://vendor.example", "secret-key", "tts.providers.elevenlabs")


class DeafLine(_Line):
    """A socket for speech that never connects: messages are put in by hand."""

    async def _run(self) -> None:
        return


def speech_messages(random: Random) -> list[str]:
    audio = base64.b64encode(random.randbytes(random.randrange(1, 300))).decode()
    context = f"utterance-{random.randrange(1, 3)}"
    found = [
        {"audio": audio, "contextId": context, "isFinal": False, "alignment": None},
        {"audio": None, "contextId": context, "isFinal": True},
        {"contextId": context, "isFinal": True},
    ]
    return [json.dumps(random.choice(found)) for _ in range(random.randrange(1, 5))]


async def _speak_by_socket(items: list[str]) -> None:
    line = DeafLine("ws://127.0.0.1/", WHO)
    line.say("Hello.", {"speed": 1.0})
    line.say("Good day.", {})
    error = None
    for item in items:
        try:
            line._receive(item)
        except VendorError as failure:
            error = failure
            said(failure)
        assert 0 <= line.unfinished <= 2
    limit = sum(map(len, items))
    while not line._pieces.empty():
        piece = line._pieces.get_nowait()
        assert isinstance(piece, bytes)
        assert len(piece) <= limit
    await line.task
    if error is not None:
        raise error


def chunk(**changes: Any) -> dict[str, Any]:
    delta = {
        key: changes.pop(key)
        for key in ("content", "tool_calls", "role", "reasoning_content")
        if key in changes
    }
    choice = {"index": 0, "delta": delta, "finish_reason": changes.pop("finish_reason", None)}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **changes,
    }


def chat_chunks(random: Random) -> list[str]:
    chunks = [chunk(role="assistant", content="")]
    for _ in range(random.randrange(1, 5)):
        chunks.append(
            chunk(
                content=words(random)
                + random.choice((" ", ". ", "? ", "<think>no</think>", '{"say": "Yes."}'))
            )
        )
    if random.random() < 0.5:
        name = random.choice(("end_call", "send_digits", "transfer_call", "look_up"))
        arguments = {"reason": "done", "digits": "12#", "to": "+15550001234", "word": "x"}
        call = {"index": 0, "id": "t1", "type": "function", "function": {"name": name, "arguments": ""}}
        more = {"index": 0, "function": {"arguments": json.dumps(arguments)}}
        chunks += [chunk(tool_calls=[call]), chunk(tool_calls=[more])]
    finish = chunk(content="All done.", finish_reason="stop")
    usage = {
        **chunk(),
        "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    return list(map(json.dumps, [*chunks, finish, usage]))


async def _look_up(arguments: Any) -> str:
    return json.dumps(dict(arguments))[:1000]


TURN = TurnRequest(
    call_id="c",
    turn=1,
    text="Hello?",
    can_transfer=True,
    tools=(Tool(name="look_up", description="Looks up.", parameters={}, run=_look_up),),
)
VENDOR = next(vendor for vendor in VENDORS if vendor.name == "openai")


class _Streamed:
    """What aiohttp gives of an answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.reason, self.headers = status, "", headers
        self.content = asyncio.StreamReader()
        self.content.feed_data(body)
        self.content.feed_eof()
        self.content.iter_any = self._pieces

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await self.content.read(997):
            yield piece


class _Session:
    """A vendor that answers with these bodies, the last of them for ever."""

    def __init__(self, status: int, headers: dict[str, str], bodies: list[bytes]) -> None:
        self._head, self._bodies = (status, headers), deque(bodies)

    @asynccontextmanager
    async def post(self, url: str, *, data: str, **options: Any) -> AsyncIterator[_Streamed]:
        json.loads(data)
        yield _Streamed(*self._head, self._bodies.popleft() if len(self._bodies) > 1 else self._bodies[0])


async def _respond(status: int, headers: dict[str, str], bodies: list[bytes]) -> None:
    """A turn whose requests are answered with these bodies."""
    connection = ChatConnection("http://127.0.0.1:1/v1", "k", {}, silence=1.0)
    await connection.close()
    connection._session = _Session(status, headers, bodies)
    responder = ChatResponder(connection, VENDOR, ChatConfig(api_key=SecretStr("k")), "gpt-x")
    try:
        async for event in responder.respond(TURN):
            match event:
                case TextDelta(text):
                    storable(text)
                case EndCall(reason):
                    assert len(storable(reason)) <= 200
                case SendDtmf(digits):
                    assert set(digits) <= set("0123456789*#ABCD")
                case Transfer(number):
                    assert number.isascii()
                    assert number.startswith("+")
    except VendorError as error:
        said(error, 1500)
        raise


STREAM = {"content-type": "text/event-stream"}


def as_events(chunks: list[str]) -> bytes:
    lines = "".join(f"data: {item}\n\n" for item in (*chunks, "[DONE]"))
    return lines.encode("utf-8", "surrogatepass")


def write_reply(chunks: list[str]) -> None:
    done = chat_done()
    waited_for(_respond(200, STREAM, [as_events(chunks), done]))


def chat_done() -> bytes:
    return as_events([json.dumps(chunk(content="Goodbye.", finish_reason="stop"))])


def refuse_chat(answer: Any) -> None:
    answer = answer if isinstance(answer, dict) else {}
    status = answer.get("status")
    code = status if isinstance(status, int) and 200 <= status <= 599 and status not in (204, 304) else 500
    body = answer.get("body")
    content = (
        body.encode("utf-8", "surrogatepass")
        if isinstance(body, str)
        else json.dumps(body, default=str).encode()
    )
    waited_for(_respond(code, header_texts(answer.get("headers")), [content]))


def is_token(text: str) -> bool:
    """Whether a header may have this name (RFC 9110, 5.6.2), or nearly so."""
    return bool(text) and text.isascii() and text.replace("-", "").isalnum()


def header_texts(headers: Any) -> dict[str, str]:
    """Headers as an HTTP library would let them through."""
    texts = {str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    plain = {
        name: "".join(char for char in value if char.isprintable() and char.isascii())
        for name, value in texts.items()
    }
    return {name: value for name, value in plain.items() if is_token(name) and name.lower() not in _FRAMING}


_FRAMING = ("content-encoding", "transfer-encoding", "content-length", "location")


def refusal(random: Random) -> dict[str, Any]:
    error = {
        "message": "No such model: x.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
    return {
        "status": random.choice((400, 401, 403, 404, 408, 429, 500, 503)),
        "headers": {"content-type": "application/json", "retry-after": "2", "x-request-id": "r1"},
        "body": json.dumps(
            random.choice(({"error": error}, [{"error": error}], {"error": "no"}, {"detail": "no"}))
        ),
    }


def take_refusal(answer: Any) -> None:
    """Every reader of refusals on one and the same answer."""
    answer = answer if isinstance(answer, dict) else {}
    body = answer.get("body")
    text = body if isinstance(body, str) else json.dumps(body, default=str)
    status = answer.get("status") if answer.get("status") in range(100, 600) else 400
    headers = header_texts(answer.get("headers"))
    sendable = text.encode("utf-8", "replace").decode()
    code, message = read_refusal(sendable)
    errors = (
        WHO.refusal("speak", status, code, message, headers),
        _http.failure(
            "vendor", "speak", status, _socket._said(text.encode("utf-8", "surrogatepass")), headers=headers
        ),
        _http.failure("openai", "list models", status, openai_said(sendable), headers=headers),
        _failure("place call", _Answer(status, sendable, headers)),
    )
    for error in errors:
        said(error)
        wait = error.retry_after
        assert wait is None or (wait >= 0 and math.isfinite(wait)), f"a wait of {wait} s"


def push_spoken(text: str) -> None:
    """The same words come out however the text was cut."""
    whole = SpokenText().push(text)
    single = SpokenText()
    assert "".join(map(single.push, text)) == whole
    assert len(whole) <= len(text)


def reply_text(random: Random) -> str:
    said = words(random)
    return random.choice(
        (
            f"<think>{said}</think>{said}.",
            json.dumps({"spoken": said, "x": [1]}),
            f"```json\n[{{'say': '{said}'}}]\n```",
            said,
        )
    )


def run_tools(calls: list[Any]) -> None:
    made = [
        ToolCall(id="t", name=str(call.get("name", "")), arguments=str(call.get("arguments", "")))
        for call in (calls if isinstance(calls, list) else [])
        if isinstance(call, dict)
    ]
    tools = TurnTools(TURN)

    async def run() -> None:
        results, _ = await run_all(tools, made)
        assert len(results) == len(made)
        for result in results:
            assert len(result["content"]) <= 8000
        for event in tools.take_events():
            assert isinstance(event, SendDtmf)
            assert set(event.digits) <= set("0123456789*#ABCD")

    waited_for(run())
    if isinstance(tools.last, Transfer):
        assert tools.last.to.startswith("+")


def tool_calls(random: Random) -> list[dict[str, str]]:
    arguments = {"reason": "done", "digits": "1 2-3#", "to": "+15550001234"}
    names = ("end_call", "send_digits", "transfer_call", "look_up", "nothing")
    return [
        {"name": random.choice(names), "arguments": json.dumps(arguments)}
        for _ in range(random.randrange(1, 4))
    ]


async def _speak_by_openai(body: bytes) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        json.loads(request.content)
        return httpx2.Response(200, headers={"content-type": "audio/pcm"}, content=body)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = AsyncOpenAI(api_key="k", base_url="http://127.0.0.1:1/v1", http_client=http, max_retries=0)
    try:
        speech = OpenAISynthesizer(client, OpenAISynthesizerConfig(api_key=SecretStr("k")))
        audio = b"".join([piece async for piece in speech.speak(SpeechRequest(call_id="c", text="Hello."))])
        assert 0 < len(audio) <= len(body) // 6 + 400
    finally:
        await client.close()


def cut_for_openai(text: str) -> None:
    pieces = parts(text, "en")
    assert all(0 < len(piece) <= 4096 for piece in pieces)


def address(text: str) -> None:
    base = _http.base_address(text, "https://vendor.example", setting="tts.baseUrl")
    assert base == "https://vendor.example" or base.lower().startswith(("https://", "http://"))
    assert _http.socket_address(base, "/x").startswith("ws")


WIRE = "openclaw_voicecall.providers"
TOOLS_OF_TURNS = "openclaw_voicecall.api.turntools"
TARGETS = (
    Target(
        name="deepgram",
        kind=Series(JsonText(256 * 1024)),
        make=deepgram_messages,
        feed=lambda items: listen(DeepgramListening(edges=True), items),
        refusals=(VendorError,),
        known=(
            ["do:audio", deepgram_result(words=[{"start": 1, "end": -62135596801}])],
            ["do:audio", deepgram_result(start=float("-inf"))],
            ["do:audio", deepgram_result(start=float("nan"))],
            [deepgram_result().replace("hello", r"\udc00")],
        ),
        parsers=(f"{WIRE}.deepgram.listening_protocol", f"{WIRE}._messages"),
    ),
    Target(
        name="xai",
        kind=Series(JsonText(256 * 1024)),
        make=xai_messages,
        feed=lambda items: listen(XaiListening(), items),
        refusals=(VendorError,),
        known=([r'{"type":"transcript.partial","text":"\udc00"}'],),
        parsers=(f"{WIRE}.xai.listening_protocol", f"{WIRE}._messages"),
    ),
    Target(
        name="openai transcription",
        kind=Series(JsonText(256 * 1024)),
        make=openai_messages,
        feed=transcribe_by_openai,
        refusals=(VendorError,),
        known=(
            [f"{DEED}connect", session_updated("connect").replace("0.5", "9" * 400)],
            [
                r'{"type":"conversation.item.input_audio_transcription.completed","transcript":"\ud800","item_id":""}'
            ],
        ),
        parsers=(f"{WIRE}.openai.transcription", f"{WIRE}.openai.messages", f"{WIRE}.openai.items"),
    ),
    Target(
        name="scribe",
        kind=Series(JsonText(256 * 1024)),
        make=scribe_messages,
        feed=transcribe_by_scribe,
        refusals=(VendorError, RemoteProtocolError),
        known=([r'{"message_type":"committed_transcript","text":"\ud800"}'],),
        parsers=(f"{WIRE}.elevenlabs.scribe", f"{WIRE}.elevenlabs.transcriber"),
    ),
    Target(
        name="elevenlabs speech socket",
        kind=Series(JsonText(256 * 1024)),
        make=speech_messages,
        feed=lambda items: waited_for(_speak_by_socket(items)),
        refusals=(VendorError,),
        parsers=(f"{WIRE}.elevenlabs.speech_socket",),
    ),
    Target(
        name="chat stream",
        kind=Series(JsonText()),
        make=chat_chunks,
        feed=write_reply,
        refusals=(VendorError,),
        seconds=0.5,
        known=(
            ["[" * 5000],
            ['{"choices":[{"delta":{"tool_calls":1}}]}'],
            [r'{"choices":[{"delta":{"content":"\udc00."}}]}'],
        ),
        parsers=(f"{WIRE}.chat.events", f"{WIRE}.chat.replies", f"{WIRE}.chat.responder"),
    ),
    Target(
        name="chat bytes",
        kind=Binary(),
        make=lambda random: as_events(chat_chunks(random)),
        feed=lambda body: waited_for(_respond(200, STREAM, [body, chat_done()])),
        refusals=(VendorError,),
        seconds=0.5,
        parsers=(f"{WIRE}.chat.responder",),
    ),
    Target(
        name="chat refusal",
        kind=Tree(),
        make=lambda random: {
            "status": 200,
            "headers": STREAM,
            "body": as_events(chat_chunks(random)[-2:]).decode(),
        },
        feed=refuse_chat,
        refusals=(VendorError,),
        seconds=0.5,
        parsers=(f"{WIRE}.chat.failures",),
    ),
    Target(
        name="refusals",
        kind=Tree(),
        make=refusal,
        feed=take_refusal,
        known=(
            {"headers": {"retry-after": "9" * 400}},
            {"headers": {"retry-after": "nan"}, "body": "[" * 5000},
            {"body": {"detail": [{"loc": 5, "msg": []}]}},
            {"body": {"detail": "\ud800"}},
        ),
        parsers=(
            f"{WIRE}._socket",
            f"{WIRE}._http",
            f"{WIRE}.elevenlabs.account",
            f"{WIRE}.twilio.rest",
            f"{WIRE}.openai.account",
        ),
    ),
    Target(
        name="spoken text",
        kind=Text(),
        make=reply_text,
        feed=push_spoken,
        seconds=1.0,
        parsers=(f"{WIRE}.chat.spoken",),
    ),
    Target(
        name="tools",
        kind=Tree(),
        make=tool_calls,
        feed=run_tools,
        parsers=(TOOLS_OF_TURNS, f"{WIRE}.chat.tools"),
    ),
    Target(
        name="list of models",
        kind=Tree(),
        make=lambda random: {"data": [{"id": "m"}]},
        feed=_listed,
        parsers=(f"{WIRE}.chat.connection",),
    ),
    Target(
        name="openai speech",
        kind=Binary(),
        make=lambda random: random.randbytes(random.randrange(100, 2000)),
        feed=lambda body: waited_for(_speak_by_openai(body)),
        refusals=(VendorError,),
        seconds=0.5,
        parsers=(f"{WIRE}.openai.speech",),
    ),
    Target(
        name="openai text",
        kind=Text(),
        make=words,
        feed=cut_for_openai,
        seconds=3.0,
        parsers=(f"{WIRE}.openai.speech",),
    ),
    Target(
        name="address",
        kind=Text(),
        make=lambda random: "https://vendor.example:8080/v1/",
        feed=address,
        refusals=(ConfigError,),
        known=("http\ns://v", " https://e"),
        parsers=(f"{WIRE}._http",),
    ),
)
