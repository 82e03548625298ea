"""What a host program can have done: the methods `voicecall.*` and the tool `voice_call`, over the control API.

Names of methods, actions, arguments and results are those of OpenClaw's own voice-call plugin, so that what its users
have written goes on to work.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from openclaw_voicecall.errors import CallNotFound, ConfigError, VoiceCallError
from openclaw_voicecall.server.client import ControlClient

Params = Mapping[str, Any]
Result = dict[str, Any]
Call = dict[str, Any]
"""A call as the control API writes it."""

KEPT_OPERATIONS: Final = 100
"""Answers that wait to be fetched; of more the oldest are forgotten."""

_CONNECTED: Final = "MediaConnected"


@dataclass(slots=True)
class Operations:
    """Carries out what a host asks for.

    Args:
        control: The service.
        default_number: `toNumber` of the configuration, called when nobody says whom to call.
        is_owner: Whether somebody with this number, on the line, may have the agent place calls.
        end_after_turn: Has a call end once what the agent is just saying was heard; false when it says nothing.
    """

    control: ControlClient
    default_number: str = ""
    is_owner: Callable[[str], bool] = lambda number: False
    end_after_turn: Callable[[str], bool] = lambda call_id: False
    _waiting: dict[str, asyncio.Task[Result]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: count(1))
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def method(self, name: str, params: Params) -> Result:
        """Run `voicecall.<name>`. Raises `ConfigError` for wrong arguments, `VoiceCallError` for what failed."""
        match name:
            case "initiate" | "start":
                return await self._initiate(params, needs_number=name == "start")
            case "continue":
                return await self._continue(params)
            case "continue.start":
                return self._continue_later(params)
            case "continue.result":
                return self._continued(params)
            case "speak":
                await self.control.speak(_text(params, "callId"), _text(params, "message"))
                return {"success": True}
            case "dtmf":
                await self.control.send_digits(_text(params, "callId"), _text(params, "digits"))
                return {"success": True}
            case "transfer":
                await self._transfer(params, by_agent=False)
                return {"success": True}
            case "end":
                farewell = _text(params, "message", needed=False)
                await self.control.end_call(_text(params, "callId"), farewell=farewell)
                return {"success": True}
            case "status":
                return await self._status(params)
        raise ConfigError(f"method: there is no voicecall.{name}")

    async def tool(self, params: Params) -> Result:
        """Run an action of the tool `voice_call`; `_ctx` tells which session of the agent asks."""
        action = _text(params, "action")
        if action not in _ACTIONS:
            raise ConfigError(f"action: expected one of {', '.join(_ACTIONS)}; got {action!r}")
        context = params.get("_ctx")
        asked_by = context.get("sessionKey") if isinstance(context, Mapping) else None
        if isinstance(asked_by, str):
            await self._check_own_call(action, params, asked_by)
        if action == "end_call" and self.end_after_turn(str(params.get("callId"))):
            return {"success": True}
        if action == "transfer_call":
            await self._transfer(params, by_agent=True)
            return {"success": True}
        given = {name: value for name, value in params.items() if name not in ("action", "_ctx")}
        if action == "initiate_call" and isinstance(asked_by, str):
            given.setdefault("requesterSessionKey", asked_by)
        return await self.method(_ACTIONS[action], given)

    async def _check_own_call(self, action: str, params: Params, asked_by: str) -> None:
        """Let a turn of a telephone call end that call and press its keys: callers must not have others called."""
        live = await self.control.list_calls(open_only=True)
        # Another agent than the call's own may write a turn, as a fallback does; and calls may share one memory.
        own = [call for call in live if _memory(_session_key(call)) == _memory(asked_by)]
        if all(
            self.is_owner(call["from"] if call.get("direction") == "inbound" else call["to"]) for call in own
        ):
            return
        if action == "initiate_call":
            raise ConfigError(
                "action: during a call with somebody else than the owner no other call is placed"
            )
        names = [str(call["callId"]) for call in own]
        if params.get("callId") not in names:
            raise ConfigError(
                f"callId: during a call the agent acts on its own call only, {' or '.join(names)}"
            )

    async def close(self) -> None:
        """Give up what still waits."""
        tasks = (*self._waiting.values(), *self._background)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _initiate(self, params: Params, *, needs_number: bool) -> Result:
        number = _text(params, "to", needed=False) or ("" if needs_number else self.default_number)
        if not number:
            raise ConfigError("to: expected whom to call, such as +15550001234; or set toNumber")
        order: dict[str, Any] = {"to": number}
        message = _text(params, "message", needed=not needs_number)
        order |= {"message": message} if message else {}
        for name in ("mode", "sessionKey", "requesterSessionKey", "objective"):
            if text := _text(params, name, needed=False):
                order[name] = text
        digits = _text(params, "dtmfSequence", needed=False)
        call = await self.control.place_call(order, key=_text(params, "idempotencyKey", needed=False))
        if digits:
            task = asyncio.create_task(self._press_when_connected(call["callId"], digits))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        return {**_short(call), "initiated": True}

    async def _press_when_connected(self, call_id: str, digits: str) -> None:
        with suppress(VoiceCallError):  # the journal of the call says why its keys were not pressed
            async for item in self.control.feed(call_id=call_id):
                if item["entry"]["event"] == _CONNECTED:
                    await self.control.send_digits(call_id, digits)
                    return

    async def _continue(self, params: Params) -> Result:
        limit = params.get("timeoutMs")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0):
            raise ConfigError("timeoutMs: expected a whole number of milliseconds above 0")
        answer = await self.control.continue_call(
            _text(params, "callId"), _text(params, "message"), timeout_ms=limit
        )
        return {"success": True, "transcript": answer["transcript"]}

    def _continue_later(self, params: Params) -> Result:
        _text(params, "callId")
        _text(params, "message")
        name = f"op-{next(self._numbers)}"
        self._waiting[name] = asyncio.create_task(self._continue(params))
        for old in list(self._waiting)[:-KEPT_OPERATIONS]:
            self._waiting.pop(old).cancel()
        return {"operationId": name, "status": "pending"}

    def _continued(self, params: Params) -> Result:
        name = _text(params, "operationId")
        task = self._waiting.get(name)
        if task is None:
            raise CallNotFound(f"operationId: {name!r} is unknown; its answer was fetched, or it never was")
        if not task.done():
            return {"operationId": name, "status": "pending"}
        del self._waiting[name]
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            return {"operationId": name, "status": "failed", "error": str(error or "it was given up")}
        return {"operationId": name, "status": "completed", "result": task.result()}

    async def _transfer(self, params: Params, *, by_agent: bool) -> None:
        announce = _text(params, "announce", needed=False)
        call_id, to = _text(params, "callId"), _text(params, "to")
        await self.control.transfer(call_id, to, announce=announce, by_agent=by_agent)

    async def _status(self, params: Params) -> Result:
        call_id = _text(params, "callId", needed=False)
        if not call_id:
            return {"calls": await self.control.list_calls(open_only=True)}
        try:
            return {"found": True, "call": await self.control.get_call(call_id)}
        except CallNotFound:
            return {"found": False}


_ACTIONS: Final = {
    "initiate_call": "initiate",
    "continue_call": "continue",
    "speak_to_user": "speak",
    "send_dtmf": "dtmf",
    "transfer_call": "transfer",
    "end_call": "end",
    "get_status": "status",
}
"""Actions of the tool, and the methods they are."""


def _text(params: Params, name: str, *, needed: bool = True) -> str:
    """An argument that is text. Raises `ConfigError` where it is none, or missing though needed."""
    value = params.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value.strip()):
        raise ConfigError(f"{name}: expected text{'' if value is None else f', got {value!r}'}")
    return value


def _session_key(call: Call) -> str:
    return str((call.get("metadata") or {}).get("sessionKey") or "")


def _memory(session_key: str) -> str:
    """What of a session key names the talk, whichever agent has it: `voice:+15550001234` of `agent:main:voice:…`."""
    return session_key.split(":", 2)[-1] if session_key.startswith("agent:") else session_key


def _short(call: Call) -> Result:
    return {name: call[name] for name in ("callId", "to", "from", "state", "mode") if name in call}
