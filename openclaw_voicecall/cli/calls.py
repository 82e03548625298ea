"""Commands that place calls and show them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from openclaw_voicecall.api.store import CallRecord


@click.command()
@click.option(
    "--to", "-t", type=PhoneNumber(), help="Number to call, E.164. Default: toNumber of the configuration."
)
@click.option("--from", "from_", type=PhoneNumber(), help="Number to call from, E.164. Default: fromNumber.")
@click.option("--message", "-m", default="", help="What to say first.")
@click.option(
    "--mode",
    type=click.Choice(["conversation", "notify"]),
    default="conversation",
    show_default=True,
    help="Talk with the person, or say the message and hang up.",
)
@click.option("--objective", default="", help="What the call is for; only the responder is told.")
@click.option(
    "--script",
    metavar="FILE|NAME",
    default="",
    help="On the local line: how the person called behaves. A phone script or the name of a built-in one.",
)
@click.option(
    "--record", metavar="DIR", type=click.Path(file_okay=False), help="Record both sides to WAV files in DIR."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    default="",
    help="Place the call once: repeated with the same key within 24 hours, nobody is dialled again.",
)
@click.option("--detach", is_flag=True, help="Return once a running service has placed the call.")
@common_options
@click.pass_obj
def call(
    invocation: Invocation,
    *,
    to: str | None,
    from_: str | None,
    message: str,
    mode: str,
    objective: str,
    script: str,
    record: str | None,
    idempotency_key: str,
    detach: bool,
) -> None:
    """Call somebody and watch the call.

    A running service places the call; without one it is placed from here, and the engines live as long as the call.
    Ctrl-C ends the call politely; a second one leaves at once.

    Exits with 0 when the call took place, 75 when nobody took it, 69 when it failed or was cut off.
    """
    if mode == "notify" and not message.strip():
        raise click.UsageError("--mode notify needs a --message: it is all that is said.")
    order = {
        "to": to or _default_number(invocation),
        "from": from_,
        "message": message,
        "mode": mode,
        "objective": objective,
        "script": script_source(script),
        "recordDir": str(Path(record).expanduser().absolute()) if record else "",
    }
    order = {key: value for key, value in order.items() if value}
    if detach:
        _echo_placed(run(_place(invocation, order, idempotency_key)), invocation)
        return
    final = run(_place_and_follow(invocation, order, idempotency_key))

    from openclaw_voicecall.api.wire import record_from_json
    from openclaw_voicecall.cli.summary import call_summary, exit_code_of

    if invocation.as_json:
        echo_json(final)
    else:
        click.echo("\n".join(["", *call_summary(record_from_json(final))]))
    raise click.exceptions.Exit(exit_code_of(final["endReason"]))


def _default_number(invocation: Invocation) -> str:
    from openclaw_voicecall.cli.settings import load_settings

    number = load_settings(invocation)[1].config.to_number
    if not number:
        raise click.UsageError("--to is missing, and the configuration has no toNumber.")
    return number


async def _place(invocation: Invocation, order: dict[str, Any], key: str) -> dict[str, Any]:
    from openclaw_voicecall.cli.service import running_service

    async with running_service(invocation) as client:
        return await client.place_call(order, key=key)


def _echo_placed(record: dict[str, Any], invocation: Invocation) -> None:
    if invocation.as_json:
        echo_json(record)
    else:
        click.echo(record["callId"])


async def _place_and_follow(invocation: Invocation, order: dict[str, Any], key: str) -> dict[str, Any]:
    from openclaw_voicecall.cli.live import Interrupts, follow
    from openclaw_voicecall.cli.screen import Screen
    from openclaw_voicecall.cli.service import any_service
    from openclaw_voicecall.cli.view import CallView

    view = None if invocation.as_json else CallView(Screen.on_stdout())
    async with any_service(invocation) as client:
        with Interrupts() as interrupts:
            record = await client.place_call(order, key=key)
            return await follow(client, record["callId"], view=view, interrupts=interrupts)


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="How many at most.")
@click.option("--open", "open_only", is_flag=True, help="Only calls that are not over.")
@common_options
@click.pass_obj
def calls(invocation: Invocation, limit: int, open_only: bool) -> None:
    """List calls, newest first. Needs no running service."""
    from openclaw_voicecall.cli.records import list_calls
    from openclaw_voicecall.cli.summary import calls_table

    found = run(list_calls(invocation, limit=limit, open_only=open_only))
    if invocation.as_json:
        echo_json(found)
    else:
        click.echo("\n".join(calls_table([_record(item) for item in found])))


@click.command()
@click.argument("call_id")
@click.option(
    "--journal", "with_journal", is_flag=True, help="Also every event and what was done because of it."
)
@common_options
@click.pass_obj
def show(invocation: Invocation, call_id: str, with_journal: bool) -> None:
    """Show one call: its course, transcript and latency.

    The id is ours or the carrier's. Needs no running service.

    With --json it is the record; with --json --journal an object with `call` and `entries`.
    """
    found, entries = run(_call_and_journal(invocation, call_id, with_journal))
    if invocation.as_json:
        echo_json({"call": found, "entries": entries} if with_journal else found)
        return
    from openclaw_voicecall.cli.summary import call_details

    lines = call_details(_record(found))
    if with_journal:
        lines += ["", "journal", *(_entry_line(entry) for entry in entries)]
    click.echo("\n".join(lines))


async def _call_and_journal(
    invocation: Invocation, call_id: str, with_journal: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from openclaw_voicecall.cli.records import get_call, journal

    found = await get_call(invocation, call_id)
    return found, await journal(invocation, found["callId"]) if with_journal else []


def _entry_line(entry: dict[str, Any]) -> str:
    from openclaw_voicecall.cli.screen import printable

    data = " ".join(f"{key}={value!r}" for key, value in entry["data"].items())
    orders = ", ".join(str(order.get("command", "?")) for order in entry["commands"])
    text = f"{entry['event']} {data}".strip()
    return f"  {entry['elapsed']:9.3f}  {printable(text)}{f'  -> {orders}' if orders else ''}"


@click.command()
@click.option(
    "--last", type=click.IntRange(min=1), default=200, show_default=True, help="How many calls to look at."
)
@common_options
@click.pass_obj
def latency(invocation: Invocation, last: int) -> None:
    """Show how long callers waited for the agent.

    From a caller's last word to the agent's first sound, over recent calls and by stage. Needs no running service.
    """
    from openclaw_voicecall.cli.records import list_calls
    from openclaw_voicecall.cli.summary import latency_report
    from openclaw_voicecall.observe.latency import summarise

    records = [_record(item) for item in run(list_calls(invocation, limit=last, open_only=False))]
    turns = [turn for record in records for turn in record.latencies]
    report = summarise(turns, calls=len(records))
    if invocation.as_json:
        echo_json(report)
    else:
        click.echo("\n".join(latency_report(report)))


def _record(data: dict[str, Any]) -> "CallRecord":
    from openclaw_voicecall.api.wire import record_from_json

    return record_from_json(data)
