"""The running service: everything opened in order, and closed in the reverse order."""

import asyncio
import logging
import os
import signal
import socket as sockets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from openclaw_voicecall import __version__
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.wire import iso_time
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.admission import Admissions
from openclaw_voicecall.calls.engines import Engine, EngineRoom
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.restore import close_left_over
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.errors import PortInUse, StoreError
from openclaw_voicecall.plugins import Registry, load_registry
from openclaw_voicecall.server.control import ControlDoor
from openclaw_voicecall.server.keys import CLOCK, HUB, MANAGER, STORE, TOKENS
from openclaw_voicecall.server.media import MediaDoor
from openclaw_voicecall.server.owner import owner_of_port
from openclaw_voicecall.server.webhooks import WebhookDoor
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.load import LoadedConfig
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)

DRAIN_LIMIT = 30.0
"""Seconds that live calls may go on after the service is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How to start a service."""

    config_source: str | Path | None = None
    state_dir: Path | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    ephemeral: bool = False
    """Listen on a free loopback port instead of the configured one: for one call from the command line."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(slots=True)
class Service:
    """A running service."""

    manager: CallManager
    config: "VoiceCallConfig"
    notices: tuple[str, ...]
    url: str
    socket_path: Path
    started: float
    engines: list[Engine]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _now: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """For `GET /api/v1/status`."""
        return {
            "pid": os.getpid(),
            "url": self.url,
            "version": __version__,
            "startedAt": iso_time(self.started),
            "draining": self.manager.draining,
            "engines": [
                {"role": engine.role, "name": engine.name, "description": engine.description}
                for engine in self.engines
            ],
            "liveCalls": len(self.manager.live),
        }

    def stop(self) -> None:
        """Drain and stop; said again, hang up at once."""
        if self._stop.is_set():
            self._now.set()
        self.manager.draining = True
        self._stop.set()

    async def wait_stopped(self) -> None:
        """Return once somebody said `stop`."""
        await self._stop.wait()

    async def drain(self, limit: float) -> None:
        """Let live calls finish for `limit` seconds or until `stop` is said again, then end them politely."""
        self.manager.draining = True
        finish = asyncio.create_task(self.manager.wait_idle())
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({finish, now}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finish.cancel()
        now.cancel()
        await self.manager.end_all(goodbye=not self._now.is_set())


@asynccontextmanager
async def run_service(options: ServiceOptions) -> AsyncIterator[Service]:
    """Open everything, listen, and close what earlier processes left; on the way out drain and close.

    Raises:
        ConfigError: The configuration is wrong.
        PluginError: A plugin is wrong or a provider unknown.
        EngineMissing: An engine is not installed.
        StoreError: The state directory or database cannot be used.
        ServiceRunning: Another process owns the state directory.
        PortInUse: The port is taken.
    """
    registry, loaded = _configure(options)
    config = loaded.config
    clock, ids = SystemClock(), SystemIds()
    async with AsyncExitStack() as stack:
        state = StateDir.open(options.state_dir or _store_path(config), options.env)
        stack.enter_context(state.acquire())
        store = registry.manager.hook.voicecall_open_store(config=_StoreRequest(config, state.database))
        if store is None:
            raise StoreError("no plugin opened a store; is openclaw_voicecall.builtin.defaults disabled?")
        store = await store
        stack.push_async_callback(store.close)
        observers = registry.collect("voicecall_register_observers", config=config)
        hub = JournalHub(store, observers, registry.manager)
        hub.open()
        stack.push_async_callback(hub.close)
        tokens = StreamTokens(clock, ids)
        listening = _listen(config, ephemeral=options.ephemeral)
        stack.callback(listening.close)
        host, port = listening.getsockname()[:2]
        webhook_base = f"http://{_url_host(host)}:{port}{config.serve.path.rstrip('/')}"
        runtime = Runtime(
            clock=clock,
            ids=ids,
            state_dir=state.path,
            webhook_url=lambda carrier: f"{webhook_base}/{carrier}",
            host=registry.manager.hook.voicecall_provide_host(),
        )
        room = EngineRoom(registry, config, runtime, stack)
        engines = await room.open()
        manager = CallManager(
            config=config,
            room=room,
            admissions=Admissions(registry.collect("voicecall_register_policies", config=config)),
            store=store,
            hub=hub,
            tokens=tokens,
            clock=clock,
            ids=ids,
            recordings=state.recordings,
        )
        manager.webhook_base = webhook_base
        manager.stream_base = f"ws://{_url_host(host)}:{port}{config.streaming.stream_path.rstrip('/')}"
        service = Service(
            manager=manager,
            config=config,
            notices=loaded.notices,
            url=f"http://{_url_host(host)}:{port}",
            socket_path=state.control_socket(),
            started=clock.wall(),
            engines=engines.in_use,
        )
        for lifespan in registry.manager.hook.voicecall_lifespan(runtime=runtime):
            await stack.enter_async_context(lifespan)
        shared = {MANAGER: manager, STORE: store, HUB: hub, TOKENS: tokens, CLOCK: clock}
        await close_left_over(store, engines.carriers, clock)
        await _serve_public(stack, registry, config, shared, listening)
        await _serve_control(stack, service, shared)
        state.write_service(
            {
                "pid": os.getpid(),
                "socket": str(service.socket_path),
                "url": service.url,
                "version": __version__,
                "startedAt": iso_time(service.started),
            }
        )
        _handle_signals(stack, service)
        try:
            yield service
        finally:
            await service.drain(DRAIN_LIMIT if service._stop.is_set() else 0.0)


def _configure(options: ServiceOptions) -> "tuple[Registry, LoadedConfig]":
    """Plugins and configuration. The configuration may name and disable plugins, so they may be loaded twice."""
    registry = load_registry()
    loaded = registry.load_config(options.config_source, env=options.env, overrides=options.overrides)
    wanted = loaded.config.plugins
    if wanted.disabled or wanted.modules:
        registry = load_registry(disabled=wanted.disabled, modules=wanted.modules)
        loaded = registry.load_config(options.config_source, env=options.env, overrides=options.overrides)
    return registry, loaded


@dataclass(frozen=True, slots=True)
class _StoreRequest:
    """The configuration, with the path of the database that the state directory gives."""

    config: "VoiceCallConfig"
    database: Path


def _store_path(config: "VoiceCallConfig") -> Path | None:
    return Path(config.store).expanduser() if config.store else None


def _listen(config: "VoiceCallConfig", *, ephemeral: bool) -> sockets.socket:
    """The public socket, bound before anything slow is opened, so that a taken port is known at once."""
    host, port = ("127.0.0.1", 0) if ephemeral else (config.serve.bind, config.serve.port)
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    listening = sockets.socket(family, sockets.SOCK_STREAM)
    listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        holder = owner_of_port(port)
        raise PortInUse(
            f"serve.port: cannot listen on {host}:{port}: {error.strerror}{f'; held by {holder}' if holder else ''}. "
            "Stop that process or set another serve.port."
        ) from error
    listening.setblocking(False)
    return listening


async def _serve_public(
    stack: AsyncExitStack,
    registry: Registry,
    config: "VoiceCallConfig",
    shared: Mapping[Any, Any],
    listening: sockets.socket,
) -> None:
    app = web.Application()
    for key, value in shared.items():
        app[key] = value
    app.router.add_get("/healthz", _health)
    WebhookDoor(config.serve.path, config.provider).add_routes(app)
    MediaDoor(
        config.streaming.stream_path,
        start_limit=config.streaming.pre_start_timeout_ms / 1000,
        max_streams=config.streaming.max_connections,
    ).add_routes(app)
    registry.manager.hook.voicecall_register_routes(app=app, config=config)
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, keepalive_timeout=5.0, auto_decompress=False
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening, shutdown_timeout=2.0).start()


async def _serve_control(stack: AsyncExitStack, service: Service, shared: Mapping[Any, Any]) -> None:
    app = web.Application()
    for key, value in shared.items():
        app[key] = value
    app.router.add_get("/healthz", _health)
    ControlDoor(service.describe).add_routes(app)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    path = service.socket_path
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path), shutdown_timeout=2.0).start()
    finally:
        os.umask(before)
    stack.callback(path.unlink, missing_ok=True)


async def _health(request: web.Request) -> web.Response:
    status = "draining" if request.app[MANAGER].draining else "ok"
    return web.json_response({"status": status})


def _handle_signals(stack: AsyncExitStack, service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in a thread, not on every system
            loop.add_signal_handler(number, service.stop)
            stack.callback(loop.remove_signal_handler, number)


def _url_host(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 what is bound, not what we bind
    return f"[{host}]" if ":" in host else host
