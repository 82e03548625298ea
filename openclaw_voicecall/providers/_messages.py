"""Messages that vendors send over WebSockets."""

import json
from typing import Any


def json_object(message: str | bytes) -> dict[str, Any]:
    """The JSON object that a text message is; an empty one for anything else, which says nothing."""
    if not isinstance(message, str):
        return {}
    try:
        parsed = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
