"""Has OpenClaw's agent write the turns, by `POST /v1/chat/completions` of the gateway, as a stream of events.

The agent's session keeps the talk, so a turn carries only what was said last. Facts: OpenClaw's documentation,
gateway/openai-http-api.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp

from openclaw_voicecall.api.prompts import said_last, spoken_style
from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
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
        request = request.for_agent(self._wanted)
        if request.agent_tools is not None:
            raise VendorRejected(_LIMITED, vendor=VENDOR, operation=OPERATION)
        heard = self._written.get(request.call_id, "")
        words, written, held = UntilHangUp(), "", True
        try:
            async with self._session.post(
                f"{self._gateway.url}/v1/chat/completions",
                headers={**self._gateway.headers, **_headers(request)},
                json=_body(request, heard),
                allow_redirects=False,
            ) as response:
                await self._check(response)
                async for text in _texts(response):
                    written += words.push(text)
                    # What the gateway writes in place of nothing must not be read out.
                    held = held and NOTHING.startswith(written)
                    if not held and written:
                        yield TextDelta(written)
                        self._remember(request.call_id, written)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise lost(self._gateway, error) from error
        if not written.strip() and not words.hang_up:
            raise no_words()

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raises `VendorError` for an answer that is no stream of events."""
        if response.status != 200:
            raise refused(self._gateway, response.status, await response.text())
        if response.content_type != "text/event-stream":
            found = f"the OpenClaw gateway at {self._gateway.url} answers with {response.content_type}"
            raise no_endpoint(self._gateway, found)
