"""The two places the service listens at: a public port, and a Unix socket for its owner."""

import os
import socket as sockets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from aiohttp import web

from openclaw_voicecall.errors import PortInUse
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.server.control import ControlDoor
from openclaw_voicecall.server.keys import CLOCK, MANAGER, TOKENS
from openclaw_voicecall.server.media import MediaDoor
from openclaw_voicecall.server.owner import owner_of_port
from openclaw_voicecall.server.probe import ProbeDoor
from openclaw_voicecall.server.service import Service
from openclaw_voicecall.server.webhooks import WebhookDoor

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

Shared = Mapping[Any, Any]
"""`web.AppKey` to what request handlers find under it."""

CLOSE_LIMIT = 2.0
"""Seconds for open requests when a site closes."""
IDLE_LIMIT = 5.0
"""Seconds a public connection may stay open without a request."""


def bind(config: "VoiceCallConfig", *, ephemeral: bool) -> sockets.socket:
    """The public socket, bound before anything slow is opened, so that a taken port is known at once.

    Raises:
        PortInUse: Somebody else listens there; named where the system tells.
    """
    host, port = ("127.0.0.1", 0) if ephemeral else (config.serve.bind, config.serve.port)
    listening = sockets.socket(sockets.AF_INET6 if ":" in host else sockets.AF_INET, sockets.SOCK_STREAM)
    listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        holder = owner_of_port(port)
        raise PortInUse(
            f"serve.port: cannot listen on {host}:{port}: {error.strerror}"
            f"{f'; held by {holder}' if holder else ''}. Stop that process or set another serve.port."
        ) from error
    listening.setblocking(False)
    return listening


def address(listening: sockets.socket) -> str:
    """`host:port` under which this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 read from a socket, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve_public(
    stack: AsyncExitStack,
    registry: Registry,
    config: "VoiceCallConfig",
    shared: Shared,
    listening: sockets.socket,
) -> None:
    """Open webhooks, media streams and the routes of plugins on the bound socket."""
    app = _application(shared)
    _probe_door(config, shared).guard(app)
    WebhookDoor(config.serve.path, config.provider).add_routes(app)
    MediaDoor(
        config.streaming.stream_path,
        start_limit=config.streaming.pre_start_timeout_ms / 1000,
        max_streams=config.streaming.max_connections,
    ).add_routes(app)
    registry.manager.hook.voicecall_register_routes(app=app, config=config)
    # A compressed body would grow before its signature is checked, so bodies are never decompressed.
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        keepalive_timeout=IDLE_LIMIT,
        auto_decompress=False,
        shutdown_timeout=CLOSE_LIMIT,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening).start()


async def serve_control(stack: AsyncExitStack, service: Service, shared: Shared) -> None:
    """Open the control API on the Unix socket; its file mode 0600 is the authority."""
    app = _application(shared)
    ControlDoor(service.describe).add_routes(app)
    _probe_door(service.config, shared).add_invitation(app)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=CLOSE_LIMIT)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    path = service.socket_path
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    stack.callback(path.unlink, missing_ok=True)


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
