"""The HTTP endpoint of an OpenClaw gateway: turns and the list of agents, strict about tokens, agents and sessions.

Status codes and words are those of the gateway of OpenClaw 2026.9.6, asked by hand; see its documentation,
gateway/openai-http-api. Two things are stricter than the real one, because they lose a caller's talk without a word: a
turn without a session key (the gateway would make a new session for each), and one with more than one user message
(the session has the talk already).
"""

import json
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from aiohttp import web

from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.streams import AnsweringEmulator, break_off

TOKEN: Final = "token-of-a-gateway"  # noqa: S105 - nobody's
NOTHING: Final = "No response from OpenClaw."
"""What the gateway writes where the agent wrote nothing."""
_WORD: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_MODEL: Final = re.compile(r"(?:openclaw[:/]|agent:)(?P<agent>[a-z0-9][a-z0-9_-]{0,63})", re.IGNORECASE)
_RESERVED: Final = re.compile(r"(?:agent:[^:]+:)?(?:subagent|cron|acp):", re.IGNORECASE)

Respond = Callable[[str, "GatewayTurn"], str]
"""Takes what the caller said and the turn, and makes the agent's reply."""


@dataclass(frozen=True, slots=True)
class GatewayTurn:
    """A turn that the gateway took."""

    agent: str
    session: str
    """Whole key, such as `agent:main:voice:+15550001111`."""
    text: str
    """The user message."""
    system: str
    model: str
    """Of `x-openclaw-model`; empty where the agent's own answers."""


class OpenClawGatewayEmulator(AnsweringEmulator):
    """A gateway with some agents that say what the test wants.

    Args:
        port: TCP port; 0 for any free one.
        token: The token that is taken.
        agents: Ids of its agents; the first is the default one.
        models: Models that `x-openclaw-model` may name.
        replies: What the agents say, in order. Without replies they say back what they heard.
        respond: Makes the replies instead.
        word_delay: Seconds from word to word.
    """

    vendor = "openclaw-gateway"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "disabled": "the endpoint is switched off, as it is unless its owner enables it",
        "401": "the token is refused",
        "429": "too many wrong tokens before; retry_after in seconds, 1 unless told",
        "500": "the gateway fails",
        "html": "200 and a web page, as from something else at this address",
        "hang": "no byte ever comes",
        "silent-run": "the stream begins, and no word ever comes",
        "hang-mid-stream": "half of the reply comes, then nothing more",
        "run-fails": "the agent's run fails under status 200",
        "fails-mid-stream": "the same half way through the reply",
        "empty": "the agent writes nothing",
        "cut": "the connection breaks in the middle of the reply",
        "truncated": "half of the reply comes, and the stream ends without [DONE]",
        "rubbish": "an event in the middle of the stream is no JSON",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        token: str = TOKEN,
        agents: Iterable[str] = ("main",),
        models: Iterable[str] = (),
        replies: Iterable[str] = (),
        respond: Respond | None = None,
        word_delay: float = 0.0,
    ) -> None:
        super().__init__(port=port)
        self.agents = list(agents)
        self.models = list(models)
        self.replies = deque(replies)
        self.turns: list[GatewayTurn] = []
        """Turns that were taken, oldest first."""
        self.word_delay = word_delay
        self._token = token
        self._respond = respond

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the chat endpoint and the list of agents."""
        router.add_route("*", "/v1/chat/completions", self._complete)
        router.add_route("*", "/v1/models", self._list)

    def state(self) -> dict[str, Any]:
        """Which turns there were."""
        return {
            "turns": [{"session": turn.session, "text": turn.text} for turn in self.turns],
            "open_streams": self.open_streams,
            "cancelled": self.cancelled,
            "agents": self.agents,
        }

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._refused(request, "GET")) is not None:
            return refusal
        names = ["openclaw", "openclaw/default", *(f"openclaw/{agent}" for agent in self.agents)]
        rows = [
            {"id": name, "object": "model", "created": 0, "owned_by": "openclaw", "permission": []}
            for name in names
        ]
        return web.json_response({"object": "list", "data": rows})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._refused(request, "POST")) is not None:
            return refusal
        try:
            turn = self._turn(request, await request.json())
        except ValueError as error:
            self.refuse("POST /v1/chat/completions", str(error))
            return _error(400, str(error))
        self.turns.append(turn)
        self.stamp("request", turn.text)
        with self.streams.counted():
            return await self._stream(request, turn)

    async def _refused(self, request: web.Request, method: str) -> web.StreamResponse | None:
        """The answer to a request that never comes to its content."""
        fault = self.take_fault("disabled", "401", "429", "500", "html", "hang")
        name = fault.name if fault else ""
        if name == "hang":
            await self.streams.pause()
            break_off(request)
            return web.Response(status=500)
        if name == "disabled":
            return web.Response(status=404, text="Not Found")
        if name == "html":
            return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")
        if name == "500":
            return web.Response(status=500, text="Internal Server Error")
        if fault and name == "429":
            said = "Too many failed authentication attempts. Please try again later."
            after = {"Retry-After": f"{fault.options.get('retry_after', 1):g}"}
            return _error(429, said, kind="rate_limited", headers=after)
        if request.method != method:
            self.refuse(f"{request.method} {request.path}", "Method Not Allowed")
            return web.Response(status=405, text="Method Not Allowed", headers={"Allow": method})
        if name == "401" or request.headers.get("Authorization") != f"Bearer {self._token}":
            if not name:
                self.refuse(f"{request.method} {request.path}", "Unauthorized")
            return _error(401, "Unauthorized", kind="unauthorized")
        return None

    def _turn(self, request: web.Request, body: Any) -> GatewayTurn:
        """The turn that a request asks for. Raises `ValueError` with the gateway's words for a wrong one."""
        model = body.get("model")
        if not isinstance(model, str):
            raise ValueError("model: Invalid input: expected string")
        messages = body.get("messages")
        if not isinstance(messages, list):
            kind = "undefined" if messages is None else type(messages).__name__.replace("str", "string")
            raise ValueError(f"messages: Invalid input: expected array, received {kind}")
        if body.get("stream") is not True:
            raise ValueError("This emulator streams only: set `stream`.")
        agent = self._agent(model)
        key = request.headers.get("x-openclaw-session-key", "").strip()
        if not key:
            raise ValueError(
                "This emulator wants `x-openclaw-session-key`: each turn would be a session of its own."
            )
        if _RESERVED.match(key):
            raise ValueError("`x-openclaw-session-key` cannot use reserved internal session namespaces.")
        said = [_text(message) for message in messages if message.get("role") == "user"]
        if not any(said):
            raise ValueError("Missing user message in `messages`.")
        if len(said) > 1 or any(message.get("role") == "assistant" for message in messages):
            raise ValueError("This emulator wants the last user message only: the session has the others.")
        system = "\n\n".join(_text(message) for message in messages if message.get("role") == "system")
        session = key if key.startswith("agent:") else f"agent:{agent}:{key}"
        return GatewayTurn(agent, session, said[0], system, request.headers.get("x-openclaw-model", ""))

    def _agent(self, model: str) -> str:
        if model.lower() in ("openclaw", "openclaw/default"):
            return self.agents[0]
        named = _MODEL.fullmatch(model)
        if named is None:
            raise ValueError("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.")
        if named["agent"].lower() not in self.agents:
            raise ValueError(f"Unknown agent '{named['agent'].lower()}'.")
        return named["agent"].lower()

    def _reply(self, turn: GatewayTurn) -> str:
        if self._respond is not None:
            return self._respond(turn.text, turn)
        return self.replies.popleft() if self.replies else f"You said: {turn.text}"

    async def _stream(self, request: web.Request, turn: GatewayTurn) -> web.StreamResponse:
        fault = self.take_fault(*self.FAULTS)
        name = fault.name if fault else ""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        events = _Events(response, turn)
        await events.delta({"role": "assistant"})
        if problem := self._run_problem(turn, fault):
            return await events.error(problem)
        if name == "silent-run":
            await self.streams.pause()
        words = _WORD.findall(NOTHING if name == "empty" else self._reply(turn)) or [NOTHING]
        for at, word in enumerate(words):
            if at == len(words) // 2 and name and await self._break_down(request, events, name):
                return response
            await self.streams.pause(self.word_delay)
            self.stamp("token", word)
            await events.delta({"content": word})
        await events.delta({}, "stop")
        return await events.done()

    def _run_problem(self, turn: GatewayTurn, fault: Fault | None) -> str:
        """Why the agent's run fails, in the gateway's words."""
        owner = turn.session.split(":")[1]
        if owner not in self.agents:
            self.refuse("POST /v1/chat/completions", f"session key of agent {owner}")
            return f"Agent {owner} is not present in the configured roster."
        if turn.model and turn.model not in self.models:
            return f"Unknown model: {turn.model}. Run `openclaw models list` to inspect this provider's model choices."
        return "upstream provider error" if fault and fault.name == "run-fails" else ""

    async def _break_down(self, request: web.Request, events: "_Events", fault: str) -> bool:
        """Fail half way as the fault wants; True when nothing follows."""
        if fault == "fails-mid-stream":
            await events.error("internal error")
        if fault == "rubbish":
            await events.response.write(b'data: {"id": "chatcmpl_\n\n')
        if fault == "truncated":
            await events.response.write_eof()
        if fault == "hang-mid-stream":
            await self.streams.pause()
        if fault in {"hang-mid-stream", "cut"}:
            break_off(request)
        return fault in {"fails-mid-stream", "truncated", "hang-mid-stream", "cut"}


class _Events:
    """Writes the events of one turn."""

    def __init__(self, response: web.StreamResponse, turn: GatewayTurn) -> None:
        self.response = response
        self._head = {
            "id": f"chatcmpl_{uuid.uuid4()}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": f"openclaw/{turn.agent}",
        }

    async def delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        await self._write({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    async def error(self, message: str) -> web.StreamResponse:
        await self._write({"error": {"message": message, "type": "api_error"}})
        return await self.done()

    async def done(self) -> web.StreamResponse:
        await self.response.write(b"data: [DONE]\n\n")
        await self.response.write_eof()
        return self.response

    async def _write(self, event: dict[str, Any]) -> None:
        await self.response.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content.strip() if isinstance(content, str) else ""


def _error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind}}, status=status, headers=headers)
