"""The carriers' door: `POST {serve.path}/{carrier}`.

Order of checks: exact path, method, carrier, headers, then size and time of the body, signature, shape, replay, policy.
Nothing of a request that fails a check has any effect, and what is wrong by its head is refused before its body is
read. Whatever fails after the signature, the carrier gets an answer that ends well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError

from openclaw_voicecall.api.carrier import (
    Carrier,
    CarrierCapabilities,
    CarrierEvent,
    LegOrder,
    VerifiedWebhook,
    WebhookReply,
    WebhookRequest,
)
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.team import Colleague
from openclaw_voicecall.errors import (
    InvalidSignature,
    ServiceError,
    StoreError,
    WebhookError,
    WebhookTooLarge,
    WrongContentType,
)
from openclaw_voicecall.server.answers import Answers
from openclaw_voicecall.server.crowd import trust
from openclaw_voicecall.server.forwarded import Forwarding
from openclaw_voicecall.server.keys import CLOCK, MANAGER, STORE
from openclaw_voicecall.server.notes import SparseLog

logger = logging.getLogger(__name__)

BODY_LIMIT = 64 * 1024
"""Bytes; carriers send a few kilobytes."""
BODY_TIME = 5.0
"""Seconds a body may take to arrive."""
ANSWER_LIMIT = 10.0
"""Seconds in which a request must be carried out; carriers wait for 15."""
WHAT = "webhook of openclaw-voicecall: carriers POST signed requests here"
"""Said to whoever looks, also in refusals, because people try their webhooks by hand."""


class WebhookDoor:
    """Takes webhooks of all carriers.

    Args:
        path: `serve.path` of the configuration.
        default_carrier: Whose webhooks also come to the bare path.
        forwarding: What is believed of a proxy before us.
        elsewhere: Which other process holds the call that a carrier speaks of, where there are any.
    """

    def __init__(
        self,
        path: str,
        default_carrier: str,
        forwarding: Forwarding,
        elsewhere: Callable[[str, CarrierEvent], Awaitable[Colleague | None]] | None = None,
    ) -> None:
        self._path = path.rstrip("/")
        self._default = default_carrier
        self._forwarding = forwarding
        self._elsewhere = elsewhere
        self._answers: Answers | None = None
        self._log = SparseLog(logger)

    def add_routes(self, app: web.Application) -> None:
        """Add the webhook routes. Anybody who looks at them with GET is told what they are."""
        app.router.add_post(self._path, self._post)
        app.router.add_post(self._path + "/{carrier}", self._post)
        app.router.add_get(self._path, self._explain)
        app.router.add_get(self._path + "/{carrier}", self._explain)
        app.on_startup.append(self._restore)

    async def _restore(self, app: web.Application) -> None:
        self._answers = Answers(app[STORE], app[CLOCK])
        await self._answers.restore()

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
        # The path as it was sent: other spellings of it are not what was signed.
        if carrier is None or request.raw_path.partition("?")[0] not in (self._path, f"{self._path}/{name}"):
            return _refusal(404, f"no carrier {name!r} is configured")
        try:
            check_head(request, manager.engines.capabilities[name])
            origin = self._forwarding.origin(request)
            received = await as_received(
                request,
                name,
                manager.addresses,
                origin=origin,
                remote=self._forwarding.remote(request),
            )
            webhook = _verified(carrier, received, request.app[CLOCK].wall())
            trust(request)
            events = facts(name, carrier, webhook)
        except WebhookError as error:
            self._log.warning("webhook of %s refused: %s", name, error)
            return _refusal(error.http_status, str(error))

        async def answer() -> WebhookReply:
            manager.addresses.learn(name, origin)
            return await carried_out(manager, name, carrier, webhook, events, elsewhere=self._elsewhere)

        if self._answers is None:
            raise RuntimeError("the application was not started")
        reply = await self._answers.once(name, webhook.replay_key, answer, keep=events != [])
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)


def check_head(request: web.Request, capabilities: CarrierCapabilities) -> None:
    """Look at what a request says of itself before its body is read.

    Raises:
        InvalidSignature: A signature header is missing, or there twice.
        WrongContentType: The carrier sends no bodies of this type.
        WebhookTooLarge: It says itself that its body is too long.
    """
    for name in capabilities.signature_headers:
        if not request.headers.get(name):
            raise InvalidSignature(f"the request has no header {name}, so nobody has signed it")
    for name in set(request.headers):
        # Of two values a plugin would see one, and somebody else on the way may have looked at the other.
        if "signature" in name.lower() and len(request.headers.getall(name)) > 1:
            raise InvalidSignature("the request has a signature header twice")
    types = request.headers.getall("Content-Type", [""])
    if capabilities.webhook_types and (
        len(types) > 1 or types[0].partition(";")[0].strip().lower() not in capabilities.webhook_types
    ):
        raise WrongContentType(f"the body must be of the type {' or '.join(capabilities.webhook_types)}")
    if request.content_length is not None and request.content_length > BODY_LIMIT:
        raise WebhookTooLarge(f"a webhook body has at most {BODY_LIMIT} bytes")


async def as_received(
    request: web.Request, carrier: str, addresses: Addresses, *, origin: str = "", remote: str = ""
) -> WebhookRequest:
    """A request as a carrier's plugin takes it.

    Args:
        request: The request.
        carrier: Whose webhook it came to.
        addresses: Under which carriers reach us.
        origin: Scheme and host that a trusted proxy tells.
        remote: Who sent it; the other end of the connection, if not given.

    Raises:
        WebhookError: Its body is too long, too late, or broken.
    """
    body = await _read(request)
    return WebhookRequest(
        method=request.method,
        url=addresses.as_asked(carrier, request.raw_path, origin=origin),
        headers={key.lower(): value for key, value in request.headers.items()},
        body=body,
        remote=remote or request.remote or "",
    )


def _verified(carrier: Carrier, received: WebhookRequest, now: float) -> VerifiedWebhook:
    """Ask the plugin whether its carrier sent this. Raises `WebhookError`."""
    try:
        return carrier.verify(received, now)
    except WebhookError:
        raise
    except Exception as error:  # vendors' own checks raise on what they did not think of
        raise InvalidSignature(f"the signature cannot be checked: {type(error).__name__}") from error


def facts(name: str, carrier: Carrier, webhook: VerifiedWebhook) -> list[CarrierEvent] | None:
    """What a request states; None where the plugin fails at reading it. Raises `MalformedWebhook`."""
    try:
        return list(carrier.parse(webhook))
    except WebhookError:
        raise
    except Exception:
        logger.exception("webhook of %s cannot be read", name)
        return None


async def carried_out(
    manager: CallManager,
    name: str,
    carrier: Carrier,
    webhook: VerifiedWebhook,
    events: list[CarrierEvent] | None,
    *,
    elsewhere: Callable[[str, CarrierEvent], Awaitable[Colleague | None]] | None = None,
) -> WebhookReply:
    """Act on a request, and say how it is answered: with a goodbye where that fails, whatever it is that fails.

    What is of a call that another process holds is answered there.
    """
    order = goodbye = LegOrder(action="hang-up", fallback_text=manager.config.phrases.goodbye)
    try:
        if events is not None:
            order = LegOrder(action="none")
            async with asyncio.timeout(ANSWER_LIMIT):
                for event in events:
                    holder = await elsewhere(name, event) if elsewhere is not None else None
                    if holder is not None:
                        return await holder.webhook(name, webhook)
                    offered = event.kind == "offered"
                    order = await (manager.offer if offered else manager.leg_event)(name, event)
        return carrier.reply(webhook, order)
    except (StoreError, ServiceError) as error:  # such as a full disk: nothing that a traceback would explain
        logger.error("webhook of %s is answered with a goodbye: %s", name, error)
        return carrier.reply(webhook, goodbye)
    except Exception:
        logger.exception("webhook of %s failed", name)
        return carrier.reply(webhook, goodbye)


async def _read(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > BODY_LIMIT:
                    raise WebhookTooLarge(f"a webhook body has at most {BODY_LIMIT} bytes")
    except TimeoutError:
        raise WebhookError(f"the body did not arrive within {BODY_TIME:g} s") from None
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError, RuntimeError) as error:
        # The last is how aiohttp says that the connection was gone before the body was asked for.
        raise WebhookError("the body breaks off, or is not in the form that its head says") from error
    return bytes(body)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": f"{message}. This is a {WHAT}."}, status=status)
