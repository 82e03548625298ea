"""Plain trees: nested dicts, lists and scalars, as files, environment and command line give them.

A tree is never changed in place; every function here gives a new one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from openclaw_voicecall.config.problems import KeyPath, Problem

MAX_DEPTH = 32
"""Levels of nesting that are read. OpenClaw's deepest key has eight, inside a whole openclaw.json twelve."""

MISSING = object()
"""Stands for a key that is not there."""

Tree = dict[str, Any]


def tidy(data: Mapping[Any, Any], problems: list[Problem]) -> Tree:
    """Copy a mapping from anywhere into a tree that JSON can carry.

    Keys without a value (`null`) are left out: they count as not set. What JSON cannot carry (dates, infinite
    numbers, half characters), what is nested too deeply, and names that belong to a programming language
    (`__proto__`, `__class__`) become problems.
    """
    tidied = _tidy_mapping(data, (), problems)
    return tidied if isinstance(tidied, dict) else {}


def _tidy(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
    if isinstance(value, Mapping):
        return _tidy_mapping(value, path, problems)
    if isinstance(value, str):
        return value if _is_unicode(value) else _refuse(path, "text with a half character in it", problems)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else _refuse(path, "a number that is too large", problems)
    if isinstance(value, float):
        return value if math.isfinite(value) else _refuse(path, "a number that is not finite", problems)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        if len(path) >= MAX_DEPTH:
            return _refuse(path, f"more than {MAX_DEPTH} levels", problems)
        items = [_tidy(item, (*path, index), problems) for index, item in enumerate(value)]
        return [item for item in items if item is not MISSING]
    return _refuse(path, f"a value of type {type(value).__name__}", problems)


def _tidy_mapping(data: Mapping[Any, Any], path: KeyPath, problems: list[Problem]) -> Any:
    if len(path) >= MAX_DEPTH:
        return _refuse(path, f"more than {MAX_DEPTH} levels", problems)
    tidied: Tree = {}
    for key, value in data.items():
        if not isinstance(key, str) or not _is_unicode(key):
            problems.append(Problem(path, f"expected names as keys, found the key {key!r:.40}"))
        elif key.startswith("__") and key.endswith("__"):
            problems.append(Problem((*path, key), "unknown setting"))
        elif value is not None:
            kept = _tidy(value, (*path, key), problems)
            if kept is not MISSING:
                tidied[key] = kept
    return tidied


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(path: KeyPath, found: str, problems: list[Problem]) -> Any:
    problems.append(Problem(path, f"expected a setting, found {found}"))
    return MISSING


def merge(under: Tree, over: Mapping[str, Any]) -> Tree:
    """Lay one tree over another: mappings join, anything else is replaced."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def look_up(tree: Any, path: Iterable[str]) -> Any:
    """The value at a path, or `MISSING`."""
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return MISSING
        tree = tree[key]
    return tree


def with_value(tree: Tree, path: Sequence[str], value: Any) -> Tree:
    """The tree with a value set at a path. A scalar that stands in the way is left, and nothing is set."""
    head, *rest = path
    if not rest:
        return {**tree, head: value}
    below = tree.get(head, {})
    return {**tree, head: with_value(below, rest, value)} if isinstance(below, dict) else tree


def without(tree: Tree, path: Sequence[str]) -> Tree:
    """The tree without the value at a path, and without the mappings that this leaves empty."""
    head, *rest = path
    if head not in tree:
        return tree
    kept = {key: value for key, value in tree.items() if key != head}
    if rest and isinstance(tree[head], dict):
        below = without(tree[head], rest)
        return {**tree, head: below} if below else kept
    return kept if not rest else tree
