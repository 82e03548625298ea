"""What each setting means: the text below its field in the source, for the documentation and for schemas.

Pydantic can read these texts as it makes the classes; every command would pay for it with a sixth of its start. So they
are read when somebody asks.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.shapes import shape_of


def describe_settings(model: type[CamelModel]) -> None:
    """Give every setting of a model, and of those inside of it, its description."""
    _describe(model, set())


def _describe(model: type[CamelModel], done: set[type[CamelModel]]) -> None:
    if model in done:
        return
    done.add(model)
    meanings: dict[str, str] = {}
    for base in reversed(model.__mro__):
        meanings |= _meanings(base.__module__).get(base.__name__, {}) if issubclass(base, CamelModel) else {}
    for name, info in model.model_fields.items():
        for inner in _inside(info.annotation):
            _describe(inner, done)
        info.description = info.description or meanings.get(name)
    model.model_rebuild(force=True)


def _inside(annotation: object) -> Iterator[type[CamelModel]]:
    shape = shape_of(annotation)
    if shape.model is not None:
        yield shape.model
    for part in (shape.values, shape.items):
        if part is not None:
            yield from _inside(part)


@cache
def _meanings(module: str) -> dict[str, dict[str, str]]:
    """The texts below the fields of a module's classes, by class and field; nothing where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:
        return {}
    return {node.name: _texts(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, below in pairwise(node.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found
