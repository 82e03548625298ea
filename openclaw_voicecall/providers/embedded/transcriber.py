"""The transcriber `local`: utterances cut by the turn detector, decoded whole in the worker process.

The model has no streaming: it reads a finished wave. So a stream collects an utterance, decodes what there is every
so often for interim text, and decodes at once when the detector reports a pause. If the caller is done, that text
is already there when the turn ends.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import numpy as np

from openclaw_voicecall.api.speech import Heard, SpeechEvent, TranscriptionRequest, TranscriptionStream
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE
from openclaw_voicecall.media.wav import decode_ulaw
from openclaw_voicecall.providers.embedded.decoder import Decoder, Urgency
from openclaw_voicecall.providers.embedded.hearing import frame_levels
from openclaw_voicecall.providers.embedded.settings import LocalTranscriberConfig

logger = logging.getLogger(__name__)

PREROLL_BYTES: Final = 450 * SAMPLE_RATE // 1000
"""Audio kept from before the detector's report: its 60 to 100 ms delay, and the 300 ms that the model needs."""
TAIL_BYTES: Final = 100 * SAMPLE_RATE // 1000
"""How much of the silence after an utterance may open the next one: too little to hold the last word again."""
LONG_UTTERANCE_BYTES: Final = 10 * SAMPLE_RATE
"""An utterance this long is closed at the next pause, so that its end need not wait for all of it to be decoded."""
LONGEST_UTTERANCE_BYTES: Final = 20 * SAMPLE_RATE
"""An utterance this long is cut where it is quietest."""
_QUIET_FRAMES: Final = 10
"""Frames of 20 ms over which quiet is measured for a cut."""
_INTERIM_SHARE: Final = 0.2
"""Interims come no faster than after this share of new audio, or a long utterance would be decoded all the time."""


class LocalTranscriber:
    """Speech to text on this machine, shared by all calls.

    Args:
        decoder: The running worker.
        config: How often interims come.
    """

    def __init__(self, decoder: Decoder, config: LocalTranscriberConfig) -> None:
        self._decoder = decoder
        self._config = config
        self._languages: set[str] = set()

    def open_stream(self, request: TranscriptionRequest) -> AbstractAsyncContextManager[TranscriptionStream]:
        """Open a stream for one call."""
        language = request.language.split("-")[0].lower()
        if language not in {"", "en", *self._languages} and len(self._languages) < 100:
            self._languages.add(language)
            logger.warning(
                "the local transcriber understands English only", extra={"language": request.language}
            )
        return self._open(request)

    @asynccontextmanager
    async def _open(self, request: TranscriptionRequest) -> AsyncIterator[TranscriptionStream]:
        self._decoder.wake()
        stream = LocalStream(self._decoder, interim_bytes=self._config.interim_ms * SAMPLE_RATE // 1000)
        try:
            yield stream
        finally:
            await stream.close()


class LocalStream:
    """One call's audio going in and its words coming out.

    Args:
        decoder: The worker that all calls share.
        interim_bytes: New speech after which an interim is due; 0 for none.
    """

    never_waits = True

    def __init__(self, decoder: Decoder, *, interim_bytes: int) -> None:
        self._decoder = decoder
        self._interim_bytes = interim_bytes
        self._audio = bytearray()
        """The open utterance from its pre-roll on, or the pre-roll of the next one."""
        self._open = False
        self._paused_at: int | None = None
        """Where in the audio the detector reported the pause that lasts; None while the caller speaks."""
        self._interim_at = 0
        self._interim: asyncio.Task[str] | None = None
        self._pause: asyncio.Task[str] | None = None
        self._shown = ""
        self._finals: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()
        self._events: deque[Heard] = deque()
        self._changed = asyncio.Event()
        self._error: VendorError | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._spawn(self._give_finals())

    async def send(self, audio: bytes) -> None:
        """Take the next caller audio, mu-law 8 kHz."""
        self._audio += audio
        length = len(self._audio)
        if not self._open:
            del self._audio[: max(0, length - PREROLL_BYTES)]
        elif length >= LONGEST_UTTERANCE_BYTES:
            self._cut_long()
        elif self._paused_at is None:
            self._maybe_interim(length)

    async def speech_started(self) -> None:
        """Open an utterance, or go on with the one that paused."""
        if not self._open:
            self._begin()
        elif self._paused_at is not None:
            if self._paused_at >= LONG_UTTERANCE_BYTES and self._pause is not None:
                self._close(self._pause, keep=len(self._audio) - self._paused_at + TAIL_BYTES)
                self._begin()
            else:
                self._drop(self._pause)
            self._paused_at = self._pause = None

    async def speech_stopped(self) -> None:
        """Decode what was said so far: most pauses are the end."""
        if self._open and self._paused_at is None:
            self._drop(self._interim)
            self._paused_at = len(self._audio)
            self._pause = self._decode(bytes(self._audio), Urgency.PAUSE)
            self._pause.add_done_callback(self._show)

    async def finish_utterance(self) -> None:
        """Give the final text: the pause's, when nothing was said since."""
        if not self._open:
            nothing: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            nothing.set_result("")
            self._finals.put_nowait(nothing)
        elif self._paused_at is not None and self._pause is not None:
            self._close(self._pause, keep=len(self._audio) - self._paused_at + TAIL_BYTES)
        else:
            self._close(self._decode(bytes(self._audio), Urgency.FINAL), keep=0)
            self._begin()

    async def __aiter__(self) -> AsyncIterator[SpeechEvent]:
        """Interims and finals until the stream is closed. Raises `VendorError` when decoding fails for good."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._error is not None:
                raise self._error
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Drop what is not decoded yet and end the iteration."""
        self._closed = True
        self._changed.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> None:
        self._open = True
        self._paused_at = self._pause = None
        self._interim_at = len(self._audio)
        self._shown = ""

    def _close(self, text: asyncio.Future[str], *, keep: int) -> None:
        """End the utterance with the text that `text` gives; the last `keep` bytes may belong to the next one."""
        self._drop(self._interim)
        self._open = False
        self._pause = self._interim = None
        self._paused_at = None
        self._finals.put_nowait(text)
        keep = min(keep, PREROLL_BYTES)
        del self._audio[: len(self._audio) - keep]

    def _cut_long(self) -> None:
        """Close an utterance that became too long, where it is quietest in its second half, and go on."""
        if self._paused_at is not None and self._pause is not None:
            self._close(self._pause, keep=PREROLL_BYTES)
            return
        cut = _quietest(self._audio)
        rest = self._audio[cut:]
        self._close(self._decode(bytes(self._audio[:cut]), Urgency.PAUSE), keep=0)
        self._audio += rest
        self._begin()

    def _maybe_interim(self, length: int) -> None:
        due = max(self._interim_bytes, int(length * _INTERIM_SHARE))
        in_flight = self._interim is not None and not self._interim.done()
        if not self._interim_bytes or length - self._interim_at < due or in_flight or self._decoder.busy:
            return
        self._interim_at = length
        self._interim = self._decode(bytes(self._audio), Urgency.INTERIM)
        self._interim.add_done_callback(self._show)

    def _show(self, decoded: asyncio.Future[str]) -> None:
        """Give the text of the open utterance as an interim, if it is news."""
        if decoded.cancelled() or decoded.exception() is not None:
            return
        text = decoded.result()
        if decoded not in {self._interim, self._pause} or text == self._shown or self._closed:
            return
        self._shown = text
        self._give(Heard(text, final=False))

    async def _give_finals(self) -> None:
        """Give finals in the order of their utterances, each once it is decoded."""
        while True:
            text = await self._finals.get()
            try:
                self._give(Heard(await text, final=True))
            except VendorError as error:
                self._fail(error)
                return

    def _give(self, heard: Heard) -> None:
        if self._events and not self._events[-1].final:
            self._events.pop()
        self._events.append(heard)
        self._changed.set()

    def _fail(self, error: VendorError) -> None:
        self._error = error
        self._changed.set()

    def _decode(self, audio: bytes, urgency: Urgency) -> asyncio.Task[str]:
        return self._spawn(self._decoder.decode(audio, urgency))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), VendorError):
            self._fail(error)

    def _drop(self, task: asyncio.Task[str] | None) -> None:
        if task is not None:
            task.cancel()


def _quietest(audio: bytearray) -> int:
    """The place in the second half of an utterance around which it is quietest, in bytes from its start."""
    half = len(audio) // 2
    levels = frame_levels(decode_ulaw(bytes(audio[half:])).astype(np.float32) / 32768.0)
    around = np.convolve(levels, np.ones(_QUIET_FRAMES), mode="valid")
    return half + (int(around.argmin()) + _QUIET_FRAMES // 2) * FRAME_BYTES
