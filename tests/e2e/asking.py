"""What a running service says of its calls, by its control API: a command would start an interpreter each time."""

import asyncio
import json
from typing import Any

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService


def control(service: RunningService) -> ControlClient:
    """A client of this service, to be entered."""
    return ControlClient.of(json.loads((service.state_dir / "service.json").read_text(encoding="utf-8")))


async def show(service: RunningService, call_id: str) -> dict[str, Any]:
    """A call's record as it is now."""
    async with control(service) as client:
        return await client.get_call(call_id)


async def journal(service: RunningService, call_id: str) -> list[dict[str, Any]]:
    """A call's journal so far."""
    async with control(service) as client:
        return await client.journal(call_id)


async def newest(service: RunningService) -> str:
    """The id of the newest call."""
    async with control(service) as client:
        calls = await client.list_calls(limit=1)
    return str(calls[0]["callId"])


async def closed(service: RunningService, call_id: str, limit: float = 20.0) -> dict[str, Any]:
    """A call's record, once it is closed."""
    async with control(service) as client, asyncio.timeout(limit):
        while not (record := await client.get_call(call_id))["endReason"]:
            await asyncio.sleep(0.05)
    return record
