"""ElevenLabs Scribe as a transcriber: one WebSocket a call."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from openclaw_voicecall.api.speech import SpeechEvent, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import RemoteProtocolError, VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.providers._events import Events
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.elevenlabs.account import VENDOR, Account
from openclaw_voicecall.providers.elevenlabs.config import ElevenLabsScribeConfig
from openclaw_voicecall.providers.elevenlabs.scribe import OPERATION, ScribeSession

logger = logging.getLogger(__name__)

PATH = "/v1/speech-to-text/realtime"
CONNECT_LIMIT = 4.0
"""Seconds for the handshake. A call waits 8 s for a transcriber, and is to hear who it was that did not answer."""
START_LIMIT = 3.5
"""Seconds from the handshake to `session_started`."""
ANSWER_LIMIT = 5.0
"""Seconds that a final text may take; then the session counts as dead, and a new one is given the audio again."""


class ScribeTranscriber:
    """Speech to text by ElevenLabs, shared by all calls.

    Args:
        config: Model, language, and who ends utterances.
        who: The account.
        answer_limit: Seconds that a final text may take.
    """

    def __init__(
        self, config: ElevenLabsScribeConfig, who: Account, *, answer_limit: float = ANSWER_LIMIT
    ) -> None:
        self._config = config
        self._who = who
        self._answer_limit = answer_limit

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call; it is there once the vendor says that the session has started."""
        return self._open(request)

    @asynccontextmanager
    async def _open(self, request: TranscriptionRequest) -> AsyncIterator[TranscriptionStream]:
        url = socket_address(self._who.base, PATH, self._config.query(request.language))
        async with open_socket(
            url, vendor=VENDOR, operation=OPERATION, headers=self._who.headers, timeout=CONNECT_LIMIT
        ) as socket:
            session = ScribeSession(vendor_commits=self._config.commit_strategy == "vad")
            stream = ScribeStream(socket, session, answer_limit=self._answer_limit)
            reading = asyncio.create_task(stream.read())
            try:
                await stream.wait_started()
                yield stream
            finally:
                stream.stop()
                reading.cancel()
                await asyncio.wait([reading])


class ScribeStream:
    """One call's audio going in and its words coming out.

    Args:
        socket: The open socket.
        session: Its wire format.
        answer_limit: Seconds that a final text may take.
    """

    never_waits = True

    def __init__(self, socket: VendorSocket, session: ScribeSession, *, answer_limit: float) -> None:
        self._socket = socket
        self._session = session
        self._answer_limit = answer_limit
        self._overdue: asyncio.TimerHandle | None = None
        self._events: Events[SpeechEvent] = Events()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio. A vendor that does not read it ends the iteration with an error."""
        self._send(self._session.audio(audio))

    async def speech_started(self) -> None:
        """Nothing to do: Scribe hears all audio."""

    async def speech_stopped(self) -> None:
        """Cut a very long segment here, so that its final comes fast; nothing is final yet."""
        self._send(self._session.pause())

    async def finish_utterance(self) -> None:
        """Have the vendor give the final text now, also where it would have waited for more silence."""
        messages, events = self._session.finish()
        self._send(messages)
        self._events.give(events)
        if messages and self._overdue is None:
            self._arm()

    def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """Interims and finals until the vendor closes. Raises `VendorError`, after all words that came before it."""
        return aiter(self._events)

    async def wait_started(self) -> None:
        """Wait until the vendor takes audio. Raises `VendorError`."""
        try:
            async with asyncio.timeout(START_LIMIT):
                await self._started
        except TimeoutError as error:
            raise VendorTimeout(
                "ElevenLabs did not start the session in time", vendor=VENDOR, operation=OPERATION
            ) from error

    async def read(self) -> None:
        """Take the vendor's messages until it closes or fails."""
        end: VendorError | None = None
        try:
            async for message in self._socket:
                self._receive(message)
        except VendorError as error:
            end = error
        if not self._started.done():
            self._started.set_exception(end or _closed(self._socket.close_reason))
        self._end(end)

    def stop(self) -> None:
        """Take nothing more."""
        self._end(None)
        self._started.cancel()

    def _receive(self, message: str | bytes) -> None:
        owed = self._session.owed
        try:
            events = self._session.receive(message)
        except RemoteProtocolError as error:
            logger.warning("elevenlabs: a message that cannot be read: %s", error)
            return
        if self._session.started and not self._started.done():
            self._started.set_result(None)
        self._events.give(events)
        if self._session.owed < owed:
            self._disarm()
            if self._session.owed:
                self._arm()

    def _send(self, messages: Sequence[str]) -> None:
        if self._events.over:
            return
        try:
            for message in messages:
                self._socket.send(message)
        except VendorError as error:
            self._end(error)

    def _end(self, error: VendorError | None) -> None:
        self._disarm()
        self._events.end(error)

    def _arm(self) -> None:
        # A vendor that ends segments by itself may have nothing to answer.
        if not self._events.over and not self._session.vendor_commits:
            self._overdue = asyncio.get_running_loop().call_later(self._answer_limit, self._give_up)

    def _disarm(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        self._end(
            VendorTimeout(
                f"ElevenLabs gave no final text within {self._answer_limit:g} s",
                vendor=VENDOR,
                operation=OPERATION,
            )
        )


def _closed(reason: str) -> VendorError:
    why = f": {reason}" if reason else ""
    return VendorUnavailable(
        f"ElevenLabs closed the connection before the session started{why}",
        vendor=VENDOR,
        operation=OPERATION,
    )
