"""Commands that speak with a running service."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json, run

if TYPE_CHECKING:
    from openclaw_voicecall.server.client import ControlClient

Answer = dict[str, Any]


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID]")
@click.option("--call-id", help="Only this call.")
@common_options
@click.pass_obj
def status(invocation: Invocation, positional: tuple[str, ...], call_id: str | None) -> None:
    """Show the running service and its live calls, or one call."""
    (call_id,) = _fill((call_id,), ("CALL_ID",), positional, needed=0)
    if call_id:
        _echo_call(_ask(invocation, lambda client: client.get_call(call_id)), invocation)
        return
    answer = _ask(invocation, lambda client: client.status())
    if invocation.as_json:
        echo_json(answer)
        return
    from openclaw_voicecall.api.wire import record_from_json
    from openclaw_voicecall.cli.summary import calls_table, engine_line

    service = answer["service"]
    state = "stops once its calls are over" if service.get("draining") else "runs"
    click.echo(
        f"openclaw-voicecall {service['version']} {state}: process {service['pid']}, {service['url']}, "
        f"since {service['startedAt']}"
    )
    click.echo(engine_line(service["engines"]))
    for breaker in service.get("breakers", ()):
        click.echo(f"asked last, because it failed too often: {breaker['role']} {breaker['name']}")
    if holds := _held(service.get("resources", {})):
        click.echo(f"holding {holds}")
    for worker in service.get("workers", ()):
        calls = f"{worker['liveCalls']} of the calls" if "liveCalls" in worker else "does not answer"
        holds = _held(worker.get("resources", {}))
        click.echo(
            f"worker {worker['worker']}: process {worker['pid']}, {calls}{holds and f', holding {holds}'}"
        )
    click.echo("\n".join(calls_table([record_from_json(item) for item in answer["calls"]])))


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID] [MESSAGE]")
@click.option("--call-id", help="The call.")
@click.option("--message", "-m", help="What to say.")
@common_options
@click.pass_obj
def speak(
    invocation: Invocation, positional: tuple[str, ...], call_id: str | None, message: str | None
) -> None:
    """Say something on a live call.

    It is said as soon as nobody speaks.
    """
    call_id, message = _fill((call_id, message), ("CALL_ID", "MESSAGE"), positional)
    _echo_call(_ask(invocation, lambda client: client.speak(call_id, message)), invocation)


@click.command("continue")
@click.argument("positional", nargs=-1, metavar="[CALL_ID] [MESSAGE]")
@click.option("--call-id", help="The call.")
@click.option("--message", "-m", help="What to say.")
@click.option("--timeout-ms", type=click.IntRange(min=1), help="How long to wait for the answer.")
@common_options
@click.pass_obj
def continue_(
    invocation: Invocation,
    positional: tuple[str, ...],
    call_id: str | None,
    message: str | None,
    timeout_ms: int | None,
) -> None:
    """Say something on a live call and print the answer.

    Waits until the caller has spoken.
    """
    call_id, message = _fill((call_id, message), ("CALL_ID", "MESSAGE"), positional)
    answer = _ask(invocation, lambda client: client.continue_call(call_id, message, timeout_ms=timeout_ms))
    if invocation.as_json:
        echo_json(answer)
        return
    from openclaw_voicecall.cli.screen import printable

    click.echo(printable(str(answer["transcript"])))


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID] [DIGITS]")
@click.option("--call-id", help="The call.")
@click.option("--digits", help="Keys to press: 0-9, *, #, A-D, w to wait half a second.")
@common_options
@click.pass_obj
def dtmf(
    invocation: Invocation, positional: tuple[str, ...], call_id: str | None, digits: str | None
) -> None:
    """Press keys on a live call."""
    call_id, digits = _fill((call_id, digits), ("CALL_ID", "DIGITS"), positional)
    _echo_call(_ask(invocation, lambda client: client.send_digits(call_id, digits)), invocation)


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID] [TO]")
@click.option("--call-id", help="The call.")
@click.option("--to", help="Number in international form, such as +15550001234.")
@click.option(
    "--announce",
    default="",
    metavar="TEXT",
    help="Said to whoever answers there, who then presses a key to take the call. Without it the two are connected "
    "at once.",
)
@common_options
@click.pass_obj
def transfer(
    invocation: Invocation, positional: tuple[str, ...], call_id: str | None, to: str | None, announce: str
) -> None:
    """Hand the far party of a live call over to another number.

    What became of it is in the call's record. Where nobody takes the call there, the agent goes on with it.
    """
    call_id, to = _fill((call_id, to), ("CALL_ID", "TO"), positional)
    _echo_call(_ask(invocation, lambda client: client.transfer(call_id, to, announce=announce)), invocation)


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID]")
@click.option("--call-id", help="The call.")
@common_options
@click.pass_obj
def end(invocation: Invocation, positional: tuple[str, ...], call_id: str | None) -> None:
    """Hang up a live call."""
    (call_id,) = _fill((call_id,), ("CALL_ID",), positional)
    _echo_call(_ask(invocation, lambda client: client.end_call(call_id)), invocation)


@click.command()
@click.argument("positional", nargs=-1, metavar="[CALL_ID]")
@click.option("--call-id", help="Only this call, from its beginning to its end.")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, help="With a call: only entries after this number."
)
@common_options
@click.pass_obj
def tail(invocation: Invocation, positional: tuple[str, ...], call_id: str | None, after: int) -> None:
    """Watch calls, or one call, as they happen.

    Ends with the one call, or with Ctrl-C.

    With --json every line is an object with the journal `entry` and the `call` after it.
    """
    (call_id,) = _fill((call_id,), ("CALL_ID",), positional, needed=0)
    if after and not call_id:
        raise click.UsageError("--after counts the entries of one call: name it with --call-id.")
    run(_tail(invocation, call_id, after))


async def _tail(invocation: Invocation, call_id: str | None, after: int) -> None:
    from contextlib import aclosing

    from openclaw_voicecall.api.wire import entry_from_json, record_from_json
    from openclaw_voicecall.cli.screen import Screen
    from openclaw_voicecall.cli.service import running_service
    from openclaw_voicecall.cli.view import CallView

    view = CallView(Screen.on_stdout(), many=call_id is None)
    async with (
        running_service(invocation) as client,
        aclosing(client.feed(call_id=call_id, after=after)) as feed,
    ):
        try:
            async for item in feed:
                if invocation.as_json:
                    echo_json(item)
                else:
                    view.show(entry_from_json(item["entry"]), record_from_json(item["call"]))
        finally:
            view.close()


def _held(resources: Answer) -> str:
    """What the service holds, as far as its system tells: `58 MB of memory, 2 streams, 31 tasks, 12 sockets`."""
    memory = resources.get("rssBytes")
    counts = [
        f"{resources[name]} {name}"
        for name in ("streams", "tasks", "sockets", "files", "threads")
        if resources.get(name) is not None
    ]
    return ", ".join(([f"{memory / 1e6:.0f} MB of memory"] if memory else []) + counts)


def _fill(
    given: Sequence[str | None], names: Sequence[str], positional: Sequence[str], *, needed: int | None = None
) -> tuple[Any, ...]:
    """Fill what options left open with the positional arguments, in order.

    Raises:
        click.UsageError: Something is missing or left over.
    """
    rest = list(positional)
    values = [value if value is not None else (rest.pop(0) if rest else None) for value in given]
    if rest:
        raise click.UsageError(f"unexpected argument: {rest[0]}")
    required = len(values) if needed is None else needed
    for value, name in list(zip(values, names, strict=True))[:required]:
        if not value:
            option = "--" + name.lower().replace("_", "-")
            raise click.UsageError(f"{name} is missing: give it as an argument or with {option}.")
    return tuple(values)


def _ask(invocation: Invocation, question: "Callable[[ControlClient], Awaitable[Answer]]") -> Answer:
    async def ask() -> Answer:
        from openclaw_voicecall.cli.service import running_service

        async with running_service(invocation) as client:
            return await question(client)

    return run(ask())


def _echo_call(record: Answer, invocation: Invocation) -> None:
    if invocation.as_json:
        echo_json(record)
        return
    end_reason = f" ({record['endReason']})" if record["endReason"] else ""
    click.echo(f"call {record['callId']}: {record['state']}{end_reason}")
