"""What every store of calls must do."""

# ruff: noqa: D102, S101 - these are tests: their names are the sentences, and asserting is what they do

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

from openclaw_voicecall.api.store import (
    ANSWERS_KEPT,
    CallRecord,
    CallStore,
    CallTimes,
    JournalEntry,
    TranscriptLine,
    TurnLatency,
    WebhookAnswer,
)
from openclaw_voicecall.errors import StoreError

AWKWARD_TEXTS = (
    "",
    "Zażółć gęślą jaźń, 你好, שלום, 👩🏽‍🚀",
    "'; DROP TABLE calls; --",
    'quotes " and \\ backslashes\r\nand lines\u2028',
    "a zero \x00 within",
)
"""Texts that people and transcribers do produce, and that stores have lost."""


def example_record(call_id: str = "call-1", **changes: Any) -> CallRecord:
    """A call with every field filled in; `changes` replaces fields."""
    values: dict[str, Any] = {
        "call_id": call_id,
        "carrier": "loopback",
        "direction": "inbound",
        "from_number": "+15550000001",
        "to_number": "+15550000002",
        "mode": "conversation",
        "state": "hangup-user",
        "created_at": 1_760_000_000.25,
        "carrier_call_id": f"carrier-{call_id}",
        "answered_at": 1_760_000_001.5,
        "ended_at": 1_760_000_060.125,
        "end_reason": "caller-hung-up",
        "detail": "",
        "transcript": (
            TranscriptLine(speaker="agent", text="Hello, how can I help?", at=1_760_000_002.0, turn=1),
            TranscriptLine(speaker="caller", text="What time is it?", at=1_760_000_005.0),
            TranscriptLine(speaker="agent", text="It is", at=1_760_000_007.0, turn=2, interrupted=True),
        ),
        "latencies": (TurnLatency(turn=2, endpointing_ms=310.5, first_token_ms=120.0, total_ms=812.25),),
        "recording": "recordings/call-1.wav",
        "metadata": {"objective": "tell the time", "nested": {"list": [1, 2.5, None, True]}},
        **changes,
    }
    return CallRecord(**values)


def example_entry(seq: int, call_id: str = "call-1", **changes: Any) -> JournalEntry:
    """A journal entry with every field filled in; `changes` replaces fields."""
    values: dict[str, Any] = {
        "call_id": call_id,
        "seq": seq,
        "at": 1_760_000_000.5 + seq,
        "elapsed": seq / 8,
        "event": "TranscriptReceived",
        "data": {"text": f"words {seq}", "final": True},
        "commands": ({"command": "StartResponse", "turn": seq, "text": f"words {seq}", "digits": ""},),
        "states": {"leg": "up", "media": "flowing", "caller": "quiet", "agent": "thinking"},
        **changes,
    }
    return JournalEntry(**values)


def example_answer(replay_key: str = "key-1", **changes: Any) -> WebhookAnswer:
    """An answer to a webhook; `changes` replaces fields."""
    values: dict[str, Any] = {
        "carrier": "loopback",
        "replay_key": replay_key,
        "at": 1_760_000_000.25,
        "status": 200,
        "content_type": "text/xml",
        "body": b"<Response>\x00\xff</Response>",
        **changes,
    }
    return WebhookAnswer(**values)


class StoreContract(ABC):
    """Tests of a `CallStore`.

    ```python
    class TestMyStore(StoreContract):
        async def open_store(self, directory):
            return await MyStore.open(directory / "calls")
    ```
    """

    pytestmark = pytest.mark.asyncio

    @abstractmethod
    async def open_store(self, directory: Path) -> CallStore:
        """Open the store that keeps its data in this directory; opening it again finds what was written."""

    async def test_a_call_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record())
        assert await store.get_call("call-1") == example_record()
        await store.close()

    async def test_a_call_that_has_only_begun_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        begun = CallRecord(
            call_id="call-1",
            carrier="loopback",
            direction="outbound",
            from_number="+15550000001",
            to_number="+15550000002",
            mode="notify",
            state="initiated",
            created_at=1.0,
        )
        store = await self.open_store(tmp_path)
        await store.put_call(begun)
        found = await store.get_call("call-1")
        assert found == begun
        assert found is not None
        assert not found.over
        await store.close()

    async def test_writing_a_call_again_replaces_all_of_it(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record(metadata={"old": 1}, detail="old"))
        changed = example_record(metadata={}, transcript=(), ended_at=None, end_reason=None, state="active")
        await store.put_call(changed)
        assert await store.get_call("call-1") == changed
        assert list(await store.list_calls()) == [changed]
        await store.close()

    async def test_a_call_is_found_by_the_carriers_id(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record("call-1", carrier_call_id="CA1"))
        await store.put_call(example_record("call-2", carrier_call_id="CA2"))
        assert await store.get_call("CA2") == example_record("call-2", carrier_call_id="CA2")
        await store.close()

    async def test_our_id_goes_before_a_carriers_that_looks_the_same(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record("call-1", carrier_call_id="call-2", created_at=2.0))
        await store.put_call(example_record("call-2", carrier_call_id="x", created_at=1.0))
        found = await store.get_call("call-2")
        assert found is not None
        assert found.call_id == "call-2"
        await store.close()

    async def test_an_unknown_id_finds_nothing(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record(carrier_call_id=""))
        assert await store.get_call("nobody") is None
        assert await store.get_call("") is None
        assert list(await store.journal("nobody")) == []
        await store.close()

    async def test_calls_are_listed_newest_first_up_to_the_limit(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        for number in (2, 4, 1, 3):
            await store.put_call(example_record(f"call-{number}", created_at=float(number)))
        await store.put_call(example_record("call-1", created_at=1.0, detail="changed last"))
        assert [call.call_id for call in await store.list_calls()] == ["call-4", "call-3", "call-2", "call-1"]
        assert [call.call_id for call in await store.list_calls(limit=2)] == ["call-4", "call-3"]
        assert list(await store.list_calls(limit=0)) == []
        await store.close()

    async def test_open_calls_can_be_listed_alone(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        live = example_record("live", ended_at=None, end_reason=None, state="active", created_at=1.0)
        await store.put_call(live)
        await store.put_call(example_record("over", created_at=2.0))
        assert list(await store.list_calls(open_only=True)) == [live]
        assert list(await store.list_calls(open_only=True, limit=0)) == []
        await store.close()

    async def test_the_calls_of_a_session_are_found_newest_first(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        mine = {"sessionKey": "agent:main:voice:+15550000001"}
        for number in (2, 4, 1, 3):
            await store.put_call(example_record(f"call-{number}", created_at=float(number), metadata=mine))
        found = await store.session_calls("agent:main:voice:+15550000001", since=2.0, limit=2)
        assert list(found) == [
            example_record("call-4", created_at=4.0, metadata=mine),
            example_record("call-3", created_at=3.0, metadata=mine),
        ]
        found = await store.session_calls("agent:main:voice:+15550000001", since=2.0, limit=9)
        assert [call.call_id for call in found] == ["call-4", "call-3", "call-2"]
        assert list(await store.session_calls("agent:main:voice:+15550000001", since=0.0, limit=0)) == []
        await store.close()

    async def test_the_calls_of_a_session_are_those_of_no_other_and_tell_something(
        self, tmp_path: Path
    ) -> None:
        store = await self.open_store(tmp_path)
        key = "agent:main:voice:+15550000001"
        await store.put_call(example_record("longer", metadata={"sessionKey": f"{key}2"}))
        await store.put_call(example_record("shorter", metadata={"sessionKey": key[:-1]}))
        await store.put_call(example_record("without", metadata={}))
        await store.put_call(example_record("silent", metadata={"sessionKey": key}, transcript=()))
        await store.put_call(
            example_record("live", metadata={"sessionKey": key}, ended_at=None, end_reason=None)
        )
        assert list(await store.session_calls(key, since=0.0, limit=9)) == []
        assert list(await store.session_calls("", since=0.0, limit=9)) == []
        await store.close()

    async def test_times_of_calls_are_listed_from_a_moment_on_newest_first(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        for number, at in enumerate((100.0, 300.0, 200.0)):
            await store.put_call(example_record(f"call-{number}", created_at=at))
        await store.put_call(
            example_record(
                "live",
                direction="outbound",
                created_at=400.0,
                answered_at=None,
                ended_at=None,
                end_reason=None,
            )
        )
        times = list(await store.call_times(since=200.0))
        assert [call.created_at for call in times] == [400.0, 300.0, 200.0]
        assert times[0] == CallTimes(
            carrier="loopback", direction="outbound", to_number="+15550000002", created_at=400.0
        )
        assert times[1].end_reason == "caller-hung-up"
        assert times[1].answered_at == example_record().answered_at
        assert list(await store.call_times(since=400.5)) == []
        await store.close()

    async def test_a_call_is_found_by_the_key_it_was_asked_for_under(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        keys = ("order-7", "order-77", "order-7")
        for number, key in enumerate(keys):
            metadata = {"idempotencyKey": key}
            await store.put_call(
                example_record(f"call-{number}", metadata=metadata, created_at=100.0 + number)
            )
        await store.put_call(example_record("without", created_at=500.0))
        found = await store.keyed_call("order-7", since=100.0)
        assert found is not None
        assert found.call_id == "call-2"
        assert await store.keyed_call("order-7", since=102.5) is None
        assert await store.keyed_call("order", since=0.0) is None
        assert await store.keyed_call("", since=0.0) is None
        await store.close()

    async def test_the_journal_is_read_in_order_from_any_entry_on(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.append_journal([example_entry(2), example_entry(1)])
        await store.append_journal([example_entry(3)])
        assert list(await store.journal("call-1")) == [example_entry(1), example_entry(2), example_entry(3)]
        assert list(await store.journal("call-1", after=2)) == [example_entry(3)]
        assert list(await store.journal("call-1", after=3)) == []
        await store.close()

    async def test_journals_of_different_calls_stay_apart(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.append_journal([example_entry(1, "a"), example_entry(1, "b"), example_entry(2, "a")])
        assert [entry.seq for entry in await store.journal("a")] == [1, 2]
        assert [entry.seq for entry in await store.journal("b")] == [1]
        await store.close()

    async def test_repeating_an_entry_changes_nothing(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.append_journal([example_entry(1)])
        await store.append_journal([example_entry(1, event="CallEnded", data={}), example_entry(2)])
        assert list(await store.journal("call-1")) == [example_entry(1), example_entry(2)]
        await store.append_journal([])
        await store.close()

    async def test_a_journal_may_come_before_the_record_of_its_call(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.append_journal([example_entry(1, "early")])
        assert list(await store.journal("early")) == [example_entry(1, "early")]
        assert await store.get_call("early") is None
        await store.close()

    async def test_answers_to_webhooks_are_kept_oldest_first(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        assert list(await store.answers(since=0.0)) == []
        kept = [example_answer(f"key-{number}", at=100.0 - number) for number in range(3)]
        for answer in kept:
            await store.put_answer(answer)
        assert list(await store.answers(since=0.0)) == kept, "as they were given, whatever the clock said"
        assert list(await store.answers(since=99.0)) == kept[:2]
        await store.close()
        again = await self.open_store(tmp_path)
        assert list(await again.answers(since=0.0)) == kept
        await again.close()

    async def test_the_first_answer_to_a_webhook_stays(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_answer(example_answer())
        await store.put_answer(example_answer(body=b"another", at=1_760_000_009.0))
        await store.put_answer(example_answer(carrier="other", body=b"another carrier's"))
        assert [answer.body for answer in await store.answers(since=0.0)] == [
            example_answer().body,
            b"another carrier's",
        ]
        await store.close()

    async def test_only_the_newest_answers_to_webhooks_are_kept(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        many = ANSWERS_KEPT + 20
        await asyncio.gather(*(store.put_answer(example_answer(f"key-{number}")) for number in range(many)))
        found = [answer.replay_key for answer in await store.answers(since=0.0)]
        assert found == [f"key-{number}" for number in range(many - ANSWERS_KEPT, many)]
        await store.close()

    async def test_everything_is_there_after_closing_and_opening_again(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.put_call(example_record())
        await store.append_journal([example_entry(1)])
        await store.close()
        again = await self.open_store(tmp_path)
        assert await again.get_call("call-1") == example_record()
        assert list(await again.journal("call-1")) == [example_entry(1)]
        await again.close()

    async def test_writes_at_the_same_time_are_all_kept(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        records = [example_record(f"call-{number}", created_at=float(number)) for number in range(60)]
        await asyncio.gather(
            *(store.put_call(record) for record in records),
            *(store.append_journal([example_entry(seq)]) for seq in range(1, 61)),
        )
        assert list(await store.list_calls()) == records[::-1]
        assert [entry.seq for entry in await store.journal("call-1")] == list(range(1, 61))
        await store.close()

    async def test_of_writes_of_one_call_at_the_same_time_the_last_asked_for_stays(
        self, tmp_path: Path
    ) -> None:
        store = await self.open_store(tmp_path)
        versions = [example_record(detail=f"version {number}") for number in range(20)]
        await asyncio.gather(*(store.put_call(version) for version in versions))
        assert await store.get_call("call-1") == versions[-1]
        await store.close()

    async def test_a_write_whose_caller_gave_up_harms_no_other(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        given_up = asyncio.create_task(store.put_call(example_record("given-up")))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await store.put_call(example_record("after"))
        assert await store.get_call("after") == example_record("after")
        await store.close()

    async def test_closing_writes_what_is_pending(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        pending = [
            asyncio.create_task(store.put_call(example_record(f"call-{number}"))) for number in range(9)
        ]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*pending)
        again = await self.open_store(tmp_path)
        assert len(await again.list_calls()) == len(pending)
        await again.close()

    async def test_a_closed_store_says_so_and_may_be_closed_again(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await store.put_call(example_record())
        with pytest.raises(StoreError):
            await store.list_calls()

    async def test_what_changes_after_the_write_is_not_seen(self, tmp_path: Path) -> None:
        store = await self.open_store(tmp_path)
        metadata = {"objective": "first"}
        await store.put_call(example_record(metadata=metadata))
        metadata["objective"] = "second"
        found = await store.get_call("call-1")
        assert found is not None
        assert found.metadata == {"objective": "first"}
        await store.close()

    @pytest.mark.parametrize("text", AWKWARD_TEXTS)
    async def test_text_of_any_kind_survives(self, tmp_path: Path, text: str) -> None:
        said = (TranscriptLine(speaker="caller", text=text, at=1.0),)
        record = example_record(transcript=said, detail=text, metadata={"text": text, f"key {text}": 1})
        entry = example_entry(1, data={"text": text}, commands=({"command": "StartSaying", "text": text},))
        store = await self.open_store(tmp_path)
        await store.put_call(record)
        await store.append_journal([entry])
        assert await store.get_call("call-1") == record
        assert list(await store.journal("call-1")) == [entry]
        await store.close()

    async def test_half_a_surrogate_pair_costs_no_record(self, tmp_path: Path) -> None:
        said = (TranscriptLine(speaker="caller", text="half \ud83d a smile", at=1.0),)
        store = await self.open_store(tmp_path)
        await store.put_call(example_record(transcript=said, detail="half \ud83d"))
        found = await store.get_call("call-1")
        assert found is not None
        assert "a smile" in found.transcript[0].text
        await store.close()
