"""Where the time from the caller's last word to the agent's first sound goes, read from a call's journal."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openclaw_voicecall.api.store import JournalEntry, TurnLatency


@dataclass(slots=True)
class _Turn:
    """Times of an agent's turn that has not sounded yet, in seconds of the call."""

    started: float
    last_speech: float | None = None
    decided: float | None = None
    """When the transcriber was asked for the final text, if it still had to be."""
    answered: bool = False
    """A responder writes this turn; otherwise its text was fixed, such as a greeting."""
    head_start: float | None = None
    """Seconds since the answer was begun, when the turn was over."""
    first_token: float | None = None
    first_utterance: float | None = None


class LatencyTracker:
    """Follows one call through its journal and gives each turn's latency once the turn is heard."""

    def __init__(self) -> None:
        self._last_speech: float | None = None
        self._decided: float | None = None
        self._turns: dict[int, _Turn] = {}

    def push(self, entry: JournalEntry) -> TurnLatency | None:
        """Take the next entry of the call, in order.

        Returns:
            The latency of a turn, when this entry is the first audio of it that was sent to the carrier.
        """
        now = entry.elapsed
        finished: TurnLatency | None = None
        match entry.event:
            case "SpeechStarted":
                self._last_speech = self._decided = None
            case "SpeechStopped":
                self._last_speech = now - float(entry.data.get("silence", 0.0))
                self._decided = None
            case "rehearsal" if entry.data.get("outcome") == "adopted":
                if (turn := self._turn_of(entry.data)) is not None:
                    turn.head_start = float(entry.data["seconds"])
            case "first-token":
                turn = self._turn_of(entry.data)
                # A speech model writes fixed texts too, of which the first words are known from the beginning.
                if turn is not None and turn.answered and turn.first_token is None:
                    turn.first_token = now
            case "ResponseChunk":
                self._note_utterance(entry.data, now)
            case "first-audio":
                if (turn := self._turn_of(entry.data)) is not None:
                    finished = _latency(entry.data["turn"], turn, now)
                    del self._turns[entry.data["turn"]]
        for command in entry.commands:
            self._follow(command, now)
        return finished

    def _follow(self, command: Mapping[str, Any], now: float) -> None:
        match command.get("command"):
            case "FinishUtterance":
                if self._decided is None:
                    self._decided = now
            case "StartResponse" | "AdoptReply":
                self._turns[command["turn"]] = _Turn(
                    started=now, last_speech=self._last_speech, decided=self._decided, answered=True
                )
                # A later turn without new speech, such as a keypress, is no answer to these words.
                self._last_speech = self._decided = None
            case "StartSaying":
                self._turns[command["turn"]] = _Turn(started=now, first_utterance=now)
            case "Speak":
                self._note_utterance(command, now)
            case "CancelResponse" | "ClearAudio":
                self._turns.pop(command["turn"], None)

    def _turn_of(self, data: Mapping[str, Any]) -> _Turn | None:
        number = data.get("turn")
        return self._turns.get(number) if isinstance(number, int) else None

    def _note_utterance(self, data: Mapping[str, Any], now: float) -> None:
        if (turn := self._turn_of(data)) is not None and turn.first_utterance is None:
            turn.first_utterance = now


def measure(entries: Iterable[JournalEntry]) -> list[TurnLatency]:
    """Latencies of all turns of one call that were heard, from its whole journal."""
    tracker = LatencyTracker()
    return [latency for entry in entries if (latency := tracker.push(entry)) is not None]


def summarise(latencies: Sequence[TurnLatency], *, calls: int | None = None) -> dict[str, Any]:
    """Sum up turns in the shape of OpenClaw's `latency` command, with our stages beside it.

    `turnLatency` is the caller's last word to the agent's first sound; `listenWait` is the part of it until
    the caller's text was there. Percentiles are nearest-rank. A series without values has count 0 and zeros, as
    OpenClaw's has.

    Args:
        latencies: Turns of any number of calls.
        calls: How many call records were looked at, for `recordsScanned`; the number of turns if not given.
    """
    listen_wait = [
        (latency.endpointing_ms or 0.0) + (latency.transcript_ms or 0.0)
        for latency in latencies
        if latency.endpointing_ms is not None or latency.transcript_ms is not None
    ]
    return {
        "recordsScanned": len(latencies) if calls is None else calls,
        "turnLatency": _series(latency.total_ms for latency in latencies),
        "listenWait": _series(listen_wait),
        "stages": {
            "endpointing": _series(latency.endpointing_ms for latency in latencies),
            "transcript": _series(latency.transcript_ms for latency in latencies),
            "headStart": _series(latency.head_start_ms for latency in latencies),
            "firstToken": _series(latency.first_token_ms for latency in latencies),
            "firstSentence": _series(latency.first_sentence_ms for latency in latencies),
            "firstAudio": _series(latency.first_audio_ms for latency in latencies),
        },
    }


def _latency(number: int, turn: _Turn, first_audio: float) -> TurnLatency:
    committed = turn.started if turn.answered else None
    return TurnLatency(
        turn=number,
        endpointing_ms=_span(turn.last_speech, committed if turn.decided is None else turn.decided),
        transcript_ms=_span(turn.decided, committed),
        head_start_ms=None if turn.head_start is None else round(turn.head_start * 1000, 1),
        first_token_ms=_span(committed, turn.first_token),
        first_sentence_ms=_span(turn.first_token, turn.first_utterance),
        first_audio_ms=_span(turn.first_utterance, first_audio),
        total_ms=_span(turn.last_speech, first_audio),
    )


def _span(start: float | None, end: float | None) -> float | None:
    """Milliseconds from one time to another, to a tenth; None where either did not happen."""
    return None if start is None or end is None else round((end - start) * 1000, 1)


def _series(values: Iterable[float | None]) -> dict[str, float]:
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"count": 0, "minMs": 0, "maxMs": 0, "avgMs": 0, "p50Ms": 0, "p95Ms": 0}
    return {
        "count": len(known),
        "minMs": known[0],
        "maxMs": known[-1],
        "avgMs": round(math.fsum(known) / len(known), 1),
        "p50Ms": _percentile(known, 50),
        "p95Ms": _percentile(known, 95),
    }


def _percentile(known: Sequence[float], percent: int) -> float:
    return known[max(0, math.ceil(percent / 100 * len(known)) - 1)]
