"""What carriers report and ask: offered calls are decided about, everything else goes to the call it is of."""

import asyncio
import logging
from contextlib import nullcontext

from openclaw_voicecall.api.carrier import CarrierEvent, LegOrder, LegRef
from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.calls.live import LiveCall, LiveCalls
from openclaw_voicecall.calls.making import CallMaker
from openclaw_voicecall.calls.reconcile import Reconciler
from openclaw_voicecall.calls.team import CallWish, Colleague
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import CallNotAllowed, LimitExceeded, PolicyError, VendorError
from openclaw_voicecall.session.session import CallSession

logger = logging.getLogger(__name__)

ORDER_LIMIT = 3.0
"""Seconds until an offered call must have an answer for the carrier."""
TAKE_LIMIT = 2.5
"""Seconds of these for another process to have written it down."""
ASKING = frozenset({"answered", "turn", "poll", "stream-over", "transfer"})
"""What carriers report and want an order for."""
TELLING = frozenset({EndReason.FAILED, EndReason.CARRIER_ERROR, EndReason.MEDIA_LOST})
"""Ends whose detail, as the carrier words it, belongs into the record."""


class CarrierDesk:
    """Takes the events of all carriers.

    Args:
        maker: Makes the calls that are offered.
        live: Where calls are while they hold a slot.
        reconciler: Has the calls that nobody else owns any more.
    """

    def __init__(self, maker: CallMaker, live: LiveCalls, reconciler: Reconciler) -> None:
        self._maker = maker
        self._live = live
        self._reconciler = reconciler
        self._deciding: dict[tuple[str, str], asyncio.Task[LiveCall | None]] = {}
        """Calls that are being decided about, by carrier and its id."""
        self._trunks = frozenset(maker.engines.trunks.values())

    async def offer(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Decide about an inbound call and answer the carrier. Offered again, a call gets the same answer."""
        known = self._live.of(carrier, event)
        if known is not None:
            return await self._given_order(known)
        decided = await self._decided(carrier, event)
        if isinstance(decided, LiveCall):
            decided = await self._given_order(decided)
        return await self._refused(carrier, event, decided)

    async def elsewhere(self, carrier: str, event: CarrierEvent) -> Colleague | None:
        """Who else holds the call that a carrier speaks of; one that it offers is decided about first."""
        team = self._maker.tools.team
        known = team.of(carrier, event)
        if known is None and event.kind == "offered" and len(team) and self._live.of(carrier, event) is None:
            await self._decided(carrier, event)
            known = team.of(carrier, event)
        return known

    async def _decided(self, carrier: str, event: CarrierEvent) -> LiveCall | LegOrder:
        """The call that is made of an offer, or the order that refuses it; a hang-up where a colleague has it."""
        key = (carrier, event.carrier_call_id)
        if key not in self._deciding:
            before = await self._reconciler.stored(carrier, event)
            if before is not None:
                return self._order_for_stranded(before)
        if key not in self._deciding:
            self._deciding[key] = asyncio.create_task(self._decide(carrier, event))
            self._deciding[key].add_done_callback(lambda _: self._deciding.pop(key))
        try:
            async with asyncio.timeout(ORDER_LIMIT):
                return await asyncio.shield(self._deciding[key]) or self._goodbye()
        except TimeoutError:
            return LegOrder(action="reject", reason=EndReason.BUSY)

    async def _refused(self, carrier: str, event: CarrierEvent, order: LegOrder) -> LegOrder:
        """The order; where the answer to a webhook cannot refuse a call, that is done here."""
        line = self._maker.engines.remote.get(carrier)
        if line is not None and order.action in ("reject", "hang-up") and carrier not in self._trunks:
            leg = LegRef(call_id=order.call_id, carrier_call_id=event.carrier_call_id)
            try:
                await line.refuse(leg, order.reason or EndReason.REJECTED)
            except (VendorError, OSError) as error:
                logger.warning("carrier %s: the call was not refused: %s", carrier, error)
        return order

    async def report(self, carrier: str, event: CarrierEvent) -> LegOrder:
        """Take what the carrier reports of a call, and say how to go on."""
        entry = self._live.of(carrier, event)
        if entry is None:
            # Such as a call that an earlier process of this service held: nobody here talks on it any more.
            await self._reconciler.heard(carrier, event)
            return self._goodbye() if event.kind in ASKING else LegOrder(action="none")
        session = entry.session
        if event.kind != "joined":
            entry.learn_leg(event.carrier_call_id)
        session.heard_at = session.clock.monotonic()
        if event.kind == "joined" and session.parts.remote is not None:
            session.takeover.joined()
            session.parts.remote.joined(event.carrier_call_id)
            return LegOrder(action="none")
        if event.kind == "transfer-asked":
            _ask_for_transfer(session, event)
            return LegOrder(action="none")
        if event.kind in ASKING:
            if event.kind == "answered":
                session.post(e.CallAnswered())
            if session.released:
                return LegOrder(action="hang-up")
            order = await entry.how_to_go_on(event)
            return self._maker.stream_order(entry) if order.action == "stream" else order
        match event.kind:
            case "ringing":
                session.post(e.CallRinging())
            case "machine":
                session.post(e.MachineDetected(event.verdict))
            case "ended":
                session.leg_open = False
                reason = event.reason or EndReason.FAILED
                if event.detail and reason in TELLING:
                    session.detail = session.detail or event.detail
                session.post(e.CallEnded(reason))
            case _:
                logger.info("carrier %s says %r, which means nothing to us", carrier, event.kind)
        return LegOrder(action="none")

    async def _given_order(self, entry: LiveCall) -> LegOrder:
        """The answer to an offer: the call's own, or what it says first where it talks by turns."""
        order = await asyncio.shield(entry.order)
        return await entry.next_turn() if order.action == "turn" else order

    async def _decide(self, carrier: str, event: CarrierEvent) -> LiveCall | None:
        """The call that is made of an offer; None where a colleague has it."""
        capped = self._maker.tools.config.spending.daily_cap is not None
        async with self._maker.judging if capped else nullcontext():
            return await self._judge(carrier, event)

    async def _judge(self, carrier: str, event: CarrierEvent) -> LiveCall | None:
        with self._live.reserved() as others:
            offer = CallOffer(
                direction="inbound",
                carrier=carrier,
                from_number=event.from_number,
                to_number=event.to_number,
                live_calls=others,
                billed=self._maker.engines.capabilities[carrier].billed,
            )
            colleague, refusal = None, None
            try:
                await self._maker.admit(offer)
                colleague = self._maker.choose(offer)
            except (CallNotAllowed, LimitExceeded) as error:
                refusal = error
            # The first write has the carrier's id: should this process die now, the leg is found by it.
            wish = CallWish(carrier_call_id=event.carrier_call_id, talks=refusal is None)
            assignment = await self._maker.prepare(offer, wish)
            if colleague is not None:
                await self._maker.hand(colleague, assignment, TAKE_LIMIT)
                return None
            entry = await self._maker.make(assignment)
        return self.begin(entry, refusal)

    def begin(self, entry: LiveCall, refusal: PolicyError | None = None) -> LiveCall:
        """Run a call that was offered: a talk, or the refusal that was decided."""
        admitted = refusal is None
        legs = entry.session.parts.remote
        if legs is not None and legs.are_the_call:
            legs.joined(entry.record.carrier_call_id)
        entry.session.detail = str(refusal or "")
        entry.session.leg_open = admitted
        entry.busy = isinstance(refusal, LimitExceeded)
        entry.task = asyncio.create_task(self._maker.run(entry, lambda: self._begin(entry, admitted)))
        return entry

    def _begin(self, entry: LiveCall, admitted: bool) -> None:
        entry.session.post(e.CallOffered(admitted))
        if admitted and entry.session.parts.capabilities.limits_duration:
            entry.session.start(entry.limit_duration())

    def _order_for_stranded(self, record: CallRecord) -> LegOrder:
        """The answer to the offer of a call that is over, or was an earlier process's."""
        if record.end_reason == EndReason.REJECTED:
            return LegOrder(action="reject", reason=EndReason.REJECTED)
        return self._goodbye()

    def _goodbye(self) -> LegOrder:
        return LegOrder(action="hang-up", fallback_text=self._maker.tools.config.phrases.goodbye)


def _ask_for_transfer(session: CallSession, event: CarrierEvent) -> None:
    """Whoever has the audio wants the far party handed over: they may have what the agent may have, and no more.

    They are let go of already. Where nothing comes of it the carrier asks how to go on.
    """
    number = event.to_number
    if number and session.parts.agent_may_transfer(number):
        session.post(e.TransferRequested(number, at_once=True))
        return
    refusal = f"transfer.allowed: this far party may not be handed over to {number}"
    session.note("transfer-refused", {"to": number, "detail": refusal if number else event.detail})
