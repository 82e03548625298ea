"""The owner's door: a JSON API on a Unix socket, and on a port of this machine if asked.

Whoever may open the socket file may use it; on the port, whoever knows the owner's token. Web pages may use neither.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import AfterValidator, Field, ValidationError

from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.api.wire import entry_to_json, record_to_json
from openclaw_voicecall.calls.placing import PlaceRequest
from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.numbers import normalise_number
from openclaw_voicecall.core import events as e
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    CallNotAllowed,
    CallNotFound,
    ConfigError,
    LocalProtocolError,
    VendorTimeout,
    VoiceCallError,
    quiet,
)
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.server.elsewhere import passing_on
from openclaw_voicecall.server.keys import HUB, MANAGER, STORE
from openclaw_voicecall.server.ownertoken import OwnerGuard
from openclaw_voicecall.server.workers import Workers

logger = logging.getLogger(__name__)

MOST_DIGITS = 18
"""Of a number in a query: more would not fit into the database."""
LONGEST_TEXT = 20_000
"""Characters of a text in a body; spoken, that is twenty minutes."""
LONGEST_REFUSAL = 2_000
"""Characters about what is wrong with a body."""
LONGEST_WAIT = 86_400_000
"""Milliseconds; no call lasts longer."""

Words = Annotated[str, Field(max_length=LONGEST_TEXT)]
Name = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
"""A path or the name of something; no system takes a zero in one."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _require_words(text: str) -> str:
    if not speakable(text):
        raise ValueError("there is nothing in it that can be spoken")
    return text


class PlaceBody(CamelModel):
    """Body of `POST /api/v1/calls`."""

    to: str
    message: Annotated[Words, AfterValidator(lambda text: _require_words(text) if text else text)] = ""
    from_: str = Field("", alias="from")
    mode: Literal["conversation", "notify"] | None = None
    script: Name = ""
    """Phone script of the local line: a path or the name of a built-in one."""
    record_dir: Name = ""
    """Folder for a WAV file of both sides."""
    objective: Words = ""
    """What the call is for; only the responder is told."""
    max_duration_seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Longest time from the answer to the end; more than calls may last is refused. 0 for as long as they may."""
    session_key: Name = ""
    """Names the memory of the talk, where it is not to be that of the number."""
    requester_session_key: Name = ""
    """Names the host's session that asked for the call and is to learn how it went."""
    options: dict[Name, Name] = Field(default_factory=dict, max_length=100)
    """Settings of the carrier for this call. The local line knows `script`, `record` and `report`."""


class MessageBody(CamelModel):
    """Body of `speak` and `continue`."""

    message: Annotated[Words, AfterValidator(_require_words)]
    timeout_ms: int = Field(120_000, gt=0, le=LONGEST_WAIT)


class DigitsBody(CamelModel):
    """Body of `dtmf`."""

    digits: str = Field(pattern=r"^[0-9A-Da-d*#wW]{1,32}$")


class TransferBody(CamelModel):
    """Body of `transfer`."""

    to: Name
    announce: Words = ""
    """Said to whoever answers there, before the two are connected."""
    by_agent: bool = False
    """Asked by an agent that is on the call: then only to numbers that the owner allows it."""


class EndBody(CamelModel):
    """Body of `end`."""

    farewell: Words = ""


class ControlDoor:
    """Serves `/api/v1`.

    Args:
        status: Describes the service, and has its live calls, for `GET /api/v1/status`.
        workers: Other processes that hold calls.
    """

    def __init__(
        self,
        status: Callable[[], Awaitable[tuple[dict[str, Any], list[CallRecord]]]],
        workers: Workers | None = None,
    ) -> None:
        self._status = status
        self._workers = workers

    def add_routes(self, app: web.Application, guard: OwnerGuard | None = None) -> None:
        """Add all routes of the control API, behind a guard where not only the owner can come."""
        app.middlewares.append(_errors_to_json)
        app.middlewares.append(_refuse_pages)
        if guard is not None:
            app.middlewares.append(guard.middleware)
        if self._workers is not None:
            app.middlewares.append(passing_on(self._workers))
        routes = app.router
        routes.add_get("/api/v1/status", self._get_status)
        routes.add_get("/api/v1/feed", self._feed)
        routes.add_get("/api/v1/calls", self._list)
        routes.add_post("/api/v1/calls", self._place)
        routes.add_get("/api/v1/calls/{id}", self._show)
        routes.add_get("/api/v1/calls/{id}/journal", self._journal)
        routes.add_post("/api/v1/calls/{id}/speak", self._speak)
        routes.add_post("/api/v1/calls/{id}/continue", self._continue)
        routes.add_post("/api/v1/calls/{id}/dtmf", self._dtmf)
        routes.add_post("/api/v1/calls/{id}/transfer", self._transfer)
        routes.add_post("/api/v1/calls/{id}/end", self._end)

    async def _get_status(self, request: web.Request) -> web.Response:
        about, live = await self._status()
        return web.json_response({"service": about, "calls": [record_to_json(record) for record in live]})

    async def _list(self, request: web.Request) -> web.Response:
        limit = _number(request, "limit", 100)
        open_only = request.query.get("open", "") in ("1", "true")
        stored = await request.app[STORE].list_calls(limit=limit, open_only=open_only)
        calls = [request.app[MANAGER].record(record.call_id) or record for record in stored]
        return web.json_response({"calls": [record_to_json(record) for record in calls]})

    async def _place(self, request: web.Request) -> web.Response:
        manager = request.app[MANAGER]
        body = await _body(request, PlaceBody)
        options = {**body.options, **({"script": body.script} if body.script else {})}
        placed = await manager.place(
            PlaceRequest(
                to_number=normalise_number(body.to, field="to"),
                from_number=normalise_number(body.from_, field="from") if body.from_ else "",
                message=body.message,
                mode=body.mode or manager.config.outbound.default_mode,
                objective=body.objective,
                session_key=body.session_key,
                requester_session_key=body.requester_session_key,
                record_dir=body.record_dir,
                max_duration=body.max_duration_seconds,
                options=options,
            ),
            key=_idempotency_key(request),
        )
        answer = _call(placed.record, status=200 if placed.repeated else 201)
        if placed.repeated:
            answer.headers["Idempotent-Replayed"] = "true"
        return answer

    async def _show(self, request: web.Request) -> web.Response:
        return _call(await _record(request))

    async def _journal(self, request: web.Request) -> web.Response:
        record = await _record(request)
        await request.app[HUB].flush()
        entries = await request.app[STORE].journal(record.call_id, after=_number(request, "after", 0))
        return web.json_response({"entries": [entry_to_json(entry) for entry in entries]})

    async def _speak(self, request: web.Request) -> web.Response:
        body = await _body(request, MessageBody)
        session = await request.app[MANAGER].require(request.match_info["id"])
        session.request(e.SayRequested(body.message))
        return _call(await _record(request))

    async def _continue(self, request: web.Request) -> web.Response:
        """Say something and wait for what the caller says next."""
        body = await _body(request, MessageBody)
        session = await request.app[MANAGER].require(request.match_info["id"])
        feed = request.app[HUB].feed(session.call_id)
        waiting = asyncio.create_task(_next_caller_turn(feed))
        await asyncio.sleep(0)  # lets the feed begin before anything is said
        try:
            session.request(e.SayRequested(body.message))
            async with asyncio.timeout(body.timeout_ms / 1000):
                words = await waiting
        except TimeoutError:
            raise VendorTimeout(
                f"the caller said nothing for {body.timeout_ms} ms after the message", operation="continue"
            ) from None
        finally:
            waiting.cancel()
        record = await _record(request)
        return web.json_response({"call": record_to_json(record), "transcript": words})

    async def _dtmf(self, request: web.Request) -> web.Response:
        body = await _body(request, DigitsBody)
        session = await request.app[MANAGER].require(request.match_info["id"])
        session.request(e.DigitsRequested(body.digits))
        return _call(await _record(request))

    async def _transfer(self, request: web.Request) -> web.Response:
        """Hand the far party over; what became of it is in the record later."""
        body = await _body(request, TransferBody)
        session = await request.app[MANAGER].require(request.match_info["id"])
        number = normalise_number(body.to, field="to")
        if body.by_agent and not session.parts.agent_may_transfer(number):
            raise CallNotAllowed(f"transfer.allowed: the agent may not hand this caller over to {number}")
        if not session.parts.capabilities.transfer:
            raise LocalProtocolError("cannot transfer: the carrier of this call is not able to")
        if body.announce and not session.parts.capabilities.announces:
            raise LocalProtocolError("announce: the carrier of this call can say nothing before a transfer")
        session.request(e.TransferRequested(number, " ".join(body.announce.split())))
        return _call(await _record(request))

    async def _end(self, request: web.Request) -> web.Response:
        body = await _body(request, EndBody)
        session = await request.app[MANAGER].require(request.match_info["id"])
        session.request(e.HangUpRequested(EndReason.AGENT_HUNG_UP, body.farewell))
        return _call(await _record(request))

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        """Journal entries as lines of JSON, past ones first, then live until the call ends."""
        call_id = request.query.get("callId") or None
        after = _number(request, "after", 0)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        feed = request.app[HUB].feed(call_id)
        first = asyncio.create_task(anext(feed, None))
        await asyncio.sleep(0)  # lets the feed begin, so that nothing falls between past and live
        workers = self._workers if call_id is None else None
        try:
            if workers is not None:
                await workers.listen()
            record = await _record_by_id(request, call_id) if call_id else None
            await request.app[HUB].flush()
            await response.prepare(request)
            seen = after
            if record is not None:
                for entry in await request.app[STORE].journal(record.call_id, after=after):
                    seen = entry.seq
                    await _send_line(response, record, entry_to_json(entry))
            if record is not None and record.over:
                return response
            item = await first
            while item is not None:
                record, entry = item
                if call_id is None or entry.seq > seen:
                    await _send_line(response, record, entry_to_json(entry))
                item = await anext(feed, None)
        except ConnectionResetError:
            logger.debug("a feed reader went away")
        except Exception:
            # The answer has begun, so its reader can only learn of the failure by the connection breaking off.
            if response.prepared and request.transport is not None:
                request.transport.abort()
            raise
        finally:
            if workers is not None:
                workers.unlisten()
            first.cancel()
            await asyncio.wait([first])
            await feed.aclose()
        return response


async def _send_line(response: web.StreamResponse, record: CallRecord, entry: dict[str, Any]) -> None:
    # In ASCII: half a character in somebody's words must not break the feed off.
    line = json.dumps({"entry": entry, "call": record_to_json(record)})
    await response.write(line.encode() + b"\n")


async def _next_caller_turn(feed: Any) -> str:
    async for _, entry in feed:
        for order in entry.commands:
            if order["command"] == "AppendTranscript" and order["speaker"] == "caller":
                return str(order["text"])
    raise CallNotFound("the call ended before the caller said anything")


async def _record(request: web.Request) -> CallRecord:
    return await _record_by_id(request, request.match_info["id"])


async def _record_by_id(request: web.Request, call_id: str) -> CallRecord:
    live = request.app[MANAGER].record(call_id)
    stored = live or await request.app[STORE].get_call(call_id)
    if stored is None:
        raise CallNotFound(f"no call has the id {call_id}; `openclaw-voicecall calls` lists them")
    return request.app[MANAGER].record(stored.call_id) or stored


async def _body(request: web.Request, model: type[Any]) -> Any:
    content = await request.read()
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise ConfigError(problems[:LONGEST_REFUSAL]) from None


def _idempotency_key(request: web.Request) -> str:
    """The key of `POST /api/v1/calls`: asked for again under it within a day, nothing is dialled. Empty for none."""
    if "Idempotency-Key" not in request.headers:
        return ""
    keys = request.headers.getall("Idempotency-Key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise ConfigError("Idempotency-Key: expected one, of 1 to 255 ASCII characters without spaces")
    return keys[0]


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise ConfigError(f"{name}: a whole number of 0 or more was expected, got {text[:40]!r}")
    return int(text)


def _call(record: CallRecord, *, status: int = 200) -> web.Response:
    return web.json_response({"call": record_to_json(record)}, status=status)


@web.middleware
async def _errors_to_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except VoiceCallError as error:
        return _error(error.http_status, error.code, str(error), error.exit_code)
    except web.HTTPException as error:
        return _error(error.status, "http", error.reason, 1)
    except Exception as error:  # the reader gets an answer, the log the traceback
        logger.exception("control API: %s %s failed", request.method, request.path)
        return _error(500, "internal", quiet(repr(error)), 70)


@web.middleware
async def _refuse_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Browsers say which page sends them; no page is ours."""
    if "Origin" in request.headers:
        raise web.HTTPForbidden(reason="the control API is not for web pages")
    return await handler(request)


def _error(status: int, code: str, message: str, exit_code: int) -> web.Response:
    body = {"error": {"code": code, "message": message, "exitCode": exit_code}}
    return web.json_response(body, status=status)
