"""What OpenAI takes in a `session.update` of a Realtime transcription session, and what it answers otherwise. Pure.

Fields and values are those of the OpenAI SDK, `types/realtime/realtime_transcription_session_*`,
`audio_transcription`, `realtime_audio_formats`. The wording of refusals is the vendor's where users have reported it
(unknown, missing and mistyped parameters, unsupported values, turn detection, session kinds, beta shapes); what only
the SDK's documentation forbids, such as a prompt for `gpt-realtime-whisper`, is refused in words of the same form.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

from openclaw_voicecall.testing.emulators.openai_checks import (
    Check,
    SessionRefused,
    allow_keys,
    check_type,
    kinds,
    list_of,
    number,
    object_of,
    of_type,
    one_of,
    or_null,
    required,
    text_of,
)

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
    one_of("realtime", "transcription")(wanted, "session.type")
    if wanted != kind:
        message = f"Passing a {wanted} session update event to a {kind} session is not allowed."
        raise SessionRefused(message, "invalid_parameter", "session.type")


def _language(value: Any, path: str) -> None:
    check_type(value, str, path)
    if not re.fullmatch("[a-z]{2,3}", value):
        message = f"Invalid language '{value}'. Language parameter must be specified in ISO-639-1 format."
        raise SessionRefused(message, "invalid_value", path)


def _format(value: Any, path: str) -> None:
    check_type(value, dict, path)
    kind = required(value, "type", f"{path}.type")
    one_of("audio/pcm", "audio/pcmu", "audio/pcma")(kind, f"{path}.type")
    # The companded formats have one rate, and no key for it; PCM must say its own, although there is one only.
    allow_keys(value, ("type", "rate") if kind == "audio/pcm" else ("type",), path)
    if kind == "audio/pcm":
        number(int, 24000, 24000)(required(value, "rate", f"{path}.rate"), f"{path}.rate")


_TURN_CHECKS: Final[Mapping[str, Check]] = {
    "server_vad": object_of(
        {
            "type": of_type(str),
            "threshold": number(float, 0, 1),
            "prefix_padding_ms": number(int, 0, 10_000),
            "silence_duration_ms": number(int, 0, 10_000),
            "create_response": of_type(bool),
            "interrupt_response": of_type(bool),
            "idle_timeout_ms": or_null(number(int, 5000, 30_000)),
        }
    ),
    "semantic_vad": object_of(
        {
            "type": of_type(str),
            "eagerness": one_of("low", "medium", "high", "auto"),
            "create_response": of_type(bool),
            "interrupt_response": of_type(bool),
        }
    ),
}

_TRANSCRIPTION_CHECK: Final = object_of(
    {
        "model": one_of(*MODELS),
        "language": _language,
        "languages": list_of(_language, at_least=1),
        "keywords": list_of(of_type(str)),
        "prompt": text_of(PROMPT_LENGTH),
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)

_SESSION: Final = object_of(
    {
        "type": of_type(str),
        "include": list_of(one_of(LOGPROBS)),
        "audio": object_of(
            {
                "input": object_of(
                    {
                        "format": _format,
                        "transcription": or_null(_TRANSCRIPTION_CHECK),
                        "noise_reduction": or_null(
                            object_of(
                                {"type": one_of("near_field", "far_field"), "strength": number(float, 0, 1)}
                            )
                        ),
                        "turn_detection": or_null(kinds(_TURN_CHECKS)),
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
