"""Messages on their way to OpenAI: each with an id of its own, and none before it may be sent.

An error names the message that it is about by that id, and by nothing else that can be relied upon (OpenAI SDK,
`types/realtime/realtime_error.py`).
"""

import json
from collections import OrderedDict, deque
from typing import Any, Final

_REMEMBERED: Final = 512


class Outbox:
    """Messages to send, oldest first. Until it is opened only the ones that set the session up go out."""

    def __init__(self) -> None:
        self._open = False
        self._count = 0
        self._ready: deque[str] = deque()
        self._waiting: deque[str] = deque()
        self._kinds: OrderedDict[str, str] = OrderedDict()

    def put(self, kind: str, /, *, early: bool = False, **fields: Any) -> str:
        """Queue a message of this type, and give its id; `early` is for those that set the session up."""
        self._count += 1
        event_id = f"{kind.replace('.', '-')}-{self._count}"
        if kind != "input_audio_buffer.append":  # fifty a second, which would push the others out
            self._kinds[event_id] = kind
            if len(self._kinds) > _REMEMBERED:
                self._kinds.popitem(last=False)
        message = json.dumps({"type": kind, "event_id": event_id, **fields})
        (self._ready if early or self._open else self._waiting).append(message)
        return event_id

    def open(self) -> None:
        """What has waited may go out."""
        self._open = True
        self._ready += self._waiting
        self._waiting.clear()

    def take(self) -> list[str]:
        """Messages to send now, oldest first, each once."""
        messages = list(self._ready)
        self._ready.clear()
        return messages

    def kind(self, event_id: str) -> str:
        """The type of the message with this id; empty for ids that are none of ours."""
        if event_id.startswith("input_audio_buffer-append-"):
            return "input_audio_buffer.append"
        return self._kinds.get(event_id, "")
