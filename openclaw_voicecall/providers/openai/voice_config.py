"""Settings of OpenAI's speech-to-speech models. Importing this module loads no SDK."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import wrong
from openclaw_voicecall.config.sections_openclaw import Milliseconds, OpenAIRealtimeKeys, UnitInterval
from openclaw_voicecall.providers._models import retirement_notice
from openclaw_voicecall.providers.openai.config import Name
from openclaw_voicecall.providers.openai.live_settings import DEFAULT_DELEGATE, is_live
from openclaw_voicecall.providers.openai.live_settings import DEFAULT_VOICE as DEFAULT_LIVE_VOICE
from openclaw_voicecall.providers.openai.models import (
    CUSTOM_VOICE,
    DEFAULT_TRANSCRIBER,
    DEFAULT_VOICE,
    DEFAULT_VOICE_MODEL,
    TRANSCRIBER_RETIREMENTS,
    VOICE_MODEL_RETIREMENTS,
    VOICES,
    reasons,
)


def is_voice(name: str) -> bool:
    """Whether a speech-to-speech model can have this voice."""
    return name in VOICES or (name.startswith(CUSTOM_VOICE) and len(name) > len(CUSTOM_VOICE))


class OpenAITracingConfig(CamelModel):
    """Traces in OpenAI's dashboard; the group of a trace is the call's id."""

    workflow_name: Name = "phone"
    """Name of the workflow there."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """What else a trace is marked with."""


class OpenAIVoiceConfig(OpenAIRealtimeKeys):
    """OpenAI speech-to-speech.

    `apiKey` is needed; it is also read from `OPENAI_API_KEY`. The language is that of the call.
    """

    model: Name = DEFAULT_VOICE_MODEL
    """Name of the model; `gpt-live-...` for GPT-Live, which listens while it speaks."""
    function_model: Name = DEFAULT_DELEGATE
    """Model that calls functions for GPT-Live, at a price of its own."""
    voice: Name | None = None
    """Name of the voice: alloy, ash, ballad, coral, echo, sage, shimmer, verse, marin or cedar, or the id of an own
    one, `voice_...`. marin, if neither this nor `speakerVoice` is set. GPT-Live has voices of its own, first of all
    willow."""
    speaker_voice: Name | None = None
    """Another name for `voice`."""
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None
    """Pace of the speech; 1 is natural."""
    turn_detection: Literal["server_vad", "semantic_vad"] = "server_vad"
    """How the end of the caller's turn is found: by silence, or by a model that also listens to what is said."""
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    """How soon `semantic_vad` takes a turn for over: it waits 8, 4 or 2 s at most; `auto` is `medium`."""
    silence_duration_ms: Milliseconds = 500
    """Silence after which `server_vad` ends a turn, ms."""
    vad_threshold: UnitInterval = 0.5
    """Loudness that counts as speech for `server_vad`, 0 to 1; higher needs louder speech."""
    prefix_padding_ms: Milliseconds = 300
    """Audio kept from before the start of speech by `server_vad`, ms."""
    noise_reduction: Literal["near_field", "far_field", "off"] | None = None
    """`near_field` for a handset or headset, `far_field` for a loudspeaker phone; OpenAI reduces none by itself."""
    transcription_model: Name = DEFAULT_TRANSCRIBER
    """Model that writes down what the caller says. The speech model does not need it, the record does."""
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    """How long the model thinks before it speaks; only for models that reason, such as gpt-realtime-2.1."""
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    """Longest reply, tokens, with its tool calls; 1 to 4096 or `inf`."""
    tracing: OpenAITracingConfig | None = None
    """Traces in OpenAI's dashboard; none, if not set."""

    @model_validator(mode="after")
    def _check_voices(self) -> Self:
        if self.voice and self.speaker_voice and self.voice != self.speaker_voice:
            raise wrong("expected one voice, found two: voice and speakerVoice are the same setting")
        if not is_live(self.model) and not is_voice(self.voice_name):
            raise wrong(
                f"voice: expected one of {', '.join(VOICES)}, or the id of an own voice, such as voice_1234"
            )
        return self

    @property
    def voice_name(self) -> str:
        """The voice in force."""
        default = DEFAULT_LIVE_VOICE if is_live(self.model) else DEFAULT_VOICE
        return self.voice or self.speaker_voice or default


_SERVER_VAD_ONLY = ("silence_duration_ms", "vad_threshold", "prefix_padding_ms")


def voice_notices(config: OpenAIVoiceConfig) -> list[str]:
    """What the owner should know about these settings, a sentence each."""
    given = config.model_fields_set
    notices = [
        notice
        for notice in (
            retirement_notice(config.model, VOICE_MODEL_RETIREMENTS),
            retirement_notice(config.transcription_model, TRANSCRIBER_RETIREMENTS),
        )
        if notice
    ]
    if config.temperature is not None:
        notices.append("OpenAI's speech-to-speech models take no temperature any more; it is not sent")
    if config.reasoning_effort is not None and not reasons(config.model):
        notices.append(f"the model {config.model} of OpenAI takes no reasoningEffort; it is not sent")
    if config.turn_detection == "semantic_vad":
        notices += [
            f"turnDetection semantic_vad of OpenAI takes no {type(config).model_fields[name].alias or name}"
            for name in _SERVER_VAD_ONLY
            if name in given
        ]
    elif config.eagerness is not None:
        notices.append("eagerness is for turnDetection semantic_vad of OpenAI; it is not sent")
    if config.azure_endpoint or config.azure_deployment or config.azure_api_version:
        notices.append("speech-to-speech over Azure is not supported; the azure settings have no effect")
    return notices
