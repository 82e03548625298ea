"""Commands by which the owner lets callers in: see `inboundPolicy: pairing`."""

from typing import TYPE_CHECKING

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json

if TYPE_CHECKING:
    from openclaw_voicecall.store.pairing import PairingBook


@click.group()
@common_options
def pairing() -> None:
    """Let callers in who were given a code."""


@pairing.command("list")
@common_options
@click.pass_obj
def list_(invocation: Invocation) -> None:
    """List callers who wait for an approval, and approved numbers. Needs no running service."""
    from openclaw_voicecall.api.wire import iso_time
    from openclaw_voicecall.cli.summary import table
    from openclaw_voicecall.store.pairing import LIFE

    page = _book(invocation, create=False).read()
    if invocation.as_json:
        waiting = [
            {
                "number": entry.number,
                "code": entry.code,
                "askedAt": iso_time(entry.at),
                "expiresAt": iso_time(entry.at + LIFE),
            }
            for entry in page.waiting
        ]
        approved = [{"number": entry.number, "approvedAt": iso_time(entry.at)} for entry in page.approved]
        echo_json({"waiting": waiting, "approved": approved})
        return
    rows = [("number", "state", "since", "code")]
    rows += [(entry.number, "waits", str(iso_time(entry.at)), entry.code) for entry in page.waiting]
    rows += [(entry.number, "approved", str(iso_time(entry.at)), "") for entry in page.approved]
    click.echo("\n".join(table(rows)) if len(rows) > 1 else "Nobody waits, and no number is approved.")


@pairing.command()
@click.argument("who", metavar="CODE|NUMBER")
@common_options
@click.pass_obj
def approve(invocation: Invocation, who: str) -> None:
    """Let a caller in from now on: by the code they tell you, or by number. Needs no running service."""
    book = _book(invocation, create=True)
    number = book.approve(_number_or_code(book, who))
    _echo(invocation, number, "approved", "may call from now on")


@pairing.command()
@click.argument("who", metavar="CODE|NUMBER")
@common_options
@click.pass_obj
def deny(invocation: Invocation, who: str) -> None:
    """Make a caller's code useless. Needs no running service."""
    book = _book(invocation, create=True)
    number = book.deny(_number_or_code(book, who))
    _echo(invocation, number, "denied", "was not let in")


@pairing.command()
@click.argument("number")
@common_options
@click.pass_obj
def remove(invocation: Invocation, number: str) -> None:
    """Let an approved number in no more. Needs no running service."""
    book = _book(invocation, create=True)
    book.remove(_number_or_code(book, number))
    _echo(invocation, number, "removed", "is let in no more")


def _book(invocation: Invocation, *, create: bool) -> "PairingBook":
    """The book in the state directory, which is made where a change needs it."""
    from openclaw_voicecall.cli.service import state_of
    from openclaw_voicecall.store.pairing import PairingBook
    from openclaw_voicecall.store.statedir import StateDir

    state = state_of(invocation)
    return PairingBook((StateDir.open(state.path) if create else state).path)


def _number_or_code(book: "PairingBook", text: str) -> str:
    """What was given, checked for slips of the pen where it is a number that the book does not know yet.

    Raises:
        InvalidNumber: It begins like a number and cannot be one.
    """
    page = book.read()
    if not text.startswith("+") or page.is_approved(text) or page.code_of(text):
        return text
    from openclaw_voicecall.config.numbers import normalise_number

    return normalise_number(text, field="NUMBER")


def _echo(invocation: Invocation, number: str, outcome: str, sentence: str) -> None:
    if invocation.as_json:
        echo_json({"number": number, "outcome": outcome})
    else:
        click.echo(f"{number} {sentence}")
