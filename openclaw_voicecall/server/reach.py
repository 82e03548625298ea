"""How the internet reaches a service: by `publicUrl`, or by a tunnel that the service opens itself."""

import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.tunnels import make_tunnel
from openclaw_voicecall.tunnels.keeper import HOP, KeptTunnel, kept_open

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reach:
    """How this service is reached."""

    config: "VoiceCallConfig"
    """With `publicUrl` of the tunnel, where the configuration has none."""
    notices: tuple[str, ...] = ()
    """What the owner should read once."""
    tunnel: KeptTunnel | None = None
    own_address: bool = False
    """Whether `publicUrl` comes from the tunnel."""

    def follow(self, addresses: Addresses) -> None:
        """Let carriers be given the tunnel's address, also when it comes back with another one."""
        if self.tunnel is None or not self.own_address:
            return
        known = self.config.public_url

        def move(public_url: str) -> None:
            addresses.move(public_url)
            if public_url != known:
                logger.error(
                    "tunnel: the public address is now %s; callers do not get through until your carrier knows it",
                    public_url,
                    extra=HOP,
                )

        self.tunnel.follow(move)


async def open_reach(
    stack: AsyncExitStack, config: "VoiceCallConfig", here: str, *, memory: Path, wanted: bool = True
) -> Reach:
    """Open the tunnel that the configuration asks for; it is closed with the stack.

    Args:
        stack: Closes the tunnel.
        config: The validated configuration.
        here: `host:port` we listen at.
        memory: File in the state directory for what the tunnel must not forget.
        wanted: Whether anybody on the internet is to reach us at all.

    Raises:
        VendorError: The tunnel cannot be opened; the message has the cause and a fix.
        ConfigError: `publicUrl` is set and says something else than the tunnel.
    """
    tunnel = make_tunnel(config, here, memory=memory) if wanted else None
    if tunnel is None:
        return Reach(config)
    kept = await stack.enter_async_context(kept_open(tunnel))
    notices = [f"tunnel {kept.name} is open: carriers reach the webhooks at {kept.public_url}"]
    if kept.name == "tailscale-serve" and config.public_url is None:
        notices.append(
            "tailscale-serve opens the webhooks to your tailnet only: a carrier on the internet cannot reach them; "
            "use tailscale-funnel for that"
        )
    if config.public_url is None:
        config = config.model_copy(update={"public_url": kept.public_url})
        return Reach(config, tuple(notices), kept, own_address=True)
    if difference := _difference(config.public_url, kept.public_url):
        if kept.name != "tailscale-serve":  # a proxy on the internet may well hand on into the tailnet
            raise ConfigError(difference)
        notices.append(difference)
    return Reach(config, tuple(notices), kept)


def _difference(configured: str, opened: str) -> str:
    """What `publicUrl` says otherwise than the tunnel; empty where they agree."""
    ours, theirs = urlsplit(configured), urlsplit(opened)
    fix = "remove publicUrl, which the tunnel then sets, or correct it"
    for part, here, there in (
        ("host", _place(configured), _place(opened)),
        ("path", ours.path.rstrip("/"), theirs.path.rstrip("/")),
    ):
        if here != there:
            return f"publicUrl: its {part} is {here or '/'}, but the tunnel opens {opened}: {fix}"
    return ""


def _place(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.hostname}:{port}" if port != 443 else f"{parts.hostname}"
