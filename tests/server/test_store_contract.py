"""The SQLite store against the public contract, and what only it promises."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from openclaw_voicecall.api.store import CallStore
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store import database
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.testing.contracts.store import StoreContract, example_entry, example_record

pytestmark = pytest.mark.server


class TestSqliteStore(StoreContract):
    async def open_store(self, directory: Path) -> CallStore:
        return await SqliteStore.open(directory / "calls.db")


@pytest.fixture
def statements(monkeypatch):
    """Every statement that SQLite runs."""
    seen = []
    connect = sqlite3.connect

    def traced(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    return seen


async def test_every_commit_is_flushed_to_the_disk(tmp_path, statements):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        await store.put_call(example_record())
    assert "PRAGMA synchronous=FULL" in statements
    assert "PRAGMA journal_mode=WAL" in statements


async def test_writes_that_wait_together_share_a_commit(tmp_path, statements):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        statements.clear()
        await asyncio.gather(*(store.put_call(example_record(f"call-{number}")) for number in range(300)))
        assert statements.count("COMMIT") < 100
        assert len(await store.list_calls(limit=1000)) == 300


async def test_a_bad_write_does_not_take_those_beside_it_along(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        outcomes = await asyncio.gather(
            store.put_call(example_record("good-1")),
            store.put_call(example_record("bad", created_at=float("nan"))),
            store.append_journal([example_entry(2**70)]),
            store.put_call(example_record("good-2")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), StoreError, StoreError, type(None)]
        assert {call.call_id for call in await store.list_calls()} == {"good-1", "good-2"}


async def test_entries_given_together_are_written_all_or_none(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        with pytest.raises(StoreError):
            await store.append_journal([example_entry(1), example_entry(2, at=float("nan"))])
        assert await store.journal("call-1") == []


async def test_a_given_up_write_is_done_all_the_same(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        given_up = asyncio.create_task(store.put_call(example_record()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert await store.get_call("call-1") == example_record()


async def test_metadata_that_json_does_not_know_is_kept_as_text(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        await store.put_call(example_record(metadata={"script": Path("/x/y")}))
        found = await store.get_call("call-1")
        assert found is not None
        assert found.metadata == {"script": "/x/y"}
        loop: dict[str, object] = {}
        loop["itself"] = loop
        with pytest.raises(StoreError, match="call-1"):
            await store.put_call(example_record(metadata=loop))


async def test_pruning_takes_the_journals_of_calls_long_over_and_nothing_else(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        await store.put_call(example_record("old", ended_at=100.0))
        await store.put_call(example_record("new", ended_at=200.0))
        await store.put_call(example_record("live", ended_at=None))
        for call in ("old", "new", "live", "unknown"):
            await store.append_journal([example_entry(1, call), example_entry(2, call)])
        assert await store.prune(before=200.0) == 2
        assert await store.journal("old") == []
        assert [len(await store.journal(call)) for call in ("new", "live", "unknown")] == [2, 2, 2]
        assert await store.get_call("old") is not None


async def test_of_two_calls_with_one_carrier_id_the_newer_is_found(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        await store.put_call(example_record("newer", carrier_call_id="CA1", created_at=2.0))
        await store.put_call(example_record("older", carrier_call_id="CA1", created_at=1.0))
        found = await store.get_call("CA1")
        assert found is not None
        assert found.call_id == "newer"


async def test_nobody_else_can_read_the_database_or_its_log(tmp_path):
    before = os.umask(0)
    try:
        async with await SqliteStore.open(tmp_path / "calls.db") as store:
            await store.put_call(example_record())
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"calls.db": 0o600, "calls.db-wal": 0o600, "calls.db-shm": 0o600}


async def test_a_database_that_others_can_read_is_closed_to_them(tmp_path):
    path = tmp_path / "calls.db"
    await (await SqliteStore.open(path)).close()
    path.chmod(0o644)
    async with await SqliteStore.open(path) as store:
        await store.put_call(example_record())
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


async def test_opening_a_second_time_keeps_the_first_ones_locks(tmp_path):
    path = tmp_path / "calls.db"
    async with await SqliteStore.open(path) as first, await SqliteStore.open(path) as second:
        await asyncio.gather(
            *(
                store.put_call(example_record(f"{name}-{n}"))
                for n in range(20)
                for name, store in [("a", first), ("b", second)]
            )
        )
        assert len(await first.list_calls()) == len(await second.list_calls()) == 40


async def test_many_may_open_a_new_database_at_the_same_moment(tmp_path):
    stores = await asyncio.gather(*(SqliteStore.open(tmp_path / "calls.db") for _ in range(8)))
    for number, store in enumerate(stores):
        await store.put_call(example_record(f"call-{number}"))
    assert len(await stores[0].list_calls()) == 8
    for store in stores:
        await store.close()


async def test_a_database_that_another_program_holds_is_reported_as_that(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "calls.db"
    async with await SqliteStore.open(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Another program holds"):
            await store.put_call(example_record())
        other.execute("ROLLBACK")
        other.close()
        await store.put_call(example_record())


async def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "calls.db"
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
            "VALUES ('openclaw_voicecall', '9999_from_the_future', '2099')"
        )
    connection.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"newer version.*9999_from_the_future.*Upgrade"):
            await SqliteStore.open(path, read_only=read_only)
    assert path.read_bytes() == before


async def test_opening_again_does_not_migrate_again(tmp_path, statements):
    path = tmp_path / "calls.db"
    await (await SqliteStore.open(path)).close()
    assert any("CREATE TABLE calls" in statement for statement in statements)
    statements.clear()
    await (await SqliteStore.open(path)).close()
    assert not any("CREATE" in statement or "INSERT" in statement for statement in statements)


async def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "calls.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await SqliteStore.open(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_never_overwritten(tmp_path):
    path = tmp_path / "calls.db"
    path.write_bytes(b"these are somebody's notes, not a database\n" * 200)
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"damaged or not a call database.*left as it is"):
            await SqliteStore.open(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["calls.db"]


@pytest.mark.parametrize("start", [100, 4096, 5000])
async def test_a_damaged_database_is_reported_and_never_overwritten(tmp_path, start):
    path = tmp_path / "calls.db"
    async with await SqliteStore.open(path) as store:
        for number in range(30):
            await store.put_call(example_record(f"call-{number}"))
    damaged = bytearray(path.read_bytes())
    damaged[start:] = b"\xa5" * (len(damaged) - start)
    path.write_bytes(damaged)

    async def use() -> None:
        async with await SqliteStore.open(path) as store:
            await store.list_calls()

    with pytest.raises(StoreError, match="damaged"):
        await use()
    assert path.read_bytes() == bytes(damaged)


async def test_a_row_that_somebody_edited_badly_is_a_store_error(tmp_path):
    path = tmp_path / "calls.db"
    async with await SqliteStore.open(path) as store:
        await store.put_call(example_record())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE calls SET transcript = '[{]'")
    connection.close()
    async with await SqliteStore.open(path) as store:
        with pytest.raises(StoreError, match="row"):
            await store.list_calls()


async def test_a_missing_directory_and_a_directory_as_database_are_store_errors(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        await SqliteStore.open(tmp_path / "missing" / "calls.db")
    (tmp_path / "calls.db").mkdir(mode=0o700)
    with pytest.raises(StoreError):
        await SqliteStore.open(tmp_path / "calls.db")
    with pytest.raises(StoreError):
        await SqliteStore.open(tmp_path / "calls.db", read_only=True)


async def test_looking_where_no_database_is_finds_no_calls_and_creates_nothing(tmp_path):
    async with await SqliteStore.open(tmp_path / "calls.db", read_only=True) as store:
        assert await store.list_calls() == []
        assert await store.get_call("x") is None
        assert await store.journal("x") == []
    async with await SqliteStore.open(tmp_path / "missing" / "calls.db", read_only=True) as store:
        assert await store.list_calls() == []
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_holds_no_calls_and_stays_empty_when_only_looked_at(tmp_path):
    (tmp_path / "calls.db").touch(mode=0o600)
    async with await SqliteStore.open(tmp_path / "calls.db", read_only=True) as store:
        assert await store.list_calls() == []
    assert (tmp_path / "calls.db").stat().st_size == 0


async def test_a_store_opened_to_look_does_not_write(tmp_path):
    path = tmp_path / "calls.db"
    async with await SqliteStore.open(path) as store:
        await store.put_call(example_record())
    before = path.read_bytes()
    async with await SqliteStore.open(path, read_only=True) as store:
        assert await store.list_calls() == [example_record()]
        with pytest.raises(StoreError, match="reading only"):
            await store.put_call(example_record("new"))
        with pytest.raises(StoreError, match="reading only"):
            await store.append_journal([example_entry(1)])
    assert path.read_bytes() == before


async def test_an_opening_that_was_given_up_leaves_no_open_file(tmp_path):
    opening = asyncio.create_task(SqliteStore.open(tmp_path / "calls.db"))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with await SqliteStore.open(tmp_path / "calls.db") as store:
        await store.put_call(example_record())
