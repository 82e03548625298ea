"""What the responder is told of earlier calls with the same memory."""

import asyncio
import logging
import sqlite3
from collections import deque
from contextlib import closing

import pytest

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.store import TranscriptLine
from openclaw_voicecall.builtin.policies import NumberRouter
from openclaw_voicecall.calls import assembly, memory
from openclaw_voicecall.calls.engines import Engines
from openclaw_voicecall.calls.memory import Memory
from openclaw_voicecall.calls.planning import plan_call, session_key
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.session.chain import Link
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.store import migrations
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.contracts.store import example_record
from openclaw_voicecall.testing.scripted import ScriptedResponder, ScriptedSynthesizer, ScriptedTranscriber

pytestmark = pytest.mark.server

NOW = 1_790_000_000.0
DAY = 86_400.0
CALLER = "+15550004321"
KEY = f"agent:main:voice:{CALLER}"
MODEL = build_config_model()


class Clock:
    def monotonic(self):
        return 1.0

    def wall(self):
        return NOW


def lines(*texts: str) -> tuple[TranscriptLine, ...]:
    """Lines of a transcript; the caller begins."""
    return tuple(
        TranscriptLine(speaker=("caller", "agent")[at % 2], text=text, at=NOW)
        for at, text in enumerate(texts)
    )


def call(number: int, *texts: str, days: float = 1.0, **changes):
    """An earlier call; a higher number is a newer one."""
    values = {
        "created_at": NOW - days * DAY + number,
        "metadata": {"sessionKey": KEY},
        "transcript": lines(*texts),
        **changes,
    }
    return example_record(f"call-{number}", **values)


@pytest.fixture
async def store(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as opened:
        yield opened


async def recalled(store, *calls, key: str = KEY, **settings) -> list[Line]:
    """What a call with this key is told of these earlier calls."""
    for record in calls:
        await store.put_call(record)
    remembering = Memory(store, MODEL.model_validate({"memory": settings}).memory, Clock())
    earlier = remembering.recall(key)
    await asyncio.gather(*remembering._loading)
    return list(earlier())


def texts(found: list[Line]) -> list[str]:
    return [line.text for line in found]


async def test_the_lines_of_earlier_calls_come_oldest_first_with_who_said_them(store):
    interrupted = TranscriptLine(speaker="agent", text="At nine on", at=NOW, interrupted=True, turn=2)
    found = await recalled(store, call(2, "Hello again."), call(1, transcript=(*lines("Hi."), interrupted)))
    assert found == [
        Line("caller", "Hi.", earlier=True),
        Line("agent", "At nine on", True, True),
        Line("caller", "Hello again.", earlier=True),
    ]


async def test_the_last_three_calls_count_unless_the_owner_says_otherwise(store):
    calls = [call(number, f"call {number}") for number in range(1, 6)]
    assert texts(await recalled(store, *calls)) == ["call 3", "call 4", "call 5"]
    assert texts(await recalled(store, calls=1)) == ["call 5"]
    assert texts(await recalled(store, calls=9)) == [f"call {number}" for number in range(1, 6)]


async def test_the_newest_forty_lines_count_unless_the_owner_says_otherwise(store):
    long = call(1, *(f"old {number}" for number in range(50)))
    short = call(2, "new 1", "new 2")
    found = texts(await recalled(store, long, short))
    assert found == [*(f"old {number}" for number in range(12, 50)), "new 1", "new 2"]
    assert texts(await recalled(store, lines=1)) == ["new 2"]


async def test_calls_older_than_thirty_days_are_forgotten_unless_the_owner_says_otherwise(store):
    calls = [call(1, "long ago", days=30.5), call(2, "lately", days=29.5)]
    assert texts(await recalled(store, *calls)) == ["lately"]
    assert texts(await recalled(store, days=31)) == ["long ago", "lately"]


async def test_memory_can_be_switched_off(store):
    assert await recalled(store, call(1, "Hi."), calls=0) == []


async def test_other_callers_are_told_nothing_of_it(store):
    assert await recalled(store, call(1, "my secret"), key=f"{KEY}5") == []
    assert await recalled(store, key=KEY[:-1]) == []
    assert await recalled(store, key="") == []


async def test_calls_in_which_nobody_spoke_take_nobodys_place(store):
    refused = [call(number, transcript=(), end_reason="rejected") for number in range(2, 9)]
    assert texts(await recalled(store, call(1, "Hi."), *refused)) == ["Hi."]


async def test_the_code_a_caller_heard_before_they_were_let_in_is_not_told_of(store):
    paired = call(2, "Your code is 4.", metadata={"sessionKey": KEY, "pairing": "asked"})
    assert texts(await recalled(store, call(1, "Hi."), paired)) == ["Hi."]


async def test_a_live_call_is_not_its_own_memory(store):
    assert await recalled(store, call(1, "just now", ended_at=None, end_reason=None)) == []


async def test_a_call_with_a_key_of_its_own_asks_the_store_nothing():
    key = session_key(MODEL.model_validate({"sessionScope": "per-call"}), CALLER, "call-7")
    assert key == "agent:main:voice:call:call-7"
    remembering = Memory(object(), MODEL().memory, Clock())
    assert remembering.recall(key)() == ()
    assert not remembering._loading


class FailingStore:
    """A store of somebody else, with a bug."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def session_calls(self, session_key, *, since, limit):
        raise self.error


@pytest.mark.parametrize("error", [StoreError("the disk is gone"), TypeError("a bug"), TimeoutError()])
async def test_a_failing_store_costs_the_memory_and_one_line(error, caplog):
    assert await recalled_from(FailingStore(error)) == ()
    assert len(caplog.records) == 1
    assert "goes on without a memory" in caplog.text


async def test_a_store_that_knows_no_sessions_costs_the_memory(caplog):
    assert await recalled_from(object()) == ()
    assert "goes on without a memory" in caplog.text


async def recalled_from(store) -> tuple[Line, ...]:
    remembering = Memory(store, MODEL().memory, Clock())
    earlier = remembering.recall(KEY)
    await asyncio.gather(*remembering._loading)
    return earlier()


async def test_nobody_waits_for_a_slow_store(monkeypatch, caplog):
    class SlowStore:
        async def session_calls(self, session_key, *, since, limit):
            await asyncio.Event().wait()

    monkeypatch.setattr(memory, "RECALL_LIMIT", 0.02)
    remembering = Memory(SlowStore(), MODEL().memory, Clock())
    async with asyncio.timeout(5):
        earlier = remembering.recall(KEY)
        assert earlier() == (), "the call goes on at once"
        await asyncio.gather(*remembering._loading)
    assert earlier() == ()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not remembering._loading


async def test_the_responder_is_given_earlier_lines_before_those_of_the_call(store):
    await store.put_call(call(1, "My name is Sam.", "Nice to meet you, Sam."))
    remembering = Memory(store, MODEL().memory, Clock())
    earlier = remembering.recall(KEY)
    await asyncio.gather(*remembering._loading)
    responder = ScriptedResponder(deque(["Sam."]))
    responding = equipped(responder, earlier, lines("What is my name?")).responding
    responding.respond(1, "What is my name?", "")
    async with asyncio.timeout(5):
        while not responder.requests:
            await asyncio.sleep(0)
    await responding.close()
    (request,) = responder.requests
    assert request.text == "What is my name?"
    assert list(request.history) == [
        Line("caller", "My name is Sam.", earlier=True),
        Line("agent", "Nice to meet you, Sam.", earlier=True),
    ]


def equipped(responder, earlier, transcript):
    """The parts of a call that has this transcript so far."""
    record = example_record(carrier="local", metadata={})
    session = CallSession(
        call_id=record.call_id,
        call=Call(CallPolicy(), outbound=False),
        clock=Clock(),
        journal=lambda *entry: None,
        give_order=lambda session, order: None,
    )
    engines = Engines(
        carriers={"local": object()},
        capabilities={"local": CarrierCapabilities()},
        transcribers=(Link("stt", ScriptedTranscriber()),),
        synthesizers={"": (Link("tts", ScriptedSynthesizer()),)},
    )
    offer = CallOffer(direction="inbound", carrier="local", from_number=CALLER, to_number="+15550100000")
    return assembly.Fitting(
        session=session,
        record=record,
        plan=plan_call(MODEL(), offer, message="", objective=""),
        engines=engines,
        responders=(Link("llm", responder),),
        config=MODEL(),
        recording=None,
        transcript=lambda: transcript,
        earlier=earlier,
    ).parts()


@pytest.mark.parametrize(
    ("scope", "direction", "expected"),
    [
        ("per-phone", "inbound", "agent:main:voice:+15550004321"),
        ("per-phone", "outbound", "agent:main:voice:+15550100000"),
        ("per-call", "inbound", "agent:main:voice:call:id-7"),
        ("main", "outbound", "agent:main:main"),
    ],
)
def test_the_key_names_the_far_party_or_the_call_or_all(scope, direction, expected):
    offer = CallOffer(direction=direction, carrier="local", from_number=CALLER, to_number="+15550100000")
    config = MODEL.model_validate({"sessionScope": scope})
    assert plan_call(config, offer, message="", objective="", call_id="id-7").session_key == expected


@pytest.mark.parametrize("caller", ["", "anonymous", "+266696687"])
def test_people_who_hide_their_number_share_no_memory(caller):
    offer = CallOffer(direction="inbound", carrier="local", from_number=caller, to_number="+15550100000")
    plan = plan_call(MODEL(), offer, message="", objective="", call_id="id-7")
    assert plan.session_key == "agent:main:voice:call:id-7"


async def test_a_number_of_another_agent_has_that_agents_memory():
    config = MODEL.model_validate({"numbers": {"+15550100000": {"agentId": "ba\\1kery"}}})
    offer = CallOffer(direction="inbound", carrier="local", from_number=CALLER, to_number="+15550100000")
    plan = plan_call(config, offer, message="", objective="")
    plan = await NumberRouter(config.numbers).route(offer, plan)
    assert (plan.agent_id, plan.session_key) == ("ba\\1kery", f"agent:ba\\1kery:voice:{CALLER}")


async def test_looking_for_a_memory_reads_no_other_calls(tmp_path, monkeypatch):
    asked = []
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        read = store._database.rows
        monkeypatch.setattr(store._database, "rows", lambda *query: asked.append(query) or read(*query))
        await store.session_calls(KEY, since=0.0, limit=3)
    ((query, values),) = asked
    with closing(sqlite3.connect(tmp_path / "calls.db")) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    assert "USING INDEX calls_by_session (<expr>=? AND created_at>?)" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


async def test_calls_of_a_database_from_before_there_was_a_memory_are_remembered(tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        steps = tuple(step for step in migrations._STEPS if step[0] != "0002_calls_by_session")
        before.setattr(migrations, "_STEPS", steps)
        async with await SqliteStore.open(tmp_path / "calls.db") as store:
            await store.put_call(call(1, "Hi."))
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        assert texts(await recalled(store)) == ["Hi."]


async def test_metadata_that_is_no_json_to_sqlite_keeps_no_call_from_being_written(store):
    odd = call(1, "Hi.", metadata={"sessionKey": KEY, "odd": float("nan")})
    await store.put_call(odd)
    assert (await store.get_call("call-1")).transcript == odd.transcript
