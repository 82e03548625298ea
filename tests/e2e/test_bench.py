"""`bench/many_calls.py`, run as a user would: its figures are there and can be believed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.heavy]

BENCH = Path(__file__).parents[2] / "bench" / "many_calls.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=BENCH.parents[1],
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_calls_are_held_and_measured(tmp_path):
    done = run(
        "--only",
        "calls",
        "--sizes",
        "2",
        "--seconds",
        "8",
        "--ramp",
        "1",
        "--markdown",
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "many-calls.json").read_text())
    (row,) = figures["sizes"]
    assert row["live"] == 2
    assert row["turns"] >= 2
    assert row["replies right"] >= 2
    assert row["turn ms"]["p50"] > row["sum of vendors ms"] / 2
    assert 0 < row["cpu ms per call-second"] < 1000
    assert row["memory MB"] > 20
    assert row["agent seconds"] > 2
    lost_or_wrong = ("transcripts lost", "transcripts unclear", "replies wrong", "replies foreign")
    assert not [name for name in lost_or_wrong if row[name]], row
    assert not row["calls failed"] + row["calls dropped"] + row["model asked for nothing said"], row
    assert not row["refused"], row
    assert f"{row['cpu ms per call-second']:.2f}" in done.stdout
    assert f"| 2 | {row['cpu ms per call-second']:.2f} ms |" in done.stdout
    assert figures["machine"]["commit"]
    assert "</svg>" in (tmp_path / "many-calls.svg").read_text()


def test_what_it_cannot_do_is_said_in_a_line():
    done = run("--only", "everything")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "--only knows calls, start, help, idle, store, engines, not everything"
    )
