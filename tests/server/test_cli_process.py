"""The command line as a process: signals, pipes, terminals, and what it costs to start."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_rig import CALL_ID, CONVERSATION, ControlService, serving

from openclaw_voicecall.store.statedir import StateDir

pytestmark = [pytest.mark.server, pytest.mark.timed]

CALL = ("call", "--to", "+15550001234", "--message", "Hello")
HEAVY = (
    "aiohttp", "asyncio", "json5", "numpy", "onnxruntime", "phonenumbers", "platformdirs", "pydantic", "soxr",
    "sqlite3", "sqlite_utils", "yaml",
)  # fmt: skip


@pytest.fixture
def service() -> ControlService:
    """A service with a call that goes on until it is told to end."""
    return ControlService(feed=CONVERSATION[:6], after_end=CONVERSATION[-1:])


@pytest.fixture
def state(service: ControlService, state_dir: Path) -> Iterator[StateDir]:
    with serving(service, state_dir) as state:
        yield state


def start(
    state: StateDir, *arguments: str, stdout: int = subprocess.PIPE, **env: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "openclaw_voicecall", *arguments, "--state-dir", str(state.path)]
    return subprocess.Popen(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80", **env},
        # Whoever runs the tests in the background has it ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 there are no threads
    )


def ends(service: ControlService) -> int:
    return len(service.bodies(f"/api/v1/calls/{CALL_ID}/end"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_ends_the_call_politely(
    state: StateDir, service: ControlService, number: int
) -> None:
    process = start(state, *CALL)
    assert service.feeding.wait(20)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    assert ends(service) == 1
    assert "press Ctrl-C again" in stderr
    assert "call " + CALL_ID + " ended:" in stdout


def test_an_interrupted_call_still_prints_pure_json(state: StateDir, service: ControlService) -> None:
    process = start(state, *CALL, "--json")
    assert service.feeding.wait(20)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=20)
    assert json.loads(stdout)["callId"] == CALL_ID


def test_the_second_interrupt_leaves_at_once(state: StateDir, service: ControlService) -> None:
    service.deaf = True
    process = start(state, *CALL)
    assert service.feeding.wait(20)
    process.send_signal(signal.SIGINT)
    assert service.told_to_end.wait(20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_interrupting_tail_is_quiet(state: StateDir, service: ControlService) -> None:
    process = start(state, "tail")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "")


def test_a_reader_that_goes_away_is_no_error(state: StateDir) -> None:
    for arguments in (("calls", "--json"), ("tail", "--json"), ("--help",)):
        reader, writer = os.pipe()
        os.close(reader)
        process = start(state, *arguments, stdout=writer)
        os.close(writer)
        _, stderr = process.communicate(timeout=20)
        assert (process.returncode, stderr) == (141, ""), arguments


def test_a_call_that_nobody_watches_any_more_is_ended(state: StateDir, service: ControlService) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start(state, *CALL, stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (141, "")
    assert ends(service) == 1


@pytest.mark.parametrize(
    ("env", "in_place", "colour"),
    [
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb", "NO_COLOR": ""}, False, False),
    ],
)
def test_a_terminal_is_drawn_on_as_far_as_it_wants(
    state: StateDir, service: ControlService, env: dict[str, str], in_place: bool, colour: bool
) -> None:
    service.after_end = ()
    terminal, stdout = pty.openpty()
    process = start(state, "tail", CALL_ID, stdout=stdout, **env)
    os.close(stdout)
    seen = read_all(terminal)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert (b"\r\x1b[2K" in seen) is in_place
    assert bool(re.search(rb"\x1b\[[0-9;]*m", seen)) is colour


def read_all(terminal: int) -> bytes:
    """Everything until the other side is closed, which Linux reports as an error."""
    seen = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                piece = stream.read(4096)
            except OSError:
                return seen
            if not piece:
                return seen
            seen += piece


def test_a_locale_that_cannot_show_a_sign_breaks_nothing(state: StateDir, service: ControlService) -> None:
    service.feed, service.after_end = CONVERSATION, ()
    process = start(state, "tail", CALL_ID, PYTHONIOENCODING="ascii")
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    assert "? interrupted" in stdout


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from openclaw_voicecall import cli\n"
        "def help_of(group, path):\n"
        "    for name, command in group.commands.items():\n"
        "        tree.main([*path, name, '--help'], standalone_mode=False)\n"
        "        if hasattr(command, 'commands'): help_of(command, [*path, name])\n"
        "tree = cli.build_cli()\n"
        "tree.main(['--help'], standalone_mode=False)\n"
        "help_of(tree, [])\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.count("Usage:") >= 19


def test_the_installed_command_and_the_module_are_the_same() -> None:
    for command in (
        [sys.executable, "-m", "openclaw_voicecall"],
        [str(Path(sys.executable).parent / "openclaw-voicecall")],
    ):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert re.fullmatch(r"openclaw-voicecall, version \d+\.\d+\.\d+\n", done.stdout)
