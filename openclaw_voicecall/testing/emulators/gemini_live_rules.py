"""What Gemini Live takes as messages, and how it refuses the rest. Pure.

Names and shapes are those of the google-genai SDK (`types.py`: LiveClientMessage and what is below it, for the Gemini
Developer API). A message that does not fit is answered by closing the socket: 1007 with a sentence for an unknown name,
a wrong value or a wrong key, 1008 for a model that is not there.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MODELS: Final = (
    "models/gemini-3.8-live",
    "models/gemini-3.8-live-extended-thinking",
    "models/gemini-3.1-flash-live-preview",
    "models/gemini-2.5-flash-native-audio-preview-12-2025",
)
"""What may be talked to; `gemini-live-2.5-flash-preview` and `gemini-2.0-flash-live-001` are retired."""
TEXT_TURNS: Final = ("models/gemini-2.5-flash-native-audio-preview-12-2025",)
"""Models that take `clientContent` in the middle of a talk."""
VOICES: Final = (
    *("Achernar", "Achird", "Algenib", "Algieba", "Alnilam", "Aoede", "Autonoe", "Callirrhoe", "Charon"),
    *("Despina", "Enceladus", "Erinome", "Fenrir", "Gacrux", "Iapetus", "Kore", "Laomedeia", "Leda", "Orus"),
    *("Puck", "Pulcherrima", "Rasalgethi", "Sadachbia", "Sadaltager", "Schedar", "Sulafat", "Umbriel"),
    *("Vindemiatrix", "Zephyr", "Zubenelgenubi"),
)
INVALID: Final = "Request contains an invalid argument."
LONGEST_REASON: Final = 123
"""Bytes that a close frame has for its reason; Google cuts longer ones off."""

Rule = Callable[[Any, str], None]
"""Takes a value and its path; raises `GeminiRefused`."""


class GeminiRefused(Exception):
    """The socket is closed with this code and reason."""

    def __init__(self, reason: str, code: int = 1007) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def no_such_model(model: str) -> GeminiRefused:
    """The refusal of a model that is unknown, retired, or none for talks."""
    text = f"{model} is not found for API version v1beta, or is not supported for bidiGenerateContent."
    return GeminiRefused(text, 1008)


def check_message(message: Mapping[str, Any]) -> str:
    """See that a message is one of the four, and right. Returns its name; raises `GeminiRefused`."""
    for key in message:
        if key not in _MESSAGES:
            raise _unknown_name(key, "")
    if len(message) != 1:
        raise GeminiRefused(INVALID)
    [(name, value)] = message.items()
    _MESSAGES[name](value, name)
    return name


def pcm_of(blob: Mapping[str, Any]) -> bytes:
    """The audio of `realtimeInput.audio`. Raises `GeminiRefused`."""
    if blob.get("mimeType") != "audio/pcm;rate=16000":
        raise GeminiRefused(f"Unsupported input audio: {blob.get('mimeType')}; expected audio/pcm;rate=16000")
    try:
        pcm = base64.b64decode(str(blob.get("data", "")), validate=True)
    except (binascii.Error, ValueError):
        raise GeminiRefused("Invalid value at 'realtime_input.audio.data' (TYPE_BYTES)") from None
    if not pcm or len(pcm) % 2:
        raise GeminiRefused(INVALID)
    return pcm


def _unknown_name(name: str, path: str) -> GeminiRefused:
    where = f" at '{path}'" if path else ""
    return GeminiRefused(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')


def _invalid(path: str, value: Any) -> GeminiRefused:
    return GeminiRefused(f"Invalid value at '{path}': {value!r}"[:LONGEST_REASON])


def _fields(rules: Mapping[str, Rule], *needs: str) -> Rule:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise _invalid(path, value)
        for key, inner in value.items():
            if key not in rules:
                raise _unknown_name(key, path)
            rules[key](inner, f"{path}.{key}")
        if any(key not in value for key in needs):
            raise GeminiRefused(INVALID)

    return check


def _list(inner: Rule) -> Rule:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise _invalid(path, value)
        for index, each in enumerate(value):
            inner(each, f"{path}[{index}]")

    return check


def _kind(*kinds: type) -> Rule:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _invalid(path, value)

    return check


def _word(*words: str) -> Rule:
    def check(value: Any, path: str) -> None:
        if value not in words:
            raise _invalid(path, value)

    return check


def _between(low: float, high: float) -> Rule:
    def check(value: Any, path: str) -> None:
        _kind(int, float)(value, path)
        if not low <= value <= high:
            raise GeminiRefused(INVALID)

    return check


def _name(value: Any, path: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", value):
        raise GeminiRefused(f"Invalid function name at '{path}'.")


def _audio_only(value: Any, path: str) -> None:
    """Models that talk by themselves give nothing else."""
    if value != ["AUDIO"]:
        raise GeminiRefused(INVALID)


def _object(value: Any, path: str) -> None:
    _kind(dict)(value, path)


def _schema(value: Any, path: str) -> None:
    _fields(_SCHEMA)(value, path)
    if value.get("type") == "OBJECT" and not value.get("properties"):
        raise GeminiRefused(f"{path}.properties: should be non-empty for OBJECT type")
    for name in value.get("required", []):
        if name not in value.get("properties", {}):
            raise GeminiRefused(f"{path}.required: property is not defined")


def _schemas(value: Any, path: str) -> None:
    _kind(dict)(value, path)
    for name, each in value.items():
        _schema(each, f"{path}.{name}")


_text = _kind(str)
_flag = _kind(bool)
_whole = _kind(int)
_SCHEMA: Final[dict[str, Rule]] = {
    "type": _word("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"),
    **dict.fromkeys(("description", "format", "title", "pattern"), _text),
    **dict.fromkeys(("enum", "required"), _list(_text)),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _whole),
    **dict.fromkeys(("minimum", "maximum"), _kind(int, float)),
    "nullable": _flag,
    "items": _schema,
    "properties": _schemas,
    "anyOf": _list(_schema),
}
_PART: Final = _fields({"text": _text}, "text")
_TURN: Final = _fields({"role": _word("user", "model"), "parts": _list(_PART)}, "parts")
_SPEECH: Final = _fields(
    {
        "voiceConfig": _fields(
            {"prebuiltVoiceConfig": _fields({"voiceName": _word(*VOICES)}, "voiceName")},
            "prebuiltVoiceConfig",
        )
    }
)
_GENERATION: Final = _fields(
    {
        "responseModalities": _audio_only,
        "speechConfig": _SPEECH,
        "temperature": _between(0, 2),
        **dict.fromkeys(("topP", "topK"), _kind(int, float)),
        **dict.fromkeys(("maxOutputTokens", "seed"), _whole),
        "thinkingConfig": _object,
        "mediaResolution": _text,
    },
    "responseModalities",
)
_DETECTION: Final = _fields(
    {
        "disabled": _flag,
        "startOfSpeechSensitivity": _word("START_SENSITIVITY_HIGH", "START_SENSITIVITY_LOW"),
        "endOfSpeechSensitivity": _word("END_SENSITIVITY_HIGH", "END_SENSITIVITY_LOW"),
        **dict.fromkeys(("prefixPaddingMs", "silenceDurationMs"), _whole),
    }
)
_SETUP: Final = _fields(
    {
        "model": _text,
        "generationConfig": _GENERATION,
        "systemInstruction": _TURN,
        "tools": _list(
            _fields(
                {
                    "functionDeclarations": _list(
                        _fields(
                            {"name": _name, "description": _text, "parameters": _schema},
                            *("name", "description"),
                        )
                    )
                }
            )
        ),
        "realtimeInputConfig": _fields(
            {
                "automaticActivityDetection": _DETECTION,
                "activityHandling": _word("START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"),
                "turnCoverage": _word("TURN_INCLUDES_ONLY_ACTIVITY", "TURN_INCLUDES_ALL_INPUT"),
            }
        ),
        **dict.fromkeys(
            ("inputAudioTranscription", "outputAudioTranscription"), _fields({"languageCodes": _list(_text)})
        ),
        "sessionResumption": _fields({"handle": _text}),
        "contextWindowCompression": _fields(
            {"triggerTokens": _whole, "slidingWindow": _fields({"targetTokens": _whole})}
        ),
        "historyConfig": _fields({"initialHistoryInClientContent": _flag}),
    },
    "model",
)
_RESPONSE: Final = _fields({"id": _text, "name": _text, "response": _object}, "id", "name", "response")
_MESSAGES: Final[Mapping[str, Rule]] = {
    "setup": _SETUP,
    "clientContent": _fields({"turns": _list(_TURN), "turnComplete": _flag}),
    "realtimeInput": _fields(
        {"audio": _fields({"data": _text, "mimeType": _text}), "text": _text, "audioStreamEnd": _flag}
    ),
    "toolResponse": _fields({"functionResponses": _list(_RESPONSE)}, "functionResponses"),
}
