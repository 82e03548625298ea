"""The plugins and the configuration, for the commands that need them."""

import os
from typing import TYPE_CHECKING

from openclaw_voicecall.cli.options import Invocation

if TYPE_CHECKING:
    from openclaw_voicecall.config.load import LoadedConfig
    from openclaw_voicecall.plugins import Registry


def load_plugins(invocation: Invocation) -> "Registry":
    """All plugins that the configuration leaves in or adds. Raises `ConfigError` and `PluginError`."""
    from openclaw_voicecall import plugins

    return plugins.load_plugins(invocation.config, os.environ)


def load_settings(invocation: Invocation) -> "tuple[Registry, LoadedConfig]":
    """Plugins and checked configuration. Raises `ConfigError` and `PluginError`."""
    from openclaw_voicecall import plugins

    return plugins.load_settings(invocation.config, os.environ)
