"""What is known against models and voices of ElevenLabs."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from openclaw_voicecall.providers._models import Retirement, retirement_notice

DEFAULT_SPEECH_MODEL: Final = "eleven_flash_v2_5"
"""The fastest one: about 75 ms to the first audio, without the network (ElevenLabs docs, "Models")."""
DEFAULT_SCRIBE_MODEL: Final = "scribe_v2_realtime"
DEFAULT_VOICE: Final = "JBFqnCBsd6RMkjVDRZzb"
"""George, the voice of the examples in ElevenLabs' API reference."""
DEFAULT_VOICES_END: Final = date(2026, 12, 31)
"""ElevenLabs takes its default voices away then; accounts made since March 2026 never had them (ElevenLabs help, "What
are Default voices?")."""

RETIRED: Final[Mapping[str, Retirement]] = {
    "scribe_v1": Retirement(date(2026, 7, 9), DEFAULT_SCRIBE_MODEL, "ElevenLabs"),
    "scribe_v1_experimental": Retirement(date(2026, 7, 9), DEFAULT_SCRIBE_MODEL, "ElevenLabs"),
}
_GONE: Final[Mapping[str, str]] = {
    "eleven_monolingual_v1": "eleven_flash_v2",
    "eleven_multilingual_v1": DEFAULT_SPEECH_MODEL,
}
"""Refused by the vendor with `unsupported_model`; it named no day."""
_OUTDONE: Final[Mapping[str, str]] = {
    "eleven_turbo_v2_5": DEFAULT_SPEECH_MODEL,
    "eleven_turbo_v2": "eleven_flash_v2",
}
"""The vendor calls these "functionally equivalent" to a faster one, and recommends that one in all cases."""


def speech_model_notice(model: str) -> str | None:
    """A sentence about a speech model that is old; None when nothing is known against it."""
    if model in _GONE:
        return f"the model {model} of ElevenLabs is no longer available; use {_GONE[model]}"
    if model in _OUTDONE:
        return f"the model {model} of ElevenLabs is an older one; {_OUTDONE[model]} sounds the same and is faster"
    return retirement_notice(model, RETIRED)


def scribe_model_notice(model: str) -> str | None:
    """A sentence about a transcription model that is old, or that cannot transcribe a running call."""
    if notice := retirement_notice(model, RETIRED):
        return notice
    if model.startswith("scribe") and "realtime" not in model:
        return f"the model {model} of ElevenLabs transcribes files, not calls; use {DEFAULT_SCRIBE_MODEL}"
    return None


def takes_language(model: str) -> bool:
    """Whether a language may be enforced: the 2.5 models follow it, older multilingual ones refuse it."""
    return model.endswith("_v2_5")


def streams_text(model: str) -> bool:
    """Whether the model can be spoken over the text-to-speech WebSockets; the third generation cannot."""
    return not model.startswith("eleven_v3")
