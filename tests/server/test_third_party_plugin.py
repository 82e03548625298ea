"""A plugin in a distribution of its own, installed with pip: nobody here knows its name, and all of it works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

SOURCE = Path(__file__).parents[1] / "plugins" / "shouty-desk"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the plugin. pip builds in the sources, so it gets a copy of them."""
    folder = tmp_path_factory.mktemp("third-party")
    copy = shutil.copytree(SOURCE, folder / "source")
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(folder / "site"), str(copy),
    ]  # fmt: skip
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def run(site: Path | None, state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENCLAW_VOICECALL_STATE_DIR": str(state_dir)}
    environment.pop("PYTHONPATH", None)
    if site is not None:
        environment["PYTHONPATH"] = str(site)
    command = [sys.executable, "-m", "openclaw_voicecall", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_plugin_is_listed_with_where_it_came_from(site: Path, state_dir: Path) -> None:
    done = run(site, state_dir, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    listed = {plugin["name"]: plugin for plugin in json.loads(done.stdout)["plugins"]}
    shouty = listed["shouty-desk"]
    assert (shouty["source"], shouty["distribution"], shouty["version"]) == (
        "entry point",
        "shouty-desk",
        "1.2.3",
    )
    assert shouty["registers"]["responders"] == ["shouty"]
    assert listed["openclaw_voicecall.providers.local"]["source"] == "built-in"


def test_a_command_of_the_plugin_works(site: Path, state_dir: Path) -> None:
    done = run(site, state_dir, "shout", "hi")
    assert (done.returncode, done.stdout) == (0, "HI\n"), done.stderr


def test_its_command_is_in_the_help(site: Path, state_dir: Path) -> None:
    assert "shout" in run(site, state_dir, "--help").stdout


def test_without_the_distribution_nothing_of_it_is_there(state_dir: Path) -> None:
    listed = json.loads(run(None, state_dir, "plugins", "--json").stdout)["plugins"]
    assert "shouty-desk" not in {plugin["name"] for plugin in listed}
    assert run(None, state_dir, "shout", "hi").returncode != 0


def test_a_plugin_that_cannot_be_imported_is_named_with_its_distribution(
    site: Path, state_dir: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    (broken / "shouty_desk" / "__init__.py").write_text(
        "import a_module_that_is_not_there\n", encoding="utf-8"
    )
    done = run(broken, state_dir, "plugins")
    assert done.returncode == 70
    assert "shouty-desk 1.2.3" in done.stderr
    assert "a_module_that_is_not_there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_hook_stops_the_start_and_is_named(site: Path, state_dir: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(site, tmp_path / "site")
    module = wrong / "shouty_desk" / "__init__.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace("voicecall_register_cli", "voicecall_register_cly"), encoding="utf-8")
    done = run(wrong, state_dir, "plugins")
    assert done.returncode == 70
    assert "voicecall_register_cly" in done.stderr
