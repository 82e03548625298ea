"""OpenClaw's `calls.jsonl`: one call per line, written again at each change, the last line of a call counts.

OpenClaw has no place for some of what we keep. An export therefore loses how long each stage of a turn took,
the sentence about a failure and the path of the recording; `calls --json` gives everything.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openclaw_voicecall.api.store import OPENCLAW_STATES, CallRecord, TranscriptLine, TurnLatency
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import StoreError

_END_REASONS = {
    "completed": EndReason.COMPLETED,
    "hangup-user": EndReason.CALLER_HUNG_UP,
    "hangup-bot": EndReason.AGENT_HUNG_UP,
    "timeout": EndReason.MAX_DURATION,
    "error": EndReason.CARRIER_ERROR,
    "failed": EndReason.FAILED,
    "no-answer": EndReason.NO_ANSWER,
    "busy": EndReason.BUSY,
    "voicemail": EndReason.VOICEMAIL,
}
"""OpenClaw's words for an end, which are also its final states."""
_END_OF_TIME = 253_402_300_800_000
"""Milliseconds at the end of the year 9999, the last that a date can have."""
_OUR_REASONS = frozenset(reason.value for reason in EndReason)


def export_jsonl(records: Iterable[CallRecord], path: Path) -> int:
    """Write calls as OpenClaw's call log, with mode 0600. A file that is there is replaced when all is done.

    Returns:
        How many calls were written.

    Raises:
        StoreError: The file cannot be written.
    """
    count = 0
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(_to_openclaw(record), separators=(",", ":"), default=str) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)
    return count


def import_jsonl(path: Path) -> list[CallRecord]:
    """Read OpenClaw's call log, in the order in which the calls first appear.

    Raises:
        StoreError: The file cannot be read, or a line is no call record; the message names the line.
    """
    records: dict[str, CallRecord] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _from_openclaw(json.loads(line, parse_float=_finite, parse_constant=_finite))
        except (ValueError, OverflowError, RecursionError) as error:
            raise StoreError(
                f"{path}, line {number} is not a call record: {error}. "
                "Repair or remove the line; nothing was imported."
            ) from error
        records[record.call_id] = record
    return list(records.values())


def _finite(text: str) -> float:
    """A number. Python also reads `NaN` and what no float can hold, and writes it so that nobody else can read it."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is no number that JSON can hold")
    return number


def _to_openclaw(record: CallRecord) -> dict[str, Any]:
    data: dict[str, Any] = {
        "callId": record.call_id,
        "providerCallId": record.carrier_call_id or None,
        "provider": record.carrier,
        "direction": record.direction,
        "state": record.state,
        "from": record.from_number,
        "to": record.to_number,
        "sessionKey": record.metadata.get("sessionKey"),
        "startedAt": _milliseconds(record.created_at),
        "answeredAt": _milliseconds(record.answered_at),
        "endedAt": _milliseconds(record.ended_at),
        "endReason": _openclaw_reason(record),
        "transcript": [
            {
                "timestamp": _milliseconds(line.at),
                "speaker": "bot" if line.speaker == "agent" else "user",
                "text": line.text,
                "isFinal": True,
                "interrupted": line.interrupted,
                "turn": line.turn,
            }
            for line in record.transcript
        ],
        "processedEventIds": [],
        "metadata": {
            **record.metadata,
            "mode": record.mode,
            "endReason": record.end_reason,
            **_turn_times(record.latencies),
        },
    }
    return {key: value for key, value in data.items() if value is not None}


def _turn_times(latencies: tuple[TurnLatency, ...]) -> dict[str, float]:
    """The last turn's times under the names that OpenClaw's `latency` command reads."""
    measured = [latency for latency in latencies if latency.total_ms is not None]
    if not measured:
        return {}
    last = measured[-1]
    return {
        "turnCount": len(measured),
        "lastTurnLatencyMs": last.total_ms or 0.0,
        "lastTurnListenWaitMs": (last.endpointing_ms or 0.0) + (last.transcript_ms or 0.0),
    }


def _openclaw_reason(record: CallRecord) -> str | None:
    if record.end_reason is None:
        return None
    try:
        return EndReason(record.end_reason).to_openclaw()
    except ValueError:
        return "error"


def _from_openclaw(line: object) -> CallRecord:
    """One call of the log.

    Raises:
        ValueError: Something is missing or has the wrong type.
    """
    if isinstance(line, dict) and isinstance(line.get("call"), dict):
        line = line["call"]  # Newer logs wrap the record: {"version": 2, "call": {...}}.
    if not isinstance(line, dict):
        raise ValueError("a JSON object is expected")
    state = _text(line, "state")
    if state not in OPENCLAW_STATES:
        raise ValueError(f"state {state!r} is unknown")
    if line.get("direction") not in ("inbound", "outbound"):
        raise ValueError(f"direction {line.get('direction')!r} is unknown")
    metadata = line.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not an object")
    transcript = _transcript(line.get("transcript") or [])
    created_at = _seconds(line, "startedAt")
    answered_at = _optional_seconds(line, "answeredAt")
    ended_at = _optional_seconds(line, "endedAt")
    if ended_at is None and state in _END_REASONS:
        # A final state without its time: the call was over when the last thing known of it had happened.
        ended_at = max(created_at, answered_at or created_at, *(said.at for said in transcript))
    kept = {key: value for key, value in metadata.items() if key not in ("mode", "endReason")}
    if isinstance(line.get("sessionKey"), str):
        kept["sessionKey"] = line["sessionKey"]
    return CallRecord(
        call_id=_text(line, "callId"),
        carrier=_text(line, "provider"),
        direction=line["direction"],
        from_number=_text(line, "from"),
        to_number=_text(line, "to"),
        mode="notify" if metadata.get("mode") == "notify" else "conversation",
        state=state,
        created_at=created_at,
        carrier_call_id=_text(line, "providerCallId") if line.get("providerCallId") is not None else "",
        answered_at=answered_at,
        ended_at=ended_at,
        end_reason=_end_reason(line, metadata) if ended_at is not None else None,
        transcript=transcript,
        metadata=kept,
    )


def _transcript(lines: object) -> tuple[TranscriptLine, ...]:
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise ValueError("transcript is not a list of objects")
    return tuple(
        TranscriptLine(
            speaker="agent" if line.get("speaker") == "bot" else "caller",
            text=_text(line, "text"),
            at=_seconds(line, "timestamp"),
            interrupted=bool(line.get("interrupted", False)),
            turn=line["turn"] if isinstance(line.get("turn"), int) else 0,
        )
        for line in lines
        if line.get("isFinal", True)
    )


def _end_reason(line: dict[str, Any], metadata: dict[str, Any]) -> str:
    for word in (metadata.get("endReason"), line.get("endReason"), line.get("state")):
        if isinstance(word, str):
            if word in _OUR_REASONS:
                return word
            if word in _END_REASONS:
                return _END_REASONS[word].value
    return EndReason.INTERRUPTED.value


def _text(line: dict[str, Any], key: str) -> str:
    value = line.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is missing" if value is None else f"{key} is not text")
    return value


def _seconds(line: dict[str, Any], key: str) -> float:
    value = line.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is missing" if value is None else f"{key} is not a time in milliseconds")
    if not 0 <= value < _END_OF_TIME:
        raise ValueError(f"{key} is too large or too small for a time in milliseconds")
    return value / 1000


def _optional_seconds(line: dict[str, Any], key: str) -> float | None:
    return None if line.get(key) is None else _seconds(line, key)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
