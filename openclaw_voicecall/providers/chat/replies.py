"""The chunks of a streamed chat completion, put together. Vendors leave fields out and add their own; both are fine.

Shapes: OpenAI SDK, `types/chat/chat_completion_chunk.py`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from openclaw_voicecall.providers._messages import whole
from openclaw_voicecall.providers.chat.tools import ToolCall

MOST_CALLS: Final = 64
"""Tool calls that are kept of a reply; what a model writes beyond them is dropped."""
LONGEST_ARGUMENTS: Final = 20_000
"""Characters of a call's arguments that are kept; longer ones are cut, and so no JSON any more."""

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

    def take(self, chunk: Any) -> str:
        """Add a chunk and return the text in it. The chunk with the usage has no choice."""
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            return ""
        self.chunks += 1
        if not choices:
            return ""
        choice = choices[0]
        self.finish = str(getattr(choice, "finish_reason", None) or self.finish)
        delta = getattr(choice, "delta", None)
        if delta is None:
            return ""
        self.reasoning += _text(getattr(delta, "reasoning_content", None))
        pieces = getattr(delta, "tool_calls", None)
        for piece in pieces if isinstance(pieces, list) else ():
            self._add_to_call(piece)
        # A refusal is the model's own words to the caller too.
        text = _text(getattr(delta, "content", None)) or _text(getattr(delta, "refusal", None))
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

    def _add_to_call(self, piece: Any) -> None:
        function = getattr(piece, "function", None)
        call = self._call(getattr(piece, "index", None), getattr(piece, "id", None))
        call.name = call.name or _text(getattr(function, "name", None))
        arguments = getattr(function, "arguments", None)
        text = whole(arguments) if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        call.arguments += text[: LONGEST_ARGUMENTS - len(call.arguments)]
        call.extra.update(getattr(piece, "model_extra", None) or {})

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


def _text(content: Any) -> str:
    """Text, or the text among the parts that some vendors send instead; their parts that think are left out."""
    if isinstance(content, str):
        return whole(content)
    if not isinstance(content, Iterable):
        return ""
    parts = (part for part in content if isinstance(part, dict) and part.get("type") == "text")
    return whole("".join(part["text"] for part in parts if isinstance(part.get("text"), str)))
