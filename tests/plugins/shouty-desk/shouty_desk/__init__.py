"""Answers the phone in capital letters: a whole plugin in one file.

It adds a responder, an observer and a command, and nothing in openclaw-voicecall knows its name.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.observer import CallObserver
from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.spec import ResponderSpec, Runtime
from openclaw_voicecall.api.store import CallRecord, JournalEntry

LOG_VARIABLE = "SHOUTY_DESK_LOG"
"""Names the file to which the observer writes; without it there is no observer."""


class ShoutyResponder:
    """Says what it heard, louder, and hangs up when it is told goodbye."""

    async def respond(self, request: TurnRequest) -> AsyncIterator[ResponseEvent]:
        """Write one turn."""
        yield TextDelta(f"{shouted(request.text)}!")
        if "goodbye" in request.text.lower():
            yield EndCall("the caller said goodbye")


class EventLog:
    """Writes the name of every journal entry to a file, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        """Write one name."""
        with self._path.open("a", encoding="utf-8") as log:
            log.write(f"{entry.event}\n")


def shouted(text: str) -> str:
    """The text as shouted."""
    return text.upper()


@asynccontextmanager
async def open_shouty(config: Any, runtime: Runtime, model: str) -> AsyncIterator[ShoutyResponder]:
    """Nothing to connect to, so nothing to close."""
    yield ShoutyResponder()


@hookimpl
def voicecall_register_responders(register: Callable[[ResponderSpec], None]) -> None:
    """Make `responseModel: shouty` possible."""
    register(ResponderSpec(name="shouty", open=open_shouty))


@hookimpl
def voicecall_register_observers(register: Callable[[CallObserver], None]) -> None:
    """Watch all calls."""
    if path := os.environ.get(LOG_VARIABLE):
        register(EventLog(Path(path)))


@hookimpl
def voicecall_register_cli(cli: click.Group) -> None:
    """Add `openclaw-voicecall shout`."""

    @cli.command()
    @click.argument("text")
    def shout(text: str) -> None:
        """Say TEXT in capital letters."""
        click.echo(shouted(text))
