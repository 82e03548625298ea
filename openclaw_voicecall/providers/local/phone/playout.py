"""What the service sent and the phone has not played yet: Twilio's buffer, played at real pace."""

from collections import deque

from openclaw_voicecall.providers.local.phone.audio import FRAME, RATE
from openclaw_voicecall.providers.local.phone.report import Span

GAP_SAMPLES = RATE * 40 // 1000
"""A hole up to this long, two frames, is not heard as one."""


class Playout:
    """Audio and marks in the order in which they came; one frame leaves it every 20 ms.

    A mark is due once the audio before it was played, which is at the tick after the one that took its last sample.
    """

    def __init__(self) -> None:
        self.gaps: list[Span] = []
        """Holes of more than 40 ms between two pieces of audio with no mark between them."""
        self._queue: deque[bytes | str] = deque()
        self._reached: list[str] = []
        self._position = 0
        self._inside_utterance = False
        self._dry = 0

    @property
    def buffered(self) -> float:
        """Seconds of audio not played yet."""
        return sum(len(item) for item in self._queue if isinstance(item, bytes)) / RATE

    def push(self, audio: bytes) -> None:
        """Play audio after what is there."""
        self._queue.append(audio)

    def mark(self, name: str) -> None:
        """Give back `name` once what is there was played."""
        self._queue.append(name)

    def clear(self) -> list[str]:
        """Drop everything that was not played; returns the marks in it, oldest first."""
        marks = self._reached + [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        self._reached = []
        self._end_utterance()
        return marks

    def due_marks(self) -> list[str]:
        """Marks whose audio was played by the start of this tick. Ask before `take`."""
        due = self._reached
        self._reached = []
        while self._queue and isinstance(item := self._queue[0], str):
            self._queue.popleft()
            self._end_utterance()
            due.append(item)
        return due

    def take(self) -> bytes:
        """The next 20 ms of the line, silence where there is nothing to play."""
        frame = bytearray()
        while self._queue and len(frame) < FRAME:
            item = self._queue.popleft()
            if isinstance(item, str):
                self._reached.append(item)
                self._end_utterance()
                continue
            wanted = FRAME - len(frame)
            if len(item) > wanted:
                self._queue.appendleft(item[wanted:])
            self._end_hole(self._position + len(frame))
            frame += item[:wanted]
        missing = FRAME - len(frame)
        if missing and self._inside_utterance:
            self._dry += missing
        self._position += FRAME
        return bytes(frame) + b"\xff" * missing

    def _end_hole(self, position: int) -> None:
        if self._inside_utterance and self._dry > GAP_SAMPLES:
            self.gaps.append(Span((position - self._dry) / RATE, position / RATE))
        self._inside_utterance = True
        self._dry = 0

    def _end_utterance(self) -> None:
        self._inside_utterance = False
        self._dry = 0
