"""What the phone makes of the line: is the agent audible, since when, and for how long has it been quiet."""

from openclaw_voicecall.providers.local.phone.audio import FRAME_SECONDS, loudness
from openclaw_voicecall.providers.local.phone.report import Span

AUDIBLE_DBFS = -45.0
"""Quieter frames are background. Speech on the phone has -26 to -16."""
ONSET_FRAMES = 2
"""So many audible frames in a row begin a stretch of speech, which starts with the first of them."""
HANGOVER_FRAMES = 10
"""A pause up to this long, 200 ms, belongs to the speech around it."""


class Ear:
    """Hears the line frame by frame and keeps the stretches in which the agent was audible."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        """Stretches of speech that are over."""
        self._tick = 0
        self._row = 0
        self._start: int | None = None
        self._last_audible = 0
        self._forgotten = 0
        self._spoke = False

    @property
    def speaking_for(self) -> float | None:
        """Seconds the agent has been speaking, counted from the last `forget` at most; None while it is quiet."""
        if self._start is None:
            return None
        return (self._tick - max(self._start, self._forgotten)) * FRAME_SECONDS

    @property
    def spoke(self) -> bool:
        """Whether the agent was audible since the last `forget`."""
        return self._spoke

    @property
    def quiet_for(self) -> float:
        """Seconds since the last audible frame, or since the stream's start."""
        return (self._tick - self._last_audible) * FRAME_SECONDS

    def forget(self) -> None:
        """What was heard so far does not count as an answer any more."""
        self._forgotten = self._tick
        self._spoke = False

    def hear(self, frame: bytes) -> None:
        """Take the next frame of the line."""
        audible = loudness(frame) > AUDIBLE_DBFS
        self._row = self._row + 1 if audible else 0
        self._tick += 1
        if self._row >= ONSET_FRAMES:
            if self._start is None:
                self._start = self._tick - self._row
            self._last_audible = self._tick
            self._spoke = True
        elif self._start is not None and self._tick - self._last_audible > HANGOVER_FRAMES:
            self._close(self._start)

    def finish(self) -> None:
        """The line is over: close an open stretch."""
        if self._start is not None:
            self._close(self._start)

    def _close(self, start: int) -> None:
        self.spans.append(Span(start * FRAME_SECONDS, self._last_audible * FRAME_SECONDS))
        self._start = None
