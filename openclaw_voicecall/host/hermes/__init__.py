"""The plugin of hermes-agent: its entry point names this module, and hermes calls `register`.

Hermes loads plugins in every process, also for commands that never telephone: so importing this costs next to nothing.
"""

from typing import Any


def register(ctx: Any) -> None:
    """Give hermes the command `hermes voicecall`, the tool `voice_call`, its skill, and the telephone of its gateway.

    Args:
        ctx: What hermes-agent 0.19 gives plugins (hermes_cli.plugins.PluginContext).
    """
    from openclaw_voicecall.host.hermes.plugin import Plugin  # noqa: PLC0415 as above

    Plugin(ctx).register()
