"""What happens when no plugin says otherwise: records are kept in SQLite."""

from typing import Any

from openclaw_voicecall import hookimpl


@hookimpl(trylast=True)
def voicecall_open_store(config: Any) -> Any:
    """Open the SQLite store; the caller awaits what this returns."""
    from openclaw_voicecall.store.sqlite import SqliteStore  # noqa: PLC0415 opened once, at start

    return SqliteStore.open(config.database)
