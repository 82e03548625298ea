"""Tells the host what is said on a call while it lasts, some lines at a time: `reports.live`."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from openclaw_voicecall.api.host import Host
from openclaw_voicecall.api.store import CallRecord

logger = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two notes of a call, at least."""
LIMIT: Final = 10.0
"""Seconds that the host may take for one."""


@dataclass(slots=True)
class _Talk:
    """What the host was told of one call."""

    record: CallRecord
    told: int = 0
    """Lines of its transcript."""
    task: asyncio.Task[None] | None = None


class LiveNotes:
    """Notes of all calls under way. A host that has no `note` is told nothing; one that fails costs a line of the log.

    What is not told yet when a call ends is in the report of its end.
    """

    def __init__(self) -> None:
        self._talks: dict[str, _Talk] = {}
        self._failed = False

    def take(self, record: CallRecord, host: Host) -> None:
        """The call as it is now."""
        if getattr(host, "note", None) is None:
            return
        talk = self._talks.setdefault(record.call_id, _Talk(record))
        talk.record = record
        if len(record.transcript) > talk.told and talk.task is None:
            talk.task = asyncio.create_task(self._tell(talk, host))

    def end(self, call_id: str) -> None:
        """The call is over."""
        talk = self._talks.pop(call_id, None)
        if talk is not None and talk.task is not None:
            talk.task.cancel()

    async def close(self) -> None:
        """Tell nothing more."""
        tasks = [talk.task for talk in self._talks.values() if talk.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LIMIT)

    async def _tell(self, talk: _Talk, host: Host) -> None:
        """Tell what is new, and again after a while, as long as there is something new."""
        while len(talk.record.transcript) > talk.told:
            record, since = talk.record, talk.told
            talk.told = len(record.transcript)
            try:
                async with asyncio.timeout(LIMIT):
                    await host.note(str(record.metadata.get("sessionKey", "")), record, since)
            except Exception as error:  # a host's bug is the host's, not the call's
                if not self._failed:
                    logger.warning("live notes cannot be told to the host %s: %r", host.name, error)
                self._failed = True
            await asyncio.sleep(EVERY)
        talk.task = None
