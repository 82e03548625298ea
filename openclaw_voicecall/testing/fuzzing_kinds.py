"""What inputs of parsers are made of, and how they go wrong: text, bytes, JSON, plain values, and series of those.

Mutations are those that broke parsers before: cut, repeated, spliced and flipped pieces, numbers beyond every type,
nesting beyond every stack, digits that are none, half characters, line ends, names that belong to a programming
language, and other types than expected. Every one is drawn from the `Random` it is given, so it can be repeated.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

NUMBERS: Final = (
    "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 5000, "-" + "9" * 400, "9" * 400, "1e-400", "1e308",
    "-1", "-0", "0", "1", "0.5", "-1e300", "255", "256", "65536", "2147483648", "9223372036854775807",
    "9223372036854775808", "18446744073709551616", "1e16", "1e15", "253402300800", "-62135596801",
)  # fmt: skip
"""Numbers as JSON texts: without end, without value, and around the limits of every type."""
TEXTS: Final = (
    "", " ", "\0", "\n", "\r\n", "\t", "\u2028", "\x1b[31m", "\x7f", "\ufeff", "\ufffe", "\u202e", "\u0130", "ß", "ﬃ",
    "\ud800", "\udc00", "\udfff\ud800", "a\u0300" * 30, "\U0001f004", "🏳️‍🌈",
    "٣٤٥", "１２３", "²", "½", "一", "+١٥٥٥", "+1555000123４",
    "__class__", "__proto__", "__init__", "constructor", "{0.__class__}", "%s%n", "${HOME}", "env:HOME", "file:/",
    "null", "None", "true", "-1", "0x10", "1_000", "1e999", "NaN", "9" * 5000, "9" * 60,
    "../" * 12, "%00", "%ff", "%2e%2e%2f", "\\", "'", '"', "`", "```", "<", ">", "<!--", "-->", "]]>", "&#x0;",
    "&amp;", "[", "{", "(", "*", "|", "@", ".", ",", ":", ";", "=", "&", "?", "#", "/", "//", "-", "--", "_", "~", "^",
    "$", "\\u", "[" * 300, "{" * 300, "(" * 300, "a" * 2000, " " * 2000, "1" * 2000,
)  # fmt: skip
"""Texts that mean something to some parser, and texts that no store, terminal or document takes as they are."""
NESTED: Final = ("[" * 60_000, "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 200 + "]" * 200)
"""JSON texts nested beyond a stack, near its end, and moderately."""
_LIKELY_LONG: Final = 0.004
"""How often a text is stretched to the longest allowed, which takes time."""
_MOST_PATHS: Final = 400


class Kind(Protocol[T]):
    """What inputs are made of."""

    def mutate(self, random: Random, value: T, other: T) -> T:
        """A changed copy; `other` is another input, to take pieces from."""
        ...

    def smaller(self, value: T) -> Iterator[T]:
        """Smaller inputs, much smaller ones first, by which a finding is reduced."""
        ...


class Raw(str):
    """JSON as it is to be written, for numbers and nesting that no Python value gives."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Text of any kind, up to `longest` characters."""

    longest: int = 64 * 1024

    def mutate(self, random: Random, value: str, other: str) -> str:
        """See `Kind`."""
        if random.random() < _LIKELY_LONG:
            return self.stretched(random, value)
        change = random.choice(_TEXT_CHANGES)
        return change(random, value, other)[: self.longest]

    def smaller(self, value: str) -> Iterator[str]:
        """See `Kind`."""
        yield from _without_pieces(value)

    def stretched(self, random: Random, value: str) -> str:
        """The longest text there may be: a little piece again and again, so that searching back and forth shows."""
        at = random.randrange(len(value) + 1)
        piece = value[at : at + random.choice((1, 1, 2, 3, 5, 9, 17))]
        if not piece or random.random() < 0.4:
            piece = "".join(random.choice(TEXTS)[:4] for _ in range(random.choice((1, 1, 2, 3)))) or "a"
        room = self.longest - len(value)
        return value[:at] + piece * max(0, room // len(piece)) + value[at:]


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes of any kind, up to `longest`."""

    longest: int = 64 * 1024

    def mutate(self, random: Random, value: bytes, other: bytes) -> bytes:
        """See `Kind`."""
        data = value.decode("latin-1")
        if data and random.random() < 0.4:
            at = random.randrange(len(data))
            return value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
        if random.random() < _LIKELY_LONG:
            data = Text(self.longest).stretched(random, data)
        else:
            data = random.choice(_TEXT_CHANGES)(random, data, other.decode("latin-1"))
        # What is beyond a byte comes as UTF-8, and half characters as a lax writer writes them.
        return b"".join(
            char.encode("latin-1") if char < "\u0100" else char.encode("utf-8", "surrogatepass")
            for char in data[: self.longest]
        )[: self.longest]

    def smaller(self, value: bytes) -> Iterator[bytes]:
        """See `Kind`."""
        yield from _without_pieces(value)


@dataclass(frozen=True, slots=True)
class Tree:
    """Plain values in dictionaries and lists: what is sent on as something else than JSON."""

    longest: int = 64 * 1024

    def mutate(self, random: Random, value: Any, other: Any) -> Any:
        """See `Kind`."""
        return _changed_tree(random, value, other, Text(self.longest), raw=False)

    def smaller(self, value: Any) -> Iterator[Any]:
        """See `Kind`."""
        yield from _smaller_trees(value)


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON document as text, up to `longest` characters.

    Unless `half` says so, it holds half characters as escapes only: what arrives as text was UTF-8 before.
    """

    longest: int = 64 * 1024
    half: bool = False

    def mutate(self, random: Random, value: str, other: str) -> str:
        """See `Kind`."""
        mutant = self._mutant(random, value, other)
        return mutant if self.half or mutant.isascii() else mutant.encode("utf-8", "replace").decode()

    def _mutant(self, random: Random, value: str, other: str) -> str:
        if random.random() < 0.2:
            return Text(self.longest).mutate(random, value, other)
        try:
            tree, spare = json.loads(value), json.loads(other)
            changed = _changed_tree(random, tree, spare, Text(self.longest // 2), raw=True)
            return rendered(changed)[: self.longest]
        except (ValueError, RecursionError):  # it is broken already, or nested beyond our own stack
            return Text(self.longest).mutate(random, value, other)

    def smaller(self, value: str) -> Iterator[str]:
        """See `Kind`."""
        with suppress(ValueError, RecursionError):
            yield from (rendered(smaller) for smaller in _smaller_trees(json.loads(value)))
        yield from _without_pieces(value)


@dataclass(frozen=True, slots=True)
class Series:
    """A series of inputs of one kind, such as the messages of a conversation."""

    kind: Kind[Any]
    most: int = 60

    def mutate(self, random: Random, value: list[Any], other: list[Any]) -> list[Any]:
        """See `Kind`."""
        items = list(value)
        way = random.randrange(8) if items else 7
        at = random.randrange(len(items)) if items else 0
        if way <= 3:
            spare = random.choice(other or items)
            items[at] = self.kind.mutate(random, items[at], spare)
        elif way == 4:
            del items[at : at + random.choice((1, 1, 2, 5))]
        elif way == 5:
            items[at : at + 1] = [items[at]] * random.choice((2, 2, 3, 20))
        elif way == 6:
            to = random.randrange(len(items))
            items[at], items[to] = items[to], items[at]
        else:
            cut = random.randrange(len(other) + 1)
            items[at:at] = other[cut : cut + random.choice((1, 2, 8))]
        return items[: self.most]

    def smaller(self, value: list[Any]) -> Iterator[list[Any]]:
        """See `Kind`."""
        yield from _without_pieces(value)
        for at, item in enumerate(value):
            for less in self.kind.smaller(item):
                yield [*value[:at], less, *value[at + 1 :]]


def rendered(tree: Any) -> str:
    """A tree as JSON, with each `Raw` written as it is."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{rendered(item)}" for key, item in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(rendered, tree)) + "]"
    return json.dumps(tree)


def _flip(random: Random, text: str, other: str) -> str:
    if not text:
        return random.choice(TEXTS)
    at = random.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1 << random.randrange(7)) + text[at + 1 :]


def _cut(random: Random, text: str, other: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] if random.random() < 0.7 else text[at:]


def _delete(random: Random, text: str, other: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + text[at + random.choice((1, 1, 2, 4, 16, 64)) :]


def _repeat(random: Random, text: str, other: str) -> str:
    at = random.randrange(len(text) + 1)
    piece = text[at : at + random.choice((1, 2, 4, 16, 64))]
    return text[:at] + piece * random.choice((2, 2, 3, 10, 100)) + text[at + len(piece) :]


def _splice(random: Random, text: str, other: str) -> str:
    return text[: random.randrange(len(text) + 1)] + other[random.randrange(len(other) + 1) :]


def _insert(random: Random, text: str, other: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(TEXTS) + text[at:]


def _replace(random: Random, text: str, other: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice((*TEXTS, *NUMBERS)) + text[at + random.choice((1, 2, 4, 8)) :]


_TEXT_CHANGES: Final[tuple[Callable[[Random, str, str], str], ...]] = (
    _flip, _cut, _delete, _repeat, _splice, _insert, _insert, _replace,
)  # fmt: skip


def _changed_tree(random: Random, tree: Any, other: Any, text: Text, *, raw: bool) -> Any:
    """The tree with one node changed, removed, renamed or put in twice."""
    paths = list(_paths(tree))
    path = random.choice(paths)
    node = _at(tree, path)
    way = random.randrange(10)
    if way == 0 and path:
        return _with(tree, path, _gone)
    if way == 1 and path and isinstance(path[-1], str):
        names = [found[-1] for found in paths if found and isinstance(found[-1], str)]
        name = random.choice((*names, *TEXTS))
        parent = _at(tree, path[:-1])
        kept = {key: item for key, item in parent.items() if key != path[-1] or random.random() < 0.3}
        return _with(tree, path[:-1], {**kept, name: node})
    if way == 2 and isinstance(node, list) and node:
        return _with(tree, path, node * random.choice((2, 3, 50)))
    if way == 3:
        return _with(tree, path, _at(other, random.choice(list(_paths(other)))))
    if way == 4:
        return _with(tree, path, _as_another_type(random, node))
    if isinstance(node, str) and way < 9:
        return _with(tree, path, text.mutate(random, node, random.choice(TEXTS)))
    return _with(tree, path, _nasty(random, raw=raw))


def _nasty(random: Random, *, raw: bool) -> Any:
    way = random.randrange(8)
    if way < 3:
        return random.choice(TEXTS)
    if way < 6:
        number = random.choice(NUMBERS)
        if raw:
            return Raw(number)
        return float(number) if len(number) < 300 else 10 ** (len(number) // 2)
    if way == 6 and raw:
        return Raw(random.choice(NESTED))
    return random.choice((None, True, False, [], {}, [[]], [{}], {"": None}, [None], ["a"], {"a": {"b": []}}))


def _as_another_type(random: Random, node: Any) -> Any:
    choices: list[Any] = [
        [node],
        {"a": node},
        {"": node},
        [node, node],
        str(node)[:1000],
        None,
        len(str(node)),
    ]
    if isinstance(node, dict):
        choices.append(list(node.values()))
    elif isinstance(node, list):
        choices.append({str(at): item for at, item in enumerate(node)})
    elif isinstance(node, bool):
        choices += [int(node), "true"]
    elif isinstance(node, int | float):
        choices += [-node, node + 1, str(node), bool(node)]
    return random.choice(choices)


class _Gone:
    """Stands for a node that is taken away."""


_gone: Final = _Gone()


def _paths(tree: Any) -> Iterator[tuple[Any, ...]]:
    """Where the nodes of a tree are, the root first; of a large tree not all."""
    pending: list[tuple[tuple[Any, ...], Any]] = [((), tree)]
    for _ in range(_MOST_PATHS):
        if not pending:
            return
        path, node = pending.pop()
        yield path
        inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        pending.extend(((*path, key), item) for key, item in inner)


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _with(tree: Any, path: tuple[Any, ...], node: Any) -> Any:
    """A copy with another node at a path."""
    if not path:
        return None if node is _gone else node
    head, rest = path[0], path[1:]
    changed = node if not rest else _with(tree[head], rest, node)
    if isinstance(tree, dict):
        kept = {key: changed if key == head else item for key, item in tree.items()}
        return {key: item for key, item in kept.items() if item is not _gone}
    items = [changed if at == head else item for at, item in enumerate(tree)]
    return [item for item in items if item is not _gone]


def _smaller_trees(tree: Any) -> Iterator[Any]:
    paths = [path for path in _paths(tree) if path]
    for path in sorted(paths, key=len):
        yield _with(tree, path, _gone)
    for path in paths:
        node = _at(tree, path)
        if isinstance(node, str):
            yield from (_with(tree, path, less) for less in _without_pieces(node))


def _without_pieces(value: Any) -> Iterator[Any]:
    """A sequence without each of its halves, quarters and so on."""
    size = max(1, len(value) // 2)
    while value and size:
        for at in range(0, len(value), size):
            yield value[:at] + value[at + size :]
        size //= 2
