"""What a phone on the local line witnessed: how fast the agent answered and yielded, measured on its own recording.

The phone is told where to write with the call options `record` (WAV: left what it said, right what it heard) and
`report` (JSON). Nothing here comes from the service, so the service cannot flatter itself.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openclaw_voicecall.testing.audio import Samples, Segment, segments, split_channels

RATE = 8000
"""Hz of a phone's recording."""
AUDIBLE = -45.0
"""dBFS from which a sound counts as heard."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line the phone said: when its sound began and ended, in seconds."""

    text: str
    sound: Segment
    interrupts: bool


class Witness:
    """A phone's recording and report of one call.

    Args:
        wav: Path of the phone's recording.
        report: Path of its report.
    """

    def __init__(self, wav: Path, report: Path) -> None:
        self.report: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        self.said, self.heard = split_channels(wav)
        """The phone's own voice, and what it heard."""

    @property
    def lines(self) -> list[Line]:
        """What the phone said, by the sound of it."""
        cuts = {entry["at"] for entry in self.report["timeline"] if entry["event"] == "interrupts"}
        return [
            Line(spoken["text"], _sound(self.said, spoken["start"], spoken["end"]), spoken["start"] in cuts)
            for spoken in self.report["said"]
        ]

    def agent_sounds(self, *, min_gap_ms: float = 200.0) -> list[Segment]:
        """When the agent was audible."""
        return segments(self.heard, RATE, AUDIBLE, min_gap_ms)

    def reply_delays(self) -> list[float]:
        """Seconds from the end of each line to the agent's next sound. Lines that nobody answered are left out."""
        lines = self.lines
        delays = []
        for index, line in enumerate(lines):
            until = lines[index + 1].sound.start if index + 1 < len(lines) else float("inf")
            starts = [sound.start for sound in self.agent_sounds() if line.sound.end < sound.start < until]
            if starts:
                delays.append(starts[0] - line.sound.end)
        return delays

    def yield_delays(self) -> list[float]:
        """Seconds from the start of each interruption to the end of the agent's sound under it."""
        delays = []
        for line in self.lines:
            if line.interrupts:
                over = [
                    sound.end
                    for sound in self.agent_sounds(min_gap_ms=400.0)
                    if sound.start < line.sound.start < sound.end
                ]
                if over:
                    delays.append(over[0] - line.sound.start)
        return delays

    @property
    def gaps(self) -> list[Segment]:
        """Silences of more than 40 ms inside an utterance because audio came too late."""
        return [Segment(gap["start"], gap["end"]) for gap in self.report["gaps"]]


def _sound(channel: Samples, start: float, end: float) -> Segment:
    first, last = int(start * RATE), int(end * RATE)
    found = segments(channel[first:last], RATE, AUDIBLE, min_gap_ms=1000.0)
    if not found:
        return Segment(start, end)
    return Segment(start + found[0].start, start + found[-1].end)
