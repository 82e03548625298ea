"""The rules in tests/conftest.py really stop a test that breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.static

ROOT = Path(__file__).parents[2]


def run_a_test(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "test_it.py").write_text(f"import pytest\n{source}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_module_without_a_tier_is_not_collected(tmp_path: Path) -> None:
    done = run_a_test(tmp_path, "def test_it(): pass\n")
    assert done.returncode != 0
    assert "declares none" in done.stderr + done.stdout


def test_a_module_with_two_tiers_is_not_collected(tmp_path: Path) -> None:
    done = run_a_test(tmp_path, "pytestmark = [pytest.mark.unit, pytest.mark.e2e]\ndef test_it(): pass\n")
    assert done.returncode != 0
    assert "declares e2e and unit" in done.stderr + done.stdout


def test_a_module_with_one_tier_runs(tmp_path: Path) -> None:
    assert run_a_test(tmp_path, "pytestmark = pytest.mark.unit\ndef test_it(): pass\n").returncode == 0


def test_a_unit_test_may_not_be_async(tmp_path: Path) -> None:
    done = run_a_test(tmp_path, "pytestmark = pytest.mark.unit\nasync def test_it(): pass\n")
    assert done.returncode != 0
    assert "run without an event loop" in done.stderr + done.stdout


def test_a_unit_test_may_not_start_an_event_loop(tmp_path: Path) -> None:
    body = "import asyncio\npytestmark = pytest.mark.unit\ndef test_it(): asyncio.run(asyncio.sleep(0))\n"
    done = run_a_test(tmp_path, body)
    assert done.returncode == 1
    assert "started an event loop" in done.stdout


def test_a_test_may_not_talk_to_the_outside_world(tmp_path: Path) -> None:
    body = (
        "import socket\npytestmark = pytest.mark.server\n"
        "def test_it():\n    with socket.socket() as s: s.connect(('192.0.2.1', 80))\n"
    )
    done = run_a_test(tmp_path, body)
    assert done.returncode == 1
    assert "loopback only" in done.stdout
