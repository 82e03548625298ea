"""Calls and their journals in SQLite.

One thread owns the connection. Writes that wait while a commit is under way go together into the next one, so
a busy service pays one flush to disk for many calls; every caller still returns only after its own commit.
"""

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

from openclaw_voicecall.api.store import (
    ANSWERS_KEPT,
    CallRecord,
    CallTimes,
    JournalEntry,
    LineFigures,
    TranscriptLine,
    TurnLatency,
    WebhookAnswer,
)
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store.database import Database, explain
from openclaw_voicecall.store.migrations import IDEMPOTENCY_KEY, SESSION_KEY, WAS_A_TALK

T = TypeVar("T")

_CALL_COLUMNS = tuple(part.name for part in fields(CallRecord))
_ENTRY_COLUMNS = tuple(part.name for part in fields(JournalEntry))
_TIMES_COLUMNS = tuple(part.name for part in fields(CallTimes))
_ANSWER_COLUMNS = tuple(part.name for part in fields(WebhookAnswer))
_SELECT_CALL = f"SELECT {', '.join(_CALL_COLUMNS)} FROM calls"  # noqa: S608 - our own column names
_SELECT_TIMES = f"SELECT {', '.join(_TIMES_COLUMNS)} FROM calls"  # noqa: S608 - our own column names
_SELECT_ENTRY = f"SELECT {', '.join(_ENTRY_COLUMNS)} FROM journal"  # noqa: S608 - our own column names

_PUT_CALL = (
    # Built of our own column names, like the next.
    f"INSERT INTO calls ({', '.join(_CALL_COLUMNS)}) VALUES ({', '.join('?' * len(_CALL_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (call_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _CALL_COLUMNS if name != "call_id")
)
_ADD_ENTRY = (
    # Not `INSERT OR IGNORE`: that would also swallow an entry that lacks a value.
    f"INSERT INTO journal ({', '.join(_ENTRY_COLUMNS)}) VALUES ({', '.join('?' * len(_ENTRY_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (call_id, seq) DO NOTHING"
)
_PUT_ANSWER = (
    # Built of our own column names, too.
    f"INSERT INTO webhook_answers ({', '.join(_ANSWER_COLUMNS)}) VALUES ({', '.join('?' * len(_ANSWER_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (carrier, replay_key) DO NOTHING"
)
_FORGET_ANSWERS = "DELETE FROM webhook_answers WHERE id <= (SELECT max(id) FROM webhook_answers) - ?"
_PRUNE = "DELETE FROM journal WHERE call_id IN (SELECT call_id FROM calls WHERE ended_at < ?)"

_BAD_WRITE = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, OverflowError, ValueError)
"""Errors of one write's own values; those that wait with it are not to blame."""


@dataclass(slots=True)
class _Write:
    statement: str
    rows: Sequence[tuple[Any, ...]]
    changed: Future[int] = field(default_factory=Future)
    """Resolves after the commit, with the number of rows changed."""


class SqliteStore:
    """A `CallStore` in one SQLite file.

    Make it with `open`. It is an async context manager that closes itself.
    """

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread
        self._waiting: deque[_Write] = deque()
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the database, creating or upgrading it where needed.

        Args:
            path: The database file; its directory exists.
            read_only: Only look. Works beside a running service and after one was killed. No database is
                created: where there is none, there are no calls.

        Raises:
            StoreError: The file cannot be used; the message says why and what to do. It was not changed.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="voicecall-store")
        database = Database(path, read_only=read_only)
        try:
            await asyncio.get_running_loop().run_in_executor(thread, database.connect)
        except BaseException:
            # Also when cancelled: the thread finishes connecting, then closes what it opened.
            thread.submit(database.close)
            thread.shutdown(wait=False)
            raise
        return cls(database, thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def put_call(self, record: CallRecord) -> None:
        """Write a call, new or changed. Returns after the commit reached the disk.

        A write goes through even if its caller is cancelled while waiting. Values of `metadata` that JSON
        does not know, such as a `Path`, are kept as text.

        Raises:
            StoreError: It could not be written.
        """
        await self._write(_PUT_CALL, [_call_row(record)])

    async def append_journal(self, entries: Sequence[JournalEntry]) -> None:
        """Write journal entries, all or none. Repeating one changes nothing.

        Raises:
            StoreError: They could not be written.
        """
        if entries:
            await self._write(_ADD_ENTRY, [_entry_row(entry) for entry in entries])

    async def get_call(self, call_id: str) -> CallRecord | None:
        """One call by our id, or by the carrier's: then the newest that has it.

        Raises:
            StoreError: The database cannot be read.
        """
        found = await self._read(f"{_SELECT_CALL} WHERE call_id = ?", (call_id,), _call_from_row)
        if not found and call_id:
            query = f"{_SELECT_CALL} WHERE carrier_call_id = ? ORDER BY created_at DESC, rowid DESC LIMIT 1"
            found = await self._read(query, (call_id,), _call_from_row)
        return found[0] if found else None

    async def list_calls(self, *, limit: int = 100, open_only: bool = False) -> Sequence[CallRecord]:
        """Calls, newest first; with `open_only` those that have not ended.

        Raises:
            StoreError: The database cannot be read.
        """
        where = "WHERE ended_at IS NULL" if open_only else ""
        query = f"{_SELECT_CALL} {where} ORDER BY created_at DESC, rowid DESC LIMIT ?"
        return await self._read(query, (max(limit, 0),), _call_from_row)

    async def session_calls(self, session_key: str, *, since: float, limit: int) -> Sequence[CallRecord]:
        """Ended calls of a session in which something was said, newest first.

        Raises:
            StoreError: The database cannot be read.
        """
        query = (
            f"{_SELECT_CALL} WHERE {WAS_A_TALK} AND {SESSION_KEY} = ? AND created_at >= ? "
            "ORDER BY created_at DESC, rowid DESC LIMIT ?"
        )
        return await self._read(query, (_clean(session_key), since, max(limit, 0)), _call_from_row)

    async def call_times(self, *, since: float) -> Sequence[CallTimes]:
        """When and whereto calls were, newest first.

        Raises:
            StoreError: The database cannot be read.
        """
        query = f"{_SELECT_TIMES} WHERE created_at >= ? ORDER BY created_at DESC, rowid DESC"
        return await self._read(
            query, (since,), lambda row: CallTimes(**dict(zip(_TIMES_COLUMNS, row, strict=True)))
        )

    async def keyed_call(self, key: str, *, since: float) -> CallRecord | None:
        """The newest call with this `idempotencyKey` in its metadata.

        Raises:
            StoreError: The database cannot be read.
        """
        query = (
            f"{_SELECT_CALL} WHERE created_at >= ? AND {IDEMPOTENCY_KEY} = ? "
            "ORDER BY created_at DESC, rowid DESC LIMIT 1"
        )
        found = await self._read(query, (since, _clean(key)), _call_from_row)
        return found[0] if found else None

    async def journal(self, call_id: str, *, after: int = 0) -> Sequence[JournalEntry]:
        """Entries of a call, by our id, with `seq > after`, oldest first.

        Raises:
            StoreError: The database cannot be read.
        """
        query = f"{_SELECT_ENTRY} WHERE call_id = ? AND seq > ? ORDER BY seq"
        return await self._read(query, (call_id, after), _entry_from_row)

    async def put_answer(self, answer: WebhookAnswer) -> None:
        """Keep the answer to a webhook, unless there is one. Only the `ANSWERS_KEPT` newest are kept.

        Raises:
            StoreError: It could not be written.
        """
        row = tuple(_clean(getattr(answer, name)) for name in _ANSWER_COLUMNS)
        await asyncio.gather(self._write(_PUT_ANSWER, [row]), self._write(_FORGET_ANSWERS, [(ANSWERS_KEPT,)]))

    async def answers(self, *, since: float) -> Sequence[WebhookAnswer]:
        """The answers to webhooks that are kept, oldest first.

        Raises:
            StoreError: The database cannot be read.
        """
        query = (
            f"SELECT {', '.join(_ANSWER_COLUMNS)} FROM webhook_answers "  # noqa: S608 - our own column names
            "WHERE at >= ? ORDER BY id DESC LIMIT ?"
        )
        found = await self._read(
            query,
            (since, ANSWERS_KEPT),
            lambda row: WebhookAnswer(**dict(zip(_ANSWER_COLUMNS, row, strict=True))),
        )
        return found[::-1]

    async def prune(self, before: float) -> int:
        """Delete the journals of calls that ended before a time; their records stay.

        Args:
            before: Unix seconds.

        Returns:
            How many entries were deleted.

        Raises:
            StoreError: The database cannot be written.
        """
        return await self._write(_PRUNE, [(before,)])

    async def close(self) -> None:
        """Write what is pending and free the database. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._database.close)))
        finally:
            self._thread.shutdown(wait=False)

    async def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        self._check_open()
        write = _Write(statement, rows)
        self._waiting.append(write)
        self._thread.submit(self._commit_waiting)
        return await asyncio.shield(asyncio.wrap_future(write.changed))

    async def _read(
        self, query: str, values: tuple[Any, ...], build: Callable[[tuple[Any, ...]], T]
    ) -> list[T]:
        self._check_open()

        def read() -> list[T]:
            try:
                return [build(row) for row in self._database.rows(query, values)]
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                raise StoreError(
                    f"{self._database.path} holds a row this program cannot read: {error}"
                ) from error

        return await asyncio.wrap_future(self._thread.submit(read))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"The call database {self._database.path} is already closed.")

    def _commit_waiting(self) -> None:
        """Commit everything that waits now. On the store's thread; an earlier run may have taken it all."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return
        try:
            self._commit(batch)
        except BaseException as error:
            # Whatever it is, those who wait must hear of it: the thread itself has nobody to tell.
            for write in batch:
                if not write.changed.done():
                    write.changed.set_exception(error)

    def _commit(self, batch: Sequence[_Write]) -> None:
        try:
            counts = self._database.transact([(write.statement, write.rows) for write in batch])
        except _BAD_WRITE as error:
            if len(batch) > 1:
                for write in batch:
                    self._commit([write])
            else:
                batch[0].changed.set_exception(explain(self._database.path, error))
        except sqlite3.Error as error:
            for write in batch:
                write.changed.set_exception(explain(self._database.path, error))
        else:
            for write, count in zip(batch, counts, strict=True):
                write.changed.set_result(count)


def _call_row(record: CallRecord) -> tuple[Any, ...]:
    values: dict[str, Any] = {name: getattr(record, name) for name in _CALL_COLUMNS}
    values["line"] = None if record.line is None else asdict(record.line)
    for name in ("line", "metadata"):
        values[name] = _to_json(values[name], record.call_id)
    values["transcript"] = f"[{','.join(map(_part, record.transcript))}]"
    values["latencies"] = f"[{','.join(map(_part, record.latencies))}]"
    return tuple(_clean(value) for value in values.values())


def _call_from_row(row: tuple[Any, ...]) -> CallRecord:
    values = dict(zip(_CALL_COLUMNS, row, strict=True))
    values["transcript"] = tuple(TranscriptLine(**line) for line in json.loads(values["transcript"]))
    values["latencies"] = tuple(TurnLatency(**latency) for latency in json.loads(values["latencies"]))
    line = json.loads(values["line"])
    values["line"] = None if line is None else LineFigures(**line)
    values["metadata"] = json.loads(values["metadata"])
    return CallRecord(**values)


def _entry_row(entry: JournalEntry) -> tuple[Any, ...]:
    return (
        _clean(entry.call_id),
        entry.seq,
        entry.at,
        entry.elapsed,
        _clean(entry.event),
        _to_json(entry.data, entry.call_id),
        _to_json(entry.commands, entry.call_id),
        _to_json(entry.states, entry.call_id),
    )


def _entry_from_row(row: tuple[Any, ...]) -> JournalEntry:
    values = dict(zip(_ENTRY_COLUMNS, row, strict=True))
    values["data"] = json.loads(values["data"])
    values["commands"] = tuple(json.loads(values["commands"]))
    values["states"] = json.loads(values["states"])
    return JournalEntry(**values)


@lru_cache(maxsize=4096)
def _part(part: TranscriptLine | TurnLatency) -> str:
    """A part of a record, which is written again and again as the record grows, and never changes itself."""
    return json.dumps(asdict(part), separators=(",", ":"), default=str)


def _to_json(value: object, call_id: str) -> str:
    """JSON text, in ASCII: half a surrogate pair in a transcript must not cost the record."""
    try:
        return json.dumps(value, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"The record of call {call_id} holds what JSON cannot say: {error}") from error


def _clean(value: object) -> object:
    """Text as SQLite can keep it: half a surrogate pair becomes its escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
