"""TCP ports for services under test."""

import random
import socket
from contextlib import suppress
from typing import Final

_RANGE: Final = range(20_000, 32_000)
"""Below what systems give to outgoing connections: such a one could take the port while its service is down."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens at, and that stays free while a service starts again."""
    while True:
        port = random.choice(_RANGE)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
