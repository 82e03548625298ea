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
    """Silence after which the vendor ends a turn, ms."""
    language: str | None = None
    """Language of the talk, where it is not the common `language`."""
    encoding: str | None = None
    """Form of the audio that the vendor is sent."""
    sample_rate: int | None = None
    """Samples per second of the audio that the vendor is sent, Hz."""
    interim_results: bool | None = None
    """Report words before they are final."""


class DeepgramTranscriberKeys(XaiTranscriberKeys):
    """Deepgram streaming transcription."""


class ElevenLabsTranscriberKeys(CamelModel):
    """ElevenLabs Scribe realtime transcription."""

    api_key: SecretStr | None = None
    """Key of the account."""
    base_url: str | None = None
    """Another address of the vendor's API."""
    model_id: str | None = None
    """Name of the vendor's model."""
    language_code: str | None = None
    """Language of the talk, as an ISO 639 code."""
    audio_format: str | None = None
    """Form of the audio that the vendor is sent."""
    sample_rate: int | None = None
    """Samples per second of the audio that the vendor is sent, Hz."""
    commit_strategy: Literal["manual", "vad"] | None = None
    """Who decides that an utterance is over: the vendor (`vad`) or we (`manual`)."""
    vad_silence_threshold_secs: float | None = None
    """Silence after which ElevenLabs ends an utterance, seconds."""
    vad_threshold: UnitInterval | None = None
    """Loudness that counts as speech, 0 to 1; higher needs louder speech."""
    min_speech_duration_ms: Milliseconds | None = None
    """Shorter sounds are no speech, ms."""
    min_silence_duration_ms: Milliseconds | None = None
    """Shorter pauses end no utterance, ms."""


class MistralTranscriberKeys(VendorKeys):
    """Mistral realtime transcription."""

    encoding: str | None = None
    """Form of the audio that the vendor is sent."""
    sample_rate: int | None = None
    """Samples per second of the audio that the vendor is sent, Hz."""
    target_streaming_delay_ms: Milliseconds | None = None
    """How far text may lag behind speech, ms; more is more exact."""


class ElevenLabsVoiceKeys(CamelModel):
    """Fine tuning of an ElevenLabs voice."""

    stability: UnitInterval | None = None
    """How even the voice is, 0 to 1."""
    similarity_boost: UnitInterval | None = None
    """How close it keeps to the original, 0 to 1."""
    style: UnitInterval | None = None
    """How much it exaggerates, 0 to 1."""
    use_speaker_boost: bool | None = None
    """Spend time on being closer to the original."""
    speed: Annotated[float, Field(ge=0.5, le=2)] | None = None
    """Pace of the speech; 1 is natural."""


class ElevenLabsSynthesizerKeys(CamelModel):
    """ElevenLabs speech."""

    api_key: SecretStr | None = None
    """Key of the account."""
    base_url: str | None = None
    """Another address of the vendor's API."""
    speaker_voice_id: str | None = None
    """Id of the voice."""
    model_id: str | None = None
    """Name of the vendor's model."""
    seed: Annotated[int, Field(ge=0, le=4294967295)] | None = None
    """The same seed and text give the same audio."""
    language_code: str | None = None
    """Language of the talk, as an ISO 639 code."""
    apply_text_normalization: Literal["auto", "on", "off"] | None = None
    """Whether the vendor spells out numbers and the like."""
    voice_settings: ElevenLabsVoiceKeys | None = None
    """Fine tuning of the voice."""


class SpeakerKeys(VendorKeys):
    """A vendor whose voices have names."""

    speaker_voice: str | None = None
    """Name of the voice."""


class OpenAISynthesizerKeys(SpeakerKeys):
    """OpenAI speech."""

    speed: float | None = None
    """Pace of the speech; 1 is natural."""
    instructions: str | None = None
    """How to speak."""


class EdgeSynthesizerKeys(CamelModel):
    """Microsoft Edge speech; makes no telephone audio, in OpenClaw neither."""

    enabled: bool | None = None
    """Whether it is used at all."""
    voice: str | None = None
    """Name of the voice."""
    lang: str | None = None
    """Language of the voice."""
    output_format: str | None = None
    """Form of the audio."""
    pitch: str | None = None
    """Change of pitch, such as `+10%`."""
    rate: str | None = None
    """Change of pace, such as `+10%`."""
    volume: str | None = None
    """Change of loudness, such as `+10%`."""
    save_subtitles: bool | None = None
    """Write subtitles beside the audio."""
    proxy: SecretStr | None = None
    """May hold a password, so it is kept like one."""
    timeout_ms: Milliseconds | None = None
    """How long an utterance may take, ms."""


class CommandSynthesizerKeys(CamelModel):
    """Speech by a command on this machine."""

    command: Annotated[str, Field(min_length=1)] | None = None
    """Program that writes speech to its standard output."""
    args: tuple[str, ...] | None = None
    """Its arguments."""
    sample_rate: Annotated[int, Field(ge=1)] | None = None
    """Hz of the command's audio."""


class OpenAIRealtimeKeys(VendorKeys):
    """OpenAI speech-to-speech."""

    voice: str | None = None
    """Name of the voice."""
    speaker_voice: str | None = None
    """Name of the voice."""
    temperature: float | None = None
    """How freely the model speaks."""
    vad_threshold: UnitInterval | None = None
    """Loudness that counts as speech, 0 to 1; higher needs louder speech."""
    silence_duration_ms: Milliseconds | None = None
    """Silence after which the vendor ends a turn, ms."""
    prefix_padding_ms: Milliseconds | None = None
    """Audio kept from before the start of speech, ms."""
    interrupt_response_on_input_audio: bool | None = None
    """Whether the caller may speak over the model."""
    min_barge_in_audio_end_ms: Milliseconds | None = None
    """The model is heard for at least this long before the caller may interrupt it, ms."""
    reasoning_effort: str | None = None
    """How long the model thinks before it speaks."""
    azure_endpoint: str | None = None
    """Address of an Azure resource to use instead."""
    azure_deployment: str | None = None
    """Deployment of that resource."""
    azure_api_version: str | None = None
    """API version of that resource."""


class GoogleRealtimeKeys(VendorKeys):
    """Google Gemini Live speech-to-speech."""

    voice: str | None = None
    """Name of the voice."""
    speaker_voice: str | None = None
    """Name of the voice."""
    temperature: float | None = None
    """How freely the model speaks."""
    silence_duration_ms: Milliseconds | None = None
    """Silence after which the vendor ends a turn, ms."""
    start_sensitivity: Any = None
    """How readily sound counts as the start of speech."""
    end_sensitivity: Any = None
    """How readily a pause counts as its end."""


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
