"""Calls from the running service or, when there is none, straight from its database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openclaw_voicecall.api.wire import entry_to_json, record_to_json
from openclaw_voicecall.cli.options import Invocation
from openclaw_voicecall.cli.service import state_of
from openclaw_voicecall.errors import CallNotFound, ServiceNotRunning
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.store.statedir import StateDir


async def list_calls(invocation: Invocation, *, limit: int, open_only: bool) -> list[dict[str, Any]]:
    """Calls as JSON, newest first."""
    state = state_of(invocation)
    try:
        async with _service(state) as client:
            return await client.list_calls(limit=limit, open_only=open_only)
    except ServiceNotRunning:
        async with _database(state) as store:
            records = await store.list_calls(limit=limit, open_only=open_only)
        return [record_to_json(record) for record in records]


async def get_call(invocation: Invocation, call_id: str) -> dict[str, Any]:
    """One call as JSON, by our id or the carrier's. Raises `CallNotFound`."""
    state = state_of(invocation)
    try:
        async with _service(state) as client:
            return await client.get_call(call_id)
    except ServiceNotRunning:
        async with _database(state) as store:
            record = await store.get_call(call_id)
        if record is None:
            raise CallNotFound(
                f"no call has the id {call_id}; `openclaw-voicecall calls` lists them"
            ) from None
        return record_to_json(record)


async def journal(invocation: Invocation, call_id: str, *, after: int = 0) -> list[dict[str, Any]]:
    """Journal entries of a call as JSON, oldest first. `call_id` is our own."""
    state = state_of(invocation)
    try:
        async with _service(state) as client:
            return await client.journal(call_id, after=after)
    except ServiceNotRunning:
        async with _database(state) as store:
            return [entry_to_json(entry) for entry in await store.journal(call_id, after=after)]


@asynccontextmanager
async def _service(state: StateDir) -> AsyncIterator[ControlClient]:
    service = state.read_service()
    if service is None:
        raise ServiceNotRunning(f"no service is running on {state.path}")
    async with ControlClient.of(service) as client:
        yield client


@asynccontextmanager
async def _database(state: StateDir) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(state.database, read_only=True)
    try:
        yield store
    finally:
        await store.close()
