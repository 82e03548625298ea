"""The service as OpenClaw's child: a real process, with this test at the other end of its line."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

MODULE = "openclaw_voicecall.host.openclaw"


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))  # sockets need a short path
    yield folder
    shutil.rmtree(folder)


class Child:
    def __init__(self, process):
        self.process = process

    async def line(self):
        return json.loads(await self.process.stdout.readline())

    async def ask(self, method, **params):
        self.process.stdin.write(
            json.dumps({"id": "j1", "method": method, "params": params}).encode() + b"\n"
        )
        return await self.line()

    async def end(self):
        self.process.stdin.close()
        return await self.process.wait()


@asynccontextmanager
async def child(state, **settings):
    config = {"provider": "local", "streaming": {"providers": {"local": {"preload": False}}}, **settings}
    env = {
        **os.environ,
        "OPENCLAW_STATE_DIR": str(state),
        "OPENCLAW_VOICECALL_CONFIG": json.dumps({"serve": {"port": 0}, **config}),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE),
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_is_ready_answers_and_ends_with_its_host(home):
    async with child(home) as ours:
        ready = await ours.line()
        assert (ready["event"], ready["pid"]) == ("ready", ours.process.pid)
        assert ready["stateDir"] == str(home / "voice-calls")
        assert (await ours.ask("voicecall.status"))["result"] == {"calls": []}
        refused = (await ours.ask("voicecall.speak", callId="none", message="Hello"))["error"]
        assert refused["code"] == "NOT_FOUND"
        assert await ours.end() == 0
        assert not (home / "voice-calls" / "service.json").exists()


async def test_a_second_service_on_the_same_state_directory_names_the_first(home):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(child(home))
        await first.line()
        second = await stack.enter_async_context(child(home))
        said = await second.line()
        assert said["event"] == "failed"
        assert str(first.process.pid) in said["message"]
        assert await second.process.wait() != 0
        assert (await first.ask("voicecall.status"))["result"] == {"calls": []}


async def test_a_second_service_on_the_same_port_names_the_first(home):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(child(home / "a"))
        port = int((await first.line())["url"].rpartition(":")[2])
        second = await stack.enter_async_context(child(home / "b", serve={"port": port}))
        said = await second.line()
        assert said["event"] == "failed"
        for part in ("serve.port", str(port), str(first.process.pid)):
            assert part in said["message"]


async def test_a_wrong_setting_is_named(home):
    async with child(home, maxConcurrentCalls="many") as ours:
        said = await ours.line()
        assert said["event"] == "failed"
        assert "maxConcurrentCalls" in said["message"]
        assert await ours.process.wait() != 0


async def test_whoever_starts_it_by_hand_is_told_what_it_is_for(home):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE),
        env={**os.environ, "OPENCLAW_STATE_DIR": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 64
    assert said.decode().count("\n") == 1, said.decode()
    assert "openclaw-voicecall serve" in said.decode()
