"""Who writes the agent's side of the talk."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

_AGENT = re.compile(r"^agent:[^:]*:")
"""How a session key begins."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the talk so far. `speaker` is `caller` or `agent`; an agent's line is what was *heard* of it."""

    speaker: str
    text: str
    interrupted: bool = False
    earlier: bool = False
    """Whether it is of an earlier call with the same memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the responder may call while it writes a turn."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments."""
    run: Callable[[Mapping[str, Any]], Awaitable[str]]
    """Runs it and gives its result as text. Never raises: a failure or a limit is told in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """Everything a responder may know about the turn it is to write."""

    call_id: str
    turn: int
    text: str
    """What the caller said in this turn."""
    digits: str = ""
    """Keys the caller pressed, when the turn was dialled, not said."""
    history: tuple[Line, ...] = ()
    """The talk before this turn, oldest first."""
    direction: str = "outbound"
    from_number: str = ""
    to_number: str = ""
    session_key: str = ""
    """Names the memory this talk belongs to."""
    system_prompt: str = ""
    objective: str = ""
    """What an outbound call is for."""
    language: str = "en"
    agent_id: str = ""
    model: str = ""
    """Model, as the host names it, that its agent is to use in this turn; the agent's own where empty."""
    owner: bool = False
    """Whether the person on the line is the owner of the host's agent."""
    agent_tools: tuple[str, ...] | None = ()
    """Names of the tools of its own that a host's agent may use in this turn; None for all."""
    timeout: float = 30.0
    """Seconds that the whole reply may take."""
    tools: tuple[Tool, ...] = ()
    can_end: bool = True
    """Whether the call may be ended by `EndCall`."""
    can_send_digits: bool = True
    """Whether `SendDtmf` reaches the far party."""
    can_transfer: bool = False
    """Whether the carrier can hand the caller over and the owner allows it."""
    can_announce: bool = False
    """Whether something can be said to the other number before."""
    transfer_to: tuple[str, ...] | None = None
    """The only numbers, E.164, that the far party may be handed over to; None for any."""

    def may_transfer(self, number: str) -> bool:
        """Whether the far party may be handed over to this number, E.164."""
        return self.can_transfer and (self.transfer_to is None or number in self.transfer_to)

    def for_agent(self, wanted: str) -> "TurnRequest":
        """The turn as an agent of the host is to write it: a memory belongs to its agent.

        Args:
            wanted: What stands behind the slash in `openclaw/<agentId>@<model>`; both parts may be left out, and
                `default` names the call's own agent.
        """
        agent_id, _, model = wanted.partition("@")
        request = replace(self, model=model) if model else self
        if agent_id in ("", "default"):
            return request
        key = _AGENT.sub(lambda _: f"agent:{agent_id}:", self.session_key)
        return replace(request, agent_id=agent_id, session_key=key)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the spoken text, of any length."""

    text: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """End the call once everything said so far in this turn was heard."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SendDtmf:
    """Send DTMF digits to the far party."""

    digits: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Hand the caller over to this number, E.164.

    `announce` is said to whoever answers there, who then decides whether to take the call; empty to connect at once.
    """

    to: str
    announce: str = ""


ResponseEvent = TextDelta | EndCall | SendDtmf | Transfer

ToolHandler = Callable[[TurnRequest, Mapping[str, Any]], Awaitable[str]]
"""A tool as a plugin registers it: `(turn, arguments) -> result text`; what it raises is told to the responder."""


class Responder(Protocol):
    """A model, an agent, or rules; shared by all calls."""

    def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Write the agent's turn as it comes. Closing the iterator cancels the work. Raises `VendorError`."""
        ...


@runtime_checkable
class Speculative(Protocol):
    """A responder that may be asked for an answer before the caller's turn is over.

    With `speculative` true it promises that a request which is closed half-way leaves nothing behind but its price: no
    memory of the turn, no act in the world. What it does by its events and by `TurnRequest.tools` is held back until
    the turn is certain.
    """

    speculative: bool


def is_speculative(responder: Responder) -> bool:
    """Whether an answer may be begun that is thrown away; not without the responder's word."""
    return isinstance(responder, Speculative) and responder.speculative
