"""One service for all processes of a host: the first that needs it owns it, the others use it."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.api.host import Host
from openclaw_voicecall.config.trust import is_owner
from openclaw_voicecall.errors import ServiceNotRunning, ServiceRunning
from openclaw_voicecall.host.operations import Operations, Result
from openclaw_voicecall.host.turns import Turns
from openclaw_voicecall.plugins import load_settings
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.server.runtime import ServiceOptions, run_service
from openclaw_voicecall.server.service import Service
from openclaw_voicecall.store.statedir import STATE_DIR_VARIABLE, StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

logger = logging.getLogger(__name__)


class SharedService:
    """The service on our state directory. Of one event loop.

    Args:
        host: Whose agent answers the calls, where the service is ours.
        turns: The turns of that agent.
        prewarm: Gets the agent ready for its first turn, and does not wait for it; not asked where another process
            owns the service.
    """

    def __init__(self, host: Host, turns: Turns, *, prewarm: Callable[[], None] = lambda: None) -> None:
        self._host = host
        self._turns = turns
        self._prewarm = prewarm
        self._opening = asyncio.Lock()
        self._operations: Operations | None = None
        self._holding: asyncio.Task[None] | None = None
        """Lives as long as what the operations work with."""
        self._given_up = asyncio.Event()
        self.owned: Service | None = None
        """The service, where it is ours and runs."""

    async def ask(self, work: Callable[[Operations], Awaitable[Result]]) -> Result:
        """Have something done by the service, which is opened if it is not.

        Raises:
            VoiceCallError: It cannot be opened, or the work failed.
        """
        operations = await self.open()
        try:
            return await work(operations)
        except ServiceNotRunning:
            # The process that owned it is gone: it did nothing of the work, and now it can be ours.
            await self._close(operations)
            return await work(await self.open())

    async def open(self) -> Operations:
        """Open the service, or connect to the one that runs; once it is open, does nothing.

        Raises:
            VoiceCallError: Neither can be done.
        """
        async with self._opening:
            if self._operations is None:
                try:
                    self._operations = await self._hold(self._own)
                except ServiceRunning as refusal:
                    self._operations = await self._hold(partial(self._join, refusal))
            return self._operations

    async def close(self) -> None:
        """Let the calls of our own service finish for a while, and close what is open, or just opens."""
        async with self._opening:
            operations = self._operations
            if self.owned is not None:
                self.owned.stop()
        if operations is not None:
            await self._close(operations)

    async def _close(self, operations: Operations) -> None:
        async with self._opening:
            if self._operations is not operations or self._holding is None:
                return
            self._given_up.set()
            await asyncio.wait([self._holding])
            if error := self._holding.exception():
                logger.warning("the service did not close in good order: %r", error)
            self._operations = self._holding = None

    async def _hold(self, holder: "Callable[[asyncio.Future[Operations]], Awaitable[None]]") -> Operations:
        """Run `holder` in a task of its own, because what it opens must be closed in the same one."""
        opened: asyncio.Future[Operations] = asyncio.get_running_loop().create_future()
        self._given_up.clear()
        holding = asyncio.create_task(_told(holder, opened))
        try:
            operations = await asyncio.shield(opened)
        except asyncio.CancelledError:
            holding.cancel()
            raise
        self._holding = holding
        return operations

    async def _own(self, opened: "asyncio.Future[Operations]") -> None:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(run_service(ServiceOptions(host=self._host)))
            client = await stack.enter_async_context(ControlClient(service.socket_path))
            operations = self._over(client, service.config)
            stack.push_async_callback(operations.close)
            self.owned = service
            self._prewarm()
            opened.set_result(operations)
            try:
                await self._given_up.wait()
            finally:
                self.owned = None

    async def _join(self, refusal: ServiceRunning, opened: "asyncio.Future[Operations]") -> None:
        config = load_settings(None, os.environ)[1].config
        store = None if os.environ.get(STATE_DIR_VARIABLE) else config.store
        found = StateDir.open(store, create=False).read_service()
        if found is None:
            raise refusal  # it is only starting, or just ended
        async with ControlClient.of(found) as client:
            operations = self._over(client, config)
            opened.set_result(operations)
            await self._given_up.wait()
            await operations.close()

    def _over(self, client: ControlClient, config: "VoiceCallConfig") -> Operations:
        return Operations(
            client,
            default_number=config.to_number or "",
            is_owner=partial(is_owner, config),
            end_after_turn=self._turns.end_after_turn,
        )


async def _told(holder: Any, opened: "asyncio.Future[Operations]") -> None:
    """Run a holder; what it raises before it is open goes to whoever waits for that."""
    try:
        await holder(opened)
    except Exception as error:
        if opened.done():
            raise
        opened.set_exception(error)
