"""The other processes of a service: started, given calls, watched, replaced when they die, and stopped with it.

This process owns the state directory, the public port, the tunnel and the owner's socket. It decides about every call
and has every webhook checked; a worker holds the calls it is given, with the media streams whose connections are
handed over to it. See `server.worker` for the other side.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from openclaw_voicecall.api.carrier import VerifiedWebhook, WebhookReply
from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.parting import either
from openclaw_voicecall.calls.team import Assignment, Load
from openclaw_voicecall.errors import StoreError, VoiceCallError
from openclaw_voicecall.server.channel import Channel
from openclaw_voicecall.server.handover import Sender, StreamPaths
from openclaw_voicecall.server.keys import HUB

if TYPE_CHECKING:
    from openclaw_voicecall.server.opening import Opened

logger = logging.getLogger(__name__)

MODULE = "openclaw_voicecall.server.worker"
READY_LIMIT = 60.0
"""Seconds until a worker must hold calls."""
SILENT_AFTER = 2.0
"""Seconds without a word from a worker after which it gets no more calls."""
STATUS_LIMIT = 2.0
"""Seconds for a worker to say how it is doing."""
GONE_LIMIT = 5.0
"""Seconds for a process to end once it has hung up."""
HURRIED_LIMIT = 6.0
"""Seconds for workers to end once nobody waits for goodbyes."""
END_LIMIT = 16.0
"""Seconds beyond the time that calls may go on, for goodbyes and for writing down."""
PAUSES = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds until a worker that died is replaced; the longer ones where its predecessors died soon, too."""
LIVED = 60.0
"""Seconds after which a death has nothing to do with the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a worker is told when it begins."""

    number: int
    config_source: str | Path | None
    overrides: Mapping[str, object]
    state_dir: Path
    here: str
    """`host:port` at which the service listens."""
    public_url: str | None
    """The configured one, or the tunnel's."""


class Worker:
    """One other process, as a colleague that calls are given to."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, sender: Sender) -> None:
        self.number = number
        self.process = process
        self.sender = sender
        self.channel: Channel
        self.http: aiohttp.ClientSession
        self.known: Any = None
        """Gives the addresses under which carriers reach us."""
        self._load = Load(f"worker {number} is starting")
        self._heard_at = time.monotonic()

    @property
    def load(self) -> Load:
        """How it is doing; one that says nothing takes no calls."""
        if time.monotonic() - self._heard_at > SILENT_AFTER:
            return Load(f"serve.workers: worker {self.number} does not answer")
        return self._load

    def hear(self, load: Load) -> None:
        """It has said how it is doing."""
        self._load, self._heard_at = load, time.monotonic()

    async def take(self, call: Assignment) -> CallRecord:
        """Have it hold a call."""
        record: CallRecord = await self.channel.ask("take", self.known(), call)
        return record

    async def webhook(self, carrier: str, webhook: VerifiedWebhook) -> WebhookReply:
        """Have it take what a carrier reports of one of its calls."""
        reply: WebhookReply = await self.channel.ask("webhook", self.known(), carrier, webhook)
        return reply

    async def show(self) -> None:
        """Have it send its journal entries, if it answers."""
        with suppress(TimeoutError, VoiceCallError):
            async with asyncio.timeout(STATUS_LIMIT):
                await self.channel.ask("show")

    async def status(self) -> tuple[dict[str, Any], list[CallRecord]]:
        """What it says of itself, and its live calls; only its number and process where it does not answer."""
        about: dict[str, Any] = {"worker": self.number, "pid": self.process.pid}
        with suppress(TimeoutError, VoiceCallError):
            async with asyncio.timeout(STATUS_LIMIT):
                told, calls = await self.channel.ask("status")
                return {**about, **told}, calls
        return about, []


@dataclass(slots=True)
class _Start:
    """A process that was started and waits to be told what to do."""

    worker: Worker
    end: socket.socket


@dataclass(slots=True, kw_only=True)
class Workers:
    """All of them. Made with `start`, told to work with `open`.

    Attributes:
        count: How many there are to be.
        env: Their environment.
    """

    count: int
    env: Mapping[str, str]
    _started: dict[int, _Start] = field(default_factory=dict)
    _at_work: dict[int, Worker] = field(default_factory=dict)
    _keepers: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _closing: bool = False
    _listeners: int = 0
    _paths: StreamPaths = field(default_factory=lambda: StreamPaths(""))
    _manager: CallManager = field(init=False)
    _opened: "Opened" = field(init=False)
    _hub: JournalHub = field(init=False)
    _briefs: Mapping[int, Brief] = field(default_factory=dict)

    async def start(self, stack: AsyncExitStack) -> None:
        """Start the processes, so that they load while this one does. They end with the stack at the latest."""
        stack.push_async_callback(self._kill)
        for number in range(1, self.count + 1):
            with suppress(OSError):  # said when it is tried again
                self._started[number] = await self._spawn(number)

    async def open(self, opened: "Opened", briefs: Mapping[int, Brief]) -> None:
        """Have them hold calls, and replace those that die. Returns once each is ready or has failed."""
        self._opened, self._manager, self._hub = opened, opened.manager, opened.shared[HUB]
        self._briefs = briefs
        self._paths = StreamPaths(self._manager.config.streaming.stream_path)
        tried = {number: asyncio.Event() for number in briefs}
        for number, event in tried.items():
            self._keepers[number] = asyncio.create_task(self._keep(number, event))
        await asyncio.gather(*(event.wait() for event in tried.values()))

    @property
    def all(self) -> list[Worker]:
        """Those that hold calls now."""
        return [self._at_work[number] for number in sorted(self._at_work)]

    def holder(self, call_id: str) -> Worker | None:
        """Who holds a call, by our id or the carrier's."""
        found = self._manager.team.holder(call_id)
        return found if isinstance(found, Worker) else None

    def pass_on(self, connection: asyncio.Transport, head: bytes) -> bool:
        """Hand a connection over to the worker whose media stream it opens; False where it is none of theirs."""
        number = self._paths.worker(head)
        worker = self._at_work.get(number) if number is not None else None
        if worker is None:
            return False
        if not worker.sender.send(connection, head):
            logger.error("worker %d takes no connections", worker.number)
        return True

    async def listen(self) -> None:
        """Have their journal entries shown in the feeds here, until `unlisten`."""
        self._listeners += 1
        await asyncio.gather(*(worker.show() for worker in self.all))

    def unlisten(self) -> None:
        """One reader less."""
        self._listeners -= 1
        for worker in self.all if not self._listeners else ():
            worker.channel.tell("hide")

    async def drain(self, hurry: asyncio.Event, limit: float | None) -> None:
        """Stop all, and return once they are gone.

        Args:
            hurry: Set when nobody waits for goodbyes any more.
            limit: Seconds for which live calls may go on; None to end them at once, with a goodbye.
        """
        self._closing = True
        for number, keeper in self._keepers.items():
            if number not in self._at_work:
                keeper.cancel()
        for worker in self.all:
            worker.channel.tell("stop", limit is not None)
        keepers = set(self._keepers.values())
        if keepers:
            await either(asyncio.wait(keepers), hurry.wait(), limit=(limit or 0.0) + END_LIMIT)
            for worker in self.all:
                worker.channel.tell("hurry")
            await asyncio.wait(keepers, timeout=HURRIED_LIMIT)

    async def _kill(self) -> None:
        self._closing = True
        for keeper in self._keepers.values():
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers.values())
        for start in self._started.values():
            start.end.close()
            await _end(start.worker)

    async def _spawn(self, number: int) -> _Start:
        ours, theirs = socket.socketpair()
        giving, taking = socket.socketpair()
        with theirs, taking:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                MODULE,
                str(theirs.fileno()),
                str(taking.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env=dict(self.env),
                pass_fds=(theirs.fileno(), taking.fileno()),
                start_new_session=True,  # Ctrl-C in the terminal is for this process, which tells them
            )
        return _Start(Worker(number, process, Sender(giving)), ours)

    async def _keep(self, number: int, tried: asyncio.Event) -> None:
        """Have a worker of this number, again and again."""
        pauses = iter(PAUSES)
        while not self._closing:
            begun = time.monotonic()
            try:
                start = self._started.pop(number, None) or await self._spawn(number)
                await self._employ(start, tried)
            except OSError as error:
                logger.error("worker %d cannot be started: %s", number, error)
            except Exception:  # whatever it is, there has to be another one
                logger.exception("worker %d failed", number)
            tried.set()
            if time.monotonic() - begun > LIVED:
                pauses = iter(PAUSES)
            if not self._closing:
                await asyncio.sleep(next(pauses, PAUSES[-1]))

    async def _employ(self, start: _Start, tried: asyncio.Event) -> None:
        """Have one process work until it is gone, and end what it leaves."""
        worker, process = start.worker, start.worker.process
        name = f"worker {worker.number}"
        team = self._manager.team
        worker.known = lambda: self._manager.addresses.known
        worker.channel = Channel(
            name,
            {"judge": self._opened.admissions.decide},
            {
                "load": worker.hear,
                "call": lambda call_id, leg, free: team.learn(call_id, leg, free=free),
                "gone": team.drop,
                "entry": self._show,
            },
        )
        await worker.channel.connect(start.end)
        speaking = asyncio.create_task(worker.channel.run())
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(READY_LIMIT):
                    path = await worker.channel.ask("begin", self._briefs[worker.number])
                worker.http = await stack.enter_async_context(
                    aiohttp.ClientSession(
                        base_url="http://voicecall", connector=aiohttp.UnixConnector(path=str(path))
                    )
                )
                if self._listeners:
                    await worker.show()
                team.join(worker)
                self._at_work[worker.number] = worker
                tried.set()
                await speaking
        except (VoiceCallError, TimeoutError) as error:
            if not self._closing:
                logger.error("%s cannot be used: %s", name, error or "it was not ready in time")
        finally:
            self._at_work.pop(worker.number, None)
            left = team.leave(worker)
            worker.channel.close()
            speaking.cancel()
            await _end(worker)
        await self._end_left(name, process, left)

    async def _end_left(self, name: str, process: asyncio.subprocess.Process, left: int) -> None:
        why = f"{name} (process {process.pid}) died during the call"
        if process.returncode:
            logger.error(
                "%s (process %d) is gone, exit code %d; %d calls are ended",
                name,
                process.pid,
                process.returncode,
                left,
            )
        try:
            await self._manager.end_left(why)
        except StoreError as error:
            logger.error("calls of %s cannot be looked for: %s", name, error)

    def _show(self, record: CallRecord, entry: JournalEntry) -> None:
        self._hub.show(record, entry)


async def _end(worker: Worker) -> None:
    """See a process gone that we have hung up on: it goes by itself then."""
    worker.sender.close()
    process = worker.process
    with suppress(TimeoutError):
        async with asyncio.timeout(GONE_LIMIT):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
