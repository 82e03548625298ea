"""OpenClaw as the host: its agent writes the turns, and the chat that asked for a call learns how it went.

A turn is a run of the agent in a session of its own, named by `sessionScope`; the session keeps the talk, so a turn
carries only what was said last, and what the session cannot know: what of the agent's words was really heard.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.config.trust import is_owner
from openclaw_voicecall.errors import HostError, VendorError, VendorUnavailable
from openclaw_voicecall.host.openclaw.words import Words
from openclaw_voicecall.host.reports import note_of, report_of
from openclaw_voicecall.host.stdio import Peer
from openclaw_voicecall.host.turns import Turn, Turns

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

REFUSED_PER_DAY: Final = 20
"""Refused callers that the chat is told of within a day, each once."""


class OpenClawHost:
    """The agent of a running OpenClaw, by the line to the bridge.

    Args:
        peer: The line.
    """

    name = "openclaw"

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._config: VoiceCallConfig | None = None
        self._refused: tuple[int, set[str]] = (0, set())
        """The day, and the refused callers that the chat was told of on it."""
        self._turns = Turns()

    def know(self, config: "VoiceCallConfig") -> None:
        """Learn from the configuration whose numbers are an owner's."""
        self._config = config

    def is_owner(self, number: str) -> bool:
        """Whether this number is an owner's."""
        return self._config is not None and is_owner(self._config, number)

    def end_after_turn(self, call_id: str) -> bool:
        """The agent hangs up in its own turn: once the turn was heard. False when it is in no turn of this call."""
        return self._turns.end_after_turn(call_id)

    async def agent_turn(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the agent write a turn. Closing the generator aborts its run.

        Raises:
            VendorError: The run failed, or gave no words.
        """
        told: asyncio.Queue[Any] = asyncio.Queue()
        words = Words()
        with self._turns.turn(request) as turn:
            run = asyncio.create_task(
                self._peer.ask("agent.turn", _params(request, turn), progress=told.put_nowait)
            )
            run.add_done_callback(lambda _: told.put_nowait(None))
            try:
                while (progress := await told.get()) is not None:
                    if text := words.take(progress):
                        turn.written = words.written
                        yield TextDelta(text)
                if rest := words.finish(_finished(run)):
                    turn.written = words.written
                    yield TextDelta(rest)
                if turn.ends_call:
                    yield EndCall()
            finally:
                if not run.done():
                    run.cancel()
                    with suppress(asyncio.CancelledError, HostError):
                        await run

    async def deliver(self, session_key: str, record: CallRecord) -> None:
        """Tell the session that asked for a call how it went, and wake it, except about callers that were refused.

        Raises:
            HostError: The host refused, or is gone.
        """
        chat = _chat_of(session_key, record)
        if record.end_reason == "rejected":
            await self._tell_of_refused(chat, record)
            return
        agent = {"agentId": chat.split(":")[1]} if chat.startswith("agent:") else {}
        event = {"text": report_of(record), "sessionKey": chat, **agent, "wake": True}
        await self._peer.ask("session.event", event)

    async def _tell_of_refused(self, chat: str, record: CallRecord) -> None:
        """Who may not ring must not wake the agent, which costs money, nor fill its mind."""
        today = int(record.created_at // 86400)
        day, told = self._refused
        told = told if day == today else set()
        self._refused = today, told
        if record.from_number in told or len(told) >= REFUSED_PER_DAY:
            return
        key = f"refused:{today}:{record.from_number}"
        await self._peer.ask(
            "session.nextTurn", {"text": report_of(record), "sessionKey": chat, "idempotencyKey": key}
        )
        told.add(record.from_number)

    async def note(self, session_key: str, record: CallRecord, since: int) -> None:
        """Put what was said since into the next turn of that session, which it does not begin.

        Raises:
            HostError: The host refused, or is gone.
        """
        note = {
            "text": note_of(record, since),
            "sessionKey": _chat_of(session_key, record),
            "idempotencyKey": f"{record.call_id}:{since}",
        }
        await self._peer.ask("session.nextTurn", note)

    async def prewarm(self, session_key: str, agent_id: str) -> None:
        """Have OpenClaw get ready for the agent's first turn; no model is asked."""
        with suppress(HostError):  # the first turn is slower then, and says itself what is wrong
            await self._peer.ask("agent.prewarm", {"sessionKey": session_key, "agentId": agent_id})


def _params(request: TurnRequest, turn: Turn) -> dict[str, Any]:
    params: dict[str, Any] = {
        "sessionKey": request.session_key,
        "text": turn.text,
        "extraSystemPrompt": turn.style,
        "promptMode": "minimal",
        "bootstrapContextMode": "lightweight",
        "timeoutMs": round(request.timeout * 1000),
        "runId": str(uuid4()),
    }
    if request.agent_id:
        params["agentId"] = request.agent_id
    if request.model:
        params["model"] = request.model
    if request.agent_tools:
        params["toolsAllow"] = list(request.agent_tools)
    elif request.agent_tools is not None:
        params["disableTools"] = True
    return params


def _chat_of(session_key: str, record: CallRecord) -> str:
    """The session that asked for a call; the main one of the call's agent where none did."""
    agent = session_key.split(":")[1] if session_key.startswith("agent:") else "main"
    return str(record.metadata.get("requesterSessionKey") or "") or f"agent:{agent}:main"


def _finished(run: "asyncio.Task[Any]") -> str:
    """The whole text of a run that is over. Raises `VendorError` for one that failed."""
    try:
        result = run.result()
    except HostError as error:
        raise VendorUnavailable(str(error), vendor="openclaw", operation="agent turn") from error
    if not isinstance(result, dict):
        raise VendorError("OpenClaw's answer is no object", vendor="openclaw", operation="agent turn")
    text = str(result.get("text") or "")
    if result.get("isError"):
        raise VendorError(
            f"the agent's run failed: {text[:200] or 'no reason given'}",
            vendor="openclaw",
            operation="agent turn",
        )
    return text
