"""Follows a call until it is over, and lets Ctrl-C end it."""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

import click

from openclaw_voicecall.api.wire import entry_from_json, record_from_json
from openclaw_voicecall.cli.failure import EXIT_INTERRUPTED
from openclaw_voicecall.cli.view import CallView
from openclaw_voicecall.errors import CallIsOver, ServiceError, VoiceCallError
from openclaw_voicecall.server.client import ControlClient

LOOK_EVERY = 5.0
"""Seconds between two looks at the record of a call that is followed, should its feed hang."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes Ctrl-C (and SIGTERM) over: the first sets `wanted`, the second ends the process at once.

    A context manager, for the main thread of a running event loop.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()

    def __enter__(self) -> "Interrupts":
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _take(self) -> None:
        if self.wanted.is_set():
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            # The user does not want to wait for anything any more, also not for an orderly shutdown.
            os._exit(EXIT_INTERRUPTED)
        self.wanted.set()


async def follow(
    client: ControlClient, call_id: str, *, view: CallView | None, interrupts: Interrupts
) -> dict[str, Any]:
    """Show a call until it is over.

    Args:
        client: The service.
        call_id: The call.
        view: Draws it, unless None.
        interrupts: When its event is set, the call is ended politely.

    Returns:
        The final record as JSON.

    Raises:
        ServiceError: The service went away before the call was over.
    """
    showing = asyncio.create_task(_show(client, call_id, view))
    hanging_up = asyncio.create_task(_end_when_wanted(client, call_id, interrupts))
    try:
        await _until_over(client, call_id, showing)
    except BrokenPipeError:
        # Nobody watches any more; a call that nobody watches and nobody can stop must not go on.
        with contextlib.suppress(VoiceCallError):
            await client.end_call(call_id)
        raise
    finally:
        for task in (showing, hanging_up):
            task.cancel()
        await asyncio.wait({showing, hanging_up})
    if view is not None:
        view.close()
    record = await client.get_call(call_id)
    if record["endedAt"] is None:
        raise ServiceError("the service stopped following the call before it was over")
    return record


async def _show(client: ControlClient, call_id: str, view: CallView | None) -> None:
    async with contextlib.aclosing(client.feed(call_id=call_id)) as feed:
        async for item in feed:
            if view is not None:
                view.show(entry_from_json(item["entry"]), record_from_json(item["call"]))


async def _until_over(client: ControlClient, call_id: str, showing: asyncio.Task[None]) -> None:
    """Wait until the feed ends, or until the record says that the call is over and the feed just does not end."""
    over_before = False
    while not (await asyncio.wait({showing}, timeout=LOOK_EVERY))[0]:
        over = (await client.get_call(call_id))["endedAt"] is not None
        if over and over_before:
            return
        over_before = over
    showing.result()


async def _end_when_wanted(client: ControlClient, call_id: str, interrupts: Interrupts) -> None:
    await interrupts.wanted.wait()
    click.echo("\nending the call; press Ctrl-C again to leave at once", err=True)
    try:
        await client.end_call(call_id)
    except CallIsOver:
        return
    except VoiceCallError as error:
        click.echo(f"the call could not be ended: {error}", err=True)
