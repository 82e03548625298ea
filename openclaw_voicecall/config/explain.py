"""What pydantic found wrong, in our words: what was expected, what stands there, what was probably meant."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.problems import KeyPath, Problem, found
from openclaw_voicecall.config.shapes import Shape, keys_of, nearest, shape_at

_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a group of settings",
    "model_attributes_type": "a group of settings",
    "dict_type": "a group of settings",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "path_type": "a path",
    "string_too_short": "text that is not empty",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_MOST_KEYS_SHOWN = 12


def explain(error: ValidationError, model: type[CamelModel]) -> list[Problem]:
    """Turn pydantic's findings into problems."""
    return [_problem(detail, model) for detail in error.errors(include_url=False)]


def _problem(detail: Mapping[str, Any], model: type[CamelModel]) -> Problem:
    path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, _unknown(path, model))
    if kind == "missing":
        return Problem(path, "is required")
    shape = shape_at(model, path) or Shape()
    return Problem(path, _mistaken(kind, detail, shape))


def _mistaken(kind: str, detail: Mapping[str, Any], shape: Shape) -> str:
    context = detail.get("ctx") or {}
    value = detail.get("input")
    # Text where a group or a list belongs is often a key or password pasted one level too high.
    hidden = shape.secret or shape.nested
    standing = found(value, secret=hidden)
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {standing}"
    if kind in ("literal_error", "enum"):
        return f"expected {context.get('expected', 'another word')}, found {standing}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"expected {words} {context[key]}, found {standing}"
    if kind in ("value_error", "assertion_error"):
        message = str(detail["msg"]).partition(", ")[2]
        return "is not accepted" if hidden or not message else message
    message = str(detail["msg"])
    return message[:1].lower() + message[1:]


def _unknown(path: KeyPath, model: type[CamelModel]) -> str:
    parent = shape_at(model, path[:-1])
    keys = keys_of(parent.model) if parent is not None and parent.model is not None else []
    key = path[-1] if path else ""
    if isinstance(key, str) and (near := nearest(key, keys)):
        return f'unknown setting; did you mean "{near}"?'
    if 0 < len(keys) <= _MOST_KEYS_SHOWN:
        return f"unknown setting; known here are {', '.join(sorted(keys))}"
    return "unknown setting"
