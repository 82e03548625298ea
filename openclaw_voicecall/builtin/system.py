"""The real clock and real ids."""

import secrets
import time
import uuid


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never jump; the same clock as asyncio's loop."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()


class SystemIds:
    """Ids that nobody can guess."""

    def call_id(self) -> str:
        """A random UUID."""
        return str(uuid.uuid4())

    def token(self) -> str:
        """192 random bits, safe in a URL path."""
        return secrets.token_urlsafe(24)
