"""JSON lines between this process and the program that started it, over its stdin and stdout.

Both sides ask: `{"id", "method", "params"}` is answered with `{"id", "result"}` or `{"id", "error": {"code",
"message"}}`, after any number of `{"id", "stream"}` on the way. `{"event": "cancel", "id"}` gives a question up. Other
events need no answer. One object a line, in UTF-8; the end of the input means that nobody is there any more.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from openclaw_voicecall.errors import HostError, VoiceCallError, quiet

logger = logging.getLogger(__name__)

LINE_LIMIT: Final = 1024 * 1024
"""Bytes of one line."""
WAITING_LIMIT: Final = 8 * 1024 * 1024
"""Bytes that may wait to be written: a program that reads no more must not fill our memory."""

Params = Mapping[str, Any]
Progress = Callable[[Any], None]
Handler = Callable[[str, Params], Awaitable[Any]]
"""`(method, params) -> result`; a `VoiceCallError` it raises is told to the other side."""


@dataclass(frozen=True, slots=True)
class _Question:
    answer: asyncio.Future[Any]
    progress: Progress | None


class Peer:
    """One end of the line.

    Args:
        reader: Where the other side's lines come from.
        writer: Where ours go.
        handle: Answers what the other side asks.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._numbers = count(1)
        self._asked: dict[str, _Question] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._gone = False

    async def run(self) -> None:
        """Take lines until the other side is gone; then every open question fails and every answer is given up."""
        try:
            while line := await self._next_line():
                self._take(line)
        finally:
            self._gone = True
            for question in self._asked.values():
                if not question.answer.done():
                    question.answer.set_exception(HostError("the host program is gone"))
            for task in tuple(self._answering.values()):
                task.cancel()
            if self._answering:
                await asyncio.wait(self._answering.values())

    async def ask(self, method: str, params: Params, *, progress: Progress | None = None) -> Any:
        """Ask the other side.

        Args:
            method: What for.
            params: Plain JSON.
            progress: Takes what is told on the way.

        Raises:
            HostError: It refused, or is gone.
        """
        if self._gone:
            raise HostError("the host program is gone")
        name = f"p{next(self._numbers)}"
        question = _Question(asyncio.get_running_loop().create_future(), progress)
        self._asked[name] = question
        try:
            self._send({"id": name, "method": method, "params": params})
            return await question.answer
        except asyncio.CancelledError:
            self._send({"event": "cancel", "id": name})
            raise
        finally:
            del self._asked[name]

    def tell(self, event: str, **fields: Any) -> None:
        """Tell the other side something that needs no answer."""
        self._send({"event": event, **fields})

    async def _next_line(self) -> bytes:
        while True:
            try:
                return await self._reader.readuntil()
            except asyncio.IncompleteReadError as end:
                return end.partial
            except asyncio.LimitOverrunError as error:
                logger.warning("host: a line of more than %d bytes is skipped", LINE_LIMIT)
                await self._skip_line(error.consumed)

    async def _skip_line(self, waiting: int) -> None:
        while True:
            await self._reader.readexactly(waiting)
            try:
                await self._reader.readuntil()
            except asyncio.LimitOverrunError as error:
                waiting = error.consumed
            except asyncio.IncompleteReadError:
                return
            else:
                return

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            logger.warning("host: a line that is no JSON object is skipped")
            return
        name = message.get("id")
        if message.get("event") == "cancel":
            if task := self._answering.get(str(name)):
                task.cancel()
        elif isinstance(message.get("method"), str) and isinstance(name, str):
            params = message.get("params")
            work = self._answer(name, message["method"], params if isinstance(params, dict) else {})
            self._answering[name] = asyncio.create_task(work)
            self._answering[name].add_done_callback(lambda _: self._answering.pop(name, None))
        elif isinstance(name, str) and name in self._asked:
            self._take_answer(self._asked[name], message)

    def _take_answer(self, question: _Question, message: Params) -> None:
        if "stream" in message:
            if question.progress is not None and not question.answer.done():
                question.progress(message["stream"])
        elif question.answer.done():
            pass  # it was given up in the same moment
        elif "error" in message:
            error = message["error"] if isinstance(message["error"], dict) else {}
            question.answer.set_exception(HostError(str(error.get("message") or "the host program refused")))
        else:
            question.answer.set_result(message.get("result"))

    async def _answer(self, name: str, method: str, params: Params) -> None:
        try:
            result = await self._handle(method, params)
        except asyncio.CancelledError:
            self._send({"id": name, "error": {"code": "CANCELLED", "message": f"{method} was given up"}})
            raise
        except VoiceCallError as error:
            self._send({"id": name, "error": {"code": _code(error), "message": str(error)}})
        except Exception as error:  # a bug of ours is one failed answer, not the end of the line
            logger.exception("host: %s failed", method)
            self._send(
                {"id": name, "error": {"code": "FAILED", "message": quiet(f"internal error: {error!r}")}}
            )
        else:
            self._send({"id": name, "result": result})

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._gone or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > WAITING_LIMIT:
            logger.error("host: it reads nothing any more; the line to it is closed")
            self._writer.close()
            return
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


def _code(error: VoiceCallError) -> str:
    """The word for an error that a host knows, by the status that the control API would answer with."""
    match error.http_status:
        case 404 | 410:
            return "NOT_FOUND"
        case status if 400 <= status < 500:
            return "INVALID_REQUEST"
        case _:
            return "UNAVAILABLE"
