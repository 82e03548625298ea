"""The one stream of truth: every entry of every call, to the store, the observers and the live feed."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pluggy

from openclaw_voicecall.api.observer import CallObserver
from openclaw_voicecall.api.store import CallRecord, CallStore, JournalEntry
from openclaw_voicecall.errors import StoreError

logger = logging.getLogger(__name__)

STORE_RETRY = 1.0
"""Seconds until a failed write is tried again."""

GATHER = 0.1
"""Seconds from one write to the next, unless somebody waits for it: a commit costs as much for one entry as for the
entries of a hundred calls."""

SAY_EVERY = 60
"""Failed writes for one line in the log."""

Item = tuple[CallRecord, JournalEntry]

OBSERVER_QUEUE = 1024
"""Entries that may wait for a slow observer; beyond it the oldest are dropped and counted."""
FEED_QUEUE = 4096
"""Entries that may wait for a slow reader of the feed; beyond it the reader is cut off."""


@dataclass(slots=True, eq=False)
class _Lane:
    """One reader's own bounded queue."""

    name: str
    limit: int
    waiting: deque[Item] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: int = 0
    closed: bool = False

    def put(self, item: Item) -> None:
        if len(self.waiting) >= self.limit:
            self.waiting.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("%s is too slow; journal entries for it are dropped", self.name)
        self.waiting.append(item)
        self.wake.set()

    async def take(self) -> Item | None:
        while not self.waiting:
            if self.closed:
                return None
            self.wake.clear()
            await self.wake.wait()
        return self.waiting.popleft()

    def close(self) -> None:
        self.closed = True
        self.wake.set()


class JournalHub:
    """Fans entries out. Writing never waits.

    Args:
        store: Gets entries and changed records in batches, in order.
        observers: Each has its own queue and task.
        manager: Plugins with `voicecall_call_event` each get one, too.
    """

    def __init__(
        self, store: CallStore, observers: Sequence[CallObserver], manager: pluggy.PluginManager
    ) -> None:
        self._store = store
        self._manager = manager
        self._observers = list(observers) + _hook_observers(manager)
        self._lanes = [_Lane(_name(observer), OBSERVER_QUEUE) for observer in self._observers]
        self._feeds: set[_Lane] = set()
        self._unsaved: deque[Item] = deque()
        self._save = asyncio.Event()
        self._urgent = asyncio.Event()
        """Set while somebody waits for what is written."""
        self._written = self._stored = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Who waits until how many entries are stored, in that order."""
        self._writer: asyncio.Task[None] | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._closing = False
        self._shown = 0
        self._saved: dict[str, CallRecord] = {}

    def open(self) -> None:
        """Start the writer and the observers."""
        self._writer = asyncio.create_task(self._write())
        for observer, lane in zip(self._observers, self._lanes, strict=True):
            self._readers.append(asyncio.create_task(_observe(observer, lane)))

    def observe(self, observer: CallObserver) -> None:
        """Let somebody see every entry from now on."""
        lane = _Lane(_name(observer), OBSERVER_QUEUE)
        self._lanes.append(lane)
        self._readers.append(asyncio.create_task(_observe(observer, lane)))

    def write(self, record: CallRecord, entry: JournalEntry) -> None:
        """Hand an entry to everybody."""
        item = (record, entry)
        self._unsaved.append(item)
        self._written += 1
        self._save.set()
        for lane in self._lanes:
            lane.put(item)

    async def feed(self, call_id: str | None = None) -> AsyncGenerator[Item, None]:
        """Entries from now on, of one call or of all; ends after a call's release, or when the service stops.

        An entry comes once it is in the store, so that nobody is shown what a crash could take back; while the
        store fails, it comes all the same.
        """
        lane = _Lane("a feed reader", FEED_QUEUE)
        self._feeds.add(lane)
        try:
            while (item := await lane.take()) is not None:
                record, entry = item
                if call_id is None or entry.call_id == call_id:
                    yield item
                    if call_id is not None and record.over:
                        return
        finally:
            self._feeds.discard(lane)

    def show(self, record: CallRecord, entry: JournalEntry) -> None:
        """Give the feeds an entry of a call that another process holds, and has stored."""
        for lane in self._feeds:
            lane.put((record, entry))

    def unsaved(self, call_id: str) -> CallRecord | None:
        """The newest record of a call that waits to be stored, by our id or the carrier's; None when nothing waits."""
        waiting = (record for record, _ in reversed(self._unsaved))
        return next((each for each in waiting if call_id in (each.call_id, each.carrier_call_id)), None)

    @property
    def waiting(self) -> list[CallRecord]:
        """The records that wait to be stored, also those of calls that are over."""
        return [record for record, _ in self._unsaved]

    async def flush(self) -> None:
        """Return once everything written so far is in the store."""
        if self._stored < self._written:
            stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushes.append((self._written, stored))
            self._urgent.set()
            await stored

    async def end_feeds(self, limit: float = 0.5) -> None:
        """End all feeds after what was written so far, for which they wait `limit` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.flush()
        for lane in self._feeds:
            lane.close()

    async def close(self, limit: float = 2.0) -> None:
        """Write what is pending, let observers and readers have it, each for `limit` seconds at most, and stop."""
        self._closing = True
        self._save.set()
        self._urgent.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=limit)
            self._writer.cancel()
        for lane in (*self._lanes, *self._feeds):
            lane.close()
        if self._readers:
            await asyncio.wait(self._readers, timeout=limit)
        for task in self._readers:
            task.cancel()

    async def _write(self) -> None:
        failures = 0
        while not (self._closing and not self._unsaved):
            await self._save.wait()
            if not self._closing:
                self._save.clear()
            batch = list(self._unsaved)
            try:
                await self._put(batch)
            except StoreError as error:
                # Kept and tried again: a full disk may be emptied, and a record must not be lost.
                if failures % SAY_EVERY == 0:
                    logger.error("the store failed; %d journal entries wait: %s", len(batch), error)
                failures += 1
                self._show(batch)
                self._save.set()
                await asyncio.sleep(STORE_RETRY)
                continue
            if failures:
                logger.warning("the store works again; %d journal entries that waited are stored", len(batch))
                failures = 0
            self._show(batch)
            for _ in batch:
                self._unsaved.popleft()
            self._shown -= len(batch)
            self._stored += len(batch)
            while self._flushes and self._flushes[0][0] <= self._stored:
                _, waiting = self._flushes.popleft()
                if not waiting.done():
                    waiting.set_result(None)
            if not (self._flushes or self._closing):
                self._urgent.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(GATHER):
                        await self._urgent.wait()

    def _show(self, batch: list[Item]) -> None:
        """Give the feeds what they have not been given yet of the oldest unsaved entries."""
        for item in batch[self._shown :]:
            for lane in self._feeds:
                lane.put(item)
        self._shown = len(batch)

    async def _put(self, batch: list[Item]) -> None:
        """Write changed records first: they matter more than the entries, and one bad entry must not hold them up."""
        latest = {record.call_id: record for record, _ in batch}
        await asyncio.gather(*map(self._put_record, latest.values()))
        await self._store.append_journal([entry for _, entry in batch])

    async def _put_record(self, record: CallRecord) -> None:
        if self._saved.get(record.call_id) != record:
            await self._store.put_call(record)
            self._saved[record.call_id] = record
        if record.over:
            self._saved.pop(record.call_id, None)


async def _observe(observer: CallObserver, lane: _Lane) -> None:
    failures = 0
    while (item := await lane.take()) is not None:
        try:
            await observer.on_entry(*item)
        except Exception:  # an observer's bug is the observer's, not the call's
            failures += 1
            if failures <= 3:
                logger.exception("observer %s failed", lane.name)


class _HookObserver:
    """Feeds one plugin's `voicecall_call_event` function."""

    def __init__(self, manager: pluggy.PluginManager, plugin: object, name: str) -> None:
        others = [other for other in manager.get_plugins() if other is not plugin]
        self._call = manager.subset_hook_caller("voicecall_call_event", others)
        self.name = name

    async def on_entry(self, record: CallRecord, entry: JournalEntry) -> None:
        self._call(record=record, entry=entry)


def _hook_observers(manager: pluggy.PluginManager) -> list[CallObserver]:
    implementations = manager.hook.voicecall_call_event.get_hookimpls()
    return [_HookObserver(manager, found.plugin, found.plugin_name) for found in implementations]


def _name(observer: CallObserver) -> str:
    return str(getattr(observer, "name", type(observer).__name__))
