"""The program we live in, where there is one."""

from collections.abc import AsyncGenerator
from typing import Protocol

from openclaw_voicecall.api.responder import ResponseEvent, TurnRequest
from openclaw_voicecall.api.store import CallRecord


class Host(Protocol):
    """An agent host such as OpenClaw."""

    name: str

    def agent_turn(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the host's own agent write a turn."""
        ...

    async def deliver(self, session_key: str, record: CallRecord) -> None:
        """Bring the outcome of a call to the chat that asked for it."""
        ...
