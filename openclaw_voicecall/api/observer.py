"""Who watches calls."""

from typing import Protocol

from openclaw_voicecall.api.store import CallRecord, JournalEntry


class CallObserver(Protocol):
    """Watches every call from its own bounded queue; a slow or failing observer harms nobody else."""

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        """One journal entry, with the call as it was right after it."""
        ...
