"""GPT-Live on calls over SIP: accept, reject, refer, hang up, and a sideband to steer with. No audio.

Source: OpenAI SDK, `resources/live/sessions.py`, `types/live/session_accept_params.py` and those beside it,
`connect_client_event_param.py`, `connect_server_event.py`.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators import gpt_live_rules as rules
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.serving import Fault

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.gpt_live import GptLiveEmulator


@dataclass(slots=True)
class SipCall:
    """A call that came over SIP, and what was done with it."""

    id: str
    state: str = "ringing"
    """`ringing`, `active`, `rejected` or `ended`."""
    session: dict[str, Any] = field(default_factory=dict)
    """What it was accepted with."""
    status: int = 0
    """What it was rejected with."""
    refers: list[str] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    """What was asked of it over REST, `accept`, `reject`, `refer` or `hangup`, and with which body; None for none."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """What came over sidebands, right or wrong."""
    sidebands: list[web.WebSocketResponse] = field(default_factory=list)


class SipSide:
    """All calls over SIP of an emulator."""

    def __init__(self, emulator: "GptLiveEmulator") -> None:
        self._emulator = emulator
        self.calls: dict[str, SipCall] = {}
        self._count = 0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The REST calls and the sideband."""
        router.add_post("/v1/live/sessions/{id}/accept", self._accept)
        router.add_post("/v1/live/sessions/{id}/reject", self._reject)
        router.add_post("/v1/live/sessions/{id}/refer", self._refer)
        router.add_post("/v1/live/sessions/{id}/hangup", self._hang_up)
        router.add_get("/v1/live/sessions/{id}/attach", self._attach)

    def ring(self) -> str:
        """A call comes in; its session id, as the webhook `live.transport.incoming` names it."""
        call = SipCall(f"live_sip_{len(self.calls) + 1:04d}")
        self.calls[call.id] = call
        return call.id

    async def press(self, call: str, digit: str) -> None:
        """The caller presses a key."""
        await self._tell(self.calls[call], "transport.dtmf.received", event=digit)

    async def caller_leaves(self, call: str) -> None:
        """The caller hangs up."""
        await self._end(self.calls[call], "remote_hangup")

    async def stop(self) -> None:
        """Close every sideband."""
        for call in self.calls.values():
            for socket in call.sidebands:
                await socket.close(code=1001)

    async def _accept(self, request: web.Request) -> web.Response:
        def accept(call: SipCall, body: Any) -> None:
            if call.state != "ringing":
                raise SessionRefused("The call was answered before.", "invalid_state", None)
            call.session, call.state = rules.check_accept(body), "active"

        return await self._do(request, accept)

    async def _reject(self, request: web.Request) -> web.Response:
        def reject(call: SipCall, body: Any) -> None:
            call.status, call.state = rules.check_reject(body), "rejected"

        return await self._do(request, reject)

    async def _refer(self, request: web.Request) -> web.Response:
        def refer(call: SipCall, body: Any) -> None:
            target = rules.check_refer(body)
            if call.state != "active":
                raise SessionRefused("The call is not active.", "invalid_state", None)
            call.refers.append(target)

        return await self._do(request, refer)

    async def _hang_up(self, request: web.Request) -> web.Response:
        def hang_up(call: SipCall, body: Any) -> None:
            if body is not None:
                raise SessionRefused("hangup takes no body.", "invalid_request", None)

        answer = await self._do(request, hang_up)
        if answer.status == 200:
            await self._end(self.calls[request.match_info["id"]], "close_requested")
        return answer

    async def _do(self, request: web.Request, act: Callable[[SipCall, Any], None]) -> web.Response:
        if refused := self._refused(request):
            return refused
        match self._emulator.take_fault("sip-404", "sip-500"):
            case Fault(name="sip-404"):
                return _missing()
            case Fault(name="sip-500"):
                return problem(500, None, "The server had an error while processing your request.")
        call = self.calls[request.match_info["id"]]
        text = await request.text()
        where = f"POST {request.path}"
        try:
            body = json.loads(text) if text else None
            call.bodies.append((request.path.rpartition("/")[2], body))
            act(call, body)
        except ValueError:
            self._emulator.refuse(where, "no JSON")
            return problem(400, "invalid_json", "We could not parse the JSON body of your request.")
        except SessionRefused as refusal:
            self._emulator.refuse(where, refusal.message)
            return problem(400, refusal.code, refusal.message, refusal.param)
        self._emulator.note_change()
        return web.Response()

    def _refused(self, request: web.Request) -> web.Response | None:
        if wrong := self._emulator.wrong_key(request):
            return wrong
        call = self.calls.get(request.match_info["id"])
        if call is None or call.state in ("ended", "rejected"):
            return _missing()
        return None

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request):
            return refused
        call = self.calls[request.match_info["id"]]
        if call.state != "active" or self._emulator.take_fault("attach-404"):
            return _missing()
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        call.sidebands.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(call, socket, message.data)
                    self._emulator.note_change()
        finally:
            call.sidebands.remove(socket)
        return socket

    async def _take(self, call: SipCall, socket: web.WebSocketResponse, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            event = {}
        call.events.append(event)
        name = str(event.get("type"))
        delegation = (call.session.get("delegation") or {"type": "client"})["type"]
        told = {"client_event_id": event["event_id"]} if "event_id" in event else {}
        try:
            rules.check_event(event, sideband=True, delegation=delegation)
        except SessionRefused as refusal:
            self._emulator.refuse(name, refusal.message)
            error = {"type": "invalid_request_error", "code": refusal.code, "message": refusal.message}
            await self._send(socket, "error", error={**error, "param": refusal.param, **told})
            return
        if name.endswith(".append"):
            await self._send(socket, f"{name}ed", start_ms=0, end_ms=0, **told)
        elif name == "transport.dtmf.send":
            await self._tell(call, "transport.dtmf.sent", event=event["event"], **told)
        elif name == "session.close":
            await self._end(call, "close_requested")

    async def _end(self, call: SipCall, reason: str) -> None:
        call.state = "ended"
        session = {**call.session, "id": call.id, "expires_at": 4102444800, "status": "active"}
        await self._tell(call, "session.closed", reason=reason, session=session, usage={"seconds": 0})
        for socket in list(call.sidebands):
            await socket.close(code=1000)
        self._emulator.note_change()

    async def _tell(self, call: SipCall, name: str, **fields: Any) -> None:
        for socket in list(call.sidebands):
            await self._send(socket, name, **fields)

    async def _send(self, socket: web.WebSocketResponse, name: str, **fields: Any) -> None:
        self._count += 1
        with suppress(ConnectionError):
            await socket.send_json({"type": name, "event_id": f"event_{self._count:08d}", **fields})


def _missing() -> web.Response:
    return problem(404, "session_not_found", "No such session.")


def problem(status: int, code: str | None, message: str, param: str | None = None) -> web.Response:
    """An error of OpenAI's REST API."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)
