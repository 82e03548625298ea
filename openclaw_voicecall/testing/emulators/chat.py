"""Chat completions as OpenAI, xAI, OpenRouter and many others serve them: refused strictly, streamed token by token."""

import json
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.chat_rules import (
    INVALID_KEY,
    SERVER_ERROR,
    Problem,
    chat_problem,
    key_problem,
    rate_limited,
    read_json,
    unknown_model,
)
from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import AnsweringEmulator, break_off

MODELS = ("grok-4-1-fast-reasoning", "grok-4.3", "gpt-5-mini", "gpt-5", "gpt-4o-mini")
TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
COMMENT = b": OPENROUTER PROCESSING\n\n"
HTML = "<!doctype html><title>Welcome</title><p>This network wants you to log in."

WRONG_SHAPE = {"choices": "none", "delta": None}

Reply = str | Mapping[str, Any]
"""What the model says: text, or `content`, `reasoning`, `reasoning_content`, `tool_calls` and `comments` by name.

`reasoning_content` (xAI, DeepSeek) and `reasoning` (OpenRouter, Groq) come before the content, in fields of those
names. `tool_calls` are `{"name": ..., "arguments": {...} or text, "id": "call_..."}`; the id may be left out.
`comments: True` puts OpenRouter's `: OPENROUTER PROCESSING` lines between the events.
"""
Respond = Callable[[list[dict[str, Any]], dict[str, Any]], Reply]
"""Takes the messages and the whole body of a request and makes the reply."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that was in order."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    """Without `Authorization`, names in lower case."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the client told the model."""
        return list(self.body["messages"])


class ChatEmulator(AnsweringEmulator):
    """`POST /v1/chat/completions`, streamed and whole, and `GET /v1/models`. Clients take `url + "/v1"`.

    Unknown parameters, roles, models and shapes are refused as OpenAI does, also tool results without a call and
    calls without a result. Two things are stricter than some compatible vendors: there is one choice only (`n`), and
    the content type must be JSON.

    Args:
        port: TCP port; 0 for any free one.
        key: The bearer token that is taken.
        models: Names of the models there are.
        replies: What the model says, in order; a request too many is refused. Without replies it says back what it
            heard.
        respond: Makes the replies instead.
        token_delay: Seconds from token to token.
        first_token_delay: Seconds before the first one.
    """

    vendor = "chat"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "401": "the key is refused",
        "404-model": "the model is gone; shape='xai' says so in xAI's words",
        "429": "too many requests; retry_after in seconds, 1 unless told",
        "500": "the server fails",
        "hang": "no byte ever comes",
        "hang-mid-stream": "half of the reply comes, then nothing more",
        "rubbish": "an event in the middle of the stream is no JSON",
        "empty": "the reply has no content and ends in good order",
        "cut": "the connection breaks in the middle of the reply",
        "error-in-stream": "the stream tells of an error half way, and ends",
        "slow": "a token comes every `seconds`, 1 unless told",
        "html": "200 and a web page, as from a captive portal",
        "truncated": "half of the reply comes, and the stream ends in good order, without a finish",
        "no-json": "200 and a body that is no JSON, and no event either",
        "wrong-shape": "events are JSON of another shape",
        "trickle": "tokens come for ever, every `seconds`, 0.05 unless told",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        key: str = "sk-emulated",
        models: Iterable[str] = MODELS,
        replies: Iterable[Reply] = (),
        respond: Respond | None = None,
        token_delay: float = 0.0,
        first_token_delay: float = 0.0,
    ) -> None:
        super().__init__(port=port)
        self.models = list(models)
        self.replies = deque(replies)
        """What the model will say next."""
        self.requests: list[ChatRequest] = []
        self.token_delay = token_delay
        self.first_token_delay = first_token_delay
        self._key = key
        self._respond = respond
        self._scripted = bool(self.replies)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the two routes of the API that a phone line needs, and the look-up of one model."""
        router.add_post("/v1/chat/completions", self._complete)
        router.add_get("/v1/models", self._list_models)
        router.add_get("/v1/models/{model:.+}", self._list_models)

    def state(self) -> dict[str, Any]:
        """How many requests there were, and what became of them."""
        return {
            "requests": len(self.requests),
            "open_streams": self.open_streams,
            "cancelled": self.cancelled,
            "models": self.models,
        }

    async def _list_models(self, request: web.Request) -> web.Response:
        if problem := self._refused(request):
            return problem.response()
        if (fault := self.take_fault("429", "500")) and (failure := _failure(fault, "")):
            return failure
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "emulated"} for name in self.models
        ]
        if "model" not in request.match_info:
            return web.json_response({"object": "list", "data": models})
        wanted = request.match_info["model"]
        for model in models:
            if model["id"] == wanted:
                return web.json_response(model)
        self.refuse(f"GET {request.path}", "no such model")
        return unknown_model(wanted).response()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if problem := self._refused(request):
            return problem.response()
        body = await read_json(request)
        bad = body if isinstance(body, Problem) else chat_problem(body, self.models)
        if bad is None and isinstance(body, dict) and body.get("n") not in (None, 1):
            bad = Problem("This emulator makes one choice only.", "n", "unsupported_value")
        if bad is not None:
            self.refuse("POST /v1/chat/completions", bad.message)
            return bad.response()
        assert isinstance(body, dict)  # noqa: S101 a Problem went out above
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.pop("authorization", None)
        self.requests.append(ChatRequest(body, headers))
        self.stamp("request")
        with self.streams.counted():
            return await self._answer(request, body)

    def _refused(self, request: web.Request) -> Problem | None:
        problem = key_problem(request, self._key)
        if problem is not None:
            self.refuse(f"{request.method} {request.path}", problem.message)
        elif self.take_fault("401"):
            problem = INVALID_KEY
        return problem

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.take_fault(*self.FAULTS.keys() - {"401"})
        failure = _failure(fault, body["model"]) if fault else None
        if failure is not None:
            return failure
        if fault and fault.name == "hang":
            await self.streams.pause()
            break_off(request)
            return web.Response(status=500)
        reply = self._reply(body)
        if reply is None:
            self.refuse("POST /v1/chat/completions", "there is no reply left for this request")
            return SERVER_ERROR.response()
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        answer = _Answer.of("" if fault and fault.name == "empty" else reply, limit)
        if body.get("stream"):
            return await self._stream(request, body, answer, fault)
        return await self._whole(request, body, answer, fault)

    def _reply(self, body: dict[str, Any]) -> Reply | None:
        if self._respond is not None:
            return self._respond(list(body["messages"]), body)
        if self.replies:
            return self.replies.popleft()
        return None if self._scripted else f"You said: {body['messages'][-1].get('content')}"

    async def _whole(
        self, request: web.Request, body: dict[str, Any], answer: "_Answer", fault: Fault | None
    ) -> web.StreamResponse:
        name = fault.name if fault else ""
        if name == "error-in-stream":
            return SERVER_ERROR.response()
        seconds = float(fault.options.get("seconds", 1.0)) if fault and name == "slow" else 0.0
        await self.streams.pause(self.first_token_delay + len(answer.deltas) * (seconds or self.token_delay))
        if name in {"hang-mid-stream", "trickle"}:
            await self.streams.pause()
        if name in {"hang-mid-stream", "trickle", "cut"}:
            break_off(request)
            return web.Response(status=500)
        if name in {"rubbish", "truncated"}:
            return web.Response(text='{"id": "chatcmpl-', content_type="application/json")
        if name == "wrong-shape":
            return web.json_response(WRONG_SHAPE)
        choice = {"index": 0, "message": answer.message, "logprobs": None, "finish_reason": answer.finish}
        head = _head("chat.completion", body["model"])
        return web.json_response({**head, "choices": [choice], "usage": answer.usage(body)})

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: "_Answer", fault: Fault | None
    ) -> web.StreamResponse:
        name, options = (fault.name, fault.options) if fault else ("", {})
        delay = float(options.get("seconds", 1.0)) if name == "slow" else self.token_delay
        counting = bool((body.get("stream_options") or {}).get("include_usage"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        events = _Events(response, body["model"], counting)
        await self.streams.pause(self.first_token_delay)
        await response.prepare(request)
        if answer.comments:
            await response.write(COMMENT)
        await events.delta(answer.first)
        for at, delta in enumerate(answer.deltas):
            if at == len(answer.deltas) // 2 and await self._break_down(request, response, name):
                return response
            await self.streams.pause(delay)
            if answer.comments:
                await response.write(COMMENT)
            self.stamp("token", delta.get("content") or "")
            await events.delta(delta)
        while name == "trickle" and not self.streams.stopping:
            await self.streams.pause(float(options.get("seconds", 0.05)))
            await events.delta({"content": " and"})
        await events.delta({}, answer.finish)
        if counting:
            await events.usage(answer.usage(body))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _break_down(self, request: web.Request, response: web.StreamResponse, fault: str) -> bool:
        """Fail half way as the fault wants; True when nothing follows."""
        if fault == "rubbish":
            await response.write(b'data: {"id": "chatcmpl-\n\n')
        if fault == "error-in-stream":
            await response.write(b"data: " + json.dumps(SERVER_ERROR.body).encode() + b"\n\n")
            await response.write_eof()
        if fault == "wrong-shape":
            await response.write(b"data: " + json.dumps(WRONG_SHAPE).encode() + b"\n\n")
        if fault == "truncated":
            await response.write_eof()
        if fault == "hang-mid-stream":
            await self.streams.pause()
        if fault in {"hang-mid-stream", "cut"}:
            break_off(request)
        return fault in {"error-in-stream", "hang-mid-stream", "cut", "truncated"}


@dataclass(slots=True)
class _Answer:
    """A reply, cut into the deltas it streams in."""

    message: dict[str, Any]
    finish: str
    comments: bool
    first: dict[str, Any]
    deltas: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, reply: Reply, limit: int | None) -> "_Answer":
        parts: dict[str, Any] = {"content": reply} if isinstance(reply, str) else dict(reply)
        thoughts: dict[str, str] = {
            name: parts.pop(name) for name in ("reasoning", "reasoning_content") if name in parts
        }
        content, calls = parts.pop("content", None), [_call(call) for call in parts.pop("tool_calls", ())]
        comments = bool(parts.pop("comments", False))
        if parts:
            raise ValueError(f"no part of a reply: {', '.join(sorted(parts))}")
        tokens = TOKEN.findall(content or "")
        finish = "tool_calls" if calls else "stop"
        if limit is not None and len(tokens) > limit:
            tokens, finish = tokens[:limit], "length"
        text = "".join(tokens) if content is not None or not calls else None
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, **thoughts}
        first = {"role": "assistant", "content": None if text is None else "", "refusal": None}
        deltas: list[dict[str, Any]] = [
            {name: token} for name, thought in thoughts.items() for token in TOKEN.findall(thought)
        ]
        deltas += [{"content": token} for token in tokens]
        for index, call in enumerate(calls):
            deltas += _call_deltas(index, call)
        if calls:
            message["tool_calls"] = calls
        return cls(message, finish, comments, first, deltas)

    def usage(self, body: Mapping[str, Any]) -> dict[str, int]:
        heard = sum(len(TOKEN.findall(str(message.get("content") or ""))) for message in body["messages"])
        said = len(self.deltas)
        return {"prompt_tokens": heard, "completion_tokens": said, "total_tokens": heard + said}


class _Events:
    """Writes the chunks of one completion; shapes as in the OpenAI SDK, types/chat/chat_completion_chunk.py."""

    def __init__(self, response: web.StreamResponse, model: str, counting: bool) -> None:
        self._response = response
        self._head = _head("chat.completion.chunk", model)
        self._counting = counting

    async def delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await self._write({"choices": [choice], **({"usage": None} if self._counting else {})})

    async def usage(self, usage: dict[str, int]) -> None:
        await self._write({"choices": [], "usage": usage})

    async def _write(self, rest: dict[str, Any]) -> None:
        data = json.dumps({**self._head, **rest}, ensure_ascii=False)
        await self._response.write(f"data: {data}\n\n".encode())


def _failure(fault: Fault, model: str) -> web.Response | None:
    """The answer of faults that never come to a reply."""
    if fault.name == "404-model" and fault.options.get("shape") == "xai":
        said = f"The model {model} does not exist or your team does not have access to it."
        return web.json_response({"code": "Some requested entity was not found", "error": said}, status=404)
    if fault.name == "html":
        return web.Response(text=HTML, content_type="text/html")
    if fault.name == "no-json":
        return web.Response(text="Bad gateway, sort of", content_type="text/event-stream")
    problems = {
        "404-model": unknown_model(model),
        "429": rate_limited(float(fault.options.get("retry_after", 1))),
        "500": SERVER_ERROR,
    }
    return problems[fault.name].response() if fault.name in problems else None


def _head(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    name = call.get("id") or f"call_{uuid.uuid4().hex[:24]}"
    return {"id": name, "type": "function", "function": {"name": call["name"], "arguments": text}}


def _call_deltas(index: int, call: dict[str, Any]) -> list[dict[str, Any]]:
    """The name with empty arguments first, then the arguments in pieces that know only their index."""
    start = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
    pieces = TOKEN.findall(call["function"]["arguments"])
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [delta]} for delta in (start, *rest)]
