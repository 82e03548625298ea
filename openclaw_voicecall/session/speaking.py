"""Utterances to audio on the line: synthesizer, pacer, marks, and what of it was heard."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from openclaw_voicecall.api.carrier import MediaCodec
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import SpeechRequest, Synthesizer
from openclaw_voicecall.core.events import Event, PlayoutProgressed, UtteranceFailed, UtterancePlayed
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.pacer import Pacer, SendAudio, SendMark
from openclaw_voicecall.media.recording import StereoRecorder
from openclaw_voicecall.session.chain import Chain, Link, Rotation
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.tones import ToneQueue

logger = logging.getLogger(__name__)

FIRST_AUDIO_LIMIT = 3.0
"""Seconds a synthesizer may take to its first audio before the next one is asked. With the time until a filler is due
and the one that a carrier needs to take over, this makes the longest silence, which is less than six seconds."""
TICK_DELAY = 0.010
"""Seconds. A carrier plays in ticks of 20 ms, so sound that arrives waits half a tick on average; the recording
places it where it was heard."""
NEXT_AUDIO_LIMIT = 4.0
"""Seconds between two pieces of one utterance."""
RETRY_WITHIN = 1.0
"""Seconds within which a failure has cost so little that the same synthesizer is asked once more."""


@dataclass(slots=True)
class _Order:
    turn: int
    utterance: int
    text: str


class Speaking:
    """The agent's voice on one call.

    Args:
        call_id: Goes into the synthesizer's requests.
        chain: The synthesizer and its fallbacks.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        lead: Seconds of audio sent ahead of the carrier's playout.
        marks: Whether the carrier echoes marks.
        recorder: Gets the agent's channel, or None.
        language: BCP 47 tag.
        voice: Empty for the configured one.
    """

    def __init__(
        self,
        *,
        call_id: str,
        chain: Chain[Synthesizer],
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        lead: float,
        marks: bool,
        recorder: StereoRecorder | None,
        language: str,
        voice: str,
    ) -> None:
        self._call_id = call_id
        self._post = post
        self._note = note
        self._clock = clock
        self._recorder = recorder
        self._language = language
        self._voice = voice
        self.pacer = Pacer(lead=lead, marks=marks)
        self._codec: MediaCodec | None = None
        self._link: MediaLink | None = None
        self._epoch = 0.0
        self._lost = False
        self._orders: deque[_Order] = deque()
        self._wake = asyncio.Event()
        self._making: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turns: dict[int, int] = {}
        self._sounded: set[int] = set()
        self._tones = ToneQueue()
        self._rotation = Rotation(chain)

    def attach(self, codec: MediaCodec, link: MediaLink, epoch: float) -> None:
        """Use this stream from now on; `epoch` is the monotonic time of the recording's start."""
        self._codec, self._link, self._epoch = codec, link, epoch
        if self._lost:
            self._lost = False
            self.pacer.resume(self._clock.monotonic())
        self._pump()

    def detach(self) -> None:
        """The stream is gone, and with it what the carrier had not played."""
        if not self.pacer.held:
            self.pacer.hold(self._clock.monotonic())
            self._lost = True
        self._codec = self._link = None
        self._disarm()

    def speak(self, turn: int, utterance: int, text: str) -> None:
        """Queue an utterance."""
        self.pacer.announce(utterance)
        self._turns[utterance] = turn
        self._orders.append(_Order(turn, utterance, text))
        self._wake.set()

    def hold(self) -> None:
        """Fall silent and keep what was not heard."""
        now = self._clock.monotonic()
        self._silence(self.pacer.hold(now), now)
        self._report_overdue(now)

    def resume(self) -> None:
        """Go on from the heard point."""
        self.pacer.resume(self._clock.monotonic())
        self._pump()

    def clear(self, turn: int) -> None:
        """Fall silent and drop everything of the turn and of those before it."""
        now = self._clock.monotonic()
        self.cancel(turn)
        self._silence(self.pacer.clear(now), now)
        self._turns.clear()

    def cancel(self, turn: int) -> None:
        """Make no more audio for this turn."""
        self._orders = deque(order for order in self._orders if order.turn > turn)
        if self._making is not None:
            self._making.cancel()

    def send_tones(self, digits: str) -> bool:
        """Play keys as tones, after what the carrier has already; false when there is no stream.

        They are not speech of the agent: a caller who speaks does not cut them.
        """
        if self._link is None or self._codec is None:
            return False
        now = self._clock.monotonic()
        starts = max(now, self.pacer.playout_ends)
        audio = self._tones.add(digits, starts)
        self.pacer.delay(now, seconds(len(audio)))
        self._link.send(self._codec.audio(audio))
        if self._recorder is not None:
            self._recorder.agent(starts + TICK_DELAY - self._epoch, audio)
        return True

    def mark_echoed(self, name: str) -> None:
        """The carrier says that it played up to this mark."""
        utterance = self.pacer.mark_echoed(name, self._clock.monotonic())
        if utterance is not None:
            self._played(utterance)
        self._pump()

    def progress(self) -> PlayoutProgressed | None:
        """How far the utterance now playing was heard."""
        position = self.pacer.position(self._clock.monotonic())
        if position is None:
            return None
        return PlayoutProgressed(position.utterance, position.heard, position.duration)

    async def run(self) -> None:
        """Synthesize what is ordered, one utterance after the other, until cancelled."""
        try:
            while True:
                while self._orders:
                    order = self._orders.popleft()
                    self._making = asyncio.create_task(self._make(order))
                    await asyncio.wait([self._making])
                    self._making = None
                self._wake.clear()
                if not self._orders:
                    await self._wake.wait()
        finally:
            self._disarm()
            if self._making is not None:
                self._making.cancel()
                await asyncio.wait([self._making])

    async def _make(self, order: _Order) -> None:
        request = SpeechRequest(
            call_id=self._call_id, text=order.text, language=self._language, voice=self._voice
        )
        failures: list[str] = []
        began = False
        links = self._rotation.order()
        for index, link in enumerate(links):
            following = links[index + 1].name if index + 1 < len(links) else ""
            outcome = await self._ask(link, request, order.utterance, following, failures)
            if outcome == "done":
                self.pacer.finish(order.utterance)
                self._pump()
                return
            self._rotation.failed(link)
            began = outcome == "began"
            if began:
                break  # what was heard is never said twice, so nobody else starts this utterance again
        self.pacer.drop(order.utterance)
        self._pump()
        self._post(UtteranceFailed(order.utterance, "; ".join(failures), partly=began))

    async def _ask(
        self,
        link: Link[Synthesizer],
        request: SpeechRequest,
        utterance: int,
        following: str,
        failures: list[str],
    ) -> str:
        """Let one synthesizer speak: `done`, `began` and broken off, or `failed` without a sound."""
        for may_retry in (True, False):
            began = False
            asked = self._clock.monotonic()
            try:
                async with aclosing(_guarded(link.provider, request)) as pieces:
                    async for audio in pieces:
                        began = True
                        self.pacer.push(utterance, audio)
                        self._pump()
            except (VendorError, TimeoutError, OSError) as error:
                detail = str(error) or type(error).__name__
                quick = self._clock.monotonic() - asked <= RETRY_WITHIN
                again = may_retry and quick and not began and getattr(error, "retryable", False)
                failures.append(f"{link.name}: {detail}")
                action = (
                    "asked again"
                    if again
                    else f"{following} speaks instead"
                    if following and not began
                    else "given up"
                )
                self._note(
                    "vendor-failed",
                    {"hop": "synthesizer", "provider": link.name, "detail": detail, "action": action},
                )
                if not again:
                    return "began" if began else "failed"
            else:
                return "done"
        return "failed"

    def _pump(self) -> None:
        """Send what is due and arm the timer for what is not."""
        self._disarm()
        if self._link is None or self._codec is None:
            return
        now = self._clock.monotonic()
        for item in self.pacer.due(now):
            match item:
                case SendAudio(audio, starts):
                    self._link.send(self._codec.audio(audio))
                    if self._recorder is not None:
                        self._recorder.agent(starts + TICK_DELAY - self._epoch, audio)
                    self._note_first_audio()
                case SendMark(name):
                    message = self._codec.mark(name)
                    if message is not None:
                        self._link.send(message)
        self._report_overdue(now)
        at = self.pacer.next_time()
        if at is not None and self._link is not None:
            self._timer = asyncio.get_running_loop().call_later(
                max(0.0, at - self._clock.monotonic()), self._pump
            )

    def _report_overdue(self, now: float) -> None:
        for utterance in self.pacer.overdue(now):
            self._played(utterance)

    def _note_first_audio(self) -> None:
        position = self.pacer.position(self._clock.monotonic())
        turn = self._turns.get(position.utterance) if position else None
        if position is not None and turn is not None and turn not in self._sounded:
            self._sounded.add(turn)
            self._note("first-audio", {"turn": turn, "utterance": position.utterance})

    def _played(self, utterance: int) -> None:
        self._turns.pop(utterance, None)
        self._post(UtterancePlayed(utterance))

    def _silence(self, unplayed: bool, now: float) -> None:
        self._disarm()
        if self._recorder is not None:
            self._recorder.clear_agent(now - self._epoch)
        if unplayed and self._link is not None and self._codec is not None:
            message = self._codec.clear()
            if message is not None:
                self._link.send(message)
                if unheard := self._tones.take_unheard(now):
                    self.send_tones(unheard)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _guarded(synthesizer: Synthesizer, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
    """Pieces of an utterance; a stall or an utterance without audio is an error."""
    heard = False
    pieces = synthesizer.speak(request)
    try:
        while True:
            async with asyncio.timeout(NEXT_AUDIO_LIMIT if heard else FIRST_AUDIO_LIMIT):
                audio = await anext(pieces, None)
            if audio is None:
                break
            heard = heard or bool(audio)
            yield audio
    except TimeoutError as error:
        raise TimeoutError("no audio in time") from error
    finally:
        await pieces.aclose()
    if not heard:
        raise VendorError("the synthesizer gave no audio", operation="speak")
