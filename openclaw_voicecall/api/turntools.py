"""What a model may do besides talking: the tools of the turn, and the call itself."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from openclaw_voicecall.api.realtime import ModelTool
from openclaw_voicecall.api.responder import EndCall, ResponseEvent, SendDtmf, Transfer, TurnRequest
from openclaw_voicecall.config.numbers import normalise_number
from openclaw_voicecall.core.dtmf import DTMF_DIGITS
from openclaw_voicecall.errors import InvalidNumber

LONGEST_RESULT: Final = 8000
"""Characters of a tool's result that are passed on."""
MOST_DIGITS: Final = 32
"""Keys that are pressed in one turn."""
MOST_CALLS: Final = 16
"""Calls of one turn that are looked at. A model that makes more of them has lost its way, or was talked into it."""
_LONGEST_REASON: Final = 200
_LONGEST_ANNOUNCEMENT: Final = 500
_ANNOUNCE: Final = (
    "One or two sentences for whoever answers there: who is on the line and what it is about. They hear it before they "
    "are connected and may decline. Leave it out to connect them at once."
)

_ACTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "end_call": ("Hang up, after what you say in this reply was heard.", "reason", "Why the call ends."),
    "send_digits": (
        "Press keys of the telephone, as in a menu.",
        "digits",
        f"The keys in order: 0 to 9, *, # and A to D, at most {MOST_DIGITS}.",
    ),
    "transfer_call": (
        "Hand the caller over to another telephone number and leave the call.",
        "to",
        "The number in E.164 form, such as +15550001234.",
    ),
}
"""Name, what it does, its one argument and what that is."""


class TurnTools:
    """The tools of one turn.

    Args:
        request: The turn; it says what may be done to the call.
    """

    def __init__(self, request: TurnRequest) -> None:
        self._tools = {_wire_name(tool.name): tool for tool in request.tools}
        allowed = {
            "end_call": request.can_end,
            "send_digits": request.can_send_digits,
            "transfer_call": request.can_transfer,
        }
        # A plugin's tool of the same name is what the owner installed, and stands in for ours.
        self.actions = tuple(name for name, may in allowed.items() if may and name not in self._tools)
        """Names of the tools for the call itself that are offered."""
        self.last: EndCall | Transfer | None = None
        """What ends the agent's part in the call, to be done once the turn was spoken."""
        self.pressed = 0
        """How many keys were pressed in this turn."""
        self._left = MOST_CALLS
        self._numbers = request.transfer_to
        self._announces = request.can_announce
        self._now: list[ResponseEvent] = []

    @property
    def functions(self) -> list[ModelTool]:
        """All tools that are offered."""
        listed = [_function(name, tool.description, tool.parameters) for name, tool in self._tools.items()]
        for name in self.actions:
            does, argument, means = _ACTIONS[name]
            properties: dict[str, Any] = {argument: {"type": "string", "description": means}}
            if name == "transfer_call" and self._numbers is not None:
                properties[argument]["enum"] = list(self._numbers)
            if name == "transfer_call" and self._announces:
                properties["announce"] = {"type": "string", "description": _ANNOUNCE}
            schema = {"type": "object", "properties": properties, "required": [argument]}
            listed.append(_function(name, does, schema))
        return listed

    def take_events(self) -> list[ResponseEvent]:
        """What is to be done at once, and was not taken yet."""
        events, self._now = self._now, []
        return events

    async def run(self, name: str, written: str) -> tuple[str, bool]:
        """Run one call.

        Args:
            name: Of the tool, as the model wrote it.
            written: The arguments, as the model wrote them: JSON, as it hopes.

        Returns:
            The result for the model, and whether it was an action on the call itself that was carried out: the model
            then need not have the last word.
        """
        text, carried_out = await self._run(name, written)
        return text[:LONGEST_RESULT], carried_out

    async def _run(self, name: str, written: str) -> tuple[str, bool]:
        if not self._left:
            return f"Not run: a turn has at most {MOST_CALLS} tool calls. Answer with what you know.", False
        self._left -= 1
        if name not in self._tools and name not in self.actions:
            names = ", ".join((*self._tools, *self.actions)) or "none"
            return f"There is no tool {name[:64]!r}; there are: {names}.", False
        try:
            arguments = json.loads(written or "{}")
        except (ValueError, RecursionError) as error:
            return f"Not run: the arguments are no JSON: {error}", False
        if not isinstance(arguments, dict):
            return "Not run: the arguments have to be a JSON object.", False
        tool = self._tools.get(name)
        if tool is not None:
            return await tool.run(arguments), False
        _, argument, _ = _ACTIONS[name]
        value, announce = (str(arguments.get(key, "")) for key in (argument, "announce"))
        return self._act(name, value, announce if self._announces else "")

    def _act(self, name: str, value: str, announce: str) -> tuple[str, bool]:
        if name == "send_digits":
            return self._press(value)
        if self.last is not None:
            ends = "handed over" if isinstance(self.last, Transfer) else "ended"
            return f"Not done: the call is being {ends} already.", True
        if name == "end_call":
            self.last = EndCall(" ".join(value.split())[:_LONGEST_REASON])
            return "The call ends once your words were heard. Say goodbye in one short sentence.", True
        try:
            number = normalise_number(value.strip(), field="to")
        except InvalidNumber as error:
            return f"Not done: {error}", False
        if self._numbers is not None and number not in self._numbers:
            return (
                f"Not done: callers may be handed over to {', '.join(self._numbers) or 'nobody'} only.",
                False,
            )
        self.last = Transfer(number, " ".join(announce.split())[:_LONGEST_ANNOUNCEMENT])
        return "The caller is handed over once your words were heard. Say so in one short sentence.", True

    def _press(self, value: str) -> tuple[str, bool]:
        digits = re.sub(r"[\s,.-]", "", value).upper()
        if not digits or len(digits) > MOST_DIGITS or not DTMF_DIGITS.issuperset(digits):
            return f"Not done: expected 1 to {MOST_DIGITS} of the keys 0 to 9, *, # and A to D.", False
        if self.pressed + len(digits) > MOST_DIGITS:
            return f"Not done: {self.pressed} keys were pressed in this turn, of {MOST_DIGITS}.", False
        self.pressed += len(digits)
        self._now.append(SendDtmf(digits))
        return f"Pressed {digits}.", True


def _wire_name(name: str) -> str:
    """The name as the API takes it: letters, digits, underscore and dash, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _function(name: str, description: str, parameters: Mapping[str, Any]) -> ModelTool:
    schema = dict(parameters) or {"type": "object", "properties": {}}
    return ModelTool(name=name, description=description, parameters=schema)
