"""The commands that put this program into OpenClaw and take it out again."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json

if TYPE_CHECKING:
    from openclaw_voicecall.host.openclaw.install import Installation, OpenClaw

_program = click.option(
    "--openclaw",
    "program",
    metavar="PATH",
    help="The program, where it is not on PATH.",
)


@click.group()
@common_options
def openclaw() -> None:
    """Be the phone line of an OpenClaw on this machine."""


@openclaw.command()
@_program
@common_options
@click.pass_obj
def install(invocation: Invocation, *, program: str | None) -> None:
    """Install the plugin voice-call into OpenClaw, and see that it loads.

    Afterwards `openclaw voicecall …` and the agent's tool `voice_call` are carried by this program, with this Python.
    Run it again after an update of either.
    """
    from openclaw_voicecall.cli.settings import load_plugins

    host = _host(program)
    standing = host.install(load_plugins(invocation))
    if invocation.as_json:
        echo_json(standing.to_json())
        return
    _echo(standing)
    click.echo("\nNext: openclaw voicecall setup, then openclaw voicecall call --to NUMBER --message TEXT")


@openclaw.command()
@_program
@common_options
@click.pass_obj
def uninstall(invocation: Invocation, *, program: str | None) -> None:
    """Take the plugin out of OpenClaw. Calls and recordings stay.

    OpenClaw forgets the settings of a plugin that is removed, so they are written to a file first.
    """
    removal = _host(program).uninstall()
    if invocation.as_json:
        kept = None if removal.settings is None else str(removal.settings)
        echo_json({"removed": removal.there, "settings": kept})
        return
    click.echo("the plugin is removed" if removal.there else "the plugin was not installed")
    if removal.settings is not None:
        again = f'openclaw config set plugins.entries.voice-call.config "$(cat {shlex.quote(str(removal.settings))})"'
        click.echo(f"its settings are kept; after another installation put them back with:\n  {again}")


@openclaw.command()
@_program
@common_options
@click.pass_obj
def status(invocation: Invocation, *, program: str | None) -> None:
    """Show how the plugin stands in OpenClaw. Exits with 1 when something is wrong with it."""
    standing = _host(program).look()
    if invocation.as_json:
        echo_json(standing.to_json())
    else:
        _echo(standing)
    raise click.exceptions.Exit(0 if standing.installed and not standing.problems else 1)


def _host(program: str | None) -> "OpenClaw":
    from openclaw_voicecall.host.openclaw.install import OpenClaw

    return OpenClaw(program)


def _echo(standing: "Installation") -> None:
    click.echo(f"OpenClaw {standing.openclaw}")
    if not standing.installed:
        click.echo("the plugin voice-call is not installed; run: openclaw-voicecall openclaw install")
        return
    click.echo(f"plugin voice-call {standing.bridge} in {Path(standing.folder)}")
    click.echo(f"Python {standing.python}")
    for problem in standing.problems:
        click.echo(f"{click.style('problem:', fg='red')} {problem}", err=True)
