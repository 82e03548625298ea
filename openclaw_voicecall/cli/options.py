"""Options that every command takes, and the types of their values."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(slots=True)
class Invocation:
    """What the options common to all commands said, wherever they stood on the command line."""

    config: str | None = None
    """Configuration file; None leaves the search to the loader."""
    state_dir: str | None = None
    """State directory; None means `$OPENCLAW_VOICECALL_STATE_DIR` or the default place."""
    as_json: bool = False
    debug: bool = False
    host: "Host | None" = None
    """The program whose command this is, where it is one of a host in this very process."""


def common_options(function: F) -> F:
    """Give a command `--config`, `--state-dir`, `--json` and `--debug`.

    Their values land in the `Invocation` that `@click.pass_obj` hands to the command. They may stand before or after
    the name of the command; the later one wins. Commands of plugins use this decorator too.
    """
    options = (
        click.option(
            "--config",
            metavar="FILE",
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Configuration file.",
        ),
        click.option(
            "--state-dir",
            metavar="DIR",
            envvar="OPENCLAW_VOICECALL_STATE_DIR",
            show_envvar=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="State directory of the service.",
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Print JSON for programs.",
        ),
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Show the traceback of an error.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    invocation = context.ensure_object(Invocation)
    if not value or parameter.name is None:
        return
    # Asked once for each command on the way down; the environment must not undo what an option has said before.
    from_environment = context.get_parameter_source(parameter.name) is ParameterSource.ENVIRONMENT
    if not (from_environment and getattr(invocation, parameter.name)):
        setattr(invocation, parameter.name, value)


class PhoneNumber(click.ParamType[str]):
    """A number in E.164. A wrong one raises `InvalidNumber` before the command does anything."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the number as `+` and digits."""
        from openclaw_voicecall.config.numbers import normalise_number

        return normalise_number(str(value), field=param.opts[0] if param is not None else "number")


def script_source(text: str) -> str:
    """A phone script's absolute path, because the service may run elsewhere; or the name of a built-in one as it is."""
    path = Path(text).expanduser()
    if text and path.is_file():
        return str(path.absolute())
    if path.suffix or path.parent != Path():
        raise click.BadParameter(f"there is no file {text}", param_hint="--script")
    return text


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end. Ctrl-C cancels it and raises `KeyboardInterrupt`."""
    import asyncio

    return asyncio.run(coroutine)


def echo_json(value: object) -> None:
    """Print one JSON value on one line of stdout. Letters beyond ASCII stay as they are."""
    import json

    click.echo(json.dumps(value, ensure_ascii=False))
