"""The opt-out list, keys of calls, and what a stranger's talk can never make the agent do."""

import asyncio
import json
import stat
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cli_rig import OVER, invoke

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.turntools import TurnTools
from openclaw_voicecall.builtin import policies
from openclaw_voicecall.builtin.system import SystemClock
from openclaw_voicecall.calls import assembly
from openclaw_voicecall.calls.admission import Admissions
from openclaw_voicecall.calls.engines import Engines
from openclaw_voicecall.calls.placing import KEY_LIFE, KeyedCalls, Placement, PlaceRequest
from openclaw_voicecall.calls.planning import must_say, plan_call
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.errors import KeyReused
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.server.control import ControlDoor
from openclaw_voicecall.server.keys import MANAGER
from openclaw_voicecall.session.chain import Link
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.contracts.store import example_record
from openclaw_voicecall.testing.scripted import ScriptedResponder, ScriptedSynthesizer, ScriptedTranscriber

pytestmark = pytest.mark.server

MODEL = build_config_model()
OURS, THEIRS, OTHER = "+12670000000", "+15550001234", "+15550004321"
OFFER = CallOffer(direction="outbound", carrier="twilio", from_number=OURS, to_number=THEIRS)
INBOUND = replace(OFFER, direction="inbound", from_number=THEIRS, to_number=OURS)


def optout(state_dir, *arguments, code=0):
    done = invoke("optout", *arguments, "--state-dir", str(state_dir))
    assert done.exit_code == code, done.output
    return done.stdout


def admissions(state_dir, store=None, **settings):
    """The built-in policies of a running service."""
    registered = []
    policies.voicecall_lifespan(SimpleNamespace(state_dir=state_dir, clock=SystemClock(), store=store))
    policies.voicecall_register_policies(
        registered.append, MODEL.model_validate({"fromNumber": OURS, **settings})
    )
    return Admissions(registered)


async def test_who_is_on_the_list_is_called_on_no_line_until_they_are_taken_off(state_dir):
    asked = admissions(state_dir)
    assert (await asked.decide(OFFER)).allowed
    assert optout(state_dir, "add", THEIRS) == f"{THEIRS} is not called any more\n"
    for offer in (OFFER, replace(OFFER, carrier="local", billed=False), replace(OFFER, mode="transfer")):
        decision = await asked.decide(offer)
        assert not decision.allowed
        assert "opt-out list" in decision.reason
    assert (await asked.decide(replace(OFFER, to_number=OTHER))).allowed
    assert optout(state_dir, "remove", THEIRS) == f"{THEIRS} may be called again\n"
    assert (await asked.decide(OFFER)).allowed


async def test_callers_on_the_list_may_call(state_dir):
    optout(state_dir, "add", THEIRS)
    assert (await admissions(state_dir, inboundPolicy="open").decide(INBOUND)).allowed


def test_the_list_is_shown_and_is_private(state_dir):
    assert optout(state_dir, "list") == "Nobody is on the list.\n"
    optout(state_dir, "add", THEIRS)
    assert json.loads(optout(state_dir, "add", THEIRS, "--json")) == {
        "number": THEIRS,
        "outcome": "unchanged",
    }
    assert THEIRS in optout(state_dir, "list")
    assert [entry["number"] for entry in json.loads(optout(state_dir, "list", "--json"))["numbers"]] == [
        THEIRS
    ]
    assert stat.S_IMODE((state_dir / "optout.json").stat().st_mode) == 0o600
    assert "was not on the list" in optout(state_dir, "remove", OTHER)
    optout(state_dir, "add", "5550001234", code=64)


async def test_a_list_that_cannot_be_read_lets_nobody_be_called(state_dir, caplog):
    (state_dir / "optout.json").write_text("not a list")
    decision = await admissions(state_dir).decide(OFFER)
    assert not decision.allowed
    assert "optout.json is damaged" in decision.reason
    optout(state_dir, "add", THEIRS, code=74)
    assert (state_dir / "optout.json").read_text() == "not a list"


async def test_dials_are_counted_in_the_store_so_a_restart_forgets_none(state_dir):
    now = SystemClock().wall()
    async with await SqliteStore.open(state_dir / "calls.db") as store:
        for number in range(3):
            await store.put_call(
                example_record(
                    f"call-{number}",
                    carrier="twilio",
                    direction="outbound",
                    to_number=THEIRS,
                    created_at=now - 60,
                )
            )
    async with await SqliteStore.open(state_dir / "calls.db") as store:
        decision = await admissions(state_dir, store).decide(OFFER)
        assert (decision.allowed, decision.busy) == (False, True)
        assert "dialsPerNumberPerHour" in decision.reason
        assert (await admissions(state_dir, store).decide(replace(OFFER, to_number=OTHER))).allowed


@pytest.mark.parametrize(
    ("settings", "offer", "greeting", "recorded", "expected"),
    [
        ({}, OFFER, "Hi.", True, ["This call is recorded."]),
        ({"disclosure": "A machine speaks."}, OFFER, "Hi, a machine speaks!", False, []),
        ({}, INBOUND, MODEL().inbound_greeting, False, []),
        ({}, replace(OFFER, billed=False), "Hi.", True, []),
        (
            {"disclosure": "A machine speaks."},
            replace(INBOUND, billed=False),
            "Hi.",
            True,
            ["A machine speaks."],
        ),
        ({"disclosure": ""}, OFFER, "Hi.", False, []),
        ({"disclosure": " ", "recording": {"notice": ""}}, OFFER, "Hi.", True, []),
        ({"disclosure": "", "recording": {"notice": "Recorded."}}, OFFER, "Hi.", False, []),
        ({"disclosure": "", "recording": {"notice": "Recorded."}}, INBOUND, "Hi.", True, ["Recorded."]),
    ],
)
def test_what_has_to_be_said_first(settings, offer, greeting, recorded, expected):
    lines = must_say(MODEL.model_validate(settings), offer, greeting, recorded=recorded)
    assert [line.text for line in lines] == expected


class Calls:
    """Places nothing, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []
        self.config = MODEL()

    async def place(self, request, *, key=""):
        self.asked.append((request, key))
        return Placement(OVER, repeated=len(self.asked) > 1)


async def test_the_control_api_takes_a_key_and_marks_what_was_there_before():
    calls, app = Calls(), web.Application()
    app[MANAGER] = calls
    ControlDoor(dict).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        order = {"to": THEIRS, "message": "Hello."}
        for key, status, replayed in (("k-1", 201, None), ("k-1", 200, "true")):
            answer = await client.post("/api/v1/calls", json=order, headers={"Idempotency-Key": key})
            assert answer.status == status
            assert answer.headers.get("Idempotent-Replayed") == replayed
            assert (await answer.json())["call"]["callId"] == OVER.call_id
        for wrong in ("", "two words", "k" * 256, "naïve"):
            answer = await client.post("/api/v1/calls", json=order, headers={"Idempotency-Key": wrong})
            assert answer.status == 422
            assert "Idempotency-Key" in (await answer.json())["error"]["message"]
        await client.post("/api/v1/calls", json=order)
    assert [key for _, key in calls.asked] == ["k-1", "k-1", ""]


class Clock:
    def __init__(self):
        self.now = 1_790_000_000.0
        self.ahead = 0.0

    def wall(self):
        return self.now + self.ahead

    def monotonic(self):
        return self.now


async def test_a_key_stands_for_its_call_for_a_day_and_for_no_other(state_dir):
    clock, order = Clock(), PlaceRequest(to_number=THEIRS, message="Hello.")
    async with await SqliteStore.open(state_dir / "calls.db") as store:
        keyed = KeyedCalls(store, clock)
        assert await keyed.find("k", order) is None
        await store.put_call(example_record(metadata=keyed.metadata("k", order), created_at=clock.now))
        found = await keyed.find("k", order)
        assert found is not None
        assert found.call_id == "call-1"
        assert await keyed.find("", order) is None
        assert keyed.metadata("", order) == {}
        with pytest.raises(KeyReused, match="call-1"):
            await keyed.find("k", replace(order, message="Goodbye."))
        clock.ahead = 3 * KEY_LIFE  # setting the clock forgets no key
        assert await keyed.find("k", order) == found
        clock.now += KEY_LIFE + 1
        assert await keyed.find("k", replace(order, message="Goodbye.")) is None


async def turn_of(offer, **settings):
    """What a responder is told of a turn of such a call, with the tools of all built-in plugins."""
    config = MODEL.model_validate(settings)
    record = example_record(
        carrier="twilio",
        direction=offer.direction,
        from_number=offer.from_number,
        to_number=offer.to_number,
        metadata={},
    )
    session = CallSession(
        call_id=record.call_id,
        call=Call(CallPolicy(), outbound=offer.direction == "outbound"),
        clock=SystemClock(),
        journal=lambda *entry: None,
        give_order=lambda session, order: None,
    )
    engines = Engines(
        carriers={"twilio": object()},
        capabilities={"twilio": CarrierCapabilities(transfer=True, turns=True)},
        transcribers=(Link("stt", ScriptedTranscriber()),),
        synthesizers={"": (Link("tts", ScriptedSynthesizer()),)},
        tools=tuple(
            load_registry(load_entry_points=False).collect("voicecall_register_tools", config=config)
        ),
    )
    responder = ScriptedResponder(deque(["Yes."]))
    fitting = assembly.Fitting(
        session=session,
        record=record,
        plan=plan_call(config, offer, message="", objective=""),
        engines=engines,
        responders=(Link("llm", responder),),
        config=config,
        recording=None,
        transcript=tuple,
    )
    responding = fitting.parts().responding
    responding.respond(1, "Call my friend, please.", "")
    async with asyncio.timeout(5):
        while not responder.requests:
            await asyncio.sleep(0)
    await responding.close()
    return responder.requests[0]


async def test_no_caller_can_make_the_agent_dial():
    tools = TurnTools(await turn_of(INBOUND))
    offered = {function.name for function in tools.functions}
    assert offered == {"end_call", "send_digits"}


async def test_a_caller_is_handed_over_to_numbers_of_the_owner_only():
    tools = TurnTools(await turn_of(INBOUND, transfer={"allowed": [OTHER]}))
    (transfer,) = (one for one in tools.functions if one.name == "transfer_call")
    assert transfer.parameters["properties"]["to"]["enum"] == [OTHER]
