"""Settings of the local line."""

from openclaw_voicecall.config.base import CamelModel


class LocalConfig(CamelModel):
    """The local line: calls between this service and phones on this machine, with no account and no cost."""

    script: str = "friendly"
    """What a called phone does when the call names no script: a built-in name or the path of a YAML file."""
