"""What happens in one real OpenClaw that has our plugin, from its installation to its end, seen from all sides.

A gateway start costs ten seconds of a core and more, so there is one, and everything takes place in it. Each scene
leaves what it saw, or the error it ended with, under its name; the tests look at that.
"""

import asyncio
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway_cast import (
    ASKED_BY_AGENT,
    ASKED_BY_COMMAND,
    DAY,
    INTERRUPTER,
    MAIN,
    OPENING,
    ORDER,
    PHONES,
    TOKEN_DELAY,
    UNLUCKY,
    VICTIM,
    Model,
)
from openclaw_rig import MODEL, Done, MethodFailed, OpenClaw, connect

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.witness import Witness


@dataclass
class World:
    """The OpenClaw, its model, and its user's machine."""

    openclaw: OpenClaw
    model: Model
    vendor: ChatEmulator
    folder: Path
    """Where phones and commands leave what they heard and said."""

    @property
    def service_file(self) -> Path:
        return self.openclaw.state_dir / "voice-calls" / "service.json"

    @property
    def service(self) -> dict[str, Any]:
        """What the running service says of itself."""
        return json.loads(self.service_file.read_text())

    def control(self) -> ControlClient:
        return ControlClient.of(self.service)

    async def until(self, what: str, found: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait until something is so."""
        try:
            async with asyncio.timeout(seconds):
                while not (result := found()):
                    await asyncio.sleep(0.05)
                return result
        except TimeoutError:
            raise AssertionError(
                f"never {what}; the model was told {self.model.last_words()}\n{self.openclaw.tail()}"
            ) from None

    async def ended(self, call_id: str, seconds: float = 90.0) -> dict[str, Any]:
        """The final record of a call."""
        async with asyncio.timeout(seconds), self.control() as control:
            async for _ in control.feed(call_id=call_id):
                pass
            return await control.get_call(call_id)

    async def call_to(self, number: str, seconds: float = 60.0) -> str:
        """The id of the call to this number, once there is one."""
        async with asyncio.timeout(seconds), self.control() as control:
            while True:
                for call in await control.list_calls():
                    if call["to"] == number:
                        return str(call["callId"])
                await asyncio.sleep(0.1)

    def script(self, name: str) -> str:
        return str(self.folder / f"{name}.yaml")


Scene = Callable[[World], Awaitable[Any]]
Stages = Sequence[Mapping[str, Scene]]


def play(stages: Stages, evidence: Path) -> Callable[[str], Any]:
    """Let the scenes take place; gives what a scene saw, by its name.

    Args:
        stages: Scenes by name, those of one stage at the same time. What one raises is raised to who asks for it.
        evidence: A folder for what was said and logged.
    """
    seen: dict[str, Any] = {}
    asyncio.run(_play(stages, seen, evidence))

    def look(name: str) -> Any:
        if isinstance(seen[name], BaseException):
            raise seen[name]
        return seen[name]

    return look


async def _play(stages: Stages, seen: dict[str, Any], evidence: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))  # sockets need a short path
    for name, text in PHONES.items():
        (evidence / f"{name}.yaml").write_text(text)
    model = Model()
    try:
        async with (
            ChatEmulator(models=[MODEL], respond=model, token_delay=TOKEN_DELAY) as vendor,
            OpenClaw(home, vendor.url) as openclaw,
        ):
            world = World(openclaw, model, vendor, evidence)
            begun = time.monotonic()
            try:
                for stage in stages:
                    found = await asyncio.gather(
                        *(scene(world) for scene in stage.values()), return_exceptions=True
                    )
                    seen.update(zip(stage, found, strict=True))
                    openclaw.log.append(f"---- {time.monotonic() - begun:.1f} s: {', '.join(stage)}")
            finally:
                _keep(world)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "provider": "local",
        "fromNumber": "+15550009999",
        "serve": {"port": 0},
        "maxConcurrentCalls": 5,
        "local": {"script": str(folder / "talks.yaml")},
        "responseTimeoutMs": 9_000,
        "phrases": {"fillers": [], "late": ""},  # how busy the machine is must not show in what is said
        "recording": {"enabled": True, "dir": str(folder / "recordings")},
    }


def _keep(world: World) -> None:
    """Write down what a failed test is to be understood by."""
    (world.folder / "gateway.log").write_text("\n".join(world.openclaw.log))
    (world.folder / "model.json").write_text(json.dumps(world.model.asked, indent=1))
    database = world.openclaw.state_dir / "voice-calls" / "calls.db"
    if database.exists():
        shutil.copy(database, world.folder)


async def install(world: World) -> Any:
    """Install the plugin by our command, and start the gateway."""
    program = world.openclaw.home / "bin" / "openclaw"
    program.parent.mkdir()
    node, script = world.openclaw.installed.node, world.openclaw.installed.program
    program.write_text(f'#!/bin/sh\nexec "{node}" "{script}" "$@"\n')
    program.chmod(0o755)
    env = {
        **world.openclaw.env,
        "PATH": f"{program.parent}:{world.openclaw.env['PATH']}",
        "XDG_DATA_HOME": str(world.openclaw.home / "data"),
    }
    command = [sys.executable, "-m", "openclaw_voicecall", "openclaw", "install", "--json"]
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, out.decode() + err.decode()
    installed = time.monotonic()
    world.openclaw.configure(_settings(world.folder))
    await world.openclaw.start()
    ready = await world.openclaw.logged("voice-call: ready at")
    return SimpleNamespace(
        standing=json.loads(out),
        ready=ready,
        install_seconds=installed - begun,
        start_seconds=time.monotonic() - installed,
    )


async def call_by_command(world: World) -> Any:
    """Call somebody by OpenClaw's own command; meanwhile ask how things stand and reload the plugin; then hang up."""
    order = ["--to", ASKED_BY_COMMAND, "--message", OPENING, "--script", world.script("asks"), "--json"]
    calling = asyncio.create_task(world.openclaw.run("voicecall", "call", *order))
    call_id = await world.call_to(ASKED_BY_COMMAND)
    status, method = await asyncio.gather(
        world.openclaw.run("voicecall", "status", "--json"),
        world.openclaw.run("gateway", "call", "voicecall.status", "--params", "{}", "--json"),
    )
    async with world.control() as control:
        async for item in control.feed(call_id=call_id):
            if any(DAY in line["text"] for line in item["call"]["transcript"]):
                break
    before = world.service
    async with connect(world.openclaw.port, admin=True) as line:
        reloaded = await reload(line)
        await line.request("voicecall.end", {"callId": call_id})
    done: Done = await calling
    return SimpleNamespace(
        done=done, status=status, method=method, before=before, after=world.service, reloaded=reloaded
    )


async def reload(line: connect) -> Any:
    """Reload the plugin; while the agent talks on the other call OpenClaw wants to be asked again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await line.request("plugins.reload", {"plugins": [{"pluginId": "voice-call"}]})
            except MethodFailed as error:
                if "retry after the work finishes" not in str(error):
                    raise
            await asyncio.sleep(0.5)


async def call_by_agent(world: World) -> Any:
    """Have the agent ring somebody who asks it two things, and wait until the chat knows how it went."""
    async with connect(world.openclaw.port) as line:
        order = {"message": ORDER, "sessionKey": MAIN, "idempotencyKey": "ring-sam", "deliver": False}
        await line.request("agent", order)
    call_id = await world.call_to(ASKED_BY_AGENT)
    tail = asyncio.create_task(world.openclaw.run("voicecall", "tail", call_id, "--json"))
    record = await world.ended(call_id)
    latency = asyncio.create_task(world.openclaw.run("voicecall", "latency", "--json"))
    report = await world.until("told the chat", lambda: world.model.find("Phone call to", call_id))
    turns = world.model.turns_of(call_id)
    return SimpleNamespace(record=record, report=report, turns=turns, tail=await tail, latency=await latency)


async def barge_in(world: World) -> Any:
    """Have somebody talk over a long answer while it is still being written."""
    wav, file = world.folder / "interrupts.wav", world.folder / "interrupts.json"
    order = {
        "to": INTERRUPTER,
        "message": OPENING,
        "mode": "conversation",
        "script": world.script("interrupts"),
        "options": {"record": str(wav), "report": str(file)},
    }
    await world.openclaw.logged("the agent is warm", seconds=60)
    cancelled = world.vendor.cancelled
    async with world.control() as control:
        call = await control.place_call(order)
    record = await world.ended(call["callId"])
    await world.until("wrote the phone's report", file.exists)
    return SimpleNamespace(
        record=record,
        witness=Witness(wav, file),
        cancelled=world.vendor.cancelled - cancelled,
        turns=world.model.turns_of(call["callId"]),
    )


async def failing_model(world: World) -> Any:
    """Have somebody ask what breaks the model."""
    async with world.control() as control:
        order = {"to": UNLUCKY, "message": OPENING, "mode": "conversation", "script": world.script("unlucky")}
        call = await control.place_call(order)
        async for item in control.feed(call_id=call["callId"]):
            heard = item["entry"]["event"] == "UtterancePlayed"
            if heard and any("wrong" in line["text"] for line in item["call"]["transcript"]):
                await control.end_call(call["callId"])
    record = await world.ended(call["callId"])
    async with world.control() as control:
        return SimpleNamespace(record=record, journal=await control.journal(call["callId"]))


async def kill_the_child(world: World) -> Any:
    """Kill Python while somebody is on the line, and watch what comes after."""
    before = world.service
    order = {"to": VICTIM, "message": OPENING, "mode": "conversation", "requesterSessionKey": MAIN}
    async with connect(world.openclaw.port) as line, world.control() as control:
        call = await control.place_call({**order, "script": world.script("listens")})
        async for item in control.feed(call_id=call["callId"]):
            if item["call"]["transcript"]:
                break
        phones = _children_of(before["pid"])
        said = len(world.openclaw.log)
        os.kill(before["pid"], 9)
        killed = time.monotonic()
        back = asyncio.create_task(_ready_again(world, said))
        sick = await _complaints(line, wanted=True)
        back_at = await back
        await _complaints(line, wanted=False)
    after = await world.until("wrote down the new service", lambda: _fresh(world, before["pid"]))
    record = await world.ended(call["callId"])
    report = await world.until("told the chat", lambda: world.model.find("Phone call to", call["callId"]))
    await world.until("ended the phones", lambda: not any(map(_runs, phones)))
    return SimpleNamespace(
        before=before,
        after=after,
        back=back_at - killed,
        sick=sick,
        record=record,
        report=report,
        phones=phones,
    )


async def stop(world: World) -> Any:
    """Stop the gateway as a supervisor does."""
    service = world.service
    children = [service["pid"], *_children_of(service["pid"])]
    begun = time.monotonic()
    code = await world.openclaw.stop()
    took = time.monotonic() - begun
    database = world.openclaw.state_dir / "voice-calls" / "calls.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
        check = store.execute("PRAGMA integrity_check").fetchone()[0]
        open_calls = store.execute("SELECT count(*) FROM calls WHERE ended_at IS NULL").fetchone()[0]
    store.close()
    return SimpleNamespace(
        code=code,
        took=took,
        left=[pid for pid in children if _runs(pid)],
        ports=[port for port in (world.openclaw.port, _port_of(service["url"])) if await _listens(port)],
        check=check,
        open_calls=open_calls,
        service_file=world.service_file.exists(),
    )


async def _ready_again(world: World, since: int) -> float:
    await world.openclaw.logged("voice-call: ready at", since=since)
    return time.monotonic()


async def _complaints(line: connect, *, wanted: bool, seconds: float = 20.0) -> list[str]:
    """What the gateway finds wrong with our plugin, as `openclaw health` shows it, once there is or is not anything."""
    async with asyncio.timeout(seconds):
        while True:
            health = await line.request("health", {"probe": True})
            errors = (health.get("plugins") or {}).get("errors") or []
            found = [str(error.get("error")) for error in errors if error.get("id") == "voice-call"]
            if bool(found) == wanted:
                return found


def _fresh(world: World, old: int) -> Any:
    with suppress(OSError, ValueError):
        service = world.service
        return service if service["pid"] != old else None
    return None


def _children_of(pid: int) -> list[int]:
    """Processes that this one started, by what the kernel says."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
