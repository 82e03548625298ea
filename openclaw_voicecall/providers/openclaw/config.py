"""Settings of OpenClaw's agent as responder, for services that run outside of OpenClaw."""

from pydantic import SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import Positive, PublicUrl


class OpenClawConfig(CamelModel):
    """The gateway of an OpenClaw, whose agent answers."""

    api_key: SecretStr | None = None
    """Token or password of the gateway. If not set, `OPENCLAW_GATEWAY_TOKEN`, `OPENCLAW_GATEWAY_PASSWORD`, or what
    stands in `openclaw.json` of OpenClaw's state folder. Who has it may have the agent do everything."""
    base_url: PublicUrl | None = None
    """Address of the gateway, such as `https://claw.example.ts.net`. If not set, this machine and the port in
    `OPENCLAW_GATEWAY_PORT` or `openclaw.json`, else 18789."""
    read_timeout_ms: Positive = 30000
    """Longest silence of the agent, before its first words and between two pieces of a reply, ms. It says nothing
    while it uses a tool."""
