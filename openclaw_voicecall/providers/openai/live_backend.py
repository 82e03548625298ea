"""The backend that GPT-Live delegates to, as far as it calls our functions. Pure.

It is a model of the Responses API that OpenAI runs itself; its events come one by one in `response.event` (OpenAI SDK,
types/live/response_event.py, types/responses/).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.api.realtime import RealtimeEvent, ToolCalled, VendorComplained
from openclaw_voicecall.providers.openai.refusals import refusal


@dataclass(slots=True)
class _Calls:
    """Functions that one response called."""

    waiting: set[str] = field(default_factory=set)
    asked: str = ""
    answer: bool = False


class Backend:
    """Which functions were called, and which results are still to come."""

    def __init__(self) -> None:
        self._calls: dict[str, _Calls] = {}
        """By response."""
        self._response = ""

    def receive(self, event: Mapping[str, Any], reply: Callable[[], str]) -> list[RealtimeEvent]:
        """Take a `response.event`; what it means to us.

        Args:
            event: As it came.
            reply: Gives the id of the reply in which a function is called.
        """
        inner = _object(event, "event")
        match inner.get("type"):
            case "response.created":
                self._response = _text(_object(inner, "response"), "id")
            case "response.output_item.done":
                return self._item_done(_object(inner, "item"), reply)
            case "response.failed":
                failure = refusal(_object(inner, "response").get("error"), "help")
                return [VendorComplained("delegation", str(failure))]
        return []

    def is_waited_for(self, call: str) -> bool:
        """Whether the result of a function is still to come."""
        return any(call in each.waiting for each in self._calls.values())

    def take_result(self, call: str, *, asked: str, answer: bool) -> tuple[bool, str]:
        """Note that the result of a function was given.

        Returns:
            Whether the backend is to go on now, and as what the reply that follows was asked for.
        """
        response, calls = next((name, each) for name, each in self._calls.items() if call in each.waiting)
        calls.waiting.discard(call)
        calls.asked, calls.answer = asked or calls.asked, calls.answer or answer
        if calls.waiting:
            return False, ""
        del self._calls[response]
        return calls.answer, calls.asked

    def _item_done(self, item: Mapping[str, Any], reply: Callable[[], str]) -> list[RealtimeEvent]:
        call, name = _text(item, "call_id"), _text(item, "name")
        if item.get("type") != "function_call" or not call or not name or self.is_waited_for(call):
            return []
        self._calls.setdefault(self._response, _Calls()).waiting.add(call)
        return [ToolCalled(call, name, _text(item, "arguments"), reply())]


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""


def _object(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = event.get(key)
    return value if isinstance(value, dict) else {}
