"""Starts a service: everything is opened in order, and closed in the reverse order."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.calls.engines import LOCAL_LINE
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.server import sites
from openclaw_voicecall.server.answering import answering_notices
from openclaw_voicecall.server.opening import Place, open_calls, open_store, settled
from openclaw_voicecall.server.reach import open_reach
from openclaw_voicecall.server.service import Service, ServiceOptions, handle_signals
from openclaw_voicecall.server.workers import Brief, Workers
from openclaw_voicecall.store.statedir import STATE_DIR_VARIABLE, StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.config.schema import VoiceCallConfig

__all__ = ["Service", "ServiceOptions", "run_service"]


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
    begun = settled(options)
    registry, config, host = begun.registry, begun.config, begun.host
    async with AsyncExitStack() as stack:
        state = StateDir.open(options.state_dir or _named_state_dir(options.env) or config.store, options.env)
        stack.enter_context(state.acquire())
        store = await open_store(stack, registry, config, state)
        # Only the local line can do with any port: everybody else knows the one that is configured.
        short_local = options.ephemeral and config.provider == LOCAL_LINE
        listening = sites.bind(stack, config, ephemeral=short_local)
        control = sites.bind_control(stack, config, state)
        here = sites.address(listening)
        workers = await _started_workers(stack, options, config, host)
        tunnel = state.path / "tunnel.json"
        reach = await open_reach(stack, config, here, memory=tunnel, wanted=not short_local)
        config = reach.config
        place = Place(state=state, here=here)
        opened = await open_calls(stack, registry, config, store=store, host=host, place=place)
        manager, shared = opened.manager, opened.shared
        reach.follow(manager.addresses)
        service = Service(
            manager=manager,
            config=config,
            notices=(*begun.notices, *reach.notices, *_notices(config, manager, workers)),
            url=f"http://{here}",
            socket_path=control.socket_path,
            control_url=control.url,
            token_file=control.token_file,
            started=manager.clock.wall(),
            engines=manager.engines.in_use,
            load=opened.load,
            workers=workers,
        )
        public = await sites.serve_public(
            stack, registry, config, shared, listening, pass_on=workers.pass_on if workers else None
        )
        service.gauges = public.gauges
        # After the public site, so that carriers are answered meanwhile; on the way out before it, for the same reason.
        await stack.enter_async_context(manager.reconciled())
        if workers is not None:
            await workers.open(opened, _briefs(options, state, here, config))
        await sites.serve_control(stack, service, shared, control)
        state.write_service(service.address())
        handle_signals(stack, service)
        try:
            yield service
        finally:
            await service.drain()


async def _started_workers(
    stack: AsyncExitStack, options: ServiceOptions, config: "VoiceCallConfig", host: "Host | None"
) -> Workers | None:
    """The other processes, which load meanwhile; None where one process has all calls.

    A host's agent is reached from this process only, and so are the phones of the local line.
    """
    if config.serve.workers == 1 or options.ephemeral or host is not None or config.provider == LOCAL_LINE:
        return None
    workers = Workers(count=config.serve.workers - 1, env=options.env)
    await workers.start(stack)
    return workers


def _briefs(
    options: ServiceOptions, state: StateDir, here: str, config: "VoiceCallConfig"
) -> dict[int, Brief]:
    return {
        number: Brief(
            number=number,
            config_source=options.config_source,
            overrides=dict(options.overrides),
            state_dir=state.path,
            here=here,
            public_url=config.public_url,
        )
        for number in range(1, config.serve.workers)
    }


def _notices(config: "VoiceCallConfig", manager: CallManager, workers: Workers | None) -> tuple[str, ...]:
    """What the owner should know of the settings as they are used."""
    found = answering_notices(config)
    if workers is None and config.serve.workers > 1:
        found = (
            *found,
            "serve.workers: one process has all calls of the local line, and of a service in a host",
        )
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
