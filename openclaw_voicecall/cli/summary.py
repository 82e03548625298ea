"""Call records as text for people, and what a call's end means for the exit code."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from openclaw_voicecall.api.store import CallRecord, LineFigures, TurnLatency
from openclaw_voicecall.cli.screen import cells, printable
from openclaw_voicecall.core.reasons import EndReason

EXIT_UNREACHED = 75
"""Nobody took the call; a later one may succeed. sysexits calls it EX_TEMPFAIL."""
EXIT_FAILED = 69
"""The call failed or was cut off. sysexits calls it EX_UNAVAILABLE."""
EXIT_BUG = 70

_EXIT_CODES = {
    EndReason.COMPLETED: 0,
    EndReason.CALLER_HUNG_UP: 0,
    EndReason.AGENT_HUNG_UP: 0,
    EndReason.VOICEMAIL: 0,
    EndReason.BUSY: EXIT_UNREACHED,
    EndReason.NO_ANSWER: EXIT_UNREACHED,
    EndReason.INTERNAL_ERROR: EXIT_BUG,
}
_END_TEXTS = {
    EndReason.COMPLETED: "the call did what it was for",
    EndReason.CALLER_HUNG_UP: "the caller hung up",
    EndReason.AGENT_HUNG_UP: "the agent hung up",
    EndReason.REJECTED: "a policy refused the call",
    EndReason.BUSY: "the line is busy",
    EndReason.NO_ANSWER: "nobody answered",
    EndReason.FAILED: "the carrier could not connect the call",
    EndReason.VOICEMAIL: "a machine answered, and the message was left",
    EndReason.MAX_DURATION: "the call reached its longest duration",
    EndReason.IDLE: "nobody said anything for too long",
    EndReason.MEDIA_LOST: "the audio stream was lost",
    EndReason.TRANSCRIPTION_FAILED: "no transcriber could be reached",
    EndReason.RESPONSE_FAILED: "no responder could answer",
    EndReason.SYNTHESIS_FAILED: "no synthesizer could speak",
    EndReason.CARRIER_ERROR: "the carrier failed",
    EndReason.SHUTDOWN: "the service was stopped",
    EndReason.INTERRUPTED: "the service died during the call",
    EndReason.INTERNAL_ERROR: "an error of this program ended the call",
}
_STAGES = (
    ("endpointing", "endpointing_ms", "endpointing"),
    ("transcript", "transcript_ms", "transcript"),
    ("head start", "head_start_ms", "headStart"),
    ("first token", "first_token_ms", "firstToken"),
    ("first sentence", "first_sentence_ms", "firstSentence"),
    ("first audio", "first_audio_ms", "firstAudio"),
)
"""Words for people, field of `TurnLatency`, key of a report."""


def exit_code_of(end_reason: str | None) -> int:
    """0 for a call that took place and ended as calls do, else a code of sysexits."""
    reason = _reason(end_reason)
    return EXIT_FAILED if reason is None else _EXIT_CODES.get(reason, EXIT_FAILED)


def exit_codes() -> list[tuple[str, int]]:
    """The exit code for every reason a call may end."""
    return [(str(reason), exit_code_of(reason)) for reason in EndReason]


def end_text(end_reason: str | None) -> str:
    """Why a call ended: the word for programs and the sentence for people."""
    if not end_reason:
        return "the end was not recorded"
    reason = _reason(end_reason)
    return end_reason if reason is None else f"{end_reason}: {_END_TEXTS[reason]}"


def _reason(word: str | None) -> EndReason | None:
    try:
        return EndReason(word or "")
    except ValueError:
        return None


def milliseconds(value: float | None) -> str:
    """Milliseconds as people read them; a dash where there are none."""
    if value is None:
        return "-"
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes}:{rest:02d}"


def talk_time(record: CallRecord) -> float:
    """Seconds between answer and end; 0 for a call that was not answered or is not over."""
    if record.answered_at is None or record.ended_at is None:
        return 0.0
    return record.ended_at - record.answered_at


def engine_line(engines: Iterable[Mapping[str, Any]]) -> str:
    """The engines in use in one line, such as `carrier local · transcriber Moonshine tiny-en`."""
    return "using " + " · ".join(
        f"{printable(str(engine['role']))} {printable(str(engine.get('description') or engine['name']))}"
        for engine in engines
    )


def call_summary(record: CallRecord) -> list[str]:
    """What is said when a call is over: why, how long, how quick, and where its recording is."""
    lines = []
    turns = len(record.transcript)
    facts = [end_text(record.end_reason)]
    if record.answered_at is not None:
        facts.append(f"{duration(talk_time(record))} min")
    facts.append(f"{turns} turn{'' if turns == 1 else 's'}")
    lines.append(f"call {record.call_id} ended: {', '.join(facts)}")
    if record.detail:
        lines.append(f"detail: {printable(record.detail)}")
    lines += latency_table(record.latencies)
    if record.line is not None:
        lines.append(f"line: {line_text(record.line)}")
    if record.recording:
        lines.append(f"recording: {record.recording}")
    return lines


def line_text(line: LineFigures) -> str:
    """What could be heard on a call, in one line."""
    return (
        f"far party {line.heard_seconds:.1f} s, agent {line.spoken_seconds:.1f} s, "
        f"longest wait in silence {milliseconds(line.longest_silence_ms)}"
    )


def call_details(record: CallRecord) -> list[str]:
    """Everything in a record."""
    facts = [
        ("call", record.call_id),
        ("carrier", f"{record.carrier} {record.carrier_call_id}".strip()),
        ("direction", f"{record.direction}, {record.mode}"),
        ("from", record.from_number),
        ("to", record.to_number),
        ("state", record.state),
        ("created", _local(record.created_at)),
        ("answered", _local(record.answered_at)),
        ("ended", _local(record.ended_at)),
        ("reason", end_text(record.end_reason) if record.over else ""),
        ("detail", record.detail),
        ("line", line_text(record.line) if record.line is not None else ""),
        ("recording", record.recording),
        *((key, str(value)) for key, value in sorted(record.metadata.items())),
    ]
    lines = [f"{name:<10} {printable(value)}" for name, value in facts if value]
    if record.transcript:
        lines += ["", "transcript"]
    for line in record.transcript:
        mark = "  ✋ interrupted" if line.interrupted else ""
        lines.append(f"  {_local(line.at)[-8:]}  {line.speaker:<7} {printable(line.text)}{mark}")
    if record.latencies:
        lines += ["", *latency_table(record.latencies)]
    return lines


def calls_table(records: Sequence[CallRecord]) -> list[str]:
    """One line a call, newest first as given."""
    if not records:
        return ["no calls"]
    rows = [("call", "created", "direction", "number", "mode", "state", "ended", "talked", "turns")]
    rows += [
        (
            record.call_id,
            _local(record.created_at),
            record.direction,
            record.from_number if record.direction == "inbound" else record.to_number,
            record.mode,
            record.state,
            record.end_reason or "-",
            duration(talk_time(record)) if record.over else "-",
            str(len(record.transcript)),
        )
        for record in records
    ]
    return table(rows)


def latency_table(latencies: Sequence[TurnLatency]) -> list[str]:
    """Latency of each turn by stage; no lines when there are no turns."""
    if not latencies:
        return []
    rows = [("latency", *(name for name, _, _ in _STAGES), "total")]
    for latency in latencies:
        stages = (milliseconds(getattr(latency, name)) for _, name, _ in _STAGES)
        rows.append((f"turn {latency.turn}", *stages, milliseconds(latency.total_ms)))
    return table(rows, right=range(1, len(rows[0])))


def latency_report(report: Mapping[str, Any]) -> list[str]:
    """The summary of many turns that `observe.latency.summarise` makes."""
    names = ("count", "minMs", "avgMs", "p50Ms", "p95Ms", "maxMs")
    rows: list[tuple[str, ...]] = [("", "turns", "min", "mean", "p50", "p95", "max")]
    series = [("turn latency", report["turnLatency"]), ("listen wait", report["listenWait"])]
    series += [(name, report["stages"][key]) for name, _, key in _STAGES]
    for label, values in series:
        if values["count"]:
            rows.append((label, str(values["count"]), *(milliseconds(values[name]) for name in names[1:])))
    head = f"{report['recordsScanned']} calls"
    if len(rows) == 1:
        return [f"{head}; no turn of them was answered yet"]
    return [head, *table(rows, right=range(1, len(rows[0])))]


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Rows in columns two spaces apart; the columns named in `right` are aligned to the right."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(cells(row[column]) for row in shown) for column in range(len(shown[0]))]
    flush_right = set(right)
    lines = []
    for row in shown:
        padded = []
        for column, cell in enumerate(row):
            space = " " * (widths[column] - cells(cell))
            padded.append(space + cell if column in flush_right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return lines


def _local(seconds: float | None) -> str:
    """Unix seconds in the reader's own time."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
