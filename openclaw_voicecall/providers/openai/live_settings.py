"""What a GPT-Live session is started with, and the other messages to it. Pure.

Shapes are those of the OpenAI SDK, `types/live/` (SessionStartEventParam, CommentaryAppendEventParam and so on). A
session refuses fields it does not know. Voice, audio format and instructions cannot be changed once it is started.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from openclaw_voicecall.api.realtime import ModelTool, RealtimeRequest
from openclaw_voicecall.api.responder import Line

DEFAULT_MODEL: Final = "gpt-live-1"
DEFAULT_VOICE: Final = "willow"
DEFAULT_DELEGATE: Final = "gpt-5.5"
"""The model that calls functions for a voice that cannot; the one of OpenAI's own examples."""
PCMU: Final = {"type": "audio/pcmu", "rate": 8000}
HISTORY_LIMIT: Final = 128
"""Messages of history that a session takes."""
PATH: Final = "/live/sessions"


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long nothing must come until something counts as over, in seconds."""

    caller: float = 0.8
    """Words of the caller."""
    reply: float = 1.0
    """Sound and words of a reply: more than a speaker's breath."""
    cut: float = 0.4
    """Sound of a reply that was cut, which is thrown away: what follows may be the next one."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a session must have been given before it may be talked on."""

    encoding: str
    voice: str


DEFAULT_PAUSES: Final = Pauses()


class LiveConfig(Protocol):
    """What of the settings is needed here."""

    @property
    def model(self) -> str:
        """Name of the model, `gpt-live-...`."""
        ...

    @property
    def voice_name(self) -> str:
        """Name of the voice."""
        ...


def is_live(model: str) -> bool:
    """Whether a model is talked to over `/v1/live` and not over `/v1/realtime`."""
    return model.startswith("gpt-live") and "transcribe" not in model


def voice_of(config: LiveConfig, request: RealtimeRequest) -> str:
    """The voice that a session is to have."""
    return request.voice or config.voice_name


def session_start(config: LiveConfig, request: RealtimeRequest, *, delegate: str) -> dict[str, Any]:
    """The first message on a socket of our own.

    Args:
        config: The settings.
        request: What the session is opened with.
        delegate: The model that calls functions.
    """
    session = live_session(config, request, delegate=delegate)
    session["audio"] = {"format": dict(PCMU), **session["audio"]}
    return {"type": "session.start", "event_id": "start", "session": session}


def live_session(config: LiveConfig, request: RealtimeRequest, *, delegate: str) -> dict[str, Any]:
    """The settings of a session whose audio format is not ours to say, as on a SIP line.

    For `POST /v1/live/sessions/{id}/accept` it needs `"type": "live"` besides (SessionAcceptParams).
    """
    session: dict[str, Any] = {
        "model": config.model,
        "instructions": _instructions(request),
        "audio": {"output": {"voice": voice_of(config, request)}},
        "delegation": {"type": "client"},
    }
    if request.tools:
        # Only a Responses backend is told what is wanted; what is delegated to a client comes without a word of it.
        session["delegation"] = {
            "type": "responses",
            "responses": {
                "model": delegate,
                "instructions": request.instructions or "You help on a phone call.",
                "tools": [_tool(tool) for tool in request.tools],
                "tool_choice": "auto",
            },
        }
    if request.history:
        session["input"] = [_item(line) for line in request.history[-HISTORY_LIMIT:]]
    return session


def audio(ulaw: bytes) -> dict[str, Any]:
    """The caller's next audio."""
    return {"type": "session.input_audio.append", "audio": base64.b64encode(ulaw).decode()}


def commentary(name: str, text: str, delegation: str | None = None) -> dict[str, Any]:
    """Something that the model is to say, at most 500 tokens."""
    return _append("commentary", name, text, delegation)


def thinking(name: str, text: str) -> dict[str, Any]:
    """Something that the model is to know, at most 500 tokens."""
    return _append("thinking", name, text, None)


def mute(name: str, *, muted: bool) -> dict[str, Any]:
    """Whether the model hears silence instead of the caller."""
    return {"type": f"session.input_audio.{'mute' if muted else 'unmute'}", "event_id": name}


def result(name: str, call: str, output: str) -> dict[str, Any]:
    """What a function gave."""
    item = {"type": "function_call_output", "call_id": call, "output": output}
    return {"type": "response.item.create", "event_id": name, "item": item}


def go_on(name: str) -> dict[str, Any]:
    """The backend is to go on with the results it has."""
    return {"type": "response.create", "event_id": name}


def close() -> dict[str, Any]:
    """The session is over."""
    return {"type": "session.close", "event_id": "close"}


def exactly(text: str) -> str:
    """The wish to have a text said word for word."""
    quoted = text.replace('"', "'")
    return f'Say exactly this, word for word, and nothing else: "{quoted}"'


def granted(session: Mapping[str, Any]) -> tuple[str, str]:
    """Audio encoding and voice of a session that was started, each empty where it is not told."""
    told = session.get("audio")
    spoken = told if isinstance(told, dict) else {}
    shape, output = (spoken.get(key) for key in ("format", "output"))
    encoding = shape.get("type") if isinstance(shape, dict) else ""
    voice = output.get("voice") if isinstance(output, dict) else ""
    return (encoding if isinstance(encoding, str) else "", voice if isinstance(voice, str) else "")


def _append(kind: str, name: str, text: str, delegation: str | None) -> dict[str, Any]:
    return {
        "type": f"session.{kind}.append",
        "event_id": name,
        "content": text,
        "delegation_id": delegation,
    }


def _instructions(request: RealtimeRequest) -> str:
    spoken = f"Talk in the language with the BCP 47 tag {request.language}." if request.language else ""
    return "\n\n".join(each for each in (request.instructions, spoken) if each)


def _tool(tool: ModelTool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }


def _item(line: Line) -> dict[str, Any]:
    ours = line.speaker == "agent"
    part = {"type": "output_text" if ours else "input_text", "text": line.text}
    return {"type": "message", "role": "assistant" if ours else "user", "content": [part]}
