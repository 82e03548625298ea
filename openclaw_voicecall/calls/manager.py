"""All calls of the process: placing, taking, finding and ending them."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.carrier import Carrier, CarrierEvent, LegOrder, PlaceCall
from openclaw_voicecall.api.clock import Clock, Ids
from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.api.store import CallRecord, CallStore
from openclaw_voicecall.calls import assembly
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.admission import Admissions
from openclaw_voicecall.calls.engines import EngineRoom, takes_turns
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.live import LIMIT_MARGIN, LiveCall, LiveCalls
from openclaw_voicecall.calls.memory import Memory, nothing
from openclaw_voicecall.calls.placing import KeyedCalls, Placement, PlaceRequest
from openclaw_voicecall.calls.planning import must_say, plan_call
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    CallIsOver,
    CallNotAllowed,
    CallNotFound,
    ConfigError,
    LimitExceeded,
    StoreError,
    UnknownProvider,
    VendorError,
    VoiceCallError,
)
from openclaw_voicecall.session.session import CallSession

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)

ORDER_LIMIT = 3.0
"""Seconds until an offered call must have an answer for the carrier."""
ASKING = frozenset({"answered", "turn", "poll", "stream-over", "transfer"})
"""What carriers report and want an order for."""
TELLING = frozenset({EndReason.FAILED, EndReason.CARRIER_ERROR, EndReason.MEDIA_LOST})
"""Ends whose detail, as the carrier words it, belongs into the record."""
GOODBYE_LIMIT = 10.0
"""Seconds for a goodbye when the service stops."""
HANG_UP_LIMIT = 3.0
"""Seconds for calls to end once they are hung up."""
STORE_LIMIT = 5.0
"""Seconds that an ended call waits for its last entries to be stored before it gives its slot back."""
DEFAULT_FROM = "+15550100000"
"""Caller id of the local line when none is configured."""


class CallManager:
    """Owns every live call.

    Args:
        config: The validated configuration.
        room: Opened engines.
        admissions: Policies and routers.
        store: Where records are kept.
        hub: Takes every journal entry.
        tokens: Mints the secrets of media streams.
        clock: Both clocks.
        ids: Makes call ids.
        recordings: Folder for recordings when the configuration names none.
        addresses: Under which carriers reach us.
    """

    def __init__(
        self,
        *,
        config: "VoiceCallConfig",
        room: EngineRoom,
        admissions: Admissions,
        store: CallStore,
        hub: JournalHub,
        tokens: StreamTokens,
        clock: Clock,
        ids: Ids,
        recordings: Path,
        addresses: Addresses,
    ) -> None:
        self.config = config
        self.clock = clock
        self.engines = room.engines
        self.draining = False
        self.addresses = addresses
        self._room = room
        self._admissions = admissions
        self._store = store
        self._hub = hub
        self._memory = Memory(store, config.memory, clock)
        self._tokens = tokens
        self._ids = ids
        self._recordings = recordings
        self._live = LiveCalls()
        self._keyed = KeyedCalls(store, clock)
        self._placing = asyncio.Lock()
        self._deciding: dict[tuple[str, str], asyncio.Task[LiveCall]] = {}
        """Inbound calls that are being decided about, by carrier and its id."""

    @property
    def live(self) -> Sequence[CallRecord]:
        """Records of the calls that hold a slot."""
        return [entry.record for entry in self._live]

    def session(self, call_id: str) -> CallSession:
        """The session of a live call, by our id or the carrier's. Raises `CallNotFound`."""
        return self._live.find(call_id).session

    def record(self, call_id: str) -> CallRecord | None:
        """The record of a live call."""
        entry = self._live.get(call_id)
        return entry.record if entry else None

    async def require(self, call_id: str) -> CallSession:
        """The session of a live call. Raises `CallIsOver` or `CallNotFound`."""
        try:
            return self.session(call_id)
        except CallNotFound:
            stored = await self._store.get_call(call_id)
            if stored is None:
                raise
            raise CallIsOver(f"call {call_id} is over ({stored.end_reason})") from None

    async def place(self, request: PlaceRequest, *, key: str = "") -> Placement:
        """Dial. The record is in the store before anything is dialled.

        Args:
            request: What is asked for.
            key: Asked for again under the same key within a day, nothing is dialled; empty for none.

        Returns:
            The record right after the carrier was asked to dial, or of the call that the key stands for.

        Raises:
            CallNotAllowed, LimitExceeded: A policy says no.
            KeyReused: The key stands for another call.
            VoiceCallError: The responder or carrier is unknown, or the store failed; nothing was dialled.
        """
        # Policies count records and keys are looked up in them: a call is recorded before the next one is judged.
        async with self._placing:
            known = await self._keyed.find(key, request)
            if known is not None:
                return Placement(self.record(known.call_id) or known, repeated=True)
            entry = await self._admitted(request, self._keyed.metadata(key, request))
        entry.task = asyncio.create_task(self._run(entry, lambda: self._begin_outbound(entry, request)))
        return Placement(entry.record)

    async def _admitted(self, request: PlaceRequest, metadata: dict[str, str]) -> LiveCall:
        """A call that may be placed and has its slot and its record."""
        carrier = request.carrier or self.config.provider
        self._carrier(carrier).check_options(request.options)
        if request.mode == "notify" and not request.message.strip():
            raise ConfigError("message: a notification needs something to say")
        with self._live.reserved() as others:
            offer = CallOffer(
                direction="outbound",
                carrier=carrier,
                from_number=request.from_number or self.config.from_number or DEFAULT_FROM,
                to_number=request.to_number,
                mode=request.mode,
                live_calls=others,
                billed=self.engines.capabilities[carrier].billed,
            )
            await self._admit(offer)
            call_id = self._ids.call_id()
            plan = plan_call(
                self.config,
                offer,
                message=request.message,
                objective=request.objective,
                call_id=call_id,
            )
            plan = await self._admissions.route(offer, plan)
            return await self._create(
                call_id,
                offer,
                plan,
                record_dir=request.record_dir,
                metadata={**request.options, **metadata},
            )

    def _begin_outbound(self, entry: LiveCall, request: PlaceRequest) -> None:
        entry.session.post(e.CallPlaced())
        entry.session.start(self._dial(entry, request))

    async def _dial(self, entry: LiveCall, request: PlaceRequest) -> None:
        session, plan, call = entry.session, entry.plan, entry.record
        try:
            carrier_call_id = await session.parts.carrier.place_call(
                PlaceCall(
                    call_id=call.call_id,
                    to_number=call.to_number,
                    from_number=call.from_number,
                    webhook_url=self.addresses.webhook(call.carrier),
                    ring_timeout=plan.policy.ring_timeout,
                    max_duration=plan.policy.max_duration + LIMIT_MARGIN,
                    machine_detection=self._detects_machines(call.carrier),
                    options=request.options,
                )
            )
        except (VoiceCallError, OSError) as error:
            session.carrier_failed(call.carrier, str(error), "the call is not placed")
            reason = EndReason.CARRIER_ERROR if isinstance(error, VendorError) else EndReason.FAILED
            session.post(e.CallEnded(reason))
        else:
            entry.learn_leg(carrier_call_id)
        finally:
            session.leg_known.set()

    async def offer(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Decide about an inbound call and answer the carrier. Offered again, a call gets the same answer."""
        known = self._live.of(carrier, event)
        if known is not None:
            return await self._given_order(known)
        key = (carrier, event.carrier_call_id)
        if key not in self._deciding:
            self._deciding[key] = asyncio.create_task(self._decide(carrier, event))
            self._deciding[key].add_done_callback(lambda _: self._deciding.pop(key))
        try:
            async with asyncio.timeout(ORDER_LIMIT):
                entry = await asyncio.shield(self._deciding[key])
        except TimeoutError:
            return LegOrder(action="reject", reason=EndReason.BUSY)
        return await self._given_order(entry)

    async def _given_order(self, entry: LiveCall) -> LegOrder:
        """The answer to an offer: the call's own, or what it says first where it talks by turns."""
        order = await asyncio.shield(entry.order)
        return await entry.next_turn() if order.action == "turn" else order

    async def _decide(self, carrier: str, event: CarrierEvent) -> LiveCall:
        with self._live.reserved() as others:
            offer = CallOffer(
                direction="inbound",
                carrier=carrier,
                from_number=event.from_number,
                to_number=event.to_number,
                live_calls=others,
                billed=self.engines.capabilities[carrier].billed,
            )
            admitted, why, busy = True, "", False
            try:
                await self._admit(offer)
            except (CallNotAllowed, LimitExceeded) as refusal:
                admitted, why, busy = False, str(refusal), isinstance(refusal, LimitExceeded)
            call_id = self._ids.call_id()
            plan = plan_call(self.config, offer, message="", objective="", call_id=call_id)
            plan = await self._admissions.route(offer, plan)
            entry = await self._create(call_id, offer, plan, record_dir="", metadata={}, talks=admitted)
        entry.session.detail = why
        entry.busy = busy
        entry.learn_leg(event.carrier_call_id)
        entry.task = asyncio.create_task(self._run(entry, lambda: self._begin_inbound(entry, admitted)))
        return entry

    def _begin_inbound(self, entry: LiveCall, admitted: bool) -> None:
        entry.session.post(e.CallOffered(admitted))
        if admitted and entry.session.parts.capabilities.limits_duration:
            entry.session.start(entry.limit_duration())

    async def leg_event(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Take what the carrier reports of a call, and say how to go on."""
        entry = self._live.of(carrier, event)
        if entry is None:
            # Such as a call that an earlier process of this service held: nobody here knows it any more.
            goodbye = LegOrder(action="hang-up", fallback_text=self.config.phrases.goodbye)
            return goodbye if event.kind in ASKING else LegOrder(action="none")
        entry.learn_leg(event.carrier_call_id)
        session = entry.session
        if event.kind in ASKING:
            if event.kind == "answered":
                session.post(e.CallAnswered())
            if session.released:
                return LegOrder(action="hang-up")
            order = await entry.how_to_go_on(event)
            return self._stream_order(entry) if order.action == "stream" else order
        match event.kind:
            case "ringing":
                session.post(e.CallRinging())
            case "machine":
                session.post(e.MachineDetected(event.verdict))
            case "ended":
                reason = event.reason or EndReason.FAILED
                if event.detail and reason in TELLING:
                    session.detail = session.detail or event.detail
                session.post(e.CallEnded(reason))
            case _:
                logger.info("carrier %s says %r, which means nothing to us", carrier, event.kind)
        return LegOrder(action="none")

    async def wait_idle(self) -> None:
        """Return once no call holds a slot."""
        await self._live.wait_idle()

    async def end_all(self, *, goodbye: bool) -> None:
        """End every live call: with `goodbye` after it was heard, then without, then give up on it."""
        for text, limit in ((True, GOODBYE_LIMIT), (False, HANG_UP_LIMIT)):
            if text and not goodbye:
                continue
            for entry in self._live:
                farewell = entry.plan.policy.goodbye if text else ""
                entry.session.post(e.HangUpRequested(EndReason.SHUTDOWN, farewell))
            try:
                async with asyncio.timeout(limit):
                    await self.wait_idle()
            except TimeoutError:
                continue
            return
        for entry in self._live:
            logger.error("call %s did not end; it is closed at the next start", entry.record.call_id)
            if entry.task is not None:
                entry.task.cancel()

    def _carrier(self, name: str) -> Carrier:
        if name not in self.engines.carriers:
            known = ", ".join(sorted(self.engines.carriers))
            raise UnknownProvider(f"provider: no carrier {name!r} is open; open: {known}")
        return self.engines.carriers[name]

    async def _admit(self, offer: CallOffer) -> None:
        if self.draining:
            raise LimitExceeded("the service is shutting down and takes no more calls")
        admission = await self._admissions.decide(offer)
        if not admission.allowed:
            raise (LimitExceeded if admission.busy else CallNotAllowed)(admission.reason)

    async def _why_not_hand_over(self, offer: CallOffer, number: str) -> str:
        """What the policies have against handing the far party of a call over to this number."""
        ours = offer.from_number if offer.direction == "outbound" else offer.to_number
        onward = replace(
            offer, direction="outbound", from_number=ours, to_number=number, mode="transfer", live_calls=0
        )
        admission = await self._admissions.decide(onward)
        return "" if admission.allowed else admission.reason

    async def _create(
        self,
        call_id: str,
        offer: CallOffer,
        plan: CallPlan,
        *,
        record_dir: str,
        metadata: dict[str, str],
        talks: bool = True,
    ) -> LiveCall:
        wall = self.clock.wall()
        recording = assembly.recording_path(self.config, self._recordings, record_dir, call_id, wall)
        call = CallRecord(
            call_id=call_id,
            carrier=offer.carrier,
            direction=offer.direction,
            from_number=offer.from_number,
            to_number=offer.to_number,
            mode=offer.mode,
            state="initiated" if offer.direction == "outbound" else "ringing",
            created_at=wall,
            recording=str(recording) if recording else "",
            metadata={
                **plan.metadata,
                **metadata,
                "objective": plan.objective,
                "sessionKey": plan.session_key,
            },
        )
        session = CallSession(
            call_id=call_id,
            call=Call(self._policy(offer, plan, recording), outbound=offer.direction == "outbound"),
            clock=self.clock,
            journal=lambda *entry: self._journal(call_id, *entry),
            give_order=self._answer_offer,
        )
        responders = await self._room.responder(plan.responder)
        session.parts = assembly.equip(
            session,
            call,
            plan,
            engines=self.engines,
            responders=responders,
            config=self.config,
            recording=recording,
            transcript=lambda: self._live.find(call_id).record.transcript,
            may_dial=partial(self._why_not_hand_over, offer),
            earlier=self._memory.recall(plan.session_key) if talks and plan.policy.respond else nothing,
        )
        entry = LiveCall(
            session=session,
            record=call,
            plan=plan,
            created=self.clock.monotonic(),
            order=asyncio.get_running_loop().create_future(),
        )
        await self._store.put_call(call)
        self._live.add(entry)  # last, because until here the slot is a reserved one and must not count twice
        return entry

    def _policy(self, offer: CallOffer, plan: CallPlan, recording: Path | None) -> CallPolicy:
        abilities = self.engines.capabilities[offer.carrier]
        recorded = recording is not None and not takes_turns(self.config, abilities)
        lines = must_say(self.config, offer, plan.policy.greeting, recorded=recorded)
        policy = replace(plan.policy, must_say=lines)
        return assembly.tuned_policy(policy, self.config, abilities, interims=self.engines.interims)

    async def _run(self, entry: LiveCall, begin: Any) -> None:
        try:
            await entry.session.run(begin)
        finally:
            if not entry.order.done():
                entry.order.set_result(LegOrder(action="hang-up"))
            if not entry.record.over:
                reason = EndReason.SHUTDOWN if self.draining else EndReason.INTERNAL_ERROR
                entry.record = replace(
                    entry.record,
                    ended_at=self.clock.wall(),
                    end_reason=str(reason),
                    state=reason.to_openclaw(),
                )
                self._hub.write(entry.record, entry.closing_entry(self.clock))
            # A store that fails now has the record in its queue and tries on; the slot is free all the same.
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(STORE_LIMIT):
                    await self._hub.flush()
                    await self._store.put_call(entry.record)
            self._live.remove(entry.record.call_id)

    def _journal(
        self,
        call_id: str,
        event: str,
        data: dict[str, Any],
        commands: tuple[dict[str, Any], ...],
        call: Call,
    ) -> None:
        entry = self._live.find(call_id)
        item = entry.write(self.clock, event, data, commands, call)
        self._hub.write(entry.record, item)

    def _answer_offer(self, session: CallSession, order: LegOrder) -> None:
        entry = self._live.find(session.call_id)
        if entry.order.done():
            return
        if order.action == "stream" and entry.session.takeover.by_turns:
            order = LegOrder(action="turn")
        elif order.action == "stream":
            order = self._stream_order(entry)
        elif entry.busy:
            order = replace(order, reason=EndReason.BUSY)
        entry.order.set_result(order)

    def _detects_machines(self, carrier: str) -> bool:
        return self.config.outbound.machine_detection and self.engines.capabilities[carrier].machine_detection

    def _stream_order(self, entry: LiveCall) -> LegOrder:
        token = self._tokens.mint(entry.record.call_id, entry.record.carrier)
        entry.session.absence.stream_ordered()
        return LegOrder(
            action="stream",
            call_id=entry.record.call_id,
            stream_url=self.addresses.stream(entry.record.carrier, token),
            fallback_text=self.config.phrases.bridge
            if entry.session.parts.capabilities.turns
            else entry.plan.policy.goodbye,
        )
