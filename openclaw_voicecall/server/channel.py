"""What the processes of one service say to each other: questions with answers, and news.

The two ends are the same program on a pair of sockets that nobody else has, so objects go over it as they are.
"""

import asyncio
import logging
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from openclaw_voicecall.errors import ServiceError, VoiceCallError

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct("!I")

Answerer = Callable[..., Awaitable[Any]]


class Channel:
    """One end.

    Args:
        name: Who is at the other end, for messages.
        answers: Answers the other's questions, by their name.
        hears: Takes the other's news, by its name.
    """

    def __init__(
        self, name: str, answers: Mapping[str, Answerer], hears: Mapping[str, Callable[..., None]]
    ) -> None:
        self._name = name
        self._answers = answers
        self._hears = hears
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._closed = True

    async def connect(self, end: socket.socket) -> None:
        """Speak over one of a pair of stream sockets; nothing is heard before `run`."""
        end.setblocking(False)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self._closed = False

    async def run(self) -> None:
        """Listen until the other side is gone or this is cancelled."""
        reader = self._reader
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                # Both ends are this program, and nobody else can write to the pair.
                self._receive(*pickle.loads(await reader.readexactly(length)))  # noqa: S301
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            return
        finally:
            self.close()

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Ask the other side.

        Raises:
            ServiceError: It is gone.
            Exception: What answering raised there.
        """
        if self._closed:
            raise ServiceError(f"{self._name} is gone")
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send("ask", number, name, arguments)
            return await self._waiting[number]
        finally:
            del self._waiting[number]

    def tell(self, name: str, *arguments: Any) -> None:
        """Tell the other side something; nothing happens when it is gone."""
        self._send("tell", 0, name, arguments)

    def close(self) -> None:
        """Hang up. Who waits for an answer learns that there will be none."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        for task in self._answering:
            task.cancel()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ServiceError(f"{self._name} is gone"))

    def _send(self, *message: Any) -> None:
        if not self._closed:
            content = pickle.dumps(message)
            self._writer.write(_LENGTH.pack(len(content)) + content)

    def _receive(self, kind: str, number: int, name: str, content: Any) -> None:
        if kind == "tell":
            self._hears[name](*content)
        elif kind == "ask":
            task = asyncio.create_task(self._answer(number, name, content))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (waiting := self._waiting.get(number)) is not None and not waiting.done():
            if kind == "answer":
                waiting.set_result(content)
            else:
                waiting.set_exception(content)

    async def _answer(self, number: int, name: str, arguments: tuple[Any, ...]) -> None:
        try:
            answer = await self._answers[name](*arguments)
        except VoiceCallError as error:
            self._send("failure", number, name, _portable(error))
        except Exception as error:
            logger.exception("%s asked for %r, which failed", self._name, name)
            self._send("failure", number, name, ServiceError(f"{name}: {error!r}"))
        else:
            self._send("answer", number, name, answer)


def _portable(error: VoiceCallError) -> VoiceCallError:
    """The error, or one that says the same where it cannot be sent."""
    with suppress(Exception):
        pickle.loads(pickle.dumps(error))  # noqa: S301 as above
        return error
    return ServiceError(str(error))
