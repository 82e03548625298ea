"""Who is the owner of the host's agent, and which of its tools it may use for whom.

Being allowed to ring is one thing, having the agent read the owner's mail another: a number counts as an owner's only
where the configuration says so.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

ALL_TOOLS: Final = "*"


def is_owner(config: "VoiceCallConfig", number: str) -> bool:
    """Whether the person with this number, E.164, may have the agent do what its owner may."""
    owners = (config.to_number,) if config.owners is None else config.owners
    return bool(number) and number in owners


def agent_tools(config: "VoiceCallConfig", number: str) -> tuple[str, ...] | None:
    """Names of the agent's tools that it may use while the person with this number is on the line; None for all."""
    names = config.agent_tools.owner if is_owner(config, number) else config.agent_tools.others
    return None if ALL_TOOLS in names else names
