"""The tools of a turn: plugins' functions, each under a time limit and all under a number."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from openclaw_voicecall.api.responder import Tool, TurnRequest
from openclaw_voicecall.api.spec import ToolSpec

logger = logging.getLogger(__name__)

TIME_LIMIT = 15.0
"""Seconds a tool may take: the caller waits meanwhile."""
CALL_LIMIT = 8
"""Calls in one turn; a model that goes round in circles is stopped here."""


def with_tools(
    request: TurnRequest,
    specs: Sequence[ToolSpec],
    note: Callable[[str, dict[str, Any]], None],
    *,
    began: Callable[[], None] = lambda: None,
) -> TurnRequest:
    """The request with the tools that its responder may call.

    Args:
        request: What the tools are told about the turn.
        specs: The tools that plugins registered.
        note: Takes the journal word `tool-called` with name, outcome and duration of each call.
        began: Called when a tool begins to run.
    """
    left = [CALL_LIMIT]

    def bound(spec: ToolSpec) -> Tool:
        async def run(arguments: Mapping[str, Any]) -> str:
            if not left[0]:
                return f"Not run: a turn has at most {CALL_LIMIT} tool calls. Answer with what you know."
            left[0] -= 1
            began()
            begin = asyncio.get_running_loop().time()
            result, outcome = await _run(spec, request, arguments)
            seconds = asyncio.get_running_loop().time() - begin
            note("tool-called", {"tool": spec.name, "outcome": outcome, "seconds": round(seconds, 3)})
            return result

        return Tool(name=spec.name, description=spec.description, parameters=spec.parameters, run=run)

    return replace(request, tools=tuple(bound(spec) for spec in specs))


async def _run(spec: ToolSpec, request: TurnRequest, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The result of a tool, and whether it is `done`, `failed` or `timed out`."""
    try:
        async with asyncio.timeout(TIME_LIMIT):
            return await spec.handler(request, arguments), "done"
    except TimeoutError:
        return f"The tool {spec.name} did not finish within {TIME_LIMIT:g} seconds.", "timed out"
    except Exception as error:  # a plugin's bug must not end the caller's turn
        logger.exception("tool %s failed", spec.name)
        return f"The tool {spec.name} failed: {error}", "failed"
