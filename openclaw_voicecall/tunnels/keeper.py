"""Keeps a tunnel open: what breaks is opened again, at growing intervals, for as long as it takes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat

from openclaw_voicecall.errors import VoiceCallError
from openclaw_voicecall.tunnels.tunnel import Tunnel

logger = logging.getLogger(__name__)

Pauses = Callable[[], Iterator[float]]

HOP = {"hop": "tunnel"}
"""Marks log lines about the way from the internet to us."""


def growing_pauses() -> Iterator[float]:
    """Seconds before each new attempt: 1, 2, 4 and so on to 32, then 60."""
    return chain((1.0, 2.0, 4.0, 8.0, 16.0, 32.0), repeat(60.0))


class KeptTunnel:
    """A tunnel that is open, but for moments. Made by `kept_open`.

    Args:
        tunnel: The open tunnel.
        base: Its public address without a path.
        pauses: Gives the pauses between attempts, anew for each loss.
    """

    def __init__(self, tunnel: Tunnel, base: str, pauses: Pauses) -> None:
        self.name = tunnel.name
        self._tunnel = tunnel
        self._base = base
        self._pauses = pauses
        self._followers: list[Callable[[str], None]] = []

    @property
    def public_url(self) -> str:
        """Address of the webhooks as the internet sees it at this moment."""
        return f"{self._base}{self._tunnel.webhook_path}"

    def follow(self, follower: Callable[[str], None]) -> None:
        """Tell the address of the webhooks now, and whenever the tunnel has come back with another one."""
        self._followers.append(follower)
        follower(self.public_url)

    async def run(self) -> None:
        """Open it again whenever it is lost; endless."""
        while True:
            reason = await self._tunnel.lost()
            logger.warning("tunnel %s is down: %s; it is opened again", self.name, reason, extra=HOP)
            await self._tunnel.close()
            base = await self._open_again()
            logger.warning("tunnel %s is open again at %s", self.name, base, extra=HOP)
            if base != self._base:
                self._base = base
                for follower in self._followers:
                    follower(self.public_url)

    async def _open_again(self) -> str:
        for pause in self._pauses():
            await asyncio.sleep(pause)
            try:
                return await self._tunnel.open()
            except VoiceCallError as error:
                logger.warning("tunnel %s: %s; tried again", self.name, error, extra=HOP)
        raise AssertionError("the pauses never end")


@asynccontextmanager
async def kept_open(tunnel: Tunnel, *, pauses: Pauses = growing_pauses) -> AsyncIterator[KeptTunnel]:
    """Open a tunnel, keep it open, and close it at the end.

    Raises:
        VendorError: It cannot be opened.
        ConfigError: The settings cannot be carried out on this machine.
    """
    kept = KeptTunnel(tunnel, await tunnel.open(), pauses)
    running = asyncio.create_task(kept.run())
    try:
        yield kept
    finally:
        running.cancel()
        await asyncio.wait({running})
        await tunnel.close()
