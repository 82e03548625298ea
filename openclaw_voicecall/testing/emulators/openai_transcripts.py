"""What OpenAI's Realtime API tells of an utterance: the item, its transcript in pieces, and what it cost. Pure.

Events are those of the OpenAI SDK, `types/realtime/conversation_item_input_audio_transcription_*_event`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openclaw_voicecall.testing.emulators.openai_sessions import HINTED_MODELS
from openclaw_voicecall.testing.emulators.serving import Fault

PREFIX = "conversation.item.input_audio_transcription"


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is to be transcribed, and how."""

    item_id: str
    audio: bytes
    """Mu-law, 8000 Hz."""
    words: str | None
    """Its words if they are known already."""
    settings: Mapping[str, Any]
    """`audio.input.transcription` at the time of the commit."""
    logprobs: bool = False
    """Whether the session includes log probabilities."""
    fault: Fault | None = None

    @property
    def model(self) -> str:
        """Who transcribes."""
        return str(self.settings["model"])

    @property
    def language(self) -> str:
        """The language that is taken for detected."""
        return str(self.settings.get("language") or self.settings.get("languages", ["en"])[0])


def item_of(item_id: str) -> dict[str, Any]:
    """The conversation item that a commit makes; it has no transcript yet."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }


def transcript_events(utterance: Utterance, text: str) -> list[tuple[str, dict[str, Any]]]:
    """The deltas and the completed transcript of an utterance, or its failure: names of events with their fields."""
    place = {"item_id": utterance.item_id, "content_index": 0}
    fault = utterance.fault.name if utterance.fault else ""
    if utterance.fault and fault == "failed-item":
        options = utterance.fault.options
        error = {
            "type": "transcription_error",
            "code": options.get("code", "audio_unintelligible"),
            "message": options.get("message", "The audio could not be transcribed."),
            "param": None,
        }
        return [(f"{PREFIX}.failed", {**place, "error": error})]
    if fault == "empty-transcript":
        text = ""
    # The oldest model tells all at once, the others word by word.
    pieces = [text] * bool(text) if utterance.model == "whisper-1" else re.findall(r"\s*\S+", text)
    deltas = [
        (f"{PREFIX}.delta", {**place, "delta": piece, **_logprobs(utterance, [piece])})
        for piece in pieces
        if fault != "drop-deltas"
    ]
    whole = {**place, "transcript": text, "usage": _usage(utterance, text), **_logprobs(utterance, pieces)}
    if utterance.model in HINTED_MODELS:
        whole["languages"] = [{"code": utterance.language}] if text else []
    return [*deltas, (f"{PREFIX}.completed", whole)]


def _usage(utterance: Utterance, text: str) -> dict[str, Any]:
    """What is billed: whole seconds for the whisper models, tokens for the others."""
    seconds = len(utterance.audio) / 8000
    if utterance.model in ("whisper-1", "gpt-realtime-whisper"):
        return {"type": "duration", "seconds": math.ceil(seconds)}
    heard, said = math.ceil(seconds * 10), len(text.split())
    return {
        "type": "tokens",
        "total_tokens": heard + said,
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": said,
    }


def _logprobs(utterance: Utterance, pieces: list[str]) -> dict[str, Any]:
    if not utterance.logprobs:
        return {}
    return {
        "logprobs": [{"token": piece, "logprob": -0.01, "bytes": list(piece.encode())} for piece in pieces]
    }
