"""The caller's audio to words: turn detector, transcriber with its fallbacks, and nothing lost in between."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

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
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.media.tones import BeepDetector
from openclaw_voicecall.session.arrivals import Arrivals
from openclaw_voicecall.session.chain import Link, Rotation, is_open, why_failed
from openclaw_voicecall.session.deafness import DeafnessWatch
from openclaw_voicecall.session.feeding import Feed

logger = logging.getLogger(__name__)

R = TypeVar("R")

KEPT = 20.0
"""Seconds of an unfinished utterance that are kept for the next transcriber."""
SILENT_FRAMES = 2
"""Frames that wait for the next one where nothing can be heard in them, and nothing was heard that they might be the
end of. Most of what a call hears is such silence: so it costs a third. The first sound goes out at once, with them."""
PRE_ROLL = 0.6
"""Seconds kept while nobody speaks, so that the first syllable is there when speech is noticed."""
ATTEMPTS = 2
"""Times a transcriber is opened again before the next one is asked: once if it refuses us, never for a wrong key. One
that hears nothing is opened again only if there is no other: the caller has waited already."""
STEADY = 30.0
"""Seconds after which a stream counts as a good one: what broke it is no reason to give the transcriber up."""
LAST_WORDS_LIMIT = 2.5
"""Seconds that the end of a call waits for the words that were said right before it."""
FINAL_LIMIT = 4.0
"""Seconds a transcriber may take for the words of an utterance before it counts as deaf."""
WORDLESS = 2
"""Utterances in a row without words that a transcriber may find where our own ear hears a voice, before another one is
asked. The line may be noisy, so without another one it is believed."""
REOPEN_AFTER = 0.2
"""Seconds before the first new attempt; the second waits twice as long."""
OPEN_LIMIT = 8.0
"""Seconds a transcriber may take to be ready."""
OPEN_PATIENCE = 3.0
"""The same while a caller who has said something waits for an answer."""
UNHEARD = "the caller speaks, and no words of it come back"


class Listening:
    """The agent's ears on one call.

    Args:
        request: Goes to the transcriber.
        rotation: The transcriber and its fallbacks.
        detector: Voice activity detection, or None where the transcriber has its own.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        hear_beeps: Whether an answering machine's beep may come.
        echo: Takes the agent's own voice out of what comes back, or None.
    """

    hop = "transcriber"

    def __init__(
        self,
        *,
        request: TranscriptionRequest,
        rotation: Rotation[Transcriber],
        detector: TurnDetector | None,
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        hear_beeps: bool,
        echo: EchoGate | None = None,
    ) -> None:
        self._request = request
        self._rotation = rotation
        self._detector = detector
        self._post = post
        self._note = note
        self._clock = clock
        self._echo = echo
        self.arrivals = Arrivals()
        self._beeps = BeepDetector() if hear_beeps else None
        self._feed: Feed | None = None
        """To the transcriber that is open."""
        self._silence: list[bytes] = []
        """Frames that wait for the next one."""
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._speaking = False
        self._open_utterance = False
        self._finishing = False
        self._opened = False
        """Whether a transcriber was open before."""
        # Voice activity of our own tells more than the watch; then only words that do not come show a deaf vendor.
        self._watch = DeafnessWatch() if detector is None else None
        self._deaf = asyncio.Event()
        self._reproach = UNHEARD
        self._spare = False
        """Whether another transcriber could be asked."""
        self._wordless = 0
        """Utterances in a row in which no words were found, although the caller's voice was heard."""
        self._ignored = False
        """Whether the last of these is not even asked about."""
        self._refused = False
        """Whether the transcriber has refused what the caller said, and no words came since."""
        self._patient_until = 0.0
        """Until when a transcriber may go on opening although the caller waits for an answer."""
        self._closed = asyncio.Event()
        self._overdue: asyncio.TimerHandle | None = None
        self._paused = asyncio.Event()
        self._paused.set()

    @property
    def voice_unanswered(self) -> bool:
        """Whether the caller's voice was heard since the transcriber last said anything."""
        return self._open_utterance or (self._watch is not None and self._watch.voice_unanswered)

    @property
    def voice_sounds(self) -> bool:
        """Whether the caller speaks now, as far as can be told without a transcriber."""
        return self._watch.voice_sounds if self._watch is not None else self._speaking

    @property
    def voice_stirs(self) -> bool:
        """Whether the caller seems to have begun to speak, which only the transcriber can tell for sure."""
        return self._watch is not None and self._watch.voice_stirs

    @property
    def words_owed(self) -> bool:
        """Whether the caller has said something, is quiet again, and no transcriber has answered it."""
        if self._watch is not None:
            asked_for = self._finishing and not self._speaking and self._watch.spoken
            return self._watch.words_owed or self._ignored or asked_for
        return self._open_utterance and not self._speaking

    def bridged(self) -> None:
        """The caller has heard a clip: for what holds no words, as it seems, nothing more is owed."""
        self._ignored = False

    def give_up(self, why: str) -> None:
        """Wait no longer for the transcriber that is open: another one gets the utterance."""
        self._reproach = why
        self._deaf.set()

    def frame(self, audio: bytes, *, silent: bool = False) -> None:
        """Take the next caller audio; `silent` if nothing can be heard in it."""
        now = self._clock.monotonic()
        self.arrivals.came(seconds(len(audio)), now)
        if silent and len(self._silence) < SILENT_FRAMES and not self.voice_unanswered:
            self._silence.append(audio)
            return
        if self._silence:
            audio = b"".join((*self._silence, audio))
            self._silence.clear()
        if self._echo is not None:
            audio = self._echo.clean(audio, now)
        self._keep(audio)
        deaf = self._watch is not None and self._watch.push(audio)
        if self._feed is not None:
            self._feed.give(self._feed.stream.send(audio))
        if deaf and (self._feed is not None or self._clock.monotonic() >= self._patient_until):
            self._deaf.set()
        if self._beeps is not None and self._beeps.push(audio):
            self._post(BeepDetected())
        if self._detector is not None:
            for edge in self._detector.push(audio):
                self._edge(edge, tell=True)
        if self.voice_sounds:
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
        if self._feed is not None:
            self._feed.give(self._finish(self._feed.stream))

    async def last_words(self) -> None:
        """The line is gone: wait for the words of what was said before, not for long."""
        if self._feed is None or not self.voice_unanswered:
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
        tried: list[Link[Transcriber]] = []
        while rest := [link for link in self._rotation.order() if link not in tried]:
            if await self._listen_with(rest[0], rest[1:], failures):
                tried.clear()  # what the others did before is of another time
            tried.append(rest[0])
        self._post(TranscriptionFailed("; ".join(failures)))

    async def _listen_with(
        self, link: Link[Transcriber], others: Sequence[Link[Transcriber]], failures: list[str]
    ) -> bool:
        """Keep one transcriber open until it is given up; returns whether it has worked for long."""
        attempt, steady = 0, False
        self._spare = bool(others)
        while True:
            allowed, began = ATTEMPTS, self._clock.monotonic()
            try:
                await self._transcribe(link)
                detail = "the stream was closed"
            except Exception as error:  # a plugin's bug must not leave the caller unheard either
                timed_out = isinstance(error, TimeoutError) and not str(error)
                detail = "not ready in time" if timed_out else why_failed(error)
                allowed = _attempts(error, alone=len(self._rotation.order()) == 1)
                self._refused = self._refused or isinstance(error, VendorRejected)
            finally:
                self._close_feed()
                self._stop_waiting()
            if self._clock.monotonic() - began >= STEADY:
                attempt, steady = 0, True
            failures.append(f"{link.name}: {detail}")
            self._rotation.failed(link)
            again = attempt < allowed and not (others and is_open(link))
            instead = f"{others[0].name} listens instead" if others else "given up"
            self._note(
                "vendor-failed",
                {
                    "hop": "transcriber",
                    "provider": link.name,
                    "detail": detail,
                    "action": "opened again" if again else instead,
                },
            )
            if not again:
                return steady
            attempt += 1
            await asyncio.sleep(REOPEN_AFTER * attempt)

    async def _transcribe(self, link: Link[Transcriber]) -> None:
        self._deaf.clear()
        self._reproach = UNHEARD
        self._patient_until = self._clock.monotonic() + OPEN_PATIENCE
        opening = link.provider.open_stream(self._request)
        async with asyncio.timeout(OPEN_LIMIT):
            stream = await self._unless_deaf(opening.__aenter__())
        if self._watch is not None:
            self._watch.told_again()
        try:
            await self._unless_deaf(self._read(link, stream))
        finally:
            self._close_feed()
            await opening.__aexit__(None, None, None)

    async def _unless_deaf(self, work: Coroutine[Any, Any, R]) -> R:
        """Do this until it is clear that the transcriber hears nothing."""
        working = asyncio.create_task(work)
        deaf = asyncio.create_task(self._deaf.wait())
        try:
            await asyncio.wait((working, deaf), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _Deaf(self._reproach, operation="transcribe")
            return working.result()
        finally:
            for task in (working, deaf):
                task.cancel()
            await asyncio.wait((working, deaf))

    async def _read(self, link: Link[Transcriber], stream: TranscriptionStream) -> None:
        await self._replay(link, stream)
        async for event in stream:
            match event:
                case Heard(text, final):
                    if final:
                        self._require_words(link, text)
                    self._answered(unfinished=not final)
                    self._stop_waiting()
                    if text:
                        self._rotation.worked(link)
                    if final:
                        self._utterance_closed()
                    self._post(TranscriptReceived(text, final))
                case SpeechEdge():
                    self._answered(unfinished=event.speaking)
                    self._edge(event, tell=False)

    def _require_words(self, link: Link[Transcriber], text: str) -> None:
        """An utterance is over. Raises `VendorError` where another transcriber may find words in it."""
        spoken = self._watch is not None and self._watch.take_spoken()
        if text or not spoken:
            self._wordless = 0 if text else self._wordless
            self._refused = self._refused and not text
            return
        self._wordless += 1
        detail = "it gives no words of what the caller said"
        self._note("words-missing", {"hop": "transcriber", "provider": link.name, "detail": detail})
        self._ignored = self._wordless >= WORDLESS
        # Of noise nobody makes words, but who has refused the same words before has failed.
        if self._refused or (self._ignored and self._spare):
            self._wordless = 0
            raise _Deaf("it finds no words in what the caller says", operation="transcribe")

    def _answered(self, *, unfinished: bool) -> None:
        if self._watch is not None:
            self._watch.answered(unfinished=unfinished)

    async def _replay(self, link: Link[Transcriber], stream: TranscriptionStream) -> None:
        """Give a fresh transcriber what it missed of the utterance, in the order it happened."""
        if self._opened and self.voice_unanswered:
            data = {"provider": link.name, "seconds": round(seconds(self._kept_bytes), 2)}
            self._note("utterance-replayed", {**data, "language": self._request.language})
        self._opened = True
        if self._open_utterance:
            await stream.speech_started()
        for audio in tuple(self._kept):
            await stream.send(audio)
        self._feed = Feed(stream, self._feed_broke)
        if self._open_utterance and not self._speaking:
            await stream.speech_stopped()
        if self._finishing:
            await stream.finish_utterance()

    def _edge(self, edge: SpeechEdge, *, tell: bool) -> None:
        self._speaking = edge.speaking
        if edge.speaking:
            self._ignored = False
            if tell and not self._open_utterance:
                self._trim(PRE_ROLL)
            self._open_utterance, self._finishing = True, False
            self._stop_waiting()
            if tell and self._feed is not None:
                self._feed.give(self._feed.stream.speech_started())
            self._post(SpeechStarted())
        else:
            if tell and self._feed is not None:
                self._feed.give(self._feed.stream.speech_stopped())
            self._post(SpeechStopped(edge.ago, closes=edge.closes))

    def _feed_broke(self, error: Exception) -> None:
        logger.warning("the transcriber takes no audio: %r", error)
        self.give_up(f"it takes no audio: {error}")

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

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
        waiting = self.voice_unanswered or self._feed is None
        self._trim(KEPT if waiting else PRE_ROLL)

    def _trim(self, limit: float) -> None:
        while self._kept and seconds(self._kept_bytes) > limit:
            self._kept_bytes -= len(self._kept.popleft())


class _Deaf(VendorTimeout):
    """The transcriber is open and hears nothing."""


def _attempts(error: Exception, *, alone: bool) -> int:
    """How often a transcriber that failed like this is opened again."""
    if isinstance(error, VendorAuthError) or (isinstance(error, _Deaf) and not alone):
        return 0
    return 1 if isinstance(error, VendorRejected | _Deaf) else ATTEMPTS
