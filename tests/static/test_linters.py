"""ruff, mypy and the import contracts, run as anybody would run them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.static

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing() -> None:
    run(str(BIN / "ruff"), "check", ".")


def test_ruff_would_format_nothing_differently() -> None:
    run(str(BIN / "ruff"), "format", "--check", ".")


@pytest.mark.timeout(300)
def test_mypy_finds_nothing() -> None:
    run(str(BIN / "mypy"))


def test_the_layers_hold() -> None:
    run(str(BIN / "lint-imports"))
