"""How often is dialled and what calls may cost, counted in the records of calls, so that a restart forgets nothing.

Only calls over the same carrier are counted: a practice call on the local line must not use up what a real one needs.
Times in the records are those of the wall clock. When it is set, calls from before may fall out of what is counted; a
call whose time lies further ahead than the span that is looked at does not count, so none is held against us for ever.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from openclaw_voicecall.api.policy import Admission, CallOffer
from openclaw_voicecall.api.store import CallStore, CallTimes
from openclaw_voicecall.core.reasons import EndReason

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0


class DialLimits:
    """Refuses to dial more often than the settings say: `outbound.dialsPerMinute` and those after it.

    Args:
        config: The settings.
        store: Where the calls are that were placed.
        wall: Unix seconds.
    """

    name = "dials"
    order = 60

    def __init__(self, config: "VoiceCallConfig", store: CallStore, wall: Callable[[], float]) -> None:
        self._config = config.outbound
        self._store = store
        self._wall = wall

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No when as many calls were placed as may be; it may be tried again later."""
        if offer.direction != "outbound" or not offer.billed or offer.mode == "transfer":
            return None
        now = self._wall()
        calls = await _within(self._store, offer.carrier, DAY, now)
        dials = [call for call in calls if call.direction == "outbound"]
        reason = self._reason(offer.to_number, dials, now)
        return Admission(allowed=False, busy=True, reason=reason) if reason else None

    def _reason(self, number: str, dials: Sequence[CallTimes], now: float) -> str:
        limits = self._config
        minute = sum(abs(now - call.created_at) < MINUTE for call in dials)
        if minute >= limits.dials_per_minute:
            return f"outbound.dialsPerMinute: {minute} calls were placed within a minute; wait, or raise the setting"
        hour = sum(call.to_number == number and abs(now - call.created_at) < HOUR for call in dials)
        if hour >= limits.dials_per_number_per_hour:
            return (
                f"outbound.dialsPerNumberPerHour: {number} was called {hour} times within an hour; wait, or raise the "
                "setting"
            )
        if len(dials) >= limits.dials_per_day:
            return f"outbound.dialsPerDay: {len(dials)} calls were placed within 24 hours; wait, or raise the setting"
        return ""


class SpendingCap:
    """Refuses calls that might cost more than `spending.dailyCap` leaves, in both directions.

    Args:
        config: The settings.
        store: Where the calls are that cost something.
        wall: Unix seconds.
    """

    name = "spending"
    order = 70

    def __init__(self, config: "VoiceCallConfig", store: CallStore, wall: Callable[[], float]) -> None:
        self._spending = config.spending
        self._longest = float(config.max_duration_seconds)
        self._transfer = float(config.transfer.max_duration_seconds)
        self._store = store
        self._wall = wall

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No when the call might go beyond the cap; it may be tried again later."""
        cap = self._spending.daily_cap
        if cap is None or not offer.billed:
            return None
        calls = await _within(self._store, offer.carrier, DAY, self._wall())
        spent = sum(map(self.cost, calls))
        # Handed over, the far party's leg goes on and another is added to it.
        longest = (
            2 * self._minutes(self._transfer) if offer.mode == "transfer" else self._minutes(self._longest)
        )
        wanted = longest * self._spending.per_minute
        if spent + wanted <= cap + 1e-9:
            return None
        setting = "transfer.maxDurationSeconds" if offer.mode == "transfer" else "maxDurationSeconds"
        return Admission(
            allowed=False,
            busy=True,
            reason=f"spending.dailyCap: calls of the last 24 hours count for {self._money(spent)}, and this one "
            f"could add {self._money(wanted)} ({setting}); the cap is {self._money(cap)}",
        )

    def cost(self, call: CallTimes) -> float:
        """What a call costs, about: live, as if it lasted as long as it may; never answered, nothing."""
        if call.ended_at is None:
            return self._minutes(self._longest) * self._spending.per_minute
        if call.answered_at is None:
            return 0.0
        handed_over = call.end_reason == EndReason.TRANSFERRED
        # A call that a crash left open was closed at the next start, however much later that was.
        most = self._longest + (self._transfer if handed_over else 0.0) + MINUTE
        seconds = min(max(0.0, call.ended_at - call.answered_at), most)
        return self._minutes(seconds) * self._spending.per_minute * (2 if handed_over else 1)

    @staticmethod
    def _minutes(seconds: float) -> int:
        return math.ceil(seconds / 60)

    def _money(self, amount: float) -> str:
        return f"{amount:.2f} {self._spending.currency}"


async def _within(store: CallStore, carrier: str, span: float, now: float) -> list[CallTimes]:
    """Calls over a carrier whose time is less than `span` seconds from now, whichever way the clock was set."""
    calls = await store.call_times(since=now - span)
    return [call for call in calls if call.carrier == carrier and abs(now - call.created_at) < span]
