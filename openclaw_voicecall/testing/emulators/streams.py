"""What emulators of streaming vendors share: answers under way are counted, held back, and broken off."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle

from aiohttp import web

from openclaw_voicecall.testing.emulators.serving import Emulator


class Changes:
    """Wakes those who wait for something that has yet to happen."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Have waiting conditions asked again."""
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is asked again at every `change`."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class SessionEmulator(Emulator):
    """An emulator of sessions that tests watch from outside.

    Args:
        port: TCP port; 0 for any free one.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._changes = Changes()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on `sessions` or `refusals` holds; it is asked whenever something happened."""
        await self._changes.until(condition)

    def note_change(self) -> None:
        """Let `until` look again."""
        self._changes.change()


class Streams(Changes):
    """The answers an emulator is giving just now, so that a client that leaks them is found out.

    Conditions on the counters are asked again whenever one of them changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = 0
        """Answers under way now."""
        self.cancelled = 0
        """Answers whose client went away before the end."""
        self._stopping = asyncio.Event()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count an answer while it is given, and whether its client left."""
        self.open += 1
        self.change()
        try:
            yield
        except asyncio.CancelledError:
            self._leave()
            raise
        except ConnectionError as error:
            self._leave()
            # A writer may see the broken connection before the server cancels it; both mean the same.
            raise asyncio.CancelledError from error
        finally:
            self.open -= 1
            self.change()

    async def pause(self, seconds: float | None = None) -> None:
        """Wait so many seconds, None for ever; in either case no longer than the emulator serves."""
        if seconds == 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    @property
    def stopping(self) -> bool:
        """Whether the emulator is about to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End all pauses."""
        self._stopping.set()

    def _leave(self) -> None:
        if not self.stopping:
            self.cancelled += 1


class AnsweringEmulator(Emulator):
    """An emulator that streams answers, and counts them.

    Args:
        port: TCP port; 0 for any free one.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.streams = Streams()

    @property
    def open_streams(self) -> int:
        """Answers under way now."""
        return self.streams.open

    @property
    def cancelled(self) -> int:
        """Answers whose client went away before the end."""
        return self.streams.cancelled

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on `open_streams` or `cancelled` holds, or on what else is noted with them."""
        await self.streams.until(condition)

    async def stop(self) -> None:
        """Let go of answers that hang."""
        self.streams.stop()


def break_off(request: web.Request) -> None:
    """Break the connection without an end: the client is left with a part of the answer."""
    if request.transport is not None:
        request.transport.abort()


def pieces(data: bytes, *sizes: int) -> Iterator[bytes]:
    """Cut data into pieces of these sizes, over and over, as a vendor does that knows nothing of frames."""
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size
