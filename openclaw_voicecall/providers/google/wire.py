"""Messages of Gemini Live: what is sent, and reading what comes.

Shapes are those of the google-genai SDK (`live.py`, `_live_converters.py`, `types.py`: LiveClientMessage and
LiveServerMessage) for the Gemini Developer API. Messages are JSON, and the server sends them as binary frames.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from openclaw_voicecall.api.realtime import ModelTool, RealtimeRequest
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.providers._messages import json_object
from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig, takes_turns_of_text
from openclaw_voicecall.providers.google.sound import UP_RATE

VENDOR: Final = "google"
OPERATION: Final = "talk"

_SCHEMA_KEYS: Final = frozenset(
    {"type", "description", "enum", "format", "nullable", "required", "minimum", "maximum", "title"}
    | {"minItems", "maxItems", "minLength", "maxLength", "pattern", "items", "properties", "anyOf"}
)
"""What Google's Schema knows of JSON Schema (google-genai SDK, types.py, Schema). Any other key is refused."""
_DURATION: Final = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")


def setup(config: GoogleRealtimeConfig, request: RealtimeRequest) -> dict[str, Any]:
    """The first message: everything that is in force for the whole session."""
    generation: dict[str, Any] = {
        "responseModalities": ["AUDIO"],
        "speechConfig": {
            "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": request.voice or config.voice_name}}
        },
    }
    if config.temperature is not None:
        generation["temperature"] = config.temperature
    session: dict[str, Any] = {
        "model": "models/" + config.model.removeprefix("models/"),
        "generationConfig": generation,
        "systemInstruction": {"parts": [{"text": _instructions(request)}]},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
    }
    if detection := _detection(config):
        session["realtimeInputConfig"] = {"automaticActivityDetection": detection}
    if request.tools:
        session["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in request.tools]}]
    return {"setup": session}


def audio(pcm: bytes) -> dict[str, Any]:
    """The caller's next audio, s16le at 16 kHz."""
    blob = {"data": base64.b64encode(pcm).decode(), "mimeType": f"audio/pcm;rate={UP_RATE}"}
    return {"realtimeInput": {"audio": blob}}


def words(model: str, text: str) -> dict[str, Any]:
    """A text that the model is to answer now, in the way that this model takes it."""
    if takes_turns_of_text(model):
        return {"clientContent": {"turns": [_turn(text)], "turnComplete": True}}
    return {"realtimeInput": {"text": text}}


def note(text: str) -> dict[str, Any]:
    """A text that the model is to know and not to answer. Only for models that take turns of text."""
    return {"clientContent": {"turns": [_turn(text)], "turnComplete": False}}


def results(outputs: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """What functions gave: id of the call, name and output of each."""
    responses = [{"id": call, "name": name, "response": {"output": output}} for call, name, output in outputs]
    return {"toolResponse": {"functionResponses": responses}}


def parsed(message: str | bytes) -> dict[str, Any]:
    """A message of the server; an empty one for anything that is none."""
    if isinstance(message, bytes):
        message = message.decode("utf-8", "replace")
    return json_object(message)


def part(message: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """An object within an object; None where there is none."""
    value = message.get(key)
    return value if isinstance(value, dict) else None


def objects(message: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list within an object."""
    value = message.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(message: Mapping[str, Any] | None, key: str) -> str:
    """A text within an object; an empty one where there is none."""
    value = (message or {}).get(key)
    return value if isinstance(value, str) else ""


def sound(content: Mapping[str, Any]) -> bytes:
    """The audio in a piece of the model's turn, s16le at 24 kHz, if there is any."""
    found = b""
    for each in objects(part(content, "modelTurn") or {}, "parts"):
        blob = part(each, "inlineData")
        if text(blob, "mimeType").startswith("audio/pcm"):
            try:
                found += base64.b64decode(text(blob, "data"), validate=True)
            except (binascii.Error, ValueError):
                continue
    return found


def seconds(duration: str) -> float:
    """A duration as Google writes it, such as `9.5s`; 0 for what is none."""
    found = _DURATION.fullmatch(duration)
    return float(found[1]) if found else 0.0


def closed(code: int | None, reason: str) -> VendorError:
    """The error for a socket that Google closed; the reason is all that it says.

    The code is 1007 for a wrong message or key, 1008 for a model or a right that is missing, and 1011 for failures of
    Google's own and for a used-up quota.
    """
    said = " ".join(reason.split())[:300] or "no reason given"
    lower = reason.lower()
    kind: type[VendorError] = VendorUnavailable
    if "api key" in lower or "unregistered caller" in lower or "permission" in lower:
        kind = VendorAuthError
    elif "quota" in lower or "resource exhausted" in lower or "resource has been exhausted" in lower:
        kind = VendorRateLimited
    elif code in (1003, 1007) or (code == 1008 and "not found for api version" in lower):
        kind = VendorRejected
    return kind(f"Google ended the session ({code}): {said}", vendor=VENDOR, operation=OPERATION, status=code)


def _instructions(request: RealtimeRequest) -> str:
    parts = [request.instructions]
    if request.language:
        parts.append(f"Talk in the language with the BCP 47 tag {request.language}.")
    if request.history:
        # Native audio models take turns of text only at the very beginning and only in some versions; this they all do.
        lines = "\n".join(f"{line.speaker}: {line.text}" for line in request.history)
        parts.append(f"This was said on this call before. Go on from there and do not say it again.\n{lines}")
    return "\n\n".join(each for each in parts if each)


def _detection(config: GoogleRealtimeConfig) -> dict[str, Any]:
    detection: dict[str, Any] = {}
    if config.silence_duration_ms is not None:
        detection["silenceDurationMs"] = config.silence_duration_ms
    if config.start_sensitivity:
        detection["startOfSpeechSensitivity"] = f"START_SENSITIVITY_{_degree(config.start_sensitivity)}"
    if config.end_sensitivity:
        detection["endOfSpeechSensitivity"] = f"END_SENSITIVITY_{_degree(config.end_sensitivity)}"
    return detection


def _degree(sensitivity: str) -> str:
    return sensitivity.rpartition("_")[2].upper()


def _declaration(tool: ModelTool) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    # An object without properties is refused; a function without parameters is not.
    if tool.parameters.get("properties"):
        declared["parameters"] = _schema(tool.parameters)
    return declared


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key in _SCHEMA_KEYS}
    if isinstance(kept.get("type"), list):
        kinds = [kind for kind in kept["type"] if kind != "null"]
        kept["nullable"] = len(kinds) < len(kept["type"])
        kept["type"] = kinds[0] if kinds else "string"
    if isinstance(kept.get("type"), str):
        kept["type"] = kept["type"].upper()
    if isinstance(kept.get("items"), Mapping):
        kept["items"] = _schema(kept["items"])
    if isinstance(kept.get("anyOf"), list):
        kept["anyOf"] = [_schema(each) for each in kept["anyOf"]]
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {name: _schema(each) for name, each in kept["properties"].items()}
    return kept


def _turn(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


def dumped(message: Mapping[str, Any]) -> str:
    """A message as it goes out."""
    return json.dumps(message, separators=(",", ":"))
