"""Makes calls: admitted, planned, recorded, equipped; and runs each until it is over and written down."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.carrier import LegOrder
from openclaw_voicecall.api.clock import Clock, Ids
from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.api.responder import is_speculative
from openclaw_voicecall.api.store import CallRecord, CallStore
from openclaw_voicecall.calls import assembly
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.admission import Judges
from openclaw_voicecall.calls.engines import LOCAL_LINE, EngineRoom
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.live import LIMIT_MARGIN, LiveCall, LiveCalls
from openclaw_voicecall.calls.memory import Memory, nothing
from openclaw_voicecall.calls.planning import must_say, plan_call
from openclaw_voicecall.calls.reconcile import Reconciler
from openclaw_voicecall.calls.record import DEADLINE
from openclaw_voicecall.calls.team import Assignment, CallWish, Colleague, Team
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.calls.tuning import tuned_policy
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import CallNotAllowed, ConfigError, LimitExceeded, ServiceError, StoreError
from openclaw_voicecall.session.remote import RemoteLegs
from openclaw_voicecall.session.session import CallSession

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

STORE_LIMIT = 5.0
"""Seconds that an ended call waits for its last entries to be stored before it gives its slot back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTools:
    """What is needed to make calls.

    Attributes:
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
        team: Other processes that hold calls.
    """

    config: "VoiceCallConfig"
    room: EngineRoom
    admissions: Judges
    store: CallStore
    hub: JournalHub
    tokens: StreamTokens
    clock: Clock
    ids: Ids
    recordings: Path
    addresses: Addresses
    team: Team


class CallMaker:
    """Makes and runs every call of the process.

    Args:
        tools: What is needed.
        live: Where calls are while they hold a slot.
        reconciler: Takes over those whose leg outlives them.
    """

    def __init__(self, tools: CallTools, live: LiveCalls, reconciler: Reconciler) -> None:
        self.tools = tools
        self.engines = tools.room.engines
        self.draining = False
        """Whether no more calls are taken."""
        self.judging = asyncio.Lock()
        """Held until a call that was judged by the records of others has one itself."""
        self._live = live
        self._reconciler = reconciler
        self._memory = Memory(tools.store, tools.config.memory, tools.clock)

    async def admit(self, offer: CallOffer) -> None:
        """Ask the policies. Raises `LimitExceeded` or `CallNotAllowed`."""
        if self.draining:
            raise LimitExceeded("the service is shutting down and takes no more calls")
        admission = await self.tools.admissions.decide(offer)
        if not admission.allowed:
            raise (LimitExceeded if admission.busy else CallNotAllowed)(admission.reason)

    def choose(self, offer: CallOffer) -> Colleague | None:
        """Who is to hold a call; None for this process. Raises `LimitExceeded` when nobody has room."""
        # A phone of the local line is a child of its process, and who keeps the audio elsewhere knows one of us only.
        shared = offer.carrier != LOCAL_LINE and offer.carrier not in self.engines.remote
        return self.tools.team.choose(offer, self._live.busy, shared=shared)

    async def prepare(
        self, offer: CallOffer, wish: CallWish, options: Mapping[str, str] | None = None
    ) -> Assignment:
        """Plan a call. Raises `ConfigError` when it is to last longer than calls may."""
        tools, call_id = self.tools, self.tools.ids.call_id()
        plan = plan_call(tools.config, offer, message=wish.message, objective=wish.objective, call_id=call_id)
        plan = _no_longer_than(wish.max_duration, await tools.admissions.route(offer, plan))
        if wish.session_key:
            plan = replace(plan, session_key=wish.session_key)
        return Assignment(call_id=call_id, offer=offer, plan=plan, wish=wish, options=options or {})

    async def hand(self, colleague: Colleague, assignment: Assignment, limit: float) -> CallRecord:
        """Have a colleague hold a call within so many seconds; who asks holds a reserved slot.

        Raises:
            StoreError: It could not be written down; nothing is left of it.
            ServiceError: The process does not answer, or died: then its calls are ended by who looks after those.
        """
        team = self.tools.team
        team.assign(colleague, assignment)
        try:
            async with asyncio.timeout(limit):
                return await colleague.take(assignment)
        except TimeoutError:  # it may have taken it all the same, so it counts as if it had
            raise ServiceError("the process that was to hold the call does not answer") from None
        except Exception:
            team.drop(assignment.call_id)
            raise
        finally:
            team.taken(assignment.call_id)

    async def make(self, assignment: Assignment) -> LiveCall:
        """Write a call down and give it a slot; who asks holds a reserved one.

        Raises:
            StoreError: It could not be written down; nothing is left of it.
        """
        with self._live.being_made(assignment.call_id):
            entry = await self._entry(assignment)
            await self.tools.store.put_call(entry.record)
            # Last, because until here the slot is a reserved one and must not count twice.
            self._live.add(entry)
        if entry.record.carrier_call_id:
            entry.learn_leg(entry.record.carrier_call_id)
        return entry

    async def _entry(self, assignment: Assignment) -> LiveCall:
        tools, call_id, wish = self.tools, assignment.call_id, assignment.wish
        offer, plan = assignment.offer, assignment.plan
        recording = assembly.recording_path(
            tools.config, tools.recordings, wish.record_dir, call_id, tools.clock.wall()
        )
        call = self._record(call_id, offer, plan, wish, recording)
        return LiveCall(
            session=await self._session(call, offer, plan, recording, talks=wish.talks),
            record=call,
            plan=plan,
            created=tools.clock.monotonic(),
            order=asyncio.get_running_loop().create_future(),
        )

    async def run(self, entry: LiveCall, begin: Callable[[], None]) -> None:
        """Live until the call is over, and write that down. `begin` posts the fact that starts it."""
        tools = self.tools
        try:
            await entry.session.run(begin)
        finally:
            if not entry.order.done():
                entry.order.set_result(LegOrder(action="hang-up"))
            if not entry.record.over:
                reason = EndReason.SHUTDOWN if self.draining else EndReason.INTERNAL_ERROR
                tools.hub.write(entry.record, entry.finish(tools.clock, reason))
            # A store that fails now has the record in its queue and tries on; the slot is free all the same.
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(STORE_LIMIT):
                    await tools.hub.flush()
                    await tools.store.put_call(entry.record)
            tools.tokens.drop(entry.record.call_id)
            if not entry.record.over:
                self._reconciler.take(entry.record, entry.seq)
            self._live.remove(entry.record.call_id)

    def stream_order(self, entry: LiveCall) -> LegOrder:
        """Have the carrier open a media stream, which it may do once, or connect the call to who has the audio."""
        session = entry.session
        legs = session.parts.remote
        if legs is not None:
            return self._bridge_order(entry, legs)
        token = self.tools.tokens.mint(entry.record.call_id, entry.record.carrier)
        session.absence.stream_ordered()
        bridge = self.tools.config.phrases.bridge
        return LegOrder(
            action="stream",
            call_id=entry.record.call_id,
            stream_url=self.tools.addresses.stream(entry.record.carrier, token),
            fallback_text=bridge if session.parts.capabilities.turns else entry.plan.policy.goodbye,
            # Where a stream went dead the next one may take its time, and nobody can say anything meanwhile.
            text=bridge if session.takeover.renewing else "",
        )

    def _bridge_order(self, entry: LiveCall, legs: RemoteLegs) -> LegOrder:
        if legs.are_the_call:
            return LegOrder(action="none", call_id=entry.record.call_id)
        target = legs.target()
        session = entry.session
        session.absence.stream_ordered()
        return LegOrder(
            action="bridge",
            call_id=entry.record.call_id,
            sip_uri=target.uri,
            sip_headers=target.headers,
            fallback_text=self.tools.config.phrases.bridge,
        )

    def _record(
        self, call_id: str, offer: CallOffer, plan: CallPlan, wish: CallWish, recording: Path | None
    ) -> CallRecord:
        wall, policy = self.tools.clock.wall(), plan.policy
        longest = policy.ring_timeout + policy.max_duration + LIMIT_MARGIN
        return CallRecord(
            call_id=call_id,
            carrier=offer.carrier,
            carrier_call_id=wish.carrier_call_id,
            direction=offer.direction,
            from_number=offer.from_number,
            to_number=offer.to_number,
            mode=offer.mode,
            state="initiated" if offer.direction == "outbound" else "ringing",
            created_at=wall,
            recording=str(recording) if recording else "",
            metadata={
                **plan.metadata,
                **wish.metadata,
                "objective": plan.objective,
                "sessionKey": plan.session_key,
                DEADLINE: round(wall + longest, 3),
            },
        )

    async def _session(
        self, call: CallRecord, offer: CallOffer, plan: CallPlan, recording: Path | None, *, talks: bool
    ) -> CallSession:
        call_id = call.call_id
        responders = await self.tools.room.responder(plan.responder)
        policy = self._policy(offer, plan, recording, speculates=is_speculative(responders[0].provider))
        session = CallSession(
            call_id=call_id,
            call=Call(policy, outbound=offer.direction == "outbound"),
            clock=self.tools.clock,
            journal=lambda *entry: self._journal(call_id, *entry),
            give_order=self._answer_offer,
        )
        session.parts = assembly.Fitting(
            session=session,
            record=call,
            plan=plan,
            engines=self.engines,
            responders=responders,
            config=self.tools.config,
            recording=recording,
            transcript=lambda: self._live.find(call_id).record.transcript,
            may_dial=partial(self._why_not_hand_over, offer),
            earlier=self._memory.recall(plan.session_key) if talks and plan.policy.respond else nothing,
        ).parts()
        return session

    def _policy(
        self, offer: CallOffer, plan: CallPlan, recording: Path | None, *, speculates: bool
    ) -> CallPolicy:
        config, abilities = self.tools.config, self.engines.capabilities[offer.carrier]
        way = assembly.media_way(self.engines, config, offer.carrier)
        recorded = recording is not None and way in ("stream", "model")
        lines = must_say(config, offer, plan.policy.greeting, recorded=recorded)
        policy = replace(plan.policy, must_say=lines)
        return tuned_policy(
            policy,
            config,
            abilities,
            interims=self.engines.interims,
            steady=self.engines.steady_interims,
            led=way in ("model", "remote"),
            speculates=speculates,
            closes_after=self.engines.closes_after,
        )

    async def _why_not_hand_over(self, offer: CallOffer, number: str) -> str:
        """What the policies have against handing the far party of a call over to this number."""
        ours = offer.from_number if offer.direction == "outbound" else offer.to_number
        onward = replace(
            offer, direction="outbound", from_number=ours, to_number=number, mode="transfer", live_calls=0
        )
        admission = await self.tools.admissions.decide(onward)
        return "" if admission.allowed else admission.reason

    def _journal(
        self,
        call_id: str,
        event: str,
        data: dict[str, Any],
        commands: tuple[dict[str, Any], ...],
        call: Call,
    ) -> None:
        entry = self._live.find(call_id)
        item = entry.write(self.tools.clock, event, data, commands, call)
        self.tools.hub.write(entry.record, item)

    def _answer_offer(self, session: CallSession, order: LegOrder) -> None:
        entry = self._live.find(session.call_id)
        if entry.order.done():
            return
        if order.action == "stream" and session.takeover.by_turns:
            order = LegOrder(action="turn")
        elif order.action == "stream":
            order = self.stream_order(entry)
        elif entry.busy:
            order = replace(order, reason=EndReason.BUSY)
        entry.order.set_result(order)


def _no_longer_than(wished: float, plan: CallPlan) -> CallPlan:
    """The plan of a call that is to last no longer than wished; 0 for no wish. Raises `ConfigError`."""
    longest = plan.policy.max_duration
    if wished > longest:
        raise ConfigError(f"maxDurationSeconds: {wished:g} is more than calls may last, {longest:g} s")
    return replace(plan, policy=replace(plan.policy, max_duration=wished)) if wished else plan
