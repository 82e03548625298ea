"""The chunks of a streamed chat completion, put together. Vendors leave fields out and add their own; both are fine.

Shapes: OpenAI SDK, `types/chat/chat_completion_chunk.py`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from openclaw_voicecall.providers._messages import whole
from openclaw_voicecall.providers.chat.tools import ToolCall

MOST_CALLS: Final = 64
"""Tool calls that are kept of a reply; what a model writes beyond them is dropped."""
LONGEST_ARGUMENTS: Final = 20_000
"""Characters of a call's arguments that are kept; longer ones are cut, and so no JSON any more."""

_CALL_FIELDS: Final = frozenset({"index", "id", "type", "function"})
_NOTHING: Final[Mapping[str, Any]] = {}
_ENDS: Final = (".", "!", "?", "…", "。", "！", "？", "؟", "।", '"', "”", "}", "`", ")")


@dataclass(slots=True)
class Reply:
    """What a model has written in one round so far."""

    text: str = ""
    """As it was written, thinking and wrapping included; what it sent as reasoning is not in it."""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    finish: str = ""
    """`stop`, `length`, `tool_calls` or `content_filter`; empty until the vendor says."""
    chunks: int = 0
    _places: dict[int, int] = field(default_factory=dict)

    def take(self, chunk: Mapping[str, Any]) -> str:
        """Add a chunk and return the text in it. The chunk with the usage has no choice."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return ""
        self.chunks += 1
        if not choices:
            return ""
        choice = _fields(choices[0])
        self.finish = str(choice.get("finish_reason") or self.finish)
        delta = _fields(choice.get("delta"))
        self.reasoning += _text(delta.get("reasoning_content"))
        pieces = delta.get("tool_calls")
        for piece in pieces if isinstance(pieces, list) else ():
            self._add_to_call(_fields(piece))
        # A refusal is the model's own words to the caller too.
        text = _text(delta.get("content")) or _text(delta.get("refusal"))
        self.text += text
        return text

    @property
    def broke_off(self) -> bool:
        """Whether the stream ended without a word of the vendor about it, in the middle of a sentence."""
        return not self.finish and not self.calls and not self.text.rstrip().endswith(_ENDS)

    def message(self, *, with_reasoning: bool) -> dict[str, Any]:
        """It as the assistant's message before the results of its tool calls."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.text or None,
            "tool_calls": [call.message() for call in self.calls],
        }
        if with_reasoning and self.reasoning:
            message["reasoning_content"] = self.reasoning
        return message

    def _add_to_call(self, piece: Mapping[str, Any]) -> None:
        function = _fields(piece.get("function"))
        call = self._call(piece.get("index"), piece.get("id"))
        call.name = call.name or _text(function.get("name"))
        arguments = function.get("arguments")
        text = whole(arguments) if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        call.arguments += text[: LONGEST_ARGUMENTS - len(call.arguments)]
        call.extra.update((name, value) for name, value in piece.items() if name not in _CALL_FIELDS)

    def _call(self, index: Any, given_id: Any) -> ToolCall:
        """The call that a piece belongs to. Gemini numbers all calls of a reply 0 and tells them apart by id."""
        number = index if isinstance(index, int) else len(self.calls) - (0 if given_id else 1)
        place = self._places.get(number)
        if place is not None and (not given_id or self.calls[place].id == given_id):
            return self.calls[place]
        if len(self.calls) >= MOST_CALLS:
            return ToolCall()
        self._places[number] = len(self.calls)
        self.calls.append(ToolCall(id=str(given_id or f"call_{len(self.calls)}")))
        return self.calls[-1]


def _fields(value: Any) -> Mapping[str, Any]:
    """The fields of an object; none where a vendor sent something else."""
    return value if isinstance(value, dict) else _NOTHING


def _text(content: Any) -> str:
    """Text, or the text among the parts that some vendors send instead; their parts that think are left out."""
    if content is None:
        return ""
    if isinstance(content, str):
        return whole(content)
    if not isinstance(content, Iterable):
        return ""
    parts = (part for part in content if isinstance(part, dict) and part.get("type") == "text")
    return whole("".join(part["text"] for part in parts if isinstance(part.get("text"), str)))
