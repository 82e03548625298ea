"""The line meter: what can be heard on a call, in both directions, and for how long nothing could be.

It measures what arrived from the carrier and what left for it, not what anybody says was spoken: an utterance of pure
silence is no sound here, whatever its synthesizer reports.
"""

from typing import Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import LineFigures
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.level import PlayedMeter

QUIET_PROOF: Final = 1.0
"""Seconds of silence that a carrier has to have sent before frames that stay away mean something: some carriers send
nothing while nobody speaks."""


MISSED: Final = 1.0
"""Seconds for which no frame has come when a stream ends: it was dead that long."""
NOTICED: Final = 0.6
"""Seconds within which it is noticed that a voice has ended."""


class LineMeter:
    """Audible energy of one call.

    Args:
        clock: Monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard = 0.0
        """Seconds of sound of the far party."""
        self._spoken = PlayedMeter()
        self._voice = float("-inf")
        self._frame: float | None = None
        self._quiet = 0.0
        self._earliest = float("inf")
        self._behind = 0.0
        self._due: float | None = None
        self._longest = 0.0
        self._measured = False

    def stream_began(self) -> None:
        """Another media stream carries the call."""
        self._measured = True
        self._frame, self._quiet = None, 0.0
        self._earliest, self._behind = float("inf"), 0.0

    def heard(
        self, size: int, sound: float, now: float, *, voice: bool, timestamp: float | None = None
    ) -> None:
        """Audio of the far party arrived from the carrier.

        Args:
            size: Bytes of it, mu-law 8 kHz.
            sound: Seconds of it that can be heard.
            now: The clock's time.
            voice: Whether it is speech, as far as our own ear can tell.
            timestamp: When it began by the carrier's clock, seconds since the stream did.
        """
        if timestamp is not None:
            began = now - timestamp
            self._earliest = min(self._earliest, began)
            self._behind = began - self._earliest
        self._frame = now
        if sound:
            self._heard += sound
            if voice:
                self._note_silence(now)
                self._voice = now
        else:
            self._quiet += seconds(size)

    def sent(self, audio: bytes, starts: float) -> None:
        """Audio of ours has left for the carrier, which plays it from this time on, or from now if that is later."""
        starts = max(starts, self._clock.monotonic())
        before = self._since(starts)
        first = self._spoken.push(audio, starts)
        if first is not None and before is not None:
            self._longest = max(self._longest, first - before)

    def cleared(self) -> None:
        """The carrier was told to drop what it has not played."""
        self._spoken.cut(self._clock.monotonic())

    def stream_ended(self, played_until: float | None = None) -> None:
        """The stream is gone.

        Args:
            played_until: Until when the carrier has played anything, if that is known.
        """
        now = self._clock.monotonic()
        gone = self._frame if self._frame is not None and self.frames_missing() >= MISSED else now
        self._spoken.cut(min(now, gone, now if played_until is None else played_until))
        self._note_silence(now)

    def set_due(self, due: bool) -> None:
        """Whether the far party is waiting for sound of ours now."""
        now = self._clock.monotonic()
        if due and self._due is None:
            # That a voice has ended is noticed late; the far party waits since its end.
            self._due = self._voice if now - self._voice <= NOTICED else now
        elif not due and self._due is not None:
            self._note_silence(now)
            self._due = None

    def silence(self) -> float:
        """Seconds since anything was to be heard, while sound is due; 0 while it is not."""
        now = self._clock.monotonic()
        self._note_silence(now)
        since = self._since(now)
        return 0.0 if since is None else now - since

    def frames_missing(self) -> float:
        """Seconds for which a carrier that sends silence too has sent nothing at all."""
        if self._frame is None or self._quiet < QUIET_PROOF:
            return 0.0
        return self._clock.monotonic() - self._frame

    def behind(self) -> float:
        """Seconds by which audio comes later than it did at best: what a line that is too slow gathers."""
        return self._behind

    def figures(self) -> LineFigures | None:
        """The call so far; None where no audio of it passed through us."""
        if not self._measured:
            return None
        now = self._clock.monotonic()
        self._note_silence(now)
        return LineFigures(
            heard_seconds=round(self._heard, 2),
            spoken_seconds=round(self._spoken.seconds(now), 2),
            longest_silence_ms=round(self._longest * 1000),
        )

    def _since(self, now: float) -> float | None:
        """When the silence began that lasts until `now`; None when no sound is due."""
        if self._due is None:
            return None
        last = self._spoken.last(now)
        return max(self._due, self._voice, self._due if last is None else last)

    def _note_silence(self, now: float) -> None:
        since = self._since(now)
        if since is not None:
            self._longest = max(self._longest, now - since)
