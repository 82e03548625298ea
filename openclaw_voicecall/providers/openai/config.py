"""Settings of OpenAI's transcriber and synthesizer. Importing this module loads no SDK."""

from typing import Annotated, Literal

from pydantic import Field

from openclaw_voicecall.config.sections_openclaw import (
    Milliseconds,
    OpenAISynthesizerKeys,
    OpenAITranscriberKeys,
    UnitInterval,
)
from openclaw_voicecall.providers._models import retirement_notice
from openclaw_voicecall.providers.openai.models import (
    DEFAULT_SYNTHESIZER,
    DEFAULT_TRANSCRIBER,
    SYNTHESIZER_RETIREMENTS,
    TRANSCRIBER_RETIREMENTS,
    has_server_vad,
    takes_instructions,
)

Name = Annotated[str, Field(min_length=1)]


class OpenAITranscriberConfig(OpenAITranscriberKeys):
    """OpenAI realtime transcription.

    `apiKey` is needed; it is also read from `OPENAI_API_KEY`. The language is that of the call.
    """

    model: Name = DEFAULT_TRANSCRIBER
    """Name of the transcription model. `gpt-live-transcribe` and `gpt-realtime-whisper` detect no turns; the turn
    detector does it for them."""
    silence_duration_ms: Annotated[int, Field(ge=1)] = 500
    """Silence after which OpenAI ends a turn, ms: as long as `endpointing.silenceMs`, where OpenClaw waits 800. Where
    answers are begun early (`endpointing.speculate`) it transcribes after 300 already, and the turn ends after this all
    the same. Only for models that detect turns."""
    vad_threshold: UnitInterval = 0.5
    """Loudness that counts as speech, 0 to 1; higher needs louder speech. Only for models that detect turns."""
    prefix_padding_ms: Milliseconds = 300
    """Audio kept from before the start of speech, ms. Only for models that detect turns."""
    noise_reduction: Literal["near_field", "far_field", "off"] | None = None
    """`near_field` for a handset or headset, `far_field` for a loudspeaker phone; unset leaves it to OpenAI."""


class OpenAISynthesizerConfig(OpenAISynthesizerKeys):
    """OpenAI speech.

    `apiKey` is needed; it is also read from `OPENAI_API_KEY`.
    """

    model: Name = DEFAULT_SYNTHESIZER
    """Name of the speech model."""
    speaker_voice: Name = "coral"
    """Name of the voice: alloy, ash, ballad, coral, echo, fable, onyx, nova, sage, shimmer, verse, marin, cedar."""
    speed: Annotated[float, Field(ge=0.25, le=4.0)] | None = None
    """Pace of the speech; 1 is natural."""


def transcriber_notices(config: OpenAITranscriberConfig) -> list[str]:
    """What the owner should know about these settings, a sentence each."""
    notices = []
    if retirement := retirement_notice(config.model, TRANSCRIBER_RETIREMENTS):
        notices.append(retirement)
    if not has_server_vad(config.model):
        notices.append(
            f"the model {config.model} of OpenAI detects no turns; the turn detector (turnDetection.provider) "
            "decides when the caller is done"
        )
        unused = sorted(
            config.model_fields_set & {"silence_duration_ms", "vad_threshold", "prefix_padding_ms"}
        )
        if unused:
            names = ", ".join(type(config).model_fields[name].alias or name for name in unused)
            notices.append(f"the model {config.model} of OpenAI takes no {names}")
    return notices


def synthesizer_notices(config: OpenAISynthesizerConfig) -> list[str]:
    """What the owner should know about these settings, a sentence each."""
    notices = []
    if retirement := retirement_notice(config.model, SYNTHESIZER_RETIREMENTS):
        notices.append(retirement)
    if config.instructions and not takes_instructions(config.model):
        notices.append(f"the model {config.model} of OpenAI takes no instructions; they are not sent")
    return notices
