"""The parent side of `worker`: runs an engine in a process of its own and asks it.

Decoding beside the event loop would make audio late, and a native library that crashes would take every call with
it. A worker that dies is started again, and what was asked is asked once more.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import openclaw_voicecall
from openclaw_voicecall.config.environment import child_environment
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.providers.embedded.worker import FAILURE, HEADER, READY, REQUEST, RESULT

logger = logging.getLogger(__name__)

_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from openclaw_voicecall.providers.embedded.worker import main; main(sys.argv[2:])"
)
_START_TIMEOUT = 60.0
"""Seconds to load an engine; the first start after boot reads its files from disk."""
_STOP_TIMEOUT = 2.0
_HEALTHY_AFTER = 5.0
"""Seconds. A worker that lived shorter is not started again until it is asked, so that a broken one does not spin."""


class _Died(Exception):
    """The worker ended or hangs; `str` says how it ended."""


class _Life:
    """One running worker, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._last_words = ""
        self._killed = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._read_replies()), asyncio.create_task(self._read_errors())]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def over(self) -> bool:
        return self._killed or self._tasks[0].done()

    async def ask(self, payload: bytes, limit: float) -> bytes:
        """Ask and wait for the answer; raises `_Died` or `VendorRejected`."""
        if self.over or self._process.stdin is None:
            raise _Died(self._last_words)
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._process.stdin.write(HEADER.pack(REQUEST, number, len(payload)) + payload)
            async with asyncio.timeout(limit):
                return await answer
        except TimeoutError:
            self.kill()
            raise _Died(f"no answer in {limit:g} s") from None
        except (ConnectionError, RuntimeError):  # uvloop's word for a pipe that nobody reads any more
            raise _Died(self._last_words) from None
        finally:
            self._waiting.pop(number, None)

    async def ended(self) -> None:
        """Wait until the worker is gone."""
        await asyncio.wait(self._tasks)
        await self._process.wait()

    def kill(self) -> None:
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the worker: politely by ending its input, otherwise by force."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    async def _read_replies(self) -> None:
        reader = self._process.stdout
        try:
            while reader is not None:
                kind, number, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                self._take(kind, number, await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            error = _Died(self._last_words or f"the {self._name} process ended")
            if not self.ready.done():
                self.ready.set_exception(error)
                self.ready.exception()  # seen here: the one who waited for it may have been cancelled
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)

    def _take(self, kind: bytes, number: int, payload: bytes) -> None:
        if kind == READY:
            self.ready.set_result(None)
            return
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if kind == RESULT:
            waiting.set_result(payload)
        elif kind == FAILURE:
            message = payload.decode(errors="replace")
            waiting.set_exception(VendorRejected(f"{self._name}: {message}", vendor=self._name))

    async def _read_errors(self) -> None:
        reader = self._process.stderr
        while reader is not None and (line := await reader.readline()):
            self._last_words = line.decode(errors="replace").strip() or self._last_words
            logger.debug("engine process says", extra={"engine": self._name, "line": self._last_words})


class EngineProcess:
    """An engine in its own process; asked by many, answers one after another.

    Use it as an async context manager: entering waits until the engine is ready, unless it is `lazy`.

    Args:
        name: The engine, as `worker` knows it.
        arguments: The engine's own arguments.
        vendor: Name of the provider in errors.
        niceness: How far the process steps back on a busy machine.
        lazy: Start the process when it is asked for the first time.
    """

    def __init__(
        self, name: str, *arguments: str, vendor: str, niceness: int = 0, lazy: bool = False
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._vendor = vendor
        self._niceness = niceness
        self._lazy = lazy
        self._life: _Life | None = None
        self._starting = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the worker that runs now."""
        return None if self._life is None or self._life.over else self._life.pid

    async def __aenter__(self) -> Self:
        if not self._lazy:
            try:
                await self._running()
            except _Died as error:
                raise self._unavailable(error) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for task in filter(None, (self._waking, self._keeper)):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._life is not None:
            await self._life.stop()

    def wake(self) -> None:
        """Start the process if none runs, and do not wait for it: it will be asked soon."""
        if self.pid is None and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake())

    async def ask(self, payload: bytes, *, limit: float) -> bytes:
        """Ask the engine. A worker that dies or hangs meanwhile is replaced and asked once more.

        Args:
            payload: What the engine is given.
            limit: Seconds after which a worker counts as hanging.

        Raises:
            VendorRejected: The engine refuses this payload.
            VendorUnavailable: The worker died twice.
        """
        try:
            return await (await self._running()).ask(payload, limit)
        except _Died as error:
            logger.warning("engine process died", extra={"engine": self._name, "detail": str(error)})
        try:
            return await (await self._running()).ask(payload, limit)
        except _Died as error:
            raise self._unavailable(error) from None

    async def _wake(self) -> None:
        with contextlib.suppress(_Died):  # whoever asks it next tries again, and says so
            await self._running()

    async def _running(self) -> _Life:
        """The running worker; starts one if there is none. Raises `_Died` if it does not come up."""
        async with self._starting:
            if self._closed:
                raise _Died("closed")
            if self._life is not None:
                if not self._life.over:
                    return self._life
                await self._life.stop()
            life = self._life = await self._start()
            try:
                async with asyncio.timeout(_START_TIMEOUT):
                    await life.ready
            except BaseException as error:
                life.kill()
                await life.ended()
                if isinstance(error, TimeoutError):
                    raise _Died(f"not ready in {_START_TIMEOUT:g} s") from None
                raise
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep(life))
        return life

    async def _start(self) -> _Life:
        root = str(Path(openclaw_voicecall.__file__).parent.parent)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            root,
            str(os.getpid()),
            str(self._niceness),
            self._name,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**child_environment(os.environ), "OPENBLAS_NUM_THREADS": "1"},
            # Ctrl-C in a terminal goes to the whole group; the worker ends when its parent does, not before.
            start_new_session=True,
        )
        return _Life(process, self._name)

    async def _keep(self, life: _Life) -> None:
        """Replace a worker that ends unasked, so that the next utterance need not wait for the start."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await life.ended()
            if self._closed or loop.time() - began < _HEALTHY_AFTER:
                return
            try:
                life = await self._running()
            except _Died as error:
                logger.warning(
                    "engine process does not start", extra={"engine": self._name, "detail": str(error)}
                )
                return

    def _unavailable(self, error: _Died) -> VendorUnavailable:
        return VendorUnavailable(
            f"the engine {self._name} does not run: {error}", vendor=self._vendor, operation="ask engine"
        )
