"""The carriers' door: `POST {serve.path}/{carrier}`.

Order of checks: exact path, method, carrier, size and time of the body, signature, replay, facts. Nothing of a
request that fails a check has any effect.
"""

import asyncio
import logging
from collections import OrderedDict

from aiohttp import web

from openclaw_voicecall.api.carrier import (
    Carrier,
    CarrierEvent,
    LegOrder,
    VerifiedWebhook,
    WebhookReply,
    WebhookRequest,
)
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.errors import InvalidSignature, WebhookError, WebhookTooLarge
from openclaw_voicecall.server.keys import CLOCK, MANAGER

logger = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024
"""Bytes; carriers send a few kilobytes."""
BODY_TIME = 5.0
"""Seconds a body may take to arrive."""
WHAT = "webhook of openclaw-voicecall: carriers POST signed requests here"
"""Said to whoever looks, also in refusals, because people try their webhooks by hand."""
REPLAYS_KEPT = 1000
"""Answers that are kept for requests that come twice."""


class WebhookDoor:
    """Takes webhooks of all carriers.

    Args:
        path: `serve.path` of the configuration.
        default_carrier: Whose webhooks also come to the bare path.
    """

    def __init__(self, path: str, default_carrier: str) -> None:
        self._path = path.rstrip("/")
        self._default = default_carrier
        self._answers: OrderedDict[tuple[str, str], asyncio.Future[WebhookReply]] = OrderedDict()

    def add_routes(self, app: web.Application) -> None:
        """Add the webhook routes. Anybody who looks at them with GET is told what they are."""
        app.router.add_post(self._path, self._post)
        app.router.add_post(self._path + "/{carrier}", self._post)
        app.router.add_get(self._path, self._explain)
        app.router.add_get(self._path + "/{carrier}", self._explain)

    async def _explain(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "what": WHAT,
                "carriers": sorted(request.app[MANAGER].engines.carriers),
            }
        )

    async def _post(self, request: web.Request) -> web.Response:
        manager = request.app[MANAGER]
        name = request.match_info.get("carrier", self._default)
        carrier = manager.engines.carriers.get(name)
        if carrier is None:
            return _refusal(404, f"no carrier {name!r} is configured")
        try:
            received = await as_received(request, name, manager.addresses)
            webhook = carrier.verify(received, request.app[CLOCK].wall())
            events = carrier.parse(webhook)
        except WebhookError as error:
            logger.warning("webhook of %s refused: %s", name, error)
            return _refusal(error.http_status, str(error))
        reply = await self._once(name, webhook, carrier, list(events), manager)
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    async def _once(
        self,
        name: str,
        webhook: VerifiedWebhook,
        carrier: Carrier,
        events: list[CarrierEvent],
        manager: CallManager,
    ) -> WebhookReply:
        """Carry a request out once; its repetitions get the same answer."""
        key = (name, webhook.replay_key)
        if key not in self._answers:
            answer: asyncio.Future[WebhookReply] = asyncio.get_running_loop().create_future()
            self._answers[key] = answer
            while len(self._answers) > REPLAYS_KEPT:
                self._answers.popitem(last=False)
            order = LegOrder(action="none")
            try:
                for event in events:
                    order = await _decide(manager, name, event)
            except Exception:  # whatever fails here, the carrier must get an answer that ends well
                logger.exception("webhook of %s failed", name)
                order = LegOrder(action="hang-up", fallback_text=manager.config.phrases.goodbye)
            answer.set_result(carrier.reply(webhook, order))
        return await asyncio.shield(self._answers[key])


async def as_received(request: web.Request, carrier: str, addresses: Addresses) -> WebhookRequest:
    """A request as a carrier's plugin takes it.

    Raises:
        WebhookError: Its body is too long or too late, or it is signed twice.
    """
    body = await _read(request)
    for name in set(request.headers):
        # Of two values a plugin would see one, and somebody else on the way may have looked at the other.
        if "signature" in name.lower() and len(request.headers.getall(name)) > 1:
            raise InvalidSignature("the request has a signature header twice")
    return WebhookRequest(
        method=request.method,
        url=addresses.as_asked(carrier, str(request.url)),
        headers={key.lower(): value for key, value in request.headers.items()},
        body=body,
        remote=request.remote or "",
    )


async def _decide(manager: CallManager, carrier: str, event: CarrierEvent) -> LegOrder:
    if event.kind == "offered":
        return await manager.offer(carrier, event)
    return await manager.leg_event(carrier, event)


async def _read(request: web.Request) -> bytes:
    if request.content_length is not None and request.content_length > BODY_LIMIT:
        raise WebhookTooLarge(f"a webhook body has at most {BODY_LIMIT} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > BODY_LIMIT:
                    raise WebhookTooLarge(f"a webhook body has at most {BODY_LIMIT} bytes")
    except TimeoutError:
        raise WebhookError(f"the body did not arrive within {BODY_TIME:g} s") from None
    return bytes(body)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": f"{message}. This is a {WHAT}."}, status=status)
