"""What the README shows works: its configuration, its phone script, its plugin, its commands, its links."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from openclaw_voicecall.api.responder import EndCall, TextDelta, TurnRequest
from openclaw_voicecall.cli import build_cli
from openclaw_voicecall.config.schema import VoiceCallConfig
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.providers.local.phone.script import Interrupt, Press, Say
from openclaw_voicecall.providers.local.phone.script_reader import load_script

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
FILES = {found[1]: text for _, text in BLOCKS if (found := re.match(r"(?:#|//) ([\w.]+)\n", text))}
SHELL = [line.partition("  #")[0] for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
NAMED = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text(FILES[name], encoding="utf-8")
    return folder


def setting(config: VoiceCallConfig, path: str) -> object:
    """The value of a setting by its name in a configuration file; `AttributeError` if there is none."""
    value: object = config
    for key in path.split("."):
        names = {info.alias or name: name for name, info in type(value).model_fields.items()}
        value = getattr(value, names.get(key, key))
    return value


def test_its_configuration_loads_without_a_note_and_names_what_exists(tmp_path: Path) -> None:
    registry = load_registry(load_entry_points=False)
    loaded = registry.load_config(written(tmp_path, "voicecall.json5") / "voicecall.json5", env={})
    assert loaded.notices == ()
    config = loaded.config
    assert config.allow_from == ("+15550001234",)
    assert config.endpointing.silence_ms == 600
    assert config.recording.enabled
    assert registry.find("responders", config.response_model or "", setting="responseModel")
    for name in (config.tts.provider, *config.tts.fallbacks):
        assert registry.find("synthesizers", name, setting="tts.provider")


def test_its_phone_script_can_be_played(tmp_path: Path) -> None:
    script = load_script(str(written(tmp_path, "impatient.yaml") / "impatient.yaml"))
    kinds = [type(step) for step in script.steps]
    assert {Interrupt, Press, Say} <= set(kinds)
    assert (script.ring, script.noise) == (1, -50)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the plugin of the README."""
    folder = tmp_path_factory.mktemp("readme")
    source = folder / "source"
    source.mkdir()
    written(source, "parrot.py", "pyproject.toml")
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(folder / "site"), str(source),
    ]  # fmt: skip
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_its_plugin_is_found_once_it_is_installed(site: Path, state_dir: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "OPENCLAW_VOICECALL_STATE_DIR": str(state_dir)}
    command = [sys.executable, "-m", "openclaw_voicecall", "plugins", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (plugin,) = [found for found in json.loads(done.stdout)["plugins"] if found["name"] == "parrot"]
    assert plugin["distribution"] == "voicecall-parrot"
    assert plugin["registers"] == {"responders": ["parrot"]}


async def test_its_plugin_answers_and_hangs_up(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    registry = load_registry(modules=["parrot"], load_entry_points=False)
    monkeypatch.delitem(sys.modules, "parrot")
    spec = registry.find("responders", "parrot", setting="responseModel")
    async with spec.open(None, None, "") as parrot:
        first = [event async for event in parrot.respond(TurnRequest(call_id="c", turn=1, text="Hi"))]
        last = [event async for event in parrot.respond(TurnRequest(call_id="c", turn=2, text="Good-bye."))]
    assert first == [TextDelta("You said: Hi ")]
    assert isinstance(last[-1], EndCall)


def test_the_error_it_tells_plugin_authors_to_raise_exists() -> None:
    assert "VendorUnavailable" in PAGE
    assert import_module("openclaw_voicecall.errors").VendorUnavailable.retryable


def test_its_table_has_every_command_with_the_help_of_the_program() -> None:
    rows = dict(re.findall(r"^\| `openclaw-voicecall ([\w-]+)` \| (.+) \|$", PAGE, re.MULTILINE))
    commands = build_cli().commands
    assert list(rows) == list(commands)
    # What follows the first sentence belongs to the command's own help.
    for name, command in commands.items():
        assert command.get_short_help_str(200).startswith(rows[name])


def invocations() -> Iterator[str]:
    for line in [*SHELL, *NAMED]:
        found = re.search(r"\bopenclaw-voicecall (.+)$", line)
        if found and found[1] not in build_cli().commands:  # the table names commands without their arguments
            yield found[1]


@pytest.mark.parametrize("line", sorted(set(invocations())))
def test_every_command_line_it_shows_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written(tmp_path, "impatient.yaml"))
    command: click.Command = build_cli()
    words = shlex.split(line)
    while isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    if words or not isinstance(command, click.Group):
        command.make_context(line, words)


def test_every_variable_it_sets_is_a_setting(tmp_path: Path) -> None:
    variables = dict(re.findall(r"\b(VOICECALL_\w+)=(\w+)", PAGE))
    assert len(variables) >= 3
    registry = load_registry(load_entry_points=False)
    empty = tmp_path / "voicecall.json5"
    empty.write_text("{}", encoding="utf-8")
    plain = registry.load_config(empty, env={}).config
    for name, value in variables.items():
        loaded = registry.load_config(empty, env={name: value})
        assert loaded.notices == ()
        assert loaded.config.model_dump() != plain.model_dump(), name


def test_every_setting_it_names_exists(tmp_path: Path) -> None:
    source = written(tmp_path, "voicecall.json5") / "voicecall.json5"
    config = load_registry(load_entry_points=False).load_config(source, env={}).config
    dotted = [name for name in NAMED if re.fullmatch(r"[a-z][A-Za-z]*\.[a-z][A-Za-z]*", name)]
    plain = [name for name in NAMED if re.fullmatch(r"[a-z]+[A-Z][A-Za-z]*", name)]
    assert {"streaming.fallbacks", "tts.fallbacks", "endpointing.silenceMs"} <= set(dotted)
    files = {path.name for path in ROOT.iterdir()} | set(FILES)
    for name in {*dotted, *plain} - files:
        setting(config, name)


def says(text: str, message: str) -> bool:
    """Whether a text of the program holds all parts of a message; an ellipsis stands for a name."""
    return all(part.strip() in text for part in message.split("…"))


def test_every_message_it_explains_is_one_the_program_says() -> None:
    table = PAGE.split("## Troubleshooting")[1].split("\n## ")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) >= 10
    said = [(ROOT / ".ci" / "setup").read_text(encoding="utf-8")]
    for path in (ROOT / "openclaw_voicecall").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(value=str(text)):
                    said.append(text)
                case ast.JoinedStr(values=parts):
                    said.append("…".join(part.value for part in parts if isinstance(part, ast.Constant)))
    unknown = [message for message in messages if not any(says(text, message) for text in said)]
    assert not unknown


def test_every_file_and_page_it_names_is_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGE)
    paths = [
        name
        for name in NAMED
        if re.fullmatch(r"(?:openclaw_voicecall|tests|docs|bench)/[\w./-]*", name) or name == "plugin.yaml"
    ]
    assert len(links) > 10
    assert not [name for name in (*links, *paths) if not (ROOT / name).exists()]


def test_every_make_target_and_variable_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8") + (ROOT / ".ci" / "setup").read_text("utf-8")
    lines = [line for line in (*SHELL, *NAMED) if line.startswith("make ")]
    assert {"make call", "make test"} <= {line.strip() for line in lines}
    for line in lines:
        target, *variables = shlex.split(line)[1:]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
        for variable in variables:
            name = variable.partition("=")[0]
            assert f"$({name})" in makefile or f"${{{name}" in makefile, line


@pytest.mark.parametrize("reason", [name for name in NAMED if re.fullmatch(r"\w+-(?:failed|lost)", name)])
def test_every_end_reason_it_names_exists(reason: str) -> None:
    assert EndReason(reason)


def test_its_picture_shows_the_call_of_its_transcript() -> None:
    picture = (ROOT / "docs" / "images" / "first-call.svg").read_text(encoding="utf-8")
    drawn = " ".join(re.sub(r"<[^>]+>", " ", picture).split())
    transcript = PAGE.split("```text\n")[1].split("```")[0]
    spoken = re.findall(r"  (?:caller|agent) +([^…\s].*?)(?:  \S.*)?$", transcript, re.MULTILINE)
    assert len(spoken) >= 10
    assert not [text for text in spoken if text not in drawn]
