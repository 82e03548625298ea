"""Commands that take calls over from OpenClaw's call log, and write one."""

import sys
from pathlib import Path
from typing import Any

import click

from openclaw_voicecall.cli.options import Invocation, common_options, echo_json, run

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@click.group()
@common_options
def history() -> None:
    """Take calls over from OpenClaw's call log, or write one."""


@history.command("import")
@_file
@common_options
@click.pass_obj
def import_(invocation: Invocation, file: Path) -> None:
    """Take over the calls in a calls.jsonl of OpenClaw.

    Calls that are here already stay as they are, and calls that are not over are left out. A line that is no call
    stops it, and nothing is taken over. The service must not be running meanwhile.
    """
    found = run(_import(invocation, file))
    if invocation.as_json:
        echo_json(found)
        return
    notes = [f"{found['imported']} calls taken over"]
    notes += [f"{found['known']} were here already"] if found["known"] else []
    notes += [f"{found['open']} left out because they are not over"] if found["open"] else []
    click.echo(", ".join(notes))


@history.command()
@_file
@common_options
@click.pass_obj
def export(invocation: Invocation, file: Path) -> None:
    """Write all calls to FILE as a calls.jsonl of OpenClaw. Needs no running service."""
    count = run(_export(invocation, file))
    if invocation.as_json:
        echo_json({"exported": count, "file": str(file)})
    else:
        click.echo(f"{count} calls written to {file}")


async def _import(invocation: Invocation, file: Path) -> dict[str, Any]:
    from openclaw_voicecall.cli.service import state_of
    from openclaw_voicecall.store.jsonl import import_jsonl
    from openclaw_voicecall.store.sqlite import SqliteStore
    from openclaw_voicecall.store.statedir import StateDir

    records = import_jsonl(file)
    state = StateDir.open(state_of(invocation).path)
    with state.acquire():
        store = await SqliteStore.open(state.database)
        try:
            over = [record for record in records if record.over]
            new = [record for record in over if await store.get_call(record.call_id) is None]
            for record in new:
                await store.put_call(record)
        finally:
            await store.close()
    return {"imported": len(new), "known": len(over) - len(new), "open": len(records) - len(over)}


async def _export(invocation: Invocation, file: Path) -> int:
    from openclaw_voicecall.cli.service import state_of
    from openclaw_voicecall.store.jsonl import export_jsonl
    from openclaw_voicecall.store.sqlite import SqliteStore

    store = await SqliteStore.open(state_of(invocation).database, read_only=True)
    try:
        return export_jsonl(reversed(await store.list_calls(limit=sys.maxsize)), file)
    finally:
        await store.close()
