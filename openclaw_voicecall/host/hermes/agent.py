"""hermes-agent as the host: its agent writes the turns, and the session that asked for a call learns how it went."""

import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from zlib import crc32

from openclaw_voicecall.api.responder import EndCall, ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.host.hermes.conversation import (
    PLATFORM,
    TOOLSET,
    Agent,
    Build,
    Conversations,
    session_id_of,
)
from openclaw_voicecall.host.hermes.outcomes import Outcomes
from openclaw_voicecall.host.reports import note_of, report_of
from openclaw_voicecall.host.turns import Turns

logger = logging.getLogger(__name__)

SAME_TOOLS = {"web_fetch": "web_extract"}
"""Tools that the configuration names as OpenClaw does, and their names in hermes."""
REFUSED_PER_DAY = 20
"""Refused callers of a day that wait to be told of; of more, the last ones."""
LOCAL_SESSIONS = "cli:"
"""How keys of sessions in a terminal begin; such a session is the owner's."""


class HermesHost:
    """The agent of the hermes process we live in.

    Args:
        outcomes: Where the outcomes of calls wait for their session.
        inject: Puts a message into a session, by its key, where this process shows that session and it is idle.
        build: Makes agents; for tests.
    """

    name = "hermes"

    def __init__(
        self, outcomes: Outcomes, inject: Callable[[str, str], bool], *, build: Build | None = None
    ) -> None:
        self.turns = Turns()
        self.conversations = Conversations(build) if build else Conversations(build_agent, unattended)
        self._outcomes = outcomes
        self._inject = inject

    async def agent_turn(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the agent write a turn. Closing the generator interrupts it.

        Raises:
            VendorError: The run failed.
        """
        with self.turns.turn(request) as turn:
            conversation = self.conversations.of(request)
            async with aclosing(conversation.say(turn.text, style=turn.style)) as pieces:
                async for piece in pieces:
                    turn.written += piece
                    yield TextDelta(piece)
            if turn.ends_call:
                yield EndCall()

    async def deliver(self, session_key: str, record: CallRecord) -> None:
        """Tell the session that asked for a call how it went: now, or in its next turn."""
        session, report = _session_of(record), report_of(record)
        if record.end_reason == "rejected":
            # Who may not ring must not begin a turn, which costs money, nor fill the agent's mind.
            day, which = (
                int(record.created_at // 86_400),
                crc32(record.from_number.encode()) % REFUSED_PER_DAY,
            )
            self._outcomes.keep(session, f"refused {day} {which}", report)
        elif not self._inject(session, report):
            self._outcomes.keep(session, record.call_id, report)

    async def note(self, session_key: str, record: CallRecord, since: int) -> None:
        """Have the next turn of that session read what was said so far."""
        self._outcomes.keep(_session_of(record), f"{record.call_id} {since}", note_of(record, since))

    def take_outcomes(self, session: str, *, begins: bool) -> list[str]:
        """What a session, by its key, is to be told of calls.

        The owner's terminal is also told of calls that nobody asked for, and its first turn of what sessions that
        ended before it were not.
        """
        if not session.startswith(LOCAL_SESSIONS):
            return self._outcomes.take(lambda key: key == session)
        if begins:
            return self._outcomes.take(lambda key: key.startswith(LOCAL_SESSIONS))
        return self._outcomes.take(lambda key: key in (session, LOCAL_SESSIONS))


def _session_of(record: CallRecord) -> str:
    return str(record.metadata.get("requesterSessionKey") or LOCAL_SESSIONS)


def build_agent(session_id: str, request: TurnRequest) -> tuple[Agent, list[dict[str, Any]]]:
    """An `AIAgent`, made as hermes makes one for a chat without a terminal (hermes_cli/oneshot.py), and its past talk.

    For somebody else than the owner it is one without the owner's memory.
    """
    # Of hermes, which is there where this runs and nowhere else.
    from hermes_cli.config import load_config  # noqa: PLC0415 as above
    from hermes_cli.fallback_config import get_fallback_chain  # noqa: PLC0415 as above
    from hermes_cli.runtime_provider import resolve_runtime_provider  # noqa: PLC0415 as above
    from hermes_cli.tools_config import _get_platform_tools  # noqa: PLC0415 as above
    from hermes_state import SessionDB  # noqa: PLC0415 as above
    from run_agent import AIAgent  # noqa: PLC0415 as above

    config = load_config()
    wanted = config.get("model") or {}
    usual = wanted if isinstance(wanted, str) else wanted.get("default") or wanted.get("model") or ""
    model = request.model or usual
    runtime = resolve_runtime_provider(requested=None, target_model=model or None)
    chosen = (config.get("platform_toolsets") or {}).get(PLATFORM)
    toolsets = _get_platform_tools(config, PLATFORM if chosen else "cli")
    store = SessionDB()
    agent = AIAgent(
        api_key=runtime.get("api_key"),
        base_url=runtime.get("base_url"),
        provider=runtime.get("provider"),
        api_mode=runtime.get("api_mode"),
        credential_pool=runtime.get("credential_pool"),
        fallback_model=get_fallback_chain(config) or None,
        model=model,
        enabled_toolsets=sorted({*toolsets, TOOLSET}),
        quiet_mode=True,
        platform=PLATFORM,
        session_id=session_id,
        session_db=store,
        # The folder that hermes was started in says nothing about a telephone call.
        skip_context_files=True,
        load_soul_identity=True,
        skip_memory=not request.owner,
    )
    agent.suppress_status_output = True
    if request.agent_tools is not None:
        allowed = {SAME_TOOLS.get(name, name) for name in request.agent_tools}
        agent.tools = [tool for tool in agent.tools or () if tool["function"]["name"] in allowed]
        agent.valid_tool_names = {tool["function"]["name"] for tool in agent.tools}
    return agent, store.get_messages_as_conversation(session_id)


@contextmanager
def unattended() -> Iterator[None]:
    """Have hermes refuse, in this thread, what it would ask its user to approve, such as a dangerous command.

    On the telephone nobody sees the question; and where there is no terminal hermes would not ask, but run it.
    """
    from tools.approval import (  # noqa: PLC0415 as above
        reset_hermes_interactive_context,
        set_hermes_interactive_context,
    )
    from tools.terminal_tool import set_approval_callback  # noqa: PLC0415 as above

    token = set_hermes_interactive_context(True)
    set_approval_callback(lambda *_, **__: "deny")
    try:
        yield
    finally:
        set_approval_callback(None)
        reset_hermes_interactive_context(token)


def prewarm() -> None:
    """Get everything ready that an agent's first turn needs, in the background; no model is asked."""
    threading.Thread(target=_build_once, name="voicecall-prewarm", daemon=True).start()


def _build_once() -> None:
    try:
        build_agent(
            session_id_of("prewarm"), TurnRequest(call_id="prewarm", turn=0, text="", agent_tools=None)
        )
    except Exception as error:  # the first turn says it too, to the caller
        logger.warning("hermes' agent is not ready for calls: %s", error)
