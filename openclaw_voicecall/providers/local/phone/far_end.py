"""The far end of a media stream, without I/O: a carrier's buffer and a person with a script.

Its clock is `tick`, which stands for 20 ms. The shell around it (`media.py`) ticks it at real pace and carries its
messages; a test may tick it as fast as it likes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from openclaw_voicecall.providers.local.phone.audio import FRAME_SECONDS
from openclaw_voicecall.providers.local.phone.ear import Ear
from openclaw_voicecall.providers.local.phone.messages import ClearBuffer, PlayAudio, PutMark, StreamMessages
from openclaw_voicecall.providers.local.phone.mouth import Mouth
from openclaw_voicecall.providers.local.phone.playout import Playout
from openclaw_voicecall.providers.local.phone.report import PhoneReport, Spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnd:
    """How the phone's side of the line ends."""

    reason: str
    """A word of `EndReason`."""
    detail: str = ""
    orderly: bool = True
    """Whether `stop` is sent; a carrier that breaks down sends none."""
    cut: bool = False
    """Whether the TCP connection breaks without a close frame."""
    delay: float = 0.0
    """Seconds until the carrier reports it."""
    close_code: int = 1000


class FarEnd:
    """One stream's far end. `performance` is advanced once every tick and uses this object to act."""

    def __init__(self, *, stream_sid: str, call_sid: str, report: PhoneReport, record: bool = False) -> None:
        self.ear = Ear()
        self.mouth = Mouth()
        self.report = report
        self.end: LineEnd | None = None
        """Set once the phone's side wants the line to end."""
        self.performance: Iterator[None] = iter(())
        self.said_audio = bytearray()
        """What was put on the line, if recorded; sample for sample beside `heard_audio`."""
        self.heard_audio = bytearray()
        self._messages = StreamMessages(stream_sid, call_sid)
        self._playout = Playout()
        self._record = record
        self._tick = 0
        self._keys: list[str] = []

    @property
    def now(self) -> float:
        """Seconds of the line so far: the time of the frame that is next."""
        return self._tick * FRAME_SECONDS

    def start(self, parameters: Mapping[str, str]) -> list[str]:
        """The messages that open the stream."""
        return [self._messages.connected(), self._messages.start(parameters)]

    def receive(self, text: str, at: float) -> list[str]:
        """Take a message of the service that arrived `at` seconds after the stream's start; returns the answers.

        Raises:
            RemoteProtocolError: The message is wrong.
        """
        match self._messages.read(text):
            case PlayAudio(audio):
                if not self._playout.buffered:
                    self.report.note(at, "audio begins to arrive")
                self._playout.push(audio)
            case PutMark(name):
                self._playout.mark(name)
            case ClearBuffer():
                dropped = self._playout.buffered
                marks = self._playout.clear()
                self.report.note(at, "clear", droppedMs=round(dropped * 1000), marks=marks)
                return [self._messages.mark(name) for name in marks]
        return []

    def tick(self) -> list[str]:
        """Let 20 ms pass; returns the messages of that time."""
        messages = []
        for name in self._playout.due_marks():
            self.report.note(self.now, "mark played", name=name)
            messages.append(self._messages.mark(name))
        heard = self._playout.take()
        next(self.performance, None)
        said = self.mouth.next_frame()
        self.ear.hear(heard)
        messages.append(self._messages.media(said, self._tick * 20))
        messages.extend(self._messages.dtmf(key) for key in self._keys)
        self._keys.clear()
        if self._record:
            self.said_audio += said
            self.heard_audio += heard
        self._tick += 1
        return messages

    def press(self, key: str) -> None:
        """Press a key in this tick."""
        self.report.note(self.now, "key pressed", key=key)
        self._keys.append(key)

    def spoke(self, text: str, start: float) -> None:
        """A line that began at `start` has been said up to now."""
        self.report.said.append(Spoken(text, start, self.now))
        self.report.note(start, "says", text=text, until=round(self.now, 4))

    def stop(self) -> str:
        """The message that closes the stream."""
        return self._messages.stop()

    def finish(self) -> None:
        """The stream is over: complete the report."""
        self.ear.finish()
        self.report.duration = self.now
        self.report.heard = list(self.ear.spans)
        self.report.gaps = list(self._playout.gaps)
        for span in self.report.heard:
            self.report.note(span.start, "agent speaks", until=round(span.end, 4))
        for gap in self.report.gaps:
            self.report.note(gap.start, "gap", until=round(gap.end, 4))
