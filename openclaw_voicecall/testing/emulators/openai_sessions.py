"""What OpenAI takes in a `session.update` of a Realtime transcription session, and what it answers otherwise. Pure.

Fields and values are those of the OpenAI SDK, `types/realtime/realtime_transcription_session_*`,
`audio_transcription`, `realtime_audio_formats`. The wording of refusals is the vendor's where users have reported it
(unknown, missing and mistyped parameters, unsupported values, turn detection, session kinds, beta shapes); what only
the SDK's documentation forbids, such as a prompt for `gpt-realtime-whisper`, is refused in words of the same form.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

VAD_MODELS: Final = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
)
MANUAL_MODELS: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")
"""They have no turn detection: the client commits."""
HINTED_MODELS: Final = ("gpt-transcribe", "gpt-live-transcribe")
"""They take `languages` and `keywords`."""
MODELS: Final = (*VAD_MODELS, *MANUAL_MODELS)
LOGPROBS: Final = "item.input_audio_transcription.logprobs"
PROMPT_LENGTH: Final = 1024

INPUT: Final = "session.audio.input"
TRANSCRIPTION: Final = f"{INPUT}.transcription"

_TURN_DETECTION: Final[Mapping[str, Mapping[str, Any]]] = {
    "server_vad": {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500},
    "semantic_vad": {"eagerness": "auto"},
}

Check = Callable[[Any, str], None]
"""Takes a value and its path; raises `SessionRefused`."""


class SessionRefused(Exception):
    """The vendor answers with an `error` event of these fields; nothing of the update is applied."""

    def __init__(self, message: str, code: str | None, param: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


def initial_input() -> dict[str, Any]:
    """`audio.input` of a transcription session that nobody configured: PCM, and no transcription."""
    return {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": {"type": "server_vad", **_TURN_DETECTION["server_vad"]},
    }


def updated_session(session: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """The session after a `session.update`; the one given is left as it is.

    Args:
        session: The session in force, as in `session.created`.
        event: The whole client event.

    Raises:
        SessionRefused: With the vendor's words, for the first thing that is wrong.
    """
    update = required(event, "session", "session")
    allow_keys(event, ("type", "event_id", "session"), "")
    check_type(update, dict, "session")
    check_kind(required(update, "type", "session.type"), str(session["type"]))
    _SESSION(update, "session")
    after = copy.deepcopy(dict(session))
    if "include" in update:
        after["include"] = list(update["include"])
    _apply(after["audio"]["input"], update.get("audio", {}).get("input", {}))
    return after


def check_kind(wanted: Any, kind: str) -> None:
    """Whether a `session.type` is that of the socket, which its address decided.

    Raises:
        SessionRefused: It is another, or none.
    """
    _one_of("realtime", "transcription")(wanted, "session.type")
    if wanted != kind:
        message = f"Passing a {wanted} session update event to a {kind} session is not allowed."
        raise SessionRefused(message, "invalid_parameter", "session.type")


def required(holder: Mapping[str, Any], key: str, path: str) -> Any:
    """The value of a key that must be there.

    Raises:
        SessionRefused: It is not.
    """
    if key not in holder:
        raise SessionRefused(f"Missing required parameter: '{path}'.", "missing_required_parameter", path)
    return holder[key]


def allow_keys(holder: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    """See that there are no other keys than these.

    Raises:
        SessionRefused: There is one.
    """
    for key in holder:
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise SessionRefused(f"Unknown parameter: '{where}'.", "unknown_parameter", where)


def check_type(value: Any, kind: type, path: str) -> None:
    """See that a JSON value is of a Python type; a bool is no number, and a whole number is a float too.

    Raises:
        SessionRefused: It is not.
    """
    fits = isinstance(value, (float, int) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        expected = {
            dict: "an object",
            list: "an array",
            str: "a string",
            bool: "a boolean",
            int: "an integer",
        }
        wanted = expected.get(kind, "a decimal")
        message = f"Invalid type for '{path}': expected {wanted}, but got {_kind(value)} instead."
        raise SessionRefused(message, "invalid_type", path)


def unsupported_value(value: Any, known: Sequence[str], path: str) -> SessionRefused:
    """The refusal of a word that is none of those the vendor knows."""
    words = [f"'{word}'" for word in known]
    listed = " and ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])}, and {words[-1]}"
    return SessionRefused(f"Invalid value: '{value}'. Supported values are: {listed}.", "invalid_value", path)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


def _object(fields: Mapping[str, Check]) -> Check:
    def check(value: Any, path: str) -> None:
        check_type(value, dict, path)
        allow_keys(value, tuple(fields), path)
        for key, inner in value.items():
            fields[key](inner, f"{path}.{key}")

    return check


def _one_of(*words: str) -> Check:
    def check(value: Any, path: str) -> None:
        check_type(value, str, path)
        if value not in words:
            raise unsupported_value(value, words, path)

    return check


def _of_type(kind: type) -> Check:
    return lambda value, path: check_type(value, kind, path)


def _or_null(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def _number(kind: type, low: float, high: float) -> Check:
    def check(value: Any, path: str) -> None:
        check_type(value, kind, path)
        if low <= value <= high:
            return
        word = "integer" if kind is int else "decimal"
        side, short, bound = ("below minimum", "below_min", f">= {low}")
        if value > high:
            side, short, bound = ("above maximum", "above_max", f"<= {high}")
        message = f"Invalid '{path}': {word} {side} value. Expected a value {bound}, but got {value} instead."
        raise SessionRefused(message, f"{word}_{short}_value", path)

    return check


def _list_of(inner: Check, *, at_least: int = 0) -> Check:
    def check(value: Any, path: str) -> None:
        check_type(value, list, path)
        if len(value) < at_least:
            message = (
                f"Invalid '{path}': empty array. Expected an array with minimum length {at_least}, "
                "but got an empty array instead."
            )
            raise SessionRefused(message, "empty_array", path)
        for index, item in enumerate(value):
            inner(item, f"{path}[{index}]")

    return check


def _language(value: Any, path: str) -> None:
    check_type(value, str, path)
    if not re.fullmatch("[a-z]{2,3}", value):
        message = f"Invalid language '{value}'. Language parameter must be specified in ISO-639-1 format."
        raise SessionRefused(message, "invalid_value", path)


def _prompt(value: Any, path: str) -> None:
    check_type(value, str, path)
    if len(value) > PROMPT_LENGTH:
        message = (
            f"Invalid '{path}': string too long. Expected a string with maximum length {PROMPT_LENGTH}, "
            f"but got a string with length {len(value)} instead."
        )
        raise SessionRefused(message, "string_above_max_length", path)


def _format(value: Any, path: str) -> None:
    check_type(value, dict, path)
    kind = required(value, "type", f"{path}.type")
    _one_of("audio/pcm", "audio/pcmu", "audio/pcma")(kind, f"{path}.type")
    # The companded formats have one rate, and no key for it; PCM must say its own, although there is one only.
    allow_keys(value, ("type", "rate") if kind == "audio/pcm" else ("type",), path)
    if kind == "audio/pcm":
        _number(int, 24000, 24000)(required(value, "rate", f"{path}.rate"), f"{path}.rate")


_TURN_CHECKS: Final[Mapping[str, Check]] = {
    "server_vad": _object(
        {
            "type": _of_type(str),
            "threshold": _number(float, 0, 1),
            "prefix_padding_ms": _number(int, 0, 10_000),
            "silence_duration_ms": _number(int, 0, 10_000),
            "create_response": _of_type(bool),
            "interrupt_response": _of_type(bool),
            "idle_timeout_ms": _or_null(_number(int, 5000, 30_000)),
        }
    ),
    "semantic_vad": _object(
        {
            "type": _of_type(str),
            "eagerness": _one_of("low", "medium", "high", "auto"),
            "create_response": _of_type(bool),
            "interrupt_response": _of_type(bool),
        }
    ),
}


def _turn_detection(value: Any, path: str) -> None:
    check_type(value, dict, path)
    kind = required(value, "type", f"{path}.type")
    _one_of(*_TURN_CHECKS)(kind, f"{path}.type")
    _TURN_CHECKS[kind](value, path)


_TRANSCRIPTION_CHECK: Final = _object(
    {
        "model": _one_of(*MODELS),
        "language": _language,
        "languages": _list_of(_language, at_least=1),
        "keywords": _list_of(_of_type(str)),
        "prompt": _prompt,
        "delay": _one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)

_SESSION: Final = _object(
    {
        "type": _of_type(str),
        "include": _list_of(_one_of(LOGPROBS)),
        "audio": _object(
            {
                "input": _object(
                    {
                        "format": _format,
                        "transcription": _or_null(_TRANSCRIPTION_CHECK),
                        "noise_reduction": _or_null(
                            _object(
                                {"type": _one_of("near_field", "far_field"), "strength": _number(float, 0, 1)}
                            )
                        ),
                        "turn_detection": _or_null(_turn_detection),
                    }
                )
            }
        ),
    }
)


def _apply(current: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Change `audio.input` in place: what is left out stays, null switches off, objects are merged."""
    if "format" in update:
        current["format"] = dict(update["format"])
    for key in ("transcription", "noise_reduction"):
        if key in update:
            current[key] = None if update[key] is None else {**(current[key] or {}), **update[key]}
    transcription = current["transcription"]
    if transcription is not None:
        required(transcription, "model", f"{TRANSCRIPTION}.model")
        _check_for_model(transcription)
    manual = transcription is not None and transcription["model"] in MANUAL_MODELS
    turn = update.get("turn_detection")
    if turn is not None:
        if manual:
            message = "Turn detection is not supported for this transcription model."
            raise SessionRefused(message, "invalid_value", f"{INPUT}.turn_detection")
        before = current["turn_detection"] or {}
        base = before if before.get("type") == turn["type"] else _TURN_DETECTION[turn["type"]]
        current["turn_detection"] = {**base, **turn}
    elif "turn_detection" in update or manual:
        current["turn_detection"] = None


def _check_for_model(transcription: Mapping[str, Any]) -> None:
    """See that the model takes the options.

    Raises:
        SessionRefused: It does not take one of them.
    """
    model = transcription["model"]
    wrong = {
        "languages": model not in HINTED_MODELS,
        "keywords": model not in HINTED_MODELS,
        "delay": model not in MANUAL_MODELS,
        "prompt": model in ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize"),
        "language": "languages" in transcription,
    }
    for key, refused in wrong.items():
        if refused and key in transcription:
            path = f"{TRANSCRIPTION}.{key}"
            with_what = "together with 'languages'" if key == "language" else "for this transcription model"
            raise SessionRefused(f"'{key}' is not supported {with_what}.", "invalid_value", path)
