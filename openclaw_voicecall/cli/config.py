"""Commands about the configuration."""

import os
from typing import TYPE_CHECKING, Any

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig
    from openclaw_voicecall.plugins import Registry


@click.group()
@common_options
def config() -> None:
    """Check, show or renew the configuration."""


@config.command()
@common_options
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Check the configuration and that the engines it names are there."""
    from openclaw_voicecall.cli.settings import load_settings
    from openclaw_voicecall.cli.summary import engine_line

    registry, loaded = load_settings(invocation)
    engines = _engines(registry, loaded.config)
    where = str(loaded.path) if loaded.path else "no file, defaults"
    if invocation.as_json:
        notices = list(loaded.notices)
        echo_json(
            {
                "ok": True,
                "file": str(loaded.path) if loaded.path else None,
                "provider": loaded.config.provider,
                "engines": engines,
                "notices": notices,
            }
        )
        return
    click.echo(f"OK: {where}; provider {loaded.config.provider}")
    click.echo(engine_line(engines))
    _echo_notices(loaded.notices)


def _engines(registry: "Registry", config: "VoiceCallConfig") -> list[dict[str, Any]]:
    """What the service would open, found and described but not opened.

    Raises:
        UnknownProvider: The configuration names a provider that no plugin registered.
        ConfigError: A provider lacks a setting.
        EngineMissing: An engine is not installed.
    """
    from openclaw_voicecall.checks.parts import CARRIER, MODEL, TRUNK, configured_parts

    engines: list[dict[str, Any]] = []
    for part in configured_parts(registry, config):
        described = part.describe()
        if part.role not in (CARRIER, TRUNK):
            engines.append({"role": part.role, "name": part.label, "description": described or part.label})
            continue
        engines.append({"role": part.role, "name": part.name, "description": part.name})
        if described:  # its vendor talks on the calls as well
            engines.append({"role": MODEL, "name": part.name, "description": described})
    return engines


@config.command("show")
@common_options
@click.pass_obj
def show_config(invocation: Invocation) -> None:
    """Print the configuration in force as JSON, defaults included, secrets hidden."""
    from openclaw_voicecall.cli.settings import load_settings
    from openclaw_voicecall.config.secrets import redacted

    loaded = load_settings(invocation)[1]
    _echo_tree(redacted(loaded.config), invocation)
    if not invocation.as_json:
        _echo_notices(loaded.notices)


@config.command()
@common_options
@click.pass_obj
def schema(invocation: Invocation) -> None:
    """Print the JSON Schema of configuration files, with the sections of all loaded plugins."""
    from openclaw_voicecall.cli.settings import load_plugins
    from openclaw_voicecall.config.schema import config_schema

    _echo_tree(config_schema(load_plugins(invocation).config_model()), invocation)


@config.command()
@common_options
@click.pass_obj
def migrate(invocation: Invocation) -> None:
    """Print the configuration file with the names of today in place of OpenClaw's old ones.

    The result is JSON on stdout; what was changed is on stderr. References to secrets stay references, comments are
    lost, and the file itself is not touched. It prints the secrets that the file holds.
    """
    from openclaw_voicecall.cli.settings import load_settings
    from openclaw_voicecall.config.compat import migrate as renew
    from openclaw_voicecall.config.load import read_config
    from openclaw_voicecall.config.shapes import Shape, canonical
    from openclaw_voicecall.config.tree import tidy

    registry, _ = load_settings(
        invocation
    )  # a wrong file is refused here, with everything that is wrong in it
    raw = read_config(invocation.config, os.environ)
    tree, notices = renew(canonical(tidy(raw.data, []), Shape(model=registry.config_model()), (), []))
    _echo_tree(tree, invocation)
    if not invocation.as_json:
        _echo_notices(notices or ("Nothing in it is old.",))


def _echo_tree(tree: dict[str, Any], invocation: Invocation) -> None:
    """JSON for people: indented; with `--json` for programs, on one line."""
    if invocation.as_json:
        echo_json(tree)
        return
    import json

    click.echo(json.dumps(tree, ensure_ascii=False, indent=2))


def _echo_notices(notices: tuple[str, ...]) -> None:
    for notice in notices:
        click.echo(f"{click.style('note:', fg='yellow')} {notice}", err=True)
