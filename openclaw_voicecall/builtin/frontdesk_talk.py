"""What the front desk knows of a turn and of the call so far, and what it answers with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from openclaw_voicecall.api.responder import Line, TurnRequest

YES: Final = (
    "yes", "yeah", "yep", "yup", "sure", "correct", "right", "that's right", "exactly", "okay", "ok", "fine"
)  # fmt: skip
NO: Final = ("no", "nope")
NOT_RIGHT: Final = ("wrong", "not (?:quite )?(?:right|correct|it)", "isn't (?:right|correct)", "incorrect")


@dataclass(slots=True)
class Talk:
    """What the front desk remembers of one call."""

    name: str = ""
    number: str = ""
    message: str = ""
    expecting: str = ""
    """What the next turn is taken for: `message`, `confirmation`, or nothing special."""
    last_reply: str = ""
    disclosed: bool = False
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What to say, and whether to end the call after it."""

    text: str
    end: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """One caller turn, with what a rule may look at."""

    request: TurnRequest
    talk: Talk
    now: datetime
    plain: str = field(init=False)
    """The words in lower case, without punctuation."""

    def __post_init__(self) -> None:
        words = re.sub(r"[^a-z0-9' ]", " ", self.request.text.lower().replace("’", "'"))
        object.__setattr__(self, "plain", " ".join(words.split()))

    @property
    def text(self) -> str:
        """The words as they were heard."""
        return self.request.text.strip()

    @property
    def words(self) -> int:
        """How many words were said."""
        return len(self.plain.split())

    def has(self, *patterns: str) -> bool:
        """Whether one of these regular expressions occurs, at word boundaries."""
        return any(re.search(rf"\b(?:{pattern})\b", self.plain) for pattern in patterns)

    def is_just(self, *patterns: str) -> bool:
        """Whether the turn is one of these and nothing else."""
        return any(re.fullmatch(pattern, self.plain) for pattern in patterns)

    @property
    def interrupted(self) -> bool:
        """Whether the caller broke into the agent's last words."""
        agent = self._agent_lines()
        return bool(agent) and agent[-1].interrupted

    @property
    def last_heard(self) -> str:
        """What the caller heard of the agent's last words."""
        agent = self._agent_lines()
        return agent[-1].text if agent else ""

    def _agent_lines(self) -> list[Line]:
        """What the agent said in this call; earlier calls are not asked about."""
        return [line for line in self.request.history if line.speaker == "agent" and not line.earlier]


Rule = Callable[[Said], Reply | None]
"""Replies to what was said, or gives None if the rule is not about that."""


def comma_name(talk: Talk) -> str:
    """The caller's first name after a comma, if it is known, to be put into a sentence."""
    return f", {talk.name.split()[0]}" if talk.name else ""


def sentence(text: str) -> str:
    """The text with something at its end that a voice falls at."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
