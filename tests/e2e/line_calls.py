"""Calls on the local line as both of their ends have them, also those that nobody answered."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import CliResult, RunningService
from openclaw_voicecall.testing.witness import Witness

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Outcome:
    """A call that is over: our record and the phone's files."""

    record: dict
    wav: Path
    report_file: Path

    @property
    def report(self) -> dict:
        return json.loads(self.report_file.read_text())

    @property
    def witness(self) -> Witness:
        return Witness(self.wav, self.report_file)

    @property
    def seconds(self) -> float:
        """From the order to the end of the call."""
        created, ended = (datetime.fromisoformat(self.record[key]) for key in ("createdAt", "endedAt"))
        return (ended - created).total_seconds()

    def lines(self, speaker: str) -> list[dict]:
        return [line for line in self.record["transcript"] if line["speaker"] == speaker]

    def words(self, speaker: str) -> str:
        return " ".join(line["text"] for line in self.lines(speaker))

    def events(self, event: str) -> list[dict]:
        return [entry for entry in self.report["timeline"] if entry["event"] == event]


@dataclass(frozen=True)
class Rung:
    """A call that a phone made to the service: how the command `phone` ended, our record, and its witness."""

    command: CliResult
    record: dict
    witness: Witness | None

    @property
    def report(self) -> dict:
        return self.command.json

    def words(self, speaker: str) -> str:
        return " ".join(line["text"] for line in self.record["transcript"] if line["speaker"] == speaker)


def command(
    *arguments: str | Path, folder: Path, env: Mapping[str, str] | None = None, timeout: float = 60.0
) -> CliResult:
    """Run a command as a user with no settings of his own would, in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "openclaw_voicecall", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder), **(env or {})},
        timeout=timeout,
        check=False,
    )
    return CliResult(done.returncode, done.stdout, done.stderr)


def script(name: str) -> str:
    """The path of a script of ours, or a built-in name as it is."""
    path = SCRIPTS / f"{name}.yaml"
    return str(path) if path.exists() else name


def with_client(service: RunningService, work: Callable[[ControlClient], Coroutine[Any, Any, Any]]) -> Any:
    """Run `work` in an event loop, with a client of the service's control API."""

    async def run() -> Any:
        async with ControlClient(service.state_dir / "control.sock") as client:
            return await work(client)

    return asyncio.run(run())


async def dial(client: ControlClient, folder: Path, name: str, **order: Any) -> dict:
    """Place a call whose phone behaves as `scripts/<name>.yaml`, or `script`, says."""
    return await client.place_call(
        {
            "to": "+15550001234",
            "mode": "conversation",
            "script": script(order.pop("script", name)),
            "options": {"record": str(folder / f"{name}.wav"), "report": str(folder / f"{name}.json")},
            **order,
        }
    )


async def wait_for_end(client: ControlClient, call_id: str) -> dict:
    """The final record."""
    async for _ in client.feed(call_id=call_id):
        pass
    return await client.get_call(call_id)


async def wait_for(client: ControlClient, call_id: str, wanted: Callable[[dict, dict], bool]) -> dict:
    """Follow a call until `wanted(entry, call)`; returns the record of that moment."""
    async for item in client.feed(call_id=call_id):
        if wanted(item["entry"], item["call"]):
            return item["call"]
    raise AssertionError("the call ended without what the test waited for")


async def wait_for_line(client: ControlClient, call_id: str, words: str) -> dict:
    """Follow a call until the agent has been heard to say this."""
    return await wait_for(
        client,
        call_id,
        lambda entry, call: any(
            words in line["text"] and line["speaker"] == "agent" for line in call["transcript"]
        ),
    )


async def outcome_of(client: ControlClient, folder: Path, name: str, call_id: str) -> Outcome:
    """Wait until a call and its phone are done."""
    record = await wait_for_end(client, call_id)
    outcome = Outcome(record, folder / f"{name}.wav", folder / f"{name}.json")
    async with asyncio.timeout(15):
        while not outcome.report_file.exists():  # a phone that we gave up on writes it later
            await asyncio.sleep(0.05)
    return outcome


async def ring(
    service: RunningService, client: ControlClient, folder: Path, name: str, *options: str
) -> Rung:
    """Let a phone call the service, with the command `phone`, and wait until both are done."""
    wav, report = folder / f"{name}.wav", folder / f"{name}.json"
    command = await asyncio.to_thread(
        service.cli, "phone", "--record", str(wav), "--report", str(report), *options, check=False
    )
    record = await wait_for_end(client, command.json["carrierCallId"])
    return Rung(command, record, Witness(wav, report) if wav.exists() else None)
