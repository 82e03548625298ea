"""What Tailscale hands through on a port, and whether we may add to it.

The shape of `tailscale serve status --json` is Tailscale's `ipn.ServeConfig`: `TCP` by port, `Web` and `AllowFunnel`
by `host:port`, handlers by path below `Web`. A funnel is a property of a port: it opens every path on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Route:
    """A path on the Tailscale name and the address on this machine that it leads to."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class PortState:
    """What is set up on one port of this machine's Tailscale name."""

    handlers: Mapping[str, str] = field(default_factory=dict)
    """Where each path leads: an address, or what else is shown there."""
    funnel: bool = False
    """Whether the internet can reach the port, not only the tailnet."""
    raw_tcp: bool = False
    """Whether the port is handed on as plain TCP, so that it can have no paths."""

    def has(self, route: Route) -> bool:
        """Whether this very route is set up."""
        return self.handlers.get(route.path) == route.target

    def others(self, routes: Iterable[Route]) -> list[str]:
        """Paths with something else than these routes."""
        ours = {route.path: route.target for route in routes}
        return sorted(path for path, target in self.handlers.items() if ours.get(path) != target)


def port_state(serve_config: object, host: str, port: int) -> PortState:
    """Read what `tailscale serve status --json` printed; `null` where nothing is set up."""
    config = _group(serve_config)
    key = f"{host}:{port}"
    handlers = _group(_group(_group(config.get("Web")).get(key)).get("Handlers"))
    listener = _group(_group(config.get("TCP")).get(str(port)))
    return PortState(
        handlers={_plain(path): _target(_group(handler)) for path, handler in handlers.items()},
        funnel=bool(_group(config.get("AllowFunnel")).get(key)),
        raw_tcp=bool(listener.get("TCPForward")),
    )


def why_not(state: PortState, routes: Iterable[Route], *, port: int, funnel: bool) -> str:
    """What somebody else's set-up on this port would suffer from ours; empty when nothing."""
    wanted = list(routes)
    another = "set another tunnel.port (443, 8443 or 10000)"
    if state.raw_tcp:
        return f"port {port} is handed on as plain TCP: {another}"
    for route in wanted:
        found = state.handlers.get(route.path)
        if found is not None and found != route.target:
            return (
                f"{route.path} on port {port} leads to {found} already: set another tunnel.path or tunnel.port, or "
                f"free it with: tailscale serve --https={port} --set-path={route.path} off"
            )
    others = ", ".join(state.others(wanted))
    if others and funnel and not state.funnel:
        return (
            f"a funnel opens a whole port, and would show the internet {others} on port {port} too: {another}"
        )
    if others and state.funnel and not funnel:
        return (
            f"port {port} is open to the internet for {others}, and `tailscale serve` would end that: {another}, or "
            "set tunnel.provider to tailscale-funnel"
        )
    return ""


def _plain(path: str) -> str:
    """Tailscale takes /a and /a/ for one place."""
    return path.rstrip("/") or "/"


def _target(handler: Mapping[str, Any]) -> str:
    for kind in ("Proxy", "Path", "Text", "Redirect"):
        if handler.get(kind):
            return str(handler[kind]) if kind == "Proxy" else f"{kind.lower()} {handler[kind]}"
    return "nothing"


def _group(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
