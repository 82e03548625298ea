"""`plugin.yaml`, which hosts read before they load anything, says what the code says."""

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

import openclaw_voicecall
from openclaw_voicecall import hookspecs
from openclaw_voicecall.cli import build_cli
from openclaw_voicecall.config.schema import config_schema
from openclaw_voicecall.plugins import load_registry

pytestmark = pytest.mark.static

ROOT = Path(__file__).parents[2]
FILE = ROOT / "plugin.yaml"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def without_titles(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: without_titles(value)
            for key, value in node.items()
            if key != "title" or not isinstance(value, str)
        }
    return [without_titles(item) for item in node] if isinstance(node, list) else node


def test_the_file_is_what_the_code_writes() -> None:
    command = [sys.executable, "-m", "openclaw_voicecall.host.manifest"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == FILE.read_text(encoding="utf-8"), (
        "run: python -m openclaw_voicecall.host.manifest > plugin.yaml"
    )


def test_it_describes_the_distribution_as_the_project_file_does(manifest: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert manifest["id"] == manifest["name"] == project["name"]
    assert manifest["description"] == project["description"]
    assert manifest["license"] == project["license"]
    assert manifest["requires"]["python"] == project["requires-python"]
    assert manifest["version"] == openclaw_voicecall.__version__
    assert project["scripts"][manifest["entry"]["command"]] == manifest["entry"]["consoleScript"]


def test_the_console_script_it_names_can_be_started(manifest: dict[str, Any]) -> None:
    entry = metadata.EntryPoint("program", manifest["entry"]["consoleScript"], "console_scripts")
    assert callable(entry.load())


def test_every_command_is_listed_with_a_whole_line_of_help(manifest: dict[str, Any]) -> None:
    cli = build_cli()
    assert set(manifest["commands"]) >= set(cli.commands)
    assert "config check" in manifest["commands"]
    assert all(
        help_text.endswith(".") and not help_text.endswith("...")
        for help_text in manifest["commands"].values()
    )


def test_every_built_in_plugin_is_listed_with_what_it_registers(manifest: dict[str, Any]) -> None:
    registry = load_registry(load_entry_points=False)
    assert manifest["plugins"] == {plugin.name: plugin.registers for plugin in registry.plugins}


def test_every_hook_is_listed_with_what_it_is_for(manifest: dict[str, Any]) -> None:
    assert set(manifest["hooks"]) == {name for name in vars(hookspecs) if name.startswith("voicecall_")}
    assert all(manifest["hooks"].values())


def test_the_settings_are_those_of_the_configuration(manifest: dict[str, Any]) -> None:
    schema = config_schema(load_registry(load_entry_points=False).config_model())
    assert manifest["configSchema"] == without_titles(schema)
