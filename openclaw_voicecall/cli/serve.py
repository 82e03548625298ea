"""The commands that run for long: the service, and a telephone that rings it."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openclaw_voicecall.cli.options import (
    Invocation,
    PhoneNumber,
    common_options,
    echo_json,
    run,
    script_source,
)

if TYPE_CHECKING:
    from openclaw_voicecall.providers.local.phone import Entry, PhoneReport

_BOOKKEEPING = frozenset({"mark played", "audio begins to arrive"})
"""What a phone notes about every sentence; the report has it, people need not read it."""


@click.command()
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    help="Processes that share the calls, one for each processor core to be used. Default: serve.workers, 1.",
)
@common_options
@click.pass_obj
def serve(invocation: Invocation, workers: int | None) -> None:
    """Run the service in the foreground.

    Prints `ready http://HOST:PORT` once it takes calls. SIGTERM or Ctrl-C lets live calls finish and stops it; a
    second one hangs up at once.
    """
    from openclaw_voicecall.server.loop import run_service_loop

    run_service_loop(_serve(invocation, workers))


async def _serve(invocation: Invocation, workers: int | None) -> None:
    gc.disable()  # `keep_collections_short` enables it: next to nothing that a start makes is garbage
    from openclaw_voicecall.cli.service import announce, log_to_stderr
    from openclaw_voicecall.server.client import ControlClient
    from openclaw_voicecall.server.resources import keep_collections_short
    from openclaw_voicecall.server.runtime import ServiceOptions, run_service

    options = ServiceOptions(
        config_source=invocation.config,
        state_dir=Path(invocation.state_dir) if invocation.state_dir else None,
        overrides={"serve.workers": workers},
        host=invocation.host,
    )
    log_to_stderr("warning")
    async with run_service(options) as service:
        log_to_stderr(service.config.logging.level, service.config)
        async with ControlClient(service.socket_path) as client:
            announce(await client.status(), service.notices)
        keep_collections_short()
        click.echo(f"ready {service.url}")  # click flushes every line
        await service.wait_stopped()


@click.command()
@click.option(
    "--script",
    metavar="FILE|NAME",
    default="caller",
    show_default=True,
    help="How the person on the phone behaves: a phone script or the name of a built-in one.",
)
@click.option(
    "--from", "from_", type=PhoneNumber(), help="Number of the phone, E.164. Default: the script's."
)
@click.option("--to", type=PhoneNumber(), help="Number it dials, E.164. Default: the local line's own.")
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="WAV file: left what the phone said, right what it heard.",
)
@click.option(
    "--report", metavar="FILE", type=click.Path(dir_okay=False), help="JSON file of all that happened."
)
@common_options
@click.pass_obj
def phone(
    invocation: Invocation,
    *,
    script: str,
    from_: str | None,
    to: str | None,
    record: str | None,
    report: str | None,
) -> None:
    """Ring the running service from this machine.

    The telephone needs no account: it speaks with the service's local line, in real telephone audio. Ctrl-C hangs
    up. With --json it prints the report of the phone.
    """
    from openclaw_voicecall.cli.service import state_of
    from openclaw_voicecall.cli.summary import exit_code_of
    from openclaw_voicecall.providers.local.phone import ring_service

    witness = run(
        ring_service(
            state_of(invocation).path,
            script=script_source(script),
            from_=from_ or "",
            to=to or "",
            record=record,
            report=report,
            listener=None if invocation.as_json else _echo_entry,
        )
    )
    if invocation.as_json:
        echo_json(witness.to_json())
    else:
        _echo_outcome(witness)
    raise click.exceptions.Exit(exit_code_of(witness.end_reason))


def _echo_entry(entry: "Entry") -> None:
    from openclaw_voicecall.cli.screen import printable

    if entry.event in _BOOKKEEPING:
        return
    data = " ".join(f"{key}={value}" for key, value in entry.data.items() if value not in (None, ""))
    click.echo(f"{entry.at:8.2f}  {printable(f'{entry.event} {data}'.strip())}")


def _echo_outcome(witness: "PhoneReport") -> None:
    from openclaw_voicecall.cli.summary import duration, end_text

    call_id = f" {witness.call_id}" if witness.call_id else ""
    click.echo(
        f"\ncall{call_id} ended: {end_text(witness.end_reason)}, {duration(witness.duration)} min of audio"
    )
    if witness.detail:
        click.echo(f"detail: {witness.detail}")
    if witness.gaps:
        click.echo(f"gaps in the agent's speech: {len(witness.gaps)}")
    for error in witness.errors:
        click.echo(f"error of the service: {error}", err=True)
