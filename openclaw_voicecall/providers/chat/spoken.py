"""From what a model writes to what is said, while it is still being written.

Out go a model's thinking, tool calls written as text, and the wrapping of a JSON contract such as
`{"spoken": "Hello."}`; of the latter only the words come through, decoded. What comes out does not depend on how the
text was cut into pieces.
"""

import re
from dataclasses import dataclass
from typing import Final

_DROPPED: Final = ("think", "thinking", "thought", "reasoning", "tool_call", "tool_calls", "function_calls")
_OPENING: Final = {f"<{name}>": f"</{name}>" for name in _DROPPED}
_TAGS: Final = (*_OPENING, *_OPENING.values())

SPOKEN_KEYS: Final = frozenset(
    {"spoken", "speech", "say", "text", "reply", "response", "message", "content", "answer", "output"}
)
"""Keys whose text is said when a model answers in JSON. In one object the first of them that has words counts."""

# A JSON object, in a list or not, in a code fence or not: recognised at its first quote, so that braces in prose stay.
_JSON_BEGINS: Final = re.compile(r"(?P<fence>```[A-Za-z]*\s*)?(?:\[\s*)?\{\s*[\"'}]")
_JSON_MAY_BEGIN: Final = re.compile(r"`{1,3}|```[A-Za-z]*\s*(?:\[\s*)?(?:\{\s*)?|(?:\[\s*)?\{\s*|\[\s*")
_LONGEST_HELD: Final = 200
_LONGEST_KEY: Final = 40
_ESCAPES: Final = {"n": "\n", "t": " ", "r": " ", "f": " ", "b": ""}


class SpokenText:
    """Lets the words of one reply through and nothing else."""

    def __init__(self) -> None:
        self._thoughts = _Thoughts()
        self._contract = _Contract()
        self._began = False

    def push(self, delta: str) -> str:
        """Take the next text, of any size, and return what of it is to be spoken by now."""
        text = self._contract.push(self._thoughts.push(delta))
        if not self._began:
            text = text.lstrip()
            self._began = bool(text)
        return text


class _Thoughts:
    """Drops `<think>...</think>` and its like, and the tags themselves where one is left over."""

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""

    def push(self, delta: str) -> str:
        return "".join(map(self._add, delta))

    def _add(self, char: str) -> str:
        if self._closing:
            self._held = (self._held + char)[-len(self._closing) :]
            if self._held.lower() == self._closing:
                self._held = self._closing = ""
            return ""
        if char == "<":
            text, self._held = self._held, "<"
            return text
        if not self._held:
            return char
        self._held += char
        tag = self._held.lower()
        if tag in _TAGS:
            self._closing = _OPENING.get(tag, "")
        elif any(known.startswith(tag) for known in _TAGS):
            return ""
        text, self._held = self._held, ""
        return "" if tag in _TAGS else text


class _Contract:
    """Replaces JSON by the text that it carries."""

    def __init__(self) -> None:
        self._held = ""
        self._json: _Json | None = None
        self._fenced = False

    def push(self, text: str) -> str:
        return "".join(map(self._add, text))

    def _add(self, char: str) -> str:
        if self._json is not None:
            return self._read(char)
        if self._fenced and (char.isspace() or char == "`"):
            return ""
        self._fenced = False
        if not self._held and char not in "`[{":
            return char
        held = self._held + char
        if begins := _JSON_BEGINS.fullmatch(held):
            self._held = ""
            self._fenced = begins["fence"] is not None
            self._json = _Json()
            return "".join(map(self._read, held.removeprefix(begins["fence"] or "")))
        if _JSON_MAY_BEGIN.fullmatch(held) and len(held) <= _LONGEST_HELD:
            self._held = held
            return ""
        # It was prose after all, in which this very character may begin something again.
        text, self._held = (self._held, char) if char in "`[{" else (held, "")
        return text

    def _read(self, char: str) -> str:
        if self._json is None:
            return ""
        text = self._json.read(char)
        if self._json.done:
            self._json = None
        return text


@dataclass(slots=True)
class _Level:
    """An object or a list that is open."""

    is_list: bool
    speaks: bool
    """Whether it is the reply itself, or the value of a key that is said."""
    key: str = ""
    in_value: bool = False
    said_before: int = 0
    """Characters said when the value began."""
    has_spoken: bool = False


class _Json:
    """Reads one JSON document a character at a time, forgivingly, and gives the characters to be said."""

    def __init__(self) -> None:
        self.done = False
        self._levels: list[_Level] = []
        self._said = 0
        self._quote = ""
        self._key: str | None = None
        self._aloud = False
        self._began_at = 0
        self._escape = ""
        self._high = 0

    def read(self, char: str) -> str:
        """Take a character; return what it adds to the speech."""
        if self._quote:
            return self._in_string(char)
        level = self._levels[-1] if self._levels else None
        if char in "{[":
            self._levels.append(_Level(char == "[", self._speaks()))
        elif level is None:
            pass
        elif char in "}]":
            self._end_value(level)
            self._levels.pop()
            self.done = not self._levels
        elif char in "\"'":
            self._quote, self._began_at = char, self._said
            self._key = None if level.is_list or level.in_value else ""
            self._aloud = self._speaks()
        elif char == ":":
            level.in_value, level.said_before = True, self._said
        elif char == ",":
            self._end_value(level)
        return ""

    def _speaks(self) -> bool:
        """Whether a value that begins here is to be said."""
        if not self._levels:
            return True
        level = self._levels[-1]
        if level.is_list:
            return level.speaks
        return level.speaks and level.in_value and level.key in SPOKEN_KEYS and not level.has_spoken

    def _end_value(self, level: _Level) -> None:
        if not level.is_list:
            level.has_spoken = level.has_spoken or (level.in_value and self._said > level.said_before)
            level.in_value = False

    def _in_string(self, char: str) -> str:
        if self._escape:
            return self._escaped(char)
        if char == "\\":
            self._escape = char
            return ""
        if char != self._quote:
            return self._take(char)
        self._quote, self._high = "", 0
        if self._key is not None:
            self._levels[-1].key = self._key.strip().lower()
        # A line break ends the sentence, so that the rest of the document delays nothing.
        return "\n" if self._aloud and self._said > self._began_at else ""

    def _escaped(self, char: str) -> str:
        self._escape += char
        if len(self._escape) == 2:
            if char == "u":
                return ""
            self._escape = ""
            return self._take(_ESCAPES.get(char, char))
        if len(self._escape) < 6:
            return ""
        digits, self._escape = self._escape[2:], ""
        try:
            code = int(digits, 16)
        except ValueError:
            return ""
        if 0xD800 <= code < 0xDC00:
            self._high = code
            return ""
        high, self._high = self._high, 0
        if 0xDC00 <= code < 0xE000:
            return self._take(chr(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00))) if high else ""
        return self._take(chr(code) if code >= 32 else " ")

    def _take(self, text: str) -> str:
        if self._key is not None:
            self._key = (self._key + text)[:_LONGEST_KEY]
            return ""
        if not self._aloud:
            return ""
        self._said += len(text.strip())
        return text
