"""Checks of JSON values that refuse in the words of OpenAI's Realtime API. Pure.

Each maker gives a function of a value and its path that raises `SessionRefused`. No value may be null unless `or_null`
says so: what is left out is left out, also where the OpenAI SDK's types are `Optional`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openclaw_voicecall.testing.emulators.openai_sessions import (
    SessionRefused,
    allow_keys,
    check_type,
    required,
    unsupported_value,
)

Check = Callable[[Any, str], None]
"""Takes a value and its path; raises `SessionRefused`."""


def of_type(kind: type) -> Check:
    """A value of a JSON type."""
    return lambda value, path: check_type(value, kind, path)


def anything(value: Any, path: str) -> None:
    """Whatever the vendor does not look at."""


def object_of(fields: Mapping[str, Check], *, needs: Sequence[str] = ()) -> Check:
    """An object with these keys and no others; those of `needs` must be there."""

    def check(value: Any, path: str) -> None:
        check_type(value, dict, path)
        allow_keys(value, tuple(fields), path)
        for key in needs:
            required(value, key, f"{path}.{key}")
        for key, inner in value.items():
            fields[key](inner, f"{path}.{key}")

    return check


def map_of(inner: Check) -> Check:
    """An object with any keys."""

    def check(value: Any, path: str) -> None:
        check_type(value, dict, path)
        for key, each in value.items():
            inner(each, f"{path}.{key}")

    return check


def list_of(inner: Check) -> Check:
    """An array."""

    def check(value: Any, path: str) -> None:
        check_type(value, list, path)
        for index, each in enumerate(value):
            inner(each, f"{path}[{index}]")

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(value: Any, path: str) -> None:
        check_type(value, str, path)
        if value not in words:
            raise unsupported_value(value, words, path)

    return check


def kinds(checks: Mapping[str, Check], default: str = "") -> Check:
    """An object whose `type` decides what it must be; a `default` where it has none."""

    def check(value: Any, path: str) -> None:
        check_type(value, dict, path)
        kind = value.get("type", default) if default else required(value, "type", f"{path}.type")
        one_of(*checks)(kind, f"{path}.type")
        checks[kind](value, path)

    return check


def or_null(inner: Check) -> Check:
    """The value, or null, which switches off."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def word_or(words: Sequence[str], inner: Check) -> Check:
    """One of these words, or something that is no word."""

    def check(value: Any, path: str) -> None:
        (one_of(*words) if isinstance(value, str) else inner)(value, path)

    return check


def number(kind: type, low: float, high: float) -> Check:
    """A number from `low` to `high`, both included."""

    def check(value: Any, path: str) -> None:
        check_type(value, kind, path)
        if low <= value <= high:
            return
        word = "integer" if kind is int else "decimal"
        side, short, bound = ("below minimum", "below_min", f">= {low}")
        if value > high:
            side, short, bound = ("above maximum", "above_max", f"<= {high}")
        message = f"Invalid '{path}': {word} {side} value. Expected a value {bound}, but got {value} instead."
        raise SessionRefused(message, f"{word}_{short}_value", path)

    return check


def text_of(longest: int) -> Check:
    """A string of at most so many characters."""

    def check(value: Any, path: str) -> None:
        check_type(value, str, path)
        if len(value) > longest:
            message = (
                f"Invalid '{path}': string too long. Expected a string with maximum length {longest}, "
                f"but got a string with length {len(value)} instead."
            )
            raise SessionRefused(message, "string_above_max_length", path)

    return check


def pattern(expression: str) -> Check:
    """A string that a regular expression matches as a whole."""

    def check(value: Any, path: str) -> None:
        check_type(value, str, path)
        if not re.fullmatch(expression, value):
            message = (
                f"Invalid '{path}': string does not match pattern. "
                f"Expected a string that matches the pattern '^{expression}$'."
            )
            raise SessionRefused(message, "invalid_value", path)

    return check


def all_of(*checks: Check) -> Check:
    """One check after the other."""

    def check(value: Any, path: str) -> None:
        for each in checks:
            each(value, path)

    return check
