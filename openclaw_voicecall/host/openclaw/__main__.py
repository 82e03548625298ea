"""The service as a child of OpenClaw: `python -m openclaw_voicecall.host.openclaw`, started by the bridge.

It speaks JSON lines on stdin and stdout and logs to stderr. It ends when its input ends: a host that is gone leaves
nothing running.
"""

import asyncio
import os
import stat
import sys
from typing import IO, Any

from openclaw_voicecall import __version__
from openclaw_voicecall.config.secrets import secret_values
from openclaw_voicecall.errors import HostError, VoiceCallError
from openclaw_voicecall.host.openclaw.agent import OpenClawHost
from openclaw_voicecall.host.operations import Operations, Params
from openclaw_voicecall.host.stdio import LINE_LIMIT, Peer
from openclaw_voicecall.observe import logs
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.server.runtime import ServiceOptions, run_service
from openclaw_voicecall.server.service import Service

METHODS = "voicecall."
TOOL = "tool.voice_call"
EXIT_USAGE = 64
"""sysexits calls it EX_USAGE."""


class Child:
    """The service, and the line to the host that started it."""

    def __init__(self) -> None:
        self._operations: Operations | None = None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Serve until the host goes or says so. Returns the exit code."""
        peer = Peer(reader, writer, self._handle)
        listening = asyncio.create_task(peer.run())
        host = OpenClawHost(peer)
        try:
            async with run_service(ServiceOptions(host=host)) as service:
                host.know(service.config)
                logs.configure(
                    service.config.logging.level,
                    full_numbers=service.config.logging.full_numbers,
                    secrets=secret_values(service.config),
                )
                async with ControlClient(service.socket_path) as client:
                    self._operations = Operations(
                        client,
                        default_number=service.config.to_number or "",
                        is_owner=host.is_owner,
                        end_after_turn=host.end_after_turn,
                    )
                    peer.tell("ready", **_about(service))
                    await _until_stopped(service, listening)
                    await self._operations.close()
        except VoiceCallError as error:
            peer.tell("failed", message=str(error))
            return error.exit_code
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        return 0

    async def _handle(self, method: str, params: Params) -> Any:
        if self._operations is None:
            raise HostError("the phone service is not ready yet; try again in a moment")
        if method == TOOL:
            return await self._operations.tool(params)
        if method.startswith(METHODS):
            return await self._operations.method(method.removeprefix(METHODS), params)
        raise HostError(f"the phone service knows no method {method}")


def _about(service: Service) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "version": __version__,
        "url": service.url,
        "stateDir": str(service.socket_path.parent),
        "notices": [str(notice) for notice in service.notices],
    }


async def _until_stopped(service: Service, listening: "asyncio.Task[None]") -> None:
    """Wait until the host is gone or a signal came; without a host the service drains as after a signal."""
    stopped = asyncio.create_task(service.wait_stopped())
    try:
        await asyncio.wait({stopped, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    service.stop()


def _is_line(stream: IO[str]) -> bool:
    """Whether a program is at the other end, and not a terminal or a file."""
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def own_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Stdin, and what was stdout: from here on whatever else prints goes to stderr, not onto the line."""
    loop = asyncio.get_running_loop()
    line = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(line, "wb", buffering=0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


async def _main() -> int:
    if not all(map(_is_line, (sys.stdin, sys.stdout))):
        sys.stderr.write(
            "This is what OpenClaw's plugin starts, with a line to it; by itself it is: openclaw-voicecall serve\n"
        )
        return EXIT_USAGE
    logs.configure("warning")
    reader, writer = await own_streams()
    code = await Child().run(reader, writer)
    if not writer.is_closing():
        await writer.drain()
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
