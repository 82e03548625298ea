"""Who answers at the public address while it is checked: the running service, or else this process in its place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.engines import LOCAL_LINE
from openclaw_voicecall.calls.tokens import StreamTokens
from openclaw_voicecall.checks.parts import Part
from openclaw_voicecall.errors import ServiceError
from openclaw_voicecall.server import sites
from openclaw_voicecall.server.probe import INVITATION, Invitation, ProbeDoor
from openclaw_voicecall.server.reach import open_reach
from openclaw_voicecall.store.statedir import StateDir

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

CONTROL_LIMIT = 10.0
"""Seconds for a running service to answer its owner."""


@dataclass(frozen=True, slots=True)
class Site:
    """Somebody who takes what comes to the public address."""

    invite: Callable[[], Awaitable[Invitation]]
    """A token for one request, and the addresses to go to."""
    where: str
    """Local address, such as `http://127.0.0.1:3334`."""
    running: bool
    """Whether it is the running service."""
    public: bool = True
    """Whether there is a public address at all."""


@asynccontextmanager
async def open_site(
    config: "VoiceCallConfig", carriers: Sequence[Part], runtime: Runtime, state: StateDir
) -> AsyncIterator[Site]:
    """Find the running service, or listen in its place, with its tunnel if it has one.

    Raises:
        PortInUse: Somebody else listens at `serve.port`.
        ServiceError: The running service does not answer, or is another version.
        VoiceCallError: The tunnel or the carrier cannot be opened.
    """
    service = state.read_service()
    async with AsyncExitStack() as stack:
        if service is not None:
            yield Site(_Owner(str(service["socket"])).invite, str(service.get("url", "")), running=True)
        else:
            yield await _stand_in(stack, config, carriers, runtime, state)


class _Owner:
    """Asks a running service for tokens.

    Args:
        socket_path: Its control socket.
    """

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path

    async def invite(self) -> Invitation:
        try:
            async with (
                aiohttp.ClientSession(
                    base_url="http://voicecall",  # only the socket decides where a request goes
                    connector=aiohttp.UnixConnector(path=self._path),
                    timeout=aiohttp.ClientTimeout(total=CONTROL_LIMIT),
                ) as http,
                http.post(INVITATION) as answer,
            ):
                if answer.status != 200:
                    raise ServiceError(
                        "the running service is an older version and cannot be asked for its public address; restart it"
                    )
                said = await answer.json()
                return Invitation(said["token"], said["webhookUrl"], said["streamUrl"])
        except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError) as error:
            raise ServiceError(
                f"the running service does not answer its owner at {self._path}: {error}"
            ) from error


async def _stand_in(
    stack: AsyncExitStack,
    config: "VoiceCallConfig",
    carriers: Sequence[Part],
    runtime: Runtime,
    state: StateDir,
) -> Site:
    listening = sites.bind(stack, config, ephemeral=False)
    here = sites.address(listening)
    reach = await open_reach(
        stack, config, here, memory=state.path / "tunnel.json", wanted=config.provider != LOCAL_LINE
    )
    addresses = Addresses(reach.config, here)
    reach.follow(addresses)
    there = replace(runtime, webhook_url=addresses.webhook)
    opened = {part.name: await stack.enter_async_context(part.open(there)) for part in carriers}
    door = ProbeDoor(
        reach.config,
        tokens=StreamTokens(runtime.clock, runtime.ids),
        clock=runtime.clock,
        addresses=addresses,
        carriers=opened,
    )
    app = web.Application()
    door.guard(app)
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, auto_decompress=False, shutdown_timeout=sites.CLOSE_LIMIT
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening).start()

    async def invite() -> Invitation:
        await asyncio.sleep(0)
        return door.invite()

    return Site(invite, f"http://{here}", running=False, public=reach.config.public_url is not None)
