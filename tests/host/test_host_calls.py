"""Whole calls of a service that lives in a host: its agent answers where it is named, and its chat learns the end."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
from line_calls import ring, with_client
from whole_calls import place

from openclaw_voicecall.testing.emulators.openclaw_gateway import TOKEN, OpenClawGatewayEmulator
from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

HOST = '''
import asyncio
import json
import os
from pathlib import Path

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.responder import TextDelta
from openclaw_voicecall.errors import HostError

TOLD = Path(os.environ["HOST_TOLD"])
AWAY = TOLD.with_name("away")


def tell(**what):
    with TOLD.open("a") as file:
        file.write(json.dumps(what) + "\\n")


class Host:
    """Its agent knows the time; what it is told goes into a file."""

    name = "openclaw"

    async def agent_turn(self, request):
        tell(turn=request.text, agent=request.agent_id, session=request.session_key, model=request.model,
             owner=request.owner, tools=request.agent_tools)
        yield TextDelta("Let me look at the clock.")
        await asyncio.sleep(3.0)
        yield TextDelta(" It is noon.")

    async def deliver(self, session_key, record):
        if AWAY.exists():
            tell(away=record.call_id)
            raise HostError("the gateway is gone")
        tell(end=record.call_id, session=session_key, reason=record.end_reason, metadata=record.metadata)

    async def note(self, session_key, record, since):
        tell(note=record.call_id, lines=len(record.transcript) - since)


@hookimpl
def voicecall_provide_host():
    return Host()
'''
SCRIPT = """\
name: asks
steps:
  - wait: agent
    pause: 0.4
  - say: "What time is it, please?"
  - wait: agent
    pause: 5
  - hang_up
"""
DESK, HOUSE = "+15550100001", "+15550100002"
OWNER, FRIEND, STRANGER = "+15550009999", "+15550008888", "+15550007777"


class Told:
    def __init__(self, file: Path) -> None:
        self.file = file

    def all(self, kind: str) -> list[dict]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [line for line in map(json.loads, lines) if kind in line]

    async def until(self, kind: str, count: int) -> list[dict]:
        async with asyncio.timeout(20):
            while len(self.all(kind)) < count:
                await asyncio.sleep(0.05)
        return self.all(kind)


@pytest.fixture
def hosted(tmp_path):
    (tmp_path / "fake_host.py").write_text(HOST)
    (tmp_path / "asks.yaml").write_text(SCRIPT)
    told = Told(tmp_path / "told.jsonl")
    config = {
        "plugins": {"modules": ["fake_host"]},
        "inboundPolicy": "allowlist",
        "allowFrom": [OWNER, FRIEND],
        "toNumber": OWNER,
        "inboundGreeting": "Hello.",
        "maxConcurrentCalls": 3,
        "reports": {"live": True},
        "numbers": {DESK: {"responseModel": "openclaw/desk@some/model"}, HOUSE: {"agentId": "house"}},
    }
    env = {"PYTHONPATH": str(tmp_path), "HOST_TOLD": str(told.file)}
    with RunningService(tmp_path / "s", port=0, config=config, env=env) as service:
        yield service, told, tmp_path


def test_the_agent_that_is_named_answers_by_the_callers_trust_and_its_chat_learns_the_end(hosted):
    service, told, folder = hosted

    async def ring_all(client):
        async def one(name, *options):
            return await ring(service, client, folder, name, *options, "--script", str(folder / "asks.yaml"))

        return await asyncio.gather(
            one("owner", "--from", OWNER, "--to", DESK),
            one("friend", "--from", FRIEND, "--to", HOUSE),
            one("stranger", "--from", STRANGER),
        )

    owner, friend, stranger = with_client(service, ring_all)
    for call in (owner, friend):
        assert "Let me look at the clock. It is noon." in call.words("agent")
    turns = {turn["agent"]: turn for turn in told.all("turn")}
    assert turns["desk"]["session"] == f"agent:desk:voice:{OWNER}"
    assert turns["desk"]["model"] == "some/model"
    assert (turns["desk"]["owner"], turns["desk"]["tools"]) == (True, None)
    assert turns["house"]["session"] == f"agent:house:voice:{FRIEND}"
    assert turns["house"]["owner"] is False
    assert "voice_call" in turns["house"]["tools"]
    ends = {end["end"]: end for end in with_client(service, lambda client: told.until("end", 3))}
    assert len(told.all("end")) == 3
    assert ends[stranger.record["callId"]]["reason"] == "rejected"
    transcript = Path(ends[owner.record["callId"]]["metadata"]["transcriptPath"]).read_text()
    assert "agent: Let me look at the clock." in transcript
    assert {note["note"] for note in told.all("note")} == {owner.record["callId"], friend.record["callId"]}


def test_what_a_host_that_is_away_was_not_told_it_is_told_once_when_it_is_back(hosted):
    service, told, folder = hosted
    (folder / "away").touch()

    async def refuse(client):
        await ring(service, client, folder, "stranger", "--from", STRANGER)
        return await told.until("away", 1)

    (away,) = with_client(service, refuse)
    service.kill()
    (folder / "away").unlink()
    service.restart()
    (end,) = with_client(service, lambda client: told.until("end", 1))
    assert (end["end"], end["reason"]) == (away["away"], "rejected")
    service.stop()
    service.start()
    with_client(service, lambda client: client.list_calls())
    assert len(told.all("end")) == 1


def test_outside_of_openclaw_its_agent_answers_over_http(tmp_path):
    (tmp_path / "asks.yaml").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = tmp_path / "openclaw"
    state.mkdir()
    gateway = {"port": port, "auth": {"mode": "token", "token": TOKEN}}
    (state / "openclaw.json").write_text(json.dumps({"gateway": gateway}))
    config = {"responseModel": "openclaw/desk", "toNumber": OWNER}
    env = {"OPENCLAW_STATE_DIR": str(state)}

    async def call(client):
        async with OpenClawGatewayEmulator(
            port=port, agents=["main", "desk"], replies=["It is noon."]
        ) as there:
            held = await place(client, tmp_path, "call", tmp_path / "asks.yaml", to=OWNER, message="Hello.")
            return held, there.turns, there.refusals

    with RunningService(tmp_path / "s", port=0, config=config, env=env) as service:
        held, turns, refusals = with_client(service, call)
    assert "It is noon." in held.words_of("agent")
    assert [turn.session for turn in turns] == [f"agent:desk:voice:{OWNER}"]
    assert "Hello." in turns[0].text, "it knows how the call was opened"
    assert refusals == []
