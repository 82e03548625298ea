"""What is wrong is said in one line that names it, before anything was dialled, and nothing is left behind."""

import json
import os
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from line_calls import command, script

from openclaw_voicecall.testing.service import CliResult, RunningService

pytestmark = [pytest.mark.e2e, pytest.mark.unhurried, pytest.mark.timeout(60)]

CALL = ("call", "--to", "+15550001234", "--script", "busy")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def config_file(folder: Path, settings: object, name: str = "voicecall.json") -> Path:
    path = folder / name
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings, indent=2))
    return path


def assert_said(done: CliResult, exit_code: int, *words: str) -> None:
    """The command ended with this code and one line on stderr that has these words."""
    assert done.exit_code == exit_code, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("using ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def assert_nothing_happened(state: Path) -> None:
    """No call was dialled or recorded, and no file is there that only a living service or a broken write leaves."""
    left = {path.relative_to(state).as_posix() for path in state.rglob("*")} if state.is_dir() else set()
    assert left <= {"calls.db", "recordings", "service.lock", "local"}, left
    if "calls.db" in left:
        with sqlite3.connect(state / "calls.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert database.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        database.close()


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        ("5550001234", ""),
        ("015550001234", ""),
        ("+1 555 000 1234", "+15550001234"),
        ("+1555", ""),
        ("+1555000１234", ""),
        ("sam@example.org", ""),
        ("", ""),
        ("+15550001234;DROP", ""),
    ],
)
def test_a_number_in_the_wrong_form_is_refused(tmp_path, state, number, hint):
    done = command("call", "--to", number, "--state-dir", state, folder=tmp_path)
    assert_said(done, 64, "--to", "E.164", "+15550001234", hint)
    assert not state.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"maxConcurentCalls": 3}, ["line 2", "maxConcurentCalls", 'did you mean "maxConcurrentCalls"']),
        ({"serve": {"prot": 80}}, ["line 3", "serve.prot", 'did you mean "port"']),
        ({"maxConcurrentCalls": "many"}, ["line 2", "maxConcurrentCalls", "whole number", "'many'"]),
        ({"outbound": {"defaultMode": "shout"}}, ["line 3", "outbound.defaultMode", "notify"]),
        ({"fromNumber": "0123"}, ["line 2", "fromNumber", "E.164", "'0123'"]),
        ({"enabled": "perhaps"}, ["line 2", "enabled", "true or false"]),
        ("{provider: 'local', // an open end", ["line 1"]),
        ("[1, 2]", []),
    ],
)
def test_a_mistake_in_the_configuration_is_shown_with_file_line_and_key(tmp_path, state, settings, words):
    path = config_file(tmp_path, settings)
    done = command(*CALL, "--config", path, "--state-dir", state, folder=tmp_path)
    assert_said(done, 78, str(path), *words)
    assert not state.exists()


def test_a_configuration_file_that_is_not_there_is_named(tmp_path, state):
    missing = tmp_path / "nowhere.json"
    assert_said(command(*CALL, "--config", missing, "--state-dir", state, folder=tmp_path), 78, str(missing))
    assert not state.exists()


def run_all(
    folder: Path, cases: dict[str, tuple[object, dict[str, str]]]
) -> dict[str, tuple[CliResult, Path]]:
    """Try a call for each name, with its settings and environment and a state directory of its own."""

    def run(name: str) -> tuple[CliResult, Path]:
        settings, env = cases[name]
        state = folder / f"state of {name}"
        options = ("--config", config_file(folder, settings, f"{name}.json"), "--state-dir", state)
        return command(*CALL, *options, folder=folder, env=env), state

    with ThreadPoolExecutor(max_workers=2) as threads:
        return dict(zip(cases, threads.map(run, cases), strict=True))


def test_a_provider_that_nobody_has_is_refused_with_those_that_there_are(tmp_path):
    unknown = {
        "twillio": ({"provider": "twillio"}, "provider", "local"),
        "whisper": ({"streaming": {"provider": "whisper"}}, "streaming.provider", "local"),
        "festival": ({"tts": {"provider": "festival"}}, "tts.provider", "flite"),
        "oracle": ({"responseModel": "oracle/1"}, "responseModel", "frontdesk"),
        "guess": ({"turnDetection": {"provider": "guess"}}, "turnDetection.provider", "silero"),
    }
    done = run_all(tmp_path, {name: (settings, {}) for name, (settings, _, _) in unknown.items()})
    for name, (_, setting, known) in unknown.items():
        assert_said(done[name][0], 78, setting, f"'{name}'", known)
        assert_nothing_happened(done[name][1])


def test_a_mistake_in_a_script_is_shown_with_file_and_line(tmp_path, state):
    order = ("call", "--to", "+15550001234", "--script", script("misspelt"), "--state-dir", state)
    assert_said(command(*order, folder=tmp_path), 78, "misspelt.yaml:5", "'saay'", "'say'")
    assert_nothing_happened(state)


def test_scripts_are_checked_by_a_running_service_too_and_also_those_of_phones(tmp_path):
    with RunningService(tmp_path / "s", port=0) as service:
        for order in (
            ("call", "--to", "+15550001234", "--script", script("misspelt")),
            ("phone", "--script", script("misspelt")),
            ("call", "--to", "+15550001234", "--script", "bussy"),
        ):
            done = service.cli(*order, json=False, check=False)
            assert_said(done, 78, *(["misspelt.yaml:5"] if "bussy" not in order else ["bussy", "busy"]))
        missing = service.cli("call", "--to", "+15550001234", "--script", "no/file.yaml", check=False)
        assert (missing.exit_code, "no/file.yaml" in missing.stderr) == (2, True)
        unknown = service.cli("end", "no-such-call", check=False, json=False)
        assert_said(unknown, 66, "no-such-call")
        keys = service.cli("dtmf", "no-such-call", "12x", check=False, json=False)
        assert keys.exit_code in (66, 78)
        assert service.cli("calls").json == []
        assert service.cli("status").json["service"]["liveCalls"] == 0


def test_a_port_that_is_taken_is_refused_with_its_holder(tmp_path, state):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = config_file(tmp_path, {"serve": {"port": port}})
        done = command("serve", "--config", path, "--state-dir", state, folder=tmp_path)
    assert_said(done, 69, "serve.port", f"127.0.0.1:{port}", f"(pid {os.getpid()})")
    assert_nothing_happened(state)


def test_a_state_directory_that_cannot_be_used_is_refused(tmp_path):
    file = tmp_path / "a-file"
    file.write_text("not ours")
    assert_said(command(*CALL, "--state-dir", file, folder=tmp_path), 74, str(file), "not a directory")
    assert file.read_text() == "not ours"
    below = file / "state"
    assert_said(command(*CALL, "--state-dir", below, folder=tmp_path), 74, str(below))
    # Not even root may make a directory there.
    assert_said(command(*CALL, "--state-dir", "/proc/voicecall", folder=tmp_path), 74, "/proc/voicecall")
    for reading in ("calls", "status"):
        assert command(reading, "--state-dir", file, folder=tmp_path).exit_code == 74


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_is_read_only_is_refused(tmp_path, state):
    state.mkdir(mode=0o500)
    assert_said(command(*CALL, "--state-dir", state, folder=tmp_path), 74, str(state), "cannot be written")


def test_a_database_that_is_none_is_refused_and_left_alone(tmp_path, state):
    state.mkdir(mode=0o700)
    (state / "calls.db").write_bytes(b"this is no database " * 100)
    done = command(*CALL, "--state-dir", state, folder=tmp_path)
    assert_said(done, 74, str(state / "calls.db"))
    assert (state / "calls.db").read_bytes() == b"this is no database " * 100


def test_an_engine_that_is_missing_is_refused_with_the_way_to_install_it(tmp_path):
    # A package by that name without its model comes before the installed one.
    shadow = tmp_path / "shadow" / "moonshine_voice-0.1.0.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: moonshine-voice\nVersion: 0.1.0\n")
    no_voices = {"tts": {"provider": "piper", "providers": {"piper": {"voicesDir": str(tmp_path / "none")}}}}
    missing = {
        "piper": (no_voices, {}, "piper.download_voices"),
        "flite": ({"tts": {"provider": "flite"}}, {"PATH": str(tmp_path)}, "install flite"),
        "moonshine": ({}, {"PYTHONPATH": str(shadow.parent)}, "pip install 'moonshine-voice"),
    }
    done = run_all(tmp_path, {name: (settings, env) for name, (settings, env, _) in missing.items()})
    for name, (_, _, advice) in missing.items():
        assert_said(done[name][0], 69, advice)
        assert_nothing_happened(done[name][1])


def test_wrong_usage_is_told_without_starting_anything(tmp_path, state):
    wrong = {
        ("call",): "--to",
        ("call", "--to", "+15550001234", "--mode", "notify"): "--message",
        ("call", "--to", "+15550001234", "--mode", "shout"): "shout",
        ("call", "--too", "+15550001234"): "--to",
        ("speak",): "CALL_ID",
        ("tail", "--after", "3"): "--call-id",
        ("dial",): "dial",
    }
    for arguments, word in wrong.items():
        done = command(*arguments, "--state-dir", state, folder=tmp_path)
        assert done.exit_code == 2, arguments
        assert word in done.stderr.splitlines()[-1], arguments
        assert "Traceback" not in done.stderr
    assert not state.exists()
