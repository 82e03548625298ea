"""Commands against a control API that answers strictly, and without any service."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_rig import (
    CALL_ID,
    CONVERSATION,
    LIVE,
    OVER,
    ControlService,
    ended,
    invoke,
    serving,
)

from openclaw_voicecall.api.wire import entry_to_json, record_to_json
from openclaw_voicecall.cli import calls, live
from openclaw_voicecall.store.statedir import StateDir

pytestmark = pytest.mark.server

NUMBER = "+15550001234"


@pytest.fixture
def service() -> ControlService:
    return ControlService()


@pytest.fixture
def state(service: ControlService, state_dir: Path) -> Iterator[StateDir]:
    with serving(service, state_dir) as state:
        yield state


@pytest.fixture
def nobody(state_dir: Path) -> StateDir:
    """A state directory that no service owns."""
    return StateDir.open(state_dir)


def only_json(text: str) -> Any:
    """The one JSON value that stdout is."""
    assert text.count("\n") == 1
    return json.loads(text)


# Placing calls.


def test_a_call_is_shown_as_it_happens_and_summed_up(state: StateDir) -> None:
    done = invoke("call", "-t", NUMBER, "-m", "Hello", state=state)
    assert done.exit_code == 0, done.output
    assert "  0:05.0  caller   When do you open?" in done.stdout
    assert f"call {CALL_ID} ended: caller-hung-up: the caller hung up, 0:42 min, 3 turns" in done.stdout
    assert "line: far party 1.9 s, agent 4.4 s, longest wait in silence 640 ms" in done.stdout
    assert "recording: /tmp/recordings/call.wav" in done.stdout
    summary = done.stdout.splitlines()
    assert [row.split() for row in summary if row.startswith("turn 2")] == [
        ["turn", "2", "500", "ms", "61", "ms", "-", "20", "ms", "5", "ms", "41", "ms", "627", "ms"]
    ]


def test_with_json_a_call_prints_its_final_record_and_nothing_else(state: StateDir) -> None:
    done = invoke("call", "--to", NUMBER, "--message", "Hello", "--json", state=state)
    assert only_json(done.stdout) == record_to_json(OVER)
    assert done.stderr == ""


def test_the_order_carries_what_the_options_say(
    state: StateDir, service: ControlService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("busy.yaml").write_text("steps: []\n")
    done = invoke(
        "call", "--to", NUMBER, "--from", "+15550002222", "-m", "Hi", "--mode", "notify", "--objective", "Order",
        "--script", "busy.yaml", "--record", "wavs", state=state,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert service.bodies("/api/v1/calls") == [
        {
            "to": NUMBER,
            "from": "+15550002222",
            "message": "Hi",
            "mode": "notify",
            "objective": "Order",
            "script": str(tmp_path / "busy.yaml"),
            "recordDir": str(tmp_path / "wavs"),
        }
    ]


def test_a_script_that_is_no_file_is_the_name_of_a_built_in_one(
    state: StateDir, service: ControlService
) -> None:
    invoke("call", "-t", NUMBER, "-m", "Hi", "--script", "voicemail", state=state)
    assert service.bodies("/api/v1/calls")[0]["script"] == "voicemail"
    missing = invoke("call", "-t", NUMBER, "-m", "Hi", "--script", "no/such.yaml", state=state)
    assert missing.exit_code == 2
    assert "there is no file no/such.yaml" in missing.stderr


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("completed", 0),
        ("caller-hung-up", 0),
        ("agent-hung-up", 0),
        ("voicemail", 0),
        ("busy", 75),
        ("no-answer", 75),
        ("failed", 69),
        ("media-lost", 69),
        ("max-duration", 69),
        ("carrier-error", 69),
        ("internal-error", 70),
        ("a-reason-of-tomorrow", 69),
    ],
)
def test_the_exit_code_of_a_call_is_its_end(
    state: StateDir, service: ControlService, reason: str, code: int
) -> None:
    service.record = ended(reason, detail="because")
    for options in ((), ("--json",)):
        assert invoke("call", "-t", NUMBER, "-m", "Hi", *options, state=state).exit_code == code


def test_a_detached_call_prints_its_id_or_its_record(state: StateDir, service: ControlService) -> None:
    service.record = LIVE
    assert invoke("call", "-t", NUMBER, "-m", "Hi", "--detach", state=state).stdout == f"{CALL_ID}\n"
    with_json = invoke("call", "-t", NUMBER, "-m", "Hi", "--detach", "--json", state=state)
    assert only_json(with_json.stdout) == record_to_json(LIVE)
    assert "/api/v1/feed" not in {path for _, path, _, _ in service.requests}


def test_detaching_without_a_service_says_how_to_start_one(nobody: StateDir) -> None:
    done = invoke("call", "-t", NUMBER, "-m", "Hi", "--detach", state=nobody)
    assert done.exit_code == 69
    assert "openclaw-voicecall serve" in done.stderr


def test_a_wrong_number_is_refused_before_anything_else(state: StateDir, service: ControlService) -> None:
    done = invoke("call", "-t", "555-1234", "-m", "Hi", state=state)
    assert done.exit_code == 64
    assert done.stderr.startswith("error: --to: expected a phone number in E.164 form")
    assert service.requests == []
    with_json = invoke("call", "--json", "-t", "555-1234", state=state)
    assert only_json(with_json.stdout)["error"]["code"] == "number"


def test_without_to_the_number_of_the_configuration_is_called(
    state: StateDir, service: ControlService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_default_number", lambda invocation: "+15550009999")
    assert invoke("call", "-m", "Hi", state=state).exit_code == 0
    assert service.bodies("/api/v1/calls")[0]["to"] == "+15550009999"


def test_a_notification_without_a_message_is_wrong_usage(state: StateDir, service: ControlService) -> None:
    done = invoke("call", "-t", NUMBER, "--mode", "notify", state=state)
    assert done.exit_code == 2
    assert service.requests == []


def test_a_call_whose_feed_ends_too_early_is_no_success(state: StateDir, service: ControlService) -> None:
    service.record, service.feed = LIVE, CONVERSATION[:5]
    done = invoke("call", "-t", NUMBER, "-m", "Hi", state=state)
    assert done.exit_code == 69
    assert "before it was over" in done.stderr


def test_a_feed_that_does_not_end_with_its_call_holds_nobody(
    state: StateDir, service: ControlService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_EVERY", 0.05)
    service.hangs = True
    done = invoke("call", "-t", NUMBER, "-m", "Hi", state=state)
    assert done.exit_code == 0, done.output
    assert "3 turns" in done.stdout


# Speaking with live calls.


@pytest.mark.parametrize("arguments", [(CALL_ID, "One moment"), ("--call-id", CALL_ID, "-m", "One moment")])
def test_speak_takes_arguments_and_options(
    state: StateDir, service: ControlService, arguments: tuple[str, ...]
) -> None:
    service.record = LIVE
    done = invoke("speak", *arguments, state=state)
    assert (done.exit_code, done.stdout) == (0, f"call {CALL_ID}: listening\n")
    assert service.bodies(f"/api/v1/calls/{CALL_ID}/speak") == [{"message": "One moment"}]


def test_an_option_leaves_the_argument_to_what_is_missing(state: StateDir, service: ControlService) -> None:
    invoke("dtmf", "12#", "--call-id", CALL_ID, state=state)
    invoke("dtmf", CALL_ID, "--digits", "34", state=state)
    assert service.bodies(f"/api/v1/calls/{CALL_ID}/dtmf") == [{"digits": "12#"}, {"digits": "34"}]


def test_continue_prints_what_the_caller_said(state: StateDir, service: ControlService) -> None:
    done = invoke("continue", CALL_ID, "When?", "--timeout-ms", "5000", state=state)
    assert (done.exit_code, done.stdout) == (0, "At nine, please.\n")
    assert service.bodies(f"/api/v1/calls/{CALL_ID}/continue") == [{"message": "When?", "timeoutMs": 5000}]
    with_json = invoke("continue", CALL_ID, "When?", "--json", state=state)
    assert only_json(with_json.stdout) == {"call": record_to_json(LIVE), "transcript": "At nine, please."}


def test_end_ends_the_call(state: StateDir, service: ControlService) -> None:
    assert only_json(invoke("end", CALL_ID, "--json", state=state).stdout)["callId"] == CALL_ID
    assert service.ended.is_set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("speak",),
        ("speak", CALL_ID),
        ("dtmf", CALL_ID),
        ("end",),
        ("end", CALL_ID, "surplus"),
        ("status", "a", "b"),
    ],
)
def test_missing_and_surplus_arguments_are_wrong_usage(state: StateDir, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments, state=state).exit_code == 2


def test_an_error_of_the_service_is_its_message_and_its_exit_code(
    state: StateDir, service: ControlService
) -> None:
    service.refusal = (410, "call-ended", "call X is over", 66)
    done = invoke("speak", CALL_ID, "Hi", state=state)
    assert (done.exit_code, done.stdout, done.stderr) == (66, "", "error: call X is over\n")
    with_json = invoke("speak", CALL_ID, "Hi", "--json", state=state)
    assert only_json(with_json.stdout) == {
        "error": {"code": "call-ended", "message": "call X is over", "exitCode": 66}
    }
    assert (with_json.exit_code, with_json.stderr) == (66, "")


def test_an_error_this_version_does_not_know_keeps_its_code(state: StateDir, service: ControlService) -> None:
    service.refusal = (418, "teapot", "short and stout", 42)
    done = invoke("end", CALL_ID, "--json", state=state)
    assert done.exit_code == 42
    assert only_json(done.stdout)["error"]["code"] == "teapot"


@pytest.mark.parametrize(
    "arguments", [("status",), ("speak", "X", "Hi"), ("end", "X"), ("dtmf", "X", "1"), ("tail",)]
)
def test_without_a_service_live_commands_say_how_to_start_one(
    nobody: StateDir, arguments: tuple[str, ...]
) -> None:
    done = invoke(*arguments, state=nobody)
    assert done.exit_code == 69
    assert done.stderr.startswith("error: no service")
    assert "openclaw-voicecall serve" in done.stderr


def test_a_service_that_was_killed_counts_as_none(nobody: StateDir) -> None:
    with nobody.acquire():
        nobody.write_service({"pid": 7, "socket": str(nobody.control_socket())})
        assert invoke("status", state=nobody).exit_code == 69
        assert invoke("calls", "--json", state=nobody).stdout == "[]\n"


def test_a_service_that_goes_away_in_the_middle_is_said_in_plain_words(
    state: StateDir, service: ControlService
) -> None:
    service.breaks_off = True
    done = invoke("tail", "--json", state=state)
    assert done.exit_code == 69
    assert "stopped before it had answered in full" in done.stderr + done.stdout


# Looking at calls.


def test_status_shows_service_engines_and_live_calls(state: StateDir) -> None:
    done = invoke("status", state=state)
    assert "process 7, http://127.0.0.1:3334" in done.stdout
    assert "using transcriber Moonshine tiny-en · carrier local" in done.stdout
    assert CALL_ID in done.stdout
    assert only_json(invoke("status", "--json", state=state).stdout)["service"]["liveCalls"] == 1
    assert only_json(invoke("status", CALL_ID, "--json", state=state).stdout)["callId"] == CALL_ID


def test_calls_of_a_service_are_one_json_array(state: StateDir, service: ControlService) -> None:
    done = invoke("calls", "--json", "--limit", "5", "--open", state=state)
    assert only_json(done.stdout) == [record_to_json(OVER), record_to_json(LIVE)]
    assert service.requests[0][2] == {"limit": "5", "open": "true"}


def test_tail_follows_one_call_to_its_end(state: StateDir, service: ControlService) -> None:
    done = invoke("tail", CALL_ID, "--after", "3", state=state)
    assert done.exit_code == 0, done.output
    assert service.requests[0][2] == {"callId": CALL_ID, "after": "3"}
    assert done.stdout.splitlines()[-1] == "  0:09.0  ended    caller-hung-up: the caller hung up"


def test_with_json_every_line_of_tail_is_an_object(state: StateDir) -> None:
    lines = invoke("tail", "--json", state=state).stdout.splitlines()
    assert [json.loads(line)["entry"] for line in lines] == [entry_to_json(item) for item in CONVERSATION]
    assert json.loads(lines[0])["call"] == record_to_json(OVER)


def test_a_feed_line_of_any_length_is_read(state: StateDir, service: ControlService) -> None:
    service.record = replace(OVER, metadata={"note": "x" * 400_000})
    done = invoke("tail", "--json", state=state)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, len(CONVERSATION))


def test_show_tells_a_call_in_full(state: StateDir) -> None:
    done = invoke("show", CALL_ID, "--journal", state=state)
    assert done.exit_code == 0, done.output
    assert "reason     caller-hung-up: the caller hung up" in done.stdout
    assert "caller  When do you open?" in done.stdout
    assert "At nine on  ✋ interrupted" in done.stdout
    assert "TranscriptReceived text='When do' final=False" in done.stdout
    both = only_json(invoke("show", CALL_ID, "--journal", "--json", state=state).stdout)
    assert both["call"] == record_to_json(OVER)
    assert len(both["entries"]) == len(CONVERSATION)
    assert only_json(invoke("show", CALL_ID, "--json", state=state).stdout) == record_to_json(OVER)
    assert invoke("show", "unknown", state=state).exit_code == 66


def test_latency_sums_up_recent_calls(state: StateDir) -> None:
    report = only_json(invoke("latency", "--json", "--last", "7", state=state).stdout)
    assert report["recordsScanned"] == 2
    assert report["turnLatency"]["p50Ms"] == 627.0
    shown = invoke("latency", state=state).stdout
    assert "first token 1 20 ms 20 ms 20 ms 20 ms 20 ms" in " ".join(shown.split())
    assert [row.split() for row in shown.splitlines() if row.startswith("turn latency")] == [
        ["turn", "latency", "1", "627", "ms", "627", "ms", "627", "ms", "627", "ms", "627", "ms"]
    ]
