"""A provider's stream that is read before anybody wants what it gives."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Reads a stream into memory, and gives all of it to whoever takes it: what there is at once, the rest as it comes.

    Args:
        stream: What is read; closed in the end, however that comes.
        most: So much is read before it is taken, at most.
        size: How much of that a piece is.
    """

    def __init__(
        self,
        stream: AsyncGenerator[T, None],
        *,
        most: float = float("inf"),
        size: Callable[[T], int] = lambda piece: 0,
    ) -> None:
        self._stream = stream
        self._most = most
        self._size = size
        self._pieces: deque[T] = deque()
        self._error: Exception | None = None
        self._over = False
        self._moved = asyncio.Event()
        self._taken = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    @property
    def is_useful(self) -> bool:
        """Whether it can be taken, and has neither failed nor ended without a piece."""
        return not self._over or (self._error is None and bool(self._pieces))

    @property
    def failure(self) -> Exception | None:
        """Why it broke off, if it did."""
        return self._error

    async def take(self) -> AsyncGenerator[T, None]:
        """Give the whole stream, once. Raises what the stream raises; closing this closes it."""
        self._taken.set()
        try:
            while True:
                while self._pieces:
                    yield self._pieces.popleft()
                if self._over:
                    break
                self._moved.clear()
                await self._moved.wait()
        finally:
            self.drop()
            await asyncio.wait([self.task])
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._over = True
        self._pieces.clear()
        self.task.cancel()

    async def _read(self) -> None:
        held = 0
        try:
            async with aclosing(self._stream) as pieces:
                async for piece in pieces:
                    self._pieces.append(piece)
                    held += self._size(piece)
                    self._moved.set()
                    if held >= self._most:
                        await self._taken.wait()
        except Exception as error:  # whoever takes the stream is told
            self._error = error
        finally:
            self._over = True
            self._moved.set()
