"""Keeps a call's record true to its journal."""

from dataclasses import replace
from typing import Any

from openclaw_voicecall.api.store import CallRecord, TranscriptLine
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.state import to_openclaw_state


def after(
    record: CallRecord, event: str, commands: tuple[dict[str, Any], ...], call: Call, now: float
) -> CallRecord:
    """The record after a journal entry. `now` is Unix seconds; the same object when nothing in it changed."""
    changes: dict[str, Any] = {}
    if event == "CallAnswered" and record.answered_at is None:
        changes["answered_at"] = now
    lines = tuple(
        TranscriptLine(
            speaker=order["speaker"],
            text=order["text"],
            at=now,
            interrupted=order["interrupted"],
            turn=order["turn"],
        )
        for order in commands
        if order["command"] == "AppendTranscript"
    )
    if lines:
        changes["transcript"] = record.transcript + lines
    for order in commands:
        if order["command"] == "ReleaseCall":
            changes["ended_at"] = now
            changes["end_reason"] = str(order["reason"])
    state = to_openclaw_state(call)
    if state != record.state:
        changes["state"] = state
    return replace(record, **changes) if changes else record
