"""Opens the carriers, transcribers, synthesizers, responders and turn detectors that the configuration names."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.carrier import Carrier, CarrierCapabilities
from openclaw_voicecall.api.responder import Responder
from openclaw_voicecall.api.spec import NoSettings, Runtime
from openclaw_voicecall.api.speech import Synthesizer, Transcriber, TurnDetector
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.session.chain import Chain, Link

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)

DEFAULT_RESPONDER = "frontdesk"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine in use, for people to read."""

    role: str
    name: str
    description: str


@dataclass(slots=True)
class Engines:
    """What is open, for all calls of the process."""

    carriers: dict[str, Carrier] = field(default_factory=dict)
    capabilities: dict[str, CarrierCapabilities] = field(default_factory=dict)
    transcribers: Chain[Transcriber] = ()
    synthesizers: Chain[Synthesizer] = ()
    responders: dict[str, Chain[Responder]] = field(default_factory=dict)
    turn_detector: Callable[[], TurnDetector] | None = None
    in_use: list[Engine] = field(default_factory=list)


class EngineRoom:
    """Opens engines into an exit stack, each once.

    Raises:
        UnknownProvider: The configuration names a provider that nobody registered.
        EngineMissing: An engine is not installed; the message has the command that installs it.
    """

    def __init__(
        self, registry: Registry, config: "VoiceCallConfig", runtime: Runtime, stack: AsyncExitStack
    ) -> None:
        self._registry = registry
        self._config = config
        self._runtime = runtime
        self._stack = stack
        self.engines = Engines()

    async def open(self) -> Engines:
        """Open everything that the configuration names."""
        config = self._config
        await self._open_transcribers((config.streaming.provider or "local", *config.streaming.fallbacks))
        await self._open_synthesizers((config.tts.provider or "local", *config.tts.fallbacks))
        await self.responder(config.response_model or DEFAULT_RESPONDER)
        for name in dict.fromkeys((config.provider, "local")):
            await self._open_carrier(name)
        return self.engines

    async def responder(self, model: str) -> Chain[Responder]:
        """The responder for `provider/model`, with its fallbacks."""
        if model not in self.engines.responders:
            links = []
            for reference in dict.fromkeys((model, *self._config.response_fallbacks)):
                name, _, rest = reference.partition("/")
                spec = self._registry.find("responders", name, setting="responseModel")
                settings = _settings(self._config.responders, name, spec.config)
                self._describe("responder", reference, spec.describe(settings))
                opened = await self._stack.enter_async_context(spec.open(settings, self._runtime, rest))
                links.append(Link(reference, opened))
            self.engines.responders[model] = tuple(links)
        return self.engines.responders[model]

    async def _open_transcribers(self, names: Sequence[str]) -> None:
        links = []
        detects = True
        for name in dict.fromkeys(names):
            spec = self._registry.find("transcribers", name, setting="streaming.provider")
            settings = _settings(self._config.streaming.providers, name, spec.config)
            self._describe("transcriber", name, spec.describe(settings))
            opened = await self._stack.enter_async_context(spec.open(settings, self._runtime))
            links.append(Link(name, opened))
            detects = detects and spec.detects_speech
        self.engines.transcribers = tuple(links)
        if not detects:
            name = self._config.turn_detection.provider
            detector = self._registry.find("turn_detectors", name, setting="turnDetection.provider")
            settings = _settings(self._config.turn_detection.providers, name, detector.config)
            self._describe("turn detector", name, detector.describe(settings))
            self.engines.turn_detector = await self._stack.enter_async_context(
                detector.open(settings, self._runtime)
            )

    async def _open_synthesizers(self, names: Sequence[str]) -> None:
        links = []
        for name in dict.fromkeys(names):
            spec = self._registry.find("synthesizers", name, setting="tts.provider")
            settings = _settings(self._config.tts.providers, name, spec.config)
            self._describe("synthesizer", name, spec.describe(settings))
            opened = await self._stack.enter_async_context(spec.open(settings, self._runtime))
            links.append(Link(name, opened))
        self.engines.synthesizers = tuple(links)

    async def _open_carrier(self, name: str) -> None:
        spec = self._registry.find("carriers", name, setting="provider")
        settings = getattr(self._config, name.replace("-", "_"), None)
        opened = await self._stack.enter_async_context(spec.open(settings or spec.config(), self._runtime))
        self.engines.carriers[name] = opened
        self.engines.capabilities[name] = spec.capabilities
        self._describe("carrier", name, "")

    def _describe(self, role: str, name: str, description: str) -> None:
        self.engines.in_use.append(Engine(role, name, description or name))


def _settings(sections: Any, name: str, model: type[Any]) -> Any:
    """A provider's settings: its section where there is one, else its defaults."""
    key = name.replace("-", "_")
    section = sections.get(name) if isinstance(sections, Mapping) else getattr(sections, key, None)
    if section is None or not isinstance(section, model):
        return NoSettings() if model is NoSettings else model()
    return section
