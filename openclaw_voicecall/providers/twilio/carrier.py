"""The carrier `twilio`."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
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

TAKE_TIME = 10
"""Seconds that whoever answers a transfer has to press a key, once they were told what it is about."""
REFER_PAUSE = 2
"""Seconds of silence after the SIP side has asked for a transfer, in which it may be carried out by `transfer`."""

_LIVE = frozenset({"queued", "initiated", "ringing", "in-progress"})
_NOT_ANSWERED = frozenset({"queued", "initiated", "ringing"})


@dataclass(slots=True)
class _Announced:
    """A transfer whose other side hears first what it is about."""

    words: str
    taken: bool = False


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
        self._announced: dict[str, _Announced] = {}
        """By our id of the call, until the transfer is over: words have no place in an address, which gets logged."""
        self._bridges: dict[str, str] = {}
        """By our id of the call, the nonce of its bridge; empty once the call was taken off it."""

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
        self._dialling.heard(webhooks.call_id_of(webhook), webhooks.leg_of(webhook))
        return [judged for event in events if (judged := self._judged(webhook, event)) is not None]

    def reply(self, webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
        """The TwiML that carries out an order.

        Raises:
            ConfigError: Twilio would not take the address of a `bridge`.
        """
        call_id = order.call_id or webhooks.call_id_of(webhook)
        match webhooks.purpose_of(webhook):
            case webhooks.WHISPER:
                text = self._whisper(call_id)
            case webhooks.TAKEN:
                text = twiml.nothing() if webhooks.was_taken(webhook) else twiml.hang_up()
            case webhooks.REFERRED if order.action == "none":
                text = self._after_refer(call_id)
            case webhooks.BRIDGED if order.action == "none":
                text = twiml.wait(self._url(webhooks.OVER, call_id))
            case _:
                text = self._carried_out(order, call_id)
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
        self._announced.pop(leg.call_id, None)
        self._bridges.pop(leg.call_id, None)
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

    async def transfer(
        self, leg: LegRef, to_number: str, *, caller_id: str = "", limit: float = 0.0, announce: str = ""
    ) -> None:
        """Connect the far party with another number. The media stream ends with it. Raises `VendorError`.

        Twilio's answer tells only that it has understood; what becomes of it is reported as `transfer`. With
        `announce`, whoever answers hears these words first and has to press a key: until then nobody has answered, and
        without it the verdict is `declined`.
        """
        if limit:  # the limit of the talk with the agent would cut the talk with the other number
            await self.limit_duration(leg, MAX_LIMIT)
        self._announced.pop(leg.call_id, None)
        if announce:
            self._announced[leg.call_id] = _Announced(announce)
        order = twiml.transfer(
            to_number,
            over_url=self._url(webhooks.DIALLED, leg.call_id),
            news_url="" if announce else self._url(webhooks.HANDED, leg.call_id),
            whisper_url=self._url(webhooks.WHISPER, leg.call_id) if announce else "",
            caller_id=caller_id,
            limit=math.ceil(limit),
        )
        with self._off_bridge(leg.call_id):
            await self._api.update_call("transfer the call", leg.carrier_call_id, twiml=order)

    async def take_over(self, leg: LegRef) -> None:
        """Take the leg off its stream, or back from a transfer: Twilio asks how to go on. Raises `VendorError`."""
        url = self._url(webhooks.OVER, leg.call_id)
        with self._off_bridge(leg.call_id):
            for pause in ANSWERING:
                try:
                    await self._api.update_call(
                        "take over the call", leg.carrier_call_id, url=url, method="POST"
                    )
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

    def _judged(self, webhook: VerifiedWebhook, event: CarrierEvent) -> CarrierEvent | None:
        """What an event means, by what we know of the call; None where we brought it about ourselves."""
        purpose = webhooks.purpose_of(webhook)
        announced = self._announced.get(event.call_id)
        match event.kind:
            case "ended":
                self._announced.pop(event.call_id, None)
                self._bridges.pop(event.call_id, None)
            case "transfer" if purpose == webhooks.TAKEN and announced is not None:
                announced.taken = True
            case "transfer" if purpose == webhooks.DIALLED:
                self._announced.pop(event.call_id, None)
                taken = announced is None or announced.taken or webhook.params.get("DialBridged") == "true"
                if event.verdict in ("completed", "answered") and not taken:
                    return replace(event, verdict="declined")
            case "stream-over" if purpose == webhooks.BRIDGED:
                # The end of a bridge that the call was taken off is nothing: whoever did that goes on with the call.
                here = webhooks.nonce_of(webhook)
                return event if self._bridges.get(event.call_id, here) == here else None
        return event

    def _carried_out(self, order: LegOrder, call_id: str) -> str:
        match order.action:
            case "stream":
                over = self._url(webhooks.OVER, call_id)
                return twiml.stream(order.stream_url, order.fallback_text, over, first_text=order.text)
            case "bridge":
                return self._bridge(order, call_id)
            case "turn" if order.listen:
                return twiml.say_and_gather(
                    order.text,
                    action_url=self._url(webhooks.TURN, call_id),
                    retry_url=self._url(webhooks.POLL, call_id),
                    language=order.language,
                    digits=order.digits,
                )
            case "turn":
                then = self._url(webhooks.POLL, call_id)
                return twiml.say(order.text, then_url=then, language=order.language, digits=order.digits)
            case "reject":
                return twiml.reject(busy=order.reason is EndReason.BUSY)
            case "hang-up":
                return twiml.hang_up(order.fallback_text)
            case "wait":
                return twiml.wait(self._url(webhooks.POLL, call_id))
            case _:
                return twiml.nothing()

    def _bridge(self, order: LegOrder, call_id: str) -> str:
        nonce = self._runtime.ids.token()
        text = twiml.bridge(
            order.sip_uri,
            order.sip_headers,
            over_url=self._url(webhooks.BRIDGED, call_id, nonce=nonce),
            refer_url=self._url(webhooks.REFERRED, call_id),
            first_text=order.text,
        )
        if call_id:
            self._bridges[call_id] = nonce
        return text

    def _after_refer(self, call_id: str) -> str:
        """Keep the far party on the line after the SIP side has asked for a transfer.

        What this answers is carried out on the far party's leg, and the SIP side is let go of. A document without
        orders would end the call. So it is silent until `transfer` has other TwiML carried out; where nobody does
        that, Twilio asks how to go on.
        """
        if call_id in self._bridges:
            self._bridges[call_id] = ""
        return twiml.wait(self._url(webhooks.OVER, call_id), REFER_PAUSE)

    def _whisper(self, call_id: str) -> str:
        announced = self._announced.get(call_id)
        words = announced.words if announced is not None else ""  # an earlier process had them
        return twiml.whisper(words, take_url=self._url(webhooks.TAKEN, call_id), timeout=TAKE_TIME)

    @contextmanager
    def _off_bridge(self, call_id: str) -> Iterator[None]:
        """Take a call off its bridge, unless Twilio refuses: the end of the bridge, which it tells then, is ours."""
        before = self._bridges.get(call_id)
        if before is not None:
            self._bridges[call_id] = ""
        try:
            yield
        except VendorRejected:
            if before is not None and call_id in self._bridges:
                self._bridges[call_id] = before
            raise

    def _url(self, purpose: str, call_id: str, base: str = "", nonce: str = "") -> str:
        return webhooks.own_url(
            base or self._runtime.webhook_url("twilio"),
            purpose=purpose,
            nonce=nonce or self._runtime.ids.token(),
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
