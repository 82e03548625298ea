"""The carrier `openai-sip`: a SIP trunk brings calls to OpenAI, whose speech model talks on them.

OpenAI tells of each call by a signed webhook and waits for it to be taken. What is said is steered over a socket that
carries no audio. Calls of our own are placed by another carrier, which connects them with `target`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn

import openai

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
from openclaw_voicecall.api.realtime import (
    CallOver,
    RealtimeEvent,
    RealtimeRequest,
    RealtimeSession,
    SipTarget,
)
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    CallIsGone,
    ConfigError,
    InvalidSignature,
    VendorError,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.providers._socket import VendorSocket
from openclaw_voicecall.providers.openai import sip_webhooks
from openclaw_voicecall.providers.openai.accept_check import accept_problems
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.conversation import TALK, LineLost, VoiceSession
from openclaw_voicecall.providers.openai.realtime import OpenAIRealtimeModel
from openclaw_voicecall.providers.openai.refusals import VENDOR
from openclaw_voicecall.providers.openai.sip_calls import PAUSES, UNDECIDED, SipCalls, open_client
from openclaw_voicecall.providers.openai.sip_config import SECTION, OpenAISipConfig
from openclaw_voicecall.providers.openai.sip_legs import Legs
from openclaw_voicecall.providers.openai.voice_line import VoiceLimits, open_voice
from openclaw_voicecall.providers.openai.voice_settings import accept_body, voice_settings

BUSY: Final = 486
DECLINE: Final = 603


@dataclass(frozen=True, slots=True)
class SipLimits:
    """How long things may take, in seconds."""

    ready: float = 5.0
    """From taking a call until the session must be ready."""
    transfer: float = 5.0
    """From OpenAI's consent to a transfer until the call must have left."""
    look: float = 1.0
    """Between two looks whether it has, where no socket would tell."""
    pauses: tuple[float, ...] = PAUSES
    """Between attempts to reach a call that was just taken."""


class OpenAISipCarrier:
    """The SIP endpoint of one project of OpenAI.

    Args:
        calls: OpenAI's REST API for calls.
        client: The SDK's client, which checks webhooks.
        config: The settings.
        runtime: The process the carrier runs in.
        limits: How long things may take.
    """

    def __init__(
        self,
        calls: SipCalls,
        client: openai.AsyncOpenAI,
        config: OpenAISipConfig,
        runtime: Runtime,
        limits: SipLimits | None = None,
    ) -> None:
        self._calls = calls
        self._client = client
        self._config = config
        self._runtime = runtime
        self._limits = limits or SipLimits()
        self._legs = Legs(runtime.clock)

    def verify(self, request: WebhookRequest, now: float) -> VerifiedWebhook:
        """Check that OpenAI sent this, lately and for our project. Raises `WebhookError`."""
        sip_webhooks.require_shape(request)
        try:
            self._client.webhooks.verify_signature(request.body, dict(request.headers))
        except (openai.InvalidWebhookSignatureError, ValueError, TypeError) as error:
            # The SDK's comparison fails by `TypeError` for signatures that are not ASCII.
            said = error if isinstance(error, openai.InvalidWebhookSignatureError) else "it cannot be read"
            raise InvalidSignature(f"the signature does not match: {said}") from None
        return sip_webhooks.verified(request)

    def parse(self, webhook: VerifiedWebhook) -> Sequence[CarrierEvent]:
        """The facts in it. Raises `MalformedWebhook`."""
        incoming = sip_webhooks.incoming_call(webhook)
        if incoming is None or not self._legs.announce(incoming.call, webhook.replay_key):
            return []
        ours = self._legs.joins(incoming.all(sip_webhooks.CALL_HEADER), incoming.call)
        return [
            CarrierEvent(
                kind="joined" if ours else "offered",
                carrier_call_id=incoming.call,
                call_id=ours,
                from_number=incoming.from_number,
                to_number=incoming.to_number,
            )
        ]

    def reply(self, webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
        """OpenAI wants to know only that its webhook arrived; calls are taken and refused by requests of ours."""
        return WebhookReply(status=200)

    def target(self, call_id: str) -> SipTarget:
        """Where another carrier has to connect this call of ours to. Raises `ConfigError` without a project."""
        if self._config.project_id is None:
            raise ConfigError(f"{SECTION}.projectId: expected the id of a project of OpenAI, found none")
        token = self._runtime.ids.token()
        self._legs.expect(token, call_id)
        return SipTarget(
            uri=f"sip:{self._config.project_id}@{self._config.sip_host};transport=tls",
            headers={sip_webhooks.CALL_HEADER: token},
        )

    @property
    def trial(self) -> OpenAIRealtimeModel:
        """The same model with the same settings over a WebSocket of ours, so that it can be tried without a call."""
        owner = account(self._config.api_key, self._config.base_url, section=SECTION)
        return OpenAIRealtimeModel(owner, self._config, self._runtime.clock)

    def refusals(self, request: RealtimeRequest) -> Sequence[str]:
        """What OpenAI would not take of a call with this request, a phrase each with the name of the field."""
        return accept_problems(self._config, request)

    def open_session(
        self, leg: LegRef, request: RealtimeRequest
    ) -> AbstractAsyncContextManager[RealtimeSession]:
        """Take the call and talk on it; a call that was taken before is only steered, from a fresh socket."""
        call = leg.carrier_call_id
        known = self._legs.find(call)
        settings = voice_settings(self._config, request, sip=True, attached=known is not None)
        before = None if known is None else known.remains
        session = VoiceSession(settings, self._runtime.clock, age=self._legs.age(known), before=before)

        @asynccontextmanager
        async def connect() -> AsyncIterator[VendorSocket]:
            doubt = None
            if known is not None and known.lost:
                raise VendorRejected(known.lost, vendor=VENDOR, operation=TALK)
            if known is None:
                doubt = await self._accept(call, accept_body(settings, attends=session.attends))
            taken = self._legs.take(call)
            try:
                async with self._calls.sideband(call, fresh=known is None) as socket:
                    taken.seen = True
                    taken.lines += 1
                    try:
                        yield socket
                    except LineLost as error:
                        taken.lost = str(error)
                        raise
                    finally:
                        taken.lines -= 1
                        taken.remains = session.remains
            except CallIsGone:
                if doubt is not None:
                    self._legs.drop(call)
                    raise doubt from None
                taken.over.set()
                raise

        async def closed(error: VendorError) -> tuple[Sequence[RealtimeEvent], VendorError]:
            return await self._closed(call, error)

        return open_voice(session, connect, VoiceLimits(ready=self._limits.ready), closed=closed)

    async def refuse(self, leg: LegRef, reason: EndReason) -> None:
        """Refuse an offered call; one that is gone is refused. Raises `VendorError`."""
        with suppress(CallIsGone):
            await self._calls.reject(leg.carrier_call_id, BUSY if reason is EndReason.BUSY else DECLINE)

    async def hang_up(self, leg: LegRef) -> None:
        """End the leg. A leg that is gone already counts as ended. Raises `VendorError`."""
        call = leg.carrier_call_id
        if not call:
            return
        known = self._legs.find(call)
        try:
            await self._calls.hang_up(call, fresh=known is not None and not known.seen)
        except CallIsGone:
            if known is None:  # it may still ring, and OpenAI ends only what was taken
                with suppress(CallIsGone):
                    await self._calls.reject(call, DECLINE)
        if known is not None:
            known.over.set()

    async def transfer(
        self, leg: LegRef, to_number: str, *, caller_id: str = "", limit: float = 0.0, announce: str = ""
    ) -> None:
        """Have the trunk hand the far party over, by a SIP REFER; the trunk decides caller id and length.

        OpenAI says yes whether or not the trunk hears of it. So the call has to leave within seconds.

        Raises:
            CallIsGone: There is no such call any more.
            VendorError: OpenAI refuses, or says yes and nothing happens. The call goes on.
        """
        call = leg.carrier_call_id
        await self._calls.refer(call, f"tel:{to_number}")
        known = self._legs.take(call)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.transfer
        while (left := deadline - loop.time()) > 0:
            if await _happens(known.over, min(left, self._limits.look)):
                return
            if not known.lines and await self._is_over(call):
                return
        if not await self._is_over(call):
            raise VendorError(
                f"OpenAI accepted the transfer (REFER), and nothing happened within {self._limits.transfer:g} s; does "
                "the trunk allow call transfers?",
                vendor=VENDOR,
                operation="transfer the call",
            )

    async def fetch_status(self, leg: LegRef) -> LegStatus:
        """How a leg stands, by whether its socket can be opened: OpenAI tells no more. Raises `VendorError`."""
        call = leg.carrier_call_id
        known = self._legs.find(call)
        if not call:
            return LegStatus(state="unknown")
        if known is not None and known.lines and not known.over.is_set():
            return LegStatus(state="live")
        if (known is not None and known.over.is_set()) or await self._is_over(call):
            # A call that was just taken, or by a process before this one, may be about to appear.
            return LegStatus(state="ended" if known is not None and known.seen else "unknown")
        return LegStatus(state="live")

    async def place_call(self, request: PlaceCall) -> str:
        """Not over OpenAI's API: the trunk's carrier places calls. Raises `VendorRejected`."""
        _cannot(f"place calls; {self._config.trunk} places them, and connects them to OpenAI", "place call")

    def check_options(self, options: Mapping[str, str]) -> None:
        """Calls on this endpoint take no options. Raises `ConfigError` for any."""
        for name in options:
            raise ConfigError(f"calls over OpenAI's SIP endpoint have no option {name!r}")

    def media_codec(self) -> MediaCodec:
        """There is none: OpenAI has the audio. Raises `VendorRejected`."""
        _cannot("pass on the audio of calls", "open a media stream")

    async def send_digits(self, leg: LegRef, digits: str) -> None:
        """Not over OpenAI's API. Raises `VendorRejected`."""
        _cannot("send digits", "send digits")

    async def take_over(self, leg: LegRef) -> None:
        """There is no media stream to take a leg off. Raises `VendorRejected`."""
        _cannot("take calls off a media stream", "take over the call")

    async def limit_duration(self, leg: LegRef, seconds: float) -> None:
        """Not over OpenAI's API. Raises `VendorRejected`."""
        _cannot("limit calls", "limit the call")

    async def find_legs(
        self, *, to_number: str, from_number: str, since: float, until: float
    ) -> Sequence[str]:
        """OpenAI lists no calls."""
        return []

    async def _accept(self, call: str, body: Mapping[str, object]) -> VendorError | None:
        """Take a call. Returns the failure after which it may be taken all the same. Raises `VendorError`."""
        self._legs.take(call)  # from here on it may be ours, whatever the answer, so that it can be hung up
        try:
            await self._calls.accept(call, body)
        except VendorError as error:
            if isinstance(error, VendorUnavailable) or error.status in UNDECIDED:
                return error
            self._legs.drop(call)
            raise
        return None

    async def _closed(self, call: str, error: VendorError) -> tuple[Sequence[RealtimeEvent], VendorError]:
        """A call that is over has no socket any more; where there still is one, the socket alone was lost."""
        try:
            over = await self._is_over(call)
        except VendorError:
            return (), error
        if not over:
            return (), error
        gone = CallIsGone("the call is over, says OpenAI", vendor=VENDOR, operation=TALK, status=error.status)
        return (CallOver(str(error)),), gone

    async def _is_over(self, call: str) -> bool:
        over = await self._calls.is_over(call)
        known = self._legs.find(call)
        if over and known is not None and known.seen:
            known.over.set()
        return over


@asynccontextmanager
async def open_openai_sip(
    config: OpenAISipConfig, runtime: Runtime, limits: SipLimits | None = None
) -> AsyncIterator[OpenAISipCarrier]:
    """Open the endpoint.

    Raises:
        ConfigError: The key or the webhook's secret is missing: without them nobody could tell OpenAI from a
            stranger.
    """
    owner = account(config.api_key, config.base_url, section=SECTION)
    async with open_client(owner, webhook_secret(config)) as client:
        calls = SipCalls(owner, client, (limits or SipLimits()).pauses)
        yield OpenAISipCarrier(calls, client, config, runtime, limits)


def webhook_secret(config: OpenAISipConfig) -> str:
    """The webhook's secret. Raises `ConfigError` when it is missing, or none that OpenAI gives out."""
    secret = config.webhook_secret.get_secret_value().strip() if config.webhook_secret is not None else ""
    if not secret:
        raise ConfigError(
            f"{SECTION}.webhookSecret: expected a value, here or in OPENAI_WEBHOOK_SECRET; found none"
        )
    if not sip_webhooks.signing_key(secret):
        raise ConfigError(
            f"{SECTION}.webhookSecret: expected a secret such as whsec_..., found something else"
        )
    return secret


async def _happens(event: asyncio.Event, limit: float) -> bool:
    try:
        async with asyncio.timeout(limit):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _cannot(what: str, operation: str) -> NoReturn:
    raise VendorRejected(
        f"OpenAI's SIP endpoint does not {what}",
        vendor=VENDOR,
        operation=operation,
    )
