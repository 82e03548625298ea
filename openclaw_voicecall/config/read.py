"""Configuration files: JSON, JSON5 and YAML, read with the line of every key.

Whatever is in the file, reading ends with a tree or a `ConfigError` that names the file and the line.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from openclaw_voicecall.config.problems import KeyPath, dotted, fold, printable
from openclaw_voicecall.config.tree import MAX_DEPTH
from openclaw_voicecall.errors import ConfigError

LARGEST_FILE = 1024 * 1024
"""Bytes. A large openclaw.json has some 50 kB."""
_MOST_NODES = 50_000
"""Values in a YAML file once its aliases are followed; a file that multiplies itself has more."""

Lines = dict[KeyPath, int]


@dataclass(frozen=True, slots=True)
class Text:
    """A file as read."""

    where: str
    """How messages call it."""
    content: str
    yaml: bool


def read_file(path: Path) -> Text:
    """Read a configuration file.

    Raises:
        ConfigError: It is not there, not readable, no regular file, larger than 1 MiB, or not UTF-8.
    """
    where = str(path)
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{where}: expected a file, found something else, such as a folder")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{where}: the configuration cannot be read: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{where}: larger than 1 MiB, so it is no configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}, line {line}: not text in UTF-8") from None
    return Text(where, text, path.suffix.lower() in (".yaml", ".yml"))


def parse(text: Text) -> tuple[dict[str, Any], Lines]:
    """Parse a file. An empty one is an empty configuration.

    Returns:
        The tree, and the line of each key by folded path.

    Raises:
        ConfigError: A syntax error, a key written twice, too much nesting, or no mapping at the top.
    """
    if not text.content.strip():
        return {}, {}
    data, lines = _parse_yaml(text) if text.yaml else _parse_json5(text)
    if data is None:
        return {}, {}
    if not isinstance(data, dict):
        raise ConfigError(f"{text.where}: expected a group of settings at the top, found something else")
    return data, lines


def _too_deep(where: str, line: int | None = None) -> ConfigError:
    place = f"{where}, line {line}" if line else where
    return ConfigError(f"{place}: nested more than {MAX_DEPTH} levels deep")


def _twice(where: str, path: KeyPath, first: int, second: int) -> ConfigError:
    return ConfigError(f"{where}, line {second}: {dotted(path)} is written twice, first on line {first}")


def _parse_json5(text: Text) -> tuple[Any, Lines]:
    try:
        data = _loads(text.content)
    except RecursionError:
        raise _too_deep(text.where) from None
    except ValueError as error:
        raise _syntax_error(text.where, str(error)) from None
    return data, _Scanner(text).lines()


def _loads(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        # A hundred times slower, so only for what plain JSON does not know: comments, bare keys, loose commas.
        import json5  # noqa: PLC0415  # needed by few files, and not cheap to import

        return json5.loads(content)


def _syntax_error(where: str, message: str) -> ConfigError:
    match = re.search(r"<string>:(\d+) (.*?)(?: at column (\d+))?$", message, re.DOTALL)
    if match is None:
        return ConfigError(f"{where}: not JSON5: {printable(message)}")
    line, what, column = match.groups()
    place = f"line {line}, column {column}" if column else f"line {line}"
    return ConfigError(f"{where}, {place}: not JSON5: {printable(what[:1].lower() + what[1:])}")


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<punctuation>[{}\[\],:])
    |(?P<word>[^\s{}\[\],:"'/]+|.)""",
    re.DOTALL | re.VERBOSE,
)


class _Scanner:
    """Finds the line of every key in text that is known to be valid JSON5.

    The parsers give no positions. This one needs no understanding of values, so it stays small, and it does not
    recurse, so depth cannot hurt it.
    """

    def __init__(self, text: Text) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text.content))]
        self._keys: list[str | int | None] = []
        """For each open container the key (None before the first) or the position being read."""
        self._expecting_key = False
        self._exact: dict[KeyPath, int] = {}

    def lines(self) -> Lines:
        """Scan the text once.

        Raises:
            ConfigError: A key is written twice, or the nesting is too deep.
        """
        for match in _TOKEN.finditer(self._text.content):
            kind, piece = match.lastgroup, match[0]
            if kind == "punctuation":
                self._punctuation(piece, match.start())
            elif kind in ("string", "word"):
                if self._expecting_key:
                    self._key(piece, match.start())
                else:
                    self._item(match.start())
        return {fold(path): line for path, line in self._exact.items()}

    def _line(self, offset: int) -> int:
        return bisect_right(self._starts, offset)

    def _path(self) -> KeyPath:
        return tuple(key for key in self._keys if key is not None)

    def _punctuation(self, piece: str, offset: int) -> None:
        if piece in "{[":
            self._item(offset)
            if len(self._keys) >= MAX_DEPTH:
                raise _too_deep(self._text.where, self._line(offset))
            self._keys.append(None if piece == "{" else 0)
            self._expecting_key = piece == "{"
        elif piece in "}]":
            self._keys.pop()
            self._expecting_key = False
        elif piece == ",":
            last = self._keys[-1]
            if isinstance(last, int):
                self._keys[-1] = last + 1
            else:
                self._expecting_key = True

    def _key(self, piece: str, offset: int) -> None:
        self._keys[-1] = _decoded(piece)
        path, line = self._path(), self._line(offset)
        if path in self._exact:
            raise _twice(self._text.where, path, self._exact[path], line)
        self._exact[path] = line
        self._expecting_key = False

    def _item(self, offset: int) -> None:
        if self._keys and isinstance(self._keys[-1], int):
            self._exact.setdefault(self._path(), self._line(offset))


def _decoded(piece: str) -> str:
    if piece[0] in "\"'" or "\\" in piece:
        try:
            quoted = piece if piece[0] in "\"'" else f'"{piece}"'
            return str(_loads(quoted))
        except ValueError:
            return piece
    return piece


class _PlainLoader(yaml.SafeLoader):
    """YAML without its surprises: `off` is text, a number with a plus in front is a phone number, dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # yaml's own name


_SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text, 0),
    "float": float,
    "str": str,
}
for _kind, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(?:0|[1-9][0-9]{0,40})|0x[0-9a-fA-F]{1,20}|0o[0-7]{1,20}", list("-0123456789")),
    (
        "float",
        r"-?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|-?[0-9]+[eE][-+]?[0-9]+",
        list("-.0123456789"),
    ),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})\\Z"), _first)


def _parse_yaml(text: Text) -> tuple[Any, Lines]:
    try:
        node = yaml.compose(text.content, Loader=_PlainLoader)
        return _Builder(text.where).build(node)
    except RecursionError:
        raise _too_deep(text.where) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = printable(error.problem or error.context or "unreadable")
        raise ConfigError(f"{text.where}{place}: not YAML: {problem}") from None
    except yaml.YAMLError as error:
        first = printable(str(error).partition("\n")[0])
        raise ConfigError(f"{text.where}: not YAML: {first}") from None


class _Builder:
    """Makes a tree of YAML's nodes."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes = 0
        self._lines: Lines = {}

    def build(self, node: yaml.Node | None) -> tuple[Any, Lines]:
        """The tree, and the line of each key by folded path."""
        return (None, {}) if node is None else (self._value(node, ()), self._lines)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise ConfigError(f"{self._where}, line {line}: the file multiplies itself by aliases")
        if len(path) >= MAX_DEPTH and not isinstance(node, yaml.ScalarNode):
            raise _too_deep(self._where, line)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            return self._scalar(node, kind, line)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            for at, item in enumerate(node.value):
                self._lines[(*fold(path), at)] = item.start_mark.line + 1
            return [self._value(item, (*path, at)) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        raise ConfigError(f"{self._where}, line {line}: the tag {printable(node.tag[:60])} is not taken here")

    def _scalar(self, node: yaml.ScalarNode, kind: str, line: int) -> Any:
        try:
            return _SCALARS[kind](node.value)
        except ValueError:
            raise ConfigError(f"{self._where}, line {line}: not a {kind}") from None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        written: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(
                    f"{self._where}, line {line}: expected a name as key, found a group or list"
                )
            key = key_node.value
            if key in written:
                raise _twice(self._where, (*path, key), written[key], line)
            written[key] = self._lines[fold((*path, key))] = line
            built[key] = self._value(value_node, (*path, key))
        return built
