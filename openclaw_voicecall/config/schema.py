"""The whole configuration, and how it is put together from the sections of the registered plugins."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, create_model, model_validator

from openclaw_voicecall.config import sections as s
from openclaw_voicecall.config import sections_openclaw as known
from openclaw_voicecall.config import sections_speech as speech
from openclaw_voicecall.config import sections_spending as costs
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.descriptions import describe_settings
from openclaw_voicecall.config.fields import NotNegative, OwnPath, Positive, PublicUrl, Words, wrong
from openclaw_voicecall.config.numbers import E164
from openclaw_voicecall.config.shapes import NO_EFFECT, field_of, keys_of, shape_of
from openclaw_voicecall.core.policy import (
    BargeInPolicy,
    CallPolicy,
    DtmfPolicy,
    EndpointingPolicy,
    SpeculationPolicy,
)
from openclaw_voicecall.errors import ConfigError, DuplicateProvider, PluginLoadError

Model = TypeVar("Model", bound=CamelModel)
Sections = Mapping[str, type[CamelModel]]
"""Settings models by provider name."""

_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_SECRET_REFERENCE = {
    "type": "object",
    "description": "A secret kept elsewhere: the variable `id` of the environment, or the file `id`.",
    "properties": {
        "source": {"type": "string", "examples": ["env", "file"]},
        "provider": {"type": "string", "examples": ["default"]},
        "id": {"type": "string"},
    },
    "required": ["source", "id"],
    "additionalProperties": False,
}


class VoiceCallConfig(CamelModel):
    """All settings. OpenClaw's keys keep their names and meaning; defaults that differ say so.

    This base knows no provider. `build_config_model` makes the model that does.
    """

    carrier_names: ClassVar[frozenset[str]] = frozenset()
    """Carriers that have a section at the top level."""

    enabled: bool = True
    """Off refuses all calls. OpenClaw's default is off, because there it is one plugin among many."""
    provider: Words = "local"
    """Name of the carrier. `local` needs no account: it is a telephone on this machine."""
    from_number: E164 | None = None
    """Our own number. Filled from `TWILIO_FROM_NUMBER` when the carrier is Twilio."""
    to_number: E164 | None = None
    """Whom to call when nobody is named."""
    agent_id: Words | None = None
    """The host's agent that owns the calls; its only agent if not set."""
    owners: tuple[E164, ...] | None = None
    """Whose voice the host's agent obeys as its owner's: these numbers; `toNumber` alone if not set. Being let in by
    `allowFrom` makes nobody an owner. A caller id can be forged: `[]` trusts none."""
    agent_tools: s.AgentToolsConfig = s.AgentToolsConfig()
    session_scope: Literal["per-phone", "per-call", "main"] = "per-phone"
    """Which calls share a memory: those with one phone, none, or all. Callers who hide their number share none under
    `per-phone`."""
    numbers: dict[E164, speech.NumberConfig] = Field(default_factory=dict)
    """Per number of ours that was called: what differs for inbound calls to it."""
    inbound_policy: Literal["disabled", "allowlist", "pairing", "open"] = "disabled"
    """Who may call in. Under `pairing` a caller nobody knows hears a code, and gets through once the owner has
    approved it with `openclaw-voicecall pairing approve`."""
    allow_from: tuple[E164, ...] = ()
    """Callers that get through under `allowlist` and `pairing`."""
    allow_anonymous: bool = False
    """Whether callers who hide their number get through under `allowlist` and `pairing`, too."""
    inbound_greeting: str = "Hello, you are talking to an AI assistant. How can I help you?"
    """Said first to inbound callers. Says what it is, because many laws ask for that."""
    max_duration_seconds: Positive = 300
    """Longest call, seconds from the answer, whatever the state."""
    stale_call_reaper_seconds: NotNegative = 120
    """A call that was never answered is given up after this, seconds, where `ringTimeoutMs` is longer; 0 leaves it to
    that alone."""
    silence_timeout_ms: Positive | None = None
    """OpenClaw's name for `endpointing.silenceMs`, ms."""
    transcript_timeout_ms: Positive = 180000
    """Neither side saying anything for this long ends the call, ms."""
    ring_timeout_ms: Positive = 30000
    """How long an outbound call may ring, ms."""
    max_concurrent_calls: Positive = 10
    """Calls at once, in both directions. OpenClaw's default of 1 turns away everybody who calls during a call; ten
    calls with speech engines on this machine fit on one slow core, and no bill grows without bound."""
    response_model: Words | None = None
    """Who writes the agent's words: `responder` or `responder/model`."""
    response_fallbacks: tuple[Words, ...] = ()
    """Who takes over, in this order, when that one cannot; written in the same way."""
    response_system_prompt: str | None = None
    """Instructions for the responder."""
    response_timeout_ms: Positive = 30000
    """How long a responder may take for a turn, ms."""
    store: OwnPath | None = None
    """State folder. `$OPENCLAW_STATE_DIR/voice-calls` where that variable is set, else the user's state folder."""
    public_url: PublicUrl | None = None
    """Address under which carriers reach the webhooks."""
    skip_signature_verification: Annotated[bool, NO_EFFECT] = False
    """For tests on one machine only."""
    language: Words = "en"
    """Language of the talk, as a BCP 47 tag."""
    disclosure: str = ""
    """Said first on every call whose greeting or message does not say it, and not to be interrupted: that the voice is
    no human being's, such as "This is an AI assistant." Many laws ask for it. Empty for none."""
    notify_url: s.NotifyUrl | None = None
    """Where the record of every call that ended is sent by POST, as JSON. Plain http only to this machine."""
    notify_secret: SecretStr | None = None
    """Key of the HMAC-SHA256 of the body, sent with it as `X-OpenClaw-Signature: sha256=<hex>`."""
    python: Words | None = None
    """Python interpreter that OpenClaw's plugin starts this service with; read by the plugin."""
    outbound: s.OutboundConfig = s.OutboundConfig()
    spending: costs.SpendingConfig = costs.SpendingConfig()
    serve: s.ServeConfig = s.ServeConfig()
    tunnel: s.TunnelConfig = s.TunnelConfig()
    tailscale: s.TailscaleConfig | None = None
    webhook_security: s.WebhookSecurityConfig = s.WebhookSecurityConfig()
    streaming: speech.StreamingConfig = speech.StreamingConfig()
    realtime: speech.RealtimeConfig = speech.RealtimeConfig()
    tts: speech.TtsConfig = speech.TtsConfig()
    turn_detection: speech.TurnDetectionConfig = speech.TurnDetectionConfig()
    responders: CamelModel = CamelModel()
    """Settings of each responder, by its name."""
    endpointing: s.EndpointingConfig = s.EndpointingConfig()
    interruptions: s.InterruptionsConfig = s.InterruptionsConfig()
    dtmf: s.DtmfConfig = s.DtmfConfig()
    transfer: s.TransferConfig = s.TransferConfig()
    phrases: s.PhrasesConfig = s.PhrasesConfig()
    limits: s.LimitsConfig = s.LimitsConfig()
    memory: s.MemoryConfig = s.MemoryConfig()
    recording: s.RecordingConfig = s.RecordingConfig()
    playout: s.PlayoutConfig = s.PlayoutConfig()
    reports: s.ReportsConfig = s.ReportsConfig()
    logging: s.LoggingConfig = s.LoggingConfig()
    plugins: s.PluginsConfig = s.PluginsConfig()
    control: s.ControlConfig = s.ControlConfig()

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        asked = "enabled" in self.streaming.model_fields_set and self.streaming.enabled
        if self.realtime.enabled and asked:
            raise wrong("expected one of realtime.enabled and streaming.enabled, found both")
        if self.serve.path == self.streaming.stream_path:
            raise wrong("expected serve.path and streaming.streamPath to differ")
        return self

    def call_policy(self, direction: str, mode: str, greeting: str | None = None) -> CallPolicy:
        """The tuning of one call, in seconds.

        Args:
            direction: `inbound` or `outbound`.
            mode: `conversation` or `notify`; an inbound call is always a conversation.
            greeting: What is said first; None takes `inboundGreeting` for inbound calls and nothing for others.
        """
        inbound = direction == "inbound"
        notify = mode == "notify" and not inbound
        if greeting is None:
            greeting = self.inbound_greeting if inbound else ""
        return CallPolicy(
            endpointing=self._endpointing(),
            speculation=SpeculationPolicy(
                most_starts=self.endpointing.most_starts,
                stable_after=self.endpointing.stable_ms / 1000,
            ),
            barge_in=self._barge_in(),
            dtmf=DtmfPolicy(
                inter_digit=self.dtmf.inter_digit_ms / 1000,
                terminator=self.dtmf.terminator,
                max_digits=self.dtmf.max_digits,
            ),
            greeting=greeting,
            respond=not notify,
            hang_up_after_greeting=float(self.outbound.notify_hangup_delay_sec) if notify else None,
            leave_voicemail=self.outbound.leave_voicemail and not inbound,
            voicemail_window=self.outbound.voicemail_window_ms / 1000,
            ring_timeout=min(self.ring_timeout_ms / 1000, self.stale_call_reaper_seconds or math.inf),
            max_duration=float(self.max_duration_seconds),
            media_grace=self.limits.media_grace_ms / 1000,
            hang_up_grace=self.limits.hang_up_grace_ms / 1000,
            idle_timeout=self.transcript_timeout_ms / 1000,
            farewell_limit=self.limits.farewell_ms / 1000,
            apology=self.phrases.apology,
            goodbye=self.phrases.goodbye,
            idle_goodbye=self.phrases.idle_goodbye,
            max_failures=self.limits.max_failures,
            warn_before=float(self.limits.warn_before_seconds),
            duration_warning=self.phrases.duration_warning,
            transfer_limit=self.transfer.answer_ms / 1000,
            transfer_duration=float(self.transfer.max_duration_seconds),
            transferring=self.phrases.transferring,
            transfer_failed=self.phrases.transfer_failed,
            transfer_busy=self.phrases.transfer_busy,
            transfer_no_answer=self.phrases.transfer_no_answer,
            reconnected=self.phrases.reconnected,
        )

    def fixed_phrases(self, dialled: str = "") -> tuple[str, ...]:
        """What calls to one of our numbers say in the same words every time."""
        number = self.numbers.get(dialled)
        greeting = (number.inbound_greeting if number else None) or self.inbound_greeting or ""
        said = self.phrases
        texts = (
            greeting,
            self.disclosure,
            s.RECORDING_NOTICE if self.recording.notice is None else self.recording.notice,
            *said.fillers,
            said.late,
            said.apology,
            said.goodbye,
            said.idle_goodbye,
            said.duration_warning,
        )
        texts = (*texts, said.transferring, said.transfer_failed, said.transfer_busy, said.transfer_no_answer)
        return tuple(text for text in texts if text)

    def _endpointing(self) -> EndpointingPolicy:
        silence_ms = self.endpointing.silence_ms
        if self.silence_timeout_ms is not None and "silence_ms" not in self.endpointing.model_fields_set:
            silence_ms = self.silence_timeout_ms
        return EndpointingPolicy(
            after=silence_ms / 1000,
            after_question=self.endpointing.after_question_ms / 1000,
            after_digits=self.endpointing.after_digits_ms / 1000,
            transcript_wait=self.endpointing.transcript_wait_ms / 1000,
        )

    def _barge_in(self) -> BargeInPolicy:
        words = self.interruptions.backchannels
        return BargeInPolicy(
            mode=self.interruptions.mode,
            min_words=self.interruptions.min_words,
            resume_after=self.interruptions.resume_after_ms / 1000,
            noise_after=self.interruptions.noise_after_ms / 1000,
            backchannels=BargeInPolicy().backchannels if words is None else frozenset(map(str.lower, words)),
        )

    def carrier_settings(self, name: str) -> CamelModel:
        """The settings of a carrier. Raises `ConfigError` if it needs some that are not there."""
        if name not in self.carrier_names:
            raise ConfigError(f"{name}: no settings are known for a carrier of this name")
        return section_of(self, name)

    def transcriber_settings(self, name: str) -> CamelModel:
        """The settings of a transcriber. Raises `ConfigError` if it needs some that are not there."""
        return section_of(self.streaming.providers, name, "streaming.providers.")

    def synthesizer_settings(self, name: str, *, dialled: str = "") -> CamelModel:
        """The settings of a synthesizer, for calls to one of our numbers where `dialled` names one."""
        return section_of(self.tts_for(dialled).providers, name, "tts.providers.")

    def responder_settings(self, name: str) -> CamelModel:
        """The settings of a responder. Raises `ConfigError` if it needs some that are not there."""
        return section_of(self.responders, name, "responders.")

    def turn_detector_settings(self, name: str) -> CamelModel:
        """The settings of a turn detector. Raises `ConfigError` if it needs some that are not there."""
        return section_of(self.turn_detection.providers, name, "turnDetection.providers.")

    def realtime_settings(self, name: str) -> CamelModel:
        """The settings of a realtime model. Raises `ConfigError` if it needs some that are not there."""
        return section_of(self.realtime.providers, name, "realtime.providers.")

    def tts_for(self, dialled: str = "") -> speech.TtsConfig:
        """The voice for calls to one of our numbers: what the number says, laid over the common settings."""
        number = self.numbers.get(dialled)
        return self.tts if number is None or number.tts is None else _overlaid(self.tts, number.tts)


def _overlaid(under: Model, over: CamelModel) -> Model:
    changes: dict[str, Any] = {}
    for name in over.model_fields_set:
        above, below = getattr(over, name), getattr(under, name)
        joined = isinstance(above, CamelModel) and isinstance(below, CamelModel)
        changes[name] = _overlaid(below, above) if joined else above
    return under.model_copy(update=changes)


def section_of(group: CamelModel, name: str, prefix: str = "") -> CamelModel:
    """The section of a provider, or its defaults where the configuration has none.

    Raises:
        ConfigError: The group has no such section, or the section needs a setting that is not there.
    """
    known_field = field_of(type(group), name)
    section = shape_of(known_field[1].annotation).model if known_field else None
    if section is None:
        raise ConfigError(f"{prefix}{name}: no settings are known for a provider of this name")
    field_name = next(key for key, info in type(group).model_fields.items() if (info.alias or key) == name)
    value = getattr(group, field_name)
    if isinstance(value, CamelModel):
        return value
    try:
        return section()
    except ValidationError as error:
        needed = ", ".join(f"{prefix}{name}.{detail['loc'][0]}" for detail in error.errors() if detail["loc"])
        raise ConfigError(f"{name} is not configured: {needed or prefix + name} is required") from None


def build_config_model(
    carriers: Sections | None = None,
    *,
    transcribers: Sections | None = None,
    synthesizers: Sections | None = None,
    responders: Sections | None = None,
    turn_detectors: Sections | None = None,
    realtime_models: Sections | None = None,
    sections: Sections | None = None,
) -> type[VoiceCallConfig]:
    """Join the configuration with the settings of everything that is registered.

    Vendors of OpenClaw that nobody registered keep a section with OpenClaw's keys, so that its files load.

    Args:
        carriers: By name; each becomes a section at the top level.
        transcribers: By name; below `streaming.providers`.
        synthesizers: By name; below `tts.providers`.
        responders: By name; below `responders`.
        turn_detectors: By name; below `turnDetection.providers`.
        realtime_models: By name; below `realtime.providers`.
        sections: Sections of plugins that are no provider's; each at the top level.

    Raises:
        PluginLoadError: A name is no word, or is taken by a setting.
        DuplicateProvider: Two names differ only in punctuation, or a carrier and a section share one.
    """
    all_carriers = {**known.KNOWN_CARRIERS, **(carriers or {})}
    fields = {
        **_speech_fields(transcribers or {}, synthesizers or {}, turn_detectors or {}, realtime_models or {}),
        "responders": _providers_field("Responder", VoiceCallConfig, "responders", responders or {}),
    }
    own = {*keys_of(VoiceCallConfig), *VoiceCallConfig.model_fields}
    for kind, models in (("carrier", all_carriers), ("section", sections or {})):
        for name, (field_name, field) in _provider_fields(models).items():
            if name in own or field_name in own:
                raise PluginLoadError(f'the {kind} "{name}" has the name of a setting; it needs another')
            if field_name in fields:
                raise DuplicateProvider(f'two plugins want the section "{name}"')
            fields[field_name] = field
    model = _extended(VoiceCallConfig, fields)
    model.carrier_names = frozenset(all_carriers)
    return model


def _speech_fields(
    transcribers: Sections, synthesizers: Sections, turn_detectors: Sections, realtime_models: Sections
) -> dict[str, Any]:
    streaming = _with_providers(
        "Transcriber", speech.StreamingConfig, {**known.KNOWN_TRANSCRIBERS, **transcribers}
    )
    tts = _with_providers("Synthesizer", speech.TtsConfig, {**known.KNOWN_SYNTHESIZERS, **synthesizers})
    detection = _with_providers("TurnDetector", speech.TurnDetectionConfig, turn_detectors)
    realtime = _with_providers(
        "RealtimeModel", speech.RealtimeConfig, {**known.KNOWN_REALTIME_MODELS, **realtime_models}
    )
    own_tts = (tts | None, _field_like(speech.NumberConfig, "tts", default=None))
    number: Any = _extended(speech.NumberConfig, {"tts": own_tts})
    return {
        "streaming": (streaming, streaming()),
        "tts": (tts, tts()),
        "turn_detection": (detection, detection()),
        "realtime": (realtime, realtime()),
        "numbers": (dict[E164, number], _field_like(VoiceCallConfig, "numbers", default_factory=dict)),
    }


def _extended(base: type[Model], fields: dict[str, Any]) -> type[Model]:
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)


def _with_providers(kind: str, base: type[Model], models: Sections) -> type[Model]:
    return _extended(base, {"providers": _providers_field(kind, base, "providers", models)})


def _providers_field(kind: str, base: type[CamelModel], name: str, models: Sections) -> Any:
    fields: dict[str, Any] = dict(_provider_fields(models).values())
    group = create_model(f"{kind}Providers", __base__=CamelModel, **fields)
    return (group, _field_like(base, name, default=group()))


def _field_like(base: type[CamelModel], name: str, **default: Any) -> Any:
    return Field(description=base.model_fields[name].description, **default)


def _provider_fields(models: Sections) -> dict[str, tuple[str, Any]]:
    fields: dict[str, tuple[str, Any]] = {}
    taken: set[str] = set()
    for name, model in models.items():
        if _PROVIDER_NAME.fullmatch(name) is None:
            raise PluginLoadError(f'"{name}" cannot name a provider: use small letters, digits, "-" and "_"')
        field_name = name.replace("-", "_")
        # pydantic has methods of its own, such as `json` and `copy`, that a field must not hide.
        field_name = f"{field_name}_section" if hasattr(CamelModel, field_name) else field_name
        if field_name in taken:
            raise DuplicateProvider(f'two providers are called "{name}", but for punctuation')
        taken.add(field_name)
        description = (model.__doc__ or "").strip().partition("\n")[0]
        fields[name] = (field_name, (model | None, Field(default=None, alias=name, description=description)))
    return fields


def config_schema(model: type[VoiceCallConfig]) -> dict[str, Any]:
    """The JSON Schema of a configuration file, in camelCase.

    Wherever a secret is expected, the schema also takes OpenClaw's reference object.
    """
    describe_settings(model)
    schema = model.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema.setdefault("$defs", {})["SecretReference"] = _SECRET_REFERENCE
    return {key: _secrets_as_references(value) for key, value in schema.items()}


def _secrets_as_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_secrets_as_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "password":
        return {"anyOf": [node, {"$ref": "#/$defs/SecretReference"}]}
    return {key: _secrets_as_references(value) for key, value in node.items()}
