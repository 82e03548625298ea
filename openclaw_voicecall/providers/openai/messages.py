"""Reading OpenAI's realtime events: JSON objects with a `type`, of which nothing may be taken for granted."""

from typing import Any

from openclaw_voicecall.errors import VendorError, VendorUnavailable
from openclaw_voicecall.providers._messages import json_value
from openclaw_voicecall.providers.openai.refusals import VENDOR


def parsed(message: str | bytes) -> dict[str, Any]:
    """An event. Raises `VendorUnavailable` for anything that is no JSON object."""
    try:
        event = json_value(message if isinstance(message, str) else message.decode())
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise _unreadable("a message that is no JSON object")
    return event


def text(event: dict[str, Any], key: str) -> str:
    """A text field that must be there. Raises `VendorUnavailable` when it is not."""
    value = event.get(key)
    if not isinstance(value, str):
        raise _unreadable(f"{str(event.get('type'))[:80]} without {key}")
    return value


def milliseconds(event: dict[str, Any], key: str) -> int:
    """A time in the session's audio that must be there. Raises `VendorUnavailable` when it is not."""
    value = event.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        raise _unreadable(f"{str(event.get('type'))[:80]} without {key}")
    return int(value)


def _unreadable(what: str) -> VendorError:
    return VendorUnavailable(f"OpenAI sent {what}", vendor=VENDOR, operation="transcribe")
