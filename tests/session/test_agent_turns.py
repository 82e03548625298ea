"""Calls whose turns a host's agent writes, on virtual time: slow tools, late answers, and runs that fail."""

import asyncio
from itertools import pairwise

import pytest
from rig import running_call

from openclaw_voicecall.api.responder import EndCall, TextDelta
from openclaw_voicecall.builtin.host_agent import HostAgent
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.errors import VendorError, VendorUnavailable
from openclaw_voicecall.session.responding import Fillers
from openclaw_voicecall.testing.scripted import ScriptedResponder

pytestmark = [pytest.mark.session, pytest.mark.looptime]

FILLERS = Fillers(
    phrases=("One moment, please.", "I'm still on it."),
    after=2.0,
    every=4.0,
    late="I'm sorry, this is taking longer than usual.",
)
GREETING = CallPolicy(greeting="Hello.")
APOLOGY = GREETING.apology


async def say(call, text):
    await call.until(lambda: any(ears.streams for ears in call.stt))
    await call.agent_quiet()
    await call.caller_says(text)


class Host:
    """A host whose agent does what a list says: words, seconds of work, an end, or an error."""

    name = "openclaw"

    def __init__(self, *script):
        self.script = script
        self.requests = []
        self.given_up = 0

    async def agent_turn(self, request):
        self.requests.append(request)
        finished = False
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, str):
                    yield TextDelta(step)
                elif isinstance(step, EndCall):
                    yield step
                else:
                    await asyncio.sleep(step)
            finished = True
        finally:
            self.given_up += not finished


async def asked(host, *, wait=40.0, others=(), **options):
    """Ask the agent once. Returns the call, and what it said with the seconds after the question."""
    agents = [HostAgent(host, ""), *others]
    async with running_call(GREETING, llm=agents, fillers=FILLERS, **options) as call:
        await say(call, "What is the weather?")
        began = call.now()
        await asyncio.sleep(wait)
        return call, [
            (round(at - began, 1), data["text"])
            for at, event, data, _ in call.journal
            if event == "ResponseChunk" and at > began
        ]


def words(said):
    return " ".join(text for _, text in said)


async def test_what_the_agent_says_before_a_slow_tool_is_heard_at_once():
    _, said = await asked(Host("Let me look that up.", 12.0, " It is raining."))
    at, text = said[0]
    assert text == "Let me look that up."
    assert at < 2.0
    assert [text for _, text in said if text in FILLERS.phrases] != [], "and it is not silent meanwhile"
    assert said[-1][1] == "It is raining."
    assert words(said).count("raining") == 1


async def test_an_agent_that_says_nothing_before_a_slow_tool_gets_fillers_and_one_excuse():
    _, said = await asked(Host(18.0, "It is raining."))
    texts = [text for _, text in said]
    assert texts[0] in FILLERS.phrases
    assert said[0][0] <= 4.0
    assert texts.count(FILLERS.late) == 1
    assert texts[-1] == "It is raining.", "a late answer is still spoken"
    gaps = [later - sooner for (sooner, _), (later, _) in pairwise(said)]
    assert max(gaps) < 6.5


async def test_an_agent_that_takes_longer_than_it_may_is_given_up_with_a_sentence():
    host = Host("Let me look.", 60.0, "It is raining.")
    call, said = await asked(host, reply_within=15.0, wait=30.0)
    assert APOLOGY in words(said) or APOLOGY in " ".join(line.text for line in call.lines)
    assert "raining" not in words(said)
    assert host.given_up == 1, "its run is ended"
    (failed,) = call.words("vendor-failed")
    assert failed["hop"] == "responder"


@pytest.mark.parametrize(
    "script",
    [
        (VendorUnavailable("the gateway drains", vendor="openclaw"),),
        (1.0, VendorError("the agent's run failed", vendor="openclaw")),
        (RuntimeError("a bug of the host"),),
        (),
        ("  ", "\n"),
    ],
)
async def test_an_agent_that_fails_or_has_nothing_to_say_is_apologised_for(script):
    call, _ = await asked(Host(*script), wait=15.0)
    assert APOLOGY in " ".join(line.text for line in call.lines)
    assert call.reason == "caller-hung-up", "it went on until the caller left"


async def test_a_fallback_answers_where_the_agent_cannot():
    other = ScriptedResponder()
    other.replies.append("It is raining.")
    host = Host(VendorUnavailable("the gateway drains", vendor="openclaw"))
    call, said = await asked(host, others=[other], wait=10.0)
    assert "It is raining." in words(said)
    assert APOLOGY not in " ".join(line.text for line in call.lines)


async def test_barge_in_ends_the_agents_run_and_the_next_turn_knows_what_was_heard():
    host = Host("One is the first number of all. Two comes after it, and then three. ", 30.0)
    async with running_call(GREETING, llm=[HostAgent(host, "")]) as call:
        await say(call, "Count.")
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(1.5)
        await call.caller_says("Stop that now please")
        await call.until(lambda: len(host.requests) == 2)
        assert host.given_up == 1
        assert any(line.interrupted for line in host.requests[1].history)


async def test_the_agent_hangs_up_after_its_goodbye_was_heard():
    async with running_call(
        GREETING, llm=[HostAgent(Host("Goodbye, and take care.", EndCall()), "")]
    ) as call:
        await say(call, "That was all.")
        await call.until(lambda: call.carrier.hung_up == 1)
        assert ("agent", "Goodbye, and take care.", False) in call.said()
