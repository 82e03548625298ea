"""Passes on what the owner wants of calls that another process of the service holds."""

from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from openclaw_voicecall.errors import ServiceError
from openclaw_voicecall.server.workers import Worker, Workers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""Some requests last as long as people talk."""


def passing_on(workers: Workers) -> Middleware:
    """A middleware that has requests about a call carried out where the call is."""

    @web.middleware
    async def pass_on(request: web.Request, handler: Handler) -> web.StreamResponse:
        call_id = request.match_info.get("id") or request.query.get("callId", "")
        worker = workers.holder(call_id) if call_id else None
        return await (handler(request) if worker is None else _asked(worker, request))

    return pass_on


async def _asked(worker: Worker, request: web.Request) -> web.StreamResponse:
    response: web.StreamResponse | None = None
    try:
        async with worker.http.request(
            request.method,
            URL(request.raw_path, encoded=True),
            data=await request.read(),
            timeout=_ENDLESS,
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]}
            )
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response
    except aiohttp.ClientError as error:
        if response is None:
            raise ServiceError(f"worker {worker.number}, which holds the call, is gone") from error
        # The answer has begun, so its reader can only learn of the failure by the connection breaking off.
        if request.transport is not None:
            request.transport.abort()
        return response
    except ConnectionResetError:  # whoever asked went away
        if response is None:
            raise
        return response
