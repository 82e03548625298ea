"""The JavaScript that OpenClaw loads, by Node's own tests over a scripted child: see bridge_*.test.mjs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from openclaw_rig import node

pytestmark = [pytest.mark.contract, pytest.mark.unhurried]

HERE = Path(__file__).parent
BRIDGE = HERE.parents[1] / "openclaw_voicecall" / "host" / "openclaw" / "bridge"
FILE_LINES = 300


@pytest.mark.parametrize("module", sorted(path.name for path in HERE.glob("bridge_*.test.mjs")))
def test_the_bridge_keeps_its_promises(module: str) -> None:
    command = [str(node()), "--test", "--test-reporter=spec", "--test-timeout=30000", str(HERE / module)]
    env = {**os.environ, "BRIDGE_TEST_PYTHON": sys.executable}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"pass [1-9]", done.stdout), "no test ran"


def test_the_bridge_needs_nothing_but_node_and_openclaw() -> None:
    for path in BRIDGE.glob("*.js"):
        for name in re.findall(
            r"""(?:from|import)\s*\(?["']([^"']+)["']""", path.read_text(encoding="utf-8")
        ):
            assert name.startswith(("node:", "./", "openclaw/plugin-sdk/")), f"{path.name} imports {name}"


def test_no_file_of_the_bridge_is_longer_than_300_lines() -> None:
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in BRIDGE.glob("*.js")}
    assert all(size <= FILE_LINES for size in sizes.values()), sizes
