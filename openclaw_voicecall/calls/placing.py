"""What a call is asked for with, and the key that keeps it from being placed twice.

Asked for again under its key within a day, the same call is given, and nobody is dialled. What was asked for is kept
with the record as a digest, so a key that comes with something else is a mistake and said to be one. A call that was
refused leaves no record, so its key is free.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import CallRecord, CallStore
from openclaw_voicecall.errors import KeyReused

KEY_LIFE: Final = 24 * 3600.0
"""Seconds that a key stands for its call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRequest:
    """A call that the owner or the agent asks for."""

    to_number: str
    message: str = ""
    from_number: str = ""
    mode: str = "conversation"
    objective: str = ""
    carrier: str = ""
    record_dir: str = ""
    max_duration: float = 0.0
    """Seconds that the call may last; 0 for as long as others."""
    session_key: str = ""
    """Names the memory of the talk, where it is not to be that of the number."""
    requester_session_key: str = ""
    """Names the host's session that asked for the call and is to learn how it went."""
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """A call that was asked for."""

    record: CallRecord
    repeated: bool = False
    """Whether it had been placed before, under the same key."""


class KeyedCalls:
    """Finds calls by the key they were asked for under.

    Args:
        store: Where records are kept.
        clock: Tells how old a key is.
    """

    def __init__(self, store: CallStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ahead = clock.wall() - clock.monotonic()

    async def find(self, key: str, order: PlaceRequest) -> CallRecord | None:
        """The call that this key stands for.

        Args:
            key: Empty stands for no call.
            order: What is asked for.

        Raises:
            KeyReused: The key stands for a call that was asked for in another way.
            StoreError: The store cannot be read.
        """
        if not key:
            return None
        # However the clock is set, a key must not be forgotten before its time.
        now = min(self._clock.wall(), self._clock.monotonic() + self._ahead)
        found = await self._store.keyed_call(key, since=now - KEY_LIFE)
        if found is not None and found.metadata.get("orderDigest") != _digest(order):
            raise KeyReused(
                f"Idempotency-Key: {key!r} was used within 24 hours for another call ({found.call_id}); "
                "use a new key for a new call"
            )
        return found

    def metadata(self, key: str, order: PlaceRequest) -> dict[str, str]:
        """What a call's record has to hold for `find`."""
        return {"idempotencyKey": key, "orderDigest": _digest(order)} if key else {}


def _digest(order: PlaceRequest) -> str:
    return hashlib.sha256(json.dumps(asdict(order), sort_keys=True).encode()).hexdigest()
