"""The conversation of an emulated Realtime session: its items, and what a client may do to them. Pure.

Items are those of the OpenAI SDK, `types/realtime/conversation_item` and `realtime_conversation_item_*`. Refusals are
worded as users have recorded them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.testing.emulators.openai_checks import (
    Check,
    SessionRefused,
    all_of,
    allow_keys,
    anything,
    check_type,
    kinds,
    list_of,
    object_of,
    of_type,
    one_of,
    required,
    text_of,
)
from openclaw_voicecall.testing.emulators.voices import CHARACTER

BYTES_PER_MS: Final = 8
CHARACTER_MS: Final = CHARACTER // BYTES_PER_MS
ID_LENGTH: Final = 32


@dataclass(slots=True)
class Item:
    """Something said, a function called, or its result."""

    id: str
    type: str
    """`message`, `function_call` or `function_call_output`."""
    role: str = ""
    """Of a message: `user`, `assistant` or `system`."""
    text: str = ""
    """Its words, as far as they are known; of a reply all that was generated."""
    spoken: bool = False
    """Whether it is sound."""
    status: str = "completed"
    audio_ms: int = 0
    """How much sound of a reply was generated."""
    truncated_ms: int | None = None
    """How much of a reply was heard, as the vendor was told or saw itself; None for all of it."""
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str = ""
    by_client: bool = False
    """Whether the client put it there."""

    @property
    def believed(self) -> str:
        """The words that the model believes were heard; a voice takes as long for every character."""
        if self.truncated_ms is None:
            return self.text
        return self.text[: self.truncated_ms // CHARACTER_MS]

    def wire(self) -> dict[str, Any]:
        """As in events. The text of a reply that was truncated is gone."""
        common = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        if self.type == "function_call":
            return {**common, "call_id": self.call_id, "name": self.name, "arguments": self.arguments}
        if self.type == "function_call_output":
            return {**common, "call_id": self.call_id, "output": self.output}
        return {**common, "role": self.role, "content": self._content()}

    def _content(self) -> list[dict[str, Any]]:
        if self.role != "assistant":
            # The words of what was heard come in events of their own.
            return [
                {"type": "input_audio", "transcript": None} if self.spoken else _text("input_text", self.text)
            ]
        if self.status == "in_progress" and not self.text:
            return []
        if not self.spoken:
            return [_text("output_text", self.text)]
        part = {"type": "output_audio"}
        return [part if self.truncated_ms is not None else {**part, "transcript": self.text}]


class Conversation:
    """The items in their order."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def find(self, item_id: Any, doing: str, code: str) -> Item:
        """The item with this id.

        Raises:
            SessionRefused: There is none.
        """
        for item in self.items:
            if item.id == item_id:
                return item
        message = f"Error {doing} item: the item with id '{item_id}' does not exist."
        raise SessionRefused(message, f"item_{code}_invalid_item_id", "item_id")

    def previous(self, item: Item) -> str | None:
        """The id of the item before this one."""
        at = self.items.index(item)
        return self.items[at - 1].id if at else None

    def add(self, item: Item) -> None:
        """Put an item at the end."""
        self.items.append(item)

    def create(self, event: Mapping[str, Any], fresh_id: str) -> Item:
        """Carry out a `conversation.item.create`.

        Raises:
            SessionRefused: The item may not be, or not there.
        """
        allow_keys(event, ("type", "event_id", "item", "previous_item_id"), "")
        wire = required(event, "item", "item")
        item = checked_item(wire, fresh_id)
        if any(item.id == other.id for other in self.items):
            message = f"Error adding item: an item with id '{item.id}' already exists in the conversation."
            raise SessionRefused(message, "item_create_duplicate_item_id", "item.id")
        if item.type == "function_call_output":
            self._check_output(item)
        before = event.get("previous_item_id")
        if before == "root":
            self.items.insert(0, item)
        elif before is None:
            self.items.append(item)
        else:
            check_type(before, str, "previous_item_id")
            self.items.insert(self.items.index(self.find(before, "adding", "create")) + 1, item)
        return item

    def delete(self, event: Mapping[str, Any]) -> Item:
        """Carry out a `conversation.item.delete`.

        Raises:
            SessionRefused: There is no such item.
        """
        item = self.retrieve(event, "deleting", "delete")
        self.items.remove(item)
        return item

    def retrieve(self, event: Mapping[str, Any], doing: str = "retrieving", code: str = "retrieve") -> Item:
        """Carry out a `conversation.item.retrieve`.

        Raises:
            SessionRefused: There is no such item.
        """
        allow_keys(event, ("type", "event_id", "item_id"), "")
        check_type(required(event, "item_id", "item_id"), str, "item_id")
        return self.find(event["item_id"], doing, code)

    def truncate(self, event: Mapping[str, Any]) -> Item:
        """Carry out a `conversation.item.truncate`.

        Raises:
            SessionRefused: There is no such item, it is no reply in sound, or it is not as long as that.
        """
        allow_keys(event, ("type", "event_id", "item_id", "content_index", "audio_end_ms"), "")
        for key, kind in (("item_id", str), ("content_index", int), ("audio_end_ms", int)):
            check_type(required(event, key, key), kind, key)
        item = self.find(event["item_id"], "truncating", "truncate")
        if item.type != "message" or item.role != "assistant" or not item.spoken:
            message = "Only model output audio messages can be truncated."
            raise SessionRefused(message, "invalid_value", "item_id")
        if event["content_index"] != 0:
            message = f"Content at index {event['content_index']} of item '{item.id}' does not exist."
            raise SessionRefused(message, "invalid_value", "content_index")
        wanted = event["audio_end_ms"]
        there = item.audio_ms if item.truncated_ms is None else item.truncated_ms
        if wanted < 0 or wanted > there:
            message = f"Audio content of {there}ms is already shorter than {wanted}ms"
            if wanted < 0:
                message = f"Invalid 'audio_end_ms': expected a value >= 0, but got {wanted} instead."
            raise SessionRefused(message, "invalid_value", "audio_end_ms")
        item.truncated_ms = wanted
        return item

    def _check_output(self, item: Item) -> None:
        calls = [
            other for other in self.items if other.type == "function_call" and other.call_id == item.call_id
        ]
        if not calls:
            message = f"Tool call ID '{item.call_id}' not found in conversation."
            raise SessionRefused(message, "invalid_tool_call_id", "item.call_id")
        if any(other.type == item.type and other.call_id == item.call_id for other in self.items):
            message = f"Tool call ID '{item.call_id}' has an output already."
            raise SessionRefused(message, "invalid_tool_call_id", "item.call_id")


def checked_item(wire: Any, fresh_id: str, path: str = "item") -> Item:
    """An item as a client wrote it.

    Args:
        wire: Its JSON.
        fresh_id: Its id, unless it says one.
        path: Where it stands.

    Raises:
        SessionRefused: There may be no such item.
    """
    _ITEM(wire, path)
    content = wire.get("content", [])
    return Item(
        id=wire.get("id", fresh_id),
        type=wire["type"],
        role=wire.get("role", ""),
        text=" ".join(part.get("text", part.get("transcript", "")) for part in content),
        spoken=any(part["type"].endswith("_audio") for part in content),
        call_id=wire.get("call_id", ""),
        name=wire.get("name", ""),
        arguments=wire.get("arguments", ""),
        output=wire.get("output", ""),
        by_client=True,
    )


def _text(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "text": text}


_COMMON: Final[Mapping[str, Check]] = {
    "id": all_of(of_type(str), text_of(ID_LENGTH)),
    "type": anything,
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}
_TEXT_PART: Final = object_of({"type": anything, "text": of_type(str)}, needs=("text",))
_AUDIO_PART: Final = object_of({"type": anything, "audio": of_type(str), "transcript": of_type(str)})
_PARTS: Final[Mapping[str, Mapping[str, Check]]] = {
    "user": {"input_text": _TEXT_PART, "input_audio": _AUDIO_PART},
    "assistant": {"output_text": _TEXT_PART, "output_audio": _AUDIO_PART},
    "system": {"input_text": _TEXT_PART},
}


def _message(value: Any, path: str) -> None:
    role = required(value, "role", f"{path}.role")
    one_of(*_PARTS)(role, f"{path}.role")
    fields = {**_COMMON, "role": anything, "content": list_of(kinds(_PARTS[role]))}
    object_of(fields, needs=("content",))(value, path)


_ITEM: Final = kinds(
    {
        "message": _message,
        "function_call": object_of(
            {**_COMMON, "call_id": of_type(str), "name": of_type(str), "arguments": of_type(str)},
            needs=("name", "arguments"),
        ),
        "function_call_output": object_of(
            {**_COMMON, "call_id": of_type(str), "output": of_type(str)}, needs=("call_id", "output")
        ),
    }
)
