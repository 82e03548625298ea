"""Settings of Gemini Live."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from openclaw_voicecall.config.sections_openclaw import GoogleRealtimeKeys, Milliseconds
from openclaw_voicecall.providers._models import Retirement, retirement_notice

SECTION: Final = "realtime.providers.google"
DEFAULT_MODEL: Final = "gemini-3.8-live"
DEFAULT_VOICE: Final = "Kore"
SESSION_LIMIT: Final = 600.0
"""Seconds: Google ends a connection after about 10 minutes, and a session without compression after 15
(ai.google.dev, "Session management with Live API"). A connection is not resumed here, so the shorter one counts."""

Name = Annotated[str, Field(min_length=1)]
Sensitivity = Literal[
    "high",
    "low",
    "START_SENSITIVITY_HIGH",
    "START_SENSITIVITY_LOW",
    "END_SENSITIVITY_HIGH",
    "END_SENSITIVITY_LOW",
]

_GENERATION: Final = re.compile(r"gemini-(?:live-)?(\d+)")
_RETIREMENTS: Final = {
    model: Retirement(on=date(2025, 12, 9), replacement=DEFAULT_MODEL, vendor="Google")
    for model in ("gemini-live-2.5-flash-preview", "gemini-2.0-flash-live-001")
}


class GoogleRealtimeConfig(GoogleRealtimeKeys):
    """Google Gemini Live.

    `apiKey` is needed; it is also read from `GEMINI_API_KEY` or `GOOGLE_API_KEY`. Gemini hears 16 kHz and speaks
    24 kHz, so the phone line's audio is converted on the way.
    """

    model: Name = DEFAULT_MODEL
    """Name of the model, with or without `models/` before it."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """How freely the model speaks, 0 to 2; unset leaves it to Google."""
    silence_duration_ms: Milliseconds | None = None
    """Silence after which Google ends the caller's turn, ms; unset leaves it to Google."""
    start_sensitivity: Sensitivity | None = None
    """How readily sound counts as the start of speech: `high` or `low`."""
    end_sensitivity: Sensitivity | None = None
    """How readily a pause counts as its end: `high` or `low`."""

    @property
    def voice_name(self) -> str:
        """Name of the voice: `voice`, else `speakerVoice`, else the default."""
        return self.voice or self.speaker_voice or DEFAULT_VOICE


def takes_turns_of_text(model: str) -> bool:
    """Whether text goes to the model as `clientContent` in the middle of a talk.

    From Gemini 3 on that is refused with 1007, and text is `realtimeInput.text` (ai.google.dev, "Live API
    capabilities", comparison of models).
    """
    found = _GENERATION.search(model)
    return found is not None and int(found[1]) < 3


def notices(config: GoogleRealtimeConfig) -> Sequence[str]:
    """What is old or odd in the settings, a sentence each."""
    found = []
    model = config.model.removeprefix("models/")
    if retirement := retirement_notice(model, _RETIREMENTS):
        found.append(retirement)
    elif takes_turns_of_text(model):
        found.append(f"the model {model} of Google is deprecated; use {DEFAULT_MODEL}")
    if config.voice and config.speaker_voice and config.voice != config.speaker_voice:
        found.append(f"{SECTION}.speakerVoice has no effect: voice is set, too")
    return found
