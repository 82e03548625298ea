"""Utterances to audio on the line: the voice that makes it, pacer, marks, and what of it was heard."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from openclaw_voicecall.api.carrier import MediaCodec
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.core.events import Event, PlayoutProgressed, UtteranceFailed, UtterancePlayed
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.media.pacer import Pacer, SendAudio, SendMark
from openclaw_voicecall.media.recording import StereoRecorder
from openclaw_voicecall.session.clips import Clip, PlayedClip
from openclaw_voicecall.session.deadline import Deadlines
from openclaw_voicecall.session.echoes import Echoes
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.meter import LineMeter
from openclaw_voicecall.session.tones import ToneQueue
from openclaw_voicecall.session.voice import Ear, MakesSpeech, Order

logger = logging.getLogger(__name__)

TICK_DELAY = 0.010
"""Seconds. A carrier plays in ticks of 20 ms, so sound that arrives waits half a tick on average; the recording
places it where it was heard."""
WRITE_LIMIT = 2.0
"""Seconds that a message may take to leave for the carrier."""
_CHUNK = 0.2
"""Seconds of audio in a message. Sound that is due leaves in smaller ones, so nobody waits for one to be full."""
_LATE_START = 0.1
"""Seconds that a carrier may take to begin what it is sent, on its way there and on a busy machine."""
CHOPPED = 0.4
"""Part of an utterance that may be gaps, where it is made more slowly than it is heard."""


class Speaking:
    """The agent's voice on one call.

    Args:
        voice: Makes the audio.
        deadlines: Tells how long that may take.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        clock: Monotonic time.
        lead: Seconds of audio sent ahead of the carrier's playout.
        marks: Whether the carrier echoes marks.
        recorder: Gets the agent's channel, or None.
        meter: Measures what leaves.
        echo: Has to know what is played, or None.
    """

    def __init__(
        self,
        *,
        voice: MakesSpeech,
        deadlines: Deadlines,
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        clock: Clock,
        lead: float,
        marks: bool,
        recorder: StereoRecorder | None,
        meter: LineMeter,
        echo: EchoGate | None = None,
    ) -> None:
        self._voice = voice
        self._deadlines = deadlines
        self._post = post
        self._note = note
        self._clock = clock
        self._recorder = recorder
        self._meter = meter
        self._echo = echo
        late_start = _LATE_START if marks else 0.0
        self.pacer = Pacer(lead=lead, chunk=_CHUNK, marks=marks, late_start=late_start)
        self._marks = marks
        self._codec: MediaCodec | None = None
        self._link: MediaLink | None = None
        self._epoch = 0.0
        self._lost = False
        self._orders: deque[Order] = deque()
        self._unplayed: dict[int, Order] = {}
        """What was ordered, and neither heard to its end nor dropped, nor broken off."""
        self._wake = asyncio.Event()
        self._making: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        """When the timer is armed for."""
        self._sounded: set[int] = set()
        self._tones = ToneQueue()
        self._echoes = Echoes()
        self._clip = PlayedClip(post, clock)

    def attach(self, codec: MediaCodec, link: MediaLink, epoch: float) -> None:
        """Use this stream from now on; `epoch` is the monotonic time of the recording's start."""
        self._codec, self._link, self._epoch = codec, link, epoch
        self._echoes.forget()
        self._meter.stream_began()
        if self._lost:
            self._lost = False
            self.pacer.resume(self._clock.monotonic())
        self._pump()

    def detach(self) -> None:
        """The stream is gone, and with it what the carrier had not played."""
        now = self._clock.monotonic()
        since = self._echoes.silent_since(now)
        self._meter.stream_ended(since)
        self._clip.stop()
        if not self.pacer.held:
            if since is not None:
                self.pacer.heard_until(since, now)
            self.pacer.hold(now)
            self._lost = True
        self._codec = self._link = None
        self._disarm()

    @property
    def sounds(self) -> bool:
        """Whether something that was ordered is being heard, and not heard to its end."""
        return any(self.pacer.begun(utterance) for utterance in self._unplayed)

    def unsaid(self, turn: int) -> tuple[Order, ...]:
        """What was ordered in a turn and of which nothing was heard, in order; also what could not be spoken."""
        mine = (order for order in self._unplayed.values() if order.turn == turn)
        return tuple(order for order in mine if not self.pacer.begun(order.utterance))

    def forget(self, utterance: int) -> None:
        """Nobody speaks this utterance any more."""
        self._unplayed.pop(utterance, None)

    def speak(self, turn: int, utterance: int, text: str) -> None:
        """Queue an utterance."""
        order = Order(turn, utterance, text)
        self.pacer.announce(utterance)
        self._unplayed[utterance] = order
        self._orders.append(order)
        self._wake.set()

    def hold(self) -> None:
        """Fall silent and keep what was not heard."""
        now = self._clock.monotonic()
        self._silence(self.pacer.hold(now) or self._clip.plays, now)
        self._report_overdue(now)

    def resume(self) -> None:
        """Go on from the heard point."""
        self.pacer.resume(self._clock.monotonic())
        if self._echo is not None:
            self._echo.forgive()
        self._pump()

    def clear(self, turn: int) -> None:
        """Fall silent and drop everything of the turn and of those before it."""
        now = self._clock.monotonic()
        self.cancel(turn)
        self._silence(self.pacer.clear(now) or self._clip.plays, now)
        self._unplayed.clear()

    def cancel(self, turn: int) -> None:
        """Make no more audio for this turn."""
        self._orders = deque(order for order in self._orders if order.turn > turn)
        if self._making is not None:
            self._making.cancel()

    def give_up(self, why: str) -> bool:
        """Wait no longer for the synthesizer that is at work; false when none is."""
        return self._voice.give_up(why)

    def send_tones(self, digits: str) -> bool:
        """Play keys as tones, after what the carrier has already; false when there is no stream.

        They are not speech of the agent: a caller who speaks does not cut them.
        """
        if self._link is None:
            return False
        now = self._clock.monotonic()
        self._play(self._tones.add(digits, max(now, self.pacer.playout_ends)), now)
        return True

    def play_clip(self, clip: Clip) -> bool:
        """Play a clip at once, to bridge a silence; false when there is no stream."""
        if self._link is None:
            return False
        self._clip.stop()
        self._clip.begin(clip, self._play(clip.audio, self._clock.monotonic()))
        return True

    def cut_clip(self) -> None:
        """The far party speaks: a clip is not worth talking on."""
        now = self._clock.monotonic()
        if self._clip.plays and not self.pacer.held:
            self.pacer.hold(now)
            self._silence(True, now)
            self.pacer.resume(now)
            self._pump()

    def mark_echoed(self, name: str) -> None:
        """The carrier says that it played up to this mark."""
        now = self._clock.monotonic()
        due = self._echoes.due(name)
        if self._echoes.echoed(name, now):
            if due is not None:
                # What goes on after a sound that was nothing goes on from there.
                self.pacer.played_until(due, now)
            return
        utterance = self.pacer.mark_echoed(name, now)
        if utterance is not None:
            self._played(utterance)
        self._pump()

    def stalled(self) -> str:
        """Why the stream takes no audio, although it is open; empty as long as it does."""
        now = self._clock.monotonic()
        if self._link is None:
            return ""
        if self._link.blocked >= WRITE_LIMIT:
            return "it takes no audio"
        return "it plays nothing" if self._echoes.silent_since(now) is not None else ""

    def progress(self) -> PlayoutProgressed | None:
        """How far the utterance now playing was heard."""
        position = self.pacer.position(self._clock.monotonic())
        if position is None:
            return None
        return PlayoutProgressed(position.utterance, position.heard, position.duration)

    def heard_of(self, utterance: int) -> float | None:
        """Seconds that were heard of an utterance; None for one that is over, such as one heard to its end."""
        position = self.pacer.position(self._clock.monotonic())
        if position is not None and position.utterance == utterance:
            return position.heard
        return 0.0 if utterance in self._unplayed else None

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

    async def _make(self, order: Order) -> None:
        def push(audio: bytes) -> None:
            self.pacer.push(order.utterance, audio)
            self._pump()

        deadline = self._deadlines.of(order.turn, self._clock.monotonic())
        ear = Ear(push, lambda: self._starved(order.utterance), self._ahead)
        outcome = await self._voice.make(order, deadline, ear)
        if outcome.done:
            self.pacer.finish(order.utterance)
            self._pump()
            return
        self.pacer.drop(order.utterance)
        self._pump()
        if outcome.began:
            self._unplayed.pop(order.utterance, None)  # of what was heard nothing is said again, by anybody
        self._post(UtteranceFailed(order.utterance, outcome.detail, partly=outcome.began))

    def _starved(self, utterance: int) -> float:
        """Seconds for which the far party misses an utterance in its middle: at a stretch, or by many small gaps."""
        missing, gaps, played = self.pacer.starved(utterance, self._clock.monotonic())
        return max(missing, gaps if gaps > CHOPPED * played else 0.0)

    def _ahead(self) -> float:
        """Seconds of audio that the far party will hear, and that is here or on its way."""
        return self.pacer.buffered + max(0.0, self.pacer.playout_ends - self._clock.monotonic())

    def _pump(self) -> None:
        """Send what is due and arm the timer for what is not."""
        if self._link is None or self._codec is None:
            self._disarm()
            return
        now = self._clock.monotonic()
        for item in self.pacer.due(now):
            match item:
                case SendAudio(audio, starts):
                    self._send(audio, starts)
                    self._note_first_audio()
                case SendMark(name):
                    self._mark(name)
        self._report_overdue(now)
        at = self.pacer.next_time()
        if at is None or self._link is None:
            self._disarm()
        elif self._timer is None or at < self._due:
            # One that comes too early does no harm, and audio that comes in many pieces would arm one for each.
            self._disarm()
            self._due = at
            delay = max(0.0, at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._pump()

    def _play(self, audio: bytes, now: float) -> float:
        """Play audio that is no utterance behind what the carrier has already; returns when it begins."""
        starts = max(now, self.pacer.playout_ends)
        self.pacer.delay(now, seconds(len(audio)))
        self._send(audio, starts)
        return starts

    def _send(self, audio: bytes, starts: float) -> None:
        if self._link is None or self._codec is None:
            return
        self._link.send(self._codec.audio(audio), lambda: self._meter.sent(audio, starts))
        if self._recorder is not None:
            self._recorder.agent(starts + TICK_DELAY - self._epoch, audio)
        if self._echo is not None:
            self._echo.played(audio, starts)
        if self._marks and (question := self._echoes.question(starts + seconds(len(audio)))):
            self._mark(question)

    def _mark(self, name: str) -> None:
        if self._link is not None and self._codec is not None:
            message = self._codec.mark(name)
            if message is not None:
                self._link.send(message)

    def _report_overdue(self, now: float) -> None:
        for utterance in self.pacer.overdue(now):
            self._played(utterance)

    def _note_first_audio(self) -> None:
        position = self.pacer.position(self._clock.monotonic())
        order = self._unplayed.get(position.utterance) if position else None
        if order is not None and order.turn not in self._sounded:
            self._sounded.add(order.turn)
            self._note("first-audio", {"turn": order.turn, "utterance": order.utterance})

    def _played(self, utterance: int) -> None:
        self._unplayed.pop(utterance, None)
        self._post(UtterancePlayed(utterance))

    def _silence(self, unplayed: bool, now: float) -> None:
        self._disarm()
        if self._recorder is not None:
            self._recorder.clear_agent(now - self._epoch)
        if self._echo is not None:
            self._echo.silenced(now)
        if unplayed and self._link is not None and self._codec is not None:
            message = self._codec.clear()
            if message is not None:
                self._link.send(message)
                self._echoes.cleared(now)
                self._meter.cleared()
                self._clip.stop()
                if unheard := self._tones.take_unheard(now):
                    self.send_tones(unheard)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
