"""Who may call and be called, how many calls there may be, and what is different for each of our numbers."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.policy import Admission, CallOffer, CallPlan
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.builtin.hours import QuietHours
from openclaw_voicecall.builtin.optout import OptOutPolicy
from openclaw_voicecall.builtin.pairing import PairingDesk, PairingRouter
from openclaw_voicecall.builtin.rates import DialLimits, SpendingCap
from openclaw_voicecall.builtin.spending import DestinationPolicy
from openclaw_voicecall.config.callers import is_anonymous, is_number
from openclaw_voicecall.store.optout import OptOutList
from openclaw_voicecall.store.pairing import PairingBook

_runtime: ContextVar[Runtime] = ContextVar("runtime")
"""Of the service that is being opened: its lifespan begins before its policies are registered, in the same task."""
_AGENT = re.compile(r"^agent:[^:]*:")


class ConcurrencyLimit:
    """Refuses a call when `maxConcurrentCalls` are live."""

    name = "maxConcurrentCalls"
    order = 10

    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No when all slots are taken."""
        if offer.live_calls < self._limit:
            return None
        return Admission(
            allowed=False,
            busy=True,
            reason=f"maxConcurrentCalls: {self._limit} calls are live already; wait, or raise the setting",
        )


class InboundPolicy:
    """Applies `inboundPolicy` to calls from outside. Numbers are compared as a whole, never by their ends.

    Args:
        policy: `disabled`, `allowlist`, `pairing` or `open`.
        allowed: Numbers that get through under `allowlist` and `pairing`.
        allow_anonymous: Whether callers without a number do, too.
        desk: Decides about all others under `pairing`; without it they are refused.
    """

    name = "inboundPolicy"
    order = 20

    def __init__(
        self,
        policy: str,
        allowed: frozenset[str],
        *,
        allow_anonymous: bool = False,
        desk: PairingDesk | None = None,
    ) -> None:
        self._policy = policy
        self._allowed = allowed
        self._allow_anonymous = allow_anonymous
        self._desk = desk

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No for inbound calls that the policy does not let in."""
        if offer.direction != "inbound" or self._policy == "open":
            return None
        if self._policy not in ("allowlist", "pairing"):
            return _no(
                f"inboundPolicy is {self._policy!r}: inbound calls are refused; "
                "set it to allowlist (with allowFrom), pairing or open"
            )
        caller = offer.from_number
        if self.lets_in(caller):
            return None
        if is_anonymous(caller):
            return _no("inboundPolicy: the caller hides their number, and allowAnonymous is off")
        if self._policy == "allowlist":
            return _no(f"inboundPolicy: {caller} is not in allowFrom")
        if self._desk is None or not is_number(caller):
            return _no(f"inboundPolicy: {caller!a} is no number that can be approved")
        return await self._desk.admit(caller)

    def lets_in(self, caller: str) -> bool:
        """Whether the settings alone let this caller in under `allowlist` and `pairing`."""
        if is_anonymous(caller):
            return self._allow_anonymous
        return caller in self._allowed


def _no(reason: str) -> Admission:
    return Admission(allowed=False, reason=reason)


class NumberRouter:
    """Gives each of our numbers its own greeting, voice, responder and prompt: the setting `numbers`."""

    name = "numbers"
    order = 10

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._numbers = numbers

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """The plan with what the dialled number says."""
        number = self._numbers.get(offer.to_number) if offer.direction == "inbound" else None
        if number is None:
            return plan
        changes: dict[str, Any] = {}
        if number.inbound_greeting is not None:
            changes["policy"] = replace(plan.policy, greeting=number.inbound_greeting)
        if number.tts is not None:
            changes["synthesizer"] = offer.to_number
        if number.response_model is not None:
            changes["responder"] = number.response_model
        if number.response_system_prompt is not None:
            changes["system_prompt"] = number.response_system_prompt
        if number.response_timeout_ms is not None:
            changes["response_timeout"] = number.response_timeout_ms / 1000
        if number.agent_id is not None:
            changes["agent_id"] = number.agent_id
            # A memory belongs to its agent: another agent's number must not hear what was told to this one.
            changes["session_key"] = _AGENT.sub(lambda _: f"agent:{number.agent_id}:", plan.session_key)
        return replace(plan, **changes)


@hookimpl
def voicecall_lifespan(runtime: Runtime) -> None:
    """Learn where the service keeps its state."""
    _runtime.set(runtime)


@hookimpl
def voicecall_register_policies(register: Any, config: Any) -> None:
    """Register the built-in policies, the router by number, and pairing where it is asked for."""
    register(ConcurrencyLimit(config.max_concurrent_calls))
    runtime = _runtime.get(None)
    _register_outbound(register, config, runtime)
    desk = None
    if config.inbound_policy == "pairing" and runtime is not None:
        desk = PairingDesk(PairingBook(runtime.state_dir, wall=runtime.clock.wall))
    inbound = InboundPolicy(
        config.inbound_policy,
        frozenset(config.allow_from),
        allow_anonymous=config.allow_anonymous,
        desk=desk,
    )
    register(inbound)
    register(NumberRouter(config.numbers))
    if desk is not None:
        register(PairingRouter(desk, inbound.lets_in, config.phrases.pairing))


def _register_outbound(register: Any, config: Any, runtime: Runtime | None) -> None:
    register(DestinationPolicy(config))
    if runtime is None:
        return
    register(OptOutPolicy(OptOutList(runtime.state_dir)))
    if config.outbound.quiet_hours is not None:
        register(QuietHours(config.outbound.quiet_hours, runtime.clock.wall))
    if runtime.store is not None:
        register(DialLimits(config, runtime.store, runtime.clock.wall))
        register(SpendingCap(config, runtime.store, runtime.clock.wall))
