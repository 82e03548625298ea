"""The sections of the configuration about hearing and speaking. Times that end in `_ms` are milliseconds."""

from typing import Annotated, Any, Literal

from pydantic import Field

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import Positive, UrlPath, Words
from openclaw_voicecall.config.shapes import NO_EFFECT


class StreamingConfig(CamelModel):
    """The caller's audio and the transcriber that hears it."""

    enabled: bool = True
    """Conversations need it. OpenClaw's default is off."""
    provider: Words = "local"
    """Name of the transcriber."""
    fallbacks: tuple[Words, ...] = ()
    """Transcribers that take over, in this order, when it cannot be reached."""
    stream_path: UrlPath = "/voice/stream"
    """Path of the media streams; each carrier's is below it."""
    providers: CamelModel = CamelModel()
    """Settings of each transcriber, by its name."""
    pre_start_timeout_ms: Positive = 5000
    """A media stream must say which call it carries within this time, ms."""
    max_pending_connections: Positive = 32
    """Connections to the public port that have brought neither a signed webhook nor the token of a media stream, all
    together. Above that the oldest are closed; nobody is refused."""
    max_pending_connections_per_ip: Annotated[Positive, NO_EFFECT] = 4
    """The same, from one address. Behind a tunnel everybody has the same, the carrier too."""
    max_connections: Positive = 128
    """Media streams, all together."""


class AgentContextConfig(CamelModel):
    """What of the agent is put into a realtime model's instructions."""

    enabled: bool | None = None
    """Whether anything is."""
    max_chars: Positive | None = None
    """At most this much, characters."""
    include_identity: bool | None = None
    """Who the agent is."""
    include_workspace_files: bool | None = None
    """Files of the agent's workspace."""
    files: tuple[str, ...] | None = None
    """Which files."""
    include_system_prompt: bool | None = None
    """The agent's own instructions."""


class FastContextConfig(CamelModel):
    """Quick look-ups for a realtime model."""

    enabled: bool | None = None
    """Whether there are any."""
    timeout_ms: Positive | None = None
    """How long one may take, ms."""
    fallback_to_consult: bool | None = None
    """Ask the agent when nothing is found."""
    max_results: Positive | None = None
    """At most this many finds."""
    sources: tuple[str, ...] | None = None
    """Where to look."""


class RealtimeConfig(CamelModel):
    """Speech-to-speech models."""

    enabled: bool = False
    """One of them hears and speaks on every call. Not together with `streaming.enabled`."""
    provider: Words | None = None
    """Name of the model's vendor; `openai` unless set."""
    fallbacks: tuple[Words, ...] = ()
    """Models that take over, in this order, when it cannot be reached. `pipeline` as the last one: transcriber,
    responder and synthesizer go on in the same call. Without it the caller hears a goodbye."""
    stream_path: Annotated[UrlPath | None, NO_EFFECT] = None
    """Path of the media streams; they are below `streaming.streamPath`."""
    instructions: str | None = None
    """Instructions for the model; those of `responseSystemPrompt` unless set."""
    tool_policy: Literal["safe-read-only", "owner", "none"] | None = None
    """What the agent may do when the model asks it: `owner` lets it use the tools it has for the person on the line,
    `safe-read-only` those it has for strangers, whoever calls. With `none` the model cannot ask. It can ask only where
    `responseModel` names somebody, or a host has an agent."""
    consult_policy: Literal["auto", "substantive", "always"] | None = None
    """When the model is to ask the agent: when it needs to, before anything of substance, or before every answer."""
    consult_thinking_level: Annotated[str | None, NO_EFFECT] = None
    """How long the agent thinks when asked."""
    consult_fast_mode: Annotated[bool | None, NO_EFFECT] = None
    """Whether it answers in fast mode."""
    tools: Annotated[tuple[Any, ...] | None, NO_EFFECT] = None
    """Functions the model may call. Plugins register functions, which do something."""
    agent_context: Annotated[AgentContextConfig | None, NO_EFFECT] = None
    """What of the agent is put into the instructions."""
    fast_context: Annotated[FastContextConfig | None, NO_EFFECT] = None
    """Quick look-ups for the model."""
    providers: CamelModel = CamelModel()
    """Settings of each model, by its vendor's name."""


class ModelOverridesConfig(CamelModel):
    """What a reply may change about its own speech, in OpenClaw's chats."""

    enabled: bool | None = None
    """Whether it may change anything."""
    allow_text: bool | None = None
    """The words."""
    allow_provider: bool | None = None
    """The synthesizer."""
    allow_voice: bool | None = None
    """The voice."""
    allow_model_id: bool | None = None
    """The vendor's model."""
    allow_voice_settings: bool | None = None
    """The fine tuning of the voice."""
    allow_normalization: bool | None = None
    """Whether numbers are spelt out."""
    allow_seed: bool | None = None
    """The seed."""


class TtsConfig(CamelModel):
    """The agent's voice."""

    provider: Words = "local"
    """Name of the synthesizer."""
    fallbacks: tuple[Words, ...] = ()
    """Synthesizers that take over, in this order, when it cannot speak."""
    providers: CamelModel = CamelModel()
    """Settings of each synthesizer, by its name."""
    auto: Annotated[Literal["off", "always", "inbound", "tagged"] | None, NO_EFFECT] = None
    """When OpenClaw's chats are read out."""
    enabled: Annotated[bool | None, NO_EFFECT] = None
    """The older way to write `auto`."""
    mode: Annotated[Literal["final", "all"] | None, NO_EFFECT] = None
    """Which replies of a chat are read out."""
    persona: Annotated[str | None, NO_EFFECT] = None
    """Name of a persona."""
    personas: Annotated[dict[str, Any] | None, NO_EFFECT] = None
    """Voices with a character."""
    summary_model: Annotated[str | None, NO_EFFECT] = None
    """Model that shortens long replies."""
    model_overrides: Annotated[ModelOverridesConfig | None, NO_EFFECT] = None
    """What a reply may change about its own speech."""
    prefs_path: Annotated[str | None, NO_EFFECT] = None
    """File of a chat's own settings."""
    max_text_length: Annotated[Positive | None, NO_EFFECT] = None
    """Longest reply of a chat that is read out, characters."""
    timeout_ms: Annotated[Annotated[int, Field(ge=1000, le=120000)] | None, NO_EFFECT] = None
    """How long a reply of a chat may take, ms."""


class NumberConfig(CamelModel):
    """What is different for calls to one of our numbers."""

    inbound_greeting: str | None = None
    """Said first to callers of this number."""
    tts: TtsConfig | None = None
    """Laid over the common `tts`."""
    agent_id: Words | None = None
    """The host's agent that owns its calls."""
    response_model: Words | None = None
    """Who writes the words."""
    response_system_prompt: str | None = None
    """Instructions for the responder."""
    response_timeout_ms: Positive | None = None
    """How long a responder may take for a turn, ms."""


class TurnDetectionConfig(CamelModel):
    """Who decides that the caller speaks, where the transcriber does not."""

    provider: Words = "silero"
    """Name of the turn detector."""
    providers: CamelModel = CamelModel()
    """Settings of each turn detector, by its name."""
