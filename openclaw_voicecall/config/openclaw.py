"""Where OpenClaw keeps its own configuration, and what its plugin tells us: for those who live beside it.

The names are those of OpenClaw's documentation, gateway/configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

GATEWAY_VARIABLE: Final = "OPENCLAW_VOICECALL_GATEWAY"
"""Set by OpenClaw's plugin for what it starts: port and secret of the gateway, resolved. Commands started so have no
host, but the settings of one."""


def openclaw_config_path(env: Mapping[str, str]) -> Path:
    """OpenClaw's configuration file, which need not be there. Raises `RuntimeError` where nobody has a home."""
    folder = env.get("OPENCLAW_STATE_DIR") or "~/.openclaw"
    return Path(env.get("OPENCLAW_CONFIG_PATH") or Path(folder) / "openclaw.json").expanduser()
