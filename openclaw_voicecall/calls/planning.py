"""How a call is to go, from the configuration."""

from typing import TYPE_CHECKING

from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.calls.engines import DEFAULT_RESPONDER

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig


def plan_call(config: "VoiceCallConfig", offer: CallOffer, *, message: str, objective: str) -> CallPlan:
    """The plan before the routers have their say. `message` is what the agent says first."""
    greeting = message if offer.direction == "outbound" else (config.inbound_greeting or "")
    far = offer.to_number if offer.direction == "outbound" else offer.from_number
    return CallPlan(
        policy=config.call_policy(direction=offer.direction, mode=offer.mode, greeting=greeting),
        responder=config.response_model or DEFAULT_RESPONDER,
        language=config.language,
        system_prompt=config.response_system_prompt or "",
        objective=objective,
        session_key=session_key(config, far),
        agent_id=config.agent_id or "",
        response_timeout=config.response_timeout_ms / 1000,
    )


def session_key(config: "VoiceCallConfig", far_number: str, call_id: str = "") -> str:
    """Names the memory that a talk with this number belongs to, as OpenClaw does."""
    agent = config.agent_id or "main"
    match config.session_scope:
        case "main":
            return f"agent:{agent}:main"
        case "per-call":
            return f"agent:{agent}:voice:call:{call_id}"
        case _:
            return f"agent:{agent}:voice:{far_number}"
