"""OpenAI's error objects as errors of this package."""

import re
from collections.abc import Mapping
from typing import Any

from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)

VENDOR = "openai"
SAID = 300
"""Characters of OpenAI's message that are kept."""

_KEY = re.compile(r"\b(?:sk|ek)[-_][\w*.-]+")
_KINDS: dict[str, type[VendorError]] = {
    "authentication_error": VendorAuthError,
    "invalid_api_key": VendorAuthError,
    "permission_error": VendorAuthError,
    "rate_limit_error": VendorRateLimited,
    "rate_limit_exceeded": VendorRateLimited,
    "insufficient_quota": VendorRateLimited,
    "server_error": VendorUnavailable,
    "internal_error": VendorUnavailable,
    "session_expired": VendorUnavailable,
}
"""By code or type."""


def refusal(error: Any, operation: str) -> VendorError:
    """The error for an error object: `{type, code, message, param}`, where all but the message may be null.

    Args:
        error: The object as it came; anything else counts as one that says nothing.
        operation: What was being done, such as "set up".
    """
    said = error if isinstance(error, Mapping) else {}
    code, kind, param = (_text(said.get(key)) for key in ("code", "type", "param"))
    message = without_keys(_text(said.get("message"))) or "no reason given"
    details = [f"code {code or kind}"] if code or kind else []
    if param:
        details.append(f"param {param}")
    named = f"{message} ({', '.join(details)})" if details else message
    return (_KINDS.get(code) or _KINDS.get(kind) or VendorRejected)(
        f"OpenAI refuses to {operation}: {named}", vendor=VENDOR, operation=operation
    )


def without_keys(text: str) -> str:
    """A message of OpenAI in one line and of a readable length, without the key that it may quote."""
    return " ".join(_KEY.sub("[key]", text).split())[:SAID]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
