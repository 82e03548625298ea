"""Every engine that the configuration names, fallbacks included, each with its plugin and settings."""

import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.calls.engines import (
    DEFAULT_MODEL,
    DEFAULT_RESPONDER,
    PIPELINE,
    EngineRoom,
    model_of,
    takes_turns,
    trunk_of,
)
from openclaw_voicecall.checks.report import Subject
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.server.answering import checked_reference

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

CARRIER = "carrier"
TRUNK = "trunk"
"""The carrier that connects calls to a vendor who keeps their audio."""
MODEL = "model"
TRANSCRIBER = "transcriber"
TURN_DETECTOR = "turn detector"
SYNTHESIZER = "synthesizer"
RESPONDER = "responder"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One engine, not opened. Two are the same only if they are one object: settings cannot be hashed."""

    role: str
    name: str
    """As the configuration names it; with the model, where it is a responder."""
    section: str
    """Where its settings stand."""
    spec: Any
    settings: Any
    model: str | None = None
    """A responder's."""
    dialled: str = ""
    """The number of ours whose calls it is for, where it is not for all."""

    @property
    def label(self) -> str:
        """Its name, with the number that it is for."""
        return f"{self.name} for {self.dialled}" if self.dialled else self.name

    @property
    def subject(self) -> Subject:
        """The same for a finding about it."""
        return Subject(self.role, self.label, self.section)

    def describe(self) -> str:
        """The engine in use, in a phrase. Raises `EngineMissing`."""
        describe = getattr(self.spec, "describe", None)
        if describe is not None:
            return str(describe(self.settings))
        return model_of(self.settings) if self.is_remote else ""

    @property
    def is_remote(self) -> bool:
        """Whether it is a carrier whose vendor keeps the audio of calls, and talks on them."""
        capabilities = getattr(self.spec, "capabilities", None)
        return capabilities is not None and capabilities.media == "remote"

    def notices(self) -> Sequence[str]:
        """What is old or odd in its settings."""
        notices = getattr(self.spec, "notices", None)
        if notices is None:
            return ()
        given: Sequence[str] = notices(self.settings, *self._model())
        return given

    def check(self, runtime: Runtime) -> Awaitable[str] | None:
        """One harmless request with the account's key; None where there is no account."""
        check = getattr(self.spec, "check", None)
        if check is None:
            return None
        asking: Awaitable[str] = check(self.settings, runtime, *self._model())
        return asking

    def open(self, runtime: Runtime) -> AbstractAsyncContextManager[Any]:
        """Open it."""
        opened: AbstractAsyncContextManager[Any] = self.spec.open(self.settings, runtime, *self._model())
        return opened

    def _model(self) -> tuple[str, ...]:
        return () if self.model is None else (self.model,)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a call goes through."""

    carrier: Part
    trunk: Part | None = None
    models: tuple[Part, ...] = ()
    transcribers: tuple[Part, ...] = ()
    detectors: tuple[Part, ...] = ()
    synthesizers: tuple[Part, ...] = ()
    responders: tuple[Part, ...] = ()
    farewell: tuple[Part, ...] = ()
    """Synthesizers that only say goodbye, should every model fail."""

    def __iter__(self) -> Iterator[Part]:
        yield self.carrier
        if self.trunk is not None:
            yield self.trunk
        yield from (*self.models, *self.transcribers, *self.detectors, *self.synthesizers, *self.responders)

    @property
    def is_led(self) -> bool:
        """Whether a speech-to-speech model leads the calls."""
        return bool(self.models) or self.carrier.is_remote

    @property
    def has_pipeline(self) -> bool:
        """Whether a responder writes turns of a call at all, and does not only answer a model."""
        return not self.is_led or bool(self.transcribers)


def configured_parts(registry: Registry, config: "VoiceCallConfig") -> Parts:
    """Look everything up.

    Raises:
        UnknownProvider: The configuration names a provider that no plugin registered.
        ConfigError: A provider lacks a setting.
    """
    name = config.provider
    spec = registry.find("carriers", name, setting="provider")
    carrier = Part(CARRIER, name, name, spec, config.carrier_settings(name))
    _look_up(registry, config)
    if carrier.is_remote:
        return Parts(carrier, trunk=_trunk(registry, config, carrier), responders=_asked(registry, config))
    responders = _responders(registry, config)
    if takes_turns(config, spec.capabilities):  # the carrier listens and speaks
        return Parts(carrier, responders=responders)
    voices = _voices(registry, config)
    models = _models(registry, config) if config.realtime.enabled else ()
    if models and PIPELINE not in config.realtime.fallbacks:
        farewell = tuple(voice for voice in voices if not voice.dialled)
        return Parts(carrier, models=models, responders=_asked(registry, config), farewell=farewell)
    transcribers, detectors = _ears(registry, config)
    return Parts(
        carrier,
        models=models,
        transcribers=transcribers,
        detectors=detectors,
        synthesizers=voices,
        responders=responders,
    )


def _look_up(registry: Registry, config: "VoiceCallConfig") -> None:
    """Names that are wrong keep the service from starting also where nobody uses them."""
    for name in (config.streaming.provider, *config.streaming.fallbacks):
        registry.find("transcribers", name, setting="streaming.provider")
    registry.find("turn_detectors", config.turn_detection.provider, setting="turnDetection.provider")


def _trunk(registry: Registry, config: "VoiceCallConfig", carrier: Part) -> Part | None:
    if not (name := trunk_of(carrier.settings)):
        return None
    spec = registry.find("carriers", name, setting=f"{carrier.name}.trunk")
    return Part(TRUNK, name, name, spec, config.carrier_settings(name))


def _models(registry: Registry, config: "VoiceCallConfig") -> tuple[Part, ...]:
    names = (config.realtime.provider or DEFAULT_MODEL, *config.realtime.fallbacks)
    return tuple(
        Part(
            MODEL,
            name,
            f"realtime.providers.{name}",
            registry.find("realtime_models", name, setting="realtime.provider"),
            config.realtime_settings(name),
        )
        for name in dict.fromkeys(names)
        if name != PIPELINE
    )


def _ears(registry: Registry, config: "VoiceCallConfig") -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    names = tuple(dict.fromkeys((config.streaming.provider, *config.streaming.fallbacks)))
    transcribers = tuple(
        Part(
            TRANSCRIBER,
            name,
            f"streaming.providers.{name}",
            registry.find("transcribers", name, setting="streaming.provider"),
            config.transcriber_settings(name),
        )
        for name in names
    )
    if all(EngineRoom.detects_speech(registry, config, name) for name in names):
        return transcribers, ()
    name = config.turn_detection.provider
    spec = registry.find("turn_detectors", name, setting="turnDetection.provider")
    section = f"turnDetection.providers.{name}"
    return transcribers, (Part(TURN_DETECTOR, name, section, spec, config.turn_detector_settings(name)),)


def _voices(registry: Registry, config: "VoiceCallConfig") -> tuple[Part, ...]:
    found: list[Part] = []
    for dialled in ("", *(number for number, settings in config.numbers.items() if settings.tts)):
        voice = config.tts_for(dialled)
        for name in dict.fromkeys((voice.provider, *voice.fallbacks)):
            spec = registry.find("synthesizers", name, setting="tts.provider")
            settings = config.synthesizer_settings(name, dialled=dialled)
            if not any(part.name == name and part.settings == settings for part in found):
                section = f"numbers.{dialled}.tts.providers.{name}" if dialled else f"tts.providers.{name}"
                found.append(Part(SYNTHESIZER, name, section, spec, settings, dialled=dialled))
    return tuple(found)


def _asked(registry: Registry, config: "VoiceCallConfig") -> tuple[Part, ...]:
    """The responders that a model can ask."""
    if config.realtime.tool_policy == "none":
        return ()
    found = _responders(registry, config)
    chosen = any(part.name.partition("/")[0] != DEFAULT_RESPONDER for part in found)
    return tuple(part for part in found if part.name != DEFAULT_RESPONDER) if chosen else ()


def _responders(registry: Registry, config: "VoiceCallConfig") -> tuple[Part, ...]:
    models = [settings.response_model for settings in config.numbers.values()]
    asked = [
        config.response_model or DEFAULT_RESPONDER,
        *config.response_fallbacks,
        *(model for model in models if model),
    ]
    found = []
    settled = (checked_reference(reference, registry.responders, os.environ) for reference in asked)
    for reference in dict.fromkeys(settled):
        name, _, model = reference.partition("/")
        spec = registry.find("responders", name, setting="responseModel")
        settings = config.responder_settings(name)
        found.append(Part(RESPONDER, reference, f"responders.{name}", spec, settings, model))
    return tuple(found)
