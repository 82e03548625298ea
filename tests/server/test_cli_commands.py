"""The tree of commands: its documentation, what plugins add to it, and errors nobody expected."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pluggy
import pytest
from cli_rig import CALL_ID, CONVERSATION, OVER, ControlService, invoke, serving
from click.testing import CliRunner

from openclaw_voicecall import hookimpl, hookspecs
from openclaw_voicecall.api.wire import record_to_json
from openclaw_voicecall.cli import build_cli, records
from openclaw_voicecall.cli.options import Invocation, common_options, echo_json
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import DuplicateProvider, LimitExceeded, VoiceCallError
from openclaw_voicecall.providers.local import phone
from openclaw_voicecall.providers.local.phone import PhoneReport
from openclaw_voicecall.server import runtime
from openclaw_voicecall.store.sqlite import SqliteStore
from openclaw_voicecall.store.statedir import StateDir

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
NUMBER = "+15550001234"


def commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{path}{name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
    return found


# Documentation.


def test_the_documentation_is_what_the_program_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openclaw_voicecall.cli.docs"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == done.stdout, (
        "run: python -m openclaw_voicecall.cli.docs > docs/cli.md"
    )


def test_the_documentation_knows_every_command_and_every_end_of_a_call() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    missing = [name for name in commands(build_cli()) if f"### openclaw-voicecall {name}\n" not in text]
    missing += [reason for reason in EndReason if f"`{reason}`" not in text]
    assert not missing


def test_every_command_takes_the_common_options_and_explains_all_of_its_own() -> None:
    for name, command in commands(build_cli()).items():
        options = [option for option in command.params if isinstance(option, click.Option)]
        taken = {flag for option in options for flag in option.opts}
        assert {"--config", "--state-dir", "--json", "--debug"} <= taken, name
        assert command.help, name
        assert not [option.name for option in options if not option.help], name


# The common options.


@pytest.fixture
def probe() -> click.Group:
    """A command line with a command that prints what the common options said."""
    cli = build_cli()

    @cli.command()
    @common_options
    @click.pass_obj
    def probe(invocation: Invocation) -> None:
        echo_json([invocation.config, invocation.state_dir, invocation.as_json, invocation.debug])

    return cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["probe"], [None, None, False, False]),
        (["--json", "--config", "a", "probe", "--state-dir", "s"], ["a", "s", True, False]),
        (["--config", "a", "--state-dir", "s", "probe", "--config", "b", "--debug"], ["b", "s", False, True]),
    ],
)
def test_common_options_stand_before_or_after_the_command(
    probe: click.Group, arguments: list[str], said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENCLAW_VOICECALL_STATE_DIR", raising=False)
    assert json.loads(CliRunner().invoke(probe, arguments).stdout) == said


def test_the_state_directory_may_come_from_the_environment_but_an_option_wins(probe: click.Group) -> None:
    env = {"OPENCLAW_VOICECALL_STATE_DIR": "/from/env"}
    assert json.loads(CliRunner(env=env).invoke(probe, ["probe"]).stdout)[1] == "/from/env"
    for arguments in (["probe", "--state-dir", "/said"], ["--state-dir", "/said", "probe"]):
        assert json.loads(CliRunner(env=env).invoke(probe, arguments).stdout)[1] == "/said"


# Plugins.


def manager_with(*plugins: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("openclaw_voicecall")
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    return manager


class Adds:
    def __init__(self, name: str) -> None:
        self._name = name

    @hookimpl
    def voicecall_register_cli(self, cli: click.Group) -> None:
        @cli.command(self._name)
        def added() -> None:
            raise LimitExceeded("enough for today")


def test_a_command_of_a_plugin_runs_and_its_errors_are_shown_like_ours() -> None:
    cli = build_cli(manager_with(Adds("count")))
    done = CliRunner().invoke(cli, ["--json", "count"])
    assert json.loads(done.stdout)["error"] == {
        "code": "limit-exceeded",
        "message": "enough for today",
        "exitCode": 75,
    }
    assert "count" in CliRunner().invoke(cli, ["--help"]).stdout


def test_no_plugin_hides_a_command() -> None:
    with pytest.raises(DuplicateProvider, match="'call'"):
        build_cli(manager_with(Adds("call")))
    with pytest.raises(DuplicateProvider, match="'count'"):
        build_cli(manager_with(Adds("count"), Adds("count")))


def test_plugins_are_asked_only_for_commands_that_are_not_built_in() -> None:
    asked: list[Invocation] = []

    def source(invocation: Invocation) -> pluggy.PluginManager:
        asked.append(invocation)
        return manager_with(Adds("count"))

    assert CliRunner().invoke(build_cli(source=source), ["speak", "--help"]).exit_code == 0
    assert asked == []
    assert CliRunner().invoke(build_cli(source=source), ["--config", "c.yaml", "count"]).exit_code == 75
    assert [invocation.config for invocation in asked] == ["c.yaml"]
    assert CliRunner().invoke(build_cli(source=source), ["cuont"]).exit_code == 2


# Errors.


class Broken:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    @hookimpl
    def voicecall_register_cli(self, cli: click.Group) -> None:
        @cli.command("broken")
        @common_options
        def broken() -> None:
            raise self._error


def broken_by(error: BaseException, *options: str) -> Any:
    return CliRunner().invoke(build_cli(manager_with(Broken(error))), ["broken", *options])


def test_an_unexpected_error_is_one_line_with_a_hint() -> None:
    done = broken_by(RuntimeError("two\nlines"))
    assert (done.exit_code, done.stdout) == (70, "")
    assert (
        done.stderr == "error: unexpected RuntimeError: two lines (run it again with --debug to see where)\n"
    )


def test_debug_shows_where_an_error_came_from() -> None:
    done = broken_by(LimitExceeded("enough"), "--debug")
    assert done.exit_code == 75
    assert "Traceback" in done.stderr
    assert "in broken" in done.stderr


def test_of_errors_of_several_tasks_ours_is_shown() -> None:
    group = BaseExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("inner", [LimitExceeded("enough")])])
    done = broken_by(group)
    assert (done.exit_code, done.stderr) == (75, "error: enough\n")


def test_ctrl_c_is_quiet() -> None:
    done = broken_by(KeyboardInterrupt())
    assert (done.exit_code, done.output) == (130, "")


def test_an_error_without_words_still_says_something() -> None:
    assert broken_by(VoiceCallError()).stderr == "error: VoiceCallError\n"


# Without a running service.


def test_stored_calls_are_read_without_a_service(state_dir: Path) -> None:
    state = StateDir.open(state_dir)

    async def keep() -> None:
        async with await SqliteStore.open(state.database) as store:
            await store.put_call(OVER)
            await store.append_journal(CONVERSATION)

    asyncio.run(keep())
    assert json.loads(invoke("calls", "--json", state=state).stdout) == [record_to_json(OVER)]
    assert json.loads(invoke("calls", "--json", "--open", state=state).stdout) == []
    shown = invoke("show", OVER.carrier_call_id, "--journal", "--json", state=state)
    assert json.loads(shown.stdout)["call"] == record_to_json(OVER)
    assert len(json.loads(shown.stdout)["entries"]) == len(CONVERSATION)
    assert json.loads(invoke("latency", "--json", state=state).stdout)["turnLatency"]["count"] == 1
    assert invoke("show", "unknown", state=state).exit_code == 66


def test_looking_at_calls_creates_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "never" / "made")
    done = invoke("calls", "--json", state=state)
    assert (done.exit_code, done.stdout) == (0, "[]\n")
    assert invoke("calls", state=state).stdout == "no calls\n"
    assert not state.path.exists()


@dataclass
class FakeRuntime:
    """Stands in for `run_service`: owns the state directory and answers as a `ControlService`."""

    folder: Path
    service: ControlService = field(default_factory=ControlService)
    options: list[Any] = field(default_factory=list)

    @asynccontextmanager
    async def __call__(self, options: Any) -> AsyncIterator[Any]:
        self.options.append(options)
        stopped = asyncio.Event()
        stopped.set()
        with serving(self.service, self.folder) as state:
            yield SimpleNamespace(
                url="http://127.0.0.1:3334",
                socket_path=state.control_socket(),
                notices=("tailscale is now tunnel.",),
                config=build_config_model({})(),
                wait_stopped=stopped.wait,
            )


@pytest.fixture
def fake_runtime(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    fake = FakeRuntime(state_dir)
    monkeypatch.setattr(runtime, "run_service", fake)
    return fake


def test_a_call_without_a_service_starts_one_for_itself(fake_runtime: FakeRuntime) -> None:
    state = StateDir(fake_runtime.folder)
    done = invoke("call", "-t", NUMBER, "-m", "Hi", "--json", "--config", "c.yaml", state=state)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["callId"] == CALL_ID
    assert done.stderr.splitlines() == [
        "using transcriber Moonshine tiny-en · carrier local",
        "note: tailscale is now tunnel.",
    ]
    (options,) = fake_runtime.options
    assert options.ephemeral
    assert (options.config_source, options.state_dir) == ("c.yaml", fake_runtime.folder)
    assert state.read_service() is None


def test_a_running_service_is_used_and_no_other_started(fake_runtime: FakeRuntime, tmp_path: Path) -> None:
    with serving(ControlService(), tmp_path / "s") as state:
        assert invoke("call", "-t", NUMBER, "-m", "Hi", state=state).exit_code == 0
    assert fake_runtime.options == []


def test_serve_says_on_stdout_only_that_it_is_ready(fake_runtime: FakeRuntime) -> None:
    done = invoke("serve", "--config", "c.yaml", state=StateDir(fake_runtime.folder))
    assert (done.exit_code, done.stdout) == (0, "ready http://127.0.0.1:3334\n")
    assert "using transcriber Moonshine tiny-en" in done.stderr
    (options,) = fake_runtime.options
    assert not options.ephemeral
    assert (options.config_source, options.state_dir) == ("c.yaml", fake_runtime.folder)


@dataclass
class FakePhone:
    """Stands in for `ring_service`."""

    end_reason: str = "completed"
    asked: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, state_dir: Path, **asked: Any) -> PhoneReport:
        self.asked = {"state_dir": state_dir, **asked}
        report = PhoneReport(
            carrier_call_id="LC1", direction="inbound", script="caller", from_number=NUMBER, to_number=NUMBER
        )
        report.listener = asked["listener"]
        report.note(-0.5, "rings the service")
        report.note(1.25, "says", text="Hello?\x1b[2J", until=2.0)
        report.note(2.5, "mark played", name="0:1")
        report.duration, report.end_reason = 62.0, self.end_reason
        report.errors.append("a frame of 3 bytes")
        return report


def test_phone_rings_the_service_and_tells_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = FakePhone()
    monkeypatch.setattr(phone, "ring_service", ring)
    options = ("--from", NUMBER, "--record", "call.wav", "--report", "call.json", "--script", "noisy")
    done = invoke("phone", *options, state=StateDir(tmp_path))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "   -0.50  rings the service",
        "    1.25  says text=Hello? [2J until=2.0",
        "",
        "call ended: completed: the call did what it was for, 1:02 min of audio",
    ]
    assert done.stderr == "error of the service: a frame of 3 bytes\n"
    assert ring.asked | {"listener": None} == {
        "state_dir": tmp_path,
        "script": "noisy",
        "from_": NUMBER,
        "to": "",
        "record": "call.wav",
        "report": "call.json",
        "listener": None,
    }


def test_phone_prints_its_report_for_programs_and_exits_by_the_end_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone, "ring_service", FakePhone("busy"))
    done = invoke("phone", "--json", state=StateDir(tmp_path))
    assert done.exit_code == 75
    assert json.loads(done.stdout)["endReason"] == "busy"


def test_phone_without_a_service_says_so(tmp_path: Path) -> None:
    assert invoke("phone", state=StateDir(tmp_path)).exit_code == 69


def test_a_state_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = invoke("calls", state=StateDir(tmp_path / "file"))
    assert done.exit_code == 74
    assert "is not a directory" in done.stderr


def test_records_come_from_the_service_while_there_is_one(state_dir: Path) -> None:
    with serving(ControlService(), state_dir) as state:
        invocation = Invocation(state_dir=str(state.path))
        found = asyncio.run(records.list_calls(invocation, limit=9, open_only=False))
    assert [record["callId"] for record in found] == [CALL_ID, CALL_ID]
