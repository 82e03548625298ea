"""The command that proves with one short real call that everything works together."""

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
    from openclaw_voicecall.checks.parts import Parts
    from openclaw_voicecall.cli.live import Interrupts
    from openclaw_voicecall.cli.trial import Hop, Trial
    from openclaw_voicecall.config.schema import VoiceCallConfig
    from openclaw_voicecall.server.client import ControlClient

LONGEST = 60
"""Seconds from the answer to the end, whatever happens."""
FAREWELL_AT = 40.0
"""Seconds after the answer at which the goodbye begins at the latest: it takes up to 15, and the hang-up some more."""
ANSWER_LIMIT = 15.0
"""Seconds the person has to say something."""
RING_LIMIT = 90.0
"""Seconds until somebody must have answered; the setting `ringTimeoutMs` is usually shorter."""
END_LIMIT = 20.0
"""Seconds for the call to end once it was told to."""

_OWN = "local"
"""Providers of this name run on this machine and cost nothing."""


@click.command()
@click.option(
    "--to", "-t", type=PhoneNumber(), help="Number to call, E.164. Default: toNumber of the configuration."
)
@click.option("--yes", is_flag=True, help="Really place the call.")
@click.option(
    "--script",
    metavar="FILE|NAME",
    default="",
    help="On the local line: how the person called behaves. A phone script or the name of a built-in one.",
)
@common_options
@click.pass_obj
def smoke(invocation: Invocation, *, to: str | None, yes: bool, script: str) -> None:
    """Prove with one short real call that everything works together.

    Calls a number, says a fixed sentence, waits until it has heard an answer, says goodbye and hangs up: at most a
    minute. Prints a line for each hop. Without --yes it says what it would do and what that would cost, and places
    nothing.

    Exits with 0 when every hop works, else with 1.
    """
    from openclaw_voicecall.checks.parts import configured_parts
    from openclaw_voicecall.cli.settings import load_settings

    registry, loaded = load_settings(invocation)
    config = loaded.config
    number = to or config.to_number
    if not number:
        raise click.UsageError("--to is missing, and the configuration has no toNumber.")
    if not yes:
        _echo_plan(invocation, config, configured_parts(registry, config), number)
        return
    order = {"to": number, "mode": "conversation", "script": script_source(script)}
    passed = run(_smoke(invocation, {key: value for key, value in order.items() if value}))
    raise click.exceptions.Exit(0 if passed else 1)


def _echo_plan(invocation: Invocation, config: "VoiceCallConfig", parts: "Parts", number: str) -> None:
    from openclaw_voicecall.cli.trial import SENTENCE

    costs, speaker = _costs(config, parts), _speaker(parts)
    if invocation.as_json:
        plan = {"placed": False, "to": number, "carrier": config.provider, "model": speaker or None}
        echo_json({**plan, "says": SENTENCE, "costs": costs, "maxSeconds": LONGEST})
        return
    click.echo(f"would call {number} over {config.provider}, at most {LONGEST} s, and say:")
    click.echo(f"  {SENTENCE}")
    if speaker:
        click.echo(f"in the voice of the model that leads the calls: {speaker};")
    click.echo("then it would wait for an answer, say goodbye and hang up. That would cost:")
    for cost in costs:
        click.echo(f"  {cost}")
    click.echo("No call was placed. Do it with --yes.")


def _speaker(parts: "Parts") -> str:
    """The model that leads the calls, with its voice; empty where none does."""
    leading = parts.models[0] if parts.models else parts.carrier
    return leading.describe() if parts.is_led else ""


def _costs(config: "VoiceCallConfig", parts: "Parts") -> list[str]:
    """What a test call is billed for, as far as the configuration tells. Vendors' prices change; they are not here."""
    costs = []
    placing = parts.trunk or parts.carrier
    if placing.name != _OWN:
        costs.append(f"{placing.name}: one call of one minute to that number")
    if parts.is_led:
        leading = parts.models[0] if parts.models else parts.carrier
        costs.append(f"{leading.name}: less than a minute of talk with a speech-to-speech model")
    else:
        if config.tts.provider != _OWN:
            costs.append(f"{config.tts.provider}: about 200 characters of speech")
        if config.streaming.enabled and config.streaming.provider != _OWN:
            costs.append(f"{config.streaming.provider}: less than a minute of listening")
    model = (config.response_model or "").partition("/")[0]
    if model and parts.is_led and parts.responders:
        costs.append(f"{model}: at most one answer, should the speech model ask it")
    elif model and not parts.is_led:
        costs.append(f"{model}: at most one reply, which is begun and not said")
    return costs or ["nothing: line and speech are on this machine"]


async def _smoke(invocation: Invocation, order: dict[str, Any]) -> bool:
    from openclaw_voicecall.cli.live import Interrupts
    from openclaw_voicecall.cli.service import any_service
    from openclaw_voicecall.cli.trial import SENTENCE, Trial

    trial = Trial()
    async with any_service(invocation) as client:
        with Interrupts() as interrupts:
            placed = await client.place_call({**order, "message": SENTENCE})
            if not invocation.as_json:
                click.echo(f"calling {order['to']} ({placed['callId']})")
            shown = None if invocation.as_json else _echo_hop
            await _conduct(client, placed["callId"], trial, interrupts, shown)
        record = await client.get_call(placed["callId"])
    hops = trial.finish(record)
    if invocation.as_json:
        echo_json(
            {
                "placed": True,
                "ok": trial.passed,
                "hops": [hop.to_json() for hop in hops],
                "heard": trial.answer or None,
                "call": record,
            }
        )
        return trial.passed
    for hop in hops:
        if not hop.ok or hop.name == "goodbye":
            _echo_hop(hop)
    click.echo("the test call passed" if trial.passed else "the test call failed")
    return trial.passed


def _echo_hop(hop: "Hop") -> None:
    from openclaw_voicecall.cli.screen import printable

    word = click.style("ok    ", fg="green") if hop.ok else click.style("failed", fg="red")
    click.echo(f"{word}  {hop.name:<8} {printable(hop.detail)}")


async def _conduct(
    client: "ControlClient", call_id: str, trial: "Trial", interrupts: "Interrupts", show: Any
) -> None:
    """Follow the call, and end it when it has proved enough, takes too long, or the user wants it."""
    import asyncio
    from contextlib import aclosing

    now = asyncio.get_running_loop().time
    news: asyncio.Queue[dict[str, Any] | str] = asyncio.Queue()

    async def pump() -> None:
        async with aclosing(client.feed(call_id=call_id)) as feed:
            async for item in feed:
                news.put_nowait(item)

    async def watch() -> None:
        await interrupts.wanted.wait()
        news.put_nowait("interrupted")

    clock = _Clock(now())
    pumping, watching = asyncio.create_task(pump()), asyncio.create_task(watch())
    pumping.add_done_callback(lambda task: news.put_nowait("over"))
    try:
        while True:
            try:
                async with asyncio.timeout_at(clock.deadline):
                    item = await news.get()
            except TimeoutError:
                item = "late"
            if item == "over" or (item == "late" and clock.ending):
                break
            if not isinstance(item, str):
                for hop in trial.take(item):
                    if show is not None and hop.name != "goodbye":
                        show(hop)
            clock.read(trial, now())
            if not clock.ending and (isinstance(item, str) or trial.answer):
                clock.end(now())
                await _end(client, call_id, trial, hurry=item == "interrupted")
        if pumping.done():
            pumping.result()
    finally:
        for task in (pumping, watching):
            task.cancel()
        await asyncio.wait({pumping, watching})


class _Clock:
    """Until when the call may go on as it does."""

    def __init__(self, start: float) -> None:
        self.deadline = start + RING_LIMIT
        self.ending = False
        self._answered = False
        self._asked = False

    def read(self, trial: "Trial", now: float) -> None:
        """Set the deadline of the stage that the call has reached."""
        if self.ending:
            return
        if trial.answered and not self._answered:
            self._answered = True
            self.deadline = now + FAREWELL_AT
        if trial.asked and not self._asked:
            self._asked = True
            self.deadline = min(self.deadline, now + ANSWER_LIMIT)

    def end(self, now: float) -> None:
        """The call was told to end."""
        self.ending = True
        self.deadline = now + END_LIMIT


async def _end(client: "ControlClient", call_id: str, trial: "Trial", *, hurry: bool) -> None:
    from openclaw_voicecall.cli.trial import GOODBYE, UNHEARD_GOODBYE
    from openclaw_voicecall.errors import CallIsOver

    farewell = GOODBYE if trial.answer else UNHEARD_GOODBYE
    try:
        await client.end_call(call_id, farewell="" if hurry or not trial.answered else farewell)
    except CallIsOver:
        return
