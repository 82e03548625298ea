"""The hooks a plugin may implement.

All of them are synchronous and run at start-up, except `voicecall_call_event`. What runs during a call are the
objects registered here. An implementation may leave out arguments it does not need; arguments are added over time
and never renamed. A hook name that does not exist stops the start.

```python
from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import ResponderSpec

@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="parrot", open=open_parrot))
```
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

if TYPE_CHECKING:
    import click
    from aiohttp import web

    from openclaw_voicecall.api.host import Host
    from openclaw_voicecall.api.observer import CallObserver
    from openclaw_voicecall.api.policy import AdmissionPolicy, CallRouter
    from openclaw_voicecall.api.spec import (
        CarrierSpec,
        ConfigSection,
        RealtimeModelSpec,
        ResponderSpec,
        Runtime,
        SynthesizerSpec,
        ToolSpec,
        TranscriberSpec,
        TurnDetectorSpec,
    )
    from openclaw_voicecall.api.store import CallRecord, CallStore, JournalEntry

hookspec = pluggy.HookspecMarker("openclaw_voicecall")

T = TypeVar("T")
Register = Callable[[T], None]
"""Takes one object; raises `DuplicateProvider` or `PluginLoadError` at the call, naming the plugin."""


@hookspec
def voicecall_register_carriers(register: "Register[CarrierSpec]") -> None:
    """Add carriers: `register(CarrierSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_transcribers(register: "Register[TranscriberSpec]") -> None:
    """Add transcribers: `register(TranscriberSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_synthesizers(register: "Register[SynthesizerSpec]") -> None:
    """Add synthesizers: `register(SynthesizerSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_responders(register: "Register[ResponderSpec]") -> None:
    """Add responders: `register(ResponderSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_realtime_models(register: "Register[RealtimeModelSpec]") -> None:
    """Add speech-to-speech models: `register(RealtimeModelSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_turn_detectors(register: "Register[TurnDetectorSpec]") -> None:
    """Add voice activity detectors: `register(TurnDetectorSpec(name=..., open=...))`."""


@hookspec
def voicecall_register_policies(register: "Register[AdmissionPolicy | CallRouter]", config: Any) -> None:
    """Add admission policies and call routers; `config` is the validated configuration."""


@hookspec
def voicecall_register_observers(register: "Register[CallObserver]", config: Any) -> None:
    """Add observers; each gets every journal entry from its own bounded queue."""


@hookspec
def voicecall_register_tools(register: "Register[ToolSpec]", config: Any) -> None:
    """Add functions that responders may call."""


@hookspec
def voicecall_call_event(record: "CallRecord", entry: "JournalEntry") -> None:
    """See every journal entry in a plain function: the easy observer. Must not block."""


@hookspec
def voicecall_register_cli(cli: "click.Group") -> None:
    """Add commands: `cli.add_command(...)` or `@cli.command()`."""


@hookspec
def voicecall_register_routes(app: "web.Application", config: Any) -> None:
    """Add routes to the public server."""


@hookspec
def voicecall_register_config(register: "Register[ConfigSection]") -> None:
    """Add a section to the configuration that is not a provider's."""


@hookspec
def voicecall_lifespan(runtime: "Runtime") -> AbstractAsyncContextManager[None] | None:
    """Return an async context manager that is entered when the service starts and left when it stops."""


@hookspec(firstresult=True)
def voicecall_load_config(source: str | None) -> Mapping[str, object] | None:
    """Give the raw configuration, or None to let the next plugin try. Built in: the file at `source`."""


@hookspec(firstresult=True)
def voicecall_resolve_secret(reference: str) -> str | None:
    """Resolve a secret reference such as `env:NAME` or `file:/path`, or None to let the next plugin try."""


@hookspec(firstresult=True)
def voicecall_provide_host() -> "Host | None":
    """Give the host program, where a plugin knows one."""


@hookspec(firstresult=True)
def voicecall_open_store(config: Any) -> "CallStore | None":
    """Open the store of call records. Built in: SQLite in the state directory."""
