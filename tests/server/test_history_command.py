"""`history import` and `history export`: calls of OpenClaw's log are taken over, once, and written again."""

import json
import os
from dataclasses import replace

import pytest
from cli_rig import LIVE, OVER, invoke

from openclaw_voicecall.store.jsonl import export_jsonl
from openclaw_voicecall.store.statedir import StateDir

pytestmark = pytest.mark.server

OTHER = replace(OVER, call_id="01j00000000000000000000more", carrier_call_id="LC2")


@pytest.fixture
def log(tmp_path):
    """A log of two calls that are over and one that is not."""
    path = tmp_path / "calls.jsonl"
    export_jsonl([OVER, OTHER, replace(LIVE, call_id="01j00000000000000000000live")], path)
    return path


def test_calls_that_are_over_are_taken_over_once(log, state_dir):
    words = ("history", "import", str(log), "--state-dir", str(state_dir))
    assert invoke(*words).output.strip() == "2 calls taken over, 1 left out because they are not over"
    again = json.loads(invoke(*words, "--json").output)
    assert again == {"imported": 0, "known": 2, "open": 1}
    listed = json.loads(invoke("calls", "--state-dir", str(state_dir), "--json").output)
    assert {call["callId"] for call in listed} == {OVER.call_id, OTHER.call_id}
    shown = json.loads(invoke("show", OVER.call_id, "--state-dir", str(state_dir), "--json").output)
    assert shown["endReason"] == "caller-hung-up"
    assert [line["text"] for line in shown["transcript"]] == [line.text for line in OVER.transcript]


def test_what_was_taken_over_is_written_again_in_order(log, state_dir, tmp_path):
    invoke("history", "import", str(log), "--state-dir", str(state_dir))
    again = tmp_path / "again.jsonl"
    said = invoke("history", "export", str(again), "--state-dir", str(state_dir)).output
    assert said.strip() == f"2 calls written to {again}"
    before, after = (
        [json.loads(line) for line in path.read_text().splitlines() if json.loads(line).get("endedAt")]
        for path in (log, again)
    )
    assert after == before


def test_a_line_that_is_no_call_is_named_and_nothing_is_taken_over(log, state_dir):
    log.write_text(log.read_text() + "{}\n")
    result = invoke("history", "import", str(log), "--state-dir", str(state_dir))
    assert result.exit_code != 0
    assert "calls.jsonl, line 4" in result.stderr
    assert not StateDir.open(state_dir, create=False).database.exists()


def test_a_store_that_a_service_owns_is_left_alone(log, state_dir):
    with StateDir.open(state_dir).acquire():
        result = invoke("history", "import", str(log), "--state-dir", str(state_dir))
    assert result.exit_code != 0
    assert str(os.getpid()) in result.stderr, "it names who holds it"
