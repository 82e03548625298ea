"""Tailscale: its daemon keeps the way open, and its program tells the daemon which paths lead to us.

Facts about the program are from Tailscale's documentation of `tailscale serve` and `tailscale funnel` (version 1.52
and later) and its source, cmd/tailscale/cli/serve_v2.go and ipn/serve.go.
"""

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import Any, Final

from openclaw_voicecall.errors import (
    ConfigError,
    VendorError,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.tunnels.mappings import PortState, Route, port_state, why_not
from openclaw_voicecall.tunnels.programs import Finished, find_program, run_program
from openclaw_voicecall.tunnels.tunnel import Door

logger = logging.getLogger(__name__)

COMMAND_LIMIT: Final = 15.0
"""Seconds for one command. One that waits for a person to enable a feature waits for ever."""
CLOSE_LIMIT: Final = 2.0
"""Seconds to take everything down."""
LOOK_EVERY: Final = 30.0
"""Seconds between two looks at whether the way is still open."""

_PLACES: Final = ("/Applications/Tailscale.app/Contents/MacOS/Tailscale",)
_INSTALL: Final = "get it from https://tailscale.com/download, or set tunnel.provider to another program"
_STATES: Final = {
    "NeedsLogin": "this machine is not logged in to Tailscale: run `tailscale up`",
    "NeedsMachineAuth": "an administrator of the tailnet has to approve this machine: "
    "https://login.tailscale.com/admin/machines",
    "Stopped": "Tailscale is stopped: run `tailscale up`",
    "NoState": "Tailscale is just starting: try again in a moment",
    "Starting": "Tailscale is just starting: try again in a moment",
}
_FIXES: Final = (
    ("HTTPS must be enabled", "enable HTTPS certificates for the tailnet: https://tailscale.com/s/https"),
    (
        "node attribute not set",
        "the tailnet's policy does not let this machine use Funnel: https://tailscale.com/s/no-funnel",
    ),
    ("is not allowed for funnel", "set tunnel.port to one of the ports named"),
    (
        "Access denied",
        "this user may not change Tailscale's settings: run `sudo tailscale set --operator=$USER` once",
    ),
    ("failed to connect to local", "the Tailscale service does not run on this machine: start it"),
)


class Tailscale:
    """A tunnel by `tailscale serve` or `tailscale funnel`.

    Only the paths of webhooks and media streams lead to us; whatever else is set up on the port is left alone.

    Args:
        door: What is to be reached.
        funnel: Open it to the internet instead of the tailnet alone.
        port: Port of the Tailscale name.
        path: Path of the webhooks there; `serve.path` if None.
        memory: File that remembers what was set up, so that a service that was killed cleans up the next time.
        command_limit: Seconds for one command of the program.
        look_every: Seconds between two looks at whether the way is still open.
    """

    def __init__(
        self,
        door: Door,
        *,
        funnel: bool,
        port: int = 443,
        path: str | None = None,
        memory: Path | None = None,
        command_limit: float = COMMAND_LIMIT,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self.name = "tailscale-funnel" if funnel else "tailscale-serve"
        self.webhook_path = path or door.webhook_path
        self.routes = (
            Route(self.webhook_path, f"http://{door.here}{door.webhook_path}"),
            Route(door.stream_path, f"http://{door.here}{door.stream_path}"),
        )
        self._funnel = funnel
        self._port = port
        self._memory = _Memory(memory)
        self._limit = command_limit
        self._look_every = look_every
        self._mine: list[Route] = []
        """What we set up, and nobody before us."""

    async def open(self) -> str:
        """Set up both paths. Raises `VendorError` and `ConfigError`."""
        host = await self._host()
        await self._forget_left_over(host)
        state = await self._state(host)
        if problem := why_not(state, self.routes, port=self._port, funnel=self._funnel):
            raise ConfigError(f"tunnel: {problem}")
        try:
            said = ""
            for route in self.routes:
                if not state.has(route) or state.funnel != self._funnel:
                    self._mine.append(route)
                    self._memory.write(self._port, self._mine)
                    said += (await self._map(route)).said
            state = await self._state(host)
            if not self._stands(state):
                raise VendorRejected(
                    f"{self.name} is not in effect; it needs to be enabled for the tailnet: {said or 'no reason'}",
                    vendor="tailscale",
                    operation="open a tunnel",
                )
        except BaseException:
            await self.close()
            raise
        return f"https://{host}" + (f":{self._port}" if self._port != 443 else "")

    async def lost(self) -> str:
        """Look from time to time, until a look shows that the way is closed."""
        while True:
            await asyncio.sleep(self._look_every)
            try:
                if not self._stands(await self._state(await self._host())):
                    return "somebody took it down"
            except VendorError as error:
                return str(error)

    async def close(self) -> None:
        """Take down what we set up."""
        mine, self._mine = self._mine, []
        if not mine:
            return
        try:
            async with asyncio.timeout(CLOSE_LIMIT):
                state = await self._state(await self._host())
                for route in mine:
                    if state.has(route):  # it may be somebody else's by now
                        await self._unmap(route)
            self._memory.clear()
        except (TimeoutError, VendorError) as error:
            by_hand = f"tailscale serve --https={self._port} --set-path=PATH off"
            logger.warning(
                "tunnel %s could not be taken down (%s); do it with: %s",
                self.name,
                error or "it took too long",
                by_hand,
                extra={"hop": "tunnel"},
            )

    async def remove(self) -> list[str]:
        """Take down our paths, whoever set them up; gives those that were there. Raises `VendorError`."""
        state = await self._state(await self._host())
        found = [route for route in self.routes if state.has(route)]
        for route in found:
            await self._unmap(route)
        return [route.path for route in found]

    def _stands(self, state: PortState) -> bool:
        return all(state.has(route) for route in self.routes) and state.funnel == self._funnel

    async def _forget_left_over(self, host: str) -> None:
        """Take down what a service that was killed left behind; what we want again we then set up anew."""
        port, routes = self._memory.read()
        if not routes:
            return
        state = await self._state(host, port)
        for route in routes:
            if state.has(route):
                await self._unmap(route, port)
        self._memory.clear()

    async def _host(self) -> str:
        """This machine's name in the tailnet. Raises `VendorError`."""
        status = await self._json("status", "--json", "--peers=false")
        state = str(status.get("BackendState") or "")
        if state != "Running":
            raise VendorUnavailable(
                f"tailscale: {_STATES.get(state, f'Tailscale is in the state {state!r}')}",
                vendor="tailscale",
                operation="open a tunnel",
            )
        own = status.get("Self")
        name = str(own.get("DNSName") or "").rstrip(".") if isinstance(own, dict) else ""
        if not name:
            raise VendorRejected(
                "tailscale: this machine has no name in the tailnet: enable MagicDNS at "
                "https://login.tailscale.com/admin/dns",
                vendor="tailscale",
                operation="open a tunnel",
            )
        return name

    async def _state(self, host: str, port: int | None = None) -> PortState:
        return port_state(await self._json("serve", "status", "--json"), host, port or self._port)

    async def _map(self, route: Route) -> Finished:
        return await self._tailscale(
            "funnel" if self._funnel else "serve",
            "--bg",
            "--yes",
            f"--https={self._port}",
            f"--set-path={route.path}",
            route.target,
        )

    async def _unmap(self, route: Route, port: int | None = None) -> None:
        # `serve` and not `funnel`, which would first ask for a right that it does not need to end something. With
        # the last path of a port goes its funnel.
        await self._tailscale(
            "serve", "--yes", f"--https={port or self._port}", f"--set-path={route.path}", "off"
        )

    async def _json(self, *arguments: str) -> dict[str, Any]:
        done = await self._tailscale(*arguments)
        try:
            value = json.loads(done.output)
        except (ValueError, RecursionError):
            raise VendorError(
                f"tailscale: `tailscale {' '.join(arguments)}` printed no JSON; is it older than 1.52?",
                vendor="tailscale",
                operation="open a tunnel",
            ) from None
        return value if isinstance(value, dict) else {}

    async def _tailscale(self, *arguments: str) -> Finished:
        program = find_program("tailscale", fix=_INSTALL, places=_PLACES)
        done = await run_program([program, *arguments], limit=self._limit)
        if done.code is None:
            raise VendorTimeout(
                f"tailscale: `tailscale {arguments[0]}` did not finish within {self._limit:g} s"
                f"{f'; it says: {done.said}' if done.said else ''}",
                vendor="tailscale",
                operation="open a tunnel",
            )
        if done.code:
            fix = next((text for sign, text in _FIXES if sign in done.said), "")
            raise VendorRejected(
                f"tailscale: {done.said or f'exit code {done.code}'}{f' - {fix}' if fix else ''}",
                vendor="tailscale",
                operation="open a tunnel",
                status=done.code,
            )
        return done


class _Memory:
    """What was set up, in a file that outlives the process. Without a file nothing is remembered."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, port: int, routes: list[Route]) -> None:
        if self._path is not None:
            paths = {route.path: route.target for route in routes}
            self._path.touch(mode=0o600)
            self._path.write_text(json.dumps({"port": port, "routes": paths}), encoding="utf-8")

    def read(self) -> tuple[int, list[Route]]:
        if self._path is None:
            return 0, []
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return int(kept["port"]), [Route(str(path), str(to)) for path, to in kept["routes"].items()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return 0, []

    def clear(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
