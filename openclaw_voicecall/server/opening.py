"""What every process of a service opens, whether or not it has the public port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.store import CallStore
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.admission import Admissions, Judges
from openclaw_voicecall.calls.engines import EngineRoom
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.making import CallTools
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.team import Load, Team
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.plugins import Registry, load_settings
from openclaw_voicecall.server.answering import answered_by
from openclaw_voicecall.server.keys import CLOCK, HUB, MANAGER, STORE, TOKENS
from openclaw_voicecall.server.load import LoadMonitor
from openclaw_voicecall.server.service import ServiceOptions
from openclaw_voicecall.server.sites import Shared
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.config.schema import VoiceCallConfig


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What `voicecall_open_store` is given."""

    config: "VoiceCallConfig"
    database: Path
    """The file in the state directory."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known before anything is opened."""

    registry: Registry
    config: "VoiceCallConfig"
    """With the agent settled that answers."""
    notices: tuple[Any, ...]
    host: "Host | None"
    """The program we live in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process stands in its service."""

    state: StateDir
    here: str
    """`host:port` at which the service listens."""
    admissions: Judges | None = None
    """Who decides about calls; the policies of the plugins, opened in this process, if not given."""
    prefix: str = ""
    """Begins the tokens of this process."""
    holds_local: bool = True
    """Whether the local line is opened here."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What runs calls."""

    manager: CallManager
    admissions: Judges
    shared: Shared
    load: Callable[[], Load]


def settled(options: ServiceOptions) -> Settled:
    """Load plugins and configuration.

    Raises:
        ConfigError: The configuration is wrong.
        PluginError: A plugin is wrong or a provider unknown.
    """
    registry, loaded = load_settings(options.config_source, options.env, overrides=options.overrides)
    host = options.host or registry.manager.hook.voicecall_provide_host()
    config = answered_by(host, loaded.config, registry.responders, options.env)
    return Settled(registry, config, loaded.notices, host)


async def open_store(
    stack: AsyncExitStack, registry: Registry, config: "VoiceCallConfig", state: StateDir
) -> CallStore:
    """Open the store of the plugin that has one; closed with the stack. Raises `StoreError`."""
    opening = registry.manager.hook.voicecall_open_store(config=StoreRequest(config, state.database))
    if opening is None:
        raise StoreError("no plugin opened a store; is openclaw_voicecall.builtin.defaults disabled?")
    store: CallStore = await opening
    stack.push_async_callback(store.close)
    return store


async def open_calls(
    stack: AsyncExitStack,
    registry: Registry,
    config: "VoiceCallConfig",
    *,
    store: CallStore,
    host: "Host | None",
    place: Place,
) -> Opened:
    """Open the engines and what runs calls with them."""
    clock, ids, state = SystemClock(), SystemIds(), place.state
    hub = JournalHub(store, registry.collect("voicecall_register_observers", config=config), registry.manager)
    hub.open()
    stack.push_async_callback(hub.close)
    tokens = StreamTokens(clock, ids, prefix=place.prefix)
    addresses = Addresses(config, place.here)
    runtime = Runtime(
        clock=clock,
        ids=ids,
        state_dir=state.path,
        webhook_url=addresses.webhook,
        host=host,
        store=store,
    )
    room = EngineRoom(registry, config, runtime, stack, local=place.holds_local)
    await room.open()
    for lifespan in registry.manager.hook.voicecall_lifespan(runtime=runtime):
        await stack.enter_async_context(lifespan)
    monitor = LoadMonitor(config.serve)
    await stack.enter_async_context(beside(monitor.run()))
    admissions = place.admissions or Admissions(
        registry.collect("voicecall_register_policies", config=config)
    )
    tools = CallTools(
        config=config,
        room=room,
        admissions=admissions,
        store=store,
        hub=hub,
        tokens=tokens,
        clock=clock,
        ids=ids,
        recordings=state.recordings,
        addresses=addresses,
        team=Team(clock, monitor.load),
    )
    manager = CallManager(tools)
    shared = {MANAGER: manager, STORE: store, HUB: hub, TOKENS: tokens, CLOCK: clock}
    return Opened(manager, admissions, shared, monitor.load)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have this done meanwhile, and no longer."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
