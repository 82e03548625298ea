"""What a vendor's stream has to tell, between whoever reads the socket and whoever iterates the stream."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Events(Generic[T]):
    """What happened and nobody has read yet, and then the end, which may be an error."""

    def __init__(self) -> None:
        self.over = False
        """Whether the end was reached, though perhaps not read yet."""
        self.readers = 0
        """How many iterate just now."""
        self._error: Exception | None = None
        self._unread: deque[T] = deque()
        self._changed = asyncio.Event()

    def give(self, events: Iterable[T]) -> None:
        """Add what happened."""
        before = len(self._unread)
        self._unread.extend(events)
        if len(self._unread) > before:
            self._changed.set()

    def end(self, error: Exception | None = None) -> None:
        """End the iteration once all is read, with an error if there is one. The first end counts."""
        if not self.over:
            self.over, self._error = True, error
            self._changed.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Everything that happens until the end. Raises the error that was the end."""
        self.readers += 1
        try:
            while True:
                while self._unread:
                    yield self._unread.popleft()
                if self._error is not None:
                    raise self._error
                if self.over:
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.readers -= 1
