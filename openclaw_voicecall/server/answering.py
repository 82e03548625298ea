"""Which agent answers the calls: settles everywhere in the configuration where a model may be named.

`responseModel`, `numbers.<n>.responseModel` and `responseFallbacks` may name the agent of the program that we live in,
by that program's name or as `host`: `openclaw`, `openclaw/<agentId>`, `openclaw/<agentId>@<model>`. In a host they may
also name a model of a vendor that nobody registered here: then the agent answers, on that model. Afterwards each of
them names a responder that is registered, and the agent stands where agents stand: in `agentId`, of all calls or of a
number's.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openclaw_voicecall.config.openclaw import GATEWAY_VARIABLE
from openclaw_voicecall.config.trust import ALL_TOOLS

if TYPE_CHECKING:
    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.config.schema import VoiceCallConfig

HOST: Final = "host"
"""The responder that hands turns to the program we live in."""
GATEWAY: Final = "openclaw"
"""The responder that hands turns to OpenClaw from outside of it."""
DEFAULT_AGENT: Final = "default"
"""OpenClaw's name for whichever agent answers where none is named."""


def answered_by(
    host: "Host | None",
    config: "VoiceCallConfig",
    responders: Container[str],
    env: Mapping[str, str] | None = None,
) -> "VoiceCallConfig":
    """The configuration with every mention of the host's agent settled.

    Args:
        host: The program we live in; where there is one, its agent answers unless something else is named.
        config: As the owner wrote it.
        responders: Names of those that are registered.
        env: Environment; it tells whether OpenClaw's plugin started us.
    """
    if host is None:
        names = _Names((GATEWAY,), GATEWAY, responders if GATEWAY_VARIABLE in (env or {}) else None)
    else:
        names = _Names((host.name, HOST), HOST, responders)
    model, agent = names.settle(config.response_model or (HOST if host else None), config.agent_id)
    numbers = {}
    for number, own in config.numbers.items():
        own_model, own_agent = names.settle(own.response_model, own.agent_id)
        numbers[number] = own.model_copy(update={"response_model": own_model, "agent_id": own_agent})
    changes = {
        "response_model": model,
        "agent_id": agent,
        "numbers": numbers,
        "response_fallbacks": tuple(map(names.rename, config.response_fallbacks)),
    }
    return config.model_copy(update=changes)


def checked_reference(reference: str, responders: Container[str], env: Mapping[str, str]) -> str:
    """The responder that a setting names, for those who only check it: its agent stays in it."""
    return _Names((GATEWAY,), GATEWAY, responders if GATEWAY_VARIABLE in env else None).rename(reference)


def answering_notices(config: "VoiceCallConfig") -> tuple[str, ...]:
    """What the owner should know of a settled configuration."""
    named = (
        config.response_model,
        *config.response_fallbacks,
        *(own.response_model for own in config.numbers.values()),
    )
    by_gateway = any((reference or "").partition("/")[0] == GATEWAY for reference in named)
    if not by_gateway or ALL_TOOLS in config.agent_tools.others:
        return ()
    return (
        "OpenClaw's agent has all its tools when it is asked over HTTP, so it talks to owners only (toNumber, or "
        "owners). Run the service inside OpenClaw, where agentTools limits them, with `openclaw-voicecall openclaw "
        'install`; or set agentTools.others to ["*"] if strangers may use all that the agent can.',
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """What the agent is called, and the responder that reaches it."""

    agents: tuple[str, ...]
    responder: str
    others: Container[str] | None = None
    """Responders of other names; any further name is a vendor that the host may know. None where there is no host."""

    def settle(self, reference: str | None, agent: str | None) -> tuple[str | None, str | None]:
        """The responder and the agent; where the reference names an agent, it is that one."""
        wanted = self._wanted(reference or "")
        if wanted is None:
            return reference, agent
        named, _, model = wanted.partition("@")
        responder = f"{self.responder}/{DEFAULT_AGENT}@{model}" if model else self.responder
        return responder, agent if named in ("", DEFAULT_AGENT) else named

    def rename(self, reference: str) -> str:
        """The responder and its agent in one."""
        wanted = self._wanted(reference)
        if wanted is None:
            return reference
        return self.responder if wanted in ("", DEFAULT_AGENT) else f"{self.responder}/{wanted}"

    def _wanted(self, reference: str) -> str | None:
        """The agent and model, as `agent@model`; None for another responder."""
        name, _, rest = reference.partition("/")
        if name in self.agents:
            return rest
        if self.others is None or name in self.others or not rest:
            return None
        return f"{DEFAULT_AGENT}@{reference}"
