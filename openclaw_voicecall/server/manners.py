"""How the public server treats everybody: one request a connection, no web pages, and no noise in the log."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from yarl import URL

from openclaw_voicecall.server.keys import MANAGER

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_manners(app: web.Application) -> None:
    """Apply them to a server, before anything else looks at a request."""
    app.middlewares.append(_refuse_foreign_pages)
    app.on_response_prepare.append(_close_after)


def take_strange_requests(runner: web.AppRunner) -> None:
    """Give a runner that was set up an answer to what aiohttp stumbles over before any middleware sees it.

    * An `Expect` that is not `100-continue`: aiohttp's own 417 repeats the word, and is a 500 where it is no text.
    * `CONNECT` with no address: its request has no URL, and nobody would answer it.
    """
    server: Any = runner.server
    inner, make = server.request_handler, server.request_factory

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() == "100-continue":
            response: web.StreamResponse = await inner(request)
            return response
        refusal = web.Response(status=417, text="only 100-continue can be expected\n")
        refusal.force_close()
        return refusal

    def factory(message: Any, *rest: Any) -> Any:
        return make(message if message.url is not None else message._replace(path="/", url=URL("/")), *rest)

    server.request_handler, server.request_factory = handler, factory


def quiet_logger() -> logging.Logger:
    """A logger for aiohttp that leaves out what strangers can cause as often as they like."""
    logger = logging.getLogger(f"{__name__}.http")
    if not any(isinstance(known, _NoNoise) for known in logger.filters):
        logger.addFilter(_NoNoise())
    return logger


async def _close_after(request: web.Request, response: web.StreamResponse) -> None:
    """End every connection with its first answer.

    A connection that waits for another request is nobody's, and may be closed just as the next one is on its way: then
    a carrier does not know what became of it.
    """
    if response.status != 101:
        response.force_close()
        response.headers["Connection"] = "close"


@web.middleware
async def _refuse_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep other people's web pages from opening a WebSocket: browsers say whose page it is, carriers are none."""
    origin = request.headers.get("Origin")
    if origin is not None and "Upgrade" in request.headers and not _is_ours(request, origin):
        return web.Response(status=403, text="web pages may not open this socket\n")
    return await handler(request)


def _is_ours(request: web.Request, origin: str) -> bool:
    single = len(request.headers.getall("Origin")) == 1
    return single and request.app[MANAGER].addresses.is_ours(origin)


class _NoNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what is wrong with a request, or with its connection."""
        error = record.exc_info[1] if record.exc_info else None
        gone = isinstance(error, RuntimeError) and str(error) == "Connection closed."  # aiohttp's words
        return not gone and not isinstance(
            error, HttpProcessingError | web.RequestPayloadError | ConnectionError
        )
