"""Carries a far end over a WebSocket at real pace."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress

import aiohttp

from openclaw_voicecall.errors import RemoteProtocolError
from openclaw_voicecall.providers.local.phone.far_end import FarEnd, LineEnd

MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of one message; a minute of audio has about 640 kB."""
HEARTBEAT = 20.0
"""Seconds between pings. A service that does not even answer those is gone."""
_CLOSED_ON_PURPOSE = (1000, 1001)


class HangUpLine:
    """Lets somebody else end the line."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._end = LineEnd(reason="completed")

    def __call__(self, end: LineEnd) -> None:
        """End the line this way; what was asked first counts."""
        if not self._asked.is_set():
            self._end = end
            self._asked.set()

    async def wait(self) -> LineEnd:
        """Return once somebody asked."""
        await self._asked.wait()
        return self._end


async def connect(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """Open the media socket. Raises `aiohttp.ClientError`, `OSError` or `TimeoutError`."""
    async with asyncio.timeout(10.0):
        return await session.ws_connect(
            url,
            max_msg_size=MAX_MESSAGE,
            heartbeat=HEARTBEAT,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        )


async def carry(
    ws: aiohttp.ClientWebSocketResponse,
    line: FarEnd,
    *,
    parameters: Mapping[str, str],
    hang_up: HangUpLine,
    max_duration: float,
) -> LineEnd:
    """Run a far end until either side ends the line, close the socket, and say how it ended."""
    loop = asyncio.get_running_loop()
    for message in line.start(parameters):
        await ws.send_str(message)
    start = loop.time()
    line.report.stream_monotonic = start
    receiving = asyncio.create_task(_receive(ws, line, start))
    ticking = asyncio.create_task(_tick(ws, line, start, max_duration))
    asked = asyncio.create_task(hang_up.wait())
    tasks = (receiving, ticking, asked)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        end = next(task.result() for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        line.finish()
    await _close(ws, line, end)
    return end


async def _receive(ws: aiohttp.ClientWebSocketResponse, line: FarEnd, start: float) -> LineEnd:
    loop = asyncio.get_running_loop()
    async for message in ws:
        try:
            if message.type is aiohttp.WSMsgType.ERROR and not isinstance(
                message.data, aiohttp.WebSocketError
            ):
                break  # no answer to our pings, or a broken connection
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise RemoteProtocolError(
                    "binary message" if message.type is aiohttp.WSMsgType.BINARY else "broken frame"
                )
            answers = line.receive(message.data, loop.time() - start)
        except RemoteProtocolError as error:
            line.report.errors.append(f"{error} (at {loop.time() - start:.3f} s)")
            return LineEnd(
                reason="failed",
                detail=f"the service broke the media protocol: {error}",
                orderly=False,
                close_code=1007,
            )
        for answer in answers:
            await ws.send_str(answer)
    if ws.close_code in _CLOSED_ON_PURPOSE:
        return LineEnd(reason="completed", detail="the service closed the media stream", orderly=False)
    return LineEnd(reason="media-lost", detail=f"the media stream broke off ({ws.close_code})", orderly=False)


async def _tick(
    ws: aiohttp.ClientWebSocketResponse, line: FarEnd, start: float, max_duration: float
) -> LineEnd:
    """One frame each way every 20 ms, by absolute deadlines: a late tick does not delay those after it."""
    loop = asyncio.get_running_loop()
    while line.end is None:
        try:
            for message in line.tick():
                await ws.send_str(message)
        except ConnectionError:
            await asyncio.Future()  # the socket closed under us; the receiving side knows how
        if line.now >= max_duration:
            return LineEnd(reason="max-duration", detail=f"the call lasted {max_duration:g} s")
        await asyncio.sleep(max(0.0, start + line.now - loop.time()))
    return line.end


async def _close(ws: aiohttp.ClientWebSocketResponse, line: FarEnd, end: LineEnd) -> None:
    if end.cut:
        with suppress(OSError):
            ws.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    elif end.orderly:
        with suppress(ConnectionError):
            await ws.send_str(line.stop())
    await ws.close(code=end.close_code)
