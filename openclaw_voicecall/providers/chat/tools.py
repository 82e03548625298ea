"""Tools on the wire of the chat completions API."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.api.turntools import TurnTools


@dataclass(slots=True)
class ToolCall:
    """A call as the model wrote it, put together from its pieces."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of a vendor's own, which it wants back."""

    def message(self) -> dict[str, Any]:
        """It as part of the assistant's message."""
        function = {"name": self.name, "arguments": self.arguments or "{}"}
        return {"id": self.id, "type": "function", "function": function, **self.extra}


def definitions(tools: TurnTools) -> list[dict[str, Any]]:
    """The tools of a turn as a request lists them."""
    return [
        {
            "type": "function",
            "function": {
                "name": function.name,
                "description": function.description,
                "parameters": function.parameters,
            },
        }
        for function in tools.functions
    ]


async def run_all(tools: TurnTools, calls: Sequence[ToolCall]) -> tuple[list[dict[str, Any]], bool]:
    """Run the calls of one reply, all at a time.

    Returns:
        The results as messages, and whether the model has to see them: an action that was carried out needs no more
        words.
    """
    results = await asyncio.gather(*(tools.run(call.name, call.arguments) for call in calls))
    messages = [
        {"role": "tool", "tool_call_id": call.id, "content": text}
        for call, (text, _) in zip(calls, results, strict=True)
    ]
    return messages, not all(carried_out for _, carried_out in results)
