"""Checks of JSON values that refuse in the words of OpenAI's Realtime API. Pure.

Some look at a value at once; makers, such as `object_of`, give a `Check` of which shapes are put together. No value may
be null unless `or_null` says so: what is left out is left out, also where the OpenAI SDK's types are `Optional`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[[Any, str], None]
"""Takes a value and its path; raises `SessionRefused`."""


class SessionRefused(Exception):
    """The vendor answers with an `error` event of these fields; nothing of the update is applied."""

    def __init__(self, message: str, code: str | None, param: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


def required(holder: Mapping[str, Any], key: str, path: str) -> Any:
    """The value of a key that must be there.

    Raises:
        SessionRefused: It is not.
    """
    if key not in holder:
        raise SessionRefused(f"Missing required parameter: '{path}'.", "missing_required_parameter", path)
    return holder[key]


def allow_keys(holder: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    """See that there are no other keys than these.

    Raises:
        SessionRefused: There is one.
    """
    for key in holder:
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise SessionRefused(f"Unknown parameter: '{where}'.", "unknown_parameter", where)


def check_type(value: Any, kind: type, path: str) -> None:
    """See that a JSON value is of a Python type; a bool is no number, and a whole number is a float too.

    Raises:
        SessionRefused: It is not.
    """
    fits = isinstance(value, (float, int) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        expected = {
            dict: "an object",
            list: "an array",
            str: "a string",
            bool: "a boolean",
            int: "an integer",
        }
        wanted = expected.get(kind, "a decimal")
        message = f"Invalid type for '{path}': expected {wanted}, but got {_kind(value)} instead."
        raise SessionRefused(message, "invalid_type", path)


def unsupported_value(value: Any, known: Sequence[str], path: str) -> SessionRefused:
    """The refusal of a word that is none of those the vendor knows."""
    words = [f"'{word}'" for word in known]
    listed = " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])}, and {words[-1]}"
    return SessionRefused(f"Invalid value: '{value}'. Supported values are: {listed}.", "invalid_value", path)


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


def list_of(inner: Check, *, at_least: int = 0) -> Check:
    """An array of at least so many elements."""

    def check(value: Any, path: str) -> None:
        check_type(value, list, path)
        if len(value) < at_least:
            message = (
                f"Invalid '{path}': empty array. Expected an array with minimum length {at_least}, "
                "but got an empty array instead."
            )
            raise SessionRefused(message, "empty_array", path)
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


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"
