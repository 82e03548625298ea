"""Decides which of the agent's audio leaves when, and tells what of it was heard.

A carrier keeps what it is sent in a buffer and plays it at its own real-time pace. It echoes a mark once the audio
before it was played, and all marks at once after a `clear`. So the pacer sends ahead, up to `lead` seconds, in few
large messages, and reckons from times and echoes where the caller's ear is.

`lead` may be large, because sending ahead costs nothing: a `clear` empties the carrier's buffer at once, so a barge-in
silences a buffer of ten seconds as fast as one of a tenth. What a large lead buys is calm: this process may stall for
as long without a gap on the line. What bounds it is only what a broken connection would lose, and carriers that
cannot clear.

Two positions are kept apart. The *send* estimate assumes that the carrier starts at once; it can only be too early,
so sending by it never lets the carrier run dry. The *heard* estimate is behind it by the lag that the last echo
showed (network both ways, a carrier that started late); a barge-in reaches us with the same delay, so it is the
position that the caller reacted to.

All times are seconds of one clock, given as `now`; audio is mu-law 8000 Hz, so bytes are samples.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Final

from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE, seconds

_TICK: Final = 1e-4
"""Timers may fire this much early."""


@dataclass(frozen=True, slots=True)
class SendAudio:
    """Send this audio now. `starts` is when the carrier is estimated to begin playing it."""

    audio: bytes
    starts: float


@dataclass(frozen=True, slots=True)
class SendMark:
    """Ask for an echo once everything sent so far was played."""

    name: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far an utterance was heard, in seconds. `duration` is None until all its audio was pushed."""

    utterance: int
    heard: float
    duration: float | None


@dataclass(slots=True)
class _Stretch:
    """Audio that plays without a break: bytes `begin` to `end` of an utterance from time `starts` on."""

    starts: float
    begin: int
    end: int

    @property
    def ends(self) -> float:
        return self.starts + seconds(self.end - self.begin)


@dataclass(slots=True, eq=False)
class _Utterance:
    number: int
    audio: bytearray = field(default_factory=bytearray)
    sent: int = 0
    heard: int = 0
    """Bytes heard before the current generation."""
    stretches: list[_Stretch] = field(default_factory=list)
    """What was sent in the current generation."""
    finished: bool = False
    dropped: bool = False
    ends: float | None = None
    """When the carrier is estimated to have played all of it; None until all was sent."""
    confirmed: bool = False
    """Heard to its end as later facts show, and not yet reported."""

    @property
    def all_sent(self) -> bool:
        return self.finished and self.sent == len(self.audio)

    def heard_at(self, time: float) -> int:
        heard = self.heard
        for stretch in self.stretches:
            played = int((time - stretch.starts) * SAMPLE_RATE + 1e-3)
            if played > 0:
                heard = stretch.begin + min(played, stretch.end - stretch.begin)
        return heard

    def rewind(self, heard: int) -> None:
        self.sent = self.heard = heard - heard % FRAME_BYTES
        self.stretches.clear()
        self.ends = None


class Pacer:
    """The outbound audio of one call.

    An utterance is announced, pushed piece by piece, and finished; several may be pushed at the same time and are
    played in the order of their announcement. Whatever names an utterance that is not announced, because it was
    cleared or already heard, is ignored: late audio of a cancelled turn is normal.

    Args:
        lead: Seconds of audio the carrier may be sent ahead of its playout.
        chunk: Seconds of audio in a message; rounded to whole 20 ms frames, and at most half the lead, so that the
            next message is always due before the carrier runs dry.
        marks: Whether the carrier echoes marks; without, an utterance counts as heard at its estimated end.
        mark_grace: Seconds after its estimated end at which an utterance counts as heard although its mark is missing.
        late_start: Seconds by which the carrier may begin late. Assumed for a hold, until an echo has told.

    Raises:
        ValueError: `chunk` is shorter than a frame of 20 ms, or `lead` shorter than two.
    """

    def __init__(
        self,
        *,
        lead: float = 1.0,
        chunk: float = 0.1,
        marks: bool = True,
        mark_grace: float = 2.0,
        late_start: float = 0.0,
    ) -> None:
        frames = min(round(chunk * SAMPLE_RATE / FRAME_BYTES), int(lead * SAMPLE_RATE / FRAME_BYTES / 2))
        if frames < 1:
            raise ValueError("a chunk must be at least 0.02 s, and the lead at least 0.04 s")
        self._chunk = frames * FRAME_BYTES
        self._lead = lead
        self._with_marks = marks
        self._grace = mark_grace
        self._late_start = late_start
        self._queue: list[_Utterance] = []
        self._marks: dict[str, _Utterance] = {}
        self._newest_mark: str | None = None
        self._generation = 0
        self._held = False
        self._drain = 0.0
        self._lag = 0.0
        self._late: deque[float] = deque(maxlen=3)
        """How late the last echoes of this generation were."""
        self._seen = 0.0
        self._unplayed = False
        self.underruns = 0
        """How often the carrier's buffer ran dry in the middle of an utterance."""
        self.late = 0.0
        """Seconds of silence that the underruns made."""

    @property
    def held(self) -> bool:
        """Whether the audio is stopped until `resume` or `clear`."""
        return self._held

    @property
    def empty(self) -> bool:
        """Whether no utterance is announced, waiting, playing or awaiting its mark."""
        return not self._queue

    @property
    def playout_ends(self) -> float:
        """When the carrier is estimated to have played all it was sent; in the past when it has."""
        return self._drain

    def delay(self, now: float, seconds: float) -> None:
        """Other audio was sent to the carrier, which plays it for so long before anything that comes now."""
        self._drain = max(self._drain, now) + seconds

    @property
    def buffered(self) -> float:
        """Seconds of audio pushed and not sent."""
        return seconds(sum(len(each.audio) - each.sent for each in self._queue))

    def announce(self, utterance: int) -> None:
        """Give an utterance its place in the order. Announcing it again changes nothing."""
        if self._find(utterance) is None:
            self._queue.append(_Utterance(utterance))

    def push(self, utterance: int, audio: bytes) -> None:
        """Add audio of an announced utterance."""
        found = self._find(utterance)
        if found is not None and not found.finished:
            found.audio += audio

    def finish(self, utterance: int) -> None:
        """All audio of the utterance was pushed. Without any it vanishes and is never reported as played."""
        found = self._find(utterance)
        if found is not None:
            found.finished = True
            if not found.audio:
                self._queue.remove(found)

    def drop(self, utterance: int) -> None:
        """Give up an utterance that failed: its unsent audio is removed, and it is not reported as played."""
        found = self._find(utterance)
        if found is None:
            return
        del found.audio[found.sent :]
        found.finished = found.dropped = True
        self._marks = {name: each for name, each in self._marks.items() if each is not found}
        if not found.stretches:
            self._queue.remove(found)

    def due(self, now: float) -> list[SendAudio | SendMark]:
        """What must be sent now: audio up to the lead, and a mark after each utterance's last audio.

        Messages are one chunk long. Less goes out at the end of an utterance, and while the carrier has less than a
        chunk left to play: then sound now matters more than few messages.
        """
        self._seen = now
        self._forget_dropped(now)
        items: list[SendAudio | SendMark] = []
        if self._held:
            return items
        for utterance in self._queue:
            while (size := self._next_size(utterance)) and now + _TICK >= self._send_time(utterance, size):
                items.append(self._send(utterance, size, now))
            if not utterance.all_sent:
                break
            if utterance.ends is None:
                utterance.ends = max(self._drain, now)
                if self._with_marks and not utterance.dropped:
                    self._newest_mark = f"{self._generation}:{utterance.number}"
                    self._marks[self._newest_mark] = utterance
                    items.append(SendMark(self._newest_mark))
        return items

    def next_time(self) -> float | None:
        """When `due` or `overdue` has something to do next, maybe in the past; None while only facts can help."""
        times = [self._overdue_time(each) for each in self._queue]
        for utterance in () if self._held else self._queue:
            size = self._next_size(utterance)
            if size:
                times.append(self._send_time(utterance, size))
            elif utterance.all_sent and utterance.ends is None:
                times.append(self._seen)
            if not utterance.all_sent:
                break
        time = min(times, default=inf)
        return None if time == inf else time

    def hold(self, now: float) -> bool:
        """Stop, and keep what was not heard, from the frame on in which the caller's ear is.

        An utterance that ended by the estimate counts as heard; `overdue` reports it at once. Marks sent so far mean
        nothing any more. Until an echo has told when the carrier began, it is taken for one that began late: a moment
        heard twice is hardly noticed, and a moment left out is missing.

        Returns:
            Whether the carrier may still have audio, so that it must be told to clear it.
        """
        if self._held:
            return False
        unplayed = self._may_be_unplayed(now)
        ear = now - (self._lag if self._late else max(self._lag, self._late_start))
        for utterance in self._queue:
            heard = utterance.heard_at(ear)
            if utterance.all_sent and heard == len(utterance.audio):
                utterance.confirmed = True
            else:
                utterance.rewind(heard)
        self._queue = [each for each in self._queue if not each.dropped]
        self._start_generation(now)
        self._held = True
        return unplayed

    def resume(self, now: float) -> None:
        """Go on from where `hold` stopped."""
        if self._held:
            self._held = False
            self._seen = now

    def clear(self, now: float) -> bool:
        """Drop every utterance, also those only announced, and end a hold.

        Returns:
            Whether the carrier may still have audio, so that it must be told to clear it.
        """
        unplayed = not self._held and self._may_be_unplayed(now)
        self._queue.clear()
        self._start_generation(now)
        self._held = False
        return unplayed

    def mark_echoed(self, name: str, now: float) -> int | None:
        """The carrier echoed a mark.

        The echo also tells the carrier's real position. Utterances before it whose own echo is missing are reported
        by `overdue` at once.

        Returns:
            The utterance that was heard to its end; None when the mark is unknown, repeated, or was sent before the
            last hold or clear and so tells nothing.
        """
        self._seen = max(self._seen, now)
        utterance = self._marks.pop(name, None)
        if utterance is None or utterance.ends is None:
            return None
        if name == self._newest_mark:
            self._unplayed = False
        index = self._queue.index(utterance)
        for earlier in self._queue[:index]:
            earlier.confirmed = not earlier.dropped
        self._queue = [each for each in self._queue[:index] if each.confirmed] + self._queue[index + 1 :]
        self.played_until(utterance.ends, now)
        if now < utterance.ends:
            self._move_earlier(utterance.ends - now)
        return utterance.number

    def overdue(self, now: float) -> list[int]:
        """Utterances that count as heard without an echo, each reported once, in order."""
        self._seen = max(self._seen, now)
        self._forget_dropped(now)
        heard = [each for each in self._queue if now + _TICK >= self._overdue_time(each)]
        if heard:
            self._queue = [each for each in self._queue if each not in heard]
            self._marks = {name: each for name, each in self._marks.items() if each not in heard}
        return [each.number for each in heard]

    def position(self, now: float) -> Position | None:
        """How far the utterance that plays now was heard, or the first that was not heard; None without any.

        An utterance that ended by the estimate is given at its full length until it is reported as played or
        something of the next one was heard.
        """
        self._forget_dropped(now)
        current: Position | None = None
        for utterance in self._queue:
            length = len(utterance.audio)
            heard = length if utterance.confirmed else utterance.heard_at(now - self._lag)
            if current is None or heard:
                current = Position(
                    utterance.number, seconds(heard), seconds(length) if utterance.finished else None
                )
            if not utterance.finished or heard < length:
                break
        return current

    def begun(self, number: int) -> bool:
        """Whether any audio of an utterance was sent."""
        found = self._find(number)
        return found is not None and found.sent > 0

    def starved(self, number: int, now: float) -> tuple[float, float, float]:
        """How an utterance suffers from audio that comes too late.

        Returns:
            Seconds for which nothing of it plays now although it has begun, seconds of all such gaps, and seconds
            that were played.
        """
        found = None if self._held else self._find(number)
        if found is None or not found.stretches:
            return 0.0, 0.0, 0.0
        gaps = sum(after.starts - before.ends for before, after in pairwise(found.stretches))
        now_missing = max(0.0, now - self._drain) if found.sent == len(found.audio) else 0.0
        if found.finished:
            now_missing = 0.0
        return now_missing, gaps + now_missing, seconds(found.sent - found.stretches[0].begin)

    def played_until(self, time: float, now: float) -> None:
        """The carrier says that it has just played what was estimated to end at this time.

        The least late of the last few counts: one that was late on its way says nothing about where the carrier is.
        """
        self._late.append(max(0.0, now - time))
        self._lag = min(self._late)

    def heard_until(self, time: float, now: float) -> None:
        """The caller's ear has come no further than where the carrier was estimated to be at this time."""
        self._lag = max(self._lag, now - time)

    def playing(self, now: float) -> bool:
        """Whether the caller is estimated to hear the agent now."""
        if self._held:
            return False
        return any(
            stretch.starts <= now - self._lag < stretch.ends
            for each in self._queue
            for stretch in each.stretches
        )

    def _find(self, number: int) -> _Utterance | None:
        return next(
            (each for each in self._queue if each.number == number and not (each.dropped or each.confirmed)),
            None,
        )

    def _next_size(self, utterance: _Utterance) -> int:
        """Bytes of the next message of an utterance; 0 when it has none ready."""
        waiting = len(utterance.audio) - utterance.sent
        if utterance.finished and waiting < self._chunk + FRAME_BYTES:
            return waiting  # a tail shorter than a frame goes along: some carriers refuse messages that short
        return min(waiting - waiting % FRAME_BYTES, self._chunk)

    def _send_time(self, utterance: _Utterance, size: int) -> float:
        fits = self._drain + seconds(size) - self._lead
        if size < self._chunk and not utterance.finished:
            return max(fits, self._drain - seconds(self._chunk))
        return fits

    def _send(self, utterance: _Utterance, size: int, now: float) -> SendAudio:
        starts = max(self._drain, now)
        begin, end = utterance.sent, utterance.sent + size
        last = utterance.stretches[-1] if utterance.stretches else None
        if last is not None and starts - last.ends < _TICK:
            last.end = end
        else:
            if last is not None:
                self.underruns += 1
                self.late += starts - last.ends
            utterance.stretches.append(_Stretch(starts, begin, end))
        utterance.sent = end
        self._drain = starts + seconds(size)
        self._unplayed = True
        self._newest_mark = None
        return SendAudio(bytes(utterance.audio[begin:end]), starts)

    def _overdue_time(self, utterance: _Utterance) -> float:
        if utterance.confirmed:
            return self._seen
        if utterance.dropped or utterance.ends is None:
            return inf
        return utterance.ends + self._lag + self._grace if self._with_marks else utterance.ends

    def _may_be_unplayed(self, now: float) -> bool:
        return self._unplayed and now < self._drain + self._lag + self._grace

    def _start_generation(self, now: float) -> None:
        self._generation += 1
        self._marks.clear()
        self._late.clear()
        self._newest_mark = None
        self._unplayed = False
        self._seen = self._drain = now

    def _move_earlier(self, by: float) -> None:
        """The carrier is ahead of the estimate: its clock is faster, or its echo is honest only to the message."""
        self._drain -= by
        for utterance in self._queue:
            for stretch in utterance.stretches:
                stretch.starts -= by
            if utterance.ends is not None:
                utterance.ends -= by

    def _forget_dropped(self, now: float) -> None:
        if any(each.dropped for each in self._queue):
            ear = now - self._lag
            self._queue = [
                each for each in self._queue if not each.dropped or each.heard_at(ear) < len(each.audio)
            ]
