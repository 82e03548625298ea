"""Where the service listens: a public port, a Unix socket for its owner, and a port of this machine if asked."""

import asyncio
import os
import socket as sockets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.errors import ConfigError, PortInUse
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.server.control import ControlDoor
from openclaw_voicecall.server.crowd import Crowd
from openclaw_voicecall.server.forwarded import Forwarding
from openclaw_voicecall.server.keys import CLOCK, MANAGER, TOKENS
from openclaw_voicecall.server.manners import add_manners, quiet_logger, take_strange_requests
from openclaw_voicecall.server.media import MediaDoor
from openclaw_voicecall.server.owner import owner_of_port
from openclaw_voicecall.server.ownertoken import OwnerGuard, owner_token
from openclaw_voicecall.server.probe import ProbeDoor
from openclaw_voicecall.server.service import Service
from openclaw_voicecall.server.webhooks import WebhookDoor
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

Shared = Mapping[Any, Any]
"""`web.AppKey` to what request handlers find under it."""

CLOSE_LIMIT = 2.0
"""Seconds for open requests when a site closes."""
IDLE_LIMIT = 5.0
"""Seconds a connection may stay open without a request."""
QUEUE = 1024
"""Connections that the system holds for us until we take them, where it lets us have so many."""
TAKEN_AT_ONCE = 64
"""Connections taken in one go, so that a flood of them does not hold up the audio of calls."""
LINGER = 2.0
"""Seconds for the rest of a body that was refused unread: who is still sending would not see the answer."""
READ_AHEAD = 64 * 1024
"""Bytes of a body that wait for us to read them."""


def bind(stack: AsyncExitStack, config: "VoiceCallConfig", *, ephemeral: bool) -> sockets.socket:
    """The public socket, bound before anything slow is opened, so that a taken port is known at once.

    Raises:
        PortInUse: Somebody else listens there; named where the system tells.
    """
    place = ("127.0.0.1", 0) if ephemeral else (config.serve.bind, config.serve.port)
    listening = _bound("serve.port", *place)
    stack.callback(listening.close)
    return listening


def _bound(setting: str, host: str, port: int) -> sockets.socket:
    listening = sockets.socket(sockets.AF_INET6 if ":" in host else sockets.AF_INET, sockets.SOCK_STREAM)
    listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(QUEUE)
    except OSError as error:
        listening.close()
        holder = owner_of_port(port)
        raise PortInUse(
            f"{setting}: cannot listen on {host}:{port}: {error.strerror}"
            f"{f'; held by {holder}' if holder else ''}. Stop that process or set another {setting}."
        ) from error
    listening.setblocking(False)
    return listening


def address(listening: sockets.socket) -> str:
    """`host:port` under which this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 read from a socket, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class PublicSite:
    """What carriers and strangers reach."""

    media: MediaDoor
    crowd: Crowd
    handler: Callable[[], asyncio.Protocol]
    tokens: StreamTokens

    def gate(self, begun: bytes) -> asyncio.Protocol:
        """Takes a connection of which another process has read this much."""
        return self.crowd.gate(self.handler, begun)()

    @property
    def gauges(self) -> dict[str, Callable[[], int]]:
        """What is counted here."""
        return {
            "streams": lambda: self.media.open_streams,
            "tokens": lambda: len(self.tokens),
            "strangers": lambda: len(self.crowd),
            "strangersShed": lambda: self.crowd.shed,
        }


async def serve_public(
    stack: AsyncExitStack,
    registry: Registry,
    config: "VoiceCallConfig",
    shared: Shared,
    listening: sockets.socket,
    *,
    pass_on: Callable[[asyncio.Transport, bytes], bool] | None = None,
) -> PublicSite:
    """Open webhooks, media streams and the routes of plugins on the bound socket.

    Args:
        stack: Closes them.
        registry: Knows the plugins.
        config: The configuration.
        shared: What request handlers find.
        listening: The socket.
        pass_on: Gives connections away that another process is to serve.
    """
    app = _application(shared)
    add_manners(app)
    _probe_door(config, shared).guard(app)
    elsewhere = shared[MANAGER].elsewhere if pass_on is not None else None
    WebhookDoor(
        config.serve.path, config.provider, Forwarding(config.webhook_security), elsewhere
    ).add_routes(app)
    media = _media_door(config, app)
    registry.manager.hook.voicecall_register_routes(app=app, config=config)
    site = await _open(stack, config, app, media)
    site.crowd.pass_on = pass_on
    await _listen(stack, site, listening)
    return site


async def serve_streams(stack: AsyncExitStack, config: "VoiceCallConfig", shared: Shared) -> PublicSite:
    """Open media streams alone, for connections that another process hands over."""
    app = _application(shared)
    add_manners(app)
    return await _open(stack, config, app, _media_door(config, app))


def _media_door(config: "VoiceCallConfig", app: web.Application) -> MediaDoor:
    media = MediaDoor(
        config.streaming.stream_path,
        start_limit=config.streaming.pre_start_timeout_ms / 1000,
        max_streams=config.streaming.max_connections,
    )
    media.add_routes(app)
    return media


async def _open(
    stack: AsyncExitStack, config: "VoiceCallConfig", app: web.Application, media: MediaDoor
) -> PublicSite:
    # A compressed body would grow before its signature is checked, so bodies are never decompressed.
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        logger=quiet_logger(),
        keepalive_timeout=IDLE_LIMIT,
        auto_decompress=False,
        lingering_time=LINGER,
        read_bufsize=READ_AHEAD,
        shutdown_timeout=CLOSE_LIMIT,
    )
    await runner.setup()
    take_strange_requests(runner)
    stack.push_async_callback(runner.cleanup)
    crowd = Crowd(config.streaming.max_pending_connections)
    stack.callback(crowd.close)
    if runner.server is None:
        raise RuntimeError("the runner was not set up")
    return PublicSite(media, crowd, runner.server, app[TOKENS])


async def _listen(stack: AsyncExitStack, site: PublicSite, listening: sockets.socket) -> None:
    server = await asyncio.get_running_loop().create_server(
        site.crowd.gate(site.handler), sock=listening, backlog=TAKEN_AT_ONCE
    )
    stack.callback(server.close)
    listening.listen(QUEUE)  # asyncio has made the system's queue as short as what it takes at once


@dataclass(frozen=True, slots=True)
class ControlPlace:
    """Where the owner's commands come to."""

    socket_path: Path
    token_file: Path
    """Holds what requests to the port need."""
    listening: sockets.socket | None = None
    """The port, where there is one."""
    guard: OwnerGuard | None = None

    @property
    def url(self) -> str:
        """Address of the port; empty where there is none."""
        return f"http://{address(self.listening)}" if self.listening is not None else ""


def bind_control(stack: AsyncExitStack, config: "VoiceCallConfig", state: StateDir) -> ControlPlace:
    """Find the place of the control API, before anything slow is opened.

    Raises:
        ConfigError: There is something else at the path of the socket.
        StoreError: The token for the port cannot be read or made.
        PortInUse: The port is taken.
    """
    path = config.control.socket or state.control_socket()
    token_file = state.path / "control.token"
    if path.exists() and not path.is_socket():
        raise ConfigError(f"control.socket: {path} is something else than a socket and was left alone")
    if config.control.port is None:
        return ControlPlace(path, token_file)
    guard = OwnerGuard(owner_token(token_file))
    listening = _bound("control.port", "127.0.0.1", config.control.port)
    stack.callback(listening.close)
    return ControlPlace(path, token_file, listening, guard)


async def serve_control(stack: AsyncExitStack, service: Service, shared: Shared, place: ControlPlace) -> None:
    """Open the control API on the Unix socket, and on a port of this machine where one is configured.

    Raises:
        ConfigError: The socket cannot be made where it is configured.
    """
    runner = await _control_runner(stack, service, shared)
    place.socket_path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(place.socket_path)).start()
    except OSError as error:
        raise ConfigError(
            f"control.socket: cannot listen at {place.socket_path}: {error.strerror or error}"
        ) from error
    finally:
        os.umask(before)
    stack.callback(place.socket_path.unlink, missing_ok=True)
    if place.listening is not None:
        guarded = await _control_runner(stack, service, shared, guard=place.guard)
        await web.SockSite(guarded, place.listening).start()


async def _control_runner(
    stack: AsyncExitStack, service: Service, shared: Shared, *, guard: OwnerGuard | None = None
) -> web.AppRunner:
    """The control API for one place. On the Unix socket the file's mode 0600 is the authority."""
    app = _application(shared)
    ControlDoor(service.status, service.workers).add_routes(app, guard)
    _probe_door(service.config, shared).add_invitation(app)
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        logger=quiet_logger(),
        auto_decompress=False,
        shutdown_timeout=CLOSE_LIMIT,
    )
    await runner.setup()
    take_strange_requests(runner)
    stack.push_async_callback(runner.cleanup)
    return runner


def _probe_door(config: "VoiceCallConfig", shared: Shared) -> ProbeDoor:
    manager = shared[MANAGER]
    return ProbeDoor(
        config,
        tokens=shared[TOKENS],
        clock=shared[CLOCK],
        addresses=manager.addresses,
        carriers=manager.engines.carriers,
    )


def _application(shared: Shared) -> web.Application:
    app = web.Application()
    for key, value in shared.items():
        app[key] = value
    app.router.add_get("/healthz", _health)
    return app


async def _health(request: web.Request) -> web.Response:
    status = "draining" if request.app[MANAGER].draining else "ok"
    return web.json_response({"status": status})
