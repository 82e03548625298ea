"""The carrier `twilio`."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from openclaw_voicecall.api.carrier import (
    CarrierEvent,
    LegOrder,
    LegRef,
    LegStatus,
    MediaCodec,
    PlaceCall,
    VerifiedWebhook,
    WebhookReply,
    WebhookRequest,
)
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    ConfigError,
    VendorRejected,
)
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec
from openclaw_voicecall.providers.twilio import twiml, webhooks
from openclaw_voicecall.providers.twilio.account import credentials
from openclaw_voicecall.providers.twilio.config import TwilioConfig
from openclaw_voicecall.providers.twilio.dialling import Dialling
from openclaw_voicecall.providers.twilio.refusals import NotInProgress
from openclaw_voicecall.providers.twilio.rest import OutcomeUnknown, TwilioApi, is_gone, open_api
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck

MAX_LIMIT = 14400.0
"""Seconds; Twilio's own limit of a call."""
MAX_RING = 600
"""Seconds; Twilio lets no phone ring longer."""

ANSWERING = (0.2, 0.4, 0.8)
"""Seconds between attempts to take over a call. Twilio may say that it is not in progress: what we answer it with makes
it so, and an engine that fails at once may be quicker than that answer."""

_LIVE = frozenset({"queued", "initiated", "ringing", "in-progress"})
_NOT_ANSWERED = frozenset({"queued", "initiated", "ringing"})


class TwilioCarrier:
    """One Twilio account.

    Args:
        api: Its REST API.
        account_sid: Its id.
        signatures: Checks its webhooks.
        runtime: The process the carrier runs in.
    """

    def __init__(
        self, api: TwilioApi, account_sid: str, signatures: SignatureCheck, runtime: Runtime
    ) -> None:
        self._api = api
        self._account_sid = account_sid
        self._signatures = signatures
        self._runtime = runtime
        self._dialling = Dialling(api, runtime.clock)

    def verify(self, request: WebhookRequest, now: float) -> VerifiedWebhook:
        """Check that Twilio sent this for our account. Twilio signs no time. Raises `WebhookError`."""
        return webhooks.verify(
            request,
            base_url=request.url,
            account_sid=self._account_sid,
            signatures=self._signatures,
        )

    def parse(self, webhook: VerifiedWebhook) -> Sequence[CarrierEvent]:
        """The facts in it. Raises `MalformedWebhook`."""
        events = webhooks.parse(webhook)
        self._dialling.heard(webhooks.call_id_of(webhook), webhook.params["CallSid"])
        return events

    def reply(self, webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
        """The TwiML that carries out an order."""
        call_id = order.call_id or webhooks.call_id_of(webhook)
        match order.action:
            case "stream":
                over = self._url(webhooks.OVER, call_id)
                text = twiml.stream(order.stream_url, order.fallback_text, over, first_text=order.text)
            case "turn" if order.listen:
                text = twiml.say_and_gather(
                    order.text,
                    action_url=self._url(webhooks.TURN, call_id),
                    retry_url=self._url(webhooks.POLL, call_id),
                    language=order.language,
                    digits=order.digits,
                )
            case "turn":
                then = self._url(webhooks.POLL, call_id)
                text = twiml.say(order.text, then_url=then, language=order.language, digits=order.digits)
            case "reject":
                text = twiml.reject(busy=order.reason is EndReason.BUSY)
            case "hang-up":
                text = twiml.hang_up(order.fallback_text)
            case "wait":
                text = twiml.wait(self._url(webhooks.POLL, call_id))
            case _:
                text = twiml.nothing()
        return WebhookReply(content_type="text/xml", body=text.encode())

    def media_codec(self) -> MediaCodec:
        """A codec for one media stream."""
        return MediaStreamsCodec()

    def check_options(self, options: Mapping[str, str]) -> None:
        """Twilio's calls take no options. Raises `ConfigError` for any."""
        for name in options:
            raise ConfigError(f"calls over Twilio have no option {name!r}")

    async def place_call(self, request: PlaceCall) -> str:
        """Dial; returns the call's SID.

        A request that Twilio was not reached with, or has no time for, is sent again a few times. Any other is sent
        once: where its outcome stays open, the call is looked for, by a webhook that brings our own id and in Twilio's
        list of calls, and taken over.

        Raises:
            VendorRejected: Twilio refuses; the message has its code and what to do.
            VendorUnavailable: Twilio was not reached.
            DialUnknown: The outcome is still unknown after the last look.
        """
        self.check_options(request.options)
        if "_" in (urlsplit(request.webhook_url).hostname or ""):
            raise VendorRejected(
                "Twilio sends no reports to a host name with an underscore; choose another publicUrl",
                vendor="twilio",
                operation="place call",
            )
        if request.max_duration > MAX_LIMIT:
            raise VendorRejected(
                f"Twilio ends every call after {MAX_LIMIT:g} s at the latest; set a smaller maxDurationSeconds",
                vendor="twilio",
                operation="place call",
            )
        return await self._dialling.dial(request, lambda: self._call_parameters(request))

    async def find_legs(
        self, *, to_number: str, from_number: str, since: float, until: float
    ) -> Sequence[str]:
        """SIDs of calls between two numbers that no dial of this process is known to have made.

        Raises:
            VendorUnavailable: One of them may be that of a dial which is under way.
            VendorError: Twilio cannot be asked.
        """
        return await self._dialling.find(to_number, from_number, since, until)

    async def hang_up(self, leg: LegRef) -> None:
        """End the leg, whatever its state. A leg that is gone already counts as ended. Raises `VendorError`."""
        if not leg.carrier_call_id:
            return
        try:
            await self._api.update_call("end the call", leg.carrier_call_id, status="completed")
        except VendorRejected as error:
            if is_gone(error):
                return
            call = await self._api.fetch_call(leg.carrier_call_id)
            if call.status in _NOT_ANSWERED:
                await self._api.update_call("cancel the call", leg.carrier_call_id, status="canceled")
            elif call.status in _LIVE:
                raise

    async def send_digits(self, leg: LegRef, digits: str) -> None:
        """Not by Twilio's API: it would end the media stream. Raises `VendorRejected`."""
        raise VendorRejected(
            "a Twilio media stream takes no digits; they have to be sent as tones in its audio",
            vendor="twilio",
            operation="send digits",
        )

    async def transfer(self, leg: LegRef, to_number: str, *, caller_id: str = "", limit: float = 0.0) -> None:
        """Connect the far party with another number. The media stream ends with it. Raises `VendorError`.

        Twilio's answer tells only that it has understood; what becomes of it is reported as `transfer`.
        """
        if limit:  # the limit of the talk with the agent would cut the talk with the other number
            await self.limit_duration(leg, MAX_LIMIT)
        order = twiml.transfer(
            to_number,
            over_url=self._url(webhooks.DIALLED, leg.call_id),
            news_url=self._url(webhooks.HANDED, leg.call_id),
            caller_id=caller_id,
            limit=math.ceil(limit),
        )
        await self._api.update_call("transfer the call", leg.carrier_call_id, twiml=order)

    async def take_over(self, leg: LegRef) -> None:
        """Take the leg off its stream, or back from a transfer: Twilio asks how to go on. Raises `VendorError`."""
        url = self._url(webhooks.OVER, leg.call_id)
        for pause in ANSWERING:
            try:
                await self._api.update_call("take over the call", leg.carrier_call_id, url=url, method="POST")
            except (NotInProgress, OutcomeUnknown):  # to be told twice does no harm
                await asyncio.sleep(pause)
            else:
                return
        await self._api.update_call("take over the call", leg.carrier_call_id, url=url, method="POST")

    async def limit_duration(self, leg: LegRef, seconds: float) -> None:
        """Let Twilio end a call by itself after this time: for calls that we did not place. Raises `VendorError`.

        It is asked to report the end as well: a number that is called may have no address for reports of its own.
        """
        limit = {"time_limit": math.ceil(seconds)}
        report = {
            "status_callback": self._url(webhooks.STATUS, leg.call_id),
            "status_callback_method": "POST",
        }
        try:
            await self._api.update_call("limit the call", leg.carrier_call_id, **limit, **report)
        except VendorRejected as error:
            if is_gone(error):
                return
            # The limit matters more than the report, which the end of the stream stands in for.
            await self._api.update_call("limit the call", leg.carrier_call_id, **limit)

    async def fetch_status(self, leg: LegRef) -> LegStatus:
        """Ask Twilio how a leg stands. Raises `VendorError`."""
        if not leg.carrier_call_id:
            return LegStatus(state="unknown")
        try:
            call = await self._api.fetch_call(leg.carrier_call_id)
        except VendorRejected as error:
            if is_gone(error):
                return LegStatus(state="unknown")
            raise
        if call.status in _LIVE:
            return LegStatus(state="live")
        # A completed call tells nothing about who ended it.
        known = None if call.status == "completed" else webhooks.end_reason(call.status, call.direction)
        answered = call.ended - call.duration if call.ended is not None and call.duration else None
        return LegStatus(state="ended", reason=known, answered_at=answered, ended_at=call.ended)

    def _url(self, purpose: str, call_id: str, base: str = "") -> str:
        return webhooks.own_url(
            base or self._runtime.webhook_url("twilio"),
            purpose=purpose,
            nonce=self._runtime.ids.token(),
            call_id=call_id,
        )

    def _call_parameters(self, request: PlaceCall) -> dict[str, Any]:
        def url(purpose: str) -> str:
            return self._url(purpose, request.call_id, request.webhook_url)

        parameters: dict[str, Any] = {
            "to": request.to_number,
            "from_": request.from_number,
            "url": url(webhooks.VOICE),
            "method": "POST",
            "status_callback": url(webhooks.STATUS),
            "status_callback_event": ["initiated", "ringing", "completed"],
            "status_callback_method": "POST",
            "timeout": min(MAX_RING, math.ceil(request.ring_timeout)),
            "time_limit": math.ceil(request.max_duration),
        }
        if request.machine_detection:
            # Asynchronous, because otherwise the far party hears nothing until the verdict.
            parameters |= {
                "machine_detection": "Enable",
                "async_amd": "true",
                "async_amd_status_callback": url(webhooks.MACHINE),
                "async_amd_status_callback_method": "POST",
            }
        return parameters


@asynccontextmanager
async def open_twilio(config: TwilioConfig, runtime: Runtime) -> AsyncIterator[TwilioCarrier]:
    """Open an account.

    Raises:
        ConfigError: Its id or a secret is missing: without them nobody could tell Twilio from a stranger.
    """
    account_sid, auth_token = credentials(config)
    keys = {name: key.get_secret_value().strip() for name, key in config.signing_keys.items()}
    for name, key in keys.items():
        if not name or not key:
            raise ConfigError("twilio.signingKeys: expected key ids and their secrets, found an empty one")
    signatures = SignatureCheck(auth_token, keys)
    async with open_api(account_sid, auth_token, region=config.region, base_url=config.api_base_url) as api:
        yield TwilioCarrier(api, account_sid, signatures, runtime)
