"""Settings of the engines that run on this machine. Importing this module loads no engine."""

from typing import Annotated, Literal

from pydantic import Field

from openclaw_voicecall.config.base import CamelModel

Speed = Annotated[float, Field(ge=0.5, le=2.0)]
"""How fast to speak: 1.0 is the engine's own pace, 2.0 twice as fast."""

EngineName = Literal["piper", "flite", "say", "espeak"]


class LocalTranscriberConfig(CamelModel):
    """Settings of the transcriber `local`."""

    interim_ms: Annotated[int, Field(ge=0, le=5000)] = 500
    """New speech, in milliseconds, after which the text so far is given. 0 gives none while the caller speaks."""
    niceness: Annotated[int, Field(ge=0, le=19)] = 5
    """How far the decoding process steps back when the machine is busy, so that audio keeps flowing first."""
    preload: bool = True
    """Load the model when the service starts. Otherwise it is loaded while the first call begins, and an idle service
    takes 130 MiB less."""


class SileroConfig(CamelModel):
    """Settings of the turn detector `silero`."""

    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """How sure the model must be that it hears speech, from 0 to 1."""
    start_ms: Annotated[int, Field(ge=32, le=2000)] = 60
    """Speech this long, in milliseconds, starts an utterance. The model judges steps of 32 ms."""
    stop_ms: Annotated[int, Field(ge=100, le=5000)] = 300
    """Silence this long, in milliseconds, counts as a pause."""


class EnergyConfig(CamelModel):
    """Settings of the turn detector `energy`."""

    start_ms: Annotated[int, Field(ge=20, le=2000)] = 60
    """Sound this long, in milliseconds, starts an utterance."""
    stop_ms: Annotated[int, Field(ge=100, le=5000)] = 300
    """Quiet this long, in milliseconds, counts as a pause."""


class LocalSynthesizerConfig(CamelModel):
    """Settings of the synthesizer `local`."""

    engine: Literal["auto", "piper", "flite", "say", "espeak"] = "auto"
    """Which engine speaks. `auto` takes the best that is installed: piper, flite, say, espeak."""
    voice: str = ""
    """A voice of that engine; empty means its best one."""
    speed: Speed = 1.0
    """How fast to speak; 1.0 is the engine's own pace."""


class PiperConfig(CamelModel):
    """Settings of the synthesizer `piper`."""

    voice: str = ""
    """Name of a downloaded voice, such as `en_US-lessac-medium`, or the path of its `.onnx` file. Empty: any."""
    voices_dir: str = ""
    """Folder with downloaded voices. Empty means `piper` in the user's data folder of this package."""
    speed: Speed = 1.0
    """How fast to speak; 1.0 is the voice's own pace."""


class FliteConfig(CamelModel):
    """Settings of the synthesizer `flite`."""

    voice: str = "rms"
    """One of the voices that `flite -lv` lists."""
    speed: Speed = 1.0
    """How fast to speak; 1.0 is the voice's own pace."""
    max_processes: Annotated[int, Field(ge=1, le=64)] = 4
    """How many sentences may be made at the same time; further ones wait their turn."""


class SayConfig(CamelModel):
    """Settings of the synthesizer `say` (macOS)."""

    voice: str = ""
    """A voice that `say -v ?` lists; empty means the system's."""
    speed: Speed = 1.0
    """How fast to speak; 1.0 is about 180 words a minute."""


class EspeakConfig(CamelModel):
    """Settings of the synthesizer `espeak`."""

    voice: str = "en-us"
    """A voice of espeak-ng, such as `en-us`, `en-gb` or `de`."""
    speed: Speed = 1.0
    """How fast to speak; 1.0 is about 165 words a minute."""
