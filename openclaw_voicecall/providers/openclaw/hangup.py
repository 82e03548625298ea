"""How an agent that has no tool for it ends a call: it writes so, and the words are taken out of what is said."""

import re
from typing import Final

HANG_UP: Final = "When the talk is over, say goodbye and then write [hang up] as the very last words."
"""For the agent's instructions. What callers say has no square brackets when it reaches the agent."""

_MARK: Final = "[hang up]"
_MAY_BEGIN: Final = re.compile(r"\[[a-z _-]{0,12}", re.IGNORECASE)
_IS_MARK: Final = re.compile(r"\[ ?hang[ _-]?up ?\]", re.IGNORECASE)


class UntilHangUp:
    """Lets the words of one reply through, and notices the mark."""

    def __init__(self) -> None:
        self.hang_up = False
        """Whether the agent wants the call to end after this turn."""
        self._held = ""

    def push(self, text: str) -> str:
        """Take the next text, of any size, and return what of it is to be said by now."""
        said = ""
        for char in text:
            said += self._add(char)
        return said

    def finish(self) -> str:
        """What was held back and is no mark."""
        held, self._held = self._held, ""
        return held

    def _add(self, char: str) -> str:
        if not self._held and char != "[":
            return char
        held = self._held + char
        if _IS_MARK.fullmatch(held):
            self.hang_up, self._held = True, ""
            return ""
        if _MAY_BEGIN.fullmatch(held):
            self._held = held
            return ""
        if char == "[":
            self._held, said = char, self._held
            return said
        self._held = ""
        return held
