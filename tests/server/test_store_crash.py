"""What was acknowledged is there after a killed process, a full disk, and beside a reader."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from openclaw_voicecall.store.sqlite import SqliteStore

pytestmark = pytest.mark.server

WRITER = """
    import asyncio, itertools, os, sys
    from pathlib import Path
    from openclaw_voicecall.store.sqlite import SqliteStore
    from openclaw_voicecall.testing.contracts.store import example_entry, example_record

    async def one(store, lane):
        for number in itertools.count(1):
            call_id = f"{lane}-{number}"
            record = example_record(call_id, created_at=float(number))
            await store.put_call(record)
            os.write(1, f"call {call_id}\\n".encode())
            await store.append_journal([example_entry(1, call_id), example_entry(2, call_id)])
            os.write(1, f"journal {call_id}\\n".encode())

    async def main():
        store = await SqliteStore.open(Path(sys.argv[1]))
        await asyncio.gather(*(one(store, lane) for lane in "abcd"))

    asyncio.run(main())
"""

FILLER = """
    import asyncio, json, os, resource, sys
    from pathlib import Path
    from openclaw_voicecall.errors import StoreError
    from openclaw_voicecall.store.sqlite import SqliteStore
    from openclaw_voicecall.testing.contracts.store import example_record

    async def main():
        store = await SqliteStore.open(Path(sys.argv[1]))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        kept, failure = [], None
        for number in range(100_000):
            try:
                await store.put_call(example_record(f"call-{number}", metadata={"filler": "x" * 2000}))
            except StoreError as error:
                failure = str(error)
                break
            kept.append(f"call-{number}")
        again = None
        try:
            await store.put_call(example_record("still-full", metadata={"filler": "x" * 50_000}))
        except StoreError as error:
            again = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await store.put_call(example_record("after"))
        kept.append("after")
        await store.close()
        print(json.dumps({"kept": kept, "failure": failure, "again": again}))

    asyncio.run(main())
"""


@contextlib.contextmanager
def started(code, *arguments):
    """A process that runs the code; it is killed at the latest when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdout=subprocess.PIPE, bufsize=0
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def read_lines(process, count):
    return [process.stdout.readline().decode().split() for _ in range(count)]


async def missing_of(acknowledged, store):
    """Acknowledged writes that the store does not have."""
    missing = []
    for kind, call_id in acknowledged:
        found = await (store.get_call(call_id) if kind == "call" else store.journal(call_id))
        if not found or (kind == "journal" and len(found) != 2):
            missing.append((kind, call_id))
    return missing


@pytest.mark.parametrize("seed", range(6))
async def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path, seed):
    path = tmp_path / "calls.db"
    with started(WRITER, path) as process:
        acknowledged = read_lines(process, random.Random(seed).randrange(1, 400))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().decode()
    acknowledged += [line.split() for line in rest.split("\n")[:-1]]
    left = [path.read_bytes(), (tmp_path / "calls.db-wal").read_bytes()]
    assert len(left[1]) > 0
    async with await SqliteStore.open(path, read_only=True) as store:
        assert await missing_of(acknowledged, store) == []
    assert [path.read_bytes(), (tmp_path / "calls.db-wal").read_bytes()] == left
    async with await SqliteStore.open(path) as store:
        assert await missing_of(acknowledged, store) == []


async def test_looking_while_another_process_writes_sees_all_that_was_acknowledged(tmp_path):
    path = tmp_path / "calls.db"
    with started(WRITER, path) as process:
        acknowledged = read_lines(process, 20)
        for _ in range(5):
            async with await SqliteStore.open(path, read_only=True) as store:
                acknowledged += read_lines(process, 40)
                assert await missing_of(acknowledged, store) == []
                calls = await store.list_calls(limit=10)
                assert len(calls) == 10
        assert process.poll() is None


async def test_a_full_disk_is_reported_loses_nothing_and_passes_when_there_is_space_again(tmp_path):
    path = tmp_path / "calls.db"
    with started(FILLER, path) as process:
        said = json.loads(process.stdout.read())
        assert process.wait() == 0
    assert len(said["kept"]) > 5
    for message in (said["failure"], said["again"]):
        assert str(path) in message
        assert "space" in message
    async with await SqliteStore.open(path, read_only=True) as store:
        calls = await store.list_calls(limit=100_000)
    assert {call.call_id for call in calls} == set(said["kept"])


OTHER_USER = """
    import asyncio, os, sys
    from pathlib import Path
    from openclaw_voicecall.errors import StoreError
    from openclaw_voicecall.store.sqlite import SqliteStore

    os.setegid(65534)
    os.seteuid(65534)
    for read_only in (False, True):
        try:
            asyncio.run(SqliteStore.open(Path(sys.argv[1]), read_only=read_only))
        except StoreError as error:
            print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look at a file as somebody else")
def test_a_database_of_somebody_else_is_reported_with_what_to_check():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "calls.db"
        path.touch(mode=0o600)
        Path(directory).chmod(0o755)
        with started(OTHER_USER, path) as process:
            lines = process.stdout.read().decode().splitlines()
    assert len(lines) == 2
    assert all(str(path) in line and "permissions" in line for line in lines)
