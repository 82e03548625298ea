"""What GPT-Live takes as messages and as bodies of its SIP side, and how it refuses the rest. Pure.

Fields and values are those of the OpenAI SDK, `types/live/` (client_event_param.py, connect_client_event_param.py,
session_config_param.py, session_accept_params.py and so on). Unknown fields are refused everywhere.
"""

from collections.abc import Mapping
from typing import Any, Final

from openclaw_voicecall.testing.emulators.openai_checks import (
    Check,
    SessionRefused,
    allow_keys,
    anything,
    check_type,
    kinds,
    list_of,
    number,
    object_of,
    of_type,
    one_of,
    or_null,
    pattern,
    required,
    text_of,
    unsupported_value,
)

MODELS: Final = ("gpt-live-1",)
VOICES: Final = (
    *("alloy", "ash", "ballad", "beacon", "bossa", "cedar", "cinder", "coral", "delta", "echo", "gleam"),
    *("marin", "meridian", "quartz", "ripple", "sage", "shida", "shimmer", "stone", "tempo", "verse"),
    *("vesper", "willow"),
)
DEFAULT_VOICE: Final = "marin"
LONGEST_APPEND: Final = 500
"""Tokens of a commentary, of thinking, of instructions."""
LONGEST_INSTRUCTIONS: Final = 16384
CHARACTERS_A_TOKEN: Final = 4
HISTORY_LIMIT: Final = 128

_text = of_type(str)
_flag = of_type(bool)
_known_model = one_of(*MODELS)


def check_start(event: Mapping[str, Any]) -> dict[str, Any]:
    """See that a `session.start` is right; its session. Raises `SessionRefused`."""
    allow_keys(event, ("type", "event_id", "session"), "")
    session = required(event, "session", "session")
    _PRIMARY(session, "session")
    return dict(session)


def check_accept(body: Any) -> dict[str, Any]:
    """See that the body that accepts a SIP call is right; its session. Raises `SessionRefused`."""
    check_type(body, dict, "body")
    allow_keys(body, ("session",), "")
    session = required(body, "session", "session")
    _ACCEPTED(session, "session")
    return dict(session)


def check_reject(body: Any) -> int:
    """See that the body that rejects a SIP call is right; its status. Raises `SessionRefused`."""
    check_type(body, dict, "body")
    allow_keys(body, ("status_code",), "")
    status = required(body, "status_code", "status_code")
    number(int, 400, 699)(status, "status_code")
    return int(status)


def check_refer(body: Any) -> str:
    """See that the body that transfers a SIP call is right; its target. Raises `SessionRefused`."""
    check_type(body, dict, "body")
    allow_keys(body, ("target_uri",), "")
    target = required(body, "target_uri", "target_uri")
    check_type(target, str, "target_uri")
    if not target.strip():
        raise SessionRefused("Invalid 'target_uri': expected a nonblank URI.", "invalid_value", "target_uri")
    return str(target)


def check_event(event: Mapping[str, Any], *, sideband: bool, delegation: str) -> str:
    """See that a message to a running session is right; its type. Raises `SessionRefused`.

    Args:
        event: The message.
        sideband: Whether it came over a sideband, where the audio is not the client's.
        delegation: Type of the delegation in force.
    """
    name = required(event, "type", "type")
    known = _SIDEBAND if sideband else _PRIMARY_EVENTS
    if name not in known:
        raise unsupported_value(name, tuple(known), "type")
    fields = known[name]
    allow_keys(event, ("type", "event_id", *fields), "")
    check_type(event.get("event_id", ""), str, "event_id")
    for key, check in fields.items():
        check(required(event, key, key), key)
    if name.startswith("response.") and delegation != "responses":
        raise SessionRefused(f"{name} requires Responses delegation.", "invalid_request", None)
    if event.get("delegation_id") is not None and delegation != "client":
        text = "Non-null delegation_id is not accepted with Responses delegation."
        raise SessionRefused(text, "invalid_value", "delegation_id")
    return str(name)


def _tokens(limit: int) -> Check:
    return text_of(limit * CHARACTERS_A_TOKEN)


def _exactly(value: int) -> Check:
    return number(int, value, value)


def _history(value: Any, path: str) -> None:
    list_of(_message)(value, path)
    if len(value) > HISTORY_LIMIT:
        raise SessionRefused(f"Invalid '{path}': at most {HISTORY_LIMIT} messages.", "invalid_value", path)


def _one(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        list_of(inner)(value, path)
        if len(value) != 1:
            raise SessionRefused(f"Invalid '{path}': expected exactly one text part.", "invalid_value", path)

    return check


def _said_by(*parts: str) -> Check:
    part = object_of({"type": one_of(*parts), "text": _text}, needs=("text",))
    fields = {
        "type": one_of("message"),
        "role": _text,
        "id": _text,
        "status": one_of("incomplete", "completed"),
        "content": _one(part),
    }
    return object_of(fields, needs=("role", "content"))


def _message(value: Any, path: str) -> None:
    check_type(value, dict, path)
    role = required(value, "role", f"{path}.role")
    one_of("developer", "user", "assistant")(role, f"{path}.role")
    _said_by(*(("text", "output_text") if role == "assistant" else ("input_text",)))(value, path)


_FUNCTION: Final = object_of(
    {
        "type": one_of("function"),
        "name": pattern("[a-zA-Z0-9_-]{1,64}"),
        "description": _text,
        "parameters": of_type(dict),
        "strict": _flag,
    },
    needs=("name", "parameters"),
)
_RESPONSES: Final = object_of(
    {
        "model": pattern("gpt-.+"),
        "instructions": _text,
        "tools": list_of(kinds({"function": _FUNCTION, "web_search": anything})),
        "tool_choice": one_of("auto", "none", "required"),
        "max_output_tokens": of_type(int),
        "parallel_tool_calls": _flag,
        "reasoning": of_type(dict),
        "text": of_type(dict),
        "service_tier": _text,
    },
    needs=("model",),
)
_DELAY: Final = number(int, 0, 60000)
_DELEGATION: Final = kinds(
    {
        "client": object_of({"type": _text, "acknowledgement_delay_ms": _DELAY}),
        "responses": object_of(
            {"type": _text, "acknowledgement_delay_ms": _DELAY, "responses": _RESPONSES}, needs=("responses",)
        ),
    }
)
_FORMAT: Final = kinds(
    {
        "audio/pcm": object_of({"type": _text, "rate": of_type(int)}, needs=("rate",)),
        "audio/pcmu": object_of({"type": _text, "rate": _exactly(8000)}, needs=("rate",)),
        "audio/pcma": object_of({"type": _text, "rate": _exactly(8000)}, needs=("rate",)),
    }
)
_OUTPUT: Final = object_of({"voice": one_of(*VOICES)})
_COMMON: Final[Mapping[str, Check]] = {
    "model": _known_model,
    "instructions": or_null(_tokens(LONGEST_INSTRUCTIONS)),
    "delegation": or_null(_DELEGATION),
    "input": _history,
    "store": _flag,
    "safety_identifier": _text,
}
_PRIMARY: Final = object_of(
    {**_COMMON, "audio": object_of({"format": _FORMAT, "output": _OUTPUT})}, needs=("model",)
)
_ACCEPTED: Final = object_of(
    {**_COMMON, "type": one_of("live"), "audio": object_of({"output": _OUTPUT})}, needs=("model", "type")
)
_RESULT: Final = object_of(
    {"type": _text, "call_id": _text, "output": _text, "id": _text, "status": _text},
    needs=("call_id", "output"),
)
_APPEND: Final[Mapping[str, Check]] = {
    "content": _tokens(LONGEST_APPEND),
    "delegation_id": or_null(_text),
}
_BOTH: Final[Mapping[str, Mapping[str, Check]]] = {
    "session.update": {"session": of_type(dict)},
    "session.input_audio.mute": {},
    "session.input_audio.unmute": {},
    "session.instructions.append": _APPEND,
    "session.thinking.append": _APPEND,
    "session.commentary.append": _APPEND,
    "response.item.create": {"item": kinds({"function_call_output": _RESULT, "message": anything})},
    "response.create": {},
    "session.close": {},
}
_PRIMARY_EVENTS: Final[Mapping[str, Mapping[str, Check]]] = {
    **_BOTH,
    "session.input_audio.append": {"audio": _text},
}
_SIDEBAND: Final[Mapping[str, Mapping[str, Check]]] = {
    **_BOTH,
    "transport.dtmf.send": {"event": pattern("[0-9A-D*#]")},
}
