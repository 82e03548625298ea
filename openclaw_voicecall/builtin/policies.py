"""Who may call, and how many calls there may be."""

from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.policy import Admission, CallOffer


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


@hookimpl
def voicecall_register_policies(register: Any, config: Any) -> None:
    """Register the built-in policies."""
    register(ConcurrencyLimit(config.max_concurrent_calls))
    register(InboundPolicy(config.inbound_policy, frozenset(config.allow_from)))
