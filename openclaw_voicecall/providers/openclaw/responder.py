"""Has OpenClaw's agent write the turns, by `POST /v1/chat/completions` of the gateway, as a stream of events.

The agent's session keeps the talk, so a turn carries only what was said last. Facts: OpenClaw's documentation,
gateway/openai-http-api.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import aiohttp

from openclaw_voicecall.api.prompts import said_last, spoken_style
from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.providers._messages import whole
from openclaw_voicecall.providers._pauses import with_pauses
from openclaw_voicecall.providers.openclaw.failures import (
    OPERATION,
    VENDOR,
    lost,
    no_endpoint,
    no_words,
    refused,
    run_failed,
)
from openclaw_voicecall.providers.openclaw.gateway import Gateway
from openclaw_voicecall.providers.openclaw.hangup import HANG_UP, UntilHangUp

REMEMBERED_CALLS: Final = 200
"""Calls whose last written words are kept in mind."""
NOTHING: Final = "No response from OpenClaw."
"""What the gateway writes in place of an empty answer."""
_DONE: Final = "[DONE]"
_LIMITED: Final = (
    "over HTTP OpenClaw's agent has all its tools, and agentTools forbids that for whoever is on the line; run the "
    "service inside OpenClaw (`openclaw-voicecall openclaw install`), which limits them, or allow it: put their number "
    'into owners, or set agentTools.others to ["*"] if the agent has only tools that strangers may use'
)


class GatewayAgent:
    """An agent behind a gateway.

    Args:
        session: Connections to it.
        gateway: Where it is.
        wanted: Which agent on which model, as in `TurnRequest.for_agent`.
    """

    def __init__(self, session: aiohttp.ClientSession, gateway: Gateway, wanted: str) -> None:
        self._session = session
        self._gateway = gateway
        self._wanted = wanted
        self._written: OrderedDict[str, str] = OrderedDict()
        """What the agent wrote last, by call."""

    async def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the agent write the turn. Closing the generator closes the request, which ends the agent's run.

        Raises:
            VendorError: The gateway refused, the run failed, or it gave no words.
        """
        async with aclosing(with_pauses(self._respond(request.for_agent(self._wanted)))) as events:
            async for event in events:
                yield event

    async def _respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        if request.agent_tools is not None:
            raise VendorRejected(_LIMITED, vendor=VENDOR, operation=OPERATION)
        body = _body(request, self._written.get(request.call_id, ""))
        words, written = UntilHangUp(), ""
        try:
            async with aclosing(self._stream(_headers(request), body)) as texts:
                async for text in texts:
                    if said := words.push(text):
                        written += said
                        self._remember(request.call_id, written)
                        yield TextDelta(said)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise lost(self._gateway, error) from error
        if rest := words.finish():
            yield TextDelta(rest)
        if words.hang_up:
            yield EndCall()
        elif not (written + rest).strip():
            raise no_words()

    async def _stream(self, headers: dict[str, str], body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """What the agent writes, in pieces."""
        async with self._session.post(
            f"{self._gateway.url}/v1/chat/completions",
            headers={**self._gateway.headers, **headers},
            json=body,
            allow_redirects=False,
        ) as response:
            await self._check(response)
            begun: str | None = ""
            async for text in _texts(response):
                if begun is None:
                    yield text
                    continue
                begun += text
                if not NOTHING.startswith(begun):
                    yield begun
                    begun = None
            if begun and begun != NOTHING:
                yield begun

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raises `VendorError` for an answer that is no stream of events."""
        if response.status != 200:
            raise refused(self._gateway, response.status, await response.text())
        if response.content_type != "text/event-stream":
            found = f"the OpenClaw gateway at {self._gateway.url} answers with {response.content_type}"
            raise no_endpoint(self._gateway, found)

    def _remember(self, call_id: str, written: str) -> None:
        self._written[call_id] = written
        self._written.move_to_end(call_id)
        while len(self._written) > REMEMBERED_CALLS:
            self._written.popitem(last=False)


def _headers(request: TurnRequest) -> dict[str, str]:
    # The agent that answers where none is named need not be called main, and keys of other agents are refused.
    key = request.session_key if request.agent_id else request.session_key.removeprefix("agent:main:")
    headers = {"x-openclaw-session-key": key} if key else {}
    return {**headers, "x-openclaw-model": request.model} if request.model else headers


def _body(request: TurnRequest, written: str) -> dict[str, Any]:
    """The request for a turn; the gateway takes `model` for the agent."""
    return {
        "model": f"openclaw/{request.agent_id}" if request.agent_id else "openclaw",
        "stream": True,
        "messages": [
            {"role": "system", "content": spoken_style(request, owner=request.owner, hang_up=HANG_UP)},
            {"role": "user", "content": said_last(request, written=written)},
        ],
    }


async def _texts(response: aiohttp.ClientResponse) -> AsyncGenerator[str, None]:
    """The text in the events of a stream. Raises `VendorError` where the stream tells of one, or ends too early."""
    try:
        async for line in response.content:
            field, _, data = line.decode("utf-8", "replace").strip().partition(":")
            if field != "data" or not data:
                continue
            if data.strip() == _DONE:
                return
            event = json.loads(data)
            if not isinstance(event, dict):
                raise run_failed("an event of the stream is no object")
            if "error" in event:
                raise run_failed(event["error"])
            for choice in event.get("choices") or ():
                text = (choice.get("delta") or {}).get("content")
                if isinstance(text, str) and text:
                    yield whole(text)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise run_failed("the stream holds something else than events") from error
    raise VendorUnavailable(
        "the OpenClaw gateway broke off its stream; `openclaw logs` tells more",
        vendor=VENDOR,
        operation=OPERATION,
    )
