"""One-use secrets that open a call's media stream."""

from dataclasses import dataclass

from openclaw_voicecall.api.clock import Clock, Ids

LIFE = 60.0
"""Seconds between the order that names the stream and the carrier's connection."""


@dataclass(frozen=True, slots=True)
class StreamPass:
    """What a token stands for."""

    call_id: str
    carrier: str


class StreamTokens:
    """Mints and takes tokens. A token opens one stream of one call of one carrier, once, within `LIFE` seconds.

    Args:
        clock: Monotonic time.
        ids: Makes the secrets.
        prefix: Begins every token, so that whoever accepts connections sees whose it is.
    """

    def __init__(self, clock: Clock, ids: Ids, *, prefix: str = "") -> None:
        self._clock = clock
        self._ids = ids
        self._prefix = prefix
        self._live: dict[str, tuple[StreamPass, float]] = {}

    def mint(self, call_id: str, carrier: str) -> str:
        """A new token; older ones of the same call die."""
        now = self._clock.monotonic()
        self._live = {
            token: (entry, until)
            for token, (entry, until) in self._live.items()
            if until > now and entry.call_id != call_id
        }
        token = self._prefix + self._ids.token()
        self._live[token] = (StreamPass(call_id, carrier), now + LIFE)
        return token

    def __len__(self) -> int:
        """How many could still open a stream."""
        now = self._clock.monotonic()
        return sum(until > now for _, until in self._live.values())

    def drop(self, call_id: str) -> None:
        """Let the tokens of a call die: it is over."""
        self._live = {
            token: (entry, until) for token, (entry, until) in self._live.items() if entry.call_id != call_id
        }

    def take(self, token: str, carrier: str) -> StreamPass | None:
        """Use a token up. None when it is unknown, used, too old or another carrier's."""
        entry, until = self._live.pop(token, (None, 0.0))
        if entry is None or until <= self._clock.monotonic() or entry.carrier != carrier:
            return None
        return entry
