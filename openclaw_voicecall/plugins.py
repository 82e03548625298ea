"""Loads plugins and keeps what they register.

Everything built in is a plugin of the same kind as a third party's; `DEFAULT_PLUGINS` holds names, not classes.
There is no module-global plugin manager: each `load_registry` makes its own.
"""

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from openclaw_voicecall import __version__, hookspecs
from openclaw_voicecall.api import spec as specs
from openclaw_voicecall.errors import DuplicateProvider, PluginLoadError, UnknownProvider

if TYPE_CHECKING:
    from openclaw_voicecall.config.load import LoadedConfig
    from openclaw_voicecall.config.schema import VoiceCallConfig

PROJECT = "openclaw_voicecall"

DEFAULT_PLUGINS = (
    "openclaw_voicecall.builtin.defaults",
    "openclaw_voicecall.builtin.policies",
    "openclaw_voicecall.builtin.observers",
    "openclaw_voicecall.builtin.notify",
    "openclaw_voicecall.builtin.frontdesk",
    "openclaw_voicecall.builtin.host_agent",
    "openclaw_voicecall.providers.local",
    "openclaw_voicecall.providers.embedded",
    "openclaw_voicecall.providers.twilio",
    "openclaw_voicecall.providers.google",
    "openclaw_voicecall.providers.openai",
    "openclaw_voicecall.providers.elevenlabs",
    "openclaw_voicecall.providers.deepgram",
    "openclaw_voicecall.providers.xai",
    "openclaw_voicecall.providers.chat",
    "openclaw_voicecall.providers.openclaw",
)

KINDS: Mapping[str, type[Any]] = {
    "carriers": specs.CarrierSpec,
    "transcribers": specs.TranscriberSpec,
    "synthesizers": specs.SynthesizerSpec,
    "responders": specs.ResponderSpec,
    "realtime_models": specs.RealtimeModelSpec,
    "turn_detectors": specs.TurnDetectorSpec,
}


@dataclass(slots=True)
class PluginInfo:
    """A loaded plugin, for `openclaw-voicecall plugins`."""

    name: str
    source: str
    """`built-in`, `entry point` or `config`."""
    distribution: str
    version: str
    registers: dict[str, list[str]] = field(default_factory=dict)
    """Kind to names, and `hooks` to the other hooks it implements."""


@dataclass(slots=True)
class Registry:
    """Everything that the loaded plugins registered, by kind and name."""

    manager: pluggy.PluginManager
    plugins: list[PluginInfo] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """What was done at start, in order."""
    carriers: dict[str, specs.CarrierSpec] = field(default_factory=dict)
    transcribers: dict[str, specs.TranscriberSpec] = field(default_factory=dict)
    synthesizers: dict[str, specs.SynthesizerSpec] = field(default_factory=dict)
    responders: dict[str, specs.ResponderSpec] = field(default_factory=dict)
    realtime_models: dict[str, specs.RealtimeModelSpec] = field(default_factory=dict)
    turn_detectors: dict[str, specs.TurnDetectorSpec] = field(default_factory=dict)
    sections: dict[str, specs.ConfigSection] = field(default_factory=dict)
    _owners: dict[tuple[str, str], str] = field(default_factory=dict)

    def find(self, kind: str, name: str, *, setting: str) -> Any:
        """The spec of this kind and name. Raises `UnknownProvider`, naming the setting and the known names."""
        known: dict[str, Any] = getattr(self, kind)
        if name in known:
            return known[name]
        names = ", ".join(sorted(known)) or "none"
        noun = kind.replace("_", " ")[:-1]
        raise UnknownProvider(
            f"{setting}: no {noun} is called {name!r}; known: {names}. "
            "Choose one of these, or install the plugin that provides it."
        )

    def config_model(self) -> "type[VoiceCallConfig]":
        """The settings model, with the sections of all registered providers."""
        from openclaw_voicecall.config.schema import build_config_model  # noqa: PLC0415 pydantic models cost 100 ms

        return build_config_model(
            carriers={name: spec.config for name, spec in self.carriers.items()},
            transcribers={name: spec.config for name, spec in self.transcribers.items()},
            synthesizers={name: spec.config for name, spec in self.synthesizers.items()},
            responders={name: spec.config for name, spec in self.responders.items()},
            turn_detectors={name: spec.config for name, spec in self.turn_detectors.items()},
            realtime_models={name: spec.config for name, spec in self.realtime_models.items()},
            sections={name: section.config for name, section in self.sections.items()},
        )

    def load_config(
        self,
        source: str | Path | None,
        *,
        env: Mapping[str, str],
        overrides: Mapping[str, object] | None = None,
    ) -> "LoadedConfig":
        """Read and validate the configuration; secrets resolve through the plugins. Raises `ConfigError`."""
        from openclaw_voicecall.config.load import load_config  # noqa: PLC0415 as above

        given = self.manager.hook.voicecall_load_config(source=None if source is None else str(source))
        return load_config(
            source if given is None else given,
            model=self.config_model(),
            env=env,
            overrides=overrides or {},
            resolve=lambda reference: self.manager.hook.voicecall_resolve_secret(reference=reference),
        )

    def collect(self, hook: str, **arguments: Any) -> list[Any]:
        """Objects that plugins register with a hook of this name, in load order."""
        found: list[Any] = []
        for plugin in self.manager.get_plugins():
            self._call_for(plugin, hook, register=found.append, **arguments)
        return found

    def _call_for(self, plugin: object, hook: str, **arguments: Any) -> None:
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        self.manager.subset_hook_caller(hook, others)(**arguments)

    def _take(self, info: PluginInfo, kind: str, spec_type: type[Any]) -> Callable[[Any], None]:
        table: dict[str, Any] = getattr(self, kind)

        def register(spec: Any) -> None:
            if not isinstance(spec, spec_type):
                raise PluginLoadError(
                    f"plugin {info.name}: register() for {kind} takes a {spec_type.__name__}, got {type(spec).__name__}"
                )
            if spec.name in table:
                owner = self._owners[kind, spec.name]
                raise DuplicateProvider(
                    f"plugin {info.name} registers {kind[:-1]} {spec.name!r}, which plugin {owner} registered already; "
                    f"disable one of them with plugins.disabled"
                )
            table[spec.name] = spec
            self._owners[kind, spec.name] = info.name
            info.registers.setdefault(kind, []).append(spec.name)

        return register


def load_registry(
    *, disabled: Iterable[str] = (), modules: Iterable[str] = (), load_entry_points: bool = True
) -> Registry:
    """Load built-in plugins, those of installed distributions, and named modules; collect what they register.

    Args:
        disabled: Names of plugins to leave out.
        modules: Further modules to load as plugins.
        load_entry_points: Whether installed distributions are asked; tests say no.

    Raises:
        PluginLoadError: A plugin cannot be imported or implements an unknown hook.
        DuplicateProvider: Two plugins register one name.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager)
    blocked = set(disabled)
    for name in blocked:
        manager.set_blocked(name)
    for name in DEFAULT_PLUGINS:
        _load_module(registry, name, source="built-in", blocked=blocked)
    if load_entry_points:
        _load_entry_points(registry, blocked)
    for name in modules:
        _load_module(registry, name, source="config", blocked=blocked)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginLoadError(f"{error}; a plugin implements a hook that does not exist") from error
    registry.steps.append(f"loaded {len(registry.plugins)} plugins; every hook they implement exists")
    for kind, spec_type in KINDS.items():
        for info in registry.plugins:
            plugin = manager.get_plugin(info.name)
            registry._call_for(
                plugin, f"voicecall_register_{kind}", register=registry._take(info, kind, spec_type)
            )
        registry.steps.append(f"{kind.replace('_', ' ')}: {', '.join(getattr(registry, kind)) or 'none'}")
    for section in registry.collect("voicecall_register_config"):
        registry.sections[section.name] = section
    for info in registry.plugins:
        _note_other_hooks(registry, info)
    return registry


def load_plugins(source: str | Path | None, env: Mapping[str, str]) -> Registry:
    """Load all plugins that the configuration leaves in or adds. The configuration itself is not checked.

    Raises:
        ConfigError: The configuration file cannot be read.
        PluginError: A plugin is wrong.
    """
    from openclaw_voicecall.config.load import read_config  # noqa: PLC0415 as above

    section = read_config(source, env).data.get("plugins")
    return load_registry(disabled=_names(section, "disabled"), modules=_names(section, "modules"))


def load_settings(
    source: str | Path | None, env: Mapping[str, str], *, overrides: Mapping[str, object] | None = None
) -> "tuple[Registry, LoadedConfig]":
    """Load plugins and configuration.

    The plugins are loaded first with what the file says about them, because sections of plugins are only known with
    their plugins; and again where the environment or a plugin's own configuration says otherwise.

    Raises:
        ConfigError: The configuration cannot be read or is wrong.
        PluginError: A plugin is wrong.
    """
    registry = load_plugins(source, env)
    loaded = registry.load_config(source, env=env, overrides=overrides)
    wanted = loaded.config.plugins
    there = {plugin.name for plugin in registry.plugins}
    missing = set(wanted.modules) - set(wanted.disabled) - there
    if missing or not there.isdisjoint(wanted.disabled):
        registry = load_registry(disabled=wanted.disabled, modules=wanted.modules)
        loaded = registry.load_config(source, env=env, overrides=overrides)
    return registry, loaded


def _names(section: Any, key: str) -> list[str]:
    """A list of names in a tree that nobody has checked."""
    names = section.get(key) if isinstance(section, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []


def _load_module(registry: Registry, name: str, *, source: str, blocked: set[str]) -> None:
    if name in blocked:
        registry.steps.append(f"{name} is disabled")
        return
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise PluginLoadError(f"plugin {name} ({source}) cannot be imported: {error}") from error
    _register(
        registry,
        module,
        PluginInfo(
            name, source, *(("openclaw-voicecall", __version__) if source == "built-in" else ("", ""))
        ),
    )


def _load_entry_points(registry: Registry, blocked: set[str]) -> None:
    for entry in importlib.metadata.entry_points(group=PROJECT):
        if entry.name in blocked:
            registry.steps.append(f"{entry.name} is disabled")
            continue
        name = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else "0"
        try:
            plugin = entry.load()
        except Exception as error:  # a third party's module may raise anything while it is imported
            raise PluginLoadError(
                f"plugin {entry.name} of distribution {name} {version} cannot be imported: {error}. "
                f"Uninstall or update {name}, or leave it out with plugins.disabled: [{entry.name!r}]"
            ) from error
        _register(registry, plugin, PluginInfo(entry.name, "entry point", name, version))


def _register(registry: Registry, plugin: object, info: PluginInfo) -> None:
    try:
        registry.manager.register(plugin, info.name)
    except (ValueError, pluggy.PluginValidationError) as error:
        raise PluginLoadError(f"plugin {info.name}: {error}") from error
    registry.plugins.append(info)


def _note_other_hooks(registry: Registry, info: PluginInfo) -> None:
    plugin = registry.manager.get_plugin(info.name)
    callers = (registry.manager.get_hookcallers(plugin) or []) if plugin is not None else []
    hooks = sorted(
        caller.name for caller in callers if caller.name.removeprefix("voicecall_register_") not in KINDS
    )
    if hooks:
        info.registers["hooks"] = hooks
