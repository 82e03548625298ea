"""Settings of ElevenLabs' speech and of its transcriber, Scribe."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from openclaw_voicecall.config.fields import Words
from openclaw_voicecall.config.sections_openclaw import ElevenLabsSynthesizerKeys, ElevenLabsTranscriberKeys
from openclaw_voicecall.providers.elevenlabs.models import (
    DEFAULT_SCRIBE_MODEL,
    DEFAULT_SPEECH_MODEL,
    DEFAULT_VOICE,
    DEFAULT_VOICES_END,
    scribe_model_notice,
    speech_model_notice,
    streams_text,
    takes_language,
)

SPEECH_SETTINGS: Final = "tts.providers.elevenlabs"
SCRIBE_SETTINGS: Final = "streaming.providers.elevenlabs"
SLOWEST, FASTEST = 0.7, 1.2
"""Pace that ElevenLabs takes; other values are refused (SDK, types/realtime_voice_settings.py)."""

Threshold = Annotated[float, Field(ge=0.1, le=0.9)]
Span = Annotated[int, Field(ge=50, le=2000)]


class ElevenLabsSpeechConfig(ElevenLabsSynthesizerKeys):
    """ElevenLabs speech.

    `apiKey` is needed; it is also read from `ELEVENLABS_API_KEY` and `XI_API_KEY`.
    """

    transport: Literal["http", "websocket"] = "http"
    """How utterances reach ElevenLabs. A whole sentence is known before it is spoken, and for that case ElevenLabs
    itself calls plain HTTP the faster way: its WebSocket buffers for text that may still come. Connections are kept
    open either way. `websocket` is for networks that carry long-lived sockets better than requests."""

    @property
    def voice(self) -> str:
        """Id of the voice in use."""
        return self.speaker_voice_id or DEFAULT_VOICE

    @property
    def model(self) -> str:
        """Name of the model in use."""
        return self.model_id or DEFAULT_SPEECH_MODEL

    @property
    def uses_socket(self) -> bool:
        """Whether utterances go over a WebSocket."""
        return self.transport == "websocket" and streams_text(self.model)

    def language_for(self, language: str) -> str | None:
        """The language to enforce for a talk in `language`, a BCP 47 tag; None to leave it to the model."""
        if self.language_code or not takes_language(self.model):
            return self.language_code
        return language.partition("-")[0].lower() or None

    def voice_body(self) -> dict[str, float | bool]:
        """`voice_settings` as ElevenLabs spells them; empty where nothing is set."""
        if self.voice_settings is None:
            return {}
        body: dict[str, float | bool] = self.voice_settings.model_dump(exclude_none=True)
        if "speed" in body:
            body["speed"] = min(max(body["speed"], SLOWEST), FASTEST)
        return body


class ElevenLabsScribeConfig(ElevenLabsTranscriberKeys):
    """ElevenLabs Scribe realtime transcription.

    `apiKey` is needed; it is also read from `ELEVENLABS_API_KEY` and `XI_API_KEY`. Bounds are those of the vendor
    (SDK, realtime/scribe.py).
    """

    commit_strategy: Literal["manual", "vad"] = "manual"
    """Who decides that an utterance is over: the vendor (`vad`) or we (`manual`). Ours knows the talk, and is faster:
    the vendor's own waits for 1.5 s of silence unless `vadSilenceThresholdSecs` says otherwise."""
    vad_silence_threshold_secs: Annotated[float, Field(ge=0.3, le=3)] | None = None
    """Silence after which ElevenLabs ends an utterance, seconds. For `vad` only, as are the three below."""
    vad_threshold: Threshold | None = None
    """Loudness that counts as speech, 0.1 to 0.9; higher needs louder speech."""
    min_speech_duration_ms: Span | None = None
    """Shorter sounds are no speech, ms."""
    min_silence_duration_ms: Span | None = None
    """Shorter pauses end no utterance, ms."""
    language_code: Words | None = None
    """Language of the talk, as an ISO 639 code, where it is not the common `language`."""

    @property
    def model(self) -> str:
        """Name of the model in use."""
        return self.model_id or DEFAULT_SCRIBE_MODEL

    def query(self, language: str) -> dict[str, str]:
        """Query of the socket's address, for a talk in `language`, a BCP 47 tag."""
        query = {
            "model_id": self.model,
            "audio_format": "ulaw_8000",
            "commit_strategy": self.commit_strategy,
        }
        if code := self.language_code or language.partition("-")[0].lower():
            query["language_code"] = code
        if self.commit_strategy == "vad":
            tuning = {
                "vad_silence_threshold_secs": self.vad_silence_threshold_secs,
                "vad_threshold": self.vad_threshold,
                "min_speech_duration_ms": self.min_speech_duration_ms,
                "min_silence_duration_ms": self.min_silence_duration_ms,
            }
            query |= {name: f"{value:g}" for name, value in tuning.items() if value is not None}
        return query


def describe_speech(config: ElevenLabsSpeechConfig) -> str:
    """Such as `ElevenLabs eleven_flash_v2_5, voice 54noa…`."""
    return f"ElevenLabs {config.model}, voice {config.voice[:5]}…"


def describe_scribe(config: ElevenLabsScribeConfig) -> str:
    """Such as `ElevenLabs scribe_v2_realtime`."""
    return f"ElevenLabs {config.model}"


def speech_notices(config: ElevenLabsSpeechConfig) -> Sequence[str]:
    """What is old or odd in the settings, a sentence each."""
    notices = [notice] if (notice := speech_model_notice(config.model)) else []
    if config.voice == DEFAULT_VOICE:
        notices.append(
            f"{SPEECH_SETTINGS}.speakerVoiceId is ElevenLabs' default voice George, which new accounts lack and which "
            f"ends on {DEFAULT_VOICES_END}; set a voice of yours"
            if config.speaker_voice_id
            else f"{SPEECH_SETTINGS}.speakerVoiceId is not set: ElevenLabs' default voice George speaks, which new "
            f"accounts lack and which ends on {DEFAULT_VOICES_END}"
        )
    speed = config.voice_settings.speed if config.voice_settings else None
    if speed is not None and not SLOWEST <= speed <= FASTEST:
        used = min(max(speed, SLOWEST), FASTEST)
        notices.append(
            f"{SPEECH_SETTINGS}.voiceSettings.speed {speed:g} is not between {SLOWEST} and {FASTEST}, which is what "
            f"ElevenLabs takes; {used} is used"
        )
    if config.transport == "websocket" and not config.uses_socket:
        notices.append(
            f"{SPEECH_SETTINGS}.transport: {config.model} cannot be spoken over a WebSocket; HTTP is used"
        )
    if config.language_code and not takes_language(config.model):
        notices.append(
            f"{SPEECH_SETTINGS}.languageCode: {config.model} may ignore or refuse it; only the 2.5 models follow it"
        )
    return notices


def scribe_notices(config: ElevenLabsScribeConfig) -> Sequence[str]:
    """What is old or odd in the settings, a sentence each."""
    notices = [notice] if (notice := scribe_model_notice(config.model)) else []
    if config.audio_format not in (None, "ulaw_8000"):
        notices.append(
            f"{SCRIBE_SETTINGS}.audioFormat {config.audio_format} is ignored: call audio is sent as ulaw_8000"
        )
    if config.sample_rate not in (None, 8000):
        notices.append(
            f"{SCRIBE_SETTINGS}.sampleRate {config.sample_rate} is ignored: call audio has 8000 Hz"
        )
    tuned = any(
        value is not None
        for value in (
            config.vad_silence_threshold_secs,
            config.vad_threshold,
            config.min_speech_duration_ms,
            config.min_silence_duration_ms,
        )
    )
    if tuned and config.commit_strategy == "manual":
        notices.append(
            f"{SCRIBE_SETTINGS}: settings of the vendor's voice detection have no effect unless commitStrategy is vad"
        )
    return notices
