"""Log lines that strangers can cause, and must not fill a disk with."""

import logging
import time

EVERY = 10.0
"""Seconds in which one line is written."""


class SparseLog:
    """Writes a warning at once, and the next after a while, with how many there were in between.

    Args:
        logger: Where to.
        every: Seconds between two lines.
    """

    def __init__(self, logger: logging.Logger, every: float = EVERY) -> None:
        self._logger = logger
        self._every = every
        self._next = 0.0
        self._left_out = 0

    def warning(self, message: str, *values: object) -> None:
        """Log it, unless there was a line a moment ago."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            self._logger.debug(message, *values)
            return
        more = f" (and {self._left_out} more like it)" if self._left_out else ""
        self._next, self._left_out = now + self._every, 0
        self._logger.warning(f"{message}%s", *values, more)
