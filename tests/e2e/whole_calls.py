"""Places calls through the control API of a running service and brings home what both ends have of them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.witness import Witness


@dataclass(frozen=True)
class HeldCall:
    """A call that is over: our record, and the phone's recording and report."""

    record: dict
    witness: Witness

    def words_of(self, speaker: str) -> str:
        return " ".join(line["text"] for line in self.record["transcript"] if line["speaker"] == speaker)


async def place(client: ControlClient, folder: Path, name: str, script: Path | str, **order) -> HeldCall:
    """Place one call, wait for its end, and read what the phone wrote."""
    wav, report = folder / f"{name}.wav", folder / f"{name}.json"
    call = await client.place_call(
        {
            "to": "+15550001234",
            "mode": "conversation",
            "script": str(script),
            "options": {"record": str(wav), "report": str(report)},
            **order,
        }
    )
    async for item in client.feed(call_id=call["callId"]):
        call = item["call"]
    async with asyncio.timeout(15):
        while not report.exists():  # the phone writes it after it has reported the end of the call
            await asyncio.sleep(0.05)
    return HeldCall(await client.get_call(call["callId"]), Witness(wav, report))


def place_all(service: RunningService, folder: Path, orders: dict[str, dict]) -> dict[str, HeldCall]:
    """Place several calls at the same time. `orders` has, by name, the script and the rest of each."""

    async def run() -> list[HeldCall]:
        socket = service.cli("status").json["service"]["socket"]
        async with ControlClient(socket) as client:
            return await asyncio.gather(
                *(place(client, folder, name, **order) for name, order in orders.items())
            )

    return dict(zip(orders, asyncio.run(run()), strict=True))
