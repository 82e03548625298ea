"""Ways from the internet to this server, opened by programs of the system."""

from pathlib import Path

from openclaw_voicecall.config.schema import VoiceCallConfig
from openclaw_voicecall.tunnels.ngrok import Ngrok
from openclaw_voicecall.tunnels.tailscale import Tailscale
from openclaw_voicecall.tunnels.tunnel import Door, Tunnel

PROVIDERS = ("ngrok", "tailscale-serve", "tailscale-funnel")
"""What `tunnel.provider` may be, besides `none`."""


def door_of(config: VoiceCallConfig, here: str) -> Door:
    """What is to be reached, where `here` is the `host:port` we listen at."""
    return Door(here, webhook_path=config.serve.path, stream_path=config.streaming.stream_path)


def make_tunnel(
    config: VoiceCallConfig, here: str, *, provider: str = "", memory: Path | None = None
) -> Tunnel | None:
    """The tunnel that the configuration names, not opened yet; None for `none`.

    Args:
        config: Its `tunnel` section says how.
        here: `host:port` we listen at.
        provider: Instead of `tunnel.provider`.
        memory: File in which a tunnel may keep what the next process must know.
    """
    settings, door = config.tunnel, door_of(config, here)
    match provider or settings.provider:
        case "ngrok":
            return Ngrok(door, token=settings.ngrok_auth_token, domain=settings.ngrok_domain)
        case "tailscale-serve" | "tailscale-funnel" as name:
            return Tailscale(
                door,
                funnel=name == "tailscale-funnel",
                port=settings.port,
                path=settings.path,
                memory=memory,
            )
        case _:
            return None
