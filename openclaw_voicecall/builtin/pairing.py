"""Pairing: a caller nobody knows hears a code, and gets through once the owner has approved it.

Such a call is answered, but it is no talk: the code is said, nothing the caller says is answered, and the call is
hung up. The book of codes and approved numbers is `store.pairing`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from openclaw_voicecall.api.policy import Admission, CallOffer, CallPlan
from openclaw_voicecall.errors import LimitExceeded
from openclaw_voicecall.store.pairing import Page, PairingBook

logger = logging.getLogger(__name__)

HANG_UP_AFTER: Final = 1.0
"""Seconds between the end of the code and the hang-up."""
LONGEST: Final = 60.0
"""Seconds a caller nobody knows may hold a line."""


class PairingDesk:
    """Looks callers up in the book, and gives codes.

    What it saw last is kept in memory: the router that follows asks nothing that may fail, because a router that
    fails is left out, and the caller would then talk with the agent.
    """

    def __init__(self, book: PairingBook) -> None:
        self._book = book
        self._page = Page()
        self._turn = asyncio.Lock()

    async def admit(self, number: str) -> Admission | None:
        """None for callers who are let in or have a code to hear; no for those who get none. Raises `StoreError`."""
        try:
            async with self._turn:
                self._page = await asyncio.to_thread(self._book.meet, number)
        except LimitExceeded as error:
            return Admission(allowed=False, reason=f"inboundPolicy: {error}")
        if not self._page.is_approved(number):
            logger.info(
                "%s is not known and hears a code; `openclaw-voicecall pairing list` shows it", number
            )
        return None

    def is_approved(self, number: str) -> bool:
        """Whether the number was approved when its caller was admitted."""
        return self._page.is_approved(number)

    def code_of(self, number: str) -> str | None:
        """The code of an admitted caller who is not approved."""
        return self._page.code_of(number)


class PairingRouter:
    """Makes the call of a caller nobody knows one that only says the code. Comes after all other routers.

    Args:
        desk: Who is approved.
        lets_in: Whether a caller gets through without the desk.
        phrase: What is said; `{code}` stands for the digits.
    """

    name = "pairing"
    order = 1000

    def __init__(self, desk: PairingDesk, lets_in: Callable[[str], bool], phrase: str) -> None:
        self._desk = desk
        self._lets_in = lets_in
        self._phrase = phrase

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """The plan for callers who are let in; for all others one that says the code and hangs up."""
        caller = offer.from_number
        if offer.direction != "inbound" or self._lets_in(caller) or self._desk.is_approved(caller):
            return plan
        code = self._desk.code_of(caller)
        # A code that is gone already, denied or too old, must not turn into a talk either.
        greeting = self._phrase.replace("{code}", ", ".join(code)) if code else plan.policy.goodbye
        policy = replace(
            plan.policy,
            greeting=greeting,
            respond=False,
            hang_up_after_greeting=HANG_UP_AFTER,
            max_duration=min(plan.policy.max_duration, LONGEST),
        )
        return replace(plan, policy=policy, metadata={**plan.metadata, "pairing": "asked"})
