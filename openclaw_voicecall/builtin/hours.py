"""Nobody is called at night: the setting `outbound.quietHours`, on the clock of whoever would be called."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from openclaw_voicecall.api.policy import Admission, CallOffer
from openclaw_voicecall.builtin.zones import zones_of

if TYPE_CHECKING:
    from openclaw_voicecall.config.sections_spending import QuietHoursConfig


class QuietHours:
    """Refuses to dial while it is quiet in any time zone that the callee may be in.

    Handing somebody over is left alone: whoever is on the telephone already is awake, and the owner named the number.

    Args:
        hours: The setting.
        wall: Unix seconds.
    """

    name = "quietHours"
    order = 50

    def __init__(self, hours: "QuietHoursConfig", wall: Callable[[], float]) -> None:
        self._hours = hours
        self._start = time.fromisoformat(hours.start)
        self._end = time.fromisoformat(hours.end)
        self._wall = wall

    async def admit(self, offer: CallOffer) -> Admission | None:
        """No during the quiet hours, and where nobody can tell what time it is."""
        if offer.direction != "outbound" or not offer.billed or offer.mode == "transfer":
            return None
        reason = self._reason(offer.to_number)
        return Admission(allowed=False, reason=reason, busy=True) if reason else None

    def _reason(self, number: str) -> str:
        zones = zones_of(number, self._hours.zones)
        if not zones:
            return (
                f"outbound.quietHours: nobody can tell what time it is for {number}; name its zone in "
                "outbound.quietHours.zones"
            )
        now = datetime.fromtimestamp(self._wall(), UTC)
        clocks = {zone: now.astimezone(ZoneInfo(zone)).time() for zone in sorted(zones)}
        quiet = [zone for zone, clock in clocks.items() if self._is_quiet(clock)]
        if not quiet:
            return ""
        where = f"{quiet[0]}, one of {len(zones)} zones it may be in" if len(zones) > 1 else quiet[0]
        return (
            f"outbound.quietHours: it is {clocks[quiet[0]]:%H:%M} for {number} ({where}); nobody is called from "
            f"{self._hours.start} to {self._hours.end}"
        )

    def _is_quiet(self, clock: time) -> bool:
        if self._start < self._end:
            return self._start <= clock < self._end
        return clock >= self._start or clock < self._end
