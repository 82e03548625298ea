"""A running service, and how one is asked for."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openclaw_voicecall import __version__
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.api.wire import iso_time
from openclaw_voicecall.calls.engines import Engine
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.parting import either
from openclaw_voicecall.calls.team import Load
from openclaw_voicecall.server.resources import resources
from openclaw_voicecall.server.workers import Workers
from openclaw_voicecall.session.breaker import State

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.config.schema import VoiceCallConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How to start a service."""

    config_source: str | Path | None = None
    state_dir: Path | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    ephemeral: bool = False
    """Listen on a free loopback port instead of the configured one: for one call from the command line."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    host: "Host | None" = None
    """The program we live in; where it is not given a plugin may know one."""


@dataclass(slots=True)
class Service:
    """A running service."""

    manager: CallManager
    config: "VoiceCallConfig"
    notices: tuple[str, ...]
    url: str
    socket_path: Path
    started: float
    """Unix seconds."""
    engines: list[Engine]
    control_url: str = ""
    """Where the control API also answers, on a port of this machine; empty if it does not."""
    token_file: Path | None = None
    """Holds what requests to that port need."""
    gauges: Mapping[str, Callable[[], int]] = field(default_factory=dict)
    """What else is counted under `resources`."""
    load: Callable[[], Load] = Load
    """How this process is doing."""
    workers: Workers | None = None
    """The other processes; None where there is only this one."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """For `GET /api/v1/status`."""
        return {
            **self.address(),
            "draining": self.manager.draining,
            "engines": [
                {"role": engine.role, "name": engine.name, "description": engine.description}
                for engine in self.engines
            ],
            "breakers": [
                {"role": breaker.hop, "name": breaker.name, "state": str(breaker.state)}
                for breaker in self.manager.engines.breakers
                if breaker.state is not State.CLOSED
            ],
            "liveCalls": len(self.manager.live),
            "loopLagMs": round(self.load().lag_ms, 1),
            "resources": {
                **resources(),
                "liveCalls": len(self.manager.live),
                **{name: count() for name, count in self.gauges.items()},
            },
        }

    async def status(self) -> tuple[dict[str, Any], list[CallRecord]]:
        """The same with what the other processes say of themselves under `workers`, and the live calls of all."""
        calls = list(self.manager.live)
        if self.workers is None:
            return self.describe(), calls
        told = await asyncio.gather(*(worker.status() for worker in self.workers.all))
        calls.extend(record for _, theirs in told for record in theirs)
        about = {**self.describe(), "workers": [worker for worker, _ in told], "liveCalls": len(calls)}
        return about, sorted(calls, key=lambda record: record.created_at)

    def address(self) -> dict[str, Any]:
        """Where the service is found: what `service.json` in the state directory says."""
        port = {"controlUrl": self.control_url, "controlToken": str(self.token_file)}
        return {
            "pid": os.getpid(),
            "url": self.url,
            "socket": str(self.socket_path),
            **(port if self.control_url else {}),
            "version": __version__,
            "startedAt": iso_time(self.started),
        }

    def stop(self) -> None:
        """Take no more calls, let live ones finish, and stop; said again, hang up at once."""
        if self._stop.is_set():
            self._hurry.set()
        self.manager.draining = True
        self._stop.set()

    async def wait_stopped(self) -> None:
        """Return once somebody said `stop`."""
        await self._stop.wait()

    async def drain(self) -> None:
        """End all calls: those of a service that was told to stop may go on for `serve.drainSeconds`."""
        self.manager.draining = True
        limit = self.config.serve.drain_seconds if self._stop.is_set() else None
        if self.workers is not None:
            await asyncio.gather(self._end_own(limit), self.workers.drain(self._hurry, limit))
        else:
            await self._end_own(limit)
        await self.manager.end_feeds()

    async def _end_own(self, limit: float | None) -> None:
        await either(self.manager.wait_idle(), self._hurry.wait(), limit=limit or 0.0)
        await self.manager.end_all(self._hurry)


def handle_signals(stack: AsyncExitStack, service: Service) -> None:
    """Have SIGTERM and SIGINT stop a service."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in a thread, not on every system
            loop.add_signal_handler(number, service.stop)
            stack.callback(loop.remove_signal_handler, number)
