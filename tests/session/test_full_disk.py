"""A disk that takes no more: recordings end in good order, and what could not be stored is known all the same."""

import asyncio
import resource
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pluggy
import pytest

from openclaw_voicecall import hookspecs
from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.session.recorder import CallRecorder
from openclaw_voicecall.testing.scripted import LoopClock

pytestmark = pytest.mark.session

FRAME = b"\x10" * 160
LIMIT = 100_000
"""Bytes of a file, not a whole number of samples after the header."""


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Writes beyond this size fail, after as much of them as fits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def _record(recorder: CallRecorder, seconds: float) -> None:
    """Have a caller speak for so long in no time."""
    recorder.start(LoopClock().monotonic())
    for frame in range(round(seconds * 50)):
        recorder.caller(frame * 0.02, FRAME)
        if frame % 50 == 49:
            await recorder._write(frame * 0.02 + 0.02)
    await recorder.close()


async def test_a_recording_ends_with_its_last_whole_write_and_says_so_once(tmp_path: Path):
    told: list[str] = []
    recorder = CallRecorder(tmp_path / "call.wav", LoopClock(), failed=told.append)
    with files_end_at(LIMIT):
        await _record(recorder, 10.0)
    assert len(told) == 1
    assert str(recorder.path) in told[0]
    with wave.open(str(recorder.path)) as file:
        frames = file.getnframes()
    assert recorder.path.stat().st_size == 44 + 4 * frames
    assert frames == 3 * 8000, "whole seconds, as they were written"


async def test_a_recording_that_cannot_begin_leaves_no_file(tmp_path: Path):
    told: list[str] = []
    recorder = CallRecorder(tmp_path / "call.wav", LoopClock(), failed=told.append)
    with files_end_at(20):
        await _record(recorder, 3.0)
    assert len(told) == 1
    assert not recorder.path.exists()


async def test_a_folder_that_is_gone_costs_the_recording_only(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    told: list[str] = []
    await _record(CallRecorder(tmp_path / "file" / "call.wav", LoopClock(), failed=told.append), 3.0)
    assert len(told) == 1


class FullStore:
    """Takes nothing until it is emptied."""

    def __init__(self) -> None:
        self.full = True
        self.records: list[CallRecord] = []
        self.entries: list[JournalEntry] = []

    async def put_call(self, record: CallRecord) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.records.append(record)

    async def append_journal(self, entries: list[JournalEntry]) -> None:
        self.entries += entries


@pytest.mark.looptime
async def test_what_waits_for_the_store_is_known_and_stored_once_it_can_be(caplog: pytest.LogCaptureFixture):
    store = FullStore()
    plugins = pluggy.PluginManager("openclaw_voicecall")
    plugins.add_hookspecs(hookspecs)
    hub = JournalHub(store, [], plugins)
    hub.open()
    record = CallRecord(
        call_id="call-1",
        carrier="local",
        direction="inbound",
        from_number="+15550000001",
        to_number="+15550000002",
        mode="conversation",
        state="hangup-user",
        created_at=1.0,
        ended_at=2.0,
        end_reason="caller-hung-up",
    )
    hub.write(record, JournalEntry(call_id="call-1", seq=1, at=2.0, elapsed=1.0, event="CallEnded"))
    await asyncio.sleep(30)
    assert hub.unsaved("call-1") is record
    assert hub.unsaved("call-2") is None
    store.full = False
    await hub.flush()
    assert hub.unsaved("call-1") is None
    assert [kept.end_reason for kept in store.records] == ["caller-hung-up"]
    assert [kept.seq for kept in store.entries] == [1]
    await hub.close()
    said = [entry.message for entry in caplog.records]
    assert len(said) == 2, "once that it fails, once that it works again"
