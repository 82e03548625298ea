"""The transcriber `xai`: a WebSocket to `/v1/stt` for each call.

A stream takes audio from its first moment and holds it until xAI is ready, so that connecting costs no word.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import aiohttp

from openclaw_voicecall.api.speech import Heard, SpeechEvent, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.media.audio import silence
from openclaw_voicecall.providers._http import base_address, failure, socket_address, unreachable
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.xai import listening_protocol as protocol
from openclaw_voicecall.providers.xai.config import (
    DEFAULT_BASE_URL,
    LONGEST_ENDPOINTING_MS,
    SETTING,
    XaiTranscriberConfig,
    key_of,
)

logger = logging.getLogger(__name__)

READY_LIMIT: Final = 8.0
"""Seconds until `transcript.created`."""
CHECK_LIMIT: Final = 10.0
FINISH_LIMIT: Final = 1.5
"""Seconds that an answer to `finalize` may take; then the best interim is the final."""
LAST_WORDS_LIMIT: Final = 3.0
"""Seconds that the last words may take once the stream is closed, while somebody listens for them."""
KEEP_ALIVE_AFTER: Final = 4.0
"""Seconds without audio after which a little silence is sent: xAI knows no message for that."""
SILENCE: Final = silence(100)
ERROR_LIMIT: Final = 3.0
"""Seconds in which xAI must show that it goes on, once it has reported an error."""
FAREWELL_LIMIT: Final = 0.2
"""Seconds for handing `audio.done` to the network."""


class XaiTranscriber:
    """Speech to text by xAI, shared by all calls.

    Args:
        config: The account.

    Raises:
        VendorAuthError: There is no key.
        ConfigError: `baseUrl` is no address.
    """

    def __init__(self, config: XaiTranscriberConfig) -> None:
        self._config = config
        self._headers = _headers(config)
        self._base = _base(config)

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call. It is there at once; that xAI refuses is raised by iterating it."""
        config = self._config
        endpointing = config.endpointing_ms
        query = protocol.query(
            model=config.model,
            language=config.language or protocol.language_of(request.language),
            endpointing_ms=None if endpointing is None else min(endpointing, LONGEST_ENDPOINTING_MS),
            interim_results=config.interim_results is not False,
        )
        return self._open(socket_address(self._base, "/stt", query))

    @asynccontextmanager
    async def _open(self, address: str) -> AsyncIterator[TranscriptionStream]:
        stream = XaiStream(address, self._headers)
        try:
            yield stream
        finally:
            await stream.close()


class XaiStream:
    """One call's audio going to xAI and its words coming back.

    Args:
        address: Of the WebSocket, with all parameters.
        headers: Of its handshake.
    """

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self._address = address
        self._headers = headers
        self._listening = protocol.XaiListening()
        self._socket: VendorSocket | None = None
        self._held: list[bytes] = []
        self._held_finish = False
        self._sent_at = 0.0
        self._deadlines: deque[asyncio.TimerHandle] = deque()
        self._error_deadline: asyncio.TimerHandle | None = None
        self._events: deque[SpeechEvent] = deque()
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._readers = 0
        self._closing = False
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._ready_deadline = self._loop.call_later(READY_LIMIT, self._not_ready)
        self._task = self._loop.create_task(self._run())

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio. What comes before xAI is ready goes out first, once it is."""
        if self._over or self._closing or not audio:
            return
        if self._socket is None:
            self._held.append(audio)
            return
        try:
            self._send(self._socket, audio)
        except VendorError as error:
            self._fail(error)

    async def speech_started(self) -> None:
        """Nothing that xAI could be told."""

    async def speech_stopped(self) -> None:
        """Nothing that xAI could be told."""

    async def finish_utterance(self) -> None:
        """Have xAI finish what it heard; the final comes after `FINISH_LIMIT` at the latest."""
        if self._over or self._closing:
            return
        self._deadlines.append(self._loop.call_later(FINISH_LIMIT, self._finish_overdue))
        if self._socket is None:
            self._held_finish = True
            return
        try:
            self._socket.send(self._listening.finish())
        except VendorError as error:
            self._fail(error)

    async def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """Interims and finals until the stream is over. Raises `VendorError` when xAI fails."""
        self._readers += 1
        try:
            while True:
                while self._events:
                    yield self._events.popleft()
                if self._error is not None:
                    raise self._error
                if self._over:
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._readers -= 1

    async def close(self) -> None:
        """Say goodbye; while somebody still listens, wait for the last words."""
        self._closing = True
        try:
            if self._socket is not None and not self._task.done():
                await self._say_goodbye(self._socket)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._end()

    async def _say_goodbye(self, socket: VendorSocket) -> None:
        with suppress(VendorError, TimeoutError):
            socket.send(protocol.AUDIO_DONE)
            if self._readers:
                await asyncio.wait({self._task}, timeout=LAST_WORDS_LIMIT)
            else:
                async with asyncio.timeout(FAREWELL_LIMIT):
                    await socket.drain()

    async def _run(self) -> None:
        try:
            async with open_socket(
                self._address,
                vendor=protocol.VENDOR,
                operation=protocol.OPERATION,
                headers=self._headers,
                timeout=READY_LIMIT,
            ) as socket:
                waker = self._loop.create_task(self._keep_alive())
                try:
                    await self._listen(socket)
                finally:
                    waker.cancel()
        except VendorError as error:
            self._error = self._error or error
        except Exception as error:  # a mistake of ours must not look like a caller who says nothing
            self._error = error
        finally:
            self._end()

    async def _listen(self, socket: VendorSocket) -> None:
        listening = self._listening
        with suppress(VendorUnavailable):  # how it was closed is looked at below
            async for message in socket:
                self._give(listening.receive(message))
                if listening.done and self._closing:
                    return
                if listening.ready and self._socket is None:
                    self._start(socket)
                self._mind_complaint()
        if not (self._closing and socket.close_code == 1000):
            raise protocol.close_error(socket.close_code, socket.close_reason, listening.complaint)

    def _start(self, socket: VendorSocket) -> None:
        self._socket = socket
        self._ready_deadline.cancel()
        self._sent_at = self._loop.time()
        for audio in self._held:
            self._send(socket, audio)
        self._held.clear()
        if self._held_finish:
            for _ in range(len(self._deadlines)):
                socket.send(self._listening.finish())
            self._held_finish = False

    async def _keep_alive(self) -> None:
        while True:
            quiet = self._loop.time() - self._sent_at if self._socket else 0.0
            if quiet >= KEEP_ALIVE_AFTER and self._socket is not None:
                with suppress(VendorError):  # the reading side reports it
                    self._send(self._socket, SILENCE)
                quiet = 0.0
            await asyncio.sleep(KEEP_ALIVE_AFTER - quiet)

    def _send(self, socket: VendorSocket, audio: bytes) -> None:
        socket.send(audio)
        self._sent_at = self._loop.time()
        self._listening.audio_sent(audio)

    def _mind_complaint(self) -> None:
        """An error may be about one message only, or be the end: what follows it tells."""
        complaint = self._listening.complaint
        if complaint and self._socket is None:
            raise protocol.close_error(None, "", complaint)
        if complaint and self._error_deadline is None:
            logger.warning("xai reports an error: %s", complaint)
            self._error_deadline = self._loop.call_later(ERROR_LIMIT, self._error_overdue)
        elif not complaint and self._error_deadline is not None:
            self._error_deadline.cancel()
            self._error_deadline = None

    def _not_ready(self) -> None:
        self._fail(_silent("xai was not ready in time"))

    def _error_overdue(self) -> None:
        self._fail(protocol.close_error(None, "", self._listening.complaint))

    def _finish_overdue(self) -> None:
        self._deadlines.popleft()
        if self._socket is None:
            self._give([Heard("", final=True)])
            return
        self._give(self._listening.overdue())
        if self._listening.unanswered > 1:
            self._fail(_silent("xai says nothing any more"))

    def _fail(self, error: VendorError) -> None:
        self._error = self._error or error
        self._task.cancel()

    def _give(self, events: Iterable[SpeechEvent]) -> None:
        self._events.extend(events)
        while (
            self._socket is not None and not self._held_finish and len(self._deadlines) > self._listening.owed
        ):
            self._deadlines.popleft().cancel()
        self._changed.set()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            if self._error is None:
                self._give(self._listening.last_words())
            for deadline in (*self._deadlines, self._ready_deadline, self._error_deadline):
                if deadline is not None:
                    deadline.cancel()
            self._deadlines.clear()
            self._changed.set()


async def check(config: XaiTranscriberConfig) -> str:
    """Ask xAI which models the key may use.

    Raises:
        VendorError: The key is refused, or xAI cannot be reached.
    """
    url, operation = _base(config) + "/models", "list models"
    timeout = aiohttp.ClientTimeout(total=CHECK_LIMIT)
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=timeout) as session,
            session.get(url, headers=_headers(config), allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise failure(
                    protocol.VENDOR,
                    operation,
                    response.status,
                    await response.text(),
                    headers=response.headers,
                )
            models = (await response.json(content_type=None))["data"]
            return f"the key may use {len(models)} models"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(protocol.VENDOR, operation, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise failure(protocol.VENDOR, operation, 502, "not the answer of xAI's API") from error


def _headers(config: XaiTranscriberConfig) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_of(config)}"}


def _base(config: XaiTranscriberConfig) -> str:
    return base_address(config.base_url, DEFAULT_BASE_URL, setting=f"{SETTING}.baseUrl")


def _silent(why: str) -> VendorTimeout:
    return VendorTimeout(why, vendor=protocol.VENDOR, operation=protocol.OPERATION)
