"""Lets the owner prove that a public address leads to this very service, and what arrives of a request on its way.

Whoever may open the control socket gets a token for one request. A request that brings it in `X-Voicecall-Probe`, to
whatever path, is answered here and goes no further: nothing that is asked with a token has an effect on calls.

* `GET` of a webhook: which path and query arrived.
* `POST` to a webhook: whether the carrier's signature is right over what arrived.
* A WebSocket below the path of the media streams: one message comes back.

The proof in the answer is made from the token, so that no other server can have given it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from openclaw_voicecall.api.carrier import Carrier, CarrierCapabilities
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.errors import WebhookError
from openclaw_voicecall.server.crowd import trust
from openclaw_voicecall.server.webhooks import as_received, check_head

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

TOKEN_HEADER = "X-Voicecall-Probe"  # noqa: S105 a header's name, no secret
PROOF_HEADER = "X-Voicecall-Proof"
PATH_HEADER = "X-Voicecall-Path"
"""The path that arrived, on every answer with a proof."""
INVITATION = "/api/v1/probe"
"""Where the control API hands out tokens, by POST."""

PURPOSE = "probe"
"""Stands where the tokens of media streams have their carrier; no carrier's stream can be opened with it."""
ECHO_LIMIT = 5.0
"""Seconds until the message of a WebSocket must have come."""
ECHO_BYTES = 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def proof_of(token: str) -> str:
    """What only somebody who knows this token can answer."""
    return hashlib.sha256(f"openclaw-voicecall probe {token}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Invitation:
    """A token, and where to go with it."""

    token: str
    webhook_url: str
    """Public address of the provider's webhooks, as carriers are given it."""
    stream_url: str
    """Public address of a media stream."""


class ProbeDoor:
    """Answers the requests that bring a token.

    Args:
        config: Names the provider and the paths.
        tokens: Mints and takes the tokens.
        clock: For the carrier's check of a signature.
        addresses: Under which carriers reach us.
        carriers: Opened carriers by name.
    """

    def __init__(
        self,
        config: "VoiceCallConfig",
        *,
        tokens: StreamTokens,
        clock: Clock,
        addresses: Addresses,
        carriers: Mapping[str, Carrier],
    ) -> None:
        self._provider = config.provider
        self._webhooks = config.serve.path.rstrip("/")
        self._streams = config.streaming.stream_path.rstrip("/") + "/"
        self._tokens = tokens
        self._clock = clock
        self._addresses = addresses
        self._carriers = carriers

    def guard(self, app: web.Application) -> None:
        """Look at every request to the public server before anything else does."""

        @web.middleware
        async def probing(request: web.Request, handler: Handler) -> web.StreamResponse:
            token = request.headers.get(TOKEN_HEADER, "")
            if not token or self._tokens.take(token, PURPOSE) is None:
                return await handler(request)
            trust(request)
            return await self._answer(request, {PROOF_HEADER: proof_of(token), PATH_HEADER: request.path})

        app.middlewares.insert(0, probing)

    def add_invitation(self, app: web.Application) -> None:
        """Hand tokens out on the owner's socket."""

        async def invite(request: web.Request) -> web.Response:
            invitation = self.invite()
            return web.json_response(
                {
                    "token": invitation.token,
                    "webhookUrl": invitation.webhook_url,
                    "streamUrl": invitation.stream_url,
                }
            )

        app.router.add_post(INVITATION, invite)

    def invite(self) -> Invitation:
        """A token for one request; the one before it is worth nothing any more."""
        token = self._tokens.mint(PURPOSE, PURPOSE)
        return Invitation(
            token,
            self._addresses.webhook(self._provider),
            # The last part only stands where a real stream has its secret.
            self._addresses.stream(self._provider, PURPOSE),
        )

    async def _answer(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        if request.path.startswith(self._streams):
            return await _echo(request, headers)
        carrier = self._carrier_at(request.path)
        facts = {"carrier": carrier, "path": request.path, "query": request.query_string}
        if carrier is None:
            return web.json_response(facts, status=404, headers=headers)
        if request.method == "POST":
            facts["refusal"] = await self._refusal(request, carrier)
        return web.json_response(facts, headers=headers)

    def _carrier_at(self, path: str) -> str | None:
        """Whose webhooks come to this path; None when nobody's do."""
        if path == self._webhooks:
            return self._provider
        name = path.removeprefix(f"{self._webhooks}/")
        return name if name in self._carriers and path != name else None

    async def _refusal(self, request: web.Request, carrier: str) -> str:
        """Why the carrier's plugin would not believe this request; empty when it does."""
        try:
            check_head(request, CarrierCapabilities())
            received = await as_received(request, carrier, self._addresses)
            self._carriers[carrier].verify(received, self._clock.wall())
        except WebhookError as error:
            return str(error)
        return ""


async def _echo(request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
    socket = web.WebSocketResponse(
        compress=False, max_msg_size=ECHO_BYTES, timeout=2.0, receive_timeout=ECHO_LIMIT
    )
    if not socket.can_prepare(request).ok:
        return web.json_response({"path": request.path, "upgrade": False}, status=426, headers=headers)
    socket.headers.update(headers)
    await socket.prepare(request)
    try:
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    except (TimeoutError, ConnectionResetError):
        return socket
    finally:
        await socket.close()
    return socket
