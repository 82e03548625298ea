"""The command line.

Importing it costs next to nothing: a command imports what it needs when it runs, so `--help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
import pluggy

from openclaw_voicecall import __version__
from openclaw_voicecall.cli import (
    calls,
    config,
    control,
    doctor,
    history,
    openclaw,
    optout,
    pairing,
    plugins,
    serve,
    setup,
    smoke,
    tunnels,
)
from openclaw_voicecall.cli.failure import EXIT_BROKEN_PIPE, drop_output, failure_of
from openclaw_voicecall.cli.options import Invocation, common_options
from openclaw_voicecall.errors import DuplicateProvider, VoiceCallError

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host

PROGRAM = "openclaw-voicecall"

COMMANDS: tuple[click.Command, ...] = (
    calls.call,
    serve.serve,
    serve.phone,
    control.status,
    calls.calls,
    calls.show,
    control.tail,
    control.speak,
    control.continue_,
    control.dtmf,
    control.transfer,
    control.end,
    calls.latency,
    history.history,
    smoke.smoke,
    tunnels.expose,
    tunnels.tunnel,
    pairing.pairing,
    optout.optout,
    plugins.plugins,
    config.config,
    setup.setup,
    doctor.doctor,
    openclaw.openclaw,
)
"""In the order of the help text."""

Source = Callable[[Invocation], pluggy.PluginManager]


class CommandLine(click.Group):
    """The root command: shows every error in one line and lets plugins add commands.

    Args:
        source: Gives the plugins, asked only when a command is wanted that is not built in, or when the help lists
            commands and a distribution with plugins is installed. None means that there are no plugins.
        **attributes: As for `click.Group`.
    """

    def __init__(self, *, source: Source | None = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._source = source

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command. Raises `DuplicateProvider` where there is one of this name: no plugin hides another's."""
        name = name or cmd.name
        if name in self.commands:
            raise DuplicateProvider(f"two plugins, or a plugin and this program, have a command {name!r}")
        super().add_command(cmd, name)

    def add_plugin_commands(self, manager: pluggy.PluginManager) -> None:
        """Let every plugin add its commands."""
        manager.hook.voicecall_register_cli(cli=self)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; plugins are loaded if it is not built in."""
        if cmd_name not in self.commands:
            self._load(ctx)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help; those of plugins last.

        Commands of plugins that only the configuration names can be called but are not listed.
        """
        if self._source is not None and _distributions_bring_plugins():
            try:
                self._load(ctx)
            except VoiceCallError as error:
                click.echo(f"commands of plugins are missing here: {error}", err=True)
        return list(self.commands)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options before the command's name; `--help` and `--version` print and leave from here."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError as error:
            raise failure_of(error, Invocation()) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever it raises becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:  # the one place where errors are shown to people
            raise failure_of(error, ctx.ensure_object(Invocation)) from error

    def _load(self, ctx: click.Context) -> None:
        source, self._source = self._source, None
        if source is not None:
            self.add_plugin_commands(source(ctx.ensure_object(Invocation)))


def build_cli(manager: pluggy.PluginManager | None = None, *, source: Source | None = None) -> CommandLine:
    """Build the command line.

    Args:
        manager: Plugins whose commands are added at once, by their hook `voicecall_register_cli`.
        source: Gives plugins only when they are needed; see `CommandLine`.
    """

    @click.group(
        cls=CommandLine,
        source=source,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "color": False if os.environ.get("NO_COLOR") else None,
        },
    )
    @common_options
    @click.version_option(__version__, prog_name=PROGRAM)
    def cli() -> None:
        """An open phone line for AI agents: call people, answer the phone, never be silent."""

    for command in COMMANDS:
        cli.add_command(command)
    if manager is not None:
        cli.add_plugin_commands(manager)
    return cli


def main(words: Sequence[str] | None = None, *, program: str = PROGRAM, host: "Host | None" = None) -> None:
    """Run a command line and exit with its code; never returns.

    Args:
        words: The command line without the program's name; that of this process unless given.
        program: What the program is called in messages.
        host: The program in this process whose agent answers the calls.
    """
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")  # what people say must not break a terminal that cannot show it
    try:
        cli = build_cli(source=_installed_plugins)
        cli.main(None if words is None else list(words), prog_name=program, obj=Invocation(host=host))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
            raise SystemExit(EXIT_BROKEN_PIPE) from None


def _installed_plugins(invocation: Invocation) -> pluggy.PluginManager:
    from openclaw_voicecall.cli.settings import load_plugins

    return load_plugins(invocation).manager


def _distributions_bring_plugins() -> bool:
    from importlib.metadata import entry_points

    return bool(entry_points(group="openclaw_voicecall"))
