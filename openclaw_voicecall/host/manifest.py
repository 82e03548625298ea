"""Writes `plugin.yaml`, by which host programs know this plugin: `python -m openclaw_voicecall.host.manifest`.

Everything in it is read from the code: the distribution's own metadata, the commands, what the built-in plugins
register, the hooks and the settings. A test fails when the file is not what this writes.
"""

import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import click
import yaml

from openclaw_voicecall import __version__, hookspecs
from openclaw_voicecall.config.schema import config_schema
from openclaw_voicecall.host.hermes.plugin import HOOKS
from openclaw_voicecall.host.hermes.tool import NAME as TOOL
from openclaw_voicecall.plugins import PROJECT, Registry, load_registry

DISTRIBUTION = "openclaw-voicecall"
_HELP_WIDTH = 200
_WIDTH = 110
_SHORT = 64
_HEADER = """\
# Made from the code: python -m openclaw_voicecall.host.manifest > plugin.yaml
# Do not edit it; change what it describes.
"""


def manifest() -> dict[str, Any]:
    """Everything a host may want to know before it loads the plugin. Plugins of other distributions are not in it."""
    about = metadata.metadata(DISTRIBUTION)
    program = _program()
    registry = load_registry(load_entry_points=False)
    return {
        "id": DISTRIBUTION,
        "name": DISTRIBUTION,
        "version": __version__,
        "description": about["Summary"],
        "kind": "standalone",
        "license": about["License-Expression"],
        "requires": {"python": about["Requires-Python"]},
        "entry": {
            "command": program.name,
            "consoleScript": program.value,
            "pluginEntryPointGroup": PROJECT,
        },
        # Read by hermes-agent, to which this repository is a plugin folder.
        "provides_tools": [TOOL],
        "provides_hooks": list(HOOKS),
        "commands": _commands(program),
        "plugins": {plugin.name: plugin.registers for plugin in registry.plugins},
        "hooks": _hooks(),
        "configSchema": _schema(registry),
    }


def render() -> str:
    """The whole file."""
    body = yaml.dump(manifest(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"{_HEADER}{body}"


class _Dumper(yaml.SafeDumper):
    """Puts what is short on one line: the settings would fill three thousand otherwise."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out; a reference to an earlier one helps nobody who reads the file."""
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """A mapping, on one line if it is short."""
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = _is_short([part for pair in node.value for part in pair])
        return node

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        """A list, on one line if it is short."""
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = _is_short(node.value)
        return node


def _is_short(parts: list[yaml.Node]) -> bool:
    scalars = [part for part in parts if isinstance(part, yaml.ScalarNode)]
    return len(scalars) == len(parts) and sum(len(part.value) + 2 for part in scalars) <= _SHORT


def _program() -> metadata.EntryPoint:
    """The console script of this distribution, as its metadata has it."""
    scripts = metadata.distribution(DISTRIBUTION).entry_points.select(group="console_scripts")
    return scripts[DISTRIBUTION]


def _commands(program: metadata.EntryPoint) -> dict[str, str]:
    """Every command with one line of help. They are taken from the program that the console script starts."""
    cli: click.Group = importlib.import_module(program.module).build_cli()
    return dict(_commands_of(cli, ()))


def _commands_of(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command.get_short_help_str(_HELP_WIDTH)
        if isinstance(command, click.Group):
            yield from _commands_of(command, (*path, name))


def _hooks() -> dict[str, str]:
    """Every hook with the first line of its documentation."""
    return {
        name: (hook.__doc__ or "").strip().partition("\n")[0]
        for name, hook in vars(hookspecs).items()
        if name.startswith("voicecall_")
    }


def _schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema of the settings, without the titles that only repeat the names of the keys."""
    schema: dict[str, Any] = _untitled(config_schema(registry.config_model()))
    return schema


def _untitled(node: Any) -> Any:
    if isinstance(node, list):
        return [_untitled(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A setting may itself be called `title`; its value is then a schema and no text.
    return {
        key: _untitled(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }


if __name__ == "__main__":
    sys.stdout.write(render())
