"""Several processes of a host, and one service: who opens it first owns it, and the next one takes over."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from openclaw_voicecall.errors import CallNotFound, HostError, VoiceCallError
from openclaw_voicecall.host.hermes.line import PhoneLine
from openclaw_voicecall.host.sharing import SharedService
from openclaw_voicecall.host.turns import Turns

pytestmark = pytest.mark.server


class Host:
    name = "nobody"


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    # Engines that cost nothing to open: nobody talks here.
    given = {
        "provider": "local", "serve": {"port": 0}, "control": {}, "responseModel": "frontdesk",
        "turnDetection": {"provider": "energy"},
    }  # fmt: skip
    monkeypatch.setenv("OPENCLAW_VOICECALL_CONFIG", json.dumps(given))
    monkeypatch.setenv("OPENCLAW_VOICECALL_STATE_DIR", str(tmp_path / "s"))
    return given


def status(operations):
    return operations.method("status", {})


@asynccontextmanager
async def processes(prewarm=lambda: None):
    first, second = (SharedService(Host(), Turns(), prewarm=prewarm) for _ in range(2))
    try:
        async with asyncio.timeout(30):
            yield first, second
    finally:
        await second.close()
        await first.close()


async def test_the_first_owns_the_service_and_the_next_uses_it_and_takes_over_once_it_is_gone():
    warmed = []
    async with processes(lambda: warmed.append(1)) as (first, second):
        assert await first.ask(status) == {"calls": []}
        assert await second.ask(status) == {"calls": []}
        assert first.owned is not None
        assert second.owned is None
        assert len(warmed) == 1, "the agent of who only uses it answers nobody"
        await first.close()
        assert await second.ask(status) == {"calls": []}
        assert second.owned is not None


async def test_a_service_that_just_opens_is_closed_too():
    async with processes() as (first, _):
        opening = asyncio.create_task(first.open())
        await asyncio.sleep(0)
        await first.close()
        await opening
        assert first.owned is None


async def test_a_service_that_cannot_be_opened_says_why_and_is_tried_again(settings, monkeypatch):
    async with processes() as (first, _):
        monkeypatch.setenv("OPENCLAW_VOICECALL_CONFIG", json.dumps({**settings, "provider": "tincan"}))
        with pytest.raises(VoiceCallError, match="tincan"):
            await first.ask(status)
        monkeypatch.setenv("OPENCLAW_VOICECALL_CONFIG", json.dumps(settings))
        assert await first.ask(status) == {"calls": []}


class Fake:
    """Plays a service whose tool fails, answers, or hangs."""

    owned = None

    def __init__(self):
        self.closed = 0

    async def ask(self, work):
        return await work(self)

    async def tool(self, params):
        match params["action"]:
            case "end_call":
                raise CallNotFound("there is none")
            case "continue_call":
                await asyncio.Event().wait()
        return {"found": False}

    async def close(self):
        self.closed += 1


def test_a_line_serves_any_thread_and_stops_once():
    service = Fake()
    line = PhoneLine(lambda: service)
    line.stop()
    with pytest.raises(CallNotFound):
        line.tool({"action": "end_call"})
    assert line.tool({"action": "get_status"}) == {"found": False}
    assert line.live_calls == 0
    line.stop()
    line.stop()
    assert service.closed == 1


def test_a_result_that_nobody_waits_for_any_more_is_given_up():
    line = PhoneLine(Fake)
    with pytest.raises(HostError, match="get_status"):
        line.tool({"action": "continue_call"}, given_up=lambda: True)
    line.stop()
