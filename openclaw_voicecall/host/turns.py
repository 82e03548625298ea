"""What every host's agent needs from turn to turn of a call: what was heard of its words, and how it hangs up."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from openclaw_voicecall.api.prompts import said_last, spoken_style
from openclaw_voicecall.api.responder import TurnRequest

REMEMBERED_CALLS: Final = 200
"""Calls whose last written words are kept in mind."""


@dataclass(slots=True)
class Turn:
    """A turn that a host's agent is writing."""

    text: str
    """What the caller said, and what the agent's session cannot know by itself."""
    style: str
    """Instructions for the agent."""
    written: str = ""
    """What the agent wrote so far; whoever passes its words on adds them here."""
    ends_call: bool = False
    """Whether the agent hangs up after this turn."""


class Turns:
    """The turns of a host's agent on all calls."""

    def __init__(self) -> None:
        self._written: OrderedDict[str, str] = OrderedDict()
        """What the agent wrote last, by call."""
        self._open: dict[str, Turn] = {}
        """Turns that are being written, by call."""

    def end_after_turn(self, call_id: str) -> bool:
        """The agent hangs up in its own turn: once the turn was heard. False when it is in no turn of this call."""
        turn = self._open.get(call_id)
        if turn is None:
            return False
        turn.ends_call = True
        return True

    @contextmanager
    def turn(self, request: TurnRequest) -> Iterator[Turn]:
        """The turn, while the agent writes it; what it wrote is kept in mind for the next one."""
        turn = Turn(
            text=said_last(request, written=self._written.get(request.call_id, "")),
            style=spoken_style(request, owner=request.owner),
        )
        self._open[request.call_id] = turn
        try:
            yield turn
        finally:
            if self._open.get(request.call_id) is turn:
                del self._open[request.call_id]
            self._remember(request.call_id, turn.written)

    def _remember(self, call_id: str, written: str) -> None:
        self._written[call_id] = written
        self._written.move_to_end(call_id)
        while len(self._written) > REMEMBERED_CALLS:
            self._written.popitem(last=False)
