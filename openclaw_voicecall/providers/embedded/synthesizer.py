"""Synthesizers on this machine, one by one or as a chain of which the best that works speaks."""

import json
import logging
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from openclaw_voicecall.api.speech import SpeechRequest
from openclaw_voicecall.errors import EngineMissing, VendorError
from openclaw_voicecall.providers.embedded import inventory
from openclaw_voicecall.providers.embedded.engine_process import EngineProcess
from openclaw_voicecall.providers.embedded.programs import FliteEngine, SayEngine
from openclaw_voicecall.providers.embedded.settings import (
    EngineName,
    EspeakConfig,
    FliteConfig,
    LocalSynthesizerConfig,
    PiperConfig,
    SayConfig,
)
from openclaw_voicecall.providers.embedded.voicing import call_audio, speakable

logger = logging.getLogger(__name__)

BEST_FIRST: Final[tuple[EngineName, ...]] = ("piper", "flite", "say", "espeak")
"""The order in which `auto` prefers engines, by how well they are understood."""

_PIECE_BYTES: Final = 1600
"""Mu-law bytes given out at a time: 200 ms."""
_PROCESS_TIMEOUT: Final = 15.0


class SpeechEngine(Protocol):
    """Makes the whole sound of one sentence at a time."""

    name: str

    async def make(self, text: str, voice: str) -> tuple[int, bytes]:
        """The rate in Hz and 16-bit samples of a sentence.

        `voice` is a wish: an engine that does not have it, or is given none, takes the configured one.

        Raises:
            VendorError: The engine cannot speak it.
        """
        ...


class ProcessEngine:
    """A library that runs in a worker process: espeak or piper.

    Args:
        name: The provider's name.
        process: The worker.
        voice: Voice used when none is asked for, or one that the engine does not have.
        fallback: Voice that is always there, used when even that one is not.
        speed: 1.0 is the engine's own pace.
    """

    def __init__(
        self, name: str, process: EngineProcess, *, voice: str, fallback: str = "", speed: float
    ) -> None:
        self.name = name
        self._process = process
        self._voice = voice
        self._fallback = fallback
        self._speed = speed

    async def make(self, text: str, voice: str) -> tuple[int, bytes]:
        """Speak a sentence; gives its rate in Hz and its 16-bit samples. Raises `VendorError`."""
        order = {
            "text": speakable(text, self.name),
            "voices": [name for name in (voice, self._voice, self._fallback) if name],
            "speed": self._speed,
        }
        answer = await self._process.ask(json.dumps(order).encode(), limit=_PROCESS_TIMEOUT)
        (rate,) = struct.unpack_from("<I", answer)
        return rate, answer[4:]


class LocalSynthesizer:
    """Speaks with the first engine that can.

    Args:
        engines: Best first.
    """

    def __init__(self, engines: Sequence[SpeechEngine]) -> None:
        self._engines = engines

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield mu-law audio of one utterance. An engine that fails is replaced by the next for this utterance."""
        speakable(request.text, self._engines[0].name)
        audio = b""
        for engine in self._engines:
            try:
                rate, pcm = await engine.make(request.text, request.voice)
                audio = call_audio(pcm, rate, engine.name)
                break
            except VendorError as error:
                if engine is self._engines[-1]:
                    raise
                logger.warning(
                    "speech engine failed, the next one speaks",
                    extra={"engine": engine.name, "detail": str(error)},
                )
        for start in range(0, len(audio), _PIECE_BYTES):
            yield audio[start : start + _PIECE_BYTES]


def describe_flite(config: FliteConfig) -> str:
    """Name the engine. Raises `EngineMissing`."""
    inventory.flite_program()
    return f"flite {config.voice}"


def describe_say(config: SayConfig) -> str:
    """Name the engine. Raises `EngineMissing`."""
    inventory.say_program()
    return f"say {config.voice}".strip()


def describe_espeak(config: EspeakConfig) -> str:
    """Name the engine. Raises `EngineMissing`."""
    inventory.espeak_files()
    return f"espeak-ng {config.voice}"


def describe_piper(config: PiperConfig) -> str:
    """Name the engine and its voice. Raises `EngineMissing`."""
    return f"Piper {inventory.piper_voice(config).stem}"


def describe_local(config: LocalSynthesizerConfig) -> str:
    """Name the engine that will speak. Raises `EngineMissing` when there is none."""
    missing: EngineMissing | None = None
    for name in chain_names(config):
        try:
            return _DESCRIBE[name](config)
        except EngineMissing as error:
            missing = error
    raise _none_installed(config, missing)


def chain_names(config: LocalSynthesizerConfig) -> Sequence[EngineName]:
    """The engines that the configuration allows, best first."""
    return BEST_FIRST if config.engine == "auto" else (config.engine,)


@asynccontextmanager
async def open_flite(config: FliteConfig) -> AsyncIterator[SpeechEngine]:
    """Open flite. Raises `EngineMissing`."""
    async with FliteEngine.open(config) as engine:
        yield engine


@asynccontextmanager
async def open_say(config: SayConfig) -> AsyncIterator[SpeechEngine]:
    """Open say. Raises `EngineMissing`."""
    async with SayEngine.open(config) as engine:
        yield engine


@asynccontextmanager
async def open_espeak(config: EspeakConfig, *, lazy: bool = False) -> AsyncIterator[SpeechEngine]:
    """Start espeak's worker. Raises `VendorError`."""
    files = inventory.espeak_files()
    worker = EngineProcess("espeak", str(files.library), str(files.data), vendor="espeak", lazy=lazy)
    async with worker as process:
        yield ProcessEngine("espeak", process, voice=config.voice, fallback="en-us", speed=config.speed)


@asynccontextmanager
async def open_piper(config: PiperConfig, *, lazy: bool = False) -> AsyncIterator[SpeechEngine]:
    """Start Piper's worker with the configured voice. Raises `VendorError`."""
    model: Path = inventory.piper_voice(config)
    worker = EngineProcess("piper", str(model), vendor="piper", lazy=lazy)
    async with worker as process:
        yield ProcessEngine("piper", process, voice="", speed=config.speed)


_Opened = AbstractAsyncContextManager[SpeechEngine]


def _piper_of(config: LocalSynthesizerConfig) -> PiperConfig:
    return PiperConfig(voice=config.voice, speed=config.speed)


def _flite_of(config: LocalSynthesizerConfig) -> FliteConfig:
    return FliteConfig(voice=config.voice or "rms", speed=config.speed)


def _say_of(config: LocalSynthesizerConfig) -> SayConfig:
    return SayConfig(voice=config.voice, speed=config.speed)


def _espeak_of(config: LocalSynthesizerConfig) -> EspeakConfig:
    return EspeakConfig(voice=config.voice or "en-us", speed=config.speed)


_DESCRIBE: dict[EngineName, Callable[[LocalSynthesizerConfig], str]] = {
    "piper": lambda config: describe_piper(_piper_of(config)),
    "flite": lambda config: describe_flite(_flite_of(config)),
    "say": lambda config: describe_say(_say_of(config)),
    "espeak": lambda config: describe_espeak(_espeak_of(config)),
}
_OPEN: dict[EngineName, Callable[[LocalSynthesizerConfig, bool], _Opened]] = {
    "piper": lambda config, lazy: open_piper(_piper_of(config), lazy=lazy),
    "flite": lambda config, lazy: open_flite(_flite_of(config)),
    "say": lambda config, lazy: open_say(_say_of(config)),
    "espeak": lambda config, lazy: open_espeak(_espeak_of(config), lazy=lazy),
}


@asynccontextmanager
async def open_local(config: LocalSynthesizerConfig) -> AsyncIterator[LocalSynthesizer]:
    """Open every engine that is there; the first is started, the others wait. Raises `EngineMissing`."""
    async with AsyncExitStack() as stack:
        engines: list[SpeechEngine] = []
        missing: EngineMissing | None = None
        for name in chain_names(config):
            try:
                opened = _OPEN[name](config, bool(engines))
                engines.append(await stack.enter_async_context(opened))
            except EngineMissing as error:
                missing = error
            except VendorError as error:
                logger.warning("speech engine does not start", extra={"engine": name, "detail": str(error)})
        if not engines:
            raise _none_installed(config, missing)
        yield LocalSynthesizer(engines)


def _none_installed(config: LocalSynthesizerConfig, missing: EngineMissing | None) -> EngineMissing:
    if config.engine != "auto" and missing is not None:
        return missing
    return EngineMissing(
        f"no speech synthesizer works on this machine: apt-get install flite, or {inventory.INSTALL_LOCAL}",
        vendor="local",
        operation="open",
    )
