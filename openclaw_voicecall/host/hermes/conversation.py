"""Conversations of hermes' agent with callers: one `AIAgent` each, run in a thread turn by turn.

`AIAgent` (hermes-agent 0.19, module run_agent) is synchronous and serves one turn at a time. Its session, and with it
the talk so far, is kept in hermes' own session store, so a caller is remembered after a restart.
"""

import asyncio
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

from openclaw_voicecall.api.responder import TurnRequest
from openclaw_voicecall.errors import VendorError, VendorUnavailable

logger = logging.getLogger(__name__)

KEPT: Final = 32
"""Conversations whose agent stays ready; of more the one unused for longest is built anew when it is wanted."""
INTERRUPT_LIMIT: Final = 5.0
"""Seconds that an interrupted run may take to end; a run that does not is left alone, with its agent."""
PLATFORM: Final = "voicecall"
TOOLSET: Final = "voicecall"
_VENDOR: Final = "hermes"


class Agent(Protocol):
    """What is used of hermes' `AIAgent`."""

    ephemeral_system_prompt: str | None
    session_id: str

    def run_conversation(
        self,
        user_message: str,
        *,
        conversation_history: list[dict[str, Any]],
        stream_callback: Callable[[Any], None],
    ) -> dict[str, Any]:
        """Write a turn; blocks."""
        ...

    def interrupt(self, message: str | None = None) -> None:
        """Stop the turn, from another thread."""
        ...


Build = Callable[[str, TurnRequest], tuple[Agent, list[dict[str, Any]]]]
"""`(session id, a turn of the talk)` to the agent and the talk so far. Blocks; may raise anything."""

Guard = Callable[[], AbstractContextManager[None]]
"""Entered in the thread of a turn, while the agent works."""


def session_id_of(session_key: str) -> str:
    """The id of the session of hermes in which a caller's talk is kept."""
    return f"voicecall_{hashlib.sha256(session_key.encode()).hexdigest()[:24]}"


class Conversation:
    """The talk with one caller.

    Args:
        request: Its first turn here.
        build: Makes the agent.
        guard: Keeps it from what nobody can approve on the telephone.
    """

    def __init__(self, request: TurnRequest, build: Build, guard: Guard) -> None:
        self._request = request
        self._build = build
        self._guard = guard
        self._agent: Agent | None = None
        self._history: list[dict[str, Any]] = []
        self._running = threading.Lock()
        """Held by the thread of a turn."""

    async def say(self, text: str, *, style: str) -> AsyncGenerator[str, None]:
        """Have the agent answer. Closing the generator interrupts it.

        Args:
            text: What the caller said.
            style: Instructions for the agent.

        Yields:
            The answer, piece by piece.

        Raises:
            VendorError: There is no agent, or its run failed.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[str | None] = asyncio.Queue()
        finished: asyncio.Future[dict[str, Any]] = loop.create_future()
        stopped = threading.Event()

        def tell(piece: str | None) -> None:
            if not stopped.is_set():
                loop.call_soon_threadsafe(told.put_nowait, piece)

        def end(result: dict[str, Any] | Exception) -> None:
            if not stopped.is_set():
                loop.call_soon_threadsafe(_settle, finished, result)
                loop.call_soon_threadsafe(told.put_nowait, None)

        run = (text, style, tell, end, stopped)
        threading.Thread(target=self._run, args=run, name="voicecall-turn", daemon=True).start()
        said = ""
        try:
            while (piece := await told.get()) is not None:
                said += piece
                yield piece
            answer = _answer(await finished)
            if not said and answer:
                yield answer  # a provider that does not stream
        finally:
            stopped.set()
            # Only a run that goes on: hermes would hold it against the next one.
            if not finished.done() and self._agent is not None:
                self._agent.interrupt()

    def _run(
        self,
        text: str,
        style: str,
        tell: Callable[[str | None], None],
        end: Callable[[dict[str, Any] | Exception], None],
        stopped: threading.Event,
    ) -> None:
        """The thread of a turn."""

        def heard(piece: Any) -> None:
            if stopped.is_set() and self._agent is not None:
                self._agent.interrupt()  # it began just when it was interrupted
            elif isinstance(piece, str) and piece:
                tell(piece)

        if not self._running.acquire(timeout=INTERRUPT_LIMIT):
            end(
                VendorUnavailable("the agent's last run does not end", vendor=_VENDOR, operation="agent turn")
            )
            return
        try:
            if self._agent is None:
                self._agent, self._history = self._build(session_id_of(_key(self._request)), self._request)
            if stopped.is_set():
                return
            self._agent.ephemeral_system_prompt = style
            with self._guard():
                result = self._agent.run_conversation(
                    text,
                    conversation_history=self._history,
                    stream_callback=heard,
                )
            self._history = list(result.get("messages") or self._history)
            end(result)
        except Exception as error:  # hermes' own, or of a provider: the caller hears an apology
            logger.warning("hermes' agent failed: %r", error)
            end(VendorUnavailable(_one_line(error), vendor=_VENDOR, operation="agent turn"))
        finally:
            self._running.release()


class Conversations:
    """The talks with all callers; those long unused are forgotten here, and kept by hermes.

    Args:
        build: Makes agents.
        guard: As for `Conversation`.
    """

    def __init__(self, build: Build, guard: Guard = nullcontext) -> None:
        self._build = build
        self._guard = guard
        self._kept: OrderedDict[object, Conversation] = OrderedDict()
        self._keys: OrderedDict[str, str] = OrderedDict()

    def of(self, request: TurnRequest) -> Conversation:
        """The talk that a turn belongs to, with an agent that has the tools and the model of this turn."""
        key = _key(request)
        kind = (key, request.owner, request.agent_tools, request.model)
        found = self._kept.setdefault(kind, Conversation(request, self._build, self._guard))
        self._kept.move_to_end(kind)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self._keys[session_id_of(key)] = key
        while len(self._keys) > KEPT * 8:
            self._keys.popitem(last=False)
        return found

    def key_of(self, session_id: str) -> str | None:
        """The name of the talk that a session of hermes keeps; None for a session that is no call."""
        return self._keys.get(session_id)


def _key(request: TurnRequest) -> str:
    return request.session_key or request.call_id


def _settle(finished: "asyncio.Future[dict[str, Any]]", result: dict[str, Any] | Exception) -> None:
    if finished.done():
        return
    if isinstance(result, Exception):
        finished.set_exception(result)
    else:
        finished.set_result(result)


def _answer(result: dict[str, Any]) -> str:
    """What a finished run says. Raises `VendorError` for one that failed."""
    answer = str(result.get("final_response") or "").strip()
    if result.get("failed") or result.get("error"):
        reason = _one_line(result.get("error") or answer or "no reason given")
        raise VendorError(f"the agent's run failed: {reason}", vendor=_VENDOR, operation="agent turn")
    return answer


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:200] or type(reason).__name__
