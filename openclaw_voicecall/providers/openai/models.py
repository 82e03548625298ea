"""What is known of OpenAI's models: which hear turns themselves, and which will be gone.

Source of dates and options: the OpenAI SDK, `types/realtime/audio_transcription_param.py` and
`types/audio/speech_model.py` (announced shutdown dates), `types/realtime/realtime_session_create_request_param.py`
(speech-to-speech models), and `types/realtime/realtime_transcription_session_*`
(models whose `turn_detection` must be null).
"""

from datetime import date
from typing import Final

from openclaw_voicecall.providers._models import Retirement

DEFAULT_TRANSCRIBER: Final = "gpt-transcribe"
"""The one model that detects turns and has no end date: `gpt-4o-transcribe` and `whisper-1` end on 2027-02-26, and the
other current ones detect none. That this one does is known from other clients, not from OpenAI's reference; should a
session not grant it, the set-up fails and the fallback listens."""
DEFAULT_SYNTHESIZER: Final = "gpt-4o-mini-tts"
"""All speech models have an end date; this is the one of the newest family."""

DEFAULT_VOICE_MODEL: Final = "gpt-realtime-2.1"
DEFAULT_VOICE: Final = "marin"
"""OpenAI recommends it, and `cedar`, for best quality."""
VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
"""Voices of speech-to-speech models (OpenAI SDK, `types/realtime/realtime_audio_config_output_param.py`)."""
CUSTOM_VOICE: Final = "voice_"
"""How the id of an account's own voice begins."""

_WITHOUT_SERVER_VAD: Final = ("gpt-live-transcribe", "gpt-realtime-whisper")

_END_OF_TRANSCRIBERS: Final = date(2027, 2, 26)
_END_OF_SPEECH: Final = date(2027, 1, 6)
_END_OF_PREVIEWS: Final = date(2026, 5, 7)
_END_OF_FIRST_VOICES: Final = date(2027, 1, 20)

TRANSCRIBER_RETIREMENTS: Final = {
    model: Retirement(on=_END_OF_TRANSCRIBERS, replacement=DEFAULT_TRANSCRIBER, vendor="OpenAI")
    for model in (
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
    )
}
SYNTHESIZER_RETIREMENTS: Final = {
    model: Retirement(
        on=_END_OF_SPEECH,
        replacement="another vendor (tts.provider), because OpenAI has named no speech model to follow it",
        vendor="OpenAI",
    )
    for model in ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
}
VOICE_MODEL_RETIREMENTS: Final = {
    model: Retirement(
        on=on,
        replacement=f"{DEFAULT_VOICE_MODEL}-mini" if "-mini" in model else DEFAULT_VOICE_MODEL,
        vendor="OpenAI",
    )
    for on, models in (
        (
            _END_OF_PREVIEWS,
            (
                "gpt-4o-realtime-preview",
                "gpt-4o-realtime-preview-2024-10-01",
                "gpt-4o-realtime-preview-2024-12-17",
                "gpt-4o-realtime-preview-2025-06-03",
                "gpt-4o-mini-realtime-preview",
                "gpt-4o-mini-realtime-preview-2024-12-17",
            ),
        ),
        (
            _END_OF_FIRST_VOICES,
            (
                "gpt-realtime",
                "gpt-realtime-2025-08-28",
                "gpt-realtime-mini",
                "gpt-realtime-mini-2025-10-06",
                "gpt-realtime-mini-2025-12-15",
            ),
        ),
    )
    for model in models
}


def has_server_vad(model: str) -> bool:
    """Whether OpenAI detects the turns of audio sent to this model; dated snapshots are like their model."""
    return not model.startswith(_WITHOUT_SERVER_VAD)


def takes_instructions(model: str) -> bool:
    """Whether a speech model can be told how to speak."""
    return not model.startswith("tts-1")


def reasons(model: str) -> bool:
    """Whether a speech-to-speech model can be told how long to think."""
    return model.startswith("gpt-realtime-2") and not model.startswith("gpt-realtime-2025")
