"""May this call be? Policies answer in order, each under a time limit; silence and errors count as no."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from openclaw_voicecall.api.policy import Admission, AdmissionPolicy, CallOffer, CallPlan, CallRouter

logger = logging.getLogger(__name__)

DECISION_LIMIT = 2.0
"""Seconds a policy or router may take."""


class Judges(Protocol):
    """Whoever decides about calls."""

    async def decide(self, offer: CallOffer) -> Admission:
        """Whether a call may be."""
        ...

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """How it is to go."""
        ...


class Admissions:
    """Asks policies and routers.

    Args:
        registered: Objects of the plugins; those with `admit` are policies, those with `route` are routers.
    """

    def __init__(self, registered: Sequence[AdmissionPolicy | CallRouter]) -> None:
        self._policies = sorted(
            (item for item in registered if hasattr(item, "admit")), key=lambda item: item.order
        )
        self._routers = sorted(
            (item for item in registered if hasattr(item, "route")), key=lambda item: item.order
        )

    async def decide(self, offer: CallOffer) -> Admission:
        """The first policy that says something decides; without one the call is allowed."""
        for policy in self._policies:
            try:
                async with asyncio.timeout(DECISION_LIMIT):
                    admission = await policy.admit(offer)
            except Exception as error:  # a policy that cannot decide must not let the call through
                logger.exception("policy %s failed; the call is refused", policy.name)
                return Admission(allowed=False, reason=f"policy {policy.name} failed: {error!r}")
            if admission is not None:
                return admission
        return Admission(allowed=True)

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """The plan after all routers; one that fails is left out."""
        for router in self._routers:
            try:
                async with asyncio.timeout(DECISION_LIMIT):
                    plan = await router.route(offer, plan)
            except Exception:  # the call goes on as planned before
                logger.exception("router %s failed and was left out", router.name)
        return plan
