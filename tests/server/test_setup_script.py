"""`.ci/setup` on machines that lack something, with stand-ins for Python and apt."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
TOOLS = (
    "sh", "cat", "cksum", "cp", "dirname", "env", "id", "ls", "mkdir", "mktemp", "rm", "tail", "touch",
)  # fmt: skip

PYTHON = """#!/bin/sh
echo "python $*" >>"$LOG"
case "$*" in
    "-c import sys; sys.exit(sys.version_info < (3, 11))") [ -z "${OLD:-}" ] ;;
    "-c import venv, ensurepip") [ -f "$HAS_VENV" ] ;;
    "-c import sys; print"*) echo 3.11 ;;
    "-c import openclaw_voicecall") ;;
    "--version") echo "Python ${OLD:-3.11.2}" ;;
    "-m venv --clear "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
    "-m pip install"*) [ -z "${NO_NETWORK:-}" ] || { echo "no network"; exit 1; }
        cp "$0" "${0%/*}/openclaw-voicecall" ;;
    *) exit 99 ;;
esac
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$LOG"
[ "$1" = update ] || case "$*" in *python3*-venv*) touch "$HAS_VENV" ;; esac
"""


@dataclass
class Machine:
    """A folder that plays a machine: its PATH, its log of what was called, its checkout."""

    folder: Path

    def install(self, name: str, script: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(script, encoding="utf-8")
        program.chmod(0o755)

    def setup(self, mode: str = "call", **environment: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": str(self.folder / "bin"),
            "LOG": str(self.folder / "log"),
            "HAS_VENV": str(self.folder / "has-venv"),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
        }
        script = self.folder / "checkout" / ".ci" / "setup"
        command = ["sh", str(script), mode]
        return subprocess.run(
            command,
            env=known | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    (tmp_path / "checkout" / ".ci").mkdir(parents=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    shutil.copy(ROOT / ".ci" / "setup", tmp_path / "checkout" / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "checkout")
    return Machine(tmp_path)


def test_without_a_new_enough_python_it_says_so_in_one_line(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    done = machine.setup(OLD="3.9.2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "3.11 or newer is needed, found: Python 3.9.2" in done.stderr


def test_without_any_python_it_says_so(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 1
    assert "found: no python3" in done.stderr


def test_without_a_venv_module_and_without_apt_it_says_what_to_install(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    done = machine.setup()
    assert done.returncode == 1
    assert "Install python3.11-venv" in done.stderr
    assert "pip install" not in machine.log


@pytest.mark.skipif(os.geteuid() != 0, reason="the script asks sudo when it is not root")
def test_on_a_fresh_debian_it_installs_the_venv_module_and_flite(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    machine.install("apt-get", APT)
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert "install -y -q --no-install-recommends python3.11-venv" in machine.log
    assert "install -y -q --no-install-recommends flite" in machine.log
    assert "-e .[local]" in machine.log


@pytest.mark.skipif(os.geteuid() != 0, reason="the script asks sudo when it is not root")
def test_a_machine_without_package_lists_fetches_them_first(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    fails_until_updated = (
        'case "$1" in update) touch "$LOG.lists" ;; *) [ -f "$LOG.lists" ] || exit 100 ;; esac\n'
    )
    machine.install("apt-get", APT.replace("[ ", fails_until_updated + "[ ", 1))
    assert machine.setup().returncode == 0
    assert "apt-get update" in machine.log


def test_without_apt_it_goes_on_with_the_other_voice(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert "speak with espeak-ng" in done.stderr


def test_a_second_run_installs_nothing(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    assert machine.setup().returncode == 0
    (machine.folder / "log").unlink()
    again = machine.setup()
    assert (again.returncode, again.stderr) == (0, "")
    assert "pip" not in machine.log


def test_an_environment_made_for_tests_serves_calls_and_not_the_other_way_round(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    machine.setup("call")
    machine.setup("test")
    assert machine.log.count("-e .[local]") == 1
    assert machine.log.count("-e .[dev]") == 1
    machine.setup("call")
    assert machine.log.count("pip install") == 2


def test_changed_dependencies_are_installed(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    machine.setup()
    with (machine.folder / "checkout" / "pyproject.toml").open("a", encoding="utf-8") as settings:
        settings.write("# changed\n")
    machine.setup()
    assert machine.log.count("pip install") == 2


def test_the_environment_goes_where_venv_says(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    assert machine.setup(VENV=str(machine.folder / "elsewhere")).returncode == 0
    assert (machine.folder / "elsewhere" / "bin" / "openclaw-voicecall").exists()
    assert not (machine.folder / "checkout" / ".venv").exists()


def test_when_pip_fails_its_words_are_shown_and_the_next_run_tries_again(machine: Machine) -> None:
    machine.install("python3", PYTHON)
    (machine.folder / "has-venv").touch()
    failed = machine.setup(NO_NETWORK="1")
    assert failed.returncode == 1
    assert "no network" in failed.stderr
    assert machine.setup().returncode == 0


def test_an_unknown_mode_is_refused(machine: Machine) -> None:
    assert machine.setup("everything").returncode == 64
