"""All calls of the process: placing, taking, finding and ending them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from openclaw_voicecall.api.carrier import Carrier, CarrierEvent, LegOrder, PlaceCall
from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.calls.inbound import CarrierDesk
from openclaw_voicecall.calls.live import LIMIT_MARGIN, LiveCall, LiveCalls
from openclaw_voicecall.calls.making import CallMaker, CallTools
from openclaw_voicecall.calls.parting import end_all
from openclaw_voicecall.calls.placing import KeyedCalls, Placement, PlaceRequest
from openclaw_voicecall.calls.reconcile import Reconciler
from openclaw_voicecall.calls.sweep import sweep_for_ever
from openclaw_voicecall.calls.team import Assignment, CallWish, Colleague
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    CallIsOver,
    CallNotFound,
    ConfigError,
    DialUnknown,
    UnknownProvider,
    VendorError,
    VendorTimeout,
    VoiceCallError,
)
from openclaw_voicecall.session.session import CallSession

DEFAULT_FROM = "+15550100000"
"""Caller id of the local line when none is configured."""
TAKE_LIMIT = 5.0
"""Seconds for another process to have written down a call that is to be dialled."""
LAST_TRY = 0.5
"""Seconds for hang-ups that did not succeed until the service stops."""


class CallManager:
    """Owns every live call.

    Args:
        tools: What is needed to make calls.
    """

    def __init__(self, tools: CallTools) -> None:
        self.config = tools.config
        self.clock = tools.clock
        self.engines = tools.room.engines
        self.addresses = tools.addresses
        self._store = tools.store
        self._hub = tools.hub
        self.team = tools.team
        self._live = LiveCalls(tools.team)
        self._reconciler = Reconciler(tools.store, self.engines, self._live, tools.hub, tools.clock)
        self._maker = CallMaker(tools, self._live, self._reconciler)
        self._desk = CarrierDesk(self._maker, self._live, self._reconciler)
        self._keyed = KeyedCalls(tools.store, tools.clock)

    @property
    def draining(self) -> bool:
        """Whether no more calls are taken."""
        return self._maker.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._maker.draining = draining

    @property
    def live(self) -> Sequence[CallRecord]:
        """Records of the calls that hold a slot, and of those whose leg is still to be ended."""
        return [*(entry.record_now for entry in self._live), *self._reconciler.records]

    def session(self, call_id: str) -> CallSession:
        """The session of a live call, by our id or the carrier's. Raises `CallNotFound`."""
        return self._live.find(call_id).session

    def record(self, call_id: str) -> CallRecord | None:
        """The record of a live call, by our id or the carrier's, or of one that the store has yet to hear of."""
        entry = self._live.known(call_id)
        return entry.record_now if entry else self._reconciler.record(call_id) or self._hub.unsaved(call_id)

    async def require(self, call_id: str) -> CallSession:
        """The session of a live call. Raises `CallIsOver` or `CallNotFound`."""
        try:
            return self.session(call_id)
        except CallNotFound:
            stored = await self._store.get_call(call_id)
            if stored is None:
                raise
            why = stored.end_reason or "nobody talks on it; its leg is being ended"
            raise CallIsOver(f"call {call_id} is over ({why})") from None

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
        async with self._maker.judging:
            known = await self._keyed.find(key, request)
            if known is not None:
                return Placement(self.record(known.call_id) or known, repeated=True)
            placed = await self._admitted(request, self._keyed.metadata(key, request))
        if isinstance(placed, CallRecord):
            return Placement(placed)
        return Placement(self._dialled(*placed).record)

    async def take(self, call: Assignment) -> CallRecord:
        """Hold a call that another process of the service has decided about.

        Raises:
            StoreError: It could not be written down; nothing is left of it.
        """
        with self._live.reserved():
            entry = await self._maker.make(call)
        if call.offer.direction == "outbound":
            self._dialled(entry, call)
        else:
            self._desk.begin(entry)
        return entry.record

    async def elsewhere(self, carrier: str, event: CarrierEvent) -> Colleague | None:
        """Who else holds the call that a carrier speaks of; one that it offers is decided about first."""
        return await self._desk.elsewhere(carrier, event)

    async def offer(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Decide about an inbound call and answer the carrier. Offered again, a call gets the same answer."""
        return await self._desk.offer(carrier, event)

    async def leg_event(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Take what the carrier reports of a call, and say how to go on."""
        return await self._desk.report(carrier, event)

    @asynccontextmanager
    async def reconciled(self, *, own: bool = False) -> AsyncIterator[None]:
        """Meanwhile calls that nobody talks on are ended: first those that an earlier process left open.

        Args:
            own: Only calls of this process; another looks after all others.

        Raises:
            StoreError: The store cannot be read.
        """
        if not own:
            await self._reconciler.begin()
        sweeping = asyncio.create_task(sweep_for_ever(self._live, self._reconciler, self.clock, own=own))
        try:
            yield
        finally:
            sweeping.cancel()
            await self._reconciler.close(LAST_TRY)

    async def end_left(self, why: str) -> None:
        """End the calls that a process of the service left when it died. Raises `StoreError`."""
        await self._reconciler.take_unowned(why)

    @property
    def kept(self) -> Mapping[str, tuple[str, bool]]:
        """Every call that this process looks after: the carrier's id of its leg, and whether its slot is free."""
        live = {
            entry.record.call_id: (
                entry.session.carrier_call_id,
                entry.record.over or entry.session.released,
            )
            for entry in self._live
        }
        others = (*self._reconciler.records, *self._hub.waiting)
        return {**{record.call_id: (record.carrier_call_id, True) for record in others}, **live}

    async def wait_idle(self) -> None:
        """Return once no call holds a slot."""
        await self._live.wait_idle()

    async def end_all(self, hurry: asyncio.Event) -> None:
        """End every live call: after a goodbye, then without, then give up on it. `hurry` cuts the goodbyes short."""
        await end_all(self._live, hurry)

    async def end_feeds(self) -> None:
        """End the feeds of all calls: whoever reads on would only hold up the end of the service."""
        await self._hub.end_feeds()

    async def _admitted(
        self, request: PlaceRequest, metadata: dict[str, str]
    ) -> tuple[LiveCall, Assignment] | CallRecord:
        """A call that may be placed and has its slot and its record; the record where a colleague has it."""
        carrier = self._placer(request.carrier or self.config.provider)
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
            await self._maker.admit(offer)
            wish = CallWish(
                message=request.message,
                objective=request.objective,
                record_dir=request.record_dir,
                metadata={**request.options, **metadata, **_requester(request)},
                session_key=request.session_key,
                max_duration=request.max_duration,
            )
            assignment = await self._maker.prepare(offer, wish, request.options)
            colleague = self._maker.choose(offer)
            if colleague is not None:
                return await self._maker.hand(colleague, assignment, TAKE_LIMIT)
            return await self._maker.make(assignment), assignment

    def _dialled(self, entry: LiveCall, call: Assignment) -> LiveCall:
        """Run a call that is to be dialled."""
        entry.session.leg_open = True
        entry.task = asyncio.create_task(self._maker.run(entry, lambda: self._begin(entry, call)))
        return entry

    def _begin(self, entry: LiveCall, call: Assignment) -> None:
        entry.session.post(e.CallPlaced())
        entry.session.start(self._dial(entry, call.options))

    async def _dial(self, entry: LiveCall, options: Mapping[str, str]) -> None:
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
                    options=options,
                )
            )
        except (VoiceCallError, OSError) as error:
            # Only a clear no means that there is no leg; of any other failure the carrier has to be asked.
            session.leg_open = isinstance(error, DialUnknown | VendorTimeout | OSError)
            session.carrier_failed(call.carrier, str(error), "the call is not placed")
            reason = EndReason.CARRIER_ERROR if isinstance(error, VendorError) else EndReason.FAILED
            session.post(e.CallEnded(reason))
        else:
            entry.learn_leg(carrier_call_id)
        finally:
            session.leg_known.set()

    def _detects_machines(self, carrier: str) -> bool:
        return self.config.outbound.machine_detection and self.engines.capabilities[carrier].machine_detection

    def _placer(self, name: str) -> str:
        """The carrier that places calls for this one: itself, or its trunk's. Raises `ConfigError`."""
        capabilities = self.engines.capabilities.get(name)
        if capabilities is None or capabilities.media != "remote":
            return name
        if name not in self.engines.trunks:
            raise ConfigError(f"{name}.trunk: {name} places no calls by itself; name the carrier that does")
        return self.engines.trunks[name]

    def _carrier(self, name: str) -> Carrier:
        if name not in self.engines.carriers:
            known = ", ".join(sorted(self.engines.carriers))
            raise UnknownProvider(f"provider: no carrier {name!r} is open; open: {known}")
        return self.engines.carriers[name]


def _requester(request: PlaceRequest) -> dict[str, str]:
    key = request.requester_session_key
    return {"requesterSessionKey": key} if key else {}
