"""The real hermes-agent with our plugin: its command, its tool, its agent on the telephone, and its gateway."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from hermes_rig import KEY, MODEL, REPOSITORY, Hermes, kill_group

from openclaw_voicecall.testing.emulators.chat import ChatEmulator

pytestmark = [pytest.mark.inside, pytest.mark.timeout(300)]

SCRIPTS = Path(__file__).parents[1] / "e2e" / "scripts"
NUMBER = "+15550001234"
ABILITIES = " ".join(f"Number {n}, I can look something up and tell you about it." for n in range(1, 20))


def emulated(respond) -> ChatEmulator:
    return ChatEmulator(models=[MODEL], key=KEY, respond=respond, token_delay=0.03)


def tool(**arguments) -> dict:
    return {"content": "", "tool_calls": [{"name": "voice_call", "arguments": arguments}]}


def last(messages) -> str:
    return str(messages[-1]["content"])


async def calls(hermes: Hermes) -> list[dict]:
    return (await hermes.run("voicecall", "calls", "--json")).json()


async def test_a_command_holds_a_call_in_which_hermes_own_agent_talks_is_interrupted_and_hangs_up(tmp_path):
    def respond(messages, body):
        said = last(messages)
        if messages[-1]["role"] == "tool":
            return "Goodbye."
        if re.search(r"goodbye|thank", said, re.IGNORECASE):
            call_id = re.search(r'callId "([^"]+)"', str(messages[0]["content"]))[1]
            return tool(action="end_call", callId=call_id)
        return ABILITIES if "can you do" in said else "It is noon."

    async with emulated(respond) as model:
        hermes = Hermes(tmp_path, model.url, plugins=())
        enabled = await hermes.run("plugins", "enable", "voicecall", "--no-allow-tool-override")
        assert enabled.code == 0, enabled.err
        words = ["--script", str(SCRIPTS / "talks-with-an-agent.yaml"), "--record", str(tmp_path / "ours")]
        done = await hermes.run("voicecall", "call", "--to", NUMBER, "-m", "Hello.", "--json", *words)
        assert done.code == 0, done.err
        record = done.json()
        agent = [line for line in record["transcript"] if line["speaker"] == "agent"]
        assert [line["interrupted"] for line in agent] == [False, True, False, False]
        assert agent[1]["text"].startswith("Number 1, I can look")
        assert agent[2]["text"] == "It is noon."
        assert agent[3]["text"] == "Goodbye."
        assert record["endReason"] == "agent-hung-up"
        assert model.streams.cancelled == 1, "the interrupted run does not go on behind the caller's back"
        asked = [
            last(request.messages) for request in model.requests if request.messages[-1]["role"] == "user"
        ]
        assert asked[1].startswith('[You were interrupted. Of your last words they heard only: "Number 1')
        talk = [str(each["content"]) for each in model.requests[-1].messages]
        assert any("can you do" in said for said in talk), "the session keeps the talk"
        names = [each["function"]["name"] for each in model.requests[0].body["tools"]]
        assert "terminal" not in names, "somebody else than the owner is on the line"


async def test_a_chat_has_somebody_called_and_the_next_one_knows_what_they_said(tmp_path):
    def respond(messages, body):
        if messages[-1]["role"] == "tool":
            return "It rings."
        if "Please call" in last(messages):
            return tool(action="initiate_call", to=NUMBER, message="Are you coming?", mode="conversation")
        return "Good."

    async with emulated(respond) as model:
        hermes = Hermes(tmp_path, model.url, settings={"local": {"script": str(SCRIPTS / "asks-once.yaml")}})
        done = await hermes.run("chat", "-Q", "-q", "Please call Sam.")
        assert "It rings." in done.out, done.err
        placed = json.loads(last(model.requests[1].messages))
        assert placed["to"] == NUMBER
        assert placed["initiated"] is True
        (call,) = await calls(hermes)
        assert call["callId"] == placed["callId"]
        assert call["endReason"] == "caller-hung-up", "the process stays until the call is over"
        await hermes.run("chat", "-Q", "-q", "Is he coming?")
        told = last(model.requests[-1].messages)
        assert told.startswith("Is he coming?")
        assert f"Phone call to {NUMBER}" in told
        assert "What time is it" in told


async def test_the_gateway_opens_the_line_and_closes_it_and_others_use_its_service(tmp_path):
    async with emulated(lambda messages, body: "It is noon.") as model:
        hermes = Hermes(tmp_path, model.url)
        gateway = await hermes.start("gateway", "run")
        try:
            service = await service_of(hermes, gateway)
            assert service["pid"] == gateway.pid
            status = (await hermes.run("voicecall", "status", "--json")).json()
            assert status["service"]["pid"] == gateway.pid
            gateway.terminate()
            async with asyncio.timeout(40):
                await gateway.communicate()
            assert not (hermes.state_dir / "service.json").exists(), "it stopped in good order"
        finally:
            kill_group(gateway)


async def test_a_clone_of_the_repository_is_a_plugin_folder(tmp_path):
    async with emulated(lambda messages, body: "Yes.") as model:
        hermes = Hermes(tmp_path, model.url, installed=False, plugins=("openclaw-voicecall",))
        (hermes.hermes_home / "plugins").mkdir()
        (hermes.hermes_home / "plugins" / "voicecall").symlink_to(REPOSITORY)
        done = await hermes.run("voicecall", "call", "--help")
        assert done.out.startswith("Usage: hermes voicecall call"), done.err


OWNER_ON_THE_LINE = """
import asyncio, sys
from hermes_cli.plugins import discover_plugins
from openclaw_voicecall.api.responder import TurnRequest
from openclaw_voicecall.host.hermes.agent import HermesHost
from openclaw_voicecall.host.hermes.outcomes import Outcomes

async def talk(host):
    turn = TurnRequest(call_id="c", turn=1, text="Clean up.", session_key="k", owner=True, agent_tools=None)
    print("".join([event.text async for event in host.agent_turn(turn)]))

discover_plugins()
asyncio.run(talk(HermesHost(Outcomes(sys.argv[1]), lambda key, text: False)))
"""


async def test_on_the_telephone_nobody_approves_a_dangerous_command(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()

    def respond(messages, body):
        if messages[-1]["role"] == "tool":
            return "I may not."
        command = {"name": "terminal", "arguments": {"command": f"rm -rf {kept}"}}
        return {"content": "", "tool_calls": [command]}

    async with emulated(respond) as model:
        hermes = Hermes(tmp_path, model.url)
        done = await hermes.python_script(OWNER_ON_THE_LINE, str(tmp_path / "o"))
        assert done.out.strip().endswith("I may not."), done.err
        assert "BLOCKED" in last(model.requests[-1].messages)
        assert kept.exists()


async def service_of(hermes: Hermes, process: asyncio.subprocess.Process) -> dict:
    """What the service says of itself, once it does."""
    file = hermes.state_dir / "service.json"
    async with asyncio.timeout(60):
        while not file.exists():
            assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.05)
    return json.loads(file.read_text(encoding="utf-8"))
