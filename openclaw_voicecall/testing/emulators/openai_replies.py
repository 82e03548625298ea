"""What the model of an emulated speech-to-speech session says: by a script, or word for word as it was told. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FALLBACK: Final = "All right."
"""What is said when the script is at its end."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a function."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    """As a string: exactly what the model writes, be it JSON or not."""

    @property
    def written(self) -> str:
        """The arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response: words, then calls of functions."""

    text: str = ""
    calls: tuple[ToolUse, ...] = ()
    delay: float = 0.0
    """Seconds between the beginning of the response and its first output."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What the model answers to."""

    why: str
    """`turn` after a turn of the caller, `asked` after a `response.create`, `idle` after a long silence."""
    heard: str
    """The caller's last words, empty where they are not known."""
    instructions: str
    """Those in force for this response."""
    results: tuple[str, ...] = ()
    """Results of functions that came since the last response."""
    tools: tuple[str, ...] = ()
    """Names of the functions that may be called."""


Thinker = Callable[[Cue], Reply | str]


class Brain:
    """Gives the replies of all sessions of an emulator, in their order.

    Args:
        replies: One for each response that is not word for word, or what thinks of them. A string is a text.
    """

    def __init__(self, replies: Iterable[Reply | str] | Thinker = ()) -> None:
        self._thinker = replies if callable(replies) else None
        self._script = [] if callable(replies) else list(replies)
        self.cues: list[Cue] = []
        """What was answered so far, with whatever came of it."""

    def add(self, *replies: Reply | str) -> None:
        """Have these replies given after those that are left."""
        self._script += replies

    def reply(self, cue: Cue, own_instructions: str = "") -> Reply:
        """The reply to a cue.

        Args:
            cue: What is answered.
            own_instructions: Those of this one response: what stands between their first and last double quote is
                said word for word.
        """
        self.cues.append(cue)
        if (text := quoted(own_instructions)) is not None:
            return Reply(text)
        think = self._thinker or self._next
        found = think(cue)
        reply = Reply(found) if isinstance(found, str) else found
        # A model cannot call what it was never told of, nor where it was told not to.
        calls = tuple(call for call in reply.calls if call.name in cue.tools)
        text = reply.text if reply.text or calls else FALLBACK
        return Reply(text, calls, reply.delay)

    def _next(self, cue: Cue) -> Reply | str:
        return self._script.pop(0) if self._script else FALLBACK


def quoted(instructions: str) -> str | None:
    """What stands between the first and the last double quote, None where there are not two."""
    first, last = instructions.find('"'), instructions.rfind('"')
    return instructions[first + 1 : last].strip() if last > first else None
