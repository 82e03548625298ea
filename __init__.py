"""As a folder in `~/.hermes/plugins` this repository is a plugin of hermes-agent; nothing else imports this file."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def register(ctx: Any) -> None:
    """Register with hermes, from this folder unless the package is installed."""
    if find_spec("openclaw_voicecall") is None:
        sys.path.append(str(Path(__file__).parent))
    from openclaw_voicecall.host.hermes import register as register_package  # noqa: PLC0415 is found only now

    register_package(ctx)
