"""OpenClaw as the host: its agent writes the turns, and the chat that asked for a call learns how it went.

A turn is a run of the agent in a session of its own, named by `sessionScope`; the session keeps the talk, so a turn
carries only what was said last, and what the session cannot know: what of the agent's words was really heard.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.errors import HostError, VendorError, VendorUnavailable
from openclaw_voicecall.host.prompts import said_last, spoken_style
from openclaw_voicecall.host.reports import report_of
from openclaw_voicecall.host.stdio import Peer

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

REMEMBERED_CALLS: Final = 200
"""Calls whose last written words are kept in mind."""
OTHERS_TOOLS: Final = ("voice_call", "web_search", "web_fetch")
"""What the agent may use while somebody else than its owner is on the line. On a call `voice_call` ends it or presses
keys, and nothing else."""


class OpenClawHost:
    """The agent of a running OpenClaw, by the line to the bridge.

    Args:
        peer: The line.
    """

    name = "openclaw"

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._owners: frozenset[str] = frozenset()
        self._written: OrderedDict[str, str] = OrderedDict()
        """What the agent wrote last, by call."""
        self._ending: dict[str, bool] = {}
        """Calls in whose turn the agent is, and whether it wants to hang up after it."""

    def know(self, config: "VoiceCallConfig") -> None:
        """Learn from the configuration whose number has the agent use all its tools."""
        self._owners = frozenset(filter(None, (config.to_number, *config.allow_from)))

    def is_owner(self, number: str) -> bool:
        """Whether this number is of somebody who may have the agent use all its tools."""
        return number in self._owners

    def end_after_turn(self, call_id: str) -> bool:
        """The agent hangs up in its own turn: once the turn was heard. False when it is in no turn of this call."""
        if call_id not in self._ending:
            return False
        self._ending[call_id] = True
        return True

    async def agent_turn(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the agent write a turn. Closing the generator aborts its run.

        Raises:
            VendorError: The run failed, or gave no words.
        """
        told: asyncio.Queue[Any] = asyncio.Queue()
        run = asyncio.create_task(
            self._peer.ask("agent.turn", self._params(request), progress=told.put_nowait)
        )
        run.add_done_callback(lambda _: told.put_nowait(None))
        written = ""
        self._ending[request.call_id] = False
        try:
            while (progress := await told.get()) is not None:
                text = _new_text(written, progress)
                written += text
                if text:
                    yield TextDelta(text)
            if rest := _unsaid(written, _finished(run)):
                written += rest
                yield TextDelta(rest)
            if self._ending[request.call_id]:
                yield EndCall()
        finally:
            del self._ending[request.call_id]
            self._remember(request.call_id, written)
            if not run.done():
                run.cancel()
                with suppress(asyncio.CancelledError, HostError):
                    await run

    async def deliver(self, session_key: str, record: CallRecord) -> None:
        """Tell the session that asked for a call how it went, and wake it.

        Raises:
            HostError: The host refused, or is gone.
        """
        asked_by = str(record.metadata.get("requesterSessionKey") or "")
        agent = session_key.split(":")[1] if session_key.startswith("agent:") else "main"
        await self._peer.ask(
            "session.event",
            {
                "text": report_of(record),
                "sessionKey": asked_by or f"agent:{agent}:main",
                "agentId": asked_by.split(":")[1] if asked_by.startswith("agent:") else agent,
                "wake": True,
            },
        )

    async def prewarm(self, session_key: str, agent_id: str) -> None:
        """Have OpenClaw get ready for the agent's first turn; no model is asked."""
        with suppress(HostError):  # the first turn is slower then, and says itself what is wrong
            await self._peer.ask("agent.prewarm", {"sessionKey": session_key, "agentId": agent_id})

    def _params(self, request: TurnRequest) -> dict[str, Any]:
        far = request.from_number if request.direction == "inbound" else request.to_number
        params: dict[str, Any] = {
            "sessionKey": request.session_key,
            "text": said_last(request, written=self._written.get(request.call_id, "")),
            "extraSystemPrompt": spoken_style(request, owner=self.is_owner(far)),
            "promptMode": "minimal",
            "bootstrapContextMode": "lightweight",
            "timeoutMs": round(request.timeout * 1000),
            "runId": str(uuid4()),
        }
        if request.agent_id:
            params["agentId"] = request.agent_id
        if not self.is_owner(far):
            params["toolsAllow"] = list(OTHERS_TOOLS)
        return params

    def _remember(self, call_id: str, written: str) -> None:
        self._written[call_id] = written
        self._written.move_to_end(call_id)
        while len(self._written) > REMEMBERED_CALLS:
            self._written.popitem(last=False)


def _new_text(written: str, progress: Any) -> str:
    """What is new in a piece of progress: a delta, or a whole text that replaces what was told before."""
    if not isinstance(progress, dict):
        return ""
    delta = progress.get("delta")
    if isinstance(delta, str):
        return delta
    replaced = progress.get("replace")
    return _unsaid(written, replaced) if isinstance(replaced, str) else ""


def _unsaid(written: str, whole: str) -> str:
    """What is left to say of a text after what was written of it; nothing when the two differ: heard is heard."""
    return whole[len(written) :] if whole.startswith(written) else ""


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
