"""Every engine that the configuration names, fallbacks included, each with its plugin and settings."""

import os
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.calls.engines import DEFAULT_RESPONDER, EngineRoom
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.server.answering import checked_reference

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

CARRIER = "carrier"
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

    def describe(self) -> str:
        """The engine in use, in a phrase. Raises `EngineMissing`."""
        describe = getattr(self.spec, "describe", None)
        return str(describe(self.settings)) if describe is not None else ""

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
    transcribers: tuple[Part, ...] = ()
    detectors: tuple[Part, ...] = ()
    synthesizers: tuple[Part, ...] = ()
    responders: tuple[Part, ...] = ()

    def __iter__(self) -> Iterator[Part]:
        yield self.carrier
        yield from (*self.transcribers, *self.detectors, *self.synthesizers, *self.responders)


def configured_parts(registry: Registry, config: "VoiceCallConfig") -> Parts:
    """Look everything up.

    Raises:
        UnknownProvider: The configuration names a provider that no plugin registered.
        ConfigError: A provider lacks a setting.
    """
    name = config.provider
    spec = registry.find("carriers", name, setting="provider")
    carrier = Part(CARRIER, name, name, spec, config.carrier_settings(name))
    streams = spec.capabilities.media == "stream" and (
        config.streaming.enabled or not spec.capabilities.turns
    )
    if not streams:  # the carrier listens and speaks
        return Parts(carrier, responders=_responders(registry, config))
    transcribers, detectors = _ears(registry, config)
    return Parts(carrier, transcribers, detectors, _voices(registry, config), _responders(registry, config))


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
