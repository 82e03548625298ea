"""One SQLite file: how it is opened, written in transactions, and what its errors mean to its owner."""

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.store import migrations

BUSY_TIMEOUT_MS = 5000
"""How long to wait for another program that holds the database."""
SWITCH_PAUSE = 0.01
"""Seconds between attempts to turn the write-ahead log on."""


class Database:
    """A connection that lives on one thread: every method is called there, except that making it is free."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None

    def connect(self) -> None:
        """Open the file; unless only looking, create it with mode 0600 and bring it to the current shape.

        Raises:
            StoreError: It cannot be opened, is no call database, or a newer program made it.
        """
        try:
            if self._read_only:
                if not self.path.exists():
                    return
                self._connection = self._open("ro")
            else:
                _make_private(self.path)
                self._connection = self._open("rw")
            self._check_shape(self._connection)
            if not self._read_only:
                self._prepare(self._connection)
        except OSError as error:
            raise StoreError(f"The call database {self.path} cannot be opened: {error.strerror}.") from error
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise explain(self.path, error) from error

    def transact(self, statements: Sequence[tuple[str, Sequence[tuple[Any, ...]]]]) -> list[int]:
        """Run statements, each once for every row of values, in one transaction that is on disk at return.

        Returns:
            For each statement the number of rows it changed.

        Raises:
            StoreError: The database was opened only to look.
            sqlite3.Error: Nothing of it was done.
        """
        if self._read_only or self._connection is None:
            raise StoreError(f"The call database {self.path} was opened for reading only.")
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            counts = [connection.executemany(statement, rows).rowcount for statement, rows in statements]
            connection.execute("COMMIT")
        except BaseException:
            # SQLite itself rolls back after some errors, such as a full disk.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return counts

    def rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            StoreError: The database cannot be read.
        """
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise explain(self.path, error) from error

    def close(self) -> None:
        """Free the file. Closing again does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
        )

    def _check_shape(self, connection: sqlite3.Connection) -> None:
        if migrations.is_foreign(connection):
            raise StoreError(
                f"{self.path} is a database of another program and was left alone. "
                "Choose another state directory."
            )
        if unknown := migrations.unknown_steps(connection):
            raise StoreError(
                f"{self.path} was written by a newer version of openclaw-voicecall (it has {unknown[-1]}). "
                "Upgrade this program, or choose another state directory."
            )
        if not self._read_only or not migrations.missing_steps(connection):
            return
        if migrations.applied_steps(connection):
            raise StoreError(f"{self.path} is from an older version. Start the service once to upgrade it.")
        self.close()  # The service is creating it just now: no calls yet.

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # FULL flushes at every commit, so what was acknowledged also survives a loss of power.
        mode = self._switch_to_log(connection)
        if mode != "wal":
            raise StoreError(
                f"The file system of {self.path} does not support SQLite's write-ahead log. "
                "Choose a state directory on a local disk."
            )
        connection.execute("PRAGMA synchronous=FULL")
        if migrations.missing_steps(connection):
            migrations.migrate(connection)

    def _switch_to_log(self, connection: sqlite3.Connection) -> str:
        """Turn the write-ahead log on; gives the mode that the database then has."""
        until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        while True:
            try:
                return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            except sqlite3.OperationalError as error:
                # Of two that switch a new database at once SQLite refuses one at once, without its usual patience.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
                time.sleep(SWITCH_PAUSE)


def explain(path: Path, error: Exception) -> StoreError:
    """An error of SQLite as a sentence that says what to do. The original belongs into `from`."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    reason = f"{error}, {name}"
    for beginnings, sentence in _SENTENCES:
        if name.startswith(beginnings):
            return StoreError(sentence.format(path=path, reason=reason))
    return StoreError(f"The call database {path} refused an operation ({reason}).")


_SENTENCES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("SQLITE_FULL",),
        "The disk of the call database {path} is full: free some space. "
        "Until then nothing new is kept ({reason}).",
    ),
    (
        ("SQLITE_CORRUPT", "SQLITE_NOTADB", "UnicodeDecodeError"),
        "{path} is damaged or not a call database ({reason}). It was left as it is: restore a backup, try "
        "`sqlite3 {path} .recover`, or move the file away to start with an empty one.",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        "Another program holds the call database {path} ({reason}). Close it and try again.",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"),
        "The call database {path} cannot be opened or written ({reason}). "
        "Check the owner and the permissions of the file and of its directory.",
    ),
    (
        ("SQLITE_IOERR",),
        "The call database {path} cannot be read or written ({reason}). "
        "Check that the disk works and has space, and that no quota or file size limit is reached.",
    ),
)


def _make_private(path: Path) -> None:
    """Create the file with mode 0600, or take away what others may do with it.

    The log and its index (`-wal`, `-shm`) get the mode of the database from SQLite. An existing file is never
    opened here: closing it would drop SQLite's locks on it in this process.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for file in _with_companions(path):
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
    else:
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _with_companions(path: Path) -> Iterable[Path]:
    return (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))
