"""Who may call, how many calls there may be, and what is different for each of our numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.policy import Admission, CallOffer, CallPlan


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
    """Applies `inboundPolicy` to calls from outside. Numbers are compared as a whole, never by their ends."""

    name = "inboundPolicy"
    order = 20

    def __init__(self, policy: str, allowed: frozenset[str]) -> None:
        self._policy = policy
        self._allowed = allowed

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No for inbound calls that the policy does not let in."""
        if offer.direction != "inbound" or self._policy == "open":
            return None
        if self._policy == "allowlist" and offer.from_number in self._allowed:
            return None
        if self._policy == "allowlist":
            return Admission(allowed=False, reason=f"inboundPolicy: {offer.from_number} is not in allowFrom")
        return Admission(
            allowed=False,
            reason=f"inboundPolicy is {self._policy!r}: inbound calls are refused; "
            "set it to allowlist (with allowFrom) or open",
        )


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
        return replace(plan, **changes)


@hookimpl
def voicecall_register_policies(register: Any, config: Any) -> None:
    """Register the built-in policies and the router by number."""
    register(ConcurrencyLimit(config.max_concurrent_calls))
    register(InboundPolicy(config.inbound_policy, frozenset(config.allow_from)))
    register(NumberRouter(config.numbers))
