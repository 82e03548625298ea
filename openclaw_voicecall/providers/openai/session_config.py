"""The one message that configures a transcription session, and whether OpenAI's answer grants it.

A `session.update` is to be taken as all or nothing: one null or unknown field, and none of it may apply, while audio
goes on to be accepted. So the message is built here and nowhere else, and a session counts as configured only when
its echo says so. Shape: OpenAI SDK, `types/realtime/realtime_transcription_session_create_request_param.py` and the
types it names.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

NULLABLE: Final = frozenset({"turn_detection", "noise_reduction", "transcription"})
"""Fields in which null is a value, meaning off. Anywhere else null is an error, so it is left out."""

FORMAT: Final = {"type": "audio/pcmu"}
"""Mu-law at 8000 Hz. A `rate` is refused here, unlike with `audio/pcm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What one session is asked for."""

    model: str
    language: str = ""
    """ISO 639-1, two letters; empty leaves it to the model."""
    server_vad: bool = True
    """Whether OpenAI detects turns; without it we commit them."""
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 800
    noise_reduction: str | None = None
    """`near_field`, `far_field`, `off`, or None to say nothing about it."""


def session_update(settings: SessionSettings, event_id: str) -> str:
    """The configuring message as JSON; an error about it names `event_id`."""
    return json.dumps({"type": "session.update", "event_id": event_id, "session": _session(settings)})


def unmet(settings: SessionSettings, session: Any) -> str:
    """What of the settings OpenAI's echo of the session does not grant, in words; empty when all is as asked.

    A session whose input is echoed at all must name the model, the format and who detects turns. Other fields may be
    missing from the echo, but not differ; servers that speak this protocol without being OpenAI echo little or
    nothing. Numbers may have gone through 32-bit floats.
    """
    asked, got = _session(settings), session if isinstance(session, dict) else {}
    if got.get("type") not in (None, "transcription"):
        return f"session.type is {got['type']!r:.60}, not 'transcription'"
    if not _at(got, "audio.input"):
        return ""
    needed = ["audio.input.format.type", "audio.input.transcription.model"]
    optional = ["audio.input.transcription.language", "audio.input.noise_reduction.type"]
    if settings.server_vad:
        needed.append("audio.input.turn_detection.type")
        optional += [
            f"audio.input.turn_detection.{key}"
            for key in ("threshold", "prefix_padding_ms", "silence_duration_ms")
        ]
    elif _at(got, "audio.input.turn_detection") is not None:
        return "session.audio.input.turn_detection is on, not off"
    for path in (*needed, *optional):
        wanted, found = _at(asked, path), _at(got, path)
        if wanted is None or (found is None and path in optional):
            continue
        if not _same(wanted, found):
            return f"session.{path} is {found!r:.60}, not {wanted!r}"
    return ""


def _session(settings: SessionSettings) -> dict[str, Any]:
    detection = {
        "type": "server_vad",
        "threshold": settings.threshold,
        "prefix_padding_ms": settings.prefix_padding_ms,
        "silence_duration_ms": settings.silence_duration_ms,
    }
    given: dict[str, Any] = {
        "format": FORMAT,
        "transcription": {"model": settings.model, "language": settings.language or None},
        "turn_detection": detection if settings.server_vad else None,
    }
    if settings.noise_reduction is not None:
        given["noise_reduction"] = (
            None if settings.noise_reduction == "off" else {"type": settings.noise_reduction}
        )
    session: dict[str, Any] = without_nulls({"type": "transcription", "audio": {"input": given}})
    return session


def without_nulls(node: Any) -> Any:
    """A JSON tree without its nulls, at any depth, except where null means off."""
    if isinstance(node, dict):
        return {
            key: without_nulls(value) for key, value in node.items() if value is not None or key in NULLABLE
        }
    if isinstance(node, list):
        return [without_nulls(item) for item in node if item is not None]
    return node


def _at(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        # Compared without a difference: a whole number may be too large to be subtracted from a fraction.
        slack = abs(wanted) * 1e-3
        return wanted - slack <= found <= wanted + slack
    return bool(wanted == found)
