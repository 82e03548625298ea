"""Runs the real service in a process of its own, as a user would start it."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self


class ServiceCrashed(AssertionError):
    """The service ended by itself, did not get ready, or did not stop; the message holds its stderr."""


@dataclass(frozen=True, slots=True)
class CliResult:
    """What a command did."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON on stdout; for commands that print one value a line, the last of them."""
        lines = [line for line in self.stdout.splitlines() if line.strip()]
        if not lines:
            raise AssertionError(f"the command printed no JSON; exit code {self.exit_code}\n{self.stderr}")
        try:
            return json.loads(self.stdout)
        except json.JSONDecodeError:
            return json.loads(lines[-1])


class RunningService:
    """`openclaw-voicecall serve` in a process of its own, with its state in `state_dir`.

    Use it as a context manager. It leaves nothing running, and raises `ServiceCrashed` at the end when the
    service did not live until it was told to go.

    Args:
        state_dir: Private folder with a short path.
        port: TCP port for webhooks and media.
        config: Settings in camelCase; `provider` and `serve` have defaults for a test.
        env: Variables added to the environment of the service and its commands.
        start_timeout: Seconds until the service must be ready.
        stop_timeout: Seconds it may take to end after SIGTERM.
        inside: What to put before the service and its commands, such as `SmallDisk.inside`; it has to become them.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        port: int,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
        stop_timeout: float = 40.0,
        inside: Sequence[str] = (),
    ) -> None:
        self.state_dir = state_dir
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        """Where the service answers webhooks and media streams."""
        self.config = {
            "enabled": True,
            "provider": "local",
            "fromNumber": "+15550000000",
            "serve": {"bind": "127.0.0.1", "port": port},
            # Most tests hold no spoken call, and the model takes most of a start's processor time.
            "streaming": {"providers": {"local": {"preload": False}}},
            **(config or {}),
        }
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._command = (*inside, sys.executable, "-m", "openclaw_voicecall")
        self._config_file = state_dir.with_name(f"{state_dir.name}.json")
        self._process: subprocess.Popen[str] | None = None
        self._stdout: _Reader | None = None
        self._stderr: _Reader | None = None

    def __enter__(self) -> Self:
        """Start the service and wait until it is ready. Raises `ServiceCrashed`."""
        self._config_file.write_text(json.dumps(self.config), encoding="utf-8")
        self._config_file.chmod(0o600)
        try:
            self.start()
        except BaseException:
            self._config_file.unlink()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service. Raises `ServiceCrashed` when it was gone, unless the test failed anyway."""
        try:
            self.stop()
        except ServiceCrashed:
            if kind is None:
                raise
        finally:
            self._config_file.unlink()

    @property
    def pid(self) -> int:
        """Process id. Raises `ServiceCrashed` when the service is not running."""
        if self._process is None:
            raise ServiceCrashed("the service is not running: it was stopped or killed")
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What the service wrote to stderr since it was last started."""
        return self._stderr.text if self._stderr is not None else ""

    def start(self) -> None:
        """Start the service and wait for its `ready` line. Raises `ServiceCrashed`."""
        if self._process is not None:
            raise ServiceCrashed(f"the service is running already, as process {self._process.pid}")
        process = subprocess.Popen(
            [*self._command, "serve", *self._common()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 both are pipes
        self._process = process
        self._stdout, self._stderr = _Reader(process.stdout), _Reader(process.stderr)
        ready = self._stdout.wait_for(re.compile(r"\bready\b"), self._start_timeout)
        if ready is None:
            raise self._failed(f"the service did not get ready (limit {self._start_timeout:.0f} s)")
        announced = re.search(r"https?://127\.0\.0\.1:\d+", ready)
        self.url = announced[0] if announced else self.url

    def stop(self) -> None:
        """Send SIGTERM and wait for an orderly end; nothing to do after `kill`. Raises `ServiceCrashed`."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            raise self._failed(f"the service crashed with exit code {self._process.returncode}")
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(self._stop_timeout)
        except subprocess.TimeoutExpired:
            raise self._failed(
                f"the service did not end within {self._stop_timeout:.0f} s of SIGTERM"
            ) from None
        if self._process.returncode != 0:
            raise self._failed(f"the service ended with exit code {self._process.returncode} after SIGTERM")
        self._release()

    def kill(self) -> None:
        """End the service with SIGKILL, as a crash would. Raises `ServiceCrashed` if it was gone."""
        if self._process is None or self._process.poll() is not None:
            raise self._failed("the service was not running any more when it was to be killed")
        self._process.kill()
        self._process.wait()
        self._release()

    def restart(self) -> None:
        """Stop the service, unless it was killed, and start it on the same state. Raises `ServiceCrashed`."""
        self.stop()
        self.start()

    def cli(self, *arguments: str, json: bool = True, check: bool = True, timeout: float = 60.0) -> CliResult:
        """Run a command against this service.

        Args:
            arguments: The command and its options, such as `"call", "--to", "+15550001234"`.
            json: Add `--json`.
            check: Raise `AssertionError` when the command fails.
            timeout: Seconds it may take.
        """
        done = subprocess.run(
            [*self._command, *arguments, *self._common(), *(["--json"] if json else [])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.env,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"`{' '.join(arguments)}` failed with exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return CliResult(done.returncode, done.stdout, done.stderr)

    def _common(self) -> list[str]:
        return ["--config", str(self._config_file), "--state-dir", str(self.state_dir)]

    def _failed(self, what: str) -> ServiceCrashed:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._release()
        return ServiceCrashed(f"{what}; it wrote to stderr:\n{self.stderr or '(nothing)'}")

    def _release(self) -> None:
        for reader in (self._stdout, self._stderr):
            if reader is not None:
                reader.close()
        self._process = None


class _Reader:
    """Reads a pipe in a thread of its own, so that the process never blocks on a full one."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._fresh: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="service output", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Everything read so far."""
        return "".join(self._lines)

    def wait_for(self, pattern: re.Pattern[str], timeout: float) -> str | None:
        """The next line that matches; None when the pipe ends or nothing matched within `timeout` seconds."""
        overdue = threading.Timer(timeout, self._fresh.put, [None])
        overdue.start()
        try:
            while (line := self._fresh.get()) is not None:
                if pattern.search(line):
                    return line
            return None
        finally:
            overdue.cancel()
            overdue.join()

    def close(self) -> None:
        """Read what is left of a process that ended, and close the pipe."""
        # A grandchild may hold the pipe open; what it writes later is of no interest.
        self._thread.join(timeout=5.0)
        if not self._thread.is_alive():
            self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            self._lines.append(line)
            self._fresh.put(line)
        self._fresh.put(None)
