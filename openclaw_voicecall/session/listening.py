"""The caller's audio to words: turn detector, transcriber with its fallbacks, and nothing lost in between."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import (
    Heard,
    SpeechEdge,
    Transcriber,
    TranscriptionRequest,
    TranscriptionStream,
    TurnDetector,
)
from openclaw_voicecall.core.events import (
    BeepDetected,
    Event,
    SpeechStarted,
    SpeechStopped,
    TranscriptionFailed,
    TranscriptReceived,
)
from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRejected, VendorTimeout
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.tones import BeepDetector
from openclaw_voicecall.session.chain import Chain
from openclaw_voicecall.session.deafness import DeafnessWatch

logger = logging.getLogger(__name__)

KEPT = 20.0
"""Seconds of an unfinished utterance that are kept for the next transcriber."""
PRE_ROLL = 0.6
"""Seconds kept while nobody speaks, so that the first syllable is there when speech is noticed."""
ATTEMPTS = 2
"""Times a transcriber is opened again before the next one is asked: once if it refuses us or hears nothing, never for
a wrong key."""
STEADY = 30.0
"""Seconds after which a stream counts as a good one: what broke it is no reason to give the transcriber up."""
LAST_WORDS_LIMIT = 2.5
"""Seconds that the end of a call waits for the words that were said right before it."""
FINAL_LIMIT = 4.0
"""Seconds a transcriber may take for the words of an utterance before it counts as deaf."""
REOPEN_AFTER = 0.2
"""Seconds before the first new attempt; the second waits twice as long."""
OPEN_LIMIT = 8.0
"""Seconds a transcriber may take to be ready."""


class Listening:
    """The agent's ears on one call.

    Args:
        request: Goes to the transcriber.
        chain: The transcriber and its fallbacks.
        detector: Voice activity detection, or None where the transcriber has its own.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        hear_beeps: Whether an answering machine's beep may come.
    """

    def __init__(
        self,
        *,
        request: TranscriptionRequest,
        chain: Chain[Transcriber],
        detector: TurnDetector | None,
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        hear_beeps: bool,
    ) -> None:
        self._request = request
        self._chain = chain
        self._detector = detector
        self._post = post
        self._note = note
        self._clock = clock
        self._beeps = BeepDetector() if hear_beeps else None
        self._stream: TranscriptionStream | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._speaking = False
        self._open_utterance = False
        self._finishing = False
        self._tasks: set[asyncio.Task[None]] = set()
        # Voice activity of our own tells more than the watch; then only words that do not come show a deaf vendor.
        self._watch = DeafnessWatch() if detector is None else None
        self._deaf = asyncio.Event()
        self._closed = asyncio.Event()
        self._overdue: asyncio.TimerHandle | None = None
        self._paused = asyncio.Event()
        self._paused.set()

    @property
    def voice_unanswered(self) -> bool:
        """Whether the caller's voice was heard since the transcriber last said anything."""
        return self._open_utterance or (self._watch is not None and self._watch.voice_unanswered)

    async def frame(self, audio: bytes) -> None:
        """Take the next caller audio."""
        self._keep(audio)
        deaf = self._watch is not None and self._watch.push(audio)
        if self._stream is not None:
            await self._stream.send(audio)
            if deaf:
                self._deaf.set()
        if self._beeps is not None and self._beeps.push(audio):
            self._post(BeepDetected())
        if self._detector is not None:
            for edge in self._detector.push(audio):
                await self._edge(edge, tell=True)
        if self._watch.voice_sounds if self._watch is not None else self._speaking:
            self._paused.clear()
        else:
            self._paused.set()

    async def voice_paused(self) -> None:
        """Wait until the caller is not speaking, as far as can be told without a transcriber."""
        await self._paused.wait()

    def finish_utterance(self) -> None:
        """Ask for the final words now; they come when the transcriber can be reached."""
        self._finishing = True
        self._stop_waiting()
        self._overdue = asyncio.get_running_loop().call_later(FINAL_LIMIT, self._deaf.set)
        if self._stream is not None:
            task = asyncio.create_task(self._finish(self._stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def last_words(self) -> None:
        """The line is gone: wait for the words of what was said before, not for long."""
        if self._stream is None or not self.voice_unanswered:
            return
        self._speaking = False
        self.finish_utterance()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_LIMIT):
                while self._finishing:
                    self._closed.clear()
                    await self._closed.wait()

    async def run(self) -> None:
        """Keep a transcriber open until cancelled; report when none is left."""
        failures: list[str] = []
        for index, link in enumerate(self._chain):
            attempt, again = 0, True
            while again:
                allowed = ATTEMPTS
                began = self._clock.monotonic()
                try:
                    await self._transcribe(link.provider)
                    detail = "the stream was closed"
                except (VendorError, OSError, TimeoutError) as error:
                    detail = str(error) or "not ready in time"
                    allowed = _attempts(error)
                finally:
                    self._stream = None
                    self._stop_waiting()
                if self._clock.monotonic() - began >= STEADY:
                    attempt = 0
                failures.append(f"{link.name}: {detail}")
                again = attempt < allowed
                more = index + 1 < len(self._chain)
                action = (
                    "opened again"
                    if again
                    else f"{self._chain[index + 1].name} listens instead"
                    if more
                    else "given up"
                )
                self._note(
                    "vendor-failed",
                    {"hop": "transcriber", "provider": link.name, "detail": detail, "action": action},
                )
                attempt += 1
                if again:
                    await asyncio.sleep(REOPEN_AFTER * attempt)
        self._post(TranscriptionFailed("; ".join(failures)))

    async def _transcribe(self, transcriber: Transcriber) -> None:
        opening = transcriber.open_stream(self._request)
        async with asyncio.timeout(OPEN_LIMIT):
            stream = await opening.__aenter__()
        self._deaf.clear()
        if self._watch is not None:
            self._watch.told_again()
        reading = asyncio.create_task(self._read(stream))
        deaf = asyncio.create_task(self._deaf.wait())
        try:
            await asyncio.wait((reading, deaf), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise _Deaf("the caller speaks, and no words of it come back", operation="transcribe")
            await reading
        finally:
            self._stream = None
            for task in (reading, deaf):
                task.cancel()
            await asyncio.wait((reading, deaf))
            await opening.__aexit__(None, None, None)

    async def _read(self, stream: TranscriptionStream) -> None:
        await self._replay(stream)
        async for event in stream:
            if self._watch is not None:
                self._watch.answered()
            match event:
                case Heard(text, final):
                    self._stop_waiting()
                    if final:
                        self._utterance_closed()
                    self._post(TranscriptReceived(text, final))
                case SpeechEdge():
                    await self._edge(event, tell=False)

    async def _replay(self, stream: TranscriptionStream) -> None:
        """Give a fresh transcriber what it missed of the utterance, in the order it happened."""
        if self._open_utterance:
            await stream.speech_started()
        for audio in tuple(self._kept):
            await stream.send(audio)
        self._stream = stream
        if self._open_utterance and not self._speaking:
            await stream.speech_stopped()
        if self._finishing:
            await stream.finish_utterance()

    async def _edge(self, edge: SpeechEdge, *, tell: bool) -> None:
        self._speaking = edge.speaking
        if edge.speaking:
            if tell and not self._open_utterance:
                self._trim(PRE_ROLL)
            self._open_utterance, self._finishing = True, False
            self._stop_waiting()
            if tell and self._stream is not None:
                await self._stream.speech_started()
            self._post(SpeechStarted())
        else:
            if tell and self._stream is not None:
                await self._stream.speech_stopped()
            self._post(SpeechStopped(edge.ago))

    async def _finish(self, stream: TranscriptionStream) -> None:
        try:
            await stream.finish_utterance()
        except VendorError as error:
            logger.info("finish_utterance failed: %s", error)

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _utterance_closed(self) -> None:
        self._finishing = False
        self._closed.set()
        self._open_utterance = self._speaking

    def _keep(self, audio: bytes) -> None:
        self._kept.append(audio)
        self._kept_bytes += len(audio)
        waiting = self.voice_unanswered or self._stream is None
        self._trim(KEPT if waiting else PRE_ROLL)

    def _trim(self, limit: float) -> None:
        while self._kept and seconds(self._kept_bytes) > limit:
            self._kept_bytes -= len(self._kept.popleft())


class _Deaf(VendorTimeout):
    """The transcriber is open and hears nothing."""


def _attempts(error: Exception) -> int:
    """How often a transcriber that failed like this is opened again."""
    if isinstance(error, VendorAuthError):
        return 0
    return 1 if isinstance(error, VendorRejected | _Deaf) else ATTEMPTS
