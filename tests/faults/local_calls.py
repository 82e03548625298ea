"""Calls over the line of this machine, with real phone processes and real speech, and what the service holds after."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

from holdings import Held, Tally
from many_calls import SETTLE, WARM_UP, at_rest

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService

_BEGINNING = "name: {name}\nring: 0.1\nsteps:\n  - wait: agent\n"
SCRIPTS = {
    "talk": _BEGINNING + "  - say: What time is it, please?\n  - wait: agent\n  - hang_up\n",
    "rude": _BEGINNING + "  - say: Hello.\n  - silence: 0.3\n  - hang_up\n",
    "busy": "name: {name}\nanswer: busy\n",
}
"""Somebody who talks, somebody who is gone while the answer is made, and nobody free."""
CAST = ("talk", "talk", "rude", "talk", "talk", "busy")
"""What becomes of six calls in a row; every other one is placed by the service, the rest by the phone."""


async def local_calls(count: int, at_once: int, folder: Path) -> Tally:
    """Hold so many calls and look at the process after each round of them."""
    scripts = {name: folder / f"{name}.yaml" for name in SCRIPTS}
    for name, script in scripts.items():
        script.write_text(SCRIPTS[name].format(name=name), encoding="utf-8")
    tally = Tally(at_once)
    config = {"inboundPolicy": "open", "inboundGreeting": "Hello.", "maxConcurrentCalls": 2 * at_once}
    service = RunningService(folder / "s", port=0, config=config)
    with service:
        begun = time.monotonic()
        async with ControlClient(folder / "s" / "control.sock") as client:
            for done in range(0, count, at_once):
                block = range(done, min(done + at_once, count))
                async with ControlClient(folder / "s" / "control.sock") as orders:
                    await asyncio.gather(*(_one(index, scripts, service, orders, tally) for index in block))
                tally.samples.append(Held(block.stop, await at_rest(client)))
                if tally.warm is None and block.stop > WARM_UP * count:
                    tally.warm = Held(block.stop, await _settled(client, service))
            tally.seconds = time.monotonic() - begun
            tally.last = Held(count, await _settled(client, service, tally.warm))
            records = await client.list_calls(limit=2 * count)
        tally.records = len(records)
        tally.open_records = sum(not record["endReason"] for record in records)
        tally.phones = len(phones(service))
    return tally


def phones(service: RunningService) -> list[int]:
    """Processes of phones that write into the state directory of this service."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            output = os.readlink(process / "fd/2")
        except OSError:
            continue
        if b"openclaw_voicecall.providers.local.phone" in command and output.startswith(
            str(service.state_dir)
        ):
            found.append(int(process.name))
    return found


async def _one(
    index: int, scripts: dict[str, Path], service: RunningService, client: ControlClient, tally: Tally
) -> None:
    kind = CAST[index % len(CAST)]
    try:
        async with asyncio.timeout(60):
            if index % 2 and kind != "busy":
                report = await asyncio.to_thread(
                    service.cli, "phone", "--script", str(scripts[kind]), check=False
                )
                call_id = report.json["carrierCallId"]
            else:
                order = {"to": "+15550001234", "mode": "conversation", "message": "Hello."}
                call_id = (await client.place_call({**order, "script": str(scripts[kind])}))["callId"]
            while not (record := await client.get_call(call_id))["endReason"]:
                await asyncio.sleep(0.1)
        tally.ends.setdefault(kind, Counter())[str(record["endReason"])] += 1
    except Exception as error:  # the others go on; the test tells of it
        tally.troubles.append(f"call {index}, {kind}: {error!r}")


async def _settled(
    client: ControlClient, service: RunningService, before: Held | None = None
) -> dict[str, int]:
    """What the process holds once all phones are gone, and at the end once it is back at the level before."""
    held = await at_rest(client)
    try:
        async with asyncio.timeout(SETTLE):
            while phones(service) or (
                before is not None and any(held[name] > level for name, level in before.handles.items())
            ):
                await asyncio.sleep(0.2)
                held = await at_rest(client)
    except TimeoutError:
        pass
    return held
