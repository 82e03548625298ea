"""Finds the running service, or starts one for the length of a call."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openclaw_voicecall.cli.options import Invocation
from openclaw_voicecall.cli.settings import load_settings
from openclaw_voicecall.cli.summary import engine_line
from openclaw_voicecall.errors import ServiceNotRunning, VoiceCallError
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig


def state_of(invocation: Invocation) -> StateDir:
    """The state directory that a service started with these options would own.

    Nothing is created. Raises `StoreError` when it cannot be used.
    """
    if invocation.state_dir:
        return StateDir.open(Path(invocation.state_dir), create=False)
    return StateDir.open(_configured_store(invocation), create=False)


def _configured_store(invocation: Invocation) -> Path | None:
    try:
        store = load_settings(invocation)[1].config.store
    except VoiceCallError:
        # Who only looks at calls needs no valid configuration; those who need one say what is wrong with it.
        return None
    return Path(store).expanduser() if store else None


@asynccontextmanager
async def running_service(invocation: Invocation) -> AsyncIterator[ControlClient]:
    """A client of the service that owns the state directory. Raises `ServiceNotRunning`."""
    state = state_of(invocation)
    service = state.read_service()
    if service is None:
        raise ServiceNotRunning(
            f"no service is running on {state.path}; start one with: openclaw-voicecall serve"
        )
    async with ControlClient.of(service) as client:
        yield client


@asynccontextmanager
async def any_service(invocation: Invocation) -> AsyncIterator[ControlClient]:
    """A client of the running service or, when there is none, of one that lives in this process meanwhile."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(running_service(invocation))
        except ServiceNotRunning:
            client = await stack.enter_async_context(_own_service(invocation))
        yield client


@asynccontextmanager
async def _own_service(invocation: Invocation) -> AsyncIterator[ControlClient]:
    from openclaw_voicecall.server.runtime import ServiceOptions, run_service

    options = ServiceOptions(
        config_source=invocation.config,
        state_dir=Path(invocation.state_dir) if invocation.state_dir else None,
        ephemeral=True,
        host=invocation.host,
    )
    log_to_stderr("warning")
    async with run_service(options) as service, ControlClient(service.socket_path) as client:
        log_to_stderr("warning", service.config)
        announce(await client.status(), service.notices)
        yield client


def log_to_stderr(level: str, config: "VoiceCallConfig | None" = None) -> None:
    """Log to stderr from this level on, with what `config` holds of secrets and numbers kept out."""
    from openclaw_voicecall.config.secrets import secret_values
    from openclaw_voicecall.observe import logs

    logs.configure(
        level,
        full_numbers=config is not None and config.logging.full_numbers,
        secrets=secret_values(config) if config is not None else (),
    )


def announce(status: dict[str, Any], notices: Sequence[object]) -> None:
    """Name the engines in use and what the service has to say about its configuration, on stderr."""
    click.echo(engine_line(status["service"]["engines"]), err=True)
    for notice in notices:
        click.echo(f"{click.style('note:', fg='yellow')} {notice}", err=True)
