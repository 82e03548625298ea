"""The phone line of a hermes process: our service in a thread beside it, asked from hermes' own threads."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, Final

from openclaw_voicecall.errors import HostError
from openclaw_voicecall.host.operations import Params, Result
from openclaw_voicecall.host.sharing import SharedService

logger = logging.getLogger(__name__)

STOP_LIMIT: Final = 10.0
"""Seconds that the service may take to end once its calls are hung up."""
LOOK_EVERY: Final = 0.2
"""Seconds between two looks whether somebody still waits for a result."""


class PhoneLine:
    """Has calls placed and controlled, from any thread.

    Nothing starts before it is asked for: hermes has many processes that never telephone.

    Args:
        service: Makes the service, in the event loop it will live in.
    """

    def __init__(self, service: Callable[[], SharedService]) -> None:
        self._make = service
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._service: SharedService | None = None

    def start(self) -> None:
        """Begin to open the service, and do not wait for it. What goes wrong is logged, and told to who asks next."""
        self._begin(self._open())

    def tool(self, params: Params, *, given_up: Callable[[], bool] = lambda: False) -> Result:
        """Run an action of the tool `voice_call`, and wait for its result.

        Args:
            params: As for `Operations.tool`.
            given_up: Whether nobody wants the result any more.

        Raises:
            VoiceCallError: It failed.
        """
        asked = self._begin(self._tool(params))
        while True:
            try:
                result: Result = asked.result(timeout=LOOK_EVERY)
            except TimeoutError:
                if asked.done():
                    raise
                if given_up():
                    asked.cancel()
                    raise HostError("stopped by the user; get_status tells how the call stands") from None
            else:
                return result

    @property
    def live_calls(self) -> int:
        """Calls that end when this process does."""
        owned = self._service.owned if self._service is not None else None
        return len(owned.manager.live) if owned is not None else 0

    def stop(self, *, limit: float | None = None) -> None:
        """Let live calls finish for `serve.drainSeconds`, and stop what is ours. Said again, it does nothing.

        Args:
            limit: Seconds after which calls are hung up, where that is sooner.
        """
        with self._guard:
            thread, loop, self._thread = self._thread, self._loop, None
        if thread is None or loop is None:
            return
        owned = self._service.owned if self._service is not None else None
        drain = owned.config.serve.drain_seconds if owned is not None else 0.0
        closing = asyncio.run_coroutine_threadsafe(self._close(), loop)
        try:
            closing.result(timeout=drain if limit is None else min(drain, limit))
        except TimeoutError:
            if owned is not None:
                loop.call_soon_threadsafe(owned.stop)  # for the second time: calls are hung up
            if wait([closing], timeout=STOP_LIMIT).not_done:
                logger.warning("the phone service does not stop")
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=STOP_LIMIT)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        with self._guard:
            if self._thread is None or self._loop is None:
                self._loop, self._service = asyncio.new_event_loop(), None
                # A daemon: when hermes exits is hermes' own affair, and it has us stop before.
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="voicecall-service", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _shared(self) -> SharedService:
        if self._service is None:
            self._service = self._make()
        return self._service

    async def _tool(self, params: Params) -> Result:
        service = await self._shared()
        return await service.ask(lambda operations: operations.tool(params))

    async def _open(self) -> None:
        try:
            await (await self._shared()).open()
        except Exception as error:
            logger.warning("the phone line is closed: %s", error)

    async def _close(self) -> None:
        try:
            if self._service is not None:
                await self._service.close()
        except Exception as error:  # whatever is wrong with a call, hermes must be able to exit
            logger.warning("the phone service did not stop in good order: %r", error)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
