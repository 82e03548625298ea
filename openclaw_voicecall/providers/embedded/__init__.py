"""The plugin of the engines that run on this machine: a first call needs no account, key or network.

Importing it loads no engine. `describe` looks at what is installed; `open` loads it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import Runtime, SynthesizerSpec, TranscriberSpec, TurnDetectorSpec
from openclaw_voicecall.api.speech import Synthesizer, Transcriber, TurnDetector
from openclaw_voicecall.hookspecs import Register
from openclaw_voicecall.providers.embedded import inventory
from openclaw_voicecall.providers.embedded.settings import (
    EnergyConfig,
    EspeakConfig,
    FliteConfig,
    LocalSynthesizerConfig,
    LocalTranscriberConfig,
    PiperConfig,
    SayConfig,
    SileroConfig,
)


@hookimpl
def voicecall_register_transcribers(register: Register[TranscriberSpec]) -> None:
    """Add `local`: Moonshine tiny-en."""
    register(
        TranscriberSpec(
            name="local",
            config=LocalTranscriberConfig,
            steady_interims=False,
            describe=_describe_transcriber,
            open=_open_transcriber,
        )
    )


@hookimpl
def voicecall_register_turn_detectors(register: Register[TurnDetectorSpec]) -> None:
    """Add `silero`, a model, and `energy`, which needs nothing installed."""
    register(
        TurnDetectorSpec(name="silero", config=SileroConfig, describe=_describe_silero, open=_open_silero)
    )
    register(
        TurnDetectorSpec(
            name="energy", config=EnergyConfig, describe=lambda config: "energy VAD", open=_open_energy
        )
    )


@hookimpl
def voicecall_register_synthesizers(register: Register[SynthesizerSpec]) -> None:
    """Add `local`, the best engine there is, and each engine by its own name."""
    for name, config in (
        ("local", LocalSynthesizerConfig),
        ("piper", PiperConfig),
        ("flite", FliteConfig),
        ("say", SayConfig),
        ("espeak", EspeakConfig),
    ):
        register(
            SynthesizerSpec(
                name=name,
                config=config,
                describe=partial(_describe_synthesizer, name),
                open=partial(_open_synthesizer, name),
            )
        )


def _describe_transcriber(config: LocalTranscriberConfig) -> str:
    inventory.moonshine_folder()
    return "Moonshine tiny-en"


@asynccontextmanager
async def _open_transcriber(config: LocalTranscriberConfig, runtime: Runtime) -> AsyncIterator[Transcriber]:
    from openclaw_voicecall.providers.embedded.decoder import Decoder
    from openclaw_voicecall.providers.embedded.transcriber import LocalTranscriber

    folder = inventory.moonshine_folder()
    async with Decoder.open(folder, niceness=config.niceness, lazy=not config.preload) as decoder:
        yield LocalTranscriber(decoder, config)


def _describe_silero(config: SileroConfig) -> str:
    inventory.silero_model()
    return "Silero VAD"


@asynccontextmanager
async def _open_silero(config: SileroConfig, runtime: Runtime) -> AsyncIterator[Callable[[], TurnDetector]]:
    path = inventory.silero_model()
    from openclaw_voicecall.providers.embedded.silero import SileroDetector, SileroModel

    model = SileroModel(path)
    yield lambda: SileroDetector(model, config)


@asynccontextmanager
async def _open_energy(config: EnergyConfig, runtime: Runtime) -> AsyncIterator[Callable[[], TurnDetector]]:
    from openclaw_voicecall.providers.embedded.energy import EnergyDetector

    yield lambda: EnergyDetector(config)


def _describe_synthesizer(name: str, config: Any) -> str:
    from openclaw_voicecall.providers.embedded import synthesizer

    description: str = getattr(synthesizer, f"describe_{name}")(config)
    return description


@asynccontextmanager
async def _open_synthesizer(name: str, config: Any, runtime: Runtime) -> AsyncIterator[Synthesizer]:
    from openclaw_voicecall.providers.embedded import synthesizer

    if name == "local":
        async with synthesizer.open_local(config) as chain:
            yield chain
    else:
        async with getattr(synthesizer, f"open_{name}")(config) as engine:
            yield synthesizer.LocalSynthesizer([engine])
