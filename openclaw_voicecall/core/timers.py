"""The named deadlines of one call. Nothing here waits: the shell asks for the next one and comes back in time."""

from enum import StrEnum


class Timer(StrEnum):
    """What a deadline is for. Those of one moment fire in this order."""

    HANG_UP = "hang-up"
    """The carrier has not confirmed our hang-up."""
    MAX_DURATION = "max-duration"
    WARNING = "warning"
    """The longest duration will soon be reached."""
    TRANSFER = "transfer"
    """A transfer has neither been answered nor failed."""
    RING = "ring"
    """Nobody answered, or our answer of an inbound call did not come about."""
    MEDIA = "media"
    """An answered call has no audio."""
    IDLE = "idle"
    """Neither side said anything for long."""
    FAREWELL = "farewell"
    """A farewell takes too long."""
    AFTER_GREETING = "after-greeting"
    """The message of a notification was heard."""
    TRANSCRIPT = "transcript"
    """The final text that we asked for has not come."""
    ENDPOINT = "endpoint"
    """The caller has been silent long enough."""
    REHEARSAL = "rehearsal"
    """The caller's words have not changed for so long that an answer to them may be begun."""
    RESUME = "resume"
    """The sound that made the agent yield had no words."""
    DIGITS = "digits"
    """No further key was pressed."""


_ORDER = {timer: place for place, timer in enumerate(Timer)}


class Timers:
    """The armed deadlines: at most one for each name."""

    __slots__ = ("_deadlines",)

    def __init__(self) -> None:
        self._deadlines: dict[Timer, float] = {}

    def __contains__(self, timer: Timer) -> bool:
        return timer in self._deadlines

    def arm(self, timer: Timer, at: float) -> None:
        """Set the deadline of a timer, in seconds of the call's clock; an earlier one of this name is replaced."""
        self._deadlines[timer] = at

    def cancel(self, *timers: Timer) -> None:
        """Forget these timers; those that are not armed are no error."""
        for timer in timers:
            self._deadlines.pop(timer, None)

    def clear(self) -> None:
        """Forget all timers."""
        self._deadlines.clear()

    def next(self) -> float | None:
        """The earliest deadline, or None if nothing is armed."""
        return min(self._deadlines.values(), default=None)

    def pop_due(self, now: float) -> Timer | None:
        """Take out the earliest timer whose deadline has come, or return None."""
        due = [(at, _ORDER[timer], timer) for timer, at in self._deadlines.items() if at <= now]
        if not due:
            return None
        timer = min(due)[2]
        del self._deadlines[timer]
        return timer
