"""The built-in observer: one log line per step of a call."""

import logging
from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.store import CallRecord, JournalEntry

logger = logging.getLogger("openclaw_voicecall.calls")


class LogObserver:
    """Logs when a call's state changes, and every failure. What is said is in the record, and never in a log."""

    name = "log"

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        """Log the entry, where it is news."""
        if record.over:
            self._states.pop(record.call_id, None)
            logger.info(
                "call %s ended: %s%s",
                record.call_id,
                record.end_reason,
                f" ({record.detail})" if record.detail else "",
            )
        elif self._states.get(record.call_id) != record.state:
            self._states[record.call_id] = record.state
            logger.info("call %s %s %s", record.call_id, record.direction, record.state)
        for order in entry.commands:
            if order["command"] == "AppendTranscript":
                logger.debug(
                    "call %s %s said %d words", record.call_id, order["speaker"], len(order["text"].split())
                )


@hookimpl
def voicecall_register_observers(register: Any) -> None:
    """Register the log observer."""
    register(LogObserver())
