"""An open phone line for AI agents.

Importing this package is free: no vendor SDK, server or engine is loaded until it is used.
Plugin authors need `hookimpl` and the Protocols in `openclaw_voicecall.api`.
"""

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("openclaw_voicecall")
"""Marks a function as an implementation of a hook from `openclaw_voicecall.hookspecs`."""

__all__ = ["__version__", "hookimpl"]
