"""Who decides whether a call may be, and how it is to go."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from openclaw_voicecall.core.policy import CallPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOffer:
    """A call before it exists: asked for by the owner, or offered by a carrier."""

    direction: str
    carrier: str
    from_number: str
    to_number: str
    mode: str = "conversation"
    """`conversation`, `notify`, or `transfer` when the far party of a live call is to be handed over to `to_number`."""
    live_calls: int = 0
    """Calls that hold a slot right now."""
    billed: bool = True
    """Whether the carrier's calls cost money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A decision: `allowed` or not, with a `reason` in a sentence. `busy` refusals may be tried again later."""

    allowed: bool
    reason: str = ""
    busy: bool = False


class AdmissionPolicy(Protocol):
    """Says yes, no, or nothing about a call. The first that says something decides; an error counts as no."""

    name: str
    order: int
    """Smaller is asked first."""

    async def admit(self, offer: CallOffer) -> Admission | None:
        """Decide, or return None to leave it to the next."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """How a call is to go: who answers, in which voice, with what tuning."""

    policy: CallPolicy = field(default_factory=CallPolicy)
    responder: str = ""
    """`responder` or `responder/model`."""
    synthesizer: str = ""
    """Key of the voice: one of our numbers that has its own, or empty for the common one."""
    voice: str = ""
    """Name of a voice within the synthesizer; empty for the configured one."""
    language: str = "en"
    system_prompt: str = ""
    objective: str = ""
    session_key: str = ""
    agent_id: str = ""
    response_timeout: float = 30.0
    metadata: dict[str, Any] = field(default_factory=dict)


class CallRouter(Protocol):
    """Changes the plan of a call, for example by the number that was dialled."""

    name: str
    order: int

    async def route(self, offer: CallOffer, plan: CallPlan) -> CallPlan:
        """The plan to use; return the given one to leave it."""
        ...
