"""Strict stand-ins for ngrok and tailscale as the only such programs on PATH, and what they were asked to do."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NAME = "desk.tail0123.ts.net"


class FakeNgrok:
    """What `fake_ngrok.py` is told to do, and did."""

    def __init__(self, folder: Path, **plan: Any) -> None:
        self._plan = folder / "plan.json"
        self.plan(**plan)

    def plan(self, **plan: Any) -> None:
        self._plan.write_text(json.dumps({"urls": ["https://abc123.ngrok-free.app"], **plan}))

    @property
    def runs(self) -> list[dict[str, Any]]:
        file = self._plan.with_name("runs.json")
        return json.loads(file.read_text()) if file.exists() else []


class FakeTailscale:
    """The daemon that `fake_tailscale.py` speaks with."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "daemon.json"
        self._file.write_text(json.dumps({"state": "Running", "name": NAME, "serve": None}))

    def set(self, **facts: Any) -> None:
        self._file.write_text(json.dumps({**self.facts, **facts}))

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads(self._file.read_text())

    def paths(self, port: int = 443) -> dict[str, str]:
        web = (self.facts["serve"] or {}).get("Web", {})
        handlers = web.get(f"{NAME}:{port}", {}).get("Handlers", {})
        return {path: handler.get("Proxy", "") for path, handler in handlers.items()}

    def funnel(self, port: int = 443) -> bool:
        return bool((self.facts["serve"] or {}).get("AllowFunnel", {}).get(f"{NAME}:{port}"))


def serving(*paths: str, port: int = 443, funnel: bool = False, target: str = "http://127.0.0.1:80") -> dict:
    """A configuration of Tailscale in which somebody serves something."""
    key = f"{NAME}:{port}"
    return {
        "TCP": {str(port): {"HTTPS": True}},
        "Web": {key: {"Handlers": {path: {"Proxy": target} for path in paths}}},
        "AllowFunnel": {key: True} if funnel else {},
    }


def install(program: str, source: str, folder: Path) -> None:
    """Make a stand-in executable under a program's name."""
    path = folder / program
    path.write_text(f"#!{sys.executable}\n{(HERE / source).read_text()}")
    path.chmod(0o755)


def programs(folder: Path, patch: pytest.MonkeyPatch) -> tuple[FakeNgrok, FakeTailscale]:
    """Put both stand-ins first on PATH."""
    bin_ = folder / "bin"
    bin_.mkdir()
    install("ngrok", "fake_ngrok.py", bin_)
    install("tailscale", "fake_tailscale.py", bin_)
    patch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("FAKE_NGROK", str(folder / "plan.json"))
    patch.setenv("FAKE_TAILSCALE", str(folder / "daemon.json"))
    return FakeNgrok(folder), FakeTailscale(folder)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    if not Path("/proc/self/stat").exists():
        return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
