"""Which calls are ours on OpenAI's SIP endpoint: those that were announced, those that we took, and who may join."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.providers.openai.conversation import Remains

TOKEN_LIFE: Final = 600.0
"""Seconds in which a call of ours has to arrive after its secret was made."""
KEPT: Final = 1000
"""Calls and secrets that are remembered."""


@dataclass(slots=True)
class Leg:
    """A call that we took."""

    taken_at: float
    """Monotonic seconds."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is known to be over."""
    seen: bool = False
    """Whether it was steered, so that it did come about."""
    lost: str = ""
    """Why no socket can help it any more."""
    lines: int = 0
    """Sockets that steer it just now."""
    remains: Remains = field(default_factory=Remains)
    """What the last socket has left."""


@dataclass(slots=True)
class _Token:
    call_id: str
    made_at: float
    used_by: str = ""
    """OpenAI's id of the call that brought it."""


class Legs:
    """The calls of one carrier.

    Args:
        clock: Monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: OrderedDict[str, _Token] = OrderedDict()
        self._announced: OrderedDict[str, str] = OrderedDict()
        self._taken: OrderedDict[str, Leg] = OrderedDict()

    def expect(self, token: str, call_id: str) -> None:
        """A call of ours is going to arrive with this secret."""
        self._tokens[token] = _Token(call_id, self._clock.monotonic())
        _trim(self._tokens)

    def joins(self, tokens: tuple[str, ...], call: str) -> str:
        """Our id of the call that one of these secrets stands for; empty for a stranger's. Each is good for one."""
        for text in tokens:
            token = self._tokens.get(text.strip())
            late = token is None or self._clock.monotonic() - token.made_at > TOKEN_LIFE
            if token is not None and not late and token.used_by in ("", call):
                token.used_by = call
                return token.call_id
        return ""

    def announce(self, call: str, webhook: str) -> bool:
        """Whether this webhook is the one that tells of a call: another one about the same call tells nothing new."""
        first = self._announced.setdefault(call, webhook)
        _trim(self._announced)
        return first == webhook

    def find(self, call: str) -> Leg | None:
        """A call that we took."""
        return self._taken.get(call)

    def take(self, call: str) -> Leg:
        """We took a call, now or, for all we know, before this process began."""
        leg = self._taken.setdefault(call, Leg(self._clock.monotonic()))
        _trim(self._taken)
        return leg

    def drop(self, call: str) -> None:
        """We did not take this call after all."""
        self._taken.pop(call, None)

    def age(self, leg: Leg | None) -> float:
        """Seconds since a call was taken; 0 for one that is not taken yet."""
        return 0.0 if leg is None else self._clock.monotonic() - leg.taken_at


def _trim(known: "OrderedDict[str, str] | OrderedDict[str, Leg] | OrderedDict[str, _Token]") -> None:
    while len(known) > KEPT:
        known.popitem(last=False)
