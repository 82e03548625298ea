"""The figures as a table, as JSON and as a picture."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def errors(row: Row) -> int:
    """Everything that went wrong and is no lost or wrong transcript."""
    counted = ("replies missed", "calls failed", "calls dropped")
    return sum(row[name] for name in counted) + sum(row["refused"].values()) + sum(row["errors"].values())


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


_COLUMNS: tuple[tuple[str, int, Any], ...] = (
    ("calls", 5, lambda row: row["calls"]),
    ("cpu ms", 7, lambda row: _number(row["cpu ms per call-second"], 2)),
    ("core%", 5, lambda row: _number(row["cpu percent of a core"], 0)),
    ("KB/call", 7, lambda row: _number(row["memory KB per call"], 0)),
    ("own KB", 6, lambda row: _number(row["own memory KB per call"], 0)),
    ("added 50", 8, lambda row: _number(row["added ms"]["p50"], 1)),
    ("95", 6, lambda row: _number(row["added ms"]["p95"], 1)),
    ("99", 6, lambda row: _number(row["added ms"]["p99"], 1)),
    ("clear 50", 8, lambda row: _number(row["clear after detection ms"]["p50"], 1)),
    ("95", 6, lambda row: _number(row["clear after detection ms"]["p95"], 1)),
    ("starved%", 8, lambda row: _number(row["starved percent"], 2)),
    ("turns", 5, lambda row: row["turns"]),
    ("lost", 4, lambda row: row["transcripts lost"] + row["transcripts unclear"]),
    (
        "wrong",
        5,
        lambda row: row["replies wrong"] + row["replies foreign"] + row["model asked for nothing said"],
    ),
    ("errors", 6, errors),
    ("wait%", 5, lambda row: _number(row["waited for a core percent"], 1)),
    ("late99", 6, lambda row: _number(row["load"]["late ms"]["p99"], 1)),
    ("", 0, lambda row: row["verdict"]),
)


def head() -> str:
    """The names of the columns."""
    return "  ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS).rstrip()


def line(row: Row) -> str:
    """A row of the table."""
    return "  ".join(f"{value(row):>{width}}" for _, width, value in _COLUMNS).rstrip()


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page of documentation."""
    lines = [
        "| calls | CPU per call-second | memory per call | added p50 / p95 / p99 | barge-in to `clear` p50 / p95 | "
        "starved | turns | lost or wrong | errors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        added, clear = row["added ms"], row["clear after detection ms"]
        wrong = row["replies wrong"] + row["replies foreign"] + row["model asked for nothing said"]
        lost = row["transcripts lost"] + row["transcripts unclear"]
        lines.append(
            f"| {row['calls']} | {_number(row['cpu ms per call-second'], 2)} ms | "
            f"{_number(row['own memory KB per call'], 0)} KB | "
            f"{_number(added['p50'], 1)} / {_number(added['p95'], 1)} / {_number(added['p99'], 1)} ms | "
            f"{_number(clear['p50'], 1)} / {_number(clear['p95'], 1)} ms | {row['starved percent']:.2f} % | "
            f"{row['turns']} | {lost + wrong} | {errors(row)} |"
        )
    return "\n".join(lines)


def machine(loop: str, taken: int) -> Row:
    """Where and of what the figures are."""
    return {
        "cores": os.cpu_count(),
        "cores of the service": taken,
        "architecture": platform.machine(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load's event loop": loop,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _commit() -> str:
    """Of a clone; the sources may as well have come without git."""
    asked = ["git", "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def save(figures: Row, folder: Path) -> list[Path]:
    """Write `many-calls.json`, and `many-calls.svg` where there are rows and matplotlib; gives what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "many-calls.json"
    target.write_text(json.dumps(figures, indent=1) + "\n")
    written = [target]
    rows = [row for row in figures.get("sizes", []) if row["live"]]
    if rows and (picture := draw(rows, figures["machine"], folder / "many-calls.svg")):
        written.append(picture)
    return written


def draw(rows: Sequence[Row], where: Row, target: Path) -> Path | None:
    """A picture of the sizes; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return None
    mpl.use("svg")
    from matplotlib import pyplot

    sizes = [row["calls"] for row in rows]
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    _curves(
        axes[0][0], "CPU of a call-second, ms", sizes, {"": [row["cpu ms per call-second"] for row in rows]}
    )
    memory = {"service, MB": [row["memory MB"] for row in rows]}
    _curves(axes[0][1], "Memory of the whole service, MB", sizes, memory)
    shares = ("p50", "p95", "p99")
    added = {share: [row["added ms"][share] for row in rows] for share in shares}
    _curves(axes[1][0], "Turn latency added to the vendors' own, ms", sizes, added)
    clears = {share: [row["clear after detection ms"][share] for row in rows] for share in shares}
    _curves(axes[1][1], "Barge-in: detection to clear, ms", sizes, clears)
    for axis in axes[1]:
        axis.set_xlabel("calls at a time")
    taken = f"the service on {where['cores of the service']} of {where['cores']} cores"
    title = f"{where['processor'] or where['architecture']}, {taken}, Python {where['python']}"
    figure.suptitle(f"{title}, {where['commit']}, {where['date']}", fontsize=9)
    figure.savefig(target)
    pyplot.close(figure)
    return target


def _curves(axis: Any, title: str, sizes: list[int], curves: dict[str, list[float | None]]) -> None:
    for name, values in curves.items():
        known = [(size, value) for size, value in zip(sizes, values, strict=True) if value is not None]
        if known:
            axis.plot(*zip(*known, strict=True), marker="o", label=name)
    axis.set_title(title, fontsize=10)
    axis.set_xticks(sizes)
    axis.set_ylim(bottom=0 if not any(v is not None and v < 0 for c in curves.values() for v in c) else None)
    axis.grid(alpha=0.3)
    if len(curves) > 1:
        axis.legend(fontsize=8)


def show_profile(figures: Row) -> str:
    """Where a call-second goes, in words."""
    total = figures["ms per call-second"]
    lines = [
        f"a call-second costs {total:.2f} ms of a core, with what it costs to look ({figures['looks']} times)"
    ]
    lines += [f"  {ms:8.3f} ms  {100 * ms / total:5.1f} %  {part}" for part, ms in figures["parts"].items()]
    lines.append("and by function, its own lines only")
    lines += [f"  {ms:8.3f} ms  {name}" for name, ms in figures["functions"].items()]
    return "\n".join(lines)


def show_smaller(name: str, figures: Row) -> str:
    """One of the smaller measurements, in a line or a few."""
    match name:
        case "start":
            ready, memory = figures["ready ms"], figures["memory MB"]
            return (
                f"start to ready: {ready['min']:.0f} ms at best, {ready['p50']:.0f} at the median, "
                f"{ready['max']:.0f} at most, "
                f"{figures['first ready ms']} for the first; {memory['p50']:.0f} MB"
            )
        case "help":
            took = figures["ms"]
            memory = figures["memory MB"]["p50"]
            return (
                f"--help: {took['min']:.0f} ms at best, {took['p50']:.0f} at the median, {took['max']:.0f} at most; "
                f"{memory:.0f} MB"
            )
        case "idle":
            return (
                f"a call in which nobody talks: {_number(figures['cpu ms per call-second'], 2)} ms of a core a second, "
                f"{figures['own memory KB per call']} KB; a service without calls: "
                f"{figures['cpu ms per second without calls']} ms a second, {figures['memory MB without calls']} MB"
                + ("" if figures["verdict"] == "ok" else f" ({figures['verdict']})")
            )
        case "store":
            read = "; ".join(
                f"{name.removesuffix(' ms')} p50 {took['p50']} p95 {took['p95']} ms"
                for name, took in figures["read"].items()
            )
            return (
                f"store under {figures['calls']} calls: {figures['entries written per second']} entries a second "
                f"written; read meanwhile: {read}; added p95 {figures['added ms']['p95']} ms ({figures['verdict']})"
            )
        case _:
            return "\n".join(f"{engine}: {_engine(each)}" for engine, each in figures.items())


def _engine(figures: Row | str) -> str:
    if isinstance(figures, str):
        return figures
    if "first audio ms" in figures:
        first, factor = figures["first audio ms"], figures["real-time factor"]
        return f"first audio p50 {first['p50']:.0f} p95 {first['p95']:.0f} ms; real-time factor {factor['p50']:.2f}"
    final = figures["last word to final ms"]
    return (
        f"real-time factor {figures['real-time factor']:.3f}; {figures['cpu ms per second of speech']} ms of a core a "
        f"second of speech; last word to final p50 {final['p50']:.0f} p95 {final['p95']:.0f} ms; "
        f"{figures['word errors percent']} % of the words wrong"
    )
