"""The transcriber `deepgram`: a WebSocket to `/v1/listen` for each call.

A stream takes audio from its first moment and holds it until Deepgram is there, so that connecting costs no word.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import aiohttp

from openclaw_voicecall.api.speech import Heard, SpeechEvent, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import VendorError, VendorTimeout
from openclaw_voicecall.providers._http import base_address, failure, socket_address, unreachable
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.deepgram import listening_protocol as protocol
from openclaw_voicecall.providers.deepgram.config import (
    DEFAULT_BASE_URL,
    SETTING,
    DeepgramTranscriberConfig,
    key_of,
    model_of,
)

CONNECT_LIMIT: Final = 8.0
"""Seconds for the handshake."""
CHECK_LIMIT: Final = 10.0
FINISH_LIMIT: Final = 1.5
"""Seconds that an answer to `Finalize` may take; then the best interim is the final."""
LAST_WORDS_LIMIT: Final = 3.0
"""Seconds that the last words may take once the stream is closed, while somebody listens for them."""
KEEP_ALIVE_AFTER: Final = 4.0
"""Seconds without audio after which `KeepAlive` is sent; Deepgram closes after 10."""
FAREWELL_LIMIT: Final = 0.2
"""Seconds for handing `CloseStream` to the network."""


class DeepgramTranscriber:
    """Speech to text by Deepgram, shared by all calls.

    Args:
        config: The account.

    Raises:
        VendorAuthError: There is no key.
        ConfigError: `baseUrl` is no address.
    """

    def __init__(self, config: DeepgramTranscriberConfig) -> None:
        self._config = config
        self._headers = _headers(config)
        self._base = _base(config)

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call. It is there at once; that Deepgram refuses is raised by iterating it."""
        config = self._config
        query = protocol.query(
            model=model_of(config),
            language=config.language or protocol.language_of(request.language),
            endpointing_ms=config.endpointing_ms,
            interim_results=config.interim_results is not False,
            vad_events=config.vad_events,
        )
        return self._open(socket_address(self._base, "/v1/listen", query))

    @asynccontextmanager
    async def _open(self, address: str) -> AsyncIterator[TranscriptionStream]:
        stream = DeepgramStream(address, self._headers, edges=self._config.vad_events)
        try:
            yield stream
        finally:
            await stream.close()


class DeepgramStream:
    """One call's audio going to Deepgram and its words coming back.

    Args:
        address: Of the WebSocket, with all parameters.
        headers: Of its handshake.
        edges: Whether Deepgram was asked for voice activity.
    """

    def __init__(self, address: str, headers: dict[str, str], *, edges: bool) -> None:
        self._address = address
        self._headers = headers
        self._listening = protocol.DeepgramListening(edges=edges)
        self._socket: VendorSocket | None = None
        self._held: list[bytes] = []
        self._held_finish = False
        self._has_audio = False
        self._sent_at = 0.0
        self._deadlines: deque[asyncio.TimerHandle] = deque()
        self._events: deque[SpeechEvent] = deque()
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._readers = 0
        self._closing = False
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio. What comes before Deepgram is there goes out first, once it is."""
        if self._over or self._closing or not audio:
            return
        self._has_audio = True
        if self._socket is None:
            self._held.append(audio)
            return
        try:
            self._send(self._socket, audio)
        except VendorError as error:
            self._fail(error)

    async def speech_started(self) -> None:
        """A turn detector listens, too: its edges count, not Deepgram's. Before any audio it says nothing."""
        if self._has_audio:
            self._listening.edges = False

    async def speech_stopped(self) -> None:
        """Deepgram hears that by itself."""

    async def finish_utterance(self) -> None:
        """Have Deepgram finish what it heard; the final comes after `FINISH_LIMIT` at the latest."""
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
        """Interims, finals and speech edges until the stream is over. Raises `VendorError` when Deepgram fails."""
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
            socket.send(protocol.CLOSE_STREAM)
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
                timeout=CONNECT_LIMIT,
            ) as socket:
                self._connected(socket)
                waker = self._loop.create_task(self._keep_alive(socket))
                try:
                    await self._listen(socket)
                finally:
                    waker.cancel()
        except VendorError as error:
            self._error = self._error or _explained(error)
        except Exception as error:  # a mistake of ours must not look like a caller who says nothing
            self._error = error
        finally:
            self._end()

    def _connected(self, socket: VendorSocket) -> None:
        self._socket = socket
        self._sent_at = self._loop.time()
        for audio in self._held:
            self._send(socket, audio)
        self._held.clear()
        if self._held_finish:
            for _ in range(len(self._deadlines)):
                socket.send(self._listening.finish())
            self._held_finish = False

    async def _listen(self, socket: VendorSocket) -> None:
        try:
            async for message in socket:
                self._give(self._listening.receive(message))
        except VendorError as error:
            if error.status is None:
                raise
        if not self._closing or socket.close_code != 1000:
            raise protocol.close_error(socket.close_code, socket.close_reason)

    async def _keep_alive(self, socket: VendorSocket) -> None:
        while True:
            quiet = self._loop.time() - self._sent_at
            if quiet >= KEEP_ALIVE_AFTER:
                with suppress(VendorError):  # the reading side reports it
                    socket.send(protocol.KEEP_ALIVE)
                self._sent_at, quiet = self._loop.time(), 0.0
            await asyncio.sleep(KEEP_ALIVE_AFTER - quiet)

    def _send(self, socket: VendorSocket, audio: bytes) -> None:
        socket.send(audio)
        self._sent_at = self._loop.time()
        self._give(self._listening.audio_sent(audio))

    def _finish_overdue(self) -> None:
        self._deadlines.popleft()
        if self._socket is None:
            self._give([Heard("", final=True)])
            return
        self._give(self._listening.overdue())
        if self._listening.unanswered > 1:
            self._fail(
                VendorTimeout(
                    "deepgram says nothing any more", vendor=protocol.VENDOR, operation=protocol.OPERATION
                )
            )

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
            for deadline in self._deadlines:
                deadline.cancel()
            self._deadlines.clear()
            self._changed.set()


async def check(config: DeepgramTranscriberConfig) -> str:
    """Ask Deepgram which projects the key belongs to.

    Raises:
        VendorError: The key is refused, or Deepgram cannot be reached.
    """
    url, operation = _base(config) + "/v1/projects", "list projects"
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
            projects = (await response.json(content_type=None))["projects"]
            return (
                f"the key belongs to project {projects[0]['name']}" if projects else "the key has no project"
            )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(protocol.VENDOR, operation, error) from error
    except (ValueError, TypeError, KeyError) as error:
        raise failure(protocol.VENDOR, operation, 502, "not the answer of Deepgram's API") from error


def _headers(config: DeepgramTranscriberConfig) -> dict[str, str]:
    return {"Authorization": f"Token {key_of(config)}"}


def _base(config: DeepgramTranscriberConfig) -> str:
    return base_address(config.base_url, DEFAULT_BASE_URL, setting=f"{SETTING}.baseUrl")


def _explained(error: VendorError) -> VendorError:
    """Deepgram says why it refuses a handshake in a header of its own."""
    refused = error.__cause__
    if not isinstance(refused, aiohttp.WSServerHandshakeError) or not refused.headers:
        return error
    said = refused.headers.get("dg-error")
    if not said:
        return error
    headers = {**refused.headers, "x-request-id": refused.headers.get("dg-request-id", "")}
    return failure(protocol.VENDOR, protocol.OPERATION, refused.status, said, headers=headers)
