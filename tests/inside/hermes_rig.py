"""The real hermes-agent for tests: installed by pip once, run in a home of its own, with a model that is scripted.

    async with ChatEmulator(models=[MODEL], respond=...) as model:
        hermes = Hermes(tmp_path, model.url)
        done = await hermes.run("voicecall", "status")

It has our dependencies beside its own, as where somebody installs both; our own code is that of this checkout. What pip
brings is kept between runs beside what npm brings, see openclaw_rig.
"""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from openclaw_rig import CACHE_VARIABLE, KEY, MODEL, NICE, Done

from openclaw_voicecall import __version__ as VERSION

HERMES = "0.19.0"
REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALL_SECONDS = 600

__all__ = ["HERMES", "KEY", "MODEL", "REPOSITORY", "Hermes", "install", "kill_group"]


def install() -> Path:
    """A virtual environment with hermes-agent and our dependencies, without us.

    Raises:
        RuntimeError: pip failed; with its own words.
    """
    needs = [f"hermes-agent=={HERMES}", *PROJECT["dependencies"], *PROJECT["optional-dependencies"]["local"]]
    digest = hashlib.sha256("\n".join([sys.base_prefix, sys.version, *needs]).encode()).hexdigest()[:12]
    folder = _cache() / f"hermes-{HERMES}-{digest}"
    if not folder.is_dir():
        _install_into(folder, needs)
    return folder


def _install_into(folder: Path, needs: list[str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="installing-", dir=folder.parent))
    try:
        _run([sys.executable, "-m", "venv", str(unfinished)])
        pip = [str(unfinished / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", *needs])
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # another test run was quicker
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(
        ["nice", "-n", NICE, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")


def _cache() -> Path:
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "openclaw-voicecall-tests"


class Hermes:
    """A hermes-agent with a private home.

    Args:
        home: An empty folder.
        model_url: A server of chat completions, without `/v1`; `MODEL` there is the agent's model.
        settings: Those of our service.
        installed: Whether our package is installed beside hermes; where it is not, a plugin folder has to bring it.
        plugins: Those that are enabled.
    """

    def __init__(
        self,
        home: Path,
        model_url: str,
        *,
        settings: Mapping[str, Any] | None = None,
        installed: bool = True,
        plugins: tuple[str, ...] = ("voicecall",),
    ) -> None:
        self.home = home
        self.hermes_home = home / ".hermes"
        self.state_dir = home / "s"
        self.python = install() / "bin" / "python"
        self.hermes_home.mkdir()
        self.config_file = self.hermes_home / "config.yaml"
        self.config_file.write_text(yaml.safe_dump(_config(model_url, plugins)), encoding="utf-8")
        settings_file = home / "voicecall.json"
        settings_file.write_text(json.dumps({"provider": "local", **(settings or {})}), encoding="utf-8")
        settings_file.chmod(0o600)
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PATH", "TMPDIR") if name in os.environ}
        self.env = {
            **kept,
            "HOME": str(home),
            "HERMES_HOME": str(self.hermes_home),
            "OPENCLAW_VOICECALL_CONFIG": str(settings_file),
            "OPENCLAW_VOICECALL_STATE_DIR": str(self.state_dir),
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            **({"PYTHONPATH": str(_distribution(home / "site"))} if installed else {}),
        }

    async def run(self, *words: str, seconds: float = 90) -> Done:
        """Run a command, `hermes WORDS`, to its end."""
        return await _ended(await self.start(*words), seconds)

    async def python_script(self, source: str, *words: str, seconds: float = 90) -> Done:
        """Run Python code where hermes is installed."""
        return await _ended(await self._spawn("-c", source, *words), seconds)

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start a command; whoever starts it ends it."""
        return await self._spawn("-m", "hermes_cli.main", *words)

    async def _spawn(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self.python),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
            cwd=self.home,
            start_new_session=True,
            limit=16 * 2**20,
        )


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> Done:
    async with asyncio.timeout(seconds):
        try:
            out, err = await process.communicate()
        finally:
            kill_group(process)
    return Done(process.returncode or 0, out.decode(), err.decode())


def _distribution(folder: Path) -> Path:
    """Our package as pip would install it from this checkout, without what pip needs for that."""
    metadata = folder / f"openclaw_voicecall-{VERSION}.dist-info"
    metadata.mkdir(parents=True)
    (folder / "openclaw_voicecall").symlink_to(REPOSITORY / "openclaw_voicecall")
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {VERSION}\n", encoding="utf-8"
    )
    groups = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    del groups["pytest11"]
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _config(model_url: str, plugins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "model": {
            "default": MODEL,
            "provider": "custom",
            "base_url": f"{model_url}/v1",
            "api_key": KEY,
            "context_length": 128_000,
        },
        "plugins": {"enabled": list(plugins)},
    }


def kill_group(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of it running."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
