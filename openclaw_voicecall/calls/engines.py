"""Opens the carriers, transcribers, synthesizers, responders and turn detectors that the configuration names."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.carrier import Carrier, CarrierCapabilities
from openclaw_voicecall.api.realtime import RemoteLine
from openclaw_voicecall.api.responder import Responder
from openclaw_voicecall.api.spec import Runtime, ToolSpec
from openclaw_voicecall.api.speech import Synthesizer, Transcriber, TurnDetector
from openclaw_voicecall.calls.phrases import PhraseCache, Warming, utterances
from openclaw_voicecall.errors import ConfigError, EngineMissing
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.session.breaker import Breaker
from openclaw_voicecall.session.chain import Chain, Link
from openclaw_voicecall.session.modelline import Opens

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)

DEFAULT_RESPONDER = "frontdesk"
DEFAULT_MODEL = "openai"
PIPELINE = "pipeline"
"""Among the fallbacks of a speech-to-speech model: transcriber, responder and synthesizer."""
LOCAL_LINE = "local"
"""The carrier that is always open: it needs no account, and a softphone or a check may use it at any time."""


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
    synthesizers: dict[str, Chain[Synthesizer]] = field(default_factory=dict)
    """By the number of ours that was dialled, where it has a voice of its own; the common one under ""."""
    responders: dict[str, Chain[Responder]] = field(default_factory=dict)
    models: Chain[Opens] = ()
    """Speech-to-speech models; with one, it leads the calls whose audio reaches us."""
    model_limits: dict[str, float] = field(default_factory=dict)
    """Seconds that a session of each may last, by name."""
    remote: dict[str, RemoteLine] = field(default_factory=dict)
    """Who keeps the audio of a carrier's calls, by the carrier's name."""
    trunks: dict[str, str] = field(default_factory=dict)
    """Which carrier places the calls of one that cannot, by its name."""
    turn_detector: Callable[[], TurnDetector] | None = None
    interims: bool = True
    """Whether the transcriber gives words while the caller still speaks."""
    steady_interims: bool = True
    """Whether these keep coming, also in long talk and on a busy machine."""
    closes_after: float = 0.0
    """Seconds of silence after which the transcriber closes an utterance unasked; 0 where it does not."""
    tools: tuple[ToolSpec, ...] = ()
    """What plugins let responders call."""
    in_use: list[Engine] = field(default_factory=list)
    breakers: list[Breaker] = field(default_factory=list)
    """One for each supplier and its settings."""


class EngineRoom:
    """Opens engines into an exit stack, each once.

    Args:
        registry: Knows the providers.
        config: Names them.
        runtime: The process they run in.
        stack: Closes them.
        local: Whether to open the local line beside the configured carrier.

    Raises:
        UnknownProvider: The configuration names a provider that nobody registered.
        EngineMissing: An engine is not installed; the message has the command that installs it.
    """

    def __init__(
        self,
        registry: Registry,
        config: "VoiceCallConfig",
        runtime: Runtime,
        stack: AsyncExitStack,
        *,
        local: bool = True,
    ) -> None:
        self._local = local
        self._registry = registry
        self._config = config
        self._runtime = runtime
        self._stack = stack
        self._warming = Warming()
        stack.push_async_callback(self._warming.close)
        self.engines = Engines()
        self._breakers: list[tuple[Breaker, object]] = []

    async def open(self) -> Engines:
        """Open everything that the configuration names."""
        config = self._config
        self._look_up()
        streams = self._streams()
        if streams and config.realtime.enabled:
            await self._open_models()
        elif streams:
            await self._open_speech()
        models = [settings.response_model for settings in config.numbers.values()]
        for model in (config.response_model, *models):
            await self.responder(model or DEFAULT_RESPONDER)
        for name in dict.fromkeys(
            (config.provider, LOCAL_LINE) if streams and self._local else (config.provider,)
        ):
            await self._open_carrier(name)
        self.engines.tools = tuple(self._registry.collect("voicecall_register_tools", config=config))
        return self.engines

    def _streams(self) -> bool:
        """Whether audio reaches us at all; where the carrier speaks and listens, no engine of ours does."""
        abilities = self._registry.find("carriers", self._config.provider, setting="provider").capabilities
        return abilities.media == "stream" and not takes_turns(self._config, abilities)

    async def _open_models(self) -> None:
        """Open the speech-to-speech models, and what stands in for them: a pipeline, or at least a voice."""
        config = self._config
        for name in self.models():
            spec = self._registry.find("realtime_models", name, setting="realtime.provider")
            settings = config.realtime_settings(name)
            self._describe("model", name, spec.describe(settings))
            self._announce(spec.notices(settings))
            opened = await self._stack.enter_async_context(spec.open(settings, self._runtime))
            link: Link[Opens] = Link(name, opened.open_session, self._breaker("model", name, settings))
            self.engines.models = (*self.engines.models, link)
            self.engines.model_limits[name] = spec.session_limit
        if PIPELINE in config.realtime.fallbacks:
            await self._open_speech()
            return
        try:
            await self._open_voice("")
        except EngineMissing as error:
            logger.warning("should the model fail, nobody can say goodbye: %s", error)

    def models(self) -> tuple[str, ...]:
        """Names of the speech-to-speech model and its fallbacks."""
        chosen = self._config.realtime
        names = (chosen.provider or DEFAULT_MODEL, *chosen.fallbacks)
        return tuple(name for name in dict.fromkeys(names) if name != PIPELINE)

    async def _open_speech(self) -> None:
        config = self._config
        for name in dict.fromkeys((config.streaming.provider, *config.streaming.fallbacks)):
            await self._open_transcriber(name)
        await self._open_turn_detector()
        for dialled in ("", *(number for number, settings in config.numbers.items() if settings.tts)):
            await self._open_voice(dialled)

    def _look_up(self) -> None:
        """Look every name up before anything is opened: opening engines takes seconds, a wrong name none."""
        config, find = self._config, self._registry.find
        for name in (config.streaming.provider, *config.streaming.fallbacks):
            find("transcribers", name, setting="streaming.provider")
        find("turn_detectors", config.turn_detection.provider, setting="turnDetection.provider")
        for voice in (config.tts, *(settings.tts for settings in config.numbers.values() if settings.tts)):
            for name in (voice.provider, *voice.fallbacks):
                find("synthesizers", name, setting="tts.provider")
        models = [settings.response_model for settings in config.numbers.values()]
        for model in (config.response_model, *models, *config.response_fallbacks):
            find("responders", (model or DEFAULT_RESPONDER).partition("/")[0], setting="responseModel")
        find("carriers", config.provider, setting="provider")
        for name in self.models() if config.realtime.enabled else ():
            find("realtime_models", name, setting="realtime.provider")

    async def responder(self, model: str) -> Chain[Responder]:
        """The responder for `provider/model`, with its fallbacks."""
        if model not in self.engines.responders:
            links = []
            for reference in dict.fromkeys((model, *self._config.response_fallbacks)):
                name, _, rest = reference.partition("/")
                spec = self._registry.find("responders", name, setting="responseModel")
                settings = self._config.responder_settings(name)
                self._describe("responder", reference, spec.describe(settings))
                self._announce(spec.notices(settings, rest))
                opened = await self._stack.enter_async_context(spec.open(settings, self._runtime, rest))
                links.append(Link(reference, opened, self._breaker("responder", reference, settings)))
            self.engines.responders[model] = tuple(links)
        return self.engines.responders[model]

    async def _open_transcriber(self, name: str) -> None:
        spec = self._registry.find("transcribers", name, setting="streaming.provider")
        settings = self._config.transcriber_settings(name)
        self._describe("transcriber", name, spec.describe(settings))
        self._announce(spec.notices(settings))
        opened = await self._stack.enter_async_context(spec.open(settings, self._runtime))
        if not self.engines.transcribers:
            self.engines.interims, self.engines.steady_interims = spec.interims, spec.steady_interims
            self.engines.closes_after = spec.closes_after(settings)
        link = Link(name, opened, self._breaker("transcriber", name, settings))
        self.engines.transcribers = (*self.engines.transcribers, link)

    async def _open_turn_detector(self) -> None:
        """Open voice activity detection, unless every transcriber has its own."""
        names = [link.name for link in self.engines.transcribers]
        if all(self.detects_speech(self._registry, self._config, name) for name in names):
            return
        name = self._config.turn_detection.provider
        spec = self._registry.find("turn_detectors", name, setting="turnDetection.provider")
        settings = self._config.turn_detector_settings(name)
        self._describe("turn detector", name, spec.describe(settings))
        self.engines.turn_detector = await self._stack.enter_async_context(spec.open(settings, self._runtime))

    @staticmethod
    def detects_speech(registry: Registry, config: "VoiceCallConfig", name: str) -> bool:
        """Whether a transcriber needs no turn detector, as it is configured."""
        detects = registry.find("transcribers", name, setting="streaming.provider").detects_speech
        return bool(detects(config.transcriber_settings(name)) if callable(detects) else detects)

    async def _open_voice(self, dialled: str) -> None:
        voice = self._config.tts_for(dialled)
        phrases = utterances(self._config.fixed_phrases(dialled), self._config.language)
        links: list[Link[Synthesizer]] = []
        for name in dict.fromkeys((voice.provider, *voice.fallbacks)):
            spec = self._registry.find("synthesizers", name, setting="tts.provider")
            settings = self._config.synthesizer_settings(name, dialled=dialled)
            if not dialled:
                self._describe("synthesizer", name, spec.describe(settings))
                self._announce(spec.notices(settings))
            opened = await self._stack.enter_async_context(spec.open(settings, self._runtime))
            cache = PhraseCache(opened, phrases, self._config.language)
            links.append(Link(name, cache, self._breaker("synthesizer", name, settings)))
            if self._config.phrases.prepare and not links[1:]:
                self._warming.add(cache)
        self.engines.synthesizers[dialled] = tuple(links)

    async def _open_carrier(self, name: str) -> None:
        spec = self._registry.find("carriers", name, setting="provider")
        opened = await self._stack.enter_async_context(
            spec.open(self._config.carrier_settings(name), self._runtime)
        )
        self.engines.carriers[name] = opened
        self.engines.capabilities[name] = spec.capabilities
        self._describe("carrier", name, "")
        self._announce(spec.notices(self._config.carrier_settings(name)))
        if spec.capabilities.media == "remote":
            await self._open_trunk(name, opened)

    async def _open_trunk(self, name: str, line: Any) -> None:
        """Open the carrier that connects its calls to a vendor who keeps the audio."""
        settings = self._config.carrier_settings(name)
        self._describe("model", name, model_of(settings))
        self.engines.remote[name] = line
        if trunk := trunk_of(settings):
            if not self._registry.find("carriers", trunk, setting=f"{name}.trunk").capabilities.bridges:
                raise ConfigError(
                    f"{name}.trunk: the carrier {trunk!r} cannot connect calls to a SIP address"
                )
            await self._open_carrier(trunk)
            self.engines.remote[trunk] = line
            self.engines.trunks[name] = trunk

    def _breaker(self, hop: str, name: str, settings: object) -> Breaker:
        """The breaker of a supplier; the same one wherever it is used with the same settings."""
        for breaker, known in self._breakers:
            if (breaker.hop, breaker.name) == (hop, name) and known == settings:
                return breaker
        breaker = Breaker(hop, name, self._runtime.clock)
        self._breakers.append((breaker, settings))
        self.engines.breakers.append(breaker)
        return breaker

    def _announce(self, notices: Sequence[str]) -> None:
        for notice in notices:
            logger.warning("%s", notice)

    def _describe(self, role: str, name: str, description: str) -> None:
        self.engines.in_use.append(Engine(role, name, description or name))


def model_of(settings: object) -> str:
    """Model and voice of a vendor that keeps the audio of calls, as its settings name them; empty without them."""
    model, voice = (str(getattr(settings, key, "") or "") for key in ("model", "voice_name"))
    return f"{model}, voice {voice}" if model and voice else model


def trunk_of(settings: object) -> str:
    """Name of the carrier that connects calls to a vendor who keeps their audio; empty for none."""
    return str(getattr(settings, "trunk", "") or "")


def takes_turns(config: "VoiceCallConfig", capabilities: CarrierCapabilities) -> bool:
    """Whether a call begins without a media stream."""
    streams = config.streaming.enabled or config.realtime.enabled
    return capabilities.media == "turns" or (capabilities.turns and not streams)
