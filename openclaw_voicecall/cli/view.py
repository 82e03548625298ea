"""A call as it happens: who speaks, what was heard, who yields, what fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openclaw_voicecall.api.store import CallRecord, JournalEntry
from openclaw_voicecall.cli.screen import Screen
from openclaw_voicecall.cli.summary import end_text, milliseconds

_STYLES = {"caller": "cyan", "agent": "green", "failed": "red", "ended": "yellow"}
_LABEL_WIDTH = 9

_CARRIER_FACTS = {
    "CallRinging": "ringing",
    "CallAnswered": "answered",
    "MediaConnected": "audio flows",
    "MediaLost": "audio ends",
    "BeepDetected": "a machine beeps",
}
_FAILURES = {
    "TranscriptionFailed": "transcriber",
    "ResponseFailed": "responder",
    "UtteranceFailed": "synthesizer",
    "media-refused": "media stream",
}
_HANGING_UP = frozenset({"CallEnded", "HangUpRequested", "MediaLost"})
"""Facts after which cleared audio is no barge-in."""


@dataclass(slots=True)
class _Floor:
    """What is known of a call between two lines of its transcript."""

    finals: list[str] = field(default_factory=list)
    interim: str = ""
    caller_talks: bool = False
    agent: str = ""
    """What the agent is doing, if not speaking."""
    turn: int = 0
    said: list[str] = field(default_factory=list)
    """Utterances of the agent's turn so far."""
    keys: str = ""

    def caller_words(self) -> str:
        return " ".join(part for part in (*self.finals, self.interim) if part)


class CallView:
    """Draws journal entries of one call, or of many, as they come.

    Args:
        screen: Where to draw.
        many: Whether entries of several calls come; each line then names its call.
    """

    def __init__(self, screen: Screen, *, many: bool = False) -> None:
        self._screen = screen
        self._many = many
        self._floors: dict[str, _Floor] = {}

    def show(self, entry: JournalEntry, record: CallRecord) -> None:
        """Draw one entry. `record` is the call as it was right after it."""
        floor = self._floors.setdefault(entry.call_id, _Floor())
        self._show_event(entry, record, floor)
        self._show_commands(entry, record, floor)
        if any(order.get("command") == "ReleaseCall" for order in entry.commands):
            floor = self._floors[entry.call_id] = _Floor()
        self._show_interim(entry, floor)

    def close(self) -> None:
        """Leave the terminal with nothing half drawn."""
        self._screen.clear_interim()

    def _line(self, entry: JournalEntry, label: str, text: str, tail: str = "") -> None:
        text_style = "" if label in ("caller", "agent", "ended") else "dim"
        if label == "failed":
            text_style = "red"
        self._screen.line(
            self._head(entry, label), text, tail, style=_STYLES.get(label, "dim"), text_style=text_style
        )

    def _head(self, entry: JournalEntry, label: str) -> str:
        minutes, seconds = divmod(max(entry.elapsed, 0.0), 60)
        call = f"{entry.call_id[-6:]} " if self._many else ""
        return f"{call}{int(minutes):3d}:{seconds:04.1f}  {label:<{_LABEL_WIDTH}}"

    def _show_event(self, entry: JournalEntry, record: CallRecord, floor: _Floor) -> None:
        data = entry.data
        match entry.event:
            case "CallPlaced":
                self._line(entry, "dialling", f"{record.to_number} from {record.from_number}")
            case "CallOffered":
                refused = "" if data.get("admitted", True) else " (refused)"
                self._line(
                    entry, "incoming", f"{record.from_number or 'unknown'} calls {record.to_number}{refused}"
                )
            case "MachineDetected":
                self._line(entry, "line", f"answered by: {data.get('verdict', 'unknown')}")
            case "DtmfReceived":
                floor.keys += str(data.get("digit", ""))
            case "SpeechStarted":
                floor.caller_talks = True
            case "SpeechStopped":
                floor.caller_talks = False
            case "TranscriptReceived":
                self._hear(floor, str(data.get("text", "")), final=bool(data.get("final")))
            case "ResponseChunk":
                self._speak(floor, int(data.get("turn", 0)), str(data.get("text", "")))
            case "first-token":
                floor.agent = "is about to speak"
            case "vendor-failed":
                hop = " ".join(str(data[key]) for key in ("hop", "provider") if data.get(key))
                action = f"; {data['action']}" if data.get("action") else ""
                self._line(entry, "failed", f"{hop}: {data.get('detail', '')}{action}")
            case "line-silent":
                self._line(
                    entry,
                    "failed",
                    f"line silent for {data.get('seconds', 0)} s, waiting for the {data.get('hop', '')}: "
                    f"{data.get('detail', '')}; {data.get('action', '')}",
                )
            case event if event in _CARRIER_FACTS:
                self._line(entry, "line", _CARRIER_FACTS[event])
            case event if event in _FAILURES:
                self._line(entry, "failed", f"{_FAILURES[event]}: {data.get('detail', '')}")

    def _hear(self, floor: _Floor, text: str, *, final: bool) -> None:
        if final:
            floor.finals.append(text)
            floor.interim = ""
        else:
            floor.interim = text

    def _speak(self, floor: _Floor, turn: int, text: str) -> None:
        if turn != floor.turn:
            floor.turn, floor.said = turn, []
        floor.said.append(text)
        floor.agent = ""

    def _show_commands(self, entry: JournalEntry, record: CallRecord, floor: _Floor) -> None:
        for order in entry.commands:
            match order.get("command"):
                case "AppendTranscript":
                    self._show_words(entry, record, order, floor)
                case "StartResponse":
                    floor.agent = "thinks"
                case "HoldAudio":
                    floor.agent = "listens"
                    self._line(entry, "agent", "… yields")
                case "ResumeAudio":
                    floor.agent = ""
                    self._line(entry, "agent", "… goes on")
                case "ClearAudio":
                    floor.agent, floor.said = "", []
                    if entry.event not in _HANGING_UP and not _cut_words(entry):
                        self._line(entry, "agent", "✋ interrupted before a word was heard")
                case "CancelResponse":
                    floor.agent, floor.said = "", []
                case "SendDigits":
                    self._line(entry, "agent", f"sends keys {order.get('digits', '')}")
                case "ReleaseCall":
                    self._flush_keys(entry, floor)
                    reason = str(order.get("reason", ""))
                    self._line(entry, "ended", end_text(reason))

    def _show_words(
        self, entry: JournalEntry, record: CallRecord, order: Mapping[str, Any], floor: _Floor
    ) -> None:
        text = str(order.get("text", ""))
        if order.get("speaker") == "caller":
            floor.finals, floor.interim = [], ""
            if text.startswith("[keys "):
                floor.keys = ""
            self._flush_keys(entry, floor)
            self._line(entry, "caller", text)
            return
        self._flush_keys(entry, floor)
        turn = int(order.get("turn", 0))
        remarks = ["✋ interrupted"] if order.get("interrupted") else []
        remarks += [
            milliseconds(latency.total_ms)
            for latency in record.latencies
            if latency.turn == turn and latency.total_ms is not None
        ]
        if turn == floor.turn:
            floor.agent, floor.said = "", []
        self._line(entry, "agent", text, " · ".join(remarks))

    def _flush_keys(self, entry: JournalEntry, floor: _Floor) -> None:
        if floor.keys:
            self._line(entry, "caller", f"[keys {floor.keys}]")
            floor.keys = ""

    def _show_interim(self, entry: JournalEntry, floor: _Floor) -> None:
        """The one thing that is going on: the caller's words before the agent's."""
        words = floor.caller_words()
        if words or floor.caller_talks:
            self._screen.interim(self._head(entry, "caller"), words or "…", style="cyan")
        elif floor.keys:
            self._screen.interim(self._head(entry, "caller"), f"[keys {floor.keys}]", style="cyan")
        elif floor.said or floor.agent:
            text = floor.agent or " ".join(floor.said)
            self._screen.interim(self._head(entry, "agent"), text, style="green")
        else:
            self._screen.clear_interim()


def _cut_words(entry: JournalEntry) -> bool:
    return any(
        order.get("command") == "AppendTranscript" and order.get("speaker") == "agent"
        for order in entry.commands
    )
