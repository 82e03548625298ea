"""The other processes that hold calls of this service, and which call is whose.

Every decision about a call is made in the one process that the carriers and the owner reach: whether it may be, how it
is to go, and who holds it. So limits need no agreement between processes. A call that was decided about is an
`Assignment`; whoever holds it does everything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from openclaw_voicecall.api.carrier import CarrierEvent, VerifiedWebhook, WebhookReply
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.errors import LimitExceeded

SAME_NUMBER: float = 600.0
"""Seconds in which calls to one number are placed by one process: it tells the legs of its own dials apart."""
NUMBERS_KEPT = 10_000
"""Numbers for which that is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWish:
    """What a call is to be like, besides who talks with whom."""

    message: str = ""
    objective: str = ""
    record_dir: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    carrier_call_id: str = ""
    """Where the carrier has told it already."""
    talks: bool = True
    """False for a call that is refused."""
    max_duration: float = 0.0
    """Seconds, where it is to be shorter than others."""
    session_key: str = ""
    """Names the memory of the talk, where it is not to be that of the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A call that was decided about, before it exists."""

    call_id: str
    offer: CallOffer
    plan: CallPlan
    wish: CallWish
    options: Mapping[str, str] = field(default_factory=dict)
    """The carrier's, for a call that is to be dialled."""


@dataclass(frozen=True, slots=True)
class Load:
    """How a process is doing."""

    strain: str = ""
    """Why it takes no more calls; empty while it does."""
    lag_ms: float = 0.0
    """How late its event loop is."""


class Colleague(Protocol):
    """Another process that holds calls."""

    @property
    def load(self) -> Load:
        """How it is doing, as far as is known."""
        ...

    async def take(self, call: Assignment) -> CallRecord:
        """Hold a call from now on; its record is in the store.

        Raises:
            StoreError: It could not be written down; nothing is left of it.
            ServiceError: The process is gone.
        """
        ...

    async def webhook(self, carrier: str, webhook: VerifiedWebhook) -> WebhookReply:
        """Take what a carrier reports of one of its calls. Raises `ServiceError` when the process is gone."""
        ...


@dataclass(slots=True)
class _Held:
    """A call of a colleague's."""

    colleague: Colleague
    carrier: str
    leg: str
    dialled: str
    """The number that is called; empty for a call that came in."""
    taken: bool = False
    """Whether it is past being made; until then its slot is a reserved one."""
    free: bool = False
    """Whether its slot is free again, although the call is still being closed."""


class Team:
    """Who holds which call.

    Args:
        clock: Monotonic time.
        own_load: How this process is doing.
    """

    def __init__(self, clock: Clock, own_load: Callable[[], Load]) -> None:
        self._clock = clock
        self._own_load = own_load
        self._colleagues: list[Colleague] = []
        self._held: dict[str, _Held] = {}
        self._dialled: dict[str, tuple[Colleague | None, float]] = {}
        """Who dialled a number last, and when."""

    def join(self, colleague: Colleague) -> None:
        """A process is ready to hold calls."""
        self._colleagues.append(colleague)

    def leave(self, colleague: Colleague) -> int:
        """A process is gone; gives how many calls nobody holds any more."""
        if colleague in self._colleagues:
            self._colleagues.remove(colleague)
        lost = [call_id for call_id, held in self._held.items() if held.colleague is colleague]
        for call_id in lost:
            del self._held[call_id]
        return len(lost)

    def __len__(self) -> int:
        """How many processes there are besides this one."""
        return len(self._colleagues)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._held

    @property
    def slots(self) -> int:
        """Slots that calls of colleagues hold; one that is being made holds a reserved one."""
        return sum(held.taken and not held.free for held in self._held.values())

    def of(self, carrier: str, event: CarrierEvent) -> Colleague | None:
        """Who holds the call that a carrier speaks of."""
        named = self._held.get(event.call_id) if event.call_id else None
        if named is not None and named.carrier == carrier:
            return named.colleague
        same = (held for held in self._held.values() if held.leg and held.leg == event.carrier_call_id)
        return next((held.colleague for held in same if held.carrier == carrier), None)

    def is_dialling(self, number: str) -> bool:
        """Whether a colleague calls this number and has not told yet which leg that is."""
        return any(held.dialled == number != "" and not held.leg for held in self._held.values())

    def holder(self, call_id: str) -> Colleague | None:
        """Who holds a call, by our id or the carrier's."""
        named = self._held.get(call_id)
        if named is not None:
            return named.colleague
        return next((held.colleague for held in self._held.values() if held.leg == call_id != ""), None)

    def choose(self, offer: CallOffer, own_calls: int, *, shared: bool) -> Colleague | None:
        """Who is to hold a call: the process with the fewest that has room; None for this one.

        Args:
            offer: The call.
            own_calls: How many this process holds.
            shared: Whether others can hold it as well.

        Raises:
            LimitExceeded: No process has room.
        """
        counts: dict[Colleague | None, int] = dict.fromkeys(self._colleagues, 0) if shared else {}
        for held in self._held.values():
            if held.colleague in counts and not held.free:
                counts[held.colleague] += 1
        strains: dict[Colleague | None, str] = {
            colleague: colleague.load.strain for colleague in counts if colleague is not None
        }
        # Last, because this process has the webhooks of all.
        counts[None], strains[None] = own_calls, self._own_load().strain
        able = [one for one in counts if not strains[one]]
        if not able:
            raise LimitExceeded(strains[None])
        chosen = min(able, key=lambda one: counts[one])
        return self._as_last_time(offer.to_number, able, chosen) if offer.direction == "outbound" else chosen

    def assign(self, colleague: Colleague, call: Assignment) -> None:
        """A colleague is about to be given a call."""
        offer = call.offer
        dialled = offer.to_number if offer.direction == "outbound" else ""
        self._held[call.call_id] = _Held(colleague, offer.carrier, call.wish.carrier_call_id, dialled)

    def taken(self, call_id: str) -> None:
        """It has taken it."""
        if call_id in self._held:
            self._held[call_id].taken = True

    def learn(self, call_id: str, leg: str, *, free: bool) -> None:
        """What a colleague tells of a call: the carrier's id of the leg, and whether its slot is free."""
        held = self._held.get(call_id)
        if held is not None:
            held.leg, held.free = leg or held.leg, free

    def drop(self, call_id: str) -> None:
        """A call is over and closed, or came to nothing."""
        self._held.pop(call_id, None)

    def _as_last_time(
        self, number: str, able: list[Colleague | None], chosen: Colleague | None
    ) -> Colleague | None:
        now = self._clock.monotonic()
        last, at = self._dialled.pop(number, (chosen, now))
        if last in able and now - at < SAME_NUMBER:
            chosen = last
        self._dialled[number] = chosen, now
        if len(self._dialled) > NUMBERS_KEPT:
            del self._dialled[next(iter(self._dialled))]
        return chosen
