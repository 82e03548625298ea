"""Every record there can be goes through the store, JSON and OpenClaw's log and comes back."""

import asyncio
import json
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.api.store import (
    OPENCLAW_STATES,
    CallRecord,
    JournalEntry,
    LineFigures,
    TranscriptLine,
    TurnLatency,
)
from openclaw_voicecall.api.wire import entry_from_json, entry_to_json, record_from_json, record_to_json
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store.jsonl import export_jsonl, import_jsonl
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.contracts.store import example_record

pytestmark = pytest.mark.server

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(words, json_values, max_size=3)
exact_times = st.floats(0, 4e9, allow_nan=False)
millisecond_times = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
stages = st.none() | st.floats(0, 1e6, allow_nan=False)
latencies = st.builds(
    TurnLatency,
    turn=st.integers(0, 500),
    endpointing_ms=stages,
    transcript_ms=stages,
    first_token_ms=stages,
    first_sentence_ms=stages,
    first_audio_ms=stages,
    total_ms=stages,
)


def transcript_lines(times):
    return st.builds(
        TranscriptLine,
        speaker=st.sampled_from(["caller", "agent"]),
        text=words,
        at=times,
        interrupted=st.booleans(),
        turn=st.integers(0, 500),
    )


def records(times):
    return st.builds(
        CallRecord,
        call_id=names,
        carrier=words,
        direction=st.sampled_from(["inbound", "outbound"]),
        from_number=words,
        to_number=words,
        mode=st.sampled_from(["conversation", "notify"]),
        state=st.sampled_from(OPENCLAW_STATES),
        created_at=times,
        carrier_call_id=words,
        answered_at=st.none() | times,
        ended_at=st.none() | times,
        end_reason=st.none() | st.sampled_from([reason.value for reason in EndReason]),
        detail=words,
        transcript=st.lists(transcript_lines(times), max_size=4).map(tuple),
        latencies=st.lists(latencies, max_size=3).map(tuple),
        line=st.none()
        | st.builds(LineFigures, heard_seconds=times, spoken_seconds=times, longest_silence_ms=times),
        recording=words,
        metadata=objects,
    )


def entries(times):
    return st.builds(
        JournalEntry,
        call_id=names,
        seq=st.integers(1, 2**40),
        at=times,
        elapsed=st.integers(0, 10**10).map(lambda us: us / 10**6),
        event=names,
        data=objects,
        commands=st.lists(objects, max_size=3).map(tuple),
        states=st.dictionaries(names, words, max_size=4),
    )


@given(records(millisecond_times))
def test_a_record_goes_through_json_unchanged(record):
    assert record_from_json(json.loads(json.dumps(record_to_json(record)))) == record


@given(entries(millisecond_times))
def test_a_journal_entry_goes_through_json_unchanged(entry):
    assert entry_from_json(json.loads(json.dumps(entry_to_json(entry)))) == entry


@settings(max_examples=40, deadline=None)
@given(
    st.lists(records(exact_times), max_size=5, unique_by=lambda record: record.call_id),
    st.lists(entries(exact_times), max_size=5, unique_by=lambda entry: (entry.call_id, entry.seq)),
)
def test_the_store_gives_back_what_it_was_given(kept, journal):
    async def round_trip():
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "calls.db"
            async with await SqliteStore.open(path) as store:
                await asyncio.gather(*(store.put_call(record) for record in kept))
                await store.append_journal(journal)
            async with await SqliteStore.open(path) as store:
                listed = await store.list_calls()
                found = [await store.get_call(record.call_id) for record in kept]
                written = {entry.call_id: await store.journal(entry.call_id) for entry in journal}
        return listed, found, written

    listed, found, written = asyncio.run(round_trip())
    assert found == kept
    assert sorted(listed, key=lambda record: record.call_id) == sorted(
        kept, key=lambda record: record.call_id
    )
    assert [record.created_at for record in listed] == sorted((r.created_at for r in kept), reverse=True)
    for call_id, found_entries in written.items():
        assert found_entries == sorted((e for e in journal if e.call_id == call_id), key=lambda e: e.seq)


OPENCLAW_CALL = {
    "callId": "a1b2",
    "providerCallId": "CA77",
    "provider": "twilio",
    "direction": "outbound",
    "state": "hangup-user",
    "from": "+15550000001",
    "to": "+15550000002",
    "sessionKey": "voice:15550000002",
    "startedAt": 1760000000000,
    "answeredAt": 1760000003500,
    "endedAt": 1760000063250,
    "endReason": "hangup-user",
    "transcript": [
        {"timestamp": 1760000004000, "speaker": "bot", "text": "Hello!", "isFinal": True},
        {"timestamp": 1760000005000, "speaker": "user", "text": "Hi th", "isFinal": False},
        {"timestamp": 1760000006000, "speaker": "user", "text": "Hi there.", "isFinal": True},
    ],
    "processedEventIds": ["e1"],
    "metadata": {"mode": "notify", "lastTurnLatencyMs": 900, "initialMessage": "Hello!"},
}


def written(tmp_path, *lines):
    path = tmp_path / "calls.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_openclaws_log_is_understood(tmp_path):
    [record] = import_jsonl(written(tmp_path, OPENCLAW_CALL, ""))
    assert record == CallRecord(
        call_id="a1b2",
        carrier="twilio",
        direction="outbound",
        from_number="+15550000001",
        to_number="+15550000002",
        mode="notify",
        state="hangup-user",
        created_at=1760000000.0,
        carrier_call_id="CA77",
        answered_at=1760000003.5,
        ended_at=1760000063.25,
        end_reason="caller-hung-up",
        transcript=(
            TranscriptLine(speaker="agent", text="Hello!", at=1760000004.0),
            TranscriptLine(speaker="caller", text="Hi there.", at=1760000006.0),
        ),
        metadata={"lastTurnLatencyMs": 900, "initialMessage": "Hello!", "sessionKey": "voice:15550000002"},
    )


def test_the_last_line_of_a_call_counts_and_calls_keep_their_order(tmp_path):
    other = {**OPENCLAW_CALL, "callId": "other"}
    changed = {**OPENCLAW_CALL, "state": "failed", "endReason": "failed"}
    found = import_jsonl(written(tmp_path, OPENCLAW_CALL, other, "", {"version": 2, "call": changed}))
    assert [(record.call_id, record.state, record.end_reason) for record in found] == [
        ("a1b2", "failed", "failed"),
        ("other", "hangup-user", "caller-hung-up"),
    ]


def test_a_call_in_a_final_state_is_over_even_without_its_time(tmp_path):
    line = {key: value for key, value in OPENCLAW_CALL.items() if key not in ("endedAt", "endReason")}
    [record] = import_jsonl(written(tmp_path, {**line, "state": "voicemail"}))
    assert (record.ended_at, record.end_reason) == (1760000006.0, "voicemail")
    [live] = import_jsonl(written(tmp_path, {**line, "state": "listening"}))
    assert (live.over, live.end_reason) == (False, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting property name"),
        ("[1]", "a JSON object"),
        ({**OPENCLAW_CALL, "callId": None}, "callId is missing"),
        ({**OPENCLAW_CALL, "from": 15550000001}, "from is not text"),
        ({**OPENCLAW_CALL, "startedAt": "yesterday"}, "startedAt is not a time"),
        ({**OPENCLAW_CALL, "startedAt": True}, "startedAt is not a time"),
        ({**OPENCLAW_CALL, "startedAt": 10**400}, "too large"),
        ({**OPENCLAW_CALL, "state": "speeking"}, "speeking"),
        ({**OPENCLAW_CALL, "direction": "up"}, "direction 'up'"),
        ({**OPENCLAW_CALL, "transcript": ["hello"]}, "transcript"),
        ({**OPENCLAW_CALL, "transcript": [{"text": "x"}]}, "timestamp is missing"),
        ({**OPENCLAW_CALL, "metadata": [1]}, "metadata"),
        ("[" * 100_000, "recursion"),
        (
            json.dumps(OPENCLAW_CALL)[:-1] + ', "metadata": {"x": 1e999}}',
            "1e999 is no number that JSON can hold",
        ),
        (json.dumps(OPENCLAW_CALL)[:-1] + ', "metadata": {"x": NaN}}', "NaN is no number that JSON can hold"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    path = written(tmp_path, OPENCLAW_CALL, "", line, OPENCLAW_CALL)
    with pytest.raises(StoreError, match=r"calls\.jsonl, line 3 ") as caught:
        import_jsonl(path)
    assert reason in str(caught.value)


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path):
    path = tmp_path / "calls.jsonl"
    path.write_bytes(json.dumps(OPENCLAW_CALL).encode() + b"\n\xff\xfe\n")
    with pytest.raises(StoreError, match="line 2"):
        import_jsonl(path)


def test_a_missing_log_and_an_impossible_target_are_store_errors(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        import_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(StoreError, match="No such file"):
        export_jsonl([], tmp_path / "none" / "calls.jsonl")


def test_an_export_speaks_openclaws_words(tmp_path):
    path = tmp_path / "calls.jsonl"
    record = example_record(
        end_reason="media-lost", state="error", metadata={"sessionKey": "voice:1", "x": 1}
    )
    assert export_jsonl([record], path) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = json.loads(path.read_text())
    assert line["endReason"] == "error"
    assert line["sessionKey"] == "voice:1"
    assert line["provider"] == "loopback"
    assert line["startedAt"] == 1760000000250
    assert [said["speaker"] for said in line["transcript"]] == ["bot", "user", "bot"]
    assert line["metadata"]["lastTurnLatencyMs"] == 812.25
    assert line["metadata"]["lastTurnListenWaitMs"] == 310.5
    assert [file.name for file in tmp_path.iterdir()] == ["calls.jsonl"]


def test_an_export_replaces_a_file_only_when_it_is_whole(tmp_path):
    path = written(tmp_path, "precious")

    def broken():
        yield example_record()
        raise StoreError("the database went away")

    with pytest.raises(StoreError, match="went away"):
        export_jsonl(broken(), path)
    assert path.read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["calls.jsonl"]


@settings(max_examples=60)
@given(records(millisecond_times))
def test_what_openclaws_log_can_hold_comes_back_from_an_export(record):
    over = record.ended_at is not None
    record = replace(
        record,
        state="error" if over else "listening",
        end_reason=record.end_reason or "completed" if over else None,
        detail="",
        recording="",
        line=None,
        latencies=(),
        metadata={f"own {key}": value for key, value in record.metadata.items()},
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "calls.jsonl"
        export_jsonl([record], path)
        assert import_jsonl(path) == [record]
