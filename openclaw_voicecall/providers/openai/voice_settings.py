"""What a speech-to-speech session is asked for, as JSON trees, and whether OpenAI's answer grants it.

A configuring message is to be taken as all or nothing: one null or unknown field, and none of it may apply, while the
call goes on in another voice, without tools, or as static. So the trees are built here and nowhere else. Every update
has `session.type`, holds no null but the one that means off, and on a SIP line no audio format, which SIP negotiates.
Shapes: OpenAI SDK, `types/realtime/realtime_session_create_request_param.py`, `call_accept_params.py`,
`realtime_response_create_params_param.py` and the types they name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.realtime import ModelTool, RealtimeRequest
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.errors import VendorRejected
from openclaw_voicecall.providers.openai.models import CUSTOM_VOICE, VOICES, reasons
from openclaw_voicecall.providers.openai.refusals import VENDOR
from openclaw_voicecall.providers.openai.session_config import FORMAT, without_nulls
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig, is_voice

ASKED_KEY: Final = "openclaw"
"""Key of a reply's metadata under which we find our own name for it again."""

_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSettings:
    """What one session is asked for."""

    call_id: str
    model: str
    voice: str
    transcription_model: str
    turn_detection: Mapping[str, Any]
    """As OpenAI wants it, without who answers and who interrupts."""
    instructions: str = ""
    language: str = ""
    """ISO 639-1, two letters; empty leaves it to the model."""
    tools: tuple[ModelTool, ...] = ()
    history: tuple[Line, ...] = ()
    interrupts: bool = True
    """Whether the caller may speak over the model."""
    noise_reduction: str | None = None
    speed: float | None = None
    reasoning_effort: str | None = None
    max_output_tokens: int | str | None = None
    tracing: Mapping[str, Any] | None = None
    sip: bool = False
    """Whether OpenAI has the audio of the call itself."""
    attached: bool = False
    """Whether the session was set up before, and is only steered from a fresh socket."""


def voice_settings(
    config: OpenAIVoiceConfig, request: RealtimeRequest, *, sip: bool = False, attached: bool = False
) -> VoiceSettings:
    """The settings of one call's session."""
    tag = request.language.replace("_", "-").partition("-")[0].lower()
    detection: dict[str, Any] = {"type": config.turn_detection}
    if config.turn_detection == "server_vad":
        detection |= {
            "threshold": config.vad_threshold,
            "prefix_padding_ms": config.prefix_padding_ms,
            "silence_duration_ms": config.silence_duration_ms,
        }
    elif config.eagerness is not None:
        detection["eagerness"] = config.eagerness
    tracing: dict[str, Any] | None = None
    if config.tracing is not None:
        tracing = {"workflow_name": config.tracing.workflow_name, "group_id": request.call_id}
        if config.tracing.metadata:
            tracing["metadata"] = dict(config.tracing.metadata)
    return VoiceSettings(
        call_id=request.call_id,
        model=config.model,
        voice=request.voice or config.voice_name,
        transcription_model=config.transcription_model,
        turn_detection=detection,
        instructions=request.instructions,
        language=tag if len(tag) == 2 else "",
        tools=request.tools,
        history=request.history,
        interrupts=config.interrupt_response_on_input_audio is not False,
        noise_reduction=None if config.noise_reduction == "off" else config.noise_reduction,
        speed=config.speed,
        reasoning_effort=config.reasoning_effort if reasons(config.model) else None,
        max_output_tokens=config.max_output_tokens,
        tracing=tracing,
        sip=sip,
        attached=attached,
    )


def own_problems(settings: VoiceSettings) -> list[str]:
    """What OpenAI is known to refuse, or to take and then break the call: each with the name of the field."""
    found = []
    if not is_voice(settings.voice):
        found.append(
            f"session.audio.output.voice: expected one of {', '.join(VOICES)}, or the id of an own voice, "
            f"found {settings.voice!r:.40}"
        )
    seen: set[str] = set()
    for at, tool in enumerate(settings.tools):
        if not _TOOL_NAME.fullmatch(tool.name):
            found.append(
                f"session.tools[{at}].name: expected at most 64 letters, digits, _ and -, found {tool.name!r:.80}"
            )
        if tool.name in seen:
            found.append(f"session.tools[{at}].name: there are two tools called {tool.name:.64}")
        seen.add(tool.name)
        if not isinstance(tool.parameters, dict) or tool.parameters.get("type") != "object":
            found.append(f'session.tools[{at}].parameters: expected a JSON Schema with "type": "object"')
    return found


def require_sound(settings: VoiceSettings) -> None:
    """Raises `VendorRejected`, naming the field, where OpenAI would not take these settings."""
    if problems := own_problems(settings):
        raise VendorRejected(
            f"the speech model cannot be set up like this: {'; '.join(problems)}",
            vendor=VENDOR,
            operation="set up speech",
        )


def detection(settings: VoiceSettings, *, attends: bool) -> dict[str, Any]:
    """Turn detection as a whole object: a part of one may be taken for a whole one."""
    return {
        **settings.turn_detection,
        "create_response": attends,
        "interrupt_response": attends and settings.interrupts,
    }


def full_session(settings: VoiceSettings, *, attends: bool = True, first: bool = True) -> dict[str, Any]:
    """The session with everything that is asked for.

    Args:
        settings: What is asked for.
        attends: Whether the caller's speech is answered.
        first: Whether nothing was said or set up yet: later neither the voice nor the tracing can be named again.
    """
    session = least_session(settings, attends=attends, first=first)
    heard, spoken = session["audio"]["input"], session["audio"].setdefault("output", {})
    if settings.noise_reduction:
        heard["noise_reduction"] = {"type": settings.noise_reduction}
    if settings.speed is not None:
        spoken["speed"] = settings.speed
    if not settings.sip:
        heard["format"] = dict(FORMAT)
        spoken["format"] = dict(FORMAT)
    if first and not settings.sip:  # on a SIP line it was named when the call was taken
        session["tracing"] = settings.tracing
    session["max_output_tokens"] = settings.max_output_tokens
    session["reasoning"] = {"effort": settings.reasoning_effort} if settings.reasoning_effort else None
    if not spoken:
        del session["audio"]["output"]
    return _sent(session)


def least_session(settings: VoiceSettings, *, attends: bool = True, first: bool = True) -> dict[str, Any]:
    """The session with what a call cannot do without, and nothing that only some models take."""
    audio: dict[str, Any] = {
        "input": {
            "transcription": {
                "model": settings.transcription_model,
                "language": settings.language or None,
            },
            "turn_detection": detection(settings, attends=attends),
        }
    }
    if first:
        audio["output"] = {"voice": _voice(settings.voice)}
    session = {
        "type": "realtime",
        "instructions": settings.instructions,
        "output_modalities": ["audio"],
        "audio": audio,
        "tools": [_tool(tool) for tool in settings.tools],
        "tool_choice": "auto" if settings.tools else None,
    }
    return _sent(session)


def voice_alone(settings: VoiceSettings) -> dict[str, Any]:
    """The voice in its place in a session, to be looked for in an echo."""
    return {"audio": {"output": {"voice": _voice(settings.voice)}}}


def attention(settings: VoiceSettings, *, attends: bool) -> dict[str, Any]:
    """The patch that lets the caller's speech be answered, or not."""
    heard = {"turn_detection": detection(settings, attends=attends)}
    return {"type": "realtime", "audio": {"input": heard}}


def accept_body(settings: VoiceSettings, *, attends: bool = True) -> dict[str, Any]:
    """The body that takes a SIP call. Raises `VendorRejected` where OpenAI would not take it."""
    require_sound(settings)
    return accept_tree(settings, attends=attends)


def accept_tree(settings: VoiceSettings, *, attends: bool = True) -> dict[str, Any]:
    """The same, unchecked: as little as possible, because a wrong body is answered with 200 all the same."""
    return _sent(
        {
            "type": "realtime",
            "model": settings.model,
            "instructions": settings.instructions,
            "audio": {
                "input": {"turn_detection": detection(settings, attends=attends)},
                "output": {"voice": _voice(settings.voice)},
            },
            "tools": [_tool(tool) for tool in settings.tools] or None,
            "tracing": settings.tracing,
        }
    )


def reply(settings: VoiceSettings, name: str, *, text: str | None = None) -> dict[str, Any]:
    """What a reply is asked for with, under `response`.

    Args:
        settings: Those of the session; the voice is named again.
        name: Our own name for it, which comes back with the reply.
        text: What is to be said word for word; None for an answer of the model's own.
    """
    output: dict[str, Any] = {"voice": _voice(settings.voice)}
    if not settings.sip:
        output["format"] = dict(FORMAT)
    asked: dict[str, Any] = {"audio": {"output": output}, "metadata": {ASKED_KEY: name}}
    if text is not None:
        quoted = text.replace('"', "'")
        asked["instructions"] = f'Say exactly this, word for word, and nothing else: "{quoted}"'
        asked["tool_choice"] = "none"
    return asked


def caller_message(text: str) -> dict[str, Any]:
    """A conversation item: what the caller has said or pressed."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def past(history: tuple[Line, ...]) -> list[dict[str, Any]]:
    """Conversation items for what was said before, oldest first."""
    return [
        caller_message(line.text)
        if line.speaker == "caller"
        else {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": line.text}],
        }
        for line in history
        if line.text.strip()
    ]


def tool_result(call: str, output: str) -> dict[str, Any]:
    """A conversation item: what a function gave."""
    return {"type": "function_call_output", "call_id": call, "output": output}


def unconfirmed(asked: Mapping[str, Any], echo: Any) -> str:
    """What of a session that was asked for OpenAI's echo does not grant, in words; empty when all is as asked.

    What is asked for of the voice, the tools, the formats and the turn detection must be in the echo. Other fields
    change nothing that a caller would notice at once.
    """
    got = echo if isinstance(echo, Mapping) else {}
    if got.get("type") not in (None, "realtime"):
        return f"session.type is {got['type']!r:.60}, not 'realtime'"
    for path in _NEEDED:
        wanted, found = _at(asked, path), _at(got, path)
        if wanted is not None and not _same(wanted, found):
            return f"session.{path} is {found!r:.60}, not {wanted!r:.60}"
    if "tools" in asked:
        names = sorted(tool["name"] for tool in asked["tools"])
        found_tools = got.get("tools")
        given = found_tools if isinstance(found_tools, list) else []
        found_names = sorted(str(tool.get("name")) for tool in given if isinstance(tool, Mapping))
        if names != found_names:
            return f"session.tools are {', '.join(found_names)[:200] or 'none'}, not {', '.join(names) or 'none'}"
    return ""


def formats(echo: Any) -> tuple[str, ...]:
    """The audio formats in an echo, as far as it names them: of what is heard, and of what is said."""
    found = (_at(echo, f"audio.{side}.format.type") for side in ("input", "output"))
    return tuple(each for each in found if isinstance(each, str))


_NEEDED: Final = (
    "audio.output.voice",
    "audio.input.format.type",
    "audio.output.format.type",
    "audio.input.turn_detection.type",
    "audio.input.turn_detection.create_response",
    "audio.input.turn_detection.interrupt_response",
)


def _sent(tree: dict[str, Any]) -> dict[str, Any]:
    # Turn detection, the only part in which null has a meaning, is never off here.
    clean: dict[str, Any] = without_nulls(tree)
    return clean


def _voice(name: str) -> Any:
    return {"id": name} if name.startswith(CUSTOM_VOICE) else name


def _tool(tool: ModelTool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }


def _at(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        wanted = wanted.get("id")
    if isinstance(found, Mapping):
        found = found.get("id")
    return bool(wanted == found)
