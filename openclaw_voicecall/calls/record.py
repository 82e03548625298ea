"""Keeps a call's record true to its journal."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from openclaw_voicecall.api.store import ENDING, CallRecord, LineFigures, TranscriptLine
from openclaw_voicecall.core.call import Call
from openclaw_voicecall.core.handover import time_to_answer
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.core.state import Leg, to_openclaw_state

DEADLINE: Final = "deadline"
"""In a record's metadata: Unix seconds at which the carrier has ended the leg by itself at the latest."""
HANDED_OVER: Final = "handedOver"
"""In a record's metadata: whether the far party is being handed over, or was. They need nobody here."""
TRANSFERS: Final = "transfers"
"""In a record's metadata: each transfer that was tried, `{"to", "at", "result"}`. The result is `transferred`, `busy`,
`no-answer`, `declined` or `failed: why`, and empty while nobody knows."""
PLAIN_RESULTS: Final = frozenset({"busy", "no-answer", "declined"})
ENDS_AS: Final = "endsAs"
"""In a record's metadata: the reason of an end that is decided, while the carrier has not confirmed it."""
ENDED_WELL: Final = frozenset(
    {
        EndReason.COMPLETED,
        EndReason.CALLER_HUNG_UP,
        EndReason.AGENT_HUNG_UP,
        EndReason.TRANSFERRED,
        EndReason.VOICEMAIL,
        EndReason.BUSY,
        EndReason.NO_ANSWER,
    }
)
"""Ends that need no explanation: a failure that the call recovered from is in its journal, not in its outcome."""


def after(
    record: CallRecord,
    event: str,
    commands: tuple[dict[str, Any], ...],
    call: Call,
    now: float,
    *,
    data: Mapping[str, Any] = MappingProxyType({}),
    leg_open: bool = False,
) -> CallRecord:
    """The record after a journal entry; the same object when nothing in it changed.

    Args:
        record: The record before it.
        event: Name of the entry.
        commands: Its orders.
        call: The call after it.
        now: Unix seconds.
        data: Its data.
        leg_open: Whether the carrier may still hold the leg; such a call is not over, whatever the core decides.
    """
    changes: dict[str, Any] = {}
    if event == "CallAnswered" and record.answered_at is None:
        changes["answered_at"] = now
    if event == "line-figures":
        changes["line"] = LineFigures(**data)
    metadata = _after_transfer(record, event, commands, call, now, why=str(data.get("detail") or ""))
    if metadata is not record.metadata:
        changes["metadata"] = metadata
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
    state = to_openclaw_state(call)
    for order in commands:
        if order["command"] == "ReleaseCall" and leg_open:
            changes["metadata"] = {**record.metadata, ENDS_AS: str(order["reason"])}
        elif order["command"] == "ReleaseCall":
            changes["ended_at"] = now
            changes["end_reason"] = str(order["reason"])
    leg = call.snapshot().leg
    if leg is Leg.ENDING or (leg is Leg.ENDED and leg_open):
        state = ENDING
    elif leg is Leg.ENDED and changes.get("ended_at", record.ended_at) is None:
        state = record.state  # the entry that closes it is the next
    if state != record.state:
        changes["state"] = state
    return replace(record, **changes) if changes else record


def _after_transfer(
    record: CallRecord,
    event: str,
    commands: tuple[dict[str, Any], ...],
    call: Call,
    now: float,
    *,
    why: str,
) -> dict[str, Any]:
    """The metadata with what an entry says of a transfer; the same object when it says nothing."""
    policy, known = call.policy, record.metadata
    for order in commands:
        if order["command"] == "TransferCall":
            deadline = now + time_to_answer(policy, order["announce"]) + policy.transfer_duration
            begun = [*known.get(TRANSFERS, ()), {"to": order["to"], "at": round(now, 3), "result": ""}]
            return {**known, HANDED_OVER: True, DEADLINE: round(deadline, 3), TRANSFERS: begun}
    if not known.get(HANDED_OVER):
        return known
    if event == "TransferAnswered":
        return {**known, TRANSFERS: _with_result(known, "transferred")}
    if event == "TransferFailed" or not call.snapshot().transferring:
        why = why or "no-answer"
        result = why if why in PLAIN_RESULTS else f"failed: {why}"
        back = not_handed_over(record) | {DEADLINE: round(now + policy.max_duration, 3)}
        return {**back, TRANSFERS: _with_result(known, result)}
    return known


def _with_result(metadata: Mapping[str, Any], result: str) -> list[dict[str, Any]]:
    """The transfers of a call, with what became of the last."""
    *before, last = metadata.get(TRANSFERS) or [{}]
    return [*before, {**last, "result": result}]


def not_handed_over(record: CallRecord) -> dict[str, Any]:
    """The metadata of a call whose far party came back from a transfer."""
    return {name: value for name, value in record.metadata.items() if name != HANDED_OVER}


def ending(record: CallRecord, reason: EndReason) -> CallRecord:
    """The record of a call whose end is decided while the carrier may still hold the leg."""
    decided = {ENDS_AS: str(reason)}
    return replace(record, state=ENDING, metadata={**decided, **record.metadata})


def decided_reason(record: CallRecord) -> EndReason | None:
    """Why a call ends that is not over yet; None when that is not decided."""
    word = record.metadata.get(ENDS_AS)
    return EndReason(word) if word in set(EndReason) else None


def closed(record: CallRecord, reason: EndReason, at: float, detail: str = "") -> CallRecord:
    """The record of a call that is over. `at` is Unix seconds; a detail that is there already stays."""
    reason = decided_reason(record) or reason
    explained = record.detail or ("" if reason in ENDED_WELL else detail)
    return replace(
        record,
        state=reason.to_openclaw(),
        end_reason=str(reason),
        ended_at=at,
        detail=explained,
        metadata={name: value for name, value in record.metadata.items() if name != ENDS_AS},
    )
