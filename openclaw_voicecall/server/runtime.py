"""Starts a service: everything is opened in order, and closed in the reverse order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.store import CallStore
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.admission import Admissions
from openclaw_voicecall.calls.engines import LOCAL_LINE, EngineRoom
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.making import CallTools
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.errors import StoreError
from openclaw_voicecall.plugins import Registry, load_settings
from openclaw_voicecall.server import sites
from openclaw_voicecall.server.answering import answered_by, answering_notices
from openclaw_voicecall.server.keys import CLOCK, HUB, MANAGER, STORE, TOKENS
from openclaw_voicecall.server.reach import open_reach
from openclaw_voicecall.server.service import Service, ServiceOptions
from openclaw_voicecall.store.statedir import STATE_DIR_VARIABLE, StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.config.schema import VoiceCallConfig

__all__ = ["Service", "ServiceOptions", "run_service"]

logger = logging.getLogger(__name__)


@asynccontextmanager
async def run_service(options: ServiceOptions) -> AsyncIterator[Service]:
    """Open everything, listen, and end the calls that earlier processes left; on the way out drain and close.

    Raises:
        ConfigError: The configuration is wrong.
        PluginError: A plugin is wrong or a provider unknown.
        EngineMissing: An engine is not installed.
        StoreError: The state directory or database cannot be used.
        ServiceRunning: Another process owns the state directory.
        PortInUse: The port is taken.
        VendorError: The tunnel cannot be opened.
    """
    registry, loaded = load_settings(options.config_source, options.env, overrides=options.overrides)
    host = options.host or registry.manager.hook.voicecall_provide_host()
    config = answered_by(host, loaded.config, registry.responders, options.env)
    async with AsyncExitStack() as stack:
        state = StateDir.open(options.state_dir or _named_state_dir(options.env) or config.store, options.env)
        stack.enter_context(state.acquire())
        store = await _open_store(stack, registry, config, state)
        # Only the local line can do with any port: everybody else knows the one that is configured.
        short_local = options.ephemeral and config.provider == LOCAL_LINE
        listening = sites.bind(config, ephemeral=short_local)
        stack.callback(listening.close)
        control = sites.bind_control(stack, config, state)
        here = sites.address(listening)
        reach = await open_reach(
            stack, config, here, memory=state.path / "tunnel.json", wanted=not short_local
        )
        config = reach.config
        manager, shared = await _open_calls(
            stack, registry, config, state=state, store=store, here=here, host=host
        )
        reach.follow(manager.addresses)
        service = Service(
            manager=manager,
            config=config,
            notices=(*loaded.notices, *reach.notices, *_notices(config, manager)),
            url=f"http://{here}",
            socket_path=control.socket_path,
            control_url=control.url,
            token_file=control.token_file,
            started=manager.clock.wall(),
            engines=manager.engines.in_use,
        )
        public = await sites.serve_public(stack, registry, config, shared, listening)
        service.gauges = {
            "streams": lambda: public.media.open_streams,
            "tokens": lambda: len(shared[TOKENS]),
            "strangers": lambda: len(public.crowd),
            "strangersShed": lambda: public.crowd.shed,
        }
        # After the public site, so that carriers are answered meanwhile; on the way out before it, for the same reason.
        await stack.enter_async_context(manager.reconciled())
        await sites.serve_control(stack, service, shared, control)
        state.write_service(service.address())
        _handle_signals(stack, service)
        try:
            yield service
        finally:
            await service.drain()


def _notices(config: "VoiceCallConfig", manager: CallManager) -> tuple[str, ...]:
    """What the owner should know of the settings as they are used."""
    found = answering_notices(config)
    if config.disclosure or not manager.engines.capabilities[config.provider].billed:
        return found
    return (
        *found,
        "disclosure is not set: many laws ask an artificial voice to say what it is. Set it, for example to "
        '"This is an AI assistant.", or have the greeting say so.',
    )


def _named_state_dir(env: Mapping[str, str]) -> Path | None:
    """The environment's state directory, which comes before the configuration's."""
    named = env.get(STATE_DIR_VARIABLE, "")
    return Path(named).expanduser() if named else None


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What `voicecall_open_store` is given."""

    config: "VoiceCallConfig"
    database: Path
    """The file in the state directory."""


async def _open_store(
    stack: AsyncExitStack, registry: Registry, config: "VoiceCallConfig", state: StateDir
) -> CallStore:
    opening = registry.manager.hook.voicecall_open_store(config=StoreRequest(config, state.database))
    if opening is None:
        raise StoreError("no plugin opened a store; is openclaw_voicecall.builtin.defaults disabled?")
    store: CallStore = await opening
    stack.push_async_callback(store.close)
    return store


async def _open_calls(
    stack: AsyncExitStack,
    registry: Registry,
    config: "VoiceCallConfig",
    *,
    state: StateDir,
    store: CallStore,
    here: str,
    host: "Host | None",
) -> tuple[CallManager, sites.Shared]:
    """Open the engines and what runs calls with them. `here` is the `host:port` we listen at."""
    clock, ids = SystemClock(), SystemIds()
    hub = JournalHub(store, registry.collect("voicecall_register_observers", config=config), registry.manager)
    hub.open()
    stack.push_async_callback(hub.close)
    tokens = StreamTokens(clock, ids)
    addresses = Addresses(config, here)
    runtime = Runtime(
        clock=clock,
        ids=ids,
        state_dir=state.path,
        webhook_url=addresses.webhook,
        host=host,
        store=store,
    )
    room = EngineRoom(registry, config, runtime, stack)
    await room.open()
    for lifespan in registry.manager.hook.voicecall_lifespan(runtime=runtime):
        await stack.enter_async_context(lifespan)
    tools = CallTools(
        config=config,
        room=room,
        admissions=Admissions(registry.collect("voicecall_register_policies", config=config)),
        store=store,
        hub=hub,
        tokens=tokens,
        clock=clock,
        ids=ids,
        recordings=state.recordings,
        addresses=addresses,
    )
    manager = CallManager(tools)
    return manager, {MANAGER: manager, STORE: store, HUB: hub, TOKENS: tokens, CLOCK: clock}


def _handle_signals(stack: AsyncExitStack, service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in a thread, not on every system
            loop.add_signal_handler(number, service.stop)
            stack.callback(loop.remove_signal_handler, number)
