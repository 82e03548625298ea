"""The agent's turn: a responder's stream of text, cut into utterances while it is still being written."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count, cycle
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
    TransferRequested,
)
from openclaw_voicecall.errors import VendorError, VoiceCallError
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.session.chain import Chain, Rotation
from openclaw_voicecall.session.tools import with_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Fillers:
    """What is said while a reply is awaited, so that the line is never dead."""

    phrases: tuple[str, ...] = ()
    after: float = 2.0
    """Seconds without a word until the first."""
    every: float = 5.0
    """Seconds between the next ones."""


NO_FILLERS = Fillers()
PER_CHARACTER = 0.07
"""Seconds that a character takes to be said, about: a filler is due some time after what was written was heard."""


@dataclass(slots=True)
class _Turn:
    """What became of one turn while its response is being written."""

    number: int
    splitter: SentenceSplitter
    written: bool = False
    end_call: bool = False
    acts: bool = False
    """Whether it does something besides speaking: a reply need not hold words then."""
    utterances: list[int] = field(default_factory=list)


class Responding:
    """Writes the agent's turns of one call, one at a time.

    Args:
        base: What every turn's request has in common.
        chain: The responder and its fallbacks.
        timeout: Seconds for a whole reply.
        fillers: What is said while a reply is awaited.
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
        fillers: Fillers = NO_FILLERS,
        history: Callable[[], tuple[Line, ...]],
        tools: Sequence[ToolSpec] = (),
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._base = base
        self._rotation = Rotation(chain)
        self._timeout = timeout
        self._fillers = fillers
        self._phrases = cycle(fillers.phrases)
        self._history = history
        self._tools = tools
        self._post = post
        self._note = note
        self._numbers = count(1)
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._said_until = 0.0

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
        self._said_until = 0.0
        self._task = asyncio.create_task(work)

    async def _say(self, number: int, text: str) -> None:
        turn = _Turn(number, SentenceSplitter(language=self._base.language))
        for sentence in (*turn.splitter.push(text), *turn.splitter.finish()):
            self._utter(turn, sentence)
        self._post(ResponseFinished(number))

    async def _respond(self, request: TurnRequest) -> None:
        filling = asyncio.create_task(self._fill(request.turn)) if self._fillers.phrases else None
        try:
            await self._ask_around(request)
        finally:
            if filling is not None:
                filling.cancel()

    async def _fill(self, number: int) -> None:
        """Say something now and then while nothing of the reply is to be heard: it may also stop on its way."""
        loop = asyncio.get_running_loop()
        silent_since, delay = loop.time(), self._fillers.after
        while True:
            wait = max(silent_since, self._said_until) + delay - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            silent_since, delay = loop.time(), self._fillers.every
            utterance = next(self._numbers)
            self._note("filler", {"turn": number, "utterance": utterance})
            self._post(ResponseChunk(number, utterance, next(self._phrases)))

    async def _ask_around(self, request: TurnRequest) -> None:
        failures: list[str] = []
        links = self._rotation.order()
        for index, link in enumerate(links):
            turn = _Turn(request.turn, SentenceSplitter(language=request.language))
            try:
                async with asyncio.timeout(self._timeout):
                    await self._write(link.provider, request, turn)
            except (VoiceCallError, OSError, TimeoutError) as error:
                detail = str(error) or f"no complete reply within {self._timeout:g} s"
                failures.append(f"{link.name}: {detail}")
                self._rotation.failed(link)
                last = turn.utterances or index + 1 == len(links)
                action = "the caller is told" if last else f"{links[index + 1].name} answers instead"
                self._note(
                    "vendor-failed",
                    {"hop": "responder", "provider": link.name, "detail": detail, "action": action},
                )
                if turn.utterances:
                    break  # the caller heard the beginning; another voice must not start the sentence again
                continue
            self._post(ResponseFinished(request.turn, turn.end_call, wordless=turn.acts))
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
                        turn.acts = True
                        self._post(DigitsRequested(digits))
                    case Transfer(to_number):
                        if request.can_transfer and (
                            request.transfer_to is None or to_number in request.transfer_to
                        ):
                            turn.acts = True
                            self._post(TransferRequested(to_number))
                        else:
                            why = "it is not allowed, or the carrier cannot"
                            self._note("transfer-refused", {"to": to_number, "detail": why})
        for sentence in turn.splitter.finish():
            self._utter(turn, sentence)
        if not turn.utterances and not turn.end_call and not turn.acts:
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
            begins = max(asyncio.get_running_loop().time(), self._said_until)
            self._said_until = begins + len(text) * PER_CHARACTER
            self._post(ResponseChunk(turn.number, utterance, text))
