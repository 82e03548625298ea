"""`openclaw-voicecall openclaw install|status|uninstall`, against a program that answers as OpenClaw does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openclaw_voicecall import __version__

pytestmark = pytest.mark.server

OLD_NODE = "openclaw: Node 20.20.2: node:sqlite is unavailable; use 24.16+/26.1+ or a build with the fix"
FAKE = Path(__file__).with_name("fake_openclaw.py")


class Machine:
    """A user's machine with an OpenClaw."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.program = folder / "openclaw"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
        self.program.chmod(0o755)
        self.is_such()

    def is_such(self, **settings) -> None:
        (self.home / "settings.json").write_text(json.dumps(settings))

    def run(self, *words: str, code: int = 0, path: str | None = None) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "FAKE_OPENCLAW": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "PATH": path or f"{self.home}:{os.environ['PATH']}",
        }
        command = [sys.executable, "-m", "openclaw_voicecall", "openclaw", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    @property
    def installed(self) -> Path:
        return self.home / "extensions" / "voice-call"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_plugin_is_installed_with_this_python_and_its_settings(machine):
    standing = json.loads(machine.run("install", "--json").stdout)
    assert standing["installed"]
    assert standing["problems"] == []
    assert (standing["bridge"], standing["python"]) == (__version__, sys.executable)
    note = json.loads((machine.installed / "interpreter.json").read_text())
    assert note == {"python": sys.executable, "version": __version__}
    for name in ("index.js", "package.json", "skills/voice-call/SKILL.md"):
        assert (machine.installed / name).is_file(), name
    manifest = json.loads((machine.installed / "openclaw.plugin.json").read_text())
    paths = {item["path"] for item in manifest["configContracts"]["secretInputs"]["paths"]}
    assert {"twilio.authToken", "streaming.providers.openai.apiKey", "responders.xai.apiKey"} <= paths
    schema = json.dumps(manifest["configSchema"])
    assert '"additionalProperties": false' not in schema, "owners have keys of former days"
    assert '"default":' not in schema, "OpenClaw would write defaults into the owner's settings"
    assert manifest["configSchema"]["properties"].keys() >= {"python", "twilio", "inboundPolicy"}


def test_installing_again_replaces_what_was_there(machine):
    machine.run("install")
    (machine.installed / "old.js").write_text("old")
    assert "openclaw voicecall call" in machine.run("install").stdout
    assert not (machine.installed / "old.js").exists()


def test_status_and_uninstall_tell_what_is_there(machine):
    assert "not installed" in machine.run("status", code=1).stdout
    machine.run("install")
    assert f"plugin voice-call {__version__}" in machine.run("status").stdout
    assert "is removed" in machine.run("uninstall").stdout
    assert not machine.installed.exists()
    assert "was not installed" in machine.run("uninstall").stdout


def test_settings_that_openclaw_forgets_are_kept(machine, monkeypatch):
    state = machine.home / "state"
    state.mkdir()
    monkeypatch.setenv("OPENCLAW_STATE_DIR", str(state))
    settings = {"provider": "twilio", "twilio": {"authToken": "secret"}}
    entry = {"enabled": True, "config": settings}
    (state / "openclaw.json").write_text(
        "// mine\n" + json.dumps({"plugins": {"entries": {"voice-call": entry}}})
    )
    machine.run("install")
    said = machine.run("uninstall").stdout
    (kept,) = (machine.home / "data").rglob("openclaw-settings.json")
    assert json.loads(kept.read_text()) == settings
    assert kept.stat().st_mode & 0o777 == 0o600
    assert f'openclaw config set plugins.entries.voice-call.config "$(cat {kept})"' in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"version": "OpenClaw 2026.4.1 (aaa)"}, "OpenClaw 2026.4.1 is too old; update it to 2026.9"),
        ({"version": "Running on an unsupported Node (22.23.3)", "versionCode": 1}, "needs Node 24.16"),
        ({"version": f"{OLD_NODE}\nIf you use nvm, run:\n  nvm install 26", "versionCode": 1}, OLD_NODE),
        ({"version": "env: 'node': No such file or directory", "versionCode": 127}, "put it first on PATH"),
        ({"refuses": "extension entry failed plugin directory boundary checks"}, "boundary checks"),
        ({"diagnostics": [{"level": "error", "message": "plugin id mismatch"}]}, "plugin id mismatch"),
        ({"bridge": "0.0.9"}, "version 0.0.9"),
    ],
)
def test_what_stands_in_the_way_is_said_with_what_to_do(machine, settings, words):
    machine.is_such(**settings)
    done = machine.run("install", code=69)
    assert words in done.stderr
    assert done.stderr.count("\n") == 1, "one line"


def test_without_openclaw_it_says_where_it_looked(machine):
    done = machine.run("install", code=69, path="/usr/bin:/bin")
    assert "openclaw is not on PATH" in done.stderr
    assert "--openclaw" in done.stderr
    machine.run("install", "--openclaw", str(machine.program), path="/usr/bin:/bin")


def test_status_says_when_the_python_of_the_plugin_is_gone(machine):
    machine.run("install")
    (machine.installed / "interpreter.json").write_text(json.dumps({"python": "/gone/python"}))
    done = machine.run("status", code=1)
    assert (
        "the Python it starts is gone: /gone/python; run: openclaw-voicecall openclaw install" in done.stderr
    )
