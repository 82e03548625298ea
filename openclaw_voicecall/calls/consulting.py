"""The tool by which a speech-to-speech model asks the agent: the responder of the call, given a question."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from openclaw_voicecall.api.responder import Responder, TextDelta, TurnRequest
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.session.chain import Chain, why_failed

NAME: Final = "ask_agent"
_ABOUT: Final = (
    "Ask the agent you speak for. It knows its owner, remembers earlier talks, and can look things up and do things. "
    "Its answer is for you; say it in your own words."
)
_QUESTION: Final = (
    "What the agent is to find out or to do, with everything it has to know, in one or two sentences."
)
WHEN: Final[Mapping[str, str]] = {
    "auto": f"Use {NAME} for what you do not know yourself or cannot do.",
    "substantive": f"Use {NAME} before you answer anything of substance; small talk is yours.",
    "always": f"Use {NAME} before every answer, small talk included.",
}
"""What the model is told about the tool, by `realtime.consultPolicy`."""


def consult_tool(agents: Chain[Responder], tools_of_agent: tuple[str, ...] | None) -> ToolSpec:
    """The tool.

    Args:
        agents: The responder and its fallbacks.
        tools_of_agent: Names of the agent's own tools that it may use for this; None for all.
    """

    async def ask(turn: TurnRequest, arguments: Mapping[str, Any]) -> str:
        question = str(arguments.get("question", "")).strip()
        if not question:
            return "Not asked: the question is missing."
        request = replace(turn, text=question, agent_tools=tools_of_agent, tools=(), can_end=False)
        request = replace(request, can_send_digits=False, can_transfer=False)
        failures = []
        for link in agents:
            try:
                if answer := await _answer(link.provider, request):
                    return answer
                failures.append(f"{link.name}: it said nothing")
            except (VendorError, OSError) as error:
                failures.append(f"{link.name}: {why_failed(error)}")
        raise VendorError("; ".join(failures), operation="consult")

    parameters = {
        "type": "object",
        "properties": {"question": {"type": "string", "description": _QUESTION}},
        "required": ["question"],
    }
    return ToolSpec(name=NAME, description=_ABOUT, parameters=parameters, handler=ask)


async def _answer(agent: Responder, request: TurnRequest) -> str:
    written = []
    async with aclosing(agent.respond(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                written.append(event.text)
    return "".join(written).strip()
