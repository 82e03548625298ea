"""Secrets: written in the file as references, resolved once at the start, never shown.

A secret may be the secret itself, `${NAME}` or `env:NAME` (a variable of the environment), `file:/path` (a file with
nothing else in it), OpenClaw's `{"source": "env", "provider": "default", "id": "NAME"}`, or whatever a plugin's
`voicecall_resolve_secret` knows, such as `vault:phone/twilio`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.problems import KeyPath, Problem
from openclaw_voicecall.config.shapes import Shape, leaves
from openclaw_voicecall.config.tree import Tree
from openclaw_voicecall.errors import ConfigError

Resolver = Callable[[str], str | None]
"""Gives the secret that a reference stands for, or None where it knows no such reference."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_REFERENCE = re.compile(r"([a-z][a-z0-9_-]*):(.+)", re.ASCII | re.DOTALL)
_LARGEST_FILE = 64 * 1024


def resolve_reference(reference: str, env: Mapping[str, str]) -> str | None:
    """Resolve the references that are built in: `env:NAME` and `file:/path`.

    Returns:
        The secret, or None for a reference of another kind and for a variable that is not set.

    Raises:
        ConfigError: The file of a `file:` reference cannot be used; the message names it.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        return env.get(rest) or None
    if kind == "file":
        return _read_secret(rest)
    return None


def _read_secret(name: str) -> str:
    try:
        path = Path(name).expanduser()
        if not path.is_absolute():
            raise ConfigError(f"expected an absolute path after file:, found {name}")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        text = content.decode("utf-8-sig").strip("\r\n")
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"the file {name} cannot be read: {reason}") from None
    except ValueError:
        raise ConfigError(f"the file {name} is not text in UTF-8") from None
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"the file {name} is too large for a secret")
    if not text:
        raise ConfigError(f"the file {name} is empty")
    return text


def resolve_secrets(
    tree: Tree,
    model: type[CamelModel],
    *,
    env: Mapping[str, str],
    resolve: Resolver,
    problems: list[Problem],
) -> Tree:
    """Replace every reference in a tree by what it stands for.

    `${NAME}` is replaced wherever text is expected, as in OpenClaw; the other forms where a secret is expected, and
    reference objects in both places. What cannot be resolved becomes a problem that names the field and the variable
    or file, and the reference stays.
    """
    resolved = tree
    for path, value, shape in leaves(tree, Shape(model=model)):
        if not shape.text:
            continue
        reference = _reference_in(value, secret=shape.secret)
        if reference is not None:
            try:
                text = _resolved(reference, env=env, resolve=resolve, literal=value)
            except ConfigError as error:
                problems.append(Problem(path, str(error)))
                continue
            resolved = _replaced(resolved, path, text)
        elif shape.secret and isinstance(value, str) and not value.strip():
            problems.append(Problem(path, "expected a secret, found empty text"))
    return resolved


def _reference_in(value: Any, *, secret: bool) -> str | None:
    if isinstance(value, dict):
        source, name = value.get("source"), value.get("id")
        known = (
            isinstance(source, str) and isinstance(name, str) and set(value) <= {"source", "provider", "id"}
        )
        return f"{source}:{name}" if known else None
    if not isinstance(value, str):
        return None
    if match := _VARIABLE.fullmatch(value):
        return f"env:{match[1]}"
    return value if secret and _REFERENCE.fullmatch(value) else None


def _resolved(reference: str, *, env: Mapping[str, str], resolve: Resolver, literal: Any) -> str:
    text = resolve(reference)
    if text is None:
        text = resolve_reference(reference, env)
    if text:
        return text
    kind, _, rest = reference.partition(":")
    if kind == "env":
        raise ConfigError(f"the environment variable {rest[:60]} is not set")
    if text is None and isinstance(literal, str):
        # No plugin knows this kind of reference, so it is a secret that has a colon in it.
        return literal
    raise ConfigError(f"no plugin resolves secrets of the kind {kind[:40]}")


def _replaced(node: Any, path: KeyPath, text: str) -> Any:
    if not path:
        return text
    head, *rest = path
    if isinstance(node, list):
        return [_replaced(item, tuple(rest), text) if at == head else item for at, item in enumerate(node)]
    return {**node, head: _replaced(node[head], tuple(rest), text)}


def redacted(config: CamelModel) -> dict[str, Any]:
    """The configuration as JSON in camelCase, with `**********` in place of every secret."""
    return config.model_dump(mode="json", by_alias=True, exclude_none=True)


def secret_values(config: CamelModel) -> list[str]:
    """Every secret in the configuration, in plain text, for whoever must keep them out of sight."""
    found: list[str] = []
    pending: list[Any] = [config]
    while pending:
        match pending.pop():
            case SecretStr() as secret:
                found.append(secret.get_secret_value())
            case BaseModel() as model:
                pending.extend(getattr(model, name) for name in type(model).model_fields)
            case Mapping() as mapping:
                pending.extend(mapping.values())
            case list() | tuple() as items:
                pending.extend(items)
    return [secret for secret in found if secret]
