"""What the settings models say about a tree: which keys exist, what they take, which are secret.

Reading environment variables, resolving secrets and naming the nearest known key all need this before pydantic
validates anything.
"""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.problems import KeyPath, Problem
from openclaw_voicecall.config.tree import Tree


@dataclass(frozen=True, slots=True)
class NoEffect:
    """Marks a setting of OpenClaw that is accepted, so that its files load, and changes nothing here."""


NO_EFFECT = NoEffect()


@dataclass(frozen=True, slots=True)
class Shape:
    """What one setting takes."""

    model: type[CamelModel] | None = None
    """A group of settings."""
    values: Any = None
    """Type of the values of a free mapping."""
    items: Any = None
    """Type of the items of a list."""
    text: bool = False
    secret: bool = False
    boolean: bool = False

    @property
    def nested(self) -> bool:
        """Whether it takes a mapping or a list."""
        return self.model is not None or self.values is not None or self.items is not None


def shape_of(annotation: Any) -> Shape:
    """Read an annotation; `X | None` counts as `X`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return shape_of(arguments[0])
    if origin in (Union, types.UnionType):
        return _joined([shape_of(argument) for argument in arguments if argument is not type(None)])
    if origin is Literal:
        return Shape(text=True)
    if origin in (dict, Mapping):
        return Shape(values=arguments[1])
    if origin in (list, tuple, set, frozenset, Sequence):
        return Shape(items=arguments[0] if arguments else Any)
    if isinstance(annotation, type):
        if issubclass(annotation, CamelModel):
            return Shape(model=annotation)
        secret = issubclass(annotation, SecretStr)
        return Shape(secret=secret, text=secret or issubclass(annotation, str), boolean=annotation is bool)
    return Shape()


def _joined(shapes: Sequence[Shape]) -> Shape:
    return Shape(
        model=next((shape.model for shape in shapes if shape.model), None),
        values=next((shape.values for shape in shapes if shape.values is not None), None),
        items=next((shape.items for shape in shapes if shape.items is not None), None),
        text=any(shape.text for shape in shapes),
        secret=any(shape.secret for shape in shapes),
        boolean=any(shape.boolean for shape in shapes),
    )


def field_of(model: type[CamelModel], key: str) -> tuple[str, FieldInfo] | None:
    """The camelCase name and the field that a key stands for, written in either style."""
    for name, info in model.model_fields.items():
        alias = info.alias or name
        if key in (alias, name):
            return alias, info
    return None


def keys_of(model: type[CamelModel]) -> list[str]:
    """All keys of a model, in camelCase."""
    return [info.alias or name for name, info in model.model_fields.items()]


def shape_at(model: type[CamelModel], path: KeyPath) -> Shape | None:
    """What the setting at a path takes, or None where the models know no such path."""
    shape = Shape(model=model)
    for part in path:
        if isinstance(part, int):
            if shape.items is None:
                return None
            shape = shape_of(shape.items)
        elif shape.model is not None:
            known = field_of(shape.model, part)
            if known is None:
                return None
            shape = shape_of(known[1].annotation)
        elif shape.values is not None:
            shape = shape_of(shape.values)
        else:
            return None
    return shape


def canonical(tree: Tree, shape: Shape, path: KeyPath, problems: list[Problem]) -> Tree:
    """Rename known keys to camelCase, so that layers of settings and old names meet under one spelling."""
    renamed: Tree = {}
    for key, value in tree.items():
        known = field_of(shape.model, key) if shape.model is not None else None
        name = known[0] if known else key
        if name in renamed:
            problems.append(Problem((*path, name), "written twice, in two spellings"))
            continue
        if known:
            inner = shape_of(known[1].annotation)
        else:
            inner = shape_of(shape.values) if shape.values is not None else Shape()
        renamed[name] = _canonical_value(value, inner, (*path, name), problems)
    return renamed


def _canonical_value(value: Any, shape: Shape, path: KeyPath, problems: list[Problem]) -> Any:
    if isinstance(value, dict):
        return canonical(value, shape, path, problems)
    if isinstance(value, list) and shape.items is not None:
        inner = shape_of(shape.items)
        return [_canonical_value(item, inner, (*path, at), problems) for at, item in enumerate(value)]
    return value


def leaves(value: Any, shape: Shape, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Shape]]:
    """Every value of a tree that is not a group known to the models, with what its place takes."""
    if isinstance(value, dict) and (shape.model is not None or shape.values is not None):
        for key, below in value.items():
            if shape.model is not None:
                known = field_of(shape.model, key)
                inner = shape_of(known[1].annotation) if known else Shape()
            else:
                inner = shape_of(shape.values)
            yield from leaves(below, inner, (*path, key))
    elif isinstance(value, list) and shape.items is not None:
        inner = shape_of(shape.items)
        for index, item in enumerate(value):
            yield from leaves(item, inner, (*path, index))
    else:
        yield path, value, shape


def without_effect(tree: Any, model: type[CamelModel], path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths in a tree that are accepted and change nothing."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        known = field_of(model, key)
        if known is None:
            continue
        here = (*path, key)
        if NO_EFFECT in known[1].metadata:
            yield here
            continue
        shape = shape_of(known[1].annotation)
        if shape.model is not None:
            yield from without_effect(value, shape.model, here)
        elif shape.values is not None and isinstance(value, dict):
            inner = shape_of(shape.values).model
            for name, below in value.items() if inner else ():
                yield from without_effect(below, inner, (*here, name))  # type: ignore[arg-type]  # loop needs inner


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant."""
    lowered = {name.lower(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.lower().replace("_", ""), list(lowered), n=1, cutoff=0.6)
    return lowered[close[0]] if close else None
