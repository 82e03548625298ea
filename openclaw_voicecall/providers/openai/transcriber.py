"""The transcriber `openai`: one socket a call, opened in the background, and a fresh one before OpenAI ends the old.

`open_stream` does not wait for the network: audio is taken from the first frame and waits in the session, so that no
word is lost while the socket opens. A failure comes out of the iteration.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import SpeechEvent, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import VendorError, VendorTimeout, VendorUnavailable
from openclaw_voicecall.providers._events import Events
from openclaw_voicecall.providers._http import socket_address
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.openai.account import Account
from openclaw_voicecall.providers.openai.config import OpenAITranscriberConfig
from openclaw_voicecall.providers.openai.models import has_server_vad
from openclaw_voicecall.providers.openai.refusals import VENDOR
from openclaw_voicecall.providers.openai.session_config import SessionSettings
from openclaw_voicecall.providers.openai.transcription import Phase, TranscriptionSession

logger = logging.getLogger(__name__)

OPERATION: Final = "transcribe"
READY_LIMIT: Final = 5.0
"""Seconds from the first attempt to connect until the session must be ready."""
EAGER_SILENCE_MS: Final = 300
"""Silence after which OpenAI transcribes for a call that decides itself when the caller is done: 200 ms of the usual
500 are won. A shorter one would take more pauses between two words for an end, and what is transcribed apart is
understood worse."""
LAST_WORDS: Final = 3.0
"""Seconds to wait for the words of audio that was committed at the end."""
ROTATE_AFTER: Final = 50 * 60.0
"""Seconds after which a pause is used to go on with a fresh session; OpenAI ends each after 60 minutes."""
ROTATE_BY: Final = 57 * 60.0
"""Seconds after which the session is changed even in the middle of a word."""
ROTATE_AGAIN: Final = 30.0
"""Seconds between attempts to get a fresh session."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    ready: float = READY_LIMIT
    last_words: float = LAST_WORDS
    rotate_after: float = ROTATE_AFTER
    rotate_by: float = ROTATE_BY


class OpenAITranscriber:
    """Speech to text by OpenAI, shared by all calls.

    Args:
        account: Whose key is used.
        config: The settings.
        clock: Monotonic time.
        limits: How long things may take.
    """

    def __init__(
        self, account: Account, config: OpenAITranscriberConfig, clock: Clock, limits: Limits | None = None
    ) -> None:
        self._account = account
        self._config = config
        self._clock = clock
        self._limits = limits or Limits()

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call."""
        return self._open(request)

    @asynccontextmanager
    async def _open(self, request: TranscriptionRequest) -> AsyncIterator[TranscriptionStream]:
        stream = OpenAIStream(self._account, self._settings(request), clock=self._clock, limits=self._limits)
        try:
            yield stream
        finally:
            await stream.close()

    def _settings(self, request: TranscriptionRequest) -> SessionSettings:
        tag = request.language.replace("_", "-").partition("-")[0].lower()
        config = self._config
        silence_ms = config.silence_duration_ms
        return SessionSettings(
            model=config.model,
            language=tag if len(tag) == 2 else "",
            server_vad=has_server_vad(config.model),
            threshold=config.vad_threshold,
            prefix_padding_ms=config.prefix_padding_ms,
            silence_duration_ms=min(silence_ms, EAGER_SILENCE_MS) if request.eager else silence_ms,
            noise_reduction=config.noise_reduction,
        )


class _Line:
    """One session and its socket."""

    def __init__(self, settings: SessionSettings, started: float) -> None:
        self.session = TranscriptionSession(settings)
        self.started = started
        self.socket: VendorSocket | None = None
        self.limit: asyncio.Timeout | None = None
        self.task: asyncio.Task[None]


class OpenAIStream:
    """One call's audio going in and its words coming out.

    Args:
        account: Whose key is used.
        settings: What each session is asked for.
        clock: Monotonic time.
        limits: How long things may take.
    """

    never_waits = True

    def __init__(self, account: Account, settings: SessionSettings, *, clock: Clock, limits: Limits) -> None:
        self._url = socket_address(account.base_url, "/realtime", {"intent": "transcription"})
        self._headers = account.headers
        self._settings = settings
        self._clock = clock
        self._limits = limits
        self._events: Events[SpeechEvent] = Events()
        self._tasks: set[asyncio.Task[None]] = set()
        self._line = self._start()
        self._fresh: _Line | None = None
        self._retiring: _Line | None = None
        self._rotate_at = self._line.started + limits.rotate_after

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio, mu-law 8 kHz."""
        socket = self._line.socket
        calm = socket is not None and not (self._events.over or self._retiring) and socket.close_code is None
        if socket is not None and calm and (message := self._line.session.pass_on(audio)):
            try:
                socket.send(message)
            except VendorError as error:
                self._events.end(error)
        else:
            self._do(lambda session: session.send(audio))
        if self._clock.monotonic() >= self._rotate_at:
            self._rotate()

    async def speech_started(self) -> None:
        """The turn detector heard speech begin."""
        self._do(TranscriptionSession.speech_started)

    async def speech_stopped(self) -> None:
        """The turn detector heard speech pause."""
        self._do(TranscriptionSession.speech_stopped)

    async def finish_utterance(self) -> None:
        """Commit what OpenAI has not committed itself; its words come as a final."""
        self._do(TranscriptionSession.finish_utterance)

    def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """Interims, finals and edges until the stream is closed. Raises `VendorError` when OpenAI fails."""
        return aiter(self._events)

    async def close(self) -> None:
        """End the stream. If somebody still listens, the words of what was said last come first."""
        try:
            if self._events.readers and not self._events.over:
                self._end(self._line)
                await asyncio.wait([self._line.task])
        finally:
            self._events.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _do(self, act: Callable[[TranscriptionSession], None]) -> None:
        """Let the session act. A failure ends the iteration: those who send audio cannot handle it."""
        if self._events.over:
            return
        try:
            act(self._line.session)
            self._line.session.require_answers()
            self._pump(self._line)
        except VendorError as error:
            self._events.end(error)

    def _start(self) -> _Line:
        line = _Line(self._settings, self._clock.monotonic())
        line.task = asyncio.create_task(self._run(line))
        self._tasks.add(line.task)
        line.task.add_done_callback(self._tasks.discard)
        return line

    async def _run(self, line: _Line) -> None:
        """Serve one session until it ends; what that means depends on which one it is."""
        try:
            await self._serve(line)
        except VendorError as error:
            if line is self._line and not line.session.is_ending:
                self._events.end(error)
            else:
                logger.info("a session of OpenAI ended early: %s", error)
        except Exception as error:  # a bug of ours must not leave the call without ears
            self._events.end(error)
        finally:
            if line is self._fresh:
                self._fresh = None
                self._rotate_at = self._clock.monotonic() + ROTATE_AGAIN
            if line is self._retiring:
                self._retiring = None
                self._pump(self._line)

    async def _serve(self, line: _Line) -> None:
        session = line.session
        try:
            async with asyncio.timeout(self._limits.ready) as limit:
                line.limit = limit
                async with open_socket(
                    self._url,
                    vendor=VENDOR,
                    operation=OPERATION,
                    headers=self._headers,
                    timeout=self._limits.ready * 2,
                ) as socket:
                    line.socket = socket
                    session.connected()
                    self._pump(line)
                    async for message in socket:
                        was_ready = session.phase is Phase.READY
                        session.receive(message)
                        self._pump(line)
                        if session.is_finished:
                            return
                        if session.phase is Phase.READY and not was_ready and not session.is_ending:
                            limit.reschedule(None)
                    raise VendorUnavailable(
                        f"OpenAI ended the session: {socket.close_code} {socket.close_reason}".rstrip(),
                        vendor=VENDOR,
                        operation=OPERATION,
                        status=socket.close_code,
                    )
        except TimeoutError as error:
            waited = "transcribe the last words" if session.is_ending else "set the session up"
            raise VendorTimeout(
                f"OpenAI did not {waited} in time", vendor=VENDOR, operation=OPERATION
            ) from error

    def _pump(self, line: _Line) -> None:
        """Pass on what a session has for OpenAI and for us; a fresh session's words wait for the last of the old."""
        socket = line.socket
        if socket is not None and socket.close_code is None:  # else the reading side says why
            try:
                for message in line.session.take_messages():
                    socket.send(message)
            except VendorError as error:
                if line is self._line:
                    self._events.end(error)
        if line is self._fresh or (line is self._line and self._retiring is not None):
            return
        if events := line.session.take_events():
            self._events.give(events)

    def _end(self, line: _Line) -> None:
        """Let a session transcribe what it has, and no longer than allowed."""
        if line.task.done():
            return
        line.session.end()
        self._pump(line)
        if line.session.is_finished or line.limit is None:
            line.task.cancel()
        else:
            line.limit.reschedule(asyncio.get_running_loop().time() + self._limits.last_words)

    def _rotate(self) -> None:
        """Open a fresh session beside the old one, and change over in a pause, or when it cannot wait any longer."""
        if self._events.over or self._retiring is not None:
            return
        if self._fresh is None:
            self._fresh = self._start()
            return
        old, fresh = self._line, self._fresh
        overdue = self._clock.monotonic() - old.started >= self._limits.rotate_by
        if fresh.session.phase is not Phase.READY or not (old.session.is_quiet or overdue):
            return
        self._line, self._fresh = fresh, None
        self._rotate_at = fresh.started + self._limits.rotate_after
        if old.session.is_quiet:
            fresh.session.send(old.session.recent)
            old.task.cancel()
        else:
            if old.session.utterance_open:
                fresh.session.speech_started()
            self._retiring = old
            self._end(old)
        self._pump(fresh)
