"""What ElevenLabs demands of a text and its settings, and in which shapes it says no.

Parameters are those of the ElevenLabs SDK, text_to_speech/raw_client.py and types/realtime_voice_settings.py; error
shapes are those of the API documentation, "Errors", and of what the API answers in the world.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp import web

from openclaw_voicecall.media.g711 import ulaw_to_alaw, ulaw_to_pcm

LIMITS: Mapping[str, int] = {
    "eleven_flash_v2_5": 40_000,
    "eleven_turbo_v2_5": 40_000,
    "eleven_flash_v2": 30_000,
    "eleven_turbo_v2": 30_000,
    "eleven_multilingual_v2": 10_000,
    "eleven_v3": 5_000,
}
"""Models, and how many characters one request may have."""
WITHOUT_LANGUAGE = frozenset({"eleven_multilingual_v2"})
WITHOUT_NORMALIZATION = frozenset({"eleven_turbo_v2_5", "eleven_flash_v2_5"})
WITHOUT_SOCKETS = frozenset({"eleven_v3"})
RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
RAW_FORMATS = ("ulaw_8000", "alaw_8000", *(f"pcm_{rate}" for rate in RATES))
FORMATS = (
    *RAW_FORMATS,
    *(
        f"mp3_{kind}"
        for kind in ("22050_32", "24000_48", "44100_32", "44100_64", "44100_96", "44100_128", "44100_192")
    ),
    *(f"opus_48000_{kind}" for kind in (32, 64, 96, 128, 192)),
)
BODY_KEYS = frozenset(
    {
        "text", "model_id", "language_code", "voice_settings", "pronunciation_dictionary_locators", "seed",
        "previous_text", "next_text", "previous_request_ids", "next_request_ids", "use_pvc_as_ivc",
        "apply_text_normalization", "apply_language_text_normalization", "audio_effects",
    }
)  # fmt: skip
QUERY_KEYS = frozenset({"enable_logging", "optimize_streaming_latency", "output_format"})
SETTINGS: Mapping[str, tuple[float, float]] = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error of the HTTP API."""

    status: int
    message: str
    code: str = ""
    """Such as `voice_not_found`; without one it is a finding of the validator, whose detail is a list."""
    legacy: str = ""
    """The older name, where it is another one."""
    where: tuple[str, ...] = ()
    """Such as `("body", "text")`."""
    kind: str = "value_error"

    def response(self) -> web.Response:
        """The HTTP answer."""
        detail: Any
        if not self.code:
            detail = [{"type": self.kind, "loc": list(self.where), "msg": self.message}]
        else:
            detail = {"status": self.legacy or self.code, "code": self.code, "message": self.message}
            if self.where:
                detail |= {"type": "validation_error", "param": self.where[-1]}
        return web.json_response({"detail": detail}, status=self.status)


NO_KEY = Complaint(
    401, "Neither authorization header nor xi-api-key received, please provide one.", "needs_authorization"
)
INVALID_KEY = Complaint(401, "Invalid API key", "invalid_api_key")
QUOTA = Complaint(
    401,
    "This request exceeds your quota of 10000. You have 0 credits remaining, while 91 credits are required for this"
    " request.",
    "quota_exceeded",
)
BUSY = Complaint(
    429,
    "Too many concurrent requests. Your current subscription is associated with a maximum of 2 concurrent requests"
    " (running in parallel).",
    "concurrent_limit_exceeded",
    "too_many_concurrent_requests",
)
BROKEN = Complaint(
    500, "Internal Server error. All such crashes are reported to us automatically.", "internal_server_error"
)
NOT_PERMITTED = Complaint(
    401, "The API key you used is missing the permission to execute this operation.", "missing_permissions"
)


def unknown_voice(voice: str) -> Complaint:
    """No such voice, or not in this account."""
    return Complaint(404, f"A voice with the voice_id {voice} was not found.", "voice_not_found")


def key_complaint(request: web.Request, key: str) -> Complaint | None:
    """What is wrong with the `xi-api-key` header; never the key itself."""
    given = request.headers.get("xi-api-key")
    if given is None:
        return NO_KEY
    return None if given == key else INVALID_KEY


def format_complaint(query: Mapping[str, str]) -> Complaint | None:
    """What is wrong with `output_format`. Coded formats exist, but the emulator makes raw ones only."""
    wanted = query.get("output_format", "mp3_44100_128")
    where = ("query", "output_format")
    if wanted not in FORMATS:
        return Complaint(422, f"Input should be one of {', '.join(FORMATS)}", where=where, kind="enum")
    if wanted not in RAW_FORMATS:
        return Complaint(400, f"This emulator does not make {wanted}.", "emulator_raw_only", where=where)
    return None


def request_complaint(query: Mapping[str, str], body: Any) -> Complaint | None:
    """The first thing that is wrong with a request over HTTP; None when it is in order."""
    if not isinstance(body, dict):
        return Complaint(422, "Input should be a valid dictionary", where=("body",), kind="json_invalid")
    return next(_complaints(query, body), None)


def settings_complaint(
    settings: Any, *, where: tuple[str, ...] = ("body", "voice_settings")
) -> Complaint | None:
    """What is wrong with `voice_settings`; they may be left out."""
    if settings is None:
        return None
    if not isinstance(settings, dict):
        return Complaint(422, "Input should be a valid dictionary", where=where, kind="dict_type")
    for name, value in settings.items():
        low, high = SETTINGS.get(name, (0, 1))
        if name == "use_speaker_boost" and isinstance(value, bool | None):
            continue
        if name not in SETTINGS:
            return _surplus((*where, name))
        if value is not None and not (_is_number(value) and low <= value <= high):
            message = f"Input should be a number from {low} to {high}"
            return Complaint(400, message, "invalid_voice_settings", where=(*where, name))
    return None


def bytes_per_second(output_format: str) -> int:
    """Of a raw format."""
    return 2 * int(output_format.removeprefix("pcm_")) if output_format.startswith("pcm_") else 8000


def render(ulaw: bytes, output_format: str) -> bytes:
    """Mu-law at 8 kHz in another raw format. Other rates repeat samples; they need no beauty."""
    if output_format == "ulaw_8000":
        return ulaw
    if output_format == "alaw_8000":
        return ulaw_to_alaw(ulaw)
    rate = int(output_format.removeprefix("pcm_"))
    samples = np.frombuffer(ulaw_to_pcm(ulaw), "<i2")
    return samples[np.arange(len(samples) * rate // 8000) * 8000 // rate].tobytes()


def silence_like(sound: bytes, output_format: str) -> bytes:
    """A recording of silence that is as long as a sound."""
    return {"ulaw_8000": b"\xff", "alaw_8000": b"\xd5"}.get(output_format, b"\0") * len(sound)


def _complaints(query: Mapping[str, str], body: Mapping[str, Any]) -> Iterator[Complaint]:
    for name in sorted(query.keys() - QUERY_KEYS):
        yield _surplus(("query", name))
    if complaint := format_complaint(query):
        yield complaint
    latency = query.get("optimize_streaming_latency", "0")
    if latency not in {"0", "1", "2", "3", "4"}:
        yield _wrong("query", "optimize_streaming_latency", "Input should be a number from 0 to 4")
    for name in sorted(body.keys() - BODY_KEYS):
        yield _surplus(("body", name))
    if "text" not in body:
        yield Complaint(422, "Field required", where=("body", "text"), kind="missing")
    for name, (check, message) in _CHECKS.items():
        if body.get(name) is not None and not check(body[name]):
            yield _wrong("body", name, message)
    if not isinstance(body["text"], str):
        yield _wrong("body", "text", "Input should be a valid string")
    if complaint := settings_complaint(body.get("voice_settings")):
        yield complaint
    yield from _model_complaints(body)


def _model_complaints(body: Mapping[str, Any]) -> Iterator[Complaint]:
    model, text = body.get("model_id") or "eleven_multilingual_v2", body["text"]
    if model not in LIMITS:
        message = f"A model with the model_id {model} does not exist."
        yield Complaint(400, message, "invalid_parameters", where=("body", "model_id"))
    if not text.strip():
        yield Complaint(400, "The text is empty.", "invalid_parameters", where=("body", "text"))
    if len(text) > LIMITS[model]:
        message = f"This request's text has {len(text)} characters and exceeds the limit of {LIMITS[model]}."
        yield Complaint(400, message, "max_character_limit_exceeded")
    if body.get("language_code") is not None and model in WITHOUT_LANGUAGE:
        message = f"Model '{model}' does not support the language_code parameter."
        yield Complaint(400, message, "invalid_parameters", where=("body", "language_code"))
    if body.get("apply_text_normalization") == "on" and model in WITHOUT_NORMALIZATION:
        message = f"Text normalization cannot be turned on for '{model}'."
        yield Complaint(400, message, "invalid_parameters", where=("body", "apply_text_normalization"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 3 and all(isinstance(item, str) for item in value)


_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "model_id": (_is_text, "Input should be a valid string"),
    "previous_text": (_is_text, "Input should be a valid string"),
    "next_text": (_is_text, "Input should be a valid string"),
    "language_code": (lambda value: _is_text(value) and len(value) == 2, "Input should be an ISO 639-1 code"),
    "seed": (lambda value: type(value) is int and 0 <= value < 2**32, "Input should be from 0 to 4294967295"),
    "previous_request_ids": (_are_ids, "Input should be at most 3 strings"),
    "next_request_ids": (_are_ids, "Input should be at most 3 strings"),
    "apply_text_normalization": (
        lambda value: value in ("auto", "on", "off"),
        "Input should be auto, on or off",
    ),
}


def _wrong(part: str, name: str, message: str) -> Complaint:
    return Complaint(422, message, where=(part, name))


def _surplus(where: tuple[str, ...]) -> Complaint:
    return Complaint(422, f"Extra inputs are not permitted: {where[-1]}", where=where, kind="extra_forbidden")
