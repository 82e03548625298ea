"""Messages that vendors send over WebSockets."""

import json
import re
from typing import Any

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON writes halves of characters: two make one, and one alone is what nobody can store or send on."""


def json_object(message: str | bytes) -> dict[str, Any]:
    """The JSON object that a text message is; an empty one for anything else, which says nothing."""
    if not isinstance(message, str):
        return {}
    try:
        parsed = json_value(message)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def json_value(text: str) -> Any:
    """The value that a JSON text stands for, with whole characters only.

    Raises:
        ValueError: It is no JSON, has a number of thousands of digits, or is nested beyond the stack.
    """
    try:
        value = json.loads(text)
        if _HALF.search(text):
            value = json.loads(whole(json.dumps(value, ensure_ascii=False)))
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def whole(text: str) -> str:
    """A text with U+FFFD, which is a symbol and no word, in place of every half character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
