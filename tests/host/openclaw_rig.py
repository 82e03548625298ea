"""The real OpenClaw for tests: installed by npm once, run in a home of its own, with a model that is scripted.

    async with ChatEmulator(models=[MODEL], respond=...) as model:
        async with OpenClaw(tmp_path, model.url, plugin=folder) as openclaw:
            await openclaw.start()
            done = await openclaw.run("voicecall", "status")
            result = await openclaw.call("voicecall.status")

What npm brings is kept between runs in `${XDG_CACHE_HOME:-~/.cache}/openclaw-voicecall-tests`, or where
OPENCLAW_VOICECALL_TEST_CACHE says.
"""

import asyncio
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

OPENCLAW = "2026.9.6"
NODE = "24.21.0"
MODEL = "scripted-1"
KEY = "sk-emulated"
TOKEN = "token-of-a-test"
CACHE_VARIABLE = "OPENCLAW_VOICECALL_TEST_CACHE"

INSTALL_SECONDS = 600
START_SECONDS = 90
STOP_SECONDS = 60
NICE = "15"
"""The gateway is a guest: tests that hear audio run on the same cores."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Where npm put things."""

    modules: Path

    @property
    def node(self) -> Path:
        """The program, of a version that OpenClaw accepts."""
        return self.modules / _node_package() / "bin" / "node"

    @property
    def program(self) -> Path:
        """What `openclaw` starts."""
        return self.modules / "openclaw" / "openclaw.mjs"


def node() -> Path:
    """A Node that runs modern JavaScript: the one on PATH, or the one that OpenClaw gets.

    Raises:
        RuntimeError: As `install`.
    """
    found = shutil.which("node")
    if found:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if re.match(r"v(2[2-9]|[3-9]\d)\.", said):
            return Path(found)
    return _installed(f"node-{NODE}", f"{_node_package()}@{NODE}").node


def install() -> Installed:
    """Node and OpenClaw, from the cache or from the registry that npm is configured for.

    Raises:
        RuntimeError: There is no npm, or it failed; with its own words.
    """
    return _installed(f"openclaw-{OPENCLAW}", f"{_node_package()}@{NODE}", f"openclaw@{OPENCLAW}")


def _installed(name: str, *packages: str) -> Installed:
    folder = _cache() / name
    if not folder.is_dir():
        _install_into(folder, packages)
    return Installed(folder / "node_modules")


def _install_into(folder: Path, packages: tuple[str, ...]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("these tests install OpenClaw by npm, and there is none on PATH")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="installing-", dir=folder.parent))
    try:
        # Neither needs its install scripts, and ours is not the place to run those of three hundred packages.
        command = ["nice", "-n", NICE, npm, "install", "--prefix", str(unfinished)]
        command += ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            [*command, *packages], capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
        if done.returncode:
            raise RuntimeError(f"npm could not install {', '.join(packages)}: {done.stderr.strip()[-2000:]}")
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # another test run was quicker
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _cache() -> Path:
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "openclaw-voicecall-tests"


def _node_package() -> str:
    chip = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine()
    )
    return f"node-{sys.platform}-{chip}"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)


class OpenClaw:
    """An OpenClaw with a private home. Leaving it stops its gateway, and everything that belongs to it.

    Args:
        home: An empty folder.
        model_url: A server of chat completions, without `/v1`; every agent uses `MODEL` there.
        plugin: A folder to load the plugin from, without installing it.
        settings: Those of the plugin voice-call.
        env: More environment for the gateway and the commands.
    """

    def __init__(
        self,
        home: Path,
        model_url: str,
        *,
        plugin: Path | None = None,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.installed = install()
        self.home = home
        self.port = _free_port()
        self.state_dir = home / ".openclaw"
        self.config_path = self.state_dir / "openclaw.json"
        self.env = self._environment(env or {})
        self.log: list[str] = []
        """What the gateway wrote, line by line."""
        self._gateway: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.state_dir.mkdir(parents=True)
        self.config_path.write_text(json.dumps(self._config(model_url, plugin, settings)), encoding="utf-8")

    def configure(self, settings: dict[str, Any]) -> None:
        """Give the plugin these settings, as its owner does once it is installed.

        Before, OpenClaw would take the name for that of a plugin of its own, and try to get that from the registry.
        """
        config = json.loads(self.config_path.read_text("utf-8"))
        entries = config.setdefault("plugins", {}).setdefault("entries", {})
        entries["voice-call"] = {"enabled": True, **entries.get("voice-call", {}), "config": settings}
        self.config_path.write_text(json.dumps(config), encoding="utf-8")

    async def run(self, *words: str, seconds: float = 90, stdin: bytes | None = None) -> Done:
        """Run a command, `openclaw WORDS`, to its end."""
        process = await self._spawn(*words)
        async with asyncio.timeout(seconds):
            try:
                out, err = await process.communicate(stdin or b"")
            finally:
                _kill_group(process)
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def start(self, seconds: float = START_SECONDS) -> None:
        """Start the gateway and wait until it is ready, with its plugins."""
        begin = len(self.log)
        self._gateway = await self._spawn("gateway", "run", output=asyncio.subprocess.STDOUT)
        self._reading = asyncio.create_task(self._read_log(self._gateway))
        await self.logged("[gateway] ready", since=begin, seconds=seconds)

    async def stop(self) -> int:
        """Stop the gateway as a supervisor does. Returns its exit code.

        Raises:
            TimeoutError: It did not stop; it was killed.
        """
        gateway = self.gateway
        gateway.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await gateway.wait()
        finally:
            await self._clear()
        return code

    @property
    def gateway(self) -> asyncio.subprocess.Process:
        """The gateway's process."""
        assert self._gateway is not None, "the gateway was not started"
        return self._gateway

    async def logged(self, words: str, *, since: int = 0, seconds: float = 30) -> str:
        """Wait for a line of the gateway's log that has these words; the number of lines to skip is `since`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for line in self.log[since:]:
                        if words in line:
                            return line
                    if (
                        self.gateway.returncode is not None
                        and self._reading is not None
                        and self._reading.done()
                    ):
                        raise AssertionError(
                            f"the gateway ended with {self.gateway.returncode}:\n{self.tail()}"
                        )
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"the gateway never said {words!r}:\n{self.tail()}") from None

    def tail(self, lines: int = 60) -> str:
        """The end of the gateway's log."""
        return "\n".join(self.log[-lines:])

    async def call(self, method: str, params: dict[str, Any] | None = None, *, seconds: float = 60) -> Any:
        """Call a method of the gateway, as a program on this machine does.

        Raises:
            MethodFailed: The gateway says no.
        """
        async with asyncio.timeout(seconds), connect(self.port) as line:
            return await line.request(method, params or {})

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        if self._gateway is not None and self._gateway.returncode is None:
            await self.stop()
        await self._clear()

    async def _clear(self) -> None:
        if self._gateway is not None:
            _kill_group(self._gateway)
            await self._gateway.wait()
        if self._reading is not None:
            await self._reading

    async def _spawn(self, *words: str, output: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "nice",
            *("-n", NICE, str(self.installed.node), str(self.installed.program), *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=self.env,
            cwd=self.home,
            start_new_session=True,
            limit=16 * 2**20,
        )

    async def _read_log(self, gateway: asyncio.subprocess.Process) -> None:
        assert gateway.stdout is not None
        async for line in gateway.stdout:
            self.log.append(line.decode(errors="replace").rstrip())
            self._changed.set()
        self._changed.set()

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        path = os.pathsep.join([str(self.installed.node.parent), os.environ.get("PATH", "")])
        ours = {
            "HOME": str(self.home),
            "OPENCLAW_STATE_DIR": str(self.state_dir),
            "NO_COLOR": "1",
            "PATH": path,
        }
        return {**kept, **ours, **more}

    def _config(self, model_url: str, plugin: Path | None, settings: dict[str, Any] | None) -> dict[str, Any]:
        model = {
            "id": MODEL, "name": MODEL, "contextWindow": 128_000, "maxTokens": 4096, "input": ["text"],
            "reasoning": False, "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        }  # fmt: skip
        provider = {
            "baseUrl": f"{model_url}/v1",
            "apiKey": KEY,
            "api": "openai-completions",
            "models": [model],
        }
        plugins: dict[str, Any] = {"entries": {"voice-call": {"enabled": True, "config": settings or {}}}}
        if plugin is not None:
            plugins["load"] = {"paths": [str(plugin)]}
        elif settings is None:
            plugins = {}
        return {
            "gateway": {
                "mode": "local",
                "port": self.port,
                "bind": "loopback",
                "auth": {"mode": "token", "token": TOKEN},
                "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
            },
            "logging": {"file": str(self.home / "gateway.log"), "consoleLevel": "info"},
            "models": {"mode": "merge", "providers": {"scripted": provider}},
            "agents": {"defaults": {"model": {"primary": f"scripted/{MODEL}"}, "skipBootstrap": True}},
            "plugins": plugins,
            # OpenClaw takes a file without it for a damaged one, and puts an older one back.
            "meta": {"lastTouchedVersion": OPENCLAW},
        }


class MethodFailed(Exception):
    """The gateway refused a method.

    Args:
        error: Its error object.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")


class connect:
    """A connection to the gateway's methods, protocol 4, as an operator on this machine.

    Args:
        port: Of the gateway.
        admin: May also change the gateway.
    """

    def __init__(self, port: int, *, admin: bool = False) -> None:
        self._port = port
        self._scopes = ["operator.read", "operator.write", *(["operator.admin"] if admin else [])]
        self._count = 0
        self.events: list[dict[str, Any]] = []
        """Events that came meanwhile."""

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method and wait for its answer.

        Raises:
            MethodFailed: The gateway says no.
        """
        self._count += 1
        name = str(self._count)
        await self._socket.send_json({"type": "req", "id": name, "method": method, "params": params})
        while True:
            frame = await self._socket.receive_json()
            if frame.get("type") == "res" and frame.get("id") == name:
                if not frame["ok"]:
                    raise MethodFailed(frame["error"])
                return frame.get("payload")
            self.events.append(frame)

    async def __aenter__(self) -> Self:
        """Connect; a local backend with the shared token needs no pairing."""
        self._session = aiohttp.ClientSession()
        try:
            self._socket = await self._session.ws_connect(f"ws://127.0.0.1:{self._port}", max_msg_size=2**26)
            await self._socket.receive_json()  # the challenge is for devices
            client = {"id": "gateway-client", "mode": "backend", "version": "1", "platform": sys.platform}
            hello = {
                "minProtocol": 4,
                "maxProtocol": 4,
                "client": client,
                "role": "operator",
                "scopes": self._scopes,
            }
            await self.request("connect", {**hello, "caps": [], "auth": {"token": TOKEN}})
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        await self._session.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill what a session of ours left behind; its leader may be gone already."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
