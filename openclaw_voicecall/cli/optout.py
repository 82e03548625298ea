"""Commands for the list of people who do not want to be called."""

from typing import TYPE_CHECKING

import click

from openclaw_voicecall.cli.options import Invocation, PhoneNumber, common_options, echo_json

if TYPE_CHECKING:
    from openclaw_voicecall.store.optout import OptOutList


@click.group()
@common_options
def optout() -> None:
    """Never call people who do not want it."""


@optout.command("list")
@common_options
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List the numbers that are never called. Needs no running service."""
    from openclaw_voicecall.api.wire import iso_time
    from openclaw_voicecall.cli.summary import table

    entries = _list(invocation, create=False).read()
    if invocation.as_json:
        echo_json({"numbers": [{"number": entry.number, "since": iso_time(entry.at)} for entry in entries]})
        return
    rows = [("number", "since"), *((entry.number, str(iso_time(entry.at))) for entry in entries)]
    click.echo("\n".join(table(rows)) if entries else "Nobody is on the list.")


@optout.command()
@click.argument("number", type=PhoneNumber())
@common_options
@click.pass_obj
def add(invocation: Invocation, number: str) -> None:
    """Never call this number any more. Needs no running service; a running one obeys at once."""
    new = _list(invocation, create=True).add(number)
    _echo(invocation, number, "added" if new else "unchanged", "is not called any more")


@optout.command()
@click.argument("number", type=PhoneNumber())
@common_options
@click.pass_obj
def remove(invocation: Invocation, number: str) -> None:
    """Take a number off the list. Needs no running service."""
    gone = _list(invocation, create=True).remove(number)
    sentence = "may be called again" if gone else "was not on the list"
    _echo(invocation, number, "removed" if gone else "unchanged", sentence)


def _list(invocation: Invocation, *, create: bool) -> "OptOutList":
    """The list in the state directory, which is made where a change needs it."""
    from openclaw_voicecall.cli.service import state_of
    from openclaw_voicecall.store.optout import OptOutList
    from openclaw_voicecall.store.statedir import StateDir

    state = state_of(invocation)
    return OptOutList((StateDir.open(state.path) if create else state).path)


def _echo(invocation: Invocation, number: str, outcome: str, sentence: str) -> None:
    if invocation.as_json:
        echo_json({"number": number, "outcome": outcome})
    else:
        click.echo(f"{number} {sentence}")
