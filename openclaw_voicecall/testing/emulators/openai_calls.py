"""Calls over SIP of OpenAI's Realtime API: the trunk's address, the webhook, the REST calls and the sideband.

REST bodies and answers are those of the OpenAI SDK, `resources/realtime/calls`. An accept says 200 whatever is in it;
what is wrong with it shows later, on the SIP leg or on the sideband.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from openclaw_voicecall.testing.emulators import openai_webhooks
from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused, number, object_of, pattern
from openclaw_voicecall.testing.emulators.openai_sip import Call, SipLeg
from openclaw_voicecall.testing.emulators.openai_talk import Talk
from openclaw_voicecall.testing.emulators.openai_voice_sessions import (
    DEFAULT_MODEL,
    initial_session,
    updated_session,
)
from openclaw_voicecall.testing.emulators.openai_webhooks import Delivery, Webhooks

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.openai_voice import OpenAIVoiceEmulator

ACTIONS: Final = ("accept", "reject", "refer", "hangup")
SERVER_ERROR: Final = "The server had an error while processing your request."
_REJECT: Final = object_of({"status_code": number(int, 400, 699)})
_REFER: Final = object_of({"target_uri": pattern(r"(tel:\+[0-9]+|sips?:\S+)")}, needs=("target_uri",))


class Calls:
    """All calls of an emulator."""

    def __init__(self, emulator: "OpenAIVoiceEmulator") -> None:
        self._emulator = emulator
        self.all: list[Call] = []
        """Oldest first."""
        self.webhooks = Webhooks()
        """`webhooks.deliveries` are those that were sent, oldest first."""
        self._legs: dict[str, SipLeg] = {}
        self._troubles: dict[str, SessionRefused] = {}
        """What a sideband is told first."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The trunk and the REST calls."""
        router.add_get("/_sip/{project}", self._trunk)
        for action in ACTIONS:
            router.add_post(f"/v1/realtime/calls/{{call_id}}/{action}", self._act)

    def state(self) -> list[dict[str, Any]]:
        """The calls in short."""
        return [
            {
                "id": call.id,
                "state": call.state,
                "status": call.status,
                "headers": call.headers,
                "refers": call.refers,
                "notified": call.notified,
                "ended_by": call.ended_by,
            }
            for call in self.all
        ]

    async def tell(
        self,
        call_id: str,
        *,
        secret: str = "",
        webhook_id: str = "",
        age: float = 0.0,
        signed: str = "",
        **headers: str,
    ) -> Delivery:
        """Send `realtime.call.incoming` again, forged, late, or for a call that never was; waits for the answer.

        Args:
            call_id: Of a call, also of one that is over or of none.
            secret: Another one than that of the project.
            webhook_id: That of another webhook.
            age: How many seconds ago it was signed.
            signed: In place of the right signature.
            headers: SIP headers, where there is no such call.
        """
        known = next((call.headers for call in self.all if call.id == call_id), list(headers.items()))
        data = openai_webhooks.incoming(call_id, known)
        delivery = self.webhooks.make(
            openai_webhooks.REALTIME,
            data,
            secret=secret or self._emulator.webhook_secret,
            webhook_id=webhook_id,
            age=age,
            signed=signed,
        )
        await self.webhooks.send(self._emulator.webhook_url, delivery, retries=0)
        return delivery

    async def replay(self, delivery: Delivery) -> int:
        """Send a webhook again as it was, to the byte; returns the status."""
        return await self.webhooks.send(self._emulator.webhook_url, delivery, retries=0)

    async def hang_up(self, call_id: str) -> None:
        """The vendor ends a call by itself."""
        await self._legs[call_id].hang_up()

    async def refer(self, call_id: str, target: str) -> None:
        """Somebody else with the key of the project has the call transferred."""
        self._legs[call_id].call.refers.append(target)
        await self._legs[call_id].refer(target)

    async def drop_sidebands(self, call_id: str) -> None:
        """The sockets that steer a call break off, and the call goes on."""
        talk = self._legs[call_id].talk
        for watcher in list(talk.watchers) if talk is not None else ():
            await watcher.drop(None)

    async def sideband(self, request: web.Request, **about: Any) -> web.StreamResponse:
        """Serve a WebSocket on the session of a call."""
        call_id = request.query["call_id"]
        leg = self._legs.get(call_id)
        if leg is None or leg.talk is None or leg.call.state != "answered":
            return not_found(call_id)
        if self._emulator.take_fault("sideband-404"):
            return not_found(call_id)
        for name, value in about.items():
            setattr(leg.talk.session, name, value)
        trouble = self._troubles.pop(call_id, None)
        return await self._emulator.serve_socket(request, leg.talk, trouble=trouble, sideband=True)

    async def stop(self) -> None:
        """End every call."""
        for task in list(self._tasks):
            task.cancel()
        legs = list(self._legs.values())
        for leg in legs:
            await leg.hang_up()
        await asyncio.gather(*self._tasks, *self._closing, *map(SipLeg.close, legs), return_exceptions=True)

    async def _trunk(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        first = await socket.receive()
        invite = json.loads(first.data) if first.type is WSMsgType.TEXT else {}
        if invite.get("method") != "INVITE":
            self._emulator.refuse("SIP", "the first message is no INVITE")
            await socket.close(code=1002)
            return socket
        if request.match_info["project"] != self._emulator.project:
            await socket.send_json({"status": 404, "reason": "Not Found"})
            await socket.close()
            return socket
        index = len(self.all) + 1
        headers = [(str(name), str(value)) for name, value in invite.get("headers", ())]
        call = Call(f"rtc_u0_{index:016d}", f"live_{index:016d}", headers)
        leg = self._legs[call.id] = SipLeg(self._emulator, socket, call)
        self.all.append(call)
        self._announce(call)
        self._emulator.note_change()
        try:
            await leg.run()
        finally:
            del self._legs[call.id]
            # By a task of its own: this one is cancelled when the trunk's connection is gone.
            closing = asyncio.create_task(leg.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return socket

    def _announce(self, call: Call) -> None:
        emulator = self._emulator
        if not emulator.webhook_url:
            return
        data = openai_webhooks.incoming(call.id, call.headers)
        secret = emulator.webhook_secret
        deliveries = [self.webhooks.make(openai_webhooks.REALTIME, data, secret=secret)]
        if fault := emulator.take_fault("incoming-twice"):
            same = "" if fault.options.get("fresh_id") else deliveries[0].headers["webhook-id"]
            again = self.webhooks.make(openai_webhooks.REALTIME, data, secret=secret, webhook_id=same)
            deliveries.append(again)
        if emulator.live_events:
            live = openai_webhooks.live_incoming(call.session_id, call.headers)
            deliveries.append(self.webhooks.make(openai_webhooks.LIVE, live, secret=secret))
        for delivery in deliveries:
            self._spawn(self.webhooks.send(emulator.webhook_url, delivery))

    async def _act(self, request: web.Request) -> web.Response:
        if refused := self._emulator.key_problem(request):
            return refused
        call_id, action = request.match_info["call_id"], request.path.rpartition("/")[2]
        leg = self._legs.get(call_id)
        if leg is None or leg.call.state == "ended" or self._emulator.take_fault(f"{action}-404"):
            return not_found(call_id)
        text = await request.text()
        try:
            body = json.loads(text) if text else {}
            if not isinstance(body, dict):
                raise ValueError("no object")
        except ValueError:
            return self._refused(action, "We could not parse the JSON body of your request.", None, None)
        leg.call.bodies.append((action, body))
        fault = self._emulator.take_fault(f"{action}-500")
        if fault is not None and not fault.options.get("anyway"):
            return problem(500, None, SERVER_ERROR, "server_error")
        actions: Mapping[str, Callable[[SipLeg, dict[str, Any]], Awaitable[web.Response]]] = {
            "accept": self._accept,
            "reject": self._reject,
            "refer": self._refer,
            "hangup": self._hang_up,
        }
        try:
            answer = await actions[action](leg, body)
        except SessionRefused as refusal:
            return self._refused(action, refusal.message, refusal.code, refusal.param)
        self._emulator.note_change()
        return answer if fault is None else problem(500, None, SERVER_ERROR, "server_error")

    async def _accept(self, leg: SipLeg, body: dict[str, Any]) -> web.Response:
        leg.call.accepts.append(body)
        if leg.call.state != "ringing":
            raise SessionRefused("The call has been accepted already.", "call_already_accepted", None)
        leg.call.state = "accepted"
        self._spawn(self._take_effect(leg, body))
        return web.Response()

    async def _reject(self, leg: SipLeg, body: dict[str, Any]) -> web.Response:
        _without_path(_REJECT, body)
        if leg.call.state != "ringing":
            raise SessionRefused("The call has been accepted already.", "call_already_accepted", None)
        self._spawn(leg.fail(body.get("status_code", 603), "reject"))
        return web.Response()

    async def _refer(self, leg: SipLeg, body: dict[str, Any]) -> web.Response:
        _without_path(_REFER, body)
        if leg.call.state != "answered":
            return not_found(leg.call.id)
        leg.call.refers.append(body["target_uri"])
        if not self._emulator.take_fault("refer-nothing"):
            await leg.refer(body["target_uri"])
        return web.Response()

    async def _hang_up(self, leg: SipLeg, body: dict[str, Any]) -> web.Response:
        _without_path(object_of({}), body)
        if leg.call.state != "answered":
            return not_found(leg.call.id)
        self._spawn(leg.hang_up("hangup"))
        return web.Response()

    async def _take_effect(self, leg: SipLeg, body: dict[str, Any]) -> None:
        emulator, call = self._emulator, leg.call
        await asyncio.sleep(emulator.accept_delay)
        if call.state != "accepted":
            return
        model = body.get("model", DEFAULT_MODEL)
        session = emulator.new_session(model if isinstance(model, str) else DEFAULT_MODEL, call_id=call.id)
        call.session, talk = session, Talk(emulator, session, leg)
        try:
            event = {"session": body}
            config = updated_session(session.config, event, prompts=emulator.prompts, accepting=True)
        except SessionRefused as refusal:
            emulator.refuse("POST /v1/realtime/calls/accept", refusal.message)
            if self._fate_of(refusal) == "gone":
                emulator.sessions.remove(session)
                call.session = None
                await leg.fail(400, "accept")
                return
            self._troubles[call.id] = refusal
            config = initial_session(session.config["id"], DEFAULT_MODEL, session.config["expires_at"])
        talk.apply(config)
        await leg.answer(talk)
        emulator.note_change()

    def _fate_of(self, refusal: SessionRefused) -> str:
        """What becomes of a call with these settings, as far as users have told."""
        if self._emulator.invalid_accept is not None:
            return self._emulator.invalid_accept
        param = refusal.param or ""
        tool_type = param.startswith("session.tools[") and param.endswith("].type")
        return "defaults" if tool_type or param == "session.prompt" else "gone"

    def _refused(self, action: str, message: str, code: str | None, param: str | None) -> web.Response:
        self._emulator.refuse(f"POST /v1/realtime/calls/{action}", message)
        return problem(400, code, message, param=param)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def problem(
    status: int,
    code: str | None,
    message: str,
    kind: str = "invalid_request_error",
    *,
    headers: Mapping[str, str] | None = None,
    param: str | None = None,
) -> web.Response:
    """An error as OpenAI writes it."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def not_found(call_id: str) -> web.Response:
    """There is no such call, not yet or not any more."""
    return problem(404, "call_id_not_found", f"No session found for call_id {call_id}.")


def _without_path(check: Callable[[Any, str], None], body: dict[str, Any]) -> None:
    """Check a body whose parameters are named without one in front."""
    try:
        check(body, "")
    except SessionRefused as refusal:
        param = (refusal.param or "").removeprefix(".")
        raise SessionRefused(refusal.message.replace("'.", "'"), refusal.code, param) from None
