"""What is wrong with a configuration, in one message that names every place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Where a setting stands: keys in camelCase, and positions in lists."""

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong at one place. The text never holds the value of a secret."""

    path: KeyPath
    text: str


@dataclass(frozen=True, slots=True)
class Origins:
    """Where settings were read, so that a problem can be shown where it was written."""

    where: str = "the configuration"
    """The file, as shown to people."""
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    """Line of each key in that file, by folded path."""
    given: Mapping[KeyPath, str] = field(default_factory=dict)
    """What gave a key that is not from the file, such as `VOICECALL_SERVE__PORT`, by folded path."""
    moved: Mapping[KeyPath, KeyPath] = field(default_factory=dict)
    """New folded path to old path, for keys that were renamed on the way in."""

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest group around it that the file has."""
        for length in range(len(path), 0, -1):
            folded = fold(path[:length])
            if folded in self.given:
                return None
            if folded in self.lines:
                return self.lines[folded]
        return None

    def giver_of(self, path: KeyPath) -> str | None:
        """What gave a key that is not from the file."""
        for length in range(len(path), 0, -1):
            if giver := self.given.get(fold(path[:length])):
                return giver
        return None

    def written(self, path: KeyPath) -> KeyPath:
        """The path as it was written, before old names were replaced."""
        for length in range(len(path), 0, -1):
            if old := self.moved.get(fold(path[:length])):
                return (*old, *path[length:])
        return path


def fold(path: Iterable[str | int]) -> KeyPath:
    """A path for comparison: `max_concurrent_calls` and `maxConcurrentCalls` are one key."""
    return tuple(part.replace("_", "").lower() if isinstance(part, str) else part for part in path)


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: `allowFrom[0]`, `streaming.providers.openai.apiKey`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part[:60]}" if text else part[:60]
    return printable(text)


def printable(text: str) -> str:
    """Text that is safe on a terminal: what cannot be printed is written as an escape."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def config_error(problems: Sequence[Problem], origins: Origins) -> ConfigError:
    """One error for all problems, one line each, in the order of the file."""
    rows = sorted((_row(problem, origins) for problem in problems), key=lambda row: row[0])
    if len(rows) == 1:
        _, line, text = rows[0]
        place = f"{origins.where}, line {line}" if line else origins.where
        return ConfigError(f"{place}: {text}")
    shown = [f"  line {line}: {text}" if line else f"  {text}" for _, line, text in rows[:_MOST_SHOWN]]
    if len(rows) > _MOST_SHOWN:
        shown.append(f"  and {len(rows) - _MOST_SHOWN} more")
    return ConfigError("\n".join([f"{origins.where}: {len(rows)} problems", *shown]))


def _row(problem: Problem, origins: Origins) -> tuple[tuple[int, str], int | None, str]:
    written = origins.written(problem.path)
    name = dotted(written)
    if written != problem.path:
        name += f" (now {dotted(problem.path)})"
    if giver := origins.giver_of(problem.path):
        name += f" (given by {giver})"
    line = None if giver else origins.line_of(written)
    text = printable(f"{name}: {problem.text}" if problem.path else problem.text)
    return (line or 1 << 30, text), line, text


def found(value: Any, *, secret: bool) -> str:
    """What stands there instead, in words; the value itself only where it cannot be a secret."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number" if secret else f"{value}"[:40]
        case str() if not value:
            return "empty text"
        case str():
            return "text" if secret else ascii(value if len(value) <= 40 else value[:40] + "...")
        case list() | tuple():
            return "a list"
        case dict():
            return "a group of settings"
        case _:
            return "nothing"
