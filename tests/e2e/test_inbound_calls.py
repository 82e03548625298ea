"""Phones that call the running service: who is let in, who is turned away, and what is different for each number."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from line_calls import Rung, ring, script, with_client

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService
from openclaw_voicecall.testing.wer import word_errors

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RECITING = '''
from contextlib import asynccontextmanager

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.responder import TextDelta
from openclaw_voicecall.api.spec import ResponderSpec


class Reciting:
    """Says what it was told to be."""

    async def respond(self, request):
        yield TextDelta(request.system_prompt)


@asynccontextmanager
async def open_reciting(config, runtime, model):
    yield Reciting()


@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="reciting", open=open_reciting))
'''
BAKERY, BANK = "+15550100001", "+15550100002"
GREETING = "Hello, this is the front desk."
CONFIGS = {
    "default": {},
    "open": {
        "inboundPolicy": "open",
        "inboundGreeting": GREETING,
        "maxConcurrentCalls": 3,
        "plugins": {"modules": ["reciting_plugin"]},
        "numbers": {
            BAKERY: {
                "inboundGreeting": "Good morning, this is the bakery.",
                "responseModel": "reciting",
                "responseSystemPrompt": "We sell bread and cake.",
            },
            BANK: {
                "inboundGreeting": "Welcome to the bank.",
                "responseModel": "reciting",
                "responseSystemPrompt": "We keep your money safe.",
            },
        },
    },
    "allowlist": {
        "inboundPolicy": "allowlist",
        "allowFrom": ["+15550001234"],
        "inboundGreeting": "Hello.",
    },
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningService]]:
    """One service for each policy, started together."""
    folder = tmp_path_factory.mktemp("inbound")
    (folder / "reciting_plugin.py").write_text(RECITING)
    made = {
        name: RunningService(folder / name, port=0, config=config, env={"PYTHONPATH": str(folder)})
        for name, config in CONFIGS.items()
    }
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        for starting in [threads.submit(stack.enter_context, service) for service in made.values()]:
            starting.result()
        yield made


@pytest.fixture(scope="module")
def rung(services, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rung]:
    """Three talks at the same time, and a fourth phone that finds all lines taken."""
    service, folder = services["open"], tmp_path_factory.mktemp("phones")
    orders = {
        "bakery": ("--to", BAKERY, "--script", script("asks-once")),
        "bank": ("--to", BANK, "--script", script("asks-once")),
        "front desk": ("--script", script("asks-twice")),
    }

    async def ring_all(client: ControlClient) -> list[Rung]:
        talks = [
            asyncio.create_task(ring(service, client, folder, name, *options))
            for name, options in orders.items()
        ]
        live: set[str] = set()
        async for item in client.feed():  # until all three hold a line
            live |= {item["call"]["callId"]} if item["call"]["answeredAt"] else set()
            if len(live) == len(orders):
                break
        late = await ring(service, client, folder, "late", "--script", script("hears-the-greeting"))
        return [*await asyncio.gather(*talks), late]

    return dict(zip((*orders, "late"), with_client(service, ring_all), strict=True))


def ring_one(service: RunningService, folder, *options: str) -> Rung:
    async def run(client: ControlClient) -> Rung:
        return await ring(
            service, client, folder, "phone", "--script", script("hears-the-greeting"), *options
        )

    return with_client(service, run)


def assert_refused(call: Rung) -> None:
    assert call.command.exit_code == 69
    assert call.report["endReason"] == "rejected"
    assert [entry["event"] for entry in call.report["timeline"]] == ["rings the service", "rejected", "ended"]
    assert call.witness is None, "no audio flowed"
    assert (call.record["endReason"], call.record["state"]) == ("rejected", "hangup-bot")
    assert call.record["direction"] == "inbound"
    assert call.record["answeredAt"] is None
    assert call.record["endedAt"] is not None
    assert call.record["transcript"] == []
    assert "inboundPolicy" in call.record["detail"]


def test_nobody_may_call_unless_the_owner_says_so(services, tmp_path):
    assert_refused(ring_one(services["default"], tmp_path))


def test_who_is_on_the_list_is_let_in(services, tmp_path):
    call = ring_one(services["allowlist"], tmp_path, "--from", "+15550001234")
    assert call.command.exit_code == 0
    assert call.record["answeredAt"] is not None
    assert call.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("number", ["+15550001235", "+4915550001234"])
def test_a_number_that_only_looks_like_one_on_the_list_is_refused(services, tmp_path, number):
    call = ring_one(services["allowlist"], tmp_path, "--from", number)
    assert_refused(call)
    assert call.record["from"] == number


def test_a_caller_is_greeted_and_talks_with_the_agent(rung):
    call = rung["front desk"]
    assert call.command.exit_code == 0
    assert call.record["direction"] == "inbound"
    speakers = [line["speaker"] for line in call.record["transcript"]]
    assert speakers == ["agent", "caller", "agent", "caller", "agent"]
    texts = [line["text"] for line in call.record["transcript"]]
    assert texts[0] == GREETING
    said = "Yes, this is Sam. Who is calling? What time is it, please?"
    assert word_errors([(said, call.words("caller"))]).errors <= 2
    assert "front desk" in texts[2]
    assert texts[4].startswith("It's ")
    first, *_ = call.witness.agent_sounds(min_gap_ms=500)
    assert first.start < call.witness.lines[0].sound.start, "the greeting came first"
    assert len(call.witness.reply_delays()) == 2, "both questions were answered aloud"
    assert call.report["errors"] == []


@pytest.mark.parametrize(
    ("name", "number", "greeting", "prompt"),
    [
        ("bakery", BAKERY, "Good morning, this is the bakery.", "We sell bread and cake."),
        ("bank", BANK, "Welcome to the bank.", "We keep your money safe."),
    ],
)
def test_each_number_has_its_own_greeting_and_prompt(rung, name, number, greeting, prompt):
    call = rung[name]
    assert call.record["to"] == number
    agent = [line["text"] for line in call.record["transcript"] if line["speaker"] == "agent"]
    assert agent == [greeting, prompt]
    assert len(call.witness.agent_sounds(min_gap_ms=600)) == 2


def test_a_phone_hears_the_busy_tone_when_all_lines_are_taken(rung):
    call = rung["late"]
    assert call.command.exit_code == 75
    assert call.report["endReason"] == "busy"
    assert call.witness is None
    assert call.record["endReason"] == "rejected"
    assert "maxConcurrentCalls" in call.record["detail"]
    assert all(talk.command.exit_code == 0 for name, talk in rung.items() if name != "late")
