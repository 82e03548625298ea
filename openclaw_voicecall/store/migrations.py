"""How the database got its shape, step by step.

A step that was released is never changed; a new shape is a new step at the end. The names of the steps that a
database has had are kept in it, so a program that meets a name it does not know is older than the database.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_SET = "openclaw_voicecall"
"""Name of our set in `_sqlite_migrations`; plugins that keep tables in the same database use their own."""
_MIGRATIONS_TABLE = "_sqlite_migrations"
"""Where sqlite-utils keeps which steps were done."""

SESSION_KEY = "CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.sessionKey') END"
"""A call's session key in SQL. Metadata that SQLite's JSON does not take, such as NaN, must not keep a call from being
written."""
IDEMPOTENCY_KEY = "CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.idempotencyKey') END"
"""The key under which a call was asked for, in SQL. Without an index: only calls of a day are searched for it."""
WAS_A_TALK = "ended_at IS NOT NULL AND transcript <> '[]'"
"""Ended calls in which something was said. The index leaves out all others, so a live call's many writes do not touch
it. It is only used by queries that write both conditions the same way."""


def _calls_and_journal(db: "Database") -> None:
    db.execute(
        """
        CREATE TABLE calls (
            call_id TEXT PRIMARY KEY,
            carrier TEXT NOT NULL,
            carrier_call_id TEXT NOT NULL,
            direction TEXT NOT NULL,
            from_number TEXT NOT NULL,
            to_number TEXT NOT NULL,
            mode TEXT NOT NULL,
            state TEXT NOT NULL,
            created_at REAL NOT NULL,
            answered_at REAL,
            ended_at REAL,
            end_reason TEXT,
            detail TEXT NOT NULL,
            recording TEXT NOT NULL,
            transcript TEXT NOT NULL,
            latencies TEXT NOT NULL,
            metadata TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX calls_by_time ON calls (created_at)")
    db.execute("CREATE INDEX calls_open ON calls (created_at) WHERE ended_at IS NULL")
    db.execute("CREATE INDEX calls_by_carrier_call_id ON calls (carrier_call_id) WHERE carrier_call_id <> ''")
    # No foreign key to `calls`: an entry is never refused because its call is written a moment later.
    db.execute(
        """
        CREATE TABLE journal (
            call_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            at REAL NOT NULL,
            elapsed REAL NOT NULL,
            event TEXT NOT NULL,
            data TEXT NOT NULL,
            commands TEXT NOT NULL,
            states TEXT NOT NULL,
            PRIMARY KEY (call_id, seq)
        ) WITHOUT ROWID
        """
    )


def _calls_by_session(db: "Database") -> None:
    db.execute(f"CREATE INDEX calls_by_session ON calls ({SESSION_KEY}, created_at) WHERE {WAS_A_TALK}")


def _webhook_answers(db: "Database") -> None:
    db.execute(
        """
        CREATE TABLE webhook_answers (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            carrier TEXT NOT NULL,
            replay_key TEXT NOT NULL,
            at REAL NOT NULL,
            status INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            body BLOB NOT NULL,
            UNIQUE (carrier, replay_key)
        )
        """
    )


def _line_figures(db: "Database") -> None:
    db.execute("ALTER TABLE calls ADD COLUMN line TEXT NOT NULL DEFAULT 'null'")


_STEPS: tuple[tuple[str, Callable[["Database"], None]], ...] = (
    ("0001_calls_and_journal", _calls_and_journal),
    ("0002_calls_by_session", _calls_by_session),
    ("0003_webhook_answers", _webhook_answers),
    ("0004_line_figures", _line_figures),
)


def applied_steps(connection: sqlite3.Connection) -> frozenset[str]:
    """Names of the steps that the database has had; none for a new one."""
    if _MIGRATIONS_TABLE not in _tables(connection):
        return frozenset()
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (_SET,))
    return frozenset(name for (name,) in rows)


def missing_steps(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of the steps that this program knows and the database has not had, in order."""
    applied = applied_steps(connection)
    return tuple(name for name, _ in _STEPS if name not in applied)


def unknown_steps(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of the steps that a newer program did to the database, in order."""
    return tuple(sorted(applied_steps(connection) - {name for name, _ in _STEPS}))


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether the database holds tables, but had none of our steps: it belongs to another program."""
    return bool(_tables(connection) - {_MIGRATIONS_TABLE}) and not applied_steps(connection)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the shape this program expects, in one transaction.

    Raises:
        sqlite3.Error: A step failed; the database is as it was.
    """
    # sqlite-utils imports numpy where there is one (0.1 s): a database that is up to date does without it.
    from sqlite_utils import Database  # noqa: PLC0415
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415

    migrations = Migrations(_SET)
    for name, step in _STEPS:
        migrations(name=name)(step)
    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    # The lock comes before the look at what is missing: another process may be opening the same file.
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(database)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return frozenset(name for (name,) in rows)
