"""Commands about configuration and plugins, with a plugin that only the configuration names."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_rig import ControlService, invoke, serving
from click.testing import CliRunner, Result

from openclaw_voicecall.cli import _installed_plugins, build_cli

pytestmark = pytest.mark.server

PLUGIN = """
import click
from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.spec import ResponderSpec
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.errors import EngineMissing


class ParrotSettings(CamelModel):
    colour: str = "green"
    awake: bool = True


def describe(settings):
    if not settings.awake:
        raise EngineMissing("the parrot sleeps; wake it with: parrot wake")
    return f"a {settings.colour} parrot"


@hookimpl
def voicecall_register_responders(register):
    register(ResponderSpec(name="parrot", config=ParrotSettings, describe=describe, open=None))


@hookimpl
def voicecall_register_cli(cli):
    @cli.command()
    def squawk():
        click.echo("squawk")
"""
SETTINGS: dict[str, Any] = {
    "toNumber": "+15550007777",
    "responseModel": "parrot",
    "responders": {"parrot": {"colour": "blue"}},
    "plugins": {"modules": ["parrot_plugin"], "disabled": ["openclaw_voicecall.builtin.frontdesk"]},
    "tunnel": {"provider": "ngrok", "ngrokAuthToken": "very-secret-token"},
}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin can be imported, and nothing of this machine's owner is read."""
    (tmp_path / "parrot_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("OPENCLAW_VOICECALL_CONFIG", "OPENCLAW_VOICECALL_STATE_DIR", "OPENCLAW_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, SETTINGS)


def write(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "voicecall.json"
    path.write_text(json.dumps(settings))
    return path


def config(command: str, file: Path, *options: str) -> Result:
    return invoke("config", command, "--config", str(file), *options)


def test_check_names_the_file_the_provider_and_the_engines(file: Path) -> None:
    done = config("check", file)
    assert done.exit_code == 0, done.output
    first, engines = done.stdout.splitlines()
    assert first == f"OK: {file}; provider local"
    assert "responder a blue parrot" in engines
    report = json.loads(config("check", file, "--json").stdout)
    assert (report["ok"], report["file"], report["provider"]) == (True, str(file), "local")
    assert {engine["role"] for engine in report["engines"]} >= {
        "carrier",
        "transcriber",
        "synthesizer",
        "responder",
    }


def test_check_names_the_model_that_leads_the_calls_and_its_voice(tmp_path: Path) -> None:
    realtime = {"enabled": True, "providers": {"openai": {"apiKey": "sk-test", "voice": "cedar"}}}
    done = config("check", write(tmp_path, SETTINGS | {"realtime": realtime}))
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == (
        "using carrier local · model OpenAI gpt-realtime-2.1, voice cedar · responder a blue parrot"
    )
    realtime["fallbacks"] = ["pipeline"]
    done = config("check", write(tmp_path, SETTINGS | {"realtime": realtime}))
    assert " · transcriber " in done.stdout
    over_sip = {"provider": "openai-sip", "openai-sip": {"apiKey": "sk-test"}}
    done = config("check", write(tmp_path, SETTINGS | over_sip))
    assert done.stdout.splitlines()[1] == (
        "using carrier openai-sip · model gpt-realtime-2.1, voice marin · trunk twilio · responder a blue parrot"
    )


@pytest.mark.parametrize("section", ["streaming", "turnDetection"])
def test_check_finds_a_name_that_nobody_registered_also_where_it_is_not_used(
    tmp_path: Path, section: str
) -> None:
    settings = {"realtime": {"enabled": True}, section: {"provider": "cockatoo"}}
    done = config("check", write(tmp_path, SETTINGS | settings))
    assert done.exit_code == 78
    assert "cockatoo" in done.stderr


def test_check_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    done = config("check", write(tmp_path, SETTINGS | {"maxDurationSeconds": "long"}))
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr.count("\n") == 1
    assert "maxDurationSeconds" in done.stderr


def test_check_finds_a_provider_that_nobody_registered(tmp_path: Path) -> None:
    done = config("check", write(tmp_path, SETTINGS | {"responseModel": "cockatoo/loud"}))
    assert done.exit_code == 78
    assert "cockatoo" in done.stderr


def test_check_finds_an_engine_that_is_not_there(tmp_path: Path) -> None:
    done = config("check", write(tmp_path, SETTINGS | {"responders": {"parrot": {"awake": False}}}))
    assert (done.exit_code, done.stderr) == (69, "error: the parrot sleeps; wake it with: parrot wake\n")


def test_show_prints_what_is_in_force_and_no_secret(file: Path) -> None:
    for options in ((), ("--json",)):
        done = config("show", file, *options)
        shown = json.loads(done.stdout)
        assert shown["toNumber"] == "+15550007777"
        assert shown["serve"]["path"] == "/voice/webhook"
        assert shown["responders"]["parrot"] == {"colour": "blue", "awake": True}
        assert "very-secret-token" not in done.output


def test_the_schema_knows_sections_of_plugins(file: Path) -> None:
    schema = json.loads(config("schema", file).stdout)
    assert "serve" in schema["properties"]
    assert "colour" in json.dumps(schema)


def test_migrate_gives_a_file_that_needs_no_notice(tmp_path: Path) -> None:
    old = {key: value for key, value in SETTINGS.items() if key != "tunnel"} | {
        "provider": "log",
        "tailscale": {"mode": "funnel", "path": "/voice"},
    }
    done = config("migrate", write(tmp_path, old))
    assert done.exit_code == 0, done.output
    new = json.loads(done.stdout)
    assert new["provider"] == "local"
    assert "tailscale" not in new
    assert 'note: provider "log" is now "local".' in done.stderr
    again = config("migrate", write(tmp_path, new))
    assert json.loads(again.stdout) == new
    assert "Nothing in it is old." in again.stderr


def test_migrate_refuses_a_file_that_is_wrong(tmp_path: Path) -> None:
    done = config("migrate", write(tmp_path, SETTINGS | {"serve": {"prot": 1}}))
    assert (done.exit_code, done.stdout) == (78, "")
    assert "serve.prot" in done.stderr


def test_plugins_tells_where_each_comes_from_and_what_it_registers(file: Path) -> None:
    done = invoke("plugins", "--verbose", "--config", str(file))
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if line.startswith("parrot_plugin"))
    assert row.split()[1] == "config"
    assert "responders: parrot; hooks: voicecall_register_cli" in row
    assert "frontdesk is disabled" in done.stdout
    listed = json.loads(invoke("plugins", "--json", "--config", str(file)).stdout)
    parrot = next(plugin for plugin in listed["plugins"] if plugin["name"] == "parrot_plugin")
    assert parrot["registers"]["responders"] == ["parrot"]
    assert listed["steps"]


def test_a_plugin_that_the_environment_names_is_loaded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        tmp_path, {"responseModel": "parrot", "plugins": {"disabled": SETTINGS["plugins"]["disabled"]}}
    )
    monkeypatch.setenv("VOICECALL_PLUGINS__MODULES", "parrot_plugin")
    assert "a green parrot" in config("check", file).stdout


def test_a_command_of_a_plugin_that_the_configuration_names_works(file: Path) -> None:
    done = CliRunner().invoke(build_cli(source=_installed_plugins), ["--config", str(file), "squawk"])
    assert (done.exit_code, done.stdout) == (0, "squawk\n"), done.output


def test_a_call_goes_to_the_number_of_the_configuration_by_default(file: Path, state_dir: Path) -> None:
    service = ControlService()
    with serving(service, state_dir) as state:
        done = invoke("call", "-m", "Hi", "--config", str(file), state=state)
        assert done.exit_code == 0, done.output
    assert service.bodies("/api/v1/calls")[0]["to"] == "+15550007777"


def test_without_any_number_a_call_is_wrong_usage(tmp_path: Path, state_dir: Path) -> None:
    settings = {key: value for key, value in SETTINGS.items() if key != "toNumber"}
    with serving(ControlService(), state_dir) as state:
        done = invoke("call", "-m", "Hi", "--config", str(write(tmp_path, settings)), state=state)
    assert done.exit_code == 2
    assert "toNumber" in done.stderr


def test_the_service_is_looked_for_where_the_configuration_puts_it(tmp_path: Path, state_dir: Path) -> None:
    file = write(tmp_path, SETTINGS | {"store": str(state_dir)})
    with serving(ControlService(), state_dir):
        assert "process 7" in invoke("status", "--config", str(file)).stdout


def test_a_wrong_configuration_keeps_nobody_from_looking_at_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = write(tmp_path, {"unknownSetting": 1})
    assert invoke("calls", "--json", "--config", str(file)).stdout == "[]\n"
    assert invoke("status", "--config", str(file)).exit_code == 69
