"""How a call is to go, from the configuration."""

from typing import TYPE_CHECKING

from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.calls.engines import DEFAULT_RESPONDER
from openclaw_voicecall.config.callers import is_anonymous
from openclaw_voicecall.config.sections import RECORDING_NOTICE
from openclaw_voicecall.core.policy import DISCLOSURE_LINE, RECORDING_LINE, MustSay
from openclaw_voicecall.media.speakable import speakable

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig


_ONE_CALL = ":voice:call:"


def plan_call(
    config: "VoiceCallConfig", offer: CallOffer, *, message: str, objective: str, call_id: str = ""
) -> CallPlan:
    """The plan before the routers have their say. `message` is what the agent says first."""
    greeting = message if offer.direction == "outbound" else (config.inbound_greeting or "")
    far = offer.to_number if offer.direction == "outbound" else offer.from_number
    return CallPlan(
        policy=config.call_policy(direction=offer.direction, mode=offer.mode, greeting=greeting),
        responder=config.response_model or DEFAULT_RESPONDER,
        language=config.language,
        system_prompt=config.response_system_prompt or "",
        objective=objective,
        session_key=session_key(config, far, call_id),
        agent_id=config.agent_id or "",
        response_timeout=config.response_timeout_ms / 1000,
    )


def must_say(
    config: "VoiceCallConfig", offer: CallOffer, greeting: str, *, recorded: bool
) -> tuple[MustSay, ...]:
    """What has to be heard before anything else is said on a call that begins with this greeting."""
    disclosure, notice = config.disclosure, config.recording.notice
    if disclosure.lower().rstrip(".! ") in greeting.lower():
        disclosure = ""
    if notice is None:
        notice = RECORDING_NOTICE if offer.billed else ""
    lines = (MustSay(DISCLOSURE_LINE, disclosure), MustSay(RECORDING_LINE, notice if recorded else ""))
    return tuple(line for line in lines if speakable(line.text))


def session_key(config: "VoiceCallConfig", far_number: str, call_id: str = "") -> str:
    """Names the memory that a talk with this number belongs to, as OpenClaw does.

    All who hide their number look alike, so under `per-phone` a call with one of them has a memory of its own.
    """
    agent = config.agent_id or "main"
    match config.session_scope:
        case "main":
            return f"agent:{agent}:main"
        case "per-phone" if not is_anonymous(far_number):
            return f"agent:{agent}:voice:{far_number}"
        case _:
            return f"agent:{agent}{_ONE_CALL}{call_id}"


def is_of_one_call(key: str) -> bool:
    """Whether a session key names the memory of one call alone."""
    return _ONE_CALL in key
