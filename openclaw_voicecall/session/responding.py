"""The agent's turn: a responder's stream of text, cut into utterances while it is still being written."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from openclaw_voicecall.api.responder import (
    EndCall,
    Line,
    Responder,
    SendDtmf,
    TextDelta,
    Transfer,
    TurnRequest,
)
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.core.events import (
    DigitsRequested,
    Event,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
)
from openclaw_voicecall.errors import VendorError, VoiceCallError
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.session.chain import Chain
from openclaw_voicecall.session.tools import with_tools


@dataclass(slots=True)
class _Turn:
    """What became of one turn while its response is being written."""

    number: int
    splitter: SentenceSplitter
    written: bool = False
    end_call: bool = False
    utterances: list[int] = field(default_factory=list)


class Responding:
    """Writes the agent's turns of one call, one at a time.

    Args:
        base: What every turn's request has in common.
        chain: The responder and its fallbacks.
        timeout: Seconds for a whole reply.
        history: Gives the talk so far.
        tools: What the responder may call.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
    """

    def __init__(
        self,
        *,
        base: TurnRequest,
        chain: Chain[Responder],
        timeout: float,
        history: Callable[[], tuple[Line, ...]],
        tools: Sequence[ToolSpec] = (),
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._base = base
        self._chain = chain
        self._timeout = timeout
        self._history = history
        self._tools = tools
        self._post = post
        self._note = note
        self._numbers = count(1)
        self._task: asyncio.Task[None] | None = None
        self._turn = 0

    def respond(self, turn: int, text: str, digits: str) -> None:
        """Let the responder write this turn."""
        history = self._history()
        if text and history and history[-1].speaker == "caller":
            history = history[:-1]
        request = replace(self._base, turn=turn, text=text, digits=digits, history=history)
        self._start(turn, self._respond(with_tools(request, self._tools, self._note)))

    def say(self, turn: int, text: str) -> None:
        """Speak a fixed text as this turn."""
        self._start(turn, self._say(turn, text))

    def cancel(self, turn: int) -> None:
        """Stop this turn's response; closing the responder's stream aborts the vendor's work."""
        if self._task is not None and self._turn <= turn:
            self._task.cancel()

    async def close(self) -> None:
        """Stop whatever is being written."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self, turn: int, work: Any) -> None:
        self.cancel(turn)
        self._turn = turn
        self._task = asyncio.create_task(work)

    async def _say(self, number: int, text: str) -> None:
        turn = _Turn(number, SentenceSplitter(language=self._base.language))
        for sentence in (*turn.splitter.push(text), *turn.splitter.finish()):
            self._utter(turn, sentence)
        self._post(ResponseFinished(number))

    async def _respond(self, request: TurnRequest) -> None:
        failures: list[str] = []
        for index, link in enumerate(self._chain):
            turn = _Turn(request.turn, SentenceSplitter(language=request.language))
            try:
                async with asyncio.timeout(self._timeout):
                    await self._write(link.provider, request, turn)
            except (VoiceCallError, OSError, TimeoutError) as error:
                detail = str(error) or f"no complete reply within {self._timeout:g} s"
                failures.append(f"{link.name}: {detail}")
                last = turn.utterances or index + 1 == len(self._chain)
                action = "the caller is told" if last else f"{self._chain[index + 1].name} answers instead"
                self._note(
                    "vendor-failed",
                    {"hop": "responder", "provider": link.name, "detail": detail, "action": action},
                )
                if turn.utterances:
                    break  # the caller heard the beginning; another voice must not start the sentence again
                continue
            self._post(ResponseFinished(request.turn, turn.end_call))
            return
        self._post(ResponseFailed(request.turn, "; ".join(failures)))

    async def _write(self, responder: Responder, request: TurnRequest, turn: _Turn) -> None:
        async with aclosing(responder.respond(request)) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        self._take(turn, text)
                    case EndCall():
                        turn.end_call = True
                    case SendDtmf(digits):
                        self._post(DigitsRequested(digits))
                    case Transfer(to_number):
                        self._note(
                            "transfer-refused", {"to": to_number, "detail": "this carrier cannot transfer"}
                        )
        for sentence in turn.splitter.finish():
            self._utter(turn, sentence)
        if not turn.utterances and not turn.end_call:
            raise VendorError("the reply held nothing to say", operation="respond")

    def _take(self, turn: _Turn, text: str) -> None:
        if text and not turn.written:
            turn.written = True
            self._note("first-token", {"turn": turn.number})
        for sentence in turn.splitter.push(text):
            self._utter(turn, sentence)

    def _utter(self, turn: _Turn, sentence: str) -> None:
        text = speakable(sentence, self._base.language)
        if text:
            utterance = next(self._numbers)
            turn.utterances.append(utterance)
            self._post(ResponseChunk(turn.number, utterance, text))
