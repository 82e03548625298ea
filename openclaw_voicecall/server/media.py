"""The media door: `GET {streaming.streamPath}/{carrier}/{token}`, upgraded to a WebSocket.

The token is checked, and used up, before the upgrade: a stranger never holds a socket. After it the carrier has
`streaming.preStartTimeoutMs` to say which leg the stream carries.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from openclaw_voicecall.api.carrier import MediaCodec, StreamStarted
from openclaw_voicecall.calls.tokens import StreamPass
from openclaw_voicecall.errors import CallNotFound, RemoteProtocolError
from openclaw_voicecall.media.websocket import REFUSED
from openclaw_voicecall.server.crowd import trust
from openclaw_voicecall.server.keys import MANAGER, TOKENS
from openclaw_voicecall.server.mediasocket import MediaSocket, accept
from openclaw_voicecall.session.link import MediaLink
from openclaw_voicecall.session.session import CallSession
from openclaw_voicecall.session.streaming import carry_media

logger = logging.getLogger(__name__)

MESSAGE_LIMIT = 256 * 1024
"""Bytes of one message; a second of audio is 11 kB."""


class MediaDoor:
    """Takes media streams of all carriers.

    Args:
        path: `streaming.streamPath` of the configuration.
        start_limit: Seconds until the stream must have said what it carries.
        max_streams: Streams open at a time.
    """

    def __init__(self, path: str, *, start_limit: float, max_streams: int) -> None:
        self._path = path.rstrip("/")
        self._start_limit = start_limit
        self._max_streams = max_streams
        self._open = 0

    @property
    def open_streams(self) -> int:
        """Streams that are open now."""
        return self._open

    def add_routes(self, app: web.Application) -> None:
        """Add the media route."""
        app.router.add_get(self._path + "/{carrier}/{token}", self._stream)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        manager = request.app[MANAGER]
        carrier = request.match_info["carrier"]
        if self._open >= self._max_streams:
            return web.Response(status=503, text="too many media streams\n")
        entry = request.app[TOKENS].take(request.match_info["token"], carrier)
        if entry is None:
            return web.Response(status=403, text="this media stream was not announced, or was used already\n")
        trust(request)
        try:
            session = manager.session(entry.call_id)
        except CallNotFound:
            session = None
        if session is None or session.released:
            return web.Response(status=410, text="the call is over\n")
        socket = accept(request, limit=MESSAGE_LIMIT)
        self._open += 1
        try:
            await self._serve(socket, session, manager.engines.carriers[carrier].media_codec(), entry)
        finally:
            self._open -= 1
            await socket.close()
        return web.Response()  # for aiohttp, which finds that the connection is gone

    async def _serve(
        self, socket: MediaSocket, session: CallSession, codec: MediaCodec, entry: StreamPass
    ) -> None:
        try:
            async with asyncio.timeout(self._start_limit):
                started = await _await_start(codec, socket)
        except (TimeoutError, RemoteProtocolError, StopAsyncIteration) as error:
            reason = str(error) or "no start in time"
            logger.warning("media stream of call %s refused: %s", entry.call_id, reason)
            session.note("media-refused", {"detail": reason})
            await socket.close(REFUSED, "no valid start")
            return
        leg = started.carrier_call_id
        if session.carrier_call_id and leg != session.carrier_call_id:
            logger.warning("media stream of call %s names another leg", entry.call_id)
            session.note("media-refused", {"detail": "the stream names another leg"})
            await socket.close(REFUSED, "wrong call")
            return
        if session.released:  # it ended while the stream began, so nobody would ever close this socket
            await socket.close(reason="the call is over")
            return
        await carry_media(session, codec, MediaLink(socket), socket)


async def _await_start(codec: MediaCodec, messages: AsyncIterator[str | bytes]) -> StreamStarted:
    while True:
        message = await anext(messages)
        for fact in codec.receive(message):
            if isinstance(fact, StreamStarted):
                return fact
