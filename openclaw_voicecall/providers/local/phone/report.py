"""What a phone heard, said and noticed: the neutral witness of a call."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, `at` seconds after the stream's start; before it, the time is negative."""

    at: float
    event: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One line the phone said. Times are seconds after the stream's start and lie on frames of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the line, in seconds after the stream's start."""

    start: float
    end: float


@dataclass(slots=True)
class PhoneReport:
    """Everything a phone can tell about a call. It is filled while the call runs.

    Times are seconds after the media stream's start on a clock that never jumps; without a stream they count from
    the phone's own start.
    """

    carrier_call_id: str
    direction: str
    """`outbound` when the service called the phone, `inbound` when the phone called the service."""
    script: str
    from_number: str
    to_number: str
    call_id: str = ""
    """The service's id of the call, where it told us."""
    started_at: float = 0.0
    """Unix seconds of the phone's start."""
    stream_monotonic: float | None = None
    """This machine's monotonic clock at the stream's start, to lay other processes' times beside these."""
    duration: float = 0.0
    """Seconds of media stream."""
    end_reason: str = ""
    """A word of `EndReason`, as reported to the service."""
    detail: str = ""
    timeline: list[Entry] = field(default_factory=list)
    said: list[Spoken] = field(default_factory=list)
    heard: list[Span] = field(default_factory=list)
    """When the agent was audible on the line."""
    gaps: list[Span] = field(default_factory=list)
    """Silence of more than 40 ms where the buffer ran dry inside an utterance of the agent."""
    digits: str = ""
    """DTMF digits that the service sent."""
    errors: list[str] = field(default_factory=list)
    """What the service did against the protocol."""
    listener: Callable[[Entry], None] | None = None
    """Called with each entry as it is made, for somebody who watches."""

    def note(self, at: float, event: str, **data: Any) -> None:
        """Add an entry to the timeline."""
        entry = Entry(at, event, data)
        self.timeline.append(entry)
        if self.listener is not None:
            self.listener(entry)

    def rebase(self, offset: float) -> None:
        """Count times from `offset` seconds later on: the stream has started."""
        self.timeline = [Entry(entry.at - offset, entry.event, entry.data) for entry in self.timeline]

    def events(self, event: str) -> list[Entry]:
        """All entries of one name, oldest first."""
        return [entry for entry in sorted(self.timeline, key=lambda entry: entry.at) if entry.event == event]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON, in camelCase; times rounded to a tenth of a millisecond."""
        return {
            "callId": self.call_id or None,
            "carrierCallId": self.carrier_call_id,
            "direction": self.direction,
            "script": self.script,
            "from": self.from_number,
            "to": self.to_number,
            "startedAt": self.started_at,
            "streamMonotonic": self.stream_monotonic,
            "duration": round(self.duration, 4),
            "endReason": self.end_reason,
            "detail": self.detail or None,
            "said": [{"text": s.text, "start": round(s.start, 4), "end": round(s.end, 4)} for s in self.said],
            "heard": [_span(span) for span in self.heard],
            "gaps": [_span(span) for span in self.gaps],
            "digits": self.digits,
            "errors": self.errors,
            "timeline": [
                {"at": round(entry.at, 4), "event": entry.event, **entry.data}
                for entry in sorted(self.timeline, key=lambda entry: entry.at)
            ],
        }

    def write(self, path: Path) -> None:
        """Write the report as a JSON file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        draft.replace(path)


def _span(span: Span) -> dict[str, float]:
    return {"start": round(span.start, 4), "end": round(span.end, 4)}
