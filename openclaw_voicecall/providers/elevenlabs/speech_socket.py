"""ElevenLabs speech over WebSockets that stay open, one utterance at a time on each.

`/v1/text-to-speech/{voice}/multi-stream-input` carries several utterances, each a context with an id of ours. A context
is opened with a single space, gets its text with `flush`, and is closed with `close_context`: what was flushed is
still spoken, then `isFinal` follows (SDK, types/close_context.py, types/websocket_tts_server_message_multi.py). The
vendor answers in camelCase and expects snake_case.

A socket serves one utterance at a time, because the vendor breaks the whole socket over one bad context, and allows no
more than five at once. After a barge-in the socket is used again, and what still comes for the old context is dropped.
"""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openclaw_voicecall.api.speech import SpeechRequest
from openclaw_voicecall.errors import VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._messages import json_value
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.elevenlabs.account import VENDOR, Account, voice_path
from openclaw_voicecall.providers.elevenlabs.config import ElevenLabsSpeechConfig
from openclaw_voicecall.providers.elevenlabs.speech import OPERATION, Limits

logger = logging.getLogger(__name__)

IDLE = 180
"""Seconds without a message after which the vendor closes; the most it allows."""
UNFINISHED = 3
"""Interrupted contexts that may still be spoken on one socket; with more of them it is given up."""


@asynccontextmanager
async def open_socket_speech(
    config: ElevenLabsSpeechConfig, who: Account, *, limits: Limits | None = None
) -> AsyncIterator["SocketSpeech"]:
    """Open the synthesizer; its sockets are closed at the end."""
    speech = SocketSpeech(config, who, limits or Limits())
    try:
        yield speech
    finally:
        await speech.close()


class SocketSpeech:
    """Text to speech, shared by all calls.

    Args:
        config: Voice, model and their tuning.
        who: The account.
        limits: How long to wait.
    """

    def __init__(self, config: ElevenLabsSpeechConfig, who: Account, limits: Limits) -> None:
        self._config = config
        self._who = who
        self._limits = limits
        self._idle: dict[str, list[_Line]] = {}
        self._lines: set[_Line] = set()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield mu-law 8 kHz audio as it arrives. Closing the iterator ends the utterance. Raises `VendorError`."""
        url = self._address(request)
        line, first = await self._begin(url, request)
        done = False
        try:
            piece = first
            while piece:
                yield piece
                piece = await line.audio(self._limits.stall, "stopped in the middle of an utterance")
            done = True
        finally:
            self._put_back(url, line, finished=done)

    async def close(self) -> None:
        """Close all sockets."""
        lines = list(self._lines)
        for line in lines:
            line.task.cancel()
        if lines:
            await asyncio.wait([line.task for line in lines])

    async def _begin(self, url: str, request: SpeechRequest) -> tuple["_Line", bytes]:
        """Start the utterance and wait for its first audio; once more on a new socket where a kept one fails.

        What fails there may be the connection, or an utterance from before that was interrupted.
        """
        kept = self._take(url)
        if kept is not None:
            try:
                return kept, await self._start(kept, request)
            except VendorTimeout:
                raise
            except VendorError as error:
                logger.info("elevenlabs: a kept socket failed: %s", error)
        line = _Line(url, self._who)
        self._lines.add(line)
        line.task.add_done_callback(lambda task: self._lines.discard(line))
        return line, await self._start(line, request)

    async def _start(self, line: "_Line", request: SpeechRequest) -> bytes:
        try:
            line.say(request.text, self._config.voice_body())
            first = await line.audio(self._limits.first, "sent no audio in time")
            if not first:
                raise _failed("ElevenLabs sent no audio")
        except BaseException:
            line.task.cancel()
            raise
        return first

    def _take(self, url: str) -> "_Line | None":
        idle = self._idle.get(url, [])
        while idle:
            line = idle.pop()
            if not line.task.done():
                return line
        return None

    def _put_back(self, url: str, line: "_Line", *, finished: bool) -> None:
        if not finished:
            line.abandon()
        if line.broken or line.unfinished > UNFINISHED:
            line.task.cancel()
        else:
            alive = [other for other in self._idle.get(url, ()) if not other.task.done()]
            self._idle[url] = [*alive, line]

    def _address(self, request: SpeechRequest) -> str:
        config = self._config
        query = {
            "model_id": config.model,
            "output_format": "ulaw_8000",
            "auto_mode": "true",
            "inactivity_timeout": str(IDLE),
        }
        if language := config.language_for(request.language):
            query["language_code"] = language
        if config.apply_text_normalization:
            query["apply_text_normalization"] = config.apply_text_normalization
        if config.seed is not None:
            query["seed"] = str(config.seed)
        voice = voice_path(request.voice or config.voice)
        return socket_address(self._who.base, f"/v1/text-to-speech/{voice}/multi-stream-input", query)


class _Line:
    """One socket and the utterance on it.

    Args:
        url: Its address.
        who: The account.
    """

    def __init__(self, url: str, who: Account) -> None:
        self._url = url
        self._who = who
        self._socket: VendorSocket | None = None
        self._unsent: list[str] = []
        self._context = ""
        self._count = 0
        self._open: set[str] = set()
        self._pieces: asyncio.Queue[bytes | VendorError] = asyncio.Queue()
        self.broken = False
        self.task = asyncio.create_task(self._run())

    @property
    def unfinished(self) -> int:
        """How many contexts the vendor has not ended."""
        return len(self._open)

    def say(self, text: str, voice_settings: dict[str, Any]) -> None:
        """Start an utterance."""
        self._count += 1
        self._context = f"utterance-{self._count}"
        self._open.add(self._context)
        self._pieces = asyncio.Queue()
        opening: dict[str, Any] = {"text": " ", "context_id": self._context}
        if voice_settings:
            opening["voice_settings"] = voice_settings
        self._send(opening)
        self._send({"text": f"{text.strip()} ", "context_id": self._context, "flush": True})
        self._send({"context_id": self._context, "close_context": True})

    def abandon(self) -> None:
        """Nobody listens to the utterance any more."""
        self._context = ""

    async def audio(self, limit: float, overdue: str) -> bytes:
        """The next piece of the utterance; empty at its end. Raises `VendorError`."""
        try:
            async with asyncio.timeout(limit):
                piece = await self._pieces.get()
        except TimeoutError as error:
            self.broken = True
            raise VendorTimeout(f"ElevenLabs {overdue}", vendor=VENDOR, operation=OPERATION) from error
        if isinstance(piece, VendorError):
            raise piece
        return piece

    def _send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message)
        if self._socket is None:
            self._unsent.append(text)
        else:
            self._socket.send(text)

    async def _run(self) -> None:
        end: VendorError = _failed("ElevenLabs closed the connection in the middle of an utterance")
        try:
            async with open_socket(
                self._url, vendor=VENDOR, operation=OPERATION, headers=self._who.headers
            ) as socket:
                for text in self._unsent:
                    socket.send(text)
                self._socket = socket
                async for message in socket:
                    self._receive(message)
        except VendorError as error:
            end = error
        finally:
            self.broken = True
            self._pieces.put_nowait(end)

    def _receive(self, message: str | bytes) -> None:
        try:
            data = json_value(message if isinstance(message, str) else message.decode())
            audio = base64.b64decode(data.get("audio") or "", validate=True)
            context = data.get("contextId")
            said = data.get("error") or data.get("message")
        except (ValueError, TypeError, AttributeError):
            logger.warning("elevenlabs: a message that cannot be read")
            return
        if said and not audio:
            code = data.get("error") if isinstance(data.get("error"), str) else ""
            raise self._who.refusal(OPERATION, _status(data), code or "", str(data.get("message") or said))
        if context == self._context and audio:
            self._pieces.put_nowait(audio)
        if data.get("isFinal"):
            with contextlib.suppress(KeyError, TypeError):
                self._open.remove(context)
            if context == self._context:
                self._pieces.put_nowait(b"")


def _status(data: dict[str, Any]) -> int:
    """An HTTP status for a refusal on the socket: the vendor gives close codes such as 1008 instead."""
    known = {
        "invalid_api_key": 401,
        "needs_authorization": 401,
        "quota_exceeded": 401,
        "voice_not_found": 404,
        "voice_id_does_not_exist": 404,
        "model_id_does_not_exist": 404,
        "invalid_input_message": 400,
        "rate_limit_exceeded": 429,
        "max_active_conversations": 429,
    }
    word = data.get("error")
    return known.get(word, 500) if isinstance(word, str) else 500


def _failed(why: str) -> VendorError:
    return VendorUnavailable(why, vendor=VENDOR, operation=OPERATION)
