"""The plugins and the configuration, for the commands that need them."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.cli.options import Invocation

if TYPE_CHECKING:
    from openclaw_voicecall.config.load import LoadedConfig
    from openclaw_voicecall.plugins import Registry


def load_plugins(invocation: Invocation) -> "Registry":
    """Load all plugins that the configuration leaves in or adds. The configuration itself is not checked.

    Raises:
        ConfigError: The configuration file cannot be read.
        PluginError: A plugin is wrong.
    """
    from openclaw_voicecall.config.load import read_config
    from openclaw_voicecall.plugins import load_registry

    section = read_config(invocation.config, os.environ).data.get("plugins")
    return load_registry(disabled=_names(section, "disabled"), modules=_names(section, "modules"))


def load_settings(invocation: Invocation) -> "tuple[Registry, LoadedConfig]":
    """Load plugins and configuration.

    The plugins are loaded first with what the file says about them, because sections of plugins are only known with
    their plugins; and again where the environment says otherwise.

    Raises:
        ConfigError: The configuration cannot be read or is wrong.
        PluginError: A plugin is wrong.
    """
    from openclaw_voicecall.plugins import load_registry

    registry = load_plugins(invocation)
    loaded = registry.load_config(invocation.config, env=os.environ)
    wanted = loaded.config.plugins
    there = {plugin.name for plugin in registry.plugins}
    if not there.isdisjoint(wanted.disabled) or not there.issuperset(
        set(wanted.modules) - set(wanted.disabled)
    ):
        registry = load_registry(disabled=wanted.disabled, modules=wanted.modules)
        loaded = registry.load_config(invocation.config, env=os.environ)
    return registry, loaded


def _names(section: Any, key: str) -> list[str]:
    """A list of names in a tree that nobody has checked."""
    names = section.get(key) if isinstance(section, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
