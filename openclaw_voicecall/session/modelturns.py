"""What is known of the replies of a speech-to-speech model: whose turn they are, what they consist of, what is owed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from openclaw_voicecall.api.realtime import RealtimeSession
from openclaw_voicecall.api.turntools import TurnTools
from openclaw_voicecall.session.modelsounds import Sound

TRIES: Final = 6
"""Times that a fixed text is asked for before it counts as failed."""
TOLD_EVERY: Final = 24
"""Characters of text that may be unknown to the core while more are written: sound is far behind them."""


@dataclass(slots=True)
class Stretch:
    """One item of a reply: a stretch of speech, which is an utterance of ours."""

    item: str
    utterance: int
    sound: Sound
    text: str = ""
    told: int = 0
    """Characters of the text that the core knows."""

    @property
    def is_to_tell(self) -> bool:
        """Whether enough was written since the core was last told."""
        return len(self.text) - self.told >= TOLD_EVERY


@dataclass(slots=True)
class Reply:
    """One reply of the model."""

    id: str
    turn: "Turn | None" = None
    """None as long as nobody has decided, and for one that nobody may hear."""
    stretches: dict[str, Stretch] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """Text of items that have made no sound yet."""
    ended: bool = False
    follow_up: str = ""
    """Under which name the reply was asked for that follows from its tools."""

    @property
    def is_over(self) -> bool:
        """Whether nothing can come of it any more."""
        return self.ended and (self.turn is None or self.turn.closed)


@dataclass(slots=True)
class Turn:
    """One turn of the agent: a reply, and those that follow from the tools it calls."""

    number: int
    tools: TurnTools
    fixed: bool = False
    """Whether it is a text of ours."""
    replies: list[Reply] = field(default_factory=list)
    working: int = 0
    """Tools that are at work."""
    awaited: set[str] = field(default_factory=set)
    """Replies that were asked for and have not begun, by the names they were asked for under."""
    closed: bool = False
    """Whether nothing more may come of it."""
    sounded: bool = False
    """Whether the model has made any sound in it."""
    told: bool = False
    """Whether the core knows that it is complete."""
    act: Callable[[RealtimeSession, str], None] | None = None
    """Asks the model for it, where it does not begin by itself."""
    tries: int = 0
    """How often it was asked."""

    @property
    def may_be_asked_again(self) -> bool:
        """Whether it is to be asked for again, should it fail or the session break off: nobody would notice."""
        return self.fixed and not self.sounded and self.tries < TRIES

    @property
    def is_complete(self) -> bool:
        """Whether the model has said and done everything it wanted."""
        under_way = any(not reply.ended for reply in self.replies)
        return not (self.working or self.awaited or under_way)
