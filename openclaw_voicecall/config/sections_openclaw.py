"""Settings of vendors that OpenClaw's users have in their files.

A vendor whose plugin is registered brings its own model, and these give way. Where no plugin is registered the keys
are still known, so that the file loads and a typo in it is still found. A plugin may subclass them, so as not to
forget a key.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from openclaw_voicecall.config.base import CamelModel

UnitInterval = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[int, Field(ge=0)]


class TwilioKeys(CamelModel):
    """A Twilio account."""

    account_sid: str | None = None
    """Account SID, `AC...`. Filled from `TWILIO_ACCOUNT_SID`."""
    auth_token: SecretStr | None = None
    """Auth token; signs webhooks too. Filled from `TWILIO_AUTH_TOKEN`."""
    region: Literal["us1", "ie1", "au1"] | None = None
    """Twilio region that carries the calls."""


class TelnyxKeys(CamelModel):
    """A Telnyx account."""

    api_key: SecretStr | None = None
    """API v2 key. Filled from `TELNYX_API_KEY`."""
    connection_id: str | None = None
    """Id of the Call Control application. Filled from `TELNYX_CONNECTION_ID`."""
    public_key: SecretStr | None = None
    """Ed25519 key that webhooks are verified with. Filled from `TELNYX_PUBLIC_KEY`."""


class PlivoKeys(CamelModel):
    """A Plivo account."""

    auth_id: str | None = None
    """Auth id, `MA...`. Filled from `PLIVO_AUTH_ID`."""
    auth_token: SecretStr | None = None
    """Auth token; signs webhooks too. Filled from `PLIVO_AUTH_TOKEN`."""


class VendorKeys(CamelModel):
    """What every speech vendor takes."""

    api_key: SecretStr | None = None
    """Key of the account."""
    base_url: str | None = None
    """Another address of the vendor's API."""
    model: str | None = None
    """Name of the vendor's model."""


class OpenAITranscriberKeys(VendorKeys):
    """OpenAI realtime transcription."""

    silence_duration_ms: Annotated[int, Field(ge=1)] | None = None
    """Silence after which OpenAI ends a turn, ms."""
    vad_threshold: UnitInterval | None = None
    """Loudness that counts as speech, 0 to 1; higher needs louder speech."""


class XaiTranscriberKeys(VendorKeys):
    """xAI streaming transcription."""

    endpointing_ms: Milliseconds | None = None
    """Silence after which xAI ends a turn, ms."""
    language: str | None = None
    encoding: str | None = None
    sample_rate: int | None = None
    """Hz."""
    interim_results: bool | None = None


class DeepgramTranscriberKeys(XaiTranscriberKeys):
    """Deepgram streaming transcription."""


class ElevenLabsTranscriberKeys(CamelModel):
    """ElevenLabs Scribe realtime transcription."""

    api_key: SecretStr | None = None
    base_url: str | None = None
    model_id: str | None = None
    language_code: str | None = None
    audio_format: str | None = None
    sample_rate: int | None = None
    """Hz."""
    commit_strategy: Literal["manual", "vad"] | None = None
    vad_silence_threshold_secs: float | None = None
    vad_threshold: UnitInterval | None = None
    min_speech_duration_ms: Milliseconds | None = None
    min_silence_duration_ms: Milliseconds | None = None


class MistralTranscriberKeys(VendorKeys):
    """Mistral realtime transcription."""

    encoding: str | None = None
    sample_rate: int | None = None
    """Hz."""
    target_streaming_delay_ms: Milliseconds | None = None


class ElevenLabsVoiceKeys(CamelModel):
    """Fine tuning of an ElevenLabs voice."""

    stability: UnitInterval | None = None
    similarity_boost: UnitInterval | None = None
    style: UnitInterval | None = None
    use_speaker_boost: bool | None = None
    speed: Annotated[float, Field(ge=0.5, le=2)] | None = None


class ElevenLabsSynthesizerKeys(CamelModel):
    """ElevenLabs speech."""

    api_key: SecretStr | None = None
    base_url: str | None = None
    speaker_voice_id: str | None = None
    """Id of the voice."""
    model_id: str | None = None
    seed: Annotated[int, Field(ge=0, le=4294967295)] | None = None
    language_code: str | None = None
    apply_text_normalization: Literal["auto", "on", "off"] | None = None
    voice_settings: ElevenLabsVoiceKeys | None = None


class SpeakerKeys(VendorKeys):
    """A vendor whose voices have names."""

    speaker_voice: str | None = None
    """Name of the voice."""


class OpenAISynthesizerKeys(SpeakerKeys):
    """OpenAI speech."""

    speed: float | None = None
    instructions: str | None = None
    """How to speak."""


class EdgeSynthesizerKeys(CamelModel):
    """Microsoft Edge speech; makes no telephone audio, in OpenClaw neither."""

    enabled: bool | None = None
    voice: str | None = None
    lang: str | None = None
    output_format: str | None = None
    pitch: str | None = None
    rate: str | None = None
    volume: str | None = None
    save_subtitles: bool | None = None
    proxy: SecretStr | None = None
    """May hold a password, so it is kept like one."""
    timeout_ms: Milliseconds | None = None


class CommandSynthesizerKeys(CamelModel):
    """Speech by a command on this machine."""

    command: Annotated[str, Field(min_length=1)] | None = None
    args: tuple[str, ...] | None = None
    sample_rate: Annotated[int, Field(ge=1)] | None = None
    """Hz of the command's audio."""


class OpenAIRealtimeKeys(VendorKeys):
    """OpenAI speech-to-speech."""

    voice: str | None = None
    speaker_voice: str | None = None
    temperature: float | None = None
    vad_threshold: UnitInterval | None = None
    silence_duration_ms: Milliseconds | None = None
    prefix_padding_ms: Milliseconds | None = None
    interrupt_response_on_input_audio: bool | None = None
    min_barge_in_audio_end_ms: Milliseconds | None = None
    reasoning_effort: str | None = None
    azure_endpoint: str | None = None
    azure_deployment: str | None = None
    azure_api_version: str | None = None


class GoogleRealtimeKeys(VendorKeys):
    """Google Gemini Live speech-to-speech."""

    voice: str | None = None
    speaker_voice: str | None = None
    temperature: float | None = None
    silence_duration_ms: Milliseconds | None = None
    start_sensitivity: Any = None
    end_sensitivity: Any = None


KNOWN_CARRIERS: dict[str, type[CamelModel]] = {
    "twilio": TwilioKeys,
    "telnyx": TelnyxKeys,
    "plivo": PlivoKeys,
}
KNOWN_TRANSCRIBERS: dict[str, type[CamelModel]] = {
    "openai": OpenAITranscriberKeys,
    "xai": XaiTranscriberKeys,
    "deepgram": DeepgramTranscriberKeys,
    "elevenlabs": ElevenLabsTranscriberKeys,
    "mistral": MistralTranscriberKeys,
}
KNOWN_SYNTHESIZERS: dict[str, type[CamelModel]] = {
    "elevenlabs": ElevenLabsSynthesizerKeys,
    "openai": OpenAISynthesizerKeys,
    "google": SpeakerKeys,
    "xai": SpeakerKeys,
    "deepgram": SpeakerKeys,
    "mistral": SpeakerKeys,
    "edge": EdgeSynthesizerKeys,
    "cli": CommandSynthesizerKeys,
}
KNOWN_REALTIME_MODELS: dict[str, type[CamelModel]] = {
    "openai": OpenAIRealtimeKeys,
    "google": GoogleRealtimeKeys,
}
