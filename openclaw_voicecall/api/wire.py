"""Call records and journal entries as JSON: the one shape that the control API, the CLI and exports share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from openclaw_voicecall.api.store import CallRecord, JournalEntry, LineFigures, TranscriptLine, TurnLatency


def iso_time(seconds: float | None) -> str | None:
    """Unix seconds as `2026-01-31T12:00:00.000Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_time(text: str | None) -> float | None:
    """The reverse of `iso_time`."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def record_to_json(record: CallRecord) -> dict[str, Any]:
    """A call as JSON, in camelCase."""
    return {
        "callId": record.call_id,
        "carrierCallId": record.carrier_call_id or None,
        "carrier": record.carrier,
        "direction": record.direction,
        "from": record.from_number,
        "to": record.to_number,
        "mode": record.mode,
        "state": record.state,
        "endReason": record.end_reason,
        "detail": record.detail or None,
        "createdAt": iso_time(record.created_at),
        "answeredAt": iso_time(record.answered_at),
        "endedAt": iso_time(record.ended_at),
        "transcript": [
            {
                "speaker": line.speaker,
                "text": line.text,
                "at": iso_time(line.at),
                "interrupted": line.interrupted,
                "turn": line.turn,
            }
            for line in record.transcript
        ],
        "latencies": [_latency_to_json(latency) for latency in record.latencies],
        "line": None if record.line is None else _line_to_json(record.line),
        "recording": record.recording or None,
        "metadata": record.metadata,
    }


def record_from_json(data: dict[str, Any]) -> CallRecord:
    """The reverse of `record_to_json`. Raises `ValueError` for anything else."""
    with _one_kind_of_error("call record"):
        return _record(data)


def _record(data: dict[str, Any]) -> CallRecord:
    return CallRecord(
        call_id=data["callId"],
        carrier_call_id=data.get("carrierCallId") or "",
        carrier=data["carrier"],
        direction=data["direction"],
        from_number=data["from"],
        to_number=data["to"],
        mode=data["mode"],
        state=data["state"],
        end_reason=data.get("endReason"),
        detail=data.get("detail") or "",
        created_at=unix_time(data["createdAt"]) or 0.0,
        answered_at=unix_time(data.get("answeredAt")),
        ended_at=unix_time(data.get("endedAt")),
        transcript=tuple(
            TranscriptLine(
                speaker=line["speaker"],
                text=line["text"],
                at=unix_time(line["at"]) or 0.0,
                interrupted=line["interrupted"],
                turn=line.get("turn", 0),
            )
            for line in data.get("transcript", ())
        ),
        latencies=tuple(_latency_from_json(latency) for latency in data.get("latencies", ())),
        line=_line_from_json(data["line"]) if data.get("line") else None,
        recording=data.get("recording") or "",
        metadata=data.get("metadata") or {},
    )


def entry_to_json(entry: JournalEntry) -> dict[str, Any]:
    """A journal entry as JSON, in camelCase at the top level; `data` and `commands` keep the core's field names."""
    return {
        "callId": entry.call_id,
        "seq": entry.seq,
        "at": iso_time(entry.at),
        "elapsed": round(entry.elapsed, 6),
        "event": entry.event,
        "data": entry.data,
        "commands": list(entry.commands),
        "states": entry.states,
    }


def entry_from_json(data: dict[str, Any]) -> JournalEntry:
    """The reverse of `entry_to_json`. Raises `ValueError` for anything else."""
    with _one_kind_of_error("journal entry"):
        return _entry(data)


def _entry(data: dict[str, Any]) -> JournalEntry:
    return JournalEntry(
        call_id=data["callId"],
        seq=data["seq"],
        at=unix_time(data["at"]) or 0.0,
        elapsed=data["elapsed"],
        event=data["event"],
        data=dict(data["data"]),
        commands=tuple(map(dict, data["commands"])),
        states=dict(data["states"]),
    )


@contextmanager
def _one_kind_of_error(what: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, TypeError, OverflowError, OSError) as error:
        raise ValueError(f"this is no {what}: {type(error).__name__} {error}") from error


def _line_to_json(line: LineFigures) -> dict[str, Any]:
    return {
        "heardSeconds": line.heard_seconds,
        "spokenSeconds": line.spoken_seconds,
        "longestSilenceMs": line.longest_silence_ms,
    }


def _line_from_json(data: dict[str, Any]) -> LineFigures:
    return LineFigures(
        heard_seconds=data["heardSeconds"],
        spoken_seconds=data["spokenSeconds"],
        longest_silence_ms=data["longestSilenceMs"],
    )


def _latency_to_json(latency: TurnLatency) -> dict[str, Any]:
    stages = asdict(latency)
    return {
        "turn": stages["turn"],
        "endpointingMs": stages["endpointing_ms"],
        "transcriptMs": stages["transcript_ms"],
        "headStartMs": stages["head_start_ms"],
        "firstTokenMs": stages["first_token_ms"],
        "firstSentenceMs": stages["first_sentence_ms"],
        "firstAudioMs": stages["first_audio_ms"],
        "totalMs": stages["total_ms"],
    }


def _latency_from_json(data: dict[str, Any]) -> TurnLatency:
    return TurnLatency(
        turn=data["turn"],
        endpointing_ms=data["endpointingMs"],
        transcript_ms=data["transcriptMs"],
        head_start_ms=data.get("headStartMs"),
        first_token_ms=data["firstTokenMs"],
        first_sentence_ms=data["firstSentenceMs"],
        first_audio_ms=data["firstAudioMs"],
        total_ms=data["totalMs"],
    )
