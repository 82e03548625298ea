"""Hermes' agent as who talks, and what waits to be told, without hermes: above all what goes wrong."""

import argparse
import asyncio
import json
import sys
import threading
import types
from contextlib import aclosing

import pytest

from openclaw_voicecall.api.responder import EndCall, Line, TextDelta, TurnRequest
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.errors import ConfigError, VendorError
from openclaw_voicecall.host.hermes import conversation as conversations
from openclaw_voicecall.host.hermes import register
from openclaw_voicecall.host.hermes.agent import HermesHost
from openclaw_voicecall.host.hermes.outcomes import KEPT, Outcomes
from openclaw_voicecall.host.hermes.plugin import Plugin

pytestmark = pytest.mark.server


class Agent:
    """Plays hermes' agent: says the words it was given, one piece after the other, and waits where one is None."""

    def __init__(self, *pieces, result=None):
        self.pieces = pieces
        self.result = result or {}
        self.asked = []
        self.interrupted = threading.Event()
        self.stubborn = False
        self.ephemeral_system_prompt = None
        self.session_id = "s"

    def run_conversation(self, user_message, *, conversation_history, stream_callback):
        self.asked.append((user_message, list(conversation_history), self.ephemeral_system_prompt))
        for piece in self.pieces:
            if piece is None:
                self.interrupted.wait(10)
                break
            stream_callback(piece)
        if isinstance(self.result, Exception):
            raise self.result
        answer = "".join(filter(None, self.pieces))
        talk = [*conversation_history, {"role": "user", "content": user_message}]
        return {"final_response": answer, "messages": talk, **self.result}

    def interrupt(self, message=None):
        if not self.stubborn:
            self.interrupted.set()


def host_of(tmp_path, agent, *, inject=lambda key, text: False):
    def build(session_id, request):
        if isinstance(agent, Exception):
            raise agent
        return agent, []

    return HermesHost(Outcomes(tmp_path / "outcomes"), inject, build=build)


def turn(text="What time is it?", **fields):
    return TurnRequest(text=text, **{"call_id": "c1", "turn": 1, "session_key": "voice:1", **fields})


async def said(host, request):
    async with asyncio.timeout(10), aclosing(host.agent_turn(request)) as events:
        return [event async for event in events]


async def test_words_are_passed_on_as_they_come_and_the_talk_is_kept(tmp_path):
    agent = Agent("It is ", "noon.")
    host = host_of(tmp_path, agent)
    assert await said(host, turn()) == [TextDelta("It is "), TextDelta("noon.")]
    await said(host, turn("Thanks.", turn=2, history=(Line("agent", "It is noon."),)))
    (first, before, style), (second, after, _) = agent.asked
    assert (first, before) == ("What time is it?", [])
    assert "telephone" in style
    assert not agent.interrupted.is_set(), "the next turn would be over at once"
    assert (second, [each["content"] for each in after]) == ("Thanks.", ["What time is it?"])


async def test_an_answer_that_was_not_streamed_is_said_whole(tmp_path):
    assert await said(host_of(tmp_path, Agent(result={"final_response": "Noon."})), turn()) == [
        TextDelta("Noon.")
    ]


async def test_whoever_interrupts_stops_the_agent_and_it_is_told_what_was_heard(tmp_path):
    agent = Agent("It is noon, ", None)
    host = host_of(tmp_path, agent)
    async with asyncio.timeout(10):
        events = host.agent_turn(turn())
        assert await anext(events) == TextDelta("It is noon, ")
        await events.aclose()
    assert agent.interrupted.is_set()
    agent.pieces = ("Yes.",)
    await said(host, turn("Really?", turn=2, history=(Line("agent", "It is", interrupted=True),)))
    assert agent.asked[1][0] == '[You were interrupted. Of your last words they heard only: "It is"]\nReally?'


async def test_a_run_that_does_not_end_costs_its_caller_an_apology_and_not_the_line(tmp_path, monkeypatch):
    monkeypatch.setattr(conversations, "INTERRUPT_LIMIT", 0.1)
    agent = Agent("Hm, ", None)
    agent.stubborn = True
    host = host_of(tmp_path, agent)
    async with asyncio.timeout(10):
        events = host.agent_turn(turn())
        await anext(events)
        await events.aclose()
    with pytest.raises(VendorError, match="last run does not end"):
        await said(host, turn("Hello?"))
    agent.interrupted.set()


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (RuntimeError("no provider is configured"), "no provider is configured"),
        (Agent(result=ValueError("bad reply")), "bad reply"),
        (Agent(result={"failed": True, "error": "HTTP 401:\n wrong key"}), "run failed: HTTP 401: wrong key"),
        (Agent(result={"failed": True, "final_response": "API call failed"}), "run failed: API call failed"),
        (Agent("Well, ", result={"failed": True, "error": "cut off"}), "run failed: cut off"),
    ],
)
async def test_an_agent_that_fails_says_why(tmp_path, agent, words):
    with pytest.raises(VendorError, match=words):
        await said(host_of(tmp_path, agent), turn())


async def test_the_agent_hangs_up_in_its_turn_once_the_turn_was_heard(tmp_path):
    host = host_of(tmp_path, Agent("Goodbye."))
    assert not host.turns.end_after_turn("c1"), "it is in no turn"
    async with aclosing(host.agent_turn(turn())) as events:
        await anext(events)
        assert host.turns.end_after_turn("c1")
        assert [event async for event in events] == [EndCall()]


async def test_somebody_else_on_the_same_number_gets_another_agent(tmp_path):
    built = []

    def build(session_id, request):
        built.append((session_id, request.owner, request.agent_tools))
        return Agent("Yes."), []

    host = HermesHost(Outcomes(tmp_path), lambda key, text: False, build=build)
    for owner, tools in ((False, ("voice_call",)), (False, ("voice_call",)), (True, None)):
        await said(host, turn(owner=owner, agent_tools=tools))
    assert [owner for _, owner, _ in built] == [False, True]
    assert host.conversations.key_of(built[0][0]) == "voice:1"


def ended(**metadata):
    return CallRecord(
        call_id="c1", carrier="local", direction="outbound", from_number="", to_number="+15550001111",
        mode="notify", state="completed", created_at=1.0, end_reason="completed", metadata=metadata,
    )  # fmt: skip


async def test_the_session_that_asked_is_told_once_also_by_another_process(tmp_path):
    host, other = host_of(tmp_path, Agent()), host_of(tmp_path, Agent())
    await host.deliver("voice:1", ended(requesterSessionKey="telegram:7"))
    assert other.take_outcomes("cli:1", begins=True) == []
    (told,) = other.take_outcomes("telegram:7", begins=False)
    assert told.startswith("Phone call to +15550001111 ended normally")
    assert host.take_outcomes("telegram:7", begins=False) == []


async def test_the_terminal_is_told_of_calls_nobody_asked_for_and_of_chats_that_ended(tmp_path):
    host = host_of(tmp_path, Agent())
    await host.deliver("voice:1", ended())
    assert host.take_outcomes("telegram:7", begins=True) == []
    assert len(host.take_outcomes("cli:2", begins=False)) == 1
    await host.deliver("voice:1", ended(requesterSessionKey="cli:1"))
    assert host.take_outcomes("cli:2", begins=False) == []
    assert len(host.take_outcomes("cli:3", begins=True)) == 1


async def test_an_idle_chat_on_the_screen_is_told_at_once(tmp_path):
    shown = []
    host = host_of(tmp_path, Agent(), inject=lambda key, text: bool(shown.append((key, text)) or True))
    await host.deliver("voice:1", ended(requesterSessionKey="cli:1"))
    assert shown[0][0] == "cli:1"
    assert host.take_outcomes("cli:1", begins=True) == []


def test_outcomes_have_an_end_and_rubbish_among_them_does_no_harm(tmp_path):
    outcomes = Outcomes(tmp_path / "o")
    for number in range(KEPT + 5):
        outcomes.keep("cli:", f"call {number}", f"outcome {number}")
    (tmp_path / "o" / "rubbish.json").write_text("{")
    assert len(outcomes.take(lambda key: key == "cli:")) == KEPT
    assert (tmp_path / "o").stat().st_mode & 0o077 == 0


class Context:
    """Plays hermes: keeps what a plugin registers."""

    def __init__(self):
        self.given = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.given.setdefault(name, []).append((args, kwargs))


def test_registering_starts_nothing_and_imports_no_service():
    before = threading.active_count()
    context = Context()
    register(context)
    assert threading.active_count() == before
    assert sorted(context.given) == [
        "register_cli_command", "register_hook", "register_platform", "register_skill", "register_tool",
    ]  # fmt: skip
    assert context.given["register_tool"][0][1]["schema"]["name"] == "voice_call"


def test_every_word_of_the_command_is_ours():
    context = Context()
    register(context)
    (args, kwargs) = context.given["register_cli_command"][0]
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers().add_parser(args[0])
    kwargs["setup_fn"](sub)
    given = parser.parse_args(["voicecall", "--json", "call", "--help", "--to", "-m"])
    assert given.words == ["--json", "call", "--help", "--to", "-m"]
    assert given.func == kwargs["handler_fn"]


def test_a_tool_that_fails_tells_the_model_what_to_do(monkeypatch, tmp_path):
    interrupt = types.ModuleType("tools.interrupt")
    interrupt.is_interrupted = lambda: False
    monkeypatch.setitem(sys.modules, "tools", types.ModuleType("tools"))
    monkeypatch.setitem(sys.modules, "tools.interrupt", interrupt)
    asked = []

    class Closed:
        def tool(self, params, *, given_up):
            asked.append(params)
            raise ConfigError("to: expected whom to call")

    plugin = Plugin(Context())
    plugin._line, plugin.host = Closed(), host_of(tmp_path, Agent())
    plugin.before_turn(session_id="7", platform="telegram")
    answer = plugin.call_tool(
        {"action": "initiate_call", "to": "", "mode": None}, session_id="7", task_id="t"
    )
    assert json.loads(answer)["error"] == "voice_call: to: expected whom to call"
    assert asked == [{"action": "initiate_call", "_ctx": {"sessionKey": "telegram:7"}}]
