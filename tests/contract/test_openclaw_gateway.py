"""OpenClaw's agent over the gateway's HTTP endpoint, against a strict stand-in for the gateway."""

import asyncio
import json
import socket
from contextlib import aclosing, asynccontextmanager

import aiohttp
import pytest

from openclaw_voicecall.api.responder import EndCall, Line, TextDelta, TurnRequest
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import openclaw
from openclaw_voicecall.providers.openclaw.config import OpenClawConfig
from openclaw_voicecall.providers.openclaw.gateway import PORT, find_gateway
from openclaw_voicecall.providers.openclaw.hangup import UntilHangUp
from openclaw_voicecall.testing.emulators.openclaw_gateway import TOKEN, OpenClawGatewayEmulator

pytestmark = pytest.mark.contract

CALLER = "+15550001111"
TURN = TurnRequest(
    call_id="c1",
    turn=1,
    text="When are you open?",
    direction="inbound",
    from_number=CALLER,
    session_key=f"agent:main:voice:{CALLER}",
    agent_tools=None,
)
FOUND = []
openclaw.voicecall_register_responders(FOUND.append)
(SPEC,) = FOUND


@asynccontextmanager
async def agent(url, wanted="", **settings):
    given = {"base_url": url, "api_key": TOKEN, **settings}
    async with SPEC.open(OpenClawConfig(**given), None, wanted) as responder:
        yield responder


@asynccontextmanager
async def line(wanted="", *, settings=None, **emulated):
    """A gateway, and its agent as responder."""
    async with (
        asyncio.timeout(20),
        OpenClawGatewayEmulator(**emulated) as gateway,
        agent(gateway.url, wanted, **(settings or {})) as responder,
    ):
        yield gateway, responder


async def turn(responder, request=TURN):
    """The text and the other events of a turn."""
    async with aclosing(responder.respond(request)) as stream:
        events = [event async for event in stream]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, [event for event in events if not isinstance(event, TextDelta)]


def later(text="And on Sunday?", **fields):
    given = {"call_id": "c1", "turn": 2, "session_key": TURN.session_key, "agent_tools": None}
    return TurnRequest(text=text, **{**given, **fields})


async def test_what_the_agent_writes_is_told_word_by_word():
    async with line(replies=["We open at nine."]) as (gateway, responder):
        async with aclosing(responder.respond(TURN)) as stream:
            words = [event.text async for event in stream]
        assert words == ["We", " open", " at", " nine", "."]
        assert gateway.refusals == []


async def test_a_turn_carries_what_was_said_last_its_session_and_how_to_speak():
    history = (Line("caller", "Hello."), Line("agent", "Hi there."))
    async with line() as (gateway, responder):
        await turn(responder, later(history=history, objective="Sell nothing."))
        (taken,) = gateway.turns
    assert taken.text == '[Before this they heard you say: "Hi there."]\nAnd on Sunday?'
    assert taken.session == f"agent:main:voice:{CALLER}"
    assert "read aloud" in taken.system
    assert "Sell nothing." in taken.system


@pytest.mark.parametrize(
    ("wanted", "agent_id", "answers", "session"),
    [
        ("", "", "work", f"agent:work:voice:{CALLER}"),
        ("default", "", "work", f"agent:work:voice:{CALLER}"),
        ("main", "", "main", f"agent:main:voice:{CALLER}"),
        ("", "main", "main", f"agent:main:voice:{CALLER}"),
        ("desk", "main", "desk", f"agent:desk:voice:{CALLER}"),
    ],
)
async def test_the_agent_that_is_meant_answers_with_its_own_memory(wanted, agent_id, answers, session):
    async with line(wanted, agents=["work", "main", "desk"]) as (gateway, responder):
        await turn(responder, later(agent_id=agent_id))
        (taken,) = gateway.turns
    assert (taken.agent, taken.session) == (answers, session)


async def test_another_model_is_asked_for_on_calls_only():
    async with line("main@openai/gpt-5-mini", models=["openai/gpt-5-mini"]) as (gateway, responder):
        await turn(responder)
        assert gateway.turns[0].model == "openai/gpt-5-mini"


async def test_a_turn_that_is_given_up_ends_the_agents_run():
    async with line(replies=["One two three four five six."]) as (gateway, responder):
        gateway.fail_next("hang-mid-stream")
        async with aclosing(responder.respond(TURN)) as stream:
            assert (await anext(stream)).text == "One"
        await gateway.until(lambda: gateway.cancelled == 1)


async def test_the_next_turn_is_told_what_was_heard_of_the_last_one():
    async with line(replies=["One two three four.", "Yes."]) as (gateway, responder):
        gateway.fail_next("hang-mid-stream")
        async with aclosing(responder.respond(TURN)) as stream:
            await anext(stream)
        history = (Line("caller", "When?"), Line("agent", "One", interrupted=True))
        await turn(responder, later(history=history))
        assert gateway.turns[1].text.startswith(
            '[You were interrupted. Of your last words they heard only: "One"]'
        )


async def test_the_agent_hangs_up_by_writing_so_which_nobody_hears():
    async with line(replies=["Goodbye, take care. [hang up]", "[Hang up]"]) as (_, responder):
        assert await turn(responder) == ("Goodbye, take care. ", [EndCall()])
        assert await turn(responder) == ("", [EndCall()])


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("written", "said", "ends"),
    [
        ("Bye. [hang up]", "Bye. ", True),
        ("Bye. [hang-up] ", "Bye.  ", True),
        ("Take [a seat] or [hang", "Take [a seat] or [hang", False),
        ("See [[hang up]", "See [", True),
        ("Press [9].", "Press [9].", False),
    ],
)
def test_only_the_mark_is_taken_out_of_what_is_said(size, written, said, ends):
    words = UntilHangUp()
    pieces = [words.push(written[at : at + size]) for at in range(0, len(written), size)]
    assert ("".join(pieces) + words.finish(), words.hang_up) == (said, ends)


async def test_somebody_whose_tools_are_limited_is_not_handed_to_an_agent_that_has_them_all():
    async with line() as (gateway, responder):
        for tools in ((), ("web_search",)):
            with pytest.raises(
                VendorRejected, match=r"openclaw-voicecall openclaw install.*owners.*agentTools"
            ):
                await turn(responder, later(agent_tools=tools))
        assert gateway.turns == []


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (
            "401",
            VendorAuthError,
            "refuses the token: set responders.openclaw.apiKey or OPENCLAW_GATEWAY_TOKEN",
        ),
        ("disabled", VendorRejected, "gateway.http.endpoints.chatCompletions.enabled true"),
        ("html", VendorRejected, "gateway.http.endpoints.chatCompletions.enabled true"),
        ("429", VendorRateLimited, "Too many failed authentication attempts"),
        ("500", VendorUnavailable, "answers 500"),
        ("run-fails", VendorUnavailable, "the agent's run in OpenClaw failed: upstream provider error"),
        ("fails-mid-stream", VendorUnavailable, "the agent's run in OpenClaw failed: internal error"),
        ("empty", VendorError, "OpenClaw's agent gave no words"),
        ("cut", VendorUnavailable, "broke off"),
        ("truncated", VendorUnavailable, "broke off"),
        ("rubbish", VendorUnavailable, "something else than events"),
    ],
)
async def test_a_gateway_that_fails_is_named_with_what_to_do(fault, error, words):
    async with line(replies=["We open at nine."] * 2) as (gateway, responder):
        gateway.fail_next(fault)
        with pytest.raises(error) as raised:
            await turn(responder)
        assert words in str(raised.value)
        assert raised.value.vendor == "openclaw"
        assert TOKEN not in str(raised.value)
        assert (await turn(responder))[0] == "We open at nine."


@pytest.mark.parametrize("fault", ["hang", "silent-run", "hang-mid-stream"])
async def test_a_gateway_that_hangs_is_given_up(fault):
    async with line(settings={"read_timeout_ms": 100}) as (gateway, responder):
        gateway.fail_next(fault)
        with pytest.raises(VendorTimeout, match="openclaw gateway status"):
            await turn(responder)


async def test_a_gateway_that_is_down_is_named_with_how_to_start_it():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with agent(url) as responder:
            with pytest.raises(VendorUnavailable, match="openclaw gateway run"):
                await turn(responder)
            with pytest.raises(VendorUnavailable, match="openclaw gateway run"):
                await check(url)


async def test_an_agent_that_is_not_there_is_named():
    async with line("nobody") as (_, responder):
        with pytest.raises(VendorRejected, match=r"Unknown agent 'nobody'\. `openclaw agents list`"):
            await turn(responder)


async def check(url, wanted="", **settings):
    given = {"base_url": url, "api_key": TOKEN, **settings}
    return await SPEC.check(OpenClawConfig(**given), None, wanted)


async def test_a_check_tells_which_agent_answers():
    async with OpenClawGatewayEmulator(agents=["main", "work"]) as gateway:
        assert "its agent work answers" in await check(gateway.url, "work@openai/gpt-5")
        assert "its agent default answers" in await check(gateway.url)
        with pytest.raises(VendorRejected, match=r"no agent 'nobody', only: main, work"):
            await check(gateway.url, "nobody")
        assert gateway.turns == [], "no agent was troubled"


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", VendorAuthError, "refuses the token"),
        ("disabled", VendorRejected, "chatCompletions.enabled"),
        ("html", VendorRejected, "chatCompletions.enabled"),
        ("500", VendorUnavailable, "answers 500"),
    ],
)
async def test_a_check_names_what_is_wrong(fault, error, words):
    async with OpenClawGatewayEmulator() as gateway:
        gateway.fail_next(fault)
        with pytest.raises(error, match=words):
            await check(gateway.url)


async def test_a_check_inside_openclaw_asks_for_no_endpoint_that_nobody_needs(monkeypatch):
    monkeypatch.setenv("OPENCLAW_VOICECALL_GATEWAY", "{}")
    async with OpenClawGatewayEmulator() as gateway:
        gateway.fail_next("disabled")
        assert "plugin hands turns to its agent" in await check(gateway.url)


def wrote(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "openclaw.json").write_text(text, encoding="utf-8")
    return {"OPENCLAW_STATE_DIR": str(folder)}


def gateway_json(**gateway):
    return json.dumps({"gateway": gateway})


@pytest.mark.parametrize(
    ("text", "env", "port", "key"),
    [
        (gateway_json(port=18899, auth={"mode": "token", "token": "t1"}), {}, 18899, "t1"),
        (gateway_json(auth={"token": "t1"}), {"OPENCLAW_GATEWAY_PORT": "19001"}, 19001, "t1"),
        (gateway_json(auth={"mode": "password", "password": "p1", "token": "t1"}), {}, PORT, "p1"),
        (gateway_json(auth={"token": "${MINE}"}), {"MINE": "t2"}, PORT, "t2"),
        (gateway_json(auth={"token": {"source": "env", "id": "MINE"}}), {"MINE": "t2"}, PORT, "t2"),
        (gateway_json(), {"OPENCLAW_GATEWAY_TOKEN": "t3"}, PORT, "t3"),
        (gateway_json(), {"OPENCLAW_GATEWAY_PASSWORD": "p3"}, PORT, "p3"),
        ("{gateway: {port: 18898, // mine\n auth: {token: 't4'},},}", {}, 18898, "t4"),
        ("{broken", {}, PORT, ""),
        ('{"gateway": {"port": "many", "auth": 7}}', {}, PORT, ""),
        ("[" * 100_000, {}, PORT, ""),
    ],
)
def test_port_and_token_are_found_where_openclaw_keeps_them(tmp_path, text, env, port, key):
    found = find_gateway(OpenClawConfig(), {**wrote(tmp_path / "state", text), **env})
    assert (found.url, found.key) == (f"http://127.0.0.1:{port}", key)
    assert not key or key not in repr(found)


def test_our_own_settings_come_first_and_no_token_goes_to_another_gateway(tmp_path):
    env = wrote(tmp_path / "state", gateway_json(port=18899, auth={"token": "t1"}))
    given = OpenClawConfig(base_url="https://claw.example.ts.net/v1", api_key="mine")
    found = find_gateway(given, env)
    assert (found.url, found.key) == ("https://claw.example.ts.net", "mine")
    assert find_gateway(OpenClawConfig(base_url="https://claw.example.ts.net"), env).key == ""


def test_what_the_plugin_tells_its_commands_comes_before_the_file(tmp_path):
    env = wrote(tmp_path / "state", gateway_json(port=18899, auth={"token": "t1"}))
    told = json.dumps({"port": 18001, "auth": {"mode": "token", "token": "t9"}})
    found = find_gateway(OpenClawConfig(), {**env, "OPENCLAW_VOICECALL_GATEWAY": told})
    assert (found.url, found.key) == ("http://127.0.0.1:18001", "t9")


def test_a_token_is_not_sent_in_clear_text_to_another_machine():
    with pytest.raises(ConfigError, match="clear text"):
        find_gateway(OpenClawConfig(base_url="http://claw.example.com"), {})


GOOD = {"model": "openclaw", "stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
KEY = {"x-openclaw-session-key": "voice:1"}


@pytest.mark.parametrize(
    ("change", "headers", "status", "words"),
    [
        ({}, {**KEY, "Authorization": "Bearer wrong"}, 401, "Unauthorized"),
        ({"model": "openclaw/nobody"}, KEY, 400, "Unknown agent 'nobody'."),
        ({"model": "gpt-5"}, KEY, 400, "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."),
        ({"model": None}, KEY, 400, "model"),
        ({"messages": "Hello?"}, KEY, 400, "messages: Invalid input: expected array, received string"),
        ({"messages": []}, KEY, 400, "Missing user message in `messages`."),
        ({"messages": GOOD["messages"] * 2}, KEY, 400, "last user message only"),
        ({"stream": False}, KEY, 400, "stream"),
        ({}, {}, 400, "x-openclaw-session-key"),
        *(
            ({}, {"x-openclaw-session-key": key}, 400, "cannot use reserved internal session namespaces")
            for key in ("subagent:x", "cron:x", "acp:x", "agent:main:subagent:x", "agent:main:cron:x")
        ),
    ],
)
async def test_the_gateway_refuses_a_client_that_does_it_wrong(change, headers, status, words):
    async with OpenClawGatewayEmulator() as gateway, aiohttp.ClientSession() as session:
        sent = {"Authorization": f"Bearer {TOKEN}", **headers}
        url = f"{gateway.url}/v1/chat/completions"
        async with session.post(url, json={**GOOD, **change}, headers=sent) as response:
            assert response.status == status
            assert words in (await response.json())["error"]["message"]
        assert len(gateway.refusals) == 1
        assert gateway.turns == []


async def test_the_gateway_takes_a_client_that_does_it_right():
    async with OpenClawGatewayEmulator() as gateway, aiohttp.ClientSession() as session:
        sent = {"Authorization": f"Bearer {TOKEN}", **KEY}
        async with session.post(f"{gateway.url}/v1/chat/completions", json=GOOD, headers=sent) as response:
            assert response.status == 200
            assert (await response.text()).endswith("data: [DONE]\n\n")
        assert gateway.refusals == []
        assert gateway.turns[0].session == "agent:main:voice:1"


async def test_a_session_of_an_agent_that_is_not_there_fails_under_status_200():
    async with line("main") as (_, responder):
        request = later(session_key="agent:gone:voice:1")
        responder._wanted = ""
        with pytest.raises(VendorUnavailable, match="Agent gone is not present in the configured roster"):
            await turn(responder, request)
