"""Find the configuration, read it, join it with environment and command line, and validate it.

What is set twice is taken from the first of: command line, environment (`VOICECALL_*`), file or host program,
OpenClaw's variables such as `TWILIO_AUTH_TOKEN`, default.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs
from pydantic import ValidationError

from openclaw_voicecall.config.compat import Change, migrate_traced
from openclaw_voicecall.config.environment import fill_from_openclaw_names, read_environment
from openclaw_voicecall.config.explain import explain
from openclaw_voicecall.config.problems import KeyPath, Origins, Problem, config_error, dotted, fold
from openclaw_voicecall.config.read import Lines, Text, parse, read_file
from openclaw_voicecall.config.schema import VoiceCallConfig
from openclaw_voicecall.config.secrets import Resolver, resolve_secrets, secret_values
from openclaw_voicecall.config.shapes import Shape, canonical, shape_at, without_effect
from openclaw_voicecall.config.tree import MISSING, Tree, look_up, merge, tidy, with_value
from openclaw_voicecall.errors import ConfigError, keep_quiet

CONFIG_VARIABLE = "OPENCLAW_VOICECALL_CONFIG"
"""Names the file, or holds the configuration itself as JSON: so a host program hands it over."""
FILE_NAMES = ("voicecall.json5", "voicecall.json", "voicecall.yaml", "voicecall.yml")

_NOTHING: Mapping[str, object] = MappingProxyType({})
_HOST_ENTRY = ("plugins", "entries", "voice-call")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, and what its owner should know about it."""

    config: VoiceCallConfig
    path: Path | None
    """The file it was read from, where there is one."""
    notices: tuple[str, ...] = ()
    """Sentences about old and ineffective settings. They hold no secret."""


@dataclass(frozen=True, slots=True)
class RawConfig:
    """A configuration as it was written, before anything is checked."""

    data: Mapping[Any, Any]
    where: str
    path: Path | None = None
    lines: Lines = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def load_config(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    model: type[VoiceCallConfig],
    env: Mapping[str, str],
    overrides: Mapping[str, object] = _NOTHING,
    resolve: Resolver = lambda reference: None,
) -> LoadedConfig:
    """Load the configuration.

    Args:
        source: The file, a mapping that a host program gives, or None to look for a file: at
            `$OPENCLAW_VOICECALL_CONFIG`, then `voicecall.json5`, `.json`, `.yaml` or `.yml` in the current folder,
            then in the user's configuration folder. No file means defaults. A whole `openclaw.json` is taken too.
        model: What `build_config_model` made.
        env: The environment.
        overrides: From the command line; keys such as `serve.port`, nested or dotted, in either style. None values
            count as not given.
        resolve: Resolves references to secrets that are not built in; see `secrets`.

    Raises:
        ConfigError: With every problem, each with its place, on one line.
    """
    raw = read_config(source, env)
    problems: list[Problem] = []
    tree = canonical(tidy(raw.data, problems), Shape(model=model), (), problems)
    layer = read_environment(env, model, problems)
    given_tree = canonical(tidy(_nested(overrides), problems), Shape(model=model), (), problems)
    given = {**layer.given, **{fold(path): "the command line" for path in _leaf_paths(given_tree)}}
    change = migrate_traced(merge(merge(tree, layer.tree), given_tree))
    origins = Origins(where=raw.where, lines=raw.lines, given=given, moved=change.moved)

    tree = _with_selected_sections(change.raw, model)
    tree = resolve_secrets(tree, model, env=env, resolve=resolve, problems=problems)
    tree = fill_from_openclaw_names(tree, model, env)
    config = _validated(tree, model, problems)
    if config is None or problems:
        raise config_error(problems, origins)
    keep_quiet(*secret_values(config))
    notices = (*raw.notices, *change.notices, *layer.notices, *_remarks(change, config, model))
    return LoadedConfig(config, raw.path, notices)


def read_config(source: str | Path | Mapping[str, Any] | None, env: Mapping[str, str]) -> RawConfig:
    """Find and read the configuration without checking it. Raises `ConfigError` for what cannot be read."""
    if isinstance(source, Mapping):
        return RawConfig(source, "the configuration of the host")
    notices: tuple[str, ...] = ()
    if source is None:
        named = env.get(CONFIG_VARIABLE, "").strip()
        if named.startswith("{"):
            where = f"${CONFIG_VARIABLE}"
            data, lines = parse(Text(where, named, yaml=False))
            return _own_part(data, RawConfig({}, where, None, lines))
        if named:
            source = named
        else:
            source, notices = _found()
    if source is None:
        return RawConfig({}, "the configuration")
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{source}: {error}") from None
    text = read_file(path)
    data, lines = parse(text)
    return _own_part(data, RawConfig({}, text.where, path, lines, notices))


def _found() -> tuple[Path | None, tuple[str, ...]]:
    """The file that nobody named, and a notice where there are two."""
    for folder in (Path(), Path(platformdirs.user_config_dir("openclaw-voicecall", appauthor=False))):
        there = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
        if there:
            return there[0], tuple(f"{other} is ignored: {there[0]} is there too." for other in there[1:])
    return None, ()


def _own_part(data: Tree, raw: RawConfig) -> RawConfig:
    """What is ours in a whole openclaw.json."""
    entries = look_up(data, _HOST_ENTRY[:2])
    if not isinstance(entries, dict):
        return replace(raw, data=data)
    name = dotted(_HOST_ENTRY)
    entry = entries.get(_HOST_ENTRY[2])
    if not isinstance(entry, dict):
        raise ConfigError(f"{raw.where}: expected the settings of voice calls at {name}.config, found none")
    config = entry.get("config")
    if config is not None and not isinstance(config, dict):
        raise ConfigError(f"{raw.where}: {name}.config: expected a group of settings")
    own = dict(config or {})
    if isinstance(entry.get("enabled"), bool):
        own.setdefault("enabled", entry["enabled"])
    prefix = fold((*_HOST_ENTRY, "config"))
    lines = {path[len(prefix) :]: line for path, line in raw.lines.items() if path[: len(prefix)] == prefix}
    return replace(raw, data=own, lines=lines)


def _nested(overrides: Mapping[str, object]) -> Tree:
    tree: Tree = {}
    for key, value in overrides.items():
        if value is not None:
            head, *rest = key.split(".")
            below = value
            for part in reversed(rest):
                below = {part: below}
            tree = merge(tree, {head: below})
    return tree


def _leaf_paths(tree: Tree, path: KeyPath = ()) -> list[KeyPath]:
    paths: list[KeyPath] = []
    for key, value in tree.items():
        paths += _leaf_paths(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]
    return paths


def _with_selected_sections(tree: Tree, model: type[VoiceCallConfig]) -> Tree:
    """Give every selected provider a section, so that what it needs is asked for now and not during a call."""
    written = [look_up(tree, ("responseModel",)), *_list_at(tree, ("responseFallbacks",))]
    selected: list[tuple[tuple[str, ...], str]] = [((), _selected(tree, model, ("provider",)))]
    for group in ("streaming", "tts", "turnDetection"):
        names = (_selected(tree, model, (group, "provider")), *_list_at(tree, (group, "fallbacks")))
        selected += [((group, "providers"), name) for name in names]
    selected += [(("responders",), _text(reference).partition("/")[0]) for reference in written]
    for place, name in selected:
        if not name or (not place and name not in model.carrier_names):
            continue
        shape = shape_at(model, (*place, name))
        if shape is not None and shape.model is not None and look_up(tree, (*place, name)) is MISSING:
            tree = with_value(tree, (*place, name), {})
    return tree


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list_at(tree: Tree, path: tuple[str, ...]) -> list[str]:
    value = look_up(tree, path)
    return [_text(item) for item in value] if isinstance(value, list) else []


def _selected(tree: Tree, model: type[VoiceCallConfig], path: tuple[str, ...]) -> str:
    name = look_up(tree, path)
    if name is not MISSING:
        return _text(name)
    group = shape_at(model, path[:-1])
    return "" if group is None or group.model is None else _text(group.model.model_fields["provider"].default)


def _validated(tree: Tree, model: type[VoiceCallConfig], problems: list[Problem]) -> VoiceCallConfig | None:
    """Validate strictly: a file that says `"3334"` or `true` where a number belongs is told so."""
    try:
        return model.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        named = {fold(problem.path) for problem in problems}
        problems += [problem for problem in explain(error, model) if fold(problem.path) not in named]
        return None


def _remarks(change: Change, config: VoiceCallConfig, model: type[VoiceCallConfig]) -> list[str]:
    remarks = []
    idle = [path for path in without_effect(change.raw, model) if _matters(path, change.raw)]
    if idle:
        moved = change.moved
        names = ", ".join(dotted(moved.get(fold(path), path)) for path in idle)
        remarks.append(f"These settings are accepted and have no effect here: {names}.")
    if config.inbound_policy == "allowlist" and not config.allow_from:
        remarks.append('inboundPolicy is "allowlist" and allowFrom is empty: nobody can call in.')
    return remarks


def _matters(path: KeyPath, raw: Tree) -> bool:
    keys = [str(part) for part in path]
    if keys[0] == "realtime" and look_up(raw, ("realtime", "enabled")) is not True:
        return False
    return look_up(raw, keys) is not False
