"""What a plugin registers: a name, a settings section, and how to open the thing.

A spec is cheap. Engines and vendor SDKs are imported inside `open`, never when a plugin is imported.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from openclaw_voicecall.api.carrier import Carrier, CarrierCapabilities, WebhookRequest
from openclaw_voicecall.api.clock import Clock, Ids
from openclaw_voicecall.api.numbers import NumberDesk
from openclaw_voicecall.api.realtime import RealtimeModel
from openclaw_voicecall.api.responder import Responder, ToolHandler
from openclaw_voicecall.api.speech import Synthesizer, Transcriber, TurnDetector
from openclaw_voicecall.api.store import CallStore
from openclaw_voicecall.config.base import CamelModel


class NoSettings(CamelModel):
    """Settings of a provider that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a provider may use of the process it runs in."""

    clock: Clock
    ids: Ids
    state_dir: Path
    """Private folder of the service, mode 0700."""
    webhook_url: Callable[[str], str]
    """Public URL of the webhook of a carrier, by its name. Valid once the server listens."""
    host: Any = None
    """The host program, where there is one."""
    store: CallStore | None = None
    """Records of all calls, where a service runs."""


class Spec(Protocol):
    """What all specs have in common."""

    @property
    def name(self) -> str:
        """The word in the configuration."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSpec:
    """A carrier: who connects us to the phone network."""

    name: str
    config: type[CamelModel] = NoSettings
    capabilities: CarrierCapabilities = field(default_factory=CarrierCapabilities)
    notices: Callable[[Any], Sequence[str]] = lambda config: ()
    """What is old or odd in the settings, a sentence each; said at start and by `doctor`."""
    check: Callable[[Any, Runtime], Awaitable[str]] | None = None
    """One harmless request with the account's key; returns a phrase of what the vendor said. Raises `VendorError`."""
    numbers: Callable[[Any, Runtime], AbstractAsyncContextManager[NumberDesk]] | None = None
    """Opens the settings of the account's phone numbers, where the carrier has an API for them."""
    sign_probe: Callable[[Any, str], WebhookRequest] | None = None
    """The request by which the carrier would tell this address that a call nobody knows is over, signed with the
    account's own secret: harmless to whoever takes it. Raises `ConfigError` when the secret is missing."""
    open: Callable[[Any, Runtime], AbstractAsyncContextManager[Carrier]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriberSpec:
    """A transcriber: speech to text."""

    name: str
    config: type[CamelModel] = NoSettings
    detects_speech: bool | Callable[[Any], bool] = False
    """Whether its streams report speech started and stopped, so that no turn detector is needed; may depend on the
    settings."""
    interims: bool = True
    """Whether words come while the caller still speaks. Without them an interruption is known only after its end."""
    steady_interims: bool = True
    """Whether they keep coming as long as the caller speaks. Where they get rare in long talk or on a busy machine, a
    voice without another word is not so soon taken for noise."""
    closes_after: Callable[[Any], float] = lambda config: 0.0
    """Seconds of silence after which its streams close an utterance unasked, as the settings say; 0 where they wait to
    be asked. A stream that is to be `eager` may do it sooner: the call waits as long as the settings say even so."""
    describe: Callable[[Any], str] = lambda config: ""
    """One phrase naming the engine in use, for the line printed at start. May raise `EngineMissing`."""
    notices: Callable[[Any], Sequence[str]] = lambda config: ()
    """What is old or odd in the settings, a sentence each; said at start and by `doctor`."""
    check: Callable[[Any, Runtime], Awaitable[str]] | None = None
    """One harmless request with the account's key; returns a phrase of what the vendor said. Raises `VendorError`."""
    open: Callable[[Any, Runtime], AbstractAsyncContextManager[Transcriber]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizerSpec:
    """A synthesizer: text to speech."""

    name: str
    config: type[CamelModel] = NoSettings
    describe: Callable[[Any], str] = lambda config: ""
    notices: Callable[[Any], Sequence[str]] = lambda config: ()
    """What is old or odd in the settings, a sentence each; said at start and by `doctor`."""
    check: Callable[[Any, Runtime], Awaitable[str]] | None = None
    """One harmless request with the account's key; returns a phrase of what the vendor said. Raises `VendorError`."""
    open: Callable[[Any, Runtime], AbstractAsyncContextManager[Synthesizer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderSpec:
    """A responder: writes the agent's side of the talk."""

    name: str
    config: type[CamelModel] = NoSettings
    describe: Callable[[Any], str] = lambda config: ""
    notices: Callable[[Any, str], Sequence[str]] = lambda config, model: ()
    """What is old or odd in the settings, a sentence each; said at start and by `doctor`. Called with the model too."""
    check: Callable[[Any, Runtime, str], Awaitable[str]] | None = None
    """One harmless request with the account's key, called with the model too; returns a phrase of what the vendor
    said. Raises `VendorError`."""
    open: Callable[[Any, Runtime, str], AbstractAsyncContextManager[Responder]]
    """`open(config, runtime, model)`: `model` is what follows the slash in `responseModel: name/model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeModelSpec:
    """A speech-to-speech model."""

    name: str
    config: type[CamelModel] = NoSettings
    describe: Callable[[Any], str] = lambda config: ""
    """One phrase naming model and voice, for the line printed at start."""
    notices: Callable[[Any], Sequence[str]] = lambda config: ()
    """What is old or odd in the settings, a sentence each; said at start and by `doctor`."""
    session_limit: float = 3600.0
    """Seconds after which the vendor ends a session; another one takes over before."""
    check: Callable[[Any, Runtime], Awaitable[str]] | None = None
    """One harmless request with the account's key; returns a phrase of what the vendor said. Raises `VendorError`."""
    open: Callable[[Any, Runtime], AbstractAsyncContextManager[RealtimeModel]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDetectorSpec:
    """Voice activity detection, or a model of turn ends."""

    name: str
    config: type[CamelModel] = NoSettings
    describe: Callable[[Any], str] = lambda config: ""
    open: Callable[[Any, Runtime], AbstractAsyncContextManager[Callable[[], TurnDetector]]]
    """Opens once per process; the factory it yields makes one detector per call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A function that the responder may call during a turn."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    handler: ToolHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSection:
    """A section of the configuration that is not a provider's."""

    name: str
    config: type[CamelModel]
