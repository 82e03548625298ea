"""What every way from the internet to this server has in common."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Door:
    """What is to be reached: the public server of this process."""

    here: str
    """`host:port` under which this machine reaches it."""
    webhook_path: str
    """`serve.path`; the paths of all carriers are below it."""
    stream_path: str
    """`streaming.streamPath`."""


class Tunnel(Protocol):
    """A program that makes the door reachable from elsewhere.

    After `open` comes either `close`, or the end of `lost` and then `close`; after `close` it may be opened again.
    """

    @property
    def name(self) -> str:
        """As in `tunnel.provider`."""

    @property
    def webhook_path(self) -> str:
        """Path of the webhooks in the public address."""

    async def open(self) -> str:
        """Open the way; gives its public address without a path, such as `https://voice.example.ts.net:8443`.

        Nothing is left behind when it fails.

        Raises:
            VendorError: The program is missing, refuses, or takes too long; the message has the cause and a fix.
            ConfigError: The settings cannot be carried out on this machine.
        """

    async def lost(self) -> str:
        """Wait until the way is no longer open; gives the reason, for people."""

    async def close(self) -> None:
        """Take down what was set up, and nothing else. Takes no more than 2 s and never raises."""
