"""What OpenAI takes as settings of a Realtime speech-to-speech session, and how it refuses the rest. Pure.

Fields and values are those of the OpenAI SDK, `types/realtime/realtime_session_create_request`,
`realtime_response_create_params`, `realtime_tools_config_union` and `realtime_audio_config_*`. What is said of one
`session.update` holds for the body that accepts a SIP call as well. A refused update leaves everything as it was.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from openclaw_voicecall.testing.emulators import openai_checks, openai_sessions
from openclaw_voicecall.testing.emulators.openai_checks import (
    Check,
    SessionRefused,
    all_of,
    anything,
    check_type,
    kinds,
    list_of,
    map_of,
    number,
    object_of,
    of_type,
    one_of,
    or_null,
    pattern,
    required,
    text_of,
    word_or,
)

REASONING_MODELS: Final = ("gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-2")
MODELS: Final = (
    *REASONING_MODELS,
    "gpt-realtime-1.5",
    "gpt-realtime",
    "gpt-realtime-2025-08-28",
    "gpt-realtime-mini",
    "gpt-realtime-mini-2025-10-06",
    "gpt-realtime-mini-2025-12-15",
)
"""What may be talked to. The `gpt-4o-*-realtime-preview` models are retired."""
DEFAULT_MODEL: Final = "gpt-realtime"
VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
DEFAULT_VOICE: Final = "alloy"
DEFAULT_INSTRUCTIONS: Final = "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI."
VOICE_IS_LOCKED: Final = "Cannot update a conversation's voice if assistant audio is present."
PCM: Final = {"type": "audio/pcm", "rate": 24000}
PCMU: Final = {"type": "audio/pcmu"}


def initial_session(session_id: str, model: str, expires_at: int, *, sip: bool = False) -> dict[str, Any]:
    """A session that nobody configured: PCM, alloy, no tools. On a SIP line the codec is what was negotiated."""
    listening = openai_sessions.initial_input()
    listening["turn_detection"] |= _RESPONDING
    if sip:
        listening["format"] = dict(PCMU)
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "audio": {
            "input": listening,
            "output": {"format": dict(PCMU if sip else PCM), "voice": DEFAULT_VOICE, "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "include": None,
    }


def updated_session(
    session: Mapping[str, Any],
    event: Mapping[str, Any],
    *,
    audio_made: bool = False,
    prompts: Collection[str] = (),
    accepting: bool = False,
) -> dict[str, Any]:
    """The session after a `session.update`; the one given is left as it is.

    Args:
        session: The session in force.
        event: The whole client event.
        audio_made: Whether the model has spoken, so that its voice is fixed.
        prompts: Ids of prompts that the key may use.
        accepting: Whether these are the first settings of a call, which choose the model.

    Raises:
        SessionRefused: With the vendor's words, for the first thing that is wrong.
    """
    update = required(event, "session", "session")
    openai_checks.allow_keys(event, ("type", "event_id", "session"), "")
    check_type(update, dict, "session")
    openai_sessions.check_kind(required(update, "type", "session.type"), "realtime")
    _SESSION(update, "session")
    after = copy.deepcopy(dict(session))
    _apply_model(after, update, accepting)
    audio = update.get("audio", {})
    after["audio"]["input"] = _updated_input(after["audio"]["input"], audio.get("input", {}))
    _apply_output(after["audio"]["output"], audio.get("output", {}), audio_made)
    _check_prompt(update, "session", prompts)
    if after["tracing"] is not None and update.get("tracing", after["tracing"]) != after["tracing"]:
        message = "Tracing configuration cannot be modified once tracing is enabled."
        raise SessionRefused(message, "invalid_value", "session.tracing")
    after |= {key: copy.deepcopy(update[key]) for key in _PLAIN if key in update}
    check_tool_choice(after["tool_choice"], after["tools"], "session.tool_choice")
    return after


def check_response(
    response: Any, session: Mapping[str, Any], *, audio_made: bool = False, prompts: Collection[str] = ()
) -> None:
    """See that `response` of a `response.create` may be.

    Raises:
        SessionRefused: It may not.
    """
    _RESPONSE(response, "response")
    _check_prompt(response, "response", prompts)
    _check_reasoning(response, session["model"], "response")
    voice = response.get("audio", {}).get("output", {}).get("voice")
    if audio_made and voice not in (None, session["audio"]["output"]["voice"]):
        raise SessionRefused(VOICE_IS_LOCKED, "cannot_update_voice", "response.audio.output.voice")
    tools = response.get("tools", session["tools"])
    check_tool_choice(response.get("tool_choice", "auto"), tools, "response.tool_choice")


def check_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]], path: str) -> None:
    """See that a tool that is to be called is there.

    Raises:
        SessionRefused: It is not.
    """
    if not isinstance(choice, dict) or choice["type"] != "function":
        return
    if not any(tool.get("name") == choice["name"] for tool in tools):
        message = f"Tool choice '{choice['name']}' not found in 'tools' parameter."
        raise SessionRefused(message, "invalid_value", path)


def audio_format(value: Any, path: str) -> None:
    """See that a format is one: PCM says its rate, the companded ones have one rate and no key for it.

    Raises:
        SessionRefused: It is none.
    """
    _FORMAT(value, path)


_RESPONDING: Final = {"create_response": True, "interrupt_response": True}
_FORMAT: Final = kinds(
    {
        "audio/pcm": object_of({"type": anything, "rate": number(int, 24000, 24000)}, needs=("rate",)),
        "audio/pcmu": object_of({"type": anything}),
        "audio/pcma": object_of({"type": anything}),
    }
)


def _voice(value: Any, path: str) -> None:
    if isinstance(value, dict):
        object_of({"id": pattern(r"voice_[A-Za-z0-9_-]+")}, needs=("id",))(value, path)
    else:
        one_of(*VOICES)(value, path)


def _modalities(value: Any, path: str) -> None:
    list_of(one_of("text", "audio"))(value, path)
    if value not in (["text"], ["audio"]):
        message = f"Invalid modalities: {value}. Supported combinations are: ['text'] and ['audio']."
        raise SessionRefused(message, "invalid_value", path)


def _parameters(value: Any, path: str) -> None:
    check_type(value, dict, path)
    if value.get("type") != "object":
        message = f"Invalid schema for '{path}': schema must be a JSON Schema of 'type: \"object\"'."
        raise SessionRefused(message, "invalid_function_parameters", path)


def _different_names(value: Any, path: str) -> None:
    names = [tool["name"] for tool in value if tool["type"] == "function"]
    if twice := {name for name in names if names.count(name) > 1}:
        message = f"Tool names must be unique: '{min(twice)}' is there more than once."
        raise SessionRefused(message, "invalid_value", path)


_TOOLS: Final = all_of(
    list_of(
        kinds(
            {
                "function": object_of(
                    {
                        "type": anything,
                        "name": pattern("[a-zA-Z0-9_-]{1,64}"),
                        "description": of_type(str),
                        "parameters": _parameters,
                    },
                    needs=("name",),
                ),
                "mcp": object_of(
                    {
                        "type": anything,
                        "server_label": of_type(str),
                        "server_url": of_type(str),
                        "connector_id": of_type(str),
                        "server_description": of_type(str),
                        "authorization": of_type(str),
                        "headers": map_of(of_type(str)),
                        "allowed_tools": anything,
                        "allowed_callers": list_of(one_of("direct", "programmatic")),
                        "require_approval": anything,
                        "defer_loading": of_type(bool),
                        "tunnel_id": of_type(str),
                    },
                    needs=("server_label",),
                ),
            }
        )
    ),
    _different_names,
)
_TOOL_CHOICE: Final = word_or(
    ("none", "auto", "required"),
    kinds(
        {
            "function": object_of({"type": anything, "name": of_type(str)}, needs=("name",)),
            "mcp": object_of(
                {"type": anything, "server_label": of_type(str), "name": of_type(str)},
                needs=("server_label",),
            ),
        }
    ),
)
_REASONING: Final = object_of({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})
_SHARED: Final[Mapping[str, Check]] = {
    "instructions": of_type(str),
    "max_output_tokens": word_or(("inf",), number(int, 1, 4096)),
    "output_modalities": _modalities,
    "parallel_tool_calls": of_type(bool),
    "prompt": object_of(
        {"id": of_type(str), "version": of_type(str), "variables": map_of(anything)}, needs=("id",)
    ),
    "reasoning": _REASONING,
    "tool_choice": _TOOL_CHOICE,
    "tools": _TOOLS,
}
"""What a session and a single response may both say."""
_SESSION: Final = object_of(
    {
        **_SHARED,
        "type": of_type(str),
        "model": of_type(str),
        "include": list_of(one_of(openai_sessions.LOGPROBS)),
        "audio": object_of(
            {
                "input": of_type(dict),
                "output": object_of({"format": _FORMAT, "voice": _voice, "speed": number(float, 0.25, 1.5)}),
            }
        ),
        "tracing": or_null(
            word_or(
                ("auto",),
                object_of(
                    {"workflow_name": of_type(str), "group_id": of_type(str), "metadata": map_of(anything)}
                ),
            )
        ),
        "truncation": word_or(
            ("auto", "disabled"),
            kinds(
                {
                    "retention_ratio": object_of(
                        {
                            "type": anything,
                            "retention_ratio": number(float, 0, 1),
                            "token_limits": object_of({"post_instructions": number(int, 0, 10**9)}),
                        },
                        needs=("retention_ratio",),
                    )
                }
            ),
        ),
    }
)
_RESPONSE: Final = object_of(
    {
        **_SHARED,
        "audio": object_of({"output": object_of({"format": _FORMAT, "voice": _voice})}),
        "conversation": one_of("auto", "none"),
        "input": list_of(of_type(dict)),
        "metadata": map_of(text_of(512)),
    }
)
_PLAIN: Final = (
    "include",
    "instructions",
    "max_output_tokens",
    "output_modalities",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
    "tracing",
    "truncation",
)
"""What an update replaces as a whole."""


def _apply_model(after: dict[str, Any], update: Mapping[str, Any], accepting: bool) -> None:
    model = update.get("model", after["model"])
    if accepting and model not in MODELS:
        raise unknown_model(model)
    if model != after["model"] and not accepting:
        raise SessionRefused("The model of a session cannot be changed.", "invalid_value", "session.model")
    after["model"] = model
    _check_reasoning(update, model, "session")


def unknown_model(model: Any) -> SessionRefused:
    """The refusal of a model that there is not, or not any more."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return SessionRefused(message, "model_not_found", "session.model")


def _check_reasoning(holder: Mapping[str, Any], model: str, path: str) -> None:
    for key in ("reasoning", "parallel_tool_calls"):
        if key in holder and model not in REASONING_MODELS:
            message = f"Unsupported parameter: '{path}.{key}' is not supported with this model."
            raise SessionRefused(message, "unsupported_parameter", f"{path}.{key}")


def _check_prompt(holder: Mapping[str, Any], path: str, prompts: Collection[str]) -> None:
    if "prompt" in holder and holder["prompt"]["id"] not in prompts:
        message = f"Unauthorized to fetch prompt with id '{holder['prompt']['id']}'."
        raise SessionRefused(message, None, f"{path}.prompt")


def _updated_input(before: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """`audio.input` after an update.

    Transcription is looked at by itself: here a model without turn detection of its own may stand beside the turn
    detection of the model that answers.
    """
    words = {key: update[key] for key in ("transcription",) if key in update}
    rest = {key: value for key, value in update.items() if key != "transcription"}
    after = _by_transcription_rules({**before, "transcription": None}, rest)
    heard = _by_transcription_rules({**before, "turn_detection": None}, words)
    after["transcription"] = heard["transcription"]
    if after["turn_detection"] is not None:
        after["turn_detection"] = {**_RESPONDING, **after["turn_detection"]}
    return after


def _by_transcription_rules(before: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    session = {"type": "transcription", "include": [], "audio": {"input": before}}
    wanted = {"type": "transcription", "audio": {"input": update}}
    after: dict[str, Any] = openai_sessions.updated_session(session, {"session": wanted})["audio"]["input"]
    return after


def _apply_output(current: dict[str, Any], update: Mapping[str, Any], audio_made: bool) -> None:
    if audio_made and update.get("voice", current["voice"]) != current["voice"]:
        raise SessionRefused(VOICE_IS_LOCKED, "cannot_update_voice", "session.audio.output.voice")
    current |= copy.deepcopy(dict(update))
