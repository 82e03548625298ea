"""A turn that OpenClaw's agent writes, over the line to a bridge that is played by the test."""

import asyncio
import socket
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from openclaw_voicecall.api.responder import EndCall, Line, TextDelta, TurnRequest
from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.errors import HostError, VendorError, VendorUnavailable
from openclaw_voicecall.host.openclaw.agent import REFUSED_PER_DAY, OpenClawHost
from openclaw_voicecall.host.stdio import Peer

pytestmark = pytest.mark.server

OWNER, STRANGER = "+15550009999", "+15550001111"


class Bridge:
    """Plays the bridge: keeps what it is asked, tells what the test gives it on the way, and answers."""

    def __init__(self) -> None:
        self.asked = []
        self.told = []
        self.result = {"text": "", "isError": False}
        self.stopped = asyncio.Event()
        self.hangs = False
        self.near: Peer

    async def handle(self, method, params):
        self.asked.append((method, params))
        name = f"p{len(self.asked)}"
        for progress in self.told:
            self.near._send({"id": name, "stream": progress})
        try:
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.stopped.set()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@asynccontextmanager
async def openclaw():
    bridge = Bridge()
    near, far = socket.socketpair()
    streams = [await asyncio.open_connection(sock=end) for end in (near, far)]
    bridge.near = Peer(*streams[0], bridge.handle)
    peer = Peer(*streams[1], bridge.handle)
    running = [asyncio.create_task(each.run()) for each in (bridge.near, peer)]
    host = OpenClawHost(peer)
    try:
        async with asyncio.timeout(10):
            yield host, bridge
    finally:
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*running)


def turn(text="What time is it?", **fields):
    given = {"call_id": "c1", "turn": 1, "to_number": STRANGER, "session_key": f"agent:main:voice:{STRANGER}"}
    return TurnRequest(text=text, **{**given, **fields})


async def said(host, request):
    async with aclosing(host.agent_turn(request)) as events:
        return [event.text async for event in events if isinstance(event, TextDelta)]


async def test_what_the_agent_writes_is_told_as_it_comes():
    async with openclaw() as (host, bridge):
        bridge.told = [{"delta": "It is "}, {"tool": "clock", "phase": "start"}, {"delta": "noon."}]
        bridge.result = {"text": "It is noon."}
        assert await said(host, turn()) == ["It is ", "noon."]
        method, params = bridge.asked[0]
        assert method == "agent.turn"
        assert (params["text"], params["sessionKey"]) == ("What time is it?", f"agent:main:voice:{STRANGER}")
        assert (params["promptMode"], params["bootstrapContextMode"]) == ("minimal", "lightweight")


async def test_an_agent_that_streams_nothing_is_heard_all_the_same():
    async with openclaw() as (host, bridge):
        bridge.result = {"text": "It is noon."}
        assert await said(host, turn()) == ["It is noon."]


async def test_a_text_that_is_replaced_goes_on_where_it_agrees_with_what_was_said():
    async with openclaw() as (host, bridge):
        bridge.told = [{"delta": "It is"}, {"replace": "It is noon."}]
        bridge.result = {"text": "It is noon."}
        assert await said(host, turn()) == ["It is", " noon."]


async def test_what_was_heard_is_not_said_again_when_the_agent_thinks_better_of_it():
    async with openclaw() as (host, bridge):
        bridge.told = [{"delta": "It is noon."}, {"replace": "No: it is one."}]
        bridge.result = {"text": "No: it is one."}
        assert await said(host, turn()) == ["It is noon."]


async def test_a_turn_that_is_given_up_stops_the_agents_run():
    async with openclaw() as (host, bridge):
        bridge.told, bridge.hangs = [{"delta": "It is "}], True
        async with aclosing(host.agent_turn(turn())) as events:
            assert await anext(events) == TextDelta("It is ")
        await bridge.stopped.wait()


async def test_the_next_turn_is_told_what_was_heard_of_the_last_one():
    async with openclaw() as (host, bridge):
        bridge.told, bridge.hangs = [{"delta": "It is noon, and the sun shines."}], True
        async with aclosing(host.agent_turn(turn())) as events:
            await anext(events)
        bridge.hangs, bridge.told, bridge.result = False, [], {"text": "Bye."}
        history = (Line("caller", "What time is it?"), Line("agent", "It is noon,", interrupted=True))
        await said(host, turn("Thanks.", turn=2, history=history))
        assert bridge.asked[1][1]["text"] == (
            '[You were interrupted. Of your last words they heard only: "It is noon,"]\nThanks.'
        )


async def test_an_agent_that_hangs_up_in_its_turn_is_heard_to_the_end_first():
    async with openclaw() as (host, bridge):
        assert not host.end_after_turn("c1"), "it is in no turn"
        bridge.told, bridge.result = [{"delta": "Goodbye. "}], {"text": "Goodbye. Take care."}
        async with aclosing(host.agent_turn(turn())) as events:
            first = await anext(events)
            assert host.end_after_turn("c1")
            rest = [event async for event in events]
        assert [first, *rest] == [TextDelta("Goodbye. "), TextDelta("Take care."), EndCall()]


@pytest.mark.parametrize(
    ("tools", "asked"),
    [
        (None, {}),
        (("voice_call", "web_search"), {"toolsAllow": ["voice_call", "web_search"]}),
        ((), {"disableTools": True}),
    ],
)
async def test_the_agent_has_the_tools_that_whoever_is_on_the_line_may_have_it_use(tools, asked):
    async with openclaw() as (host, bridge):
        bridge.result = {"text": "Yes."}
        await said(host, turn(agent_tools=tools))
        params = bridge.asked[0][1]
        assert {name: params[name] for name in ("toolsAllow", "disableTools") if name in params} == asked


async def test_another_agent_and_another_model_are_asked_for():
    async with openclaw() as (host, bridge):
        bridge.result = {"text": "Yes."}
        await said(host, turn().for_agent("work@anthropic/claude-haiku"))
        params = bridge.asked[0][1]
        assert (params["agentId"], params["model"]) == ("work", "anthropic/claude-haiku")
        assert params["sessionKey"] == f"agent:work:voice:{STRANGER}"


LOOKING, TOOL = {"delta": "Let me look."}, {"tool": "clock", "phase": "start"}


@pytest.mark.parametrize(
    ("told", "text", "heard"),
    [
        ([LOOKING, TOOL, {"delta": "It is noon."}], "It is noon.", "Let me look.\nIt is noon."),
        ([LOOKING, TOOL, {"delta": "It is"}], "Let me look.\nIt is noon.", "Let me look.\nIt is noon."),
        ([LOOKING, TOOL], "It is noon.", "Let me look.\nIt is noon."),
        ([LOOKING, TOOL, {"replace": "It is noon."}], "It is noon.", "Let me look.\nIt is noon."),
        ([TOOL, TOOL], "It is noon.", "It is noon."),
    ],
)
async def test_what_is_said_before_and_after_a_tool_is_heard_once(told, text, heard):
    async with openclaw() as (host, bridge):
        bridge.told, bridge.result = told, {"text": text}
        assert "".join(await said(host, turn())) == heard


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (
            {"text": "model overloaded", "isError": True},
            VendorError,
            "the agent's run failed: model overloaded",
        ),
        (HostError("the gateway drains"), VendorUnavailable, "the gateway drains"),
        ("noon", VendorError, "no object"),
    ],
)
async def test_a_run_that_fails_says_why(result, error, words):
    async with openclaw() as (host, bridge):
        bridge.result = result
        with pytest.raises(error, match=words):
            await said(host, turn())


def ended(end_reason="completed", **metadata):
    return CallRecord(
        call_id="c1",
        carrier="local",
        direction="outbound",
        from_number="",
        to_number=STRANGER,
        mode="conversation",
        state="completed",
        created_at=1.0,
        end_reason=end_reason,
        metadata=metadata,
        transcript=(TranscriptLine(speaker="caller", text="Yes, Monday.", at=2.0),),
    )


@pytest.mark.parametrize(
    ("metadata", "key", "agent"),
    [
        ({"requesterSessionKey": "agent:work:telegram:7"}, "agent:work:telegram:7", "work"),
        ({}, "agent:main:main", "main"),
    ],
)
async def test_the_session_that_asked_learns_the_outcome_else_the_main_one(metadata, key, agent):
    async with openclaw() as (host, bridge):
        await host.deliver(f"agent:main:voice:{STRANGER}", ended(**metadata))
        method, params = bridge.asked[0]
        assert method == "session.event"
        assert (params["sessionKey"], params["agentId"], params["wake"]) == (key, agent, True)
        assert "Yes, Monday." in params["text"]


async def test_refused_callers_wake_nobody_and_cannot_fill_the_chat():
    async with openclaw() as (host, bridge):
        for number in range(REFUSED_PER_DAY + 3):
            refused = replace(
                ended("rejected"), direction="inbound", from_number=f"+1555000{number:04d}", transcript=()
            )
            await host.deliver("agent:main:voice:x", refused)
            await host.deliver("agent:main:voice:x", refused)
        assert [method for method, _ in bridge.asked] == ["session.nextTurn"] * REFUSED_PER_DAY
        assert "from +15550000000 refused" in bridge.asked[0][1]["text"]
        assert bridge.asked[0][1]["sessionKey"] == "agent:main:main"


async def test_live_notes_wait_for_the_next_turn_of_the_chat_that_asked():
    async with openclaw() as (host, bridge):
        await host.note("agent:main:voice:x", ended(requesterSessionKey="agent:work:telegram:7"), 0)
        method, params = bridge.asked[0]
        assert (method, params["sessionKey"]) == ("session.nextTurn", "agent:work:telegram:7")
        assert "them: Yes, Monday." in params["text"]
        assert params["idempotencyKey"] == "c1:0"
