"""A running service, and how one is asked for."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openclaw_voicecall import __version__
from openclaw_voicecall.api.wire import iso_time
from openclaw_voicecall.calls.engines import Engine
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.parting import either
from openclaw_voicecall.server.resources import resources
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
            "resources": {
                **resources(),
                "liveCalls": len(self.manager.live),
                **{name: count() for name, count in self.gauges.items()},
            },
        }

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
        limit = self.config.serve.drain_seconds if self._stop.is_set() else 0.0
        await either(self.manager.wait_idle(), self._hurry.wait(), limit=limit)
        await self.manager.end_all(self._hurry)
