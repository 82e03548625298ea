"""Puts the bridge into an OpenClaw on this machine, takes it out again, and looks how it stands.

OpenClaw refuses hard-linked files, folders others may write to, and plugins without its consent flags; so the bridge
is copied to a folder of its own first, with a manifest made from the code and a note of this Python, and OpenClaw's
own command installs it from there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import json5
import platformdirs

from openclaw_voicecall import __version__
from openclaw_voicecall.config.openclaw import openclaw_config_path
from openclaw_voicecall.errors import HostError
from openclaw_voicecall.host.openclaw.plugin_manifest import COMMAND, PLUGIN_ID, TOOL, plugin_manifest
from openclaw_voicecall.plugins import Registry

OLDEST: Final = (2026, 9)
"""Year and month of the oldest OpenClaw whose plugin interface the bridge was written for."""
COMMAND_LIMIT: Final = 180.0
"""Seconds that a command of OpenClaw may take; the first ones after its installation are slow."""
NODE: Final = "OpenClaw needs Node 24.16 or newer 24, or 26.1 or newer; install one and put it first on PATH"


@dataclass(frozen=True, slots=True)
class Installation:
    """How the bridge stands in an OpenClaw."""

    openclaw: str
    """Version of OpenClaw."""
    installed: bool
    bridge: str = ""
    """Version of the installed bridge."""
    folder: str = ""
    python: str = ""
    """The interpreter it starts."""
    problems: tuple[str, ...] = ()
    """What is wrong, a sentence each, with what to do."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "openclaw": self.openclaw,
            "installed": self.installed,
            "bridge": self.bridge or None,
            "folder": self.folder or None,
            "python": self.python or None,
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a bridge that was to be taken out."""

    there: bool
    """Whether it was there."""
    settings: Path | None = None
    """Where the settings that it had are kept."""


class OpenClaw:
    """The program `openclaw` on this machine.

    Args:
        program: Its path; looked for on PATH if not given.
        staging: Where the bridge is put together; a folder in the user's data folder if not given.

    Raises:
        HostError: There is no such program.
    """

    def __init__(self, program: str | None = None, staging: Path | None = None) -> None:
        found = shutil.which(program or "openclaw")
        if found is None:
            raise HostError(
                f"{program or 'openclaw'} is not on PATH; install OpenClaw, or name it with --openclaw PATH"
            )
        self.program = found
        self.staging = staging or Path(platformdirs.user_data_dir("openclaw-voicecall", appauthor=False)) / (
            "openclaw-bridge"
        )

    def version(self) -> str:
        """Its version. Raises `HostError` when it does not run, or is too old."""
        done = self._run("--version")
        said = re.search(r"OpenClaw (\d{4})\.(\d+)(\S*)", done.stdout)
        if done.returncode != 0 or said is None:
            raise HostError(f"`openclaw --version` failed: {_first_words(done).rstrip('.')}. {NODE}")
        if (int(said[1]), int(said[2])) < OLDEST:
            raise HostError(
                f"OpenClaw {said[1]}.{said[2]}{said[3]} is too old; update it to "
                f"{OLDEST[0]}.{OLDEST[1]} or newer"
            )
        return f"{said[1]}.{said[2]}{said[3]}"

    def install(self, registry: Registry) -> Installation:
        """Install the bridge, pointing to this Python, and see that OpenClaw loads it.

        Raises:
            HostError: OpenClaw refused it; the message has its reason.
        """
        self.version()
        self._stage(registry)
        done = self._run("plugins", "install", str(self.staging), "--force", "--accept-capabilities")
        if done.returncode != 0:
            raise HostError(f"OpenClaw did not install the plugin: {_last_words(done)}")
        standing = self.look()
        if standing.problems:
            raise HostError("the plugin is installed, but " + "; ".join(standing.problems))
        return standing

    def uninstall(self) -> Removal:
        """Take the bridge out. Raises `HostError` when OpenClaw does not let it go."""
        self.version()
        there = self.look().installed
        kept = self._keep_settings() if there else None
        if there:
            done = self._run("plugins", "uninstall", PLUGIN_ID, "--force")
            if done.returncode != 0:
                raise HostError(f"OpenClaw did not remove the plugin: {_last_words(done)}")
        if self.staging.is_dir():
            shutil.rmtree(self.staging)
        return Removal(there, kept)

    def look(self) -> Installation:
        """How the bridge stands, as OpenClaw itself sees it. Raises `HostError` when it cannot be asked."""
        version = self.version()
        done = self._run("plugins", "inspect", PLUGIN_ID, "--runtime", "--json")
        seen = _json(done.stdout)
        inner = seen.get("plugin")
        plugin: dict[str, Any] = inner if isinstance(inner, dict) else seen
        if done.returncode != 0 or not plugin.get("id"):
            return Installation(openclaw=version, installed=False)
        folder = str(plugin.get("rootDir") or plugin.get("root") or "")
        note = _json(_read(Path(folder) / "interpreter.json")) if folder else {}
        bridge, python = str(plugin.get("version") or ""), str(note.get("python") or "")
        return Installation(
            openclaw=version,
            installed=True,
            bridge=bridge,
            folder=folder,
            python=python,
            problems=tuple(_problems(bridge, python, plugin, seen)),
        )

    def _keep_settings(self) -> Path | None:
        """Write the plugin's settings to a file: OpenClaw forgets them with the plugin. None where there are none."""
        found = _settings(os.environ)
        if not found:
            return None
        path = self.staging.with_name("openclaw-settings.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with open(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(found, file, indent=1, ensure_ascii=False)
        draft.replace(path)
        return path

    def _stage(self, registry: Registry) -> None:
        """Put the bridge together in a folder that OpenClaw accepts."""
        draft = self.staging.with_name(f"{self.staging.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        with as_file(files(__package__) / "bridge") as source:
            for path in sorted(source.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    target = draft / path.relative_to(source)
                    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                    target.write_bytes(path.read_bytes())
        _write_json(draft / "openclaw.plugin.json", plugin_manifest(registry))
        _write_json(draft / "interpreter.json", {"python": sys.executable, "version": __version__})
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(self.staging, ignore_errors=True)
        draft.replace(self.staging)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HostError(
                f"`openclaw {' '.join(arguments)}` did not end within {COMMAND_LIMIT:g} s; try it by hand"
            ) from None
        except OSError as error:
            raise HostError(f"{self.program} cannot be run: {error.strerror}. {NODE}") from error


def _problems(bridge: str, python: str, plugin: dict[str, Any], seen: dict[str, Any]) -> Sequence[str]:
    again = "run: openclaw-voicecall openclaw install"
    found = [
        str(item.get("message") or item)
        for item in seen.get("diagnostics", ())
        if isinstance(item, dict) and item.get("level") == "error"
    ]
    if error := plugin.get("error"):
        found.append(str(error))
    if bridge and bridge != __version__:
        found.append(f"the installed bridge is of version {bridge}, this package is {__version__}; {again}")
    if python and not Path(python).is_file():
        found.append(f"the Python it starts is gone: {python}; {again}")
    for kind, wanted in (("tools", TOOL), ("cliCommands", COMMAND)):
        names = json.dumps(seen.get(kind, plugin.get(kind, [])))
        if wanted not in names:
            found.append(f"OpenClaw does not list {wanted} among its {kind}; {again}")
    return found


def _settings(env: Mapping[str, str]) -> dict[str, Any]:
    """The plugin's settings in OpenClaw's configuration; empty where there are none."""
    try:
        found: Any = json5.loads(_read(openclaw_config_path(env)) or "{}")
        for key in ("plugins", "entries", PLUGIN_ID, "config"):
            found = found.get(key) or {}
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _json(text: str) -> dict[str, Any]:
    """The JSON object in what a command printed; empty where there is none."""
    begin = text.find("{")
    try:
        found = json.loads(text[begin:]) if begin >= 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _first_words(done: "subprocess.CompletedProcess[str]") -> str:
    """Why it does not run at all; the lines after it are advice for users of nvm."""
    said = (done.stderr + done.stdout).strip()
    return said.splitlines()[0].strip() if said else f"exit code {done.returncode}"


def _last_words(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or f"exit code {done.returncode}"
