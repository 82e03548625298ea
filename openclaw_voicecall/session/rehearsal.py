"""A reply that is written, its first sentence spoken into memory, before it is known that anybody will hear it.

The responder is asked as for any turn, and what it gives is kept. Nothing of that has an effect: words, hang-ups,
digits and transfers are events, which wait, and so does a tool before it runs until the turn is certain.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from openclaw_voicecall.api.responder import Responder, ResponseEvent, TextDelta, Tool, TurnRequest
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.session.chain import Link
from openclaw_voicecall.session.readahead import ReadAhead
from openclaw_voicecall.session.tools import with_tools


class PreparesSpeech(Protocol):
    """A voice that can make the audio of an utterance before it is ordered."""

    def prepare(self, text: str) -> ReadAhead[bytes] | None:
        """Begin with it; None where nobody can. It is used when the utterance with this very text is ordered."""
        ...


class Rehearsal:
    """One of them. It stands in for its responder in the turn that it becomes.

    Args:
        link: Who writes it.
        request: What is asked, without the tools.
        tools: What the responder may call once the turn is certain.
        note: Takes a journal word of the shell and its data.
        voice: Speaks the first sentence into memory; None for nobody.
    """

    def __init__(
        self,
        link: Link[Responder],
        request: TurnRequest,
        *,
        tools: Sequence[ToolSpec],
        note: Callable[[str, dict[str, Any]], None],
        voice: PreparesSpeech | None,
    ) -> None:
        self.link = link
        self.request = request
        self.began = asyncio.get_running_loop().time()
        self._voice = voice
        self._splitter: SentenceSplitter | None = SentenceSplitter(language=request.language)
        self._certain = asyncio.Event()
        self._on_life: Callable[[], None] | None = None
        bound = with_tools(request, tools, note, began=self._live)
        waiting = replace(bound, tools=tuple(replace(tool, run=self._patient(tool)) for tool in bound.tools))
        self._audio: ReadAhead[bytes] | None = None
        self._events = ReadAhead(self._write(waiting))

    @property
    def is_useful(self) -> bool:
        """Whether the turn can be made of it; one that has failed or is empty is asked for again."""
        return self._events.is_useful

    @property
    def failure(self) -> Exception | None:
        """Why it failed, if it did."""
        return self._events.failure

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What is at work."""
        reads = (self._events, self._audio) if self._audio is not None else (self._events,)
        return tuple(read.task for read in reads if not read.task.done())

    def adopt(self, on_life: Callable[[], None]) -> None:
        """It is the turn: tools may run. `on_life` is called when one does."""
        self._on_life = on_life
        self._certain.set()

    def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """What was written, at once, and the rest as it comes. Raises `VendorError`."""
        return self._events.take()

    def drop(self) -> None:
        """Nobody hears it, or no more of it: closing the responder's stream aborts the vendor's work."""
        self._events.drop()
        if self._audio is not None:
            self._audio.drop()

    def _live(self) -> None:
        if self._on_life is not None:
            self._on_life()

    async def _write(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        async with aclosing(self.link.provider.respond(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta) and self._splitter is not None:
                    self._speak_first((*self._splitter.push(event.text), *self._splitter.settle()))
                yield event
        if self._splitter is not None:
            self._speak_first(self._splitter.finish())

    def _speak_first(self, sentences: Sequence[str]) -> None:
        """The first of these that can be spoken is what the caller would hear first."""
        texts = (speakable(sentence, self.request.language) for sentence in sentences)
        text = next(filter(None, texts), "")
        if text:
            self._splitter = None
            self._audio = self._voice.prepare(text) if self._voice is not None else None

    def _patient(self, tool: Tool) -> Callable[[Mapping[str, Any]], Any]:
        async def run(arguments: Mapping[str, Any]) -> str:
            await self._certain.wait()
            return await tool.run(arguments)

        return run
