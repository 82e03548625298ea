"""Programs of the system that open tunnels: found, run to their end, or kept running. Never through a shell."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openclaw_voicecall.config.environment import child_environment
from openclaw_voicecall.errors import VendorError, VendorUnavailable

STOP_LIMIT = 1.7
"""Seconds for a program to end when it is told to, the guard's grace included."""
LINE_LIMIT = 1 << 20
"""Bytes of one line of output."""

_GUARD = Path(__file__).with_name("guard.py")


def find_program(name: str, *, fix: str, places: Sequence[str] = ()) -> str:
    """The path of a program: on PATH, or at one of the places where installers put it.

    Raises:
        VendorError: It is not installed; `fix` says how to install it.
    """
    found = shutil.which(name) or next((place for place in places if os.access(place, os.X_OK)), None)
    if found is None:
        raise VendorError(f"{name} is not installed: {fix}", vendor=name, operation="open a tunnel")
    return found


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    code: int | None
    """None when it was stopped because it took too long."""
    output: str
    errors: str

    @property
    def said(self) -> str:
        """What it said for people, in one line."""
        return " ".join(f"{self.errors}\n{self.output}".split())[:600]


async def run_program(command: Sequence[str], *, limit: float) -> Finished:
    """Run a program to its end, or to the end of `limit` seconds. What it had said by then is not lost.

    Raises:
        VendorUnavailable: It cannot be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(os.environ),
            start_new_session=True,  # Ctrl-C is for us; what we set up we take down ourselves
        )
    except OSError as error:
        raise _not_started(command, error) from error
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 both are pipes
    output, errors = bytearray(), bytearray()
    work = asyncio.gather(_collect(process.stdout, output), _collect(process.stderr, errors), process.wait())
    code: int | None = None
    try:
        async with asyncio.timeout(limit):
            await work
        code = process.returncode
    except TimeoutError:
        pass
    finally:
        work.cancel()
        if process.returncode is None:
            _kill_group(process.pid)
            await process.wait()
    return Finished(code, output.decode(errors="replace"), errors.decode(errors="replace"))


async def _collect(stream: asyncio.StreamReader, into: bytearray) -> None:
    while piece := await stream.read(65536):
        into += piece


class Program:
    """A program that runs until it is stopped, or until this process ends. Make it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str]) -> "Program":
        """Start it, in a session of its own: Ctrl-C must not end it before the calls are over.

        Raises:
            VendorUnavailable: It cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_GUARD),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_LIMIT,
                env=child_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise _not_started(command, error) from error
        return cls(process)

    async def lines(self) -> AsyncIterator[str]:
        """Its output, errors included, until it ends."""
        assert self._process.stdout is not None  # noqa: S101 it is a pipe
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line beyond all bounds was dropped
                continue
            if not line:
                return
            yield line.decode(errors="replace").strip()

    async def ended(self) -> int:
        """Wait for its end; gives its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: politely, then not. Takes no more than 2 s."""
        if self._process.stdin is not None:
            self._process.stdin.close()  # the guard ends with its input, and the program with the guard
        try:
            async with asyncio.timeout(STOP_LIMIT):
                await self._process.wait()
        except TimeoutError:
            _kill_group(self._process.pid)
            await self._process.wait()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _not_started(command: Sequence[str], error: OSError) -> VendorUnavailable:
    name = Path(command[0]).name
    return VendorUnavailable(f"{name} cannot be started: {error}", vendor=name, operation="open a tunnel")
