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
    is_speculative,
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
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.sentences import SentenceSplitter
from openclaw_voicecall.media.speakable import speakable
from openclaw_voicecall.session.chain import Rotation, why_failed
from openclaw_voicecall.session.deadline import Deadline, Deadlines
from openclaw_voicecall.session.rehearsal import PreparesSpeech, Rehearsal
from openclaw_voicecall.session.tools import with_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Fillers:
    """What is said while a reply is awaited, so that the line is never dead."""

    phrases: tuple[str, ...] = ()
    after: float = 2.0
    """Seconds without a word until the first."""
    every: float = 5.0
    """Seconds between the next ones."""
    late: str = ""
    """Said once, instead of the next one, when it takes long; empty for nothing."""
    late_after: float = 8.0
    """Seconds after the caller's last word from which on it takes long."""


FIRST_AT_LATEST = 1.0
"""Seconds by which the first filler may be later, counted from the caller's last word: the transcriber may have taken
long before the responder was asked at all."""
LEAST_WAIT = 0.8
"""Seconds that a responder has in any case: most answers are there by then."""
ROUNDING = 0.001
"""Seconds by which a sleep may be short."""
NO_FILLERS = Fillers()
PER_CHARACTER = 0.07
"""Seconds that a character takes to be said, about: a filler is due some time after what was written was heard."""


def _nothing() -> None:
    pass


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
    on_life: Callable[[], None] = _nothing
    """Called when something comes of it: words, or an act."""

    def begin(self, splitter: SentenceSplitter) -> None:
        """Another responder writes it, from its beginning."""
        self.splitter = splitter
        self.written = self.end_call = self.acts = False

    def live(self) -> None:
        """Something comes of it."""
        self.on_life()

    def act(self) -> None:
        """The responder does something besides speaking."""
        self.acts = True
        self.live()


class Responding:
    """Writes the agent's turns of one call, one at a time.

    Args:
        base: What every turn's request has in common.
        rotation: The responder and its fallbacks.
        deadlines: Gets the deadline of each turn.
        timeout: Seconds for a whole reply, whoever writes it.
        fillers: What is said while a reply is awaited.
        history: Gives the talk so far.
        tools: What the responder may call.
        post: Takes events for the core.
        note: Takes a journal word of the shell and its data.
        numbers: Numbers of utterances, where others number theirs by it as well.
    """

    def __init__(
        self,
        *,
        base: TurnRequest,
        rotation: Rotation[Responder],
        deadlines: Deadlines,
        timeout: float,
        fillers: Fillers = NO_FILLERS,
        history: Callable[[], tuple[Line, ...]],
        tools: Sequence[ToolSpec] = (),
        post: Callable[[Event], None],
        note: Callable[[str, dict[str, Any]], None],
        numbers: "count[int] | None" = None,
    ) -> None:
        self._base = base
        self._rotation = rotation
        self._deadlines = deadlines
        self._timeout = timeout
        self._fillers = fillers
        self._phrases = cycle(fillers.phrases)
        self._history = history
        self._tools = tools
        self._post = post
        self._note = note
        self._numbers = numbers or count(1)
        self.voice: PreparesSpeech | None = None
        """Speaks the first sentence of a rehearsal into memory."""
        self._rehearsal: Rehearsal | None = None
        self._adopted: Rehearsal | None = None
        """What the turn is made of, where it was rehearsed."""
        self._dropped: set[asyncio.Task[None]] = set()
        """What is left of rehearsals that were dropped, until it has ended."""
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._said_until = 0.0

    def respond(self, turn: int, text: str, digits: str, waited: float = 0.0) -> None:
        """Let the responder write this turn, `waited` seconds after the caller's last word."""
        history = self._history()
        if text and history and history[-1].speaker == "caller":
            history = history[:-1]
        request = replace(self._base, turn=turn, text=text, digits=digits, history=history)
        deadline = self._deadlines.begin(turn, self._now(), waited=waited, reply_within=self._timeout)
        adopted = self._take_rehearsal(request)
        self._start(turn, self._respond(request, deadline, adopted))
        self._adopted = adopted

    def rehearse(self, turn: int, text: str) -> None:
        """Begin to write a turn that may never come: nobody is told anything of it before `respond` is called."""
        self.drop_rehearsal("other words came")
        link = self._rotation.first()
        if link is None or not is_speculative(link.provider):
            return
        request = replace(self._base, turn=turn, text=text, history=self._history())
        self._rehearsal = Rehearsal(link, request, tools=self._tools, note=self._note, voice=self.voice)
        self._note("rehearsal", {"turn": turn, "outcome": "begun"})

    def drop_rehearsal(self, why: str) -> None:
        """What was rehearsed is of no use."""
        rehearsal, self._rehearsal = self._rehearsal, None
        if rehearsal is not None:
            failure = "" if rehearsal.failure is None else why_failed(rehearsal.failure)
            outcome = "failed" if failure else "dropped"
            self._note(
                "rehearsal",
                {"turn": rehearsal.request.turn, "outcome": outcome, "detail": failure or why},
            )
            self._drop(rehearsal)

    def say(self, turn: int, text: str) -> None:
        """Speak a fixed text as this turn."""
        self._deadlines.begin(turn, self._now())
        self._start(turn, self._say(turn, text))

    def cancel(self, turn: int) -> None:
        """Stop this turn's response; closing the responder's stream aborts the vendor's work."""
        if self._task is not None and self._turn <= turn:
            self._task.cancel()
            self.cut(turn)

    def cut(self, turn: int) -> None:
        """Nothing more of this turn is heard. A responder is told what was heard with its next turn."""
        if self._adopted is not None and self._turn <= turn:
            self._drop(self._adopted)
            self._adopted = None

    async def close(self) -> None:
        """Stop whatever is being written."""
        self.drop_rehearsal("the call is over")
        if self._task is not None:
            self.cancel(self._turn)
            await asyncio.wait([self._task, *self._dropped])
        elif self._dropped:
            await asyncio.wait(self._dropped)

    def _take_rehearsal(self, request: TurnRequest) -> Rehearsal | None:
        """What was rehearsed for this very request; what was rehearsed for any other is dropped."""
        rehearsal = self._rehearsal
        if rehearsal is None:
            return None
        if rehearsal.request != request or rehearsal.link is not self._rotation.first():
            self.drop_rehearsal("something else is asked")
            return None
        if not rehearsal.is_useful:
            self.drop_rehearsal("it held nothing")
            return None
        self._rehearsal = None
        ahead = round(self._now() - rehearsal.began, 3)
        self._note("rehearsal", {"turn": request.turn, "outcome": "adopted", "seconds": ahead})
        return rehearsal

    def _drop(self, rehearsal: Rehearsal) -> None:
        rehearsal.drop()
        for task in rehearsal.tasks:
            self._dropped.add(task)
            task.add_done_callback(self._dropped.discard)

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

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _respond(self, request: TurnRequest, deadline: Deadline, adopted: Rehearsal | None) -> None:
        turn = _Turn(request.turn, SentenceSplitter(language=request.language))
        wanted = self._fillers.phrases or self._fillers.late
        filling = asyncio.create_task(self._fill(turn, deadline)) if wanted else None
        tools = with_tools(request, self._tools, self._note, began=turn.live)
        if adopted is not None:
            adopted.adopt(turn.live)
        try:
            await self._ask_around(tools, deadline, turn, adopted)
        finally:
            if filling is not None:
                filling.cancel()

    async def _fill(self, turn: _Turn, deadline: Deadline) -> None:
        """Say something now and then while nothing of the reply is to be heard: it may also stop on its way."""
        fillers = self._fillers
        late_at = deadline.asked + fillers.late_after
        soon = max(self._now() + LEAST_WAIT, deadline.asked + fillers.after + FIRST_AT_LATEST)
        due = min(self._now() + fillers.after, soon)
        while True:
            late = bool(fillers.late) and not (deadline.late or turn.utterances)
            if late and not fillers.phrases:
                due = late_at
            elif late:
                due = min(due, late_at)
            elif not fillers.phrases:
                return
            begins = max(due, self._said_until and self._said_until + fillers.after)
            if (wait := begins - self._now()) > ROUNDING:
                await asyncio.sleep(wait)
                continue
            # The next one would come too late to say that it takes long, so this one has to.
            if late and due + fillers.every > late_at and 2 * (due - deadline.asked) >= fillers.late_after:
                deadline.late = True
                self._say_filler(turn, deadline, fillers.late)
            else:
                self._say_filler(turn, deadline, next(self._phrases))
            due = self._now() + fillers.every

    def _say_filler(self, turn: _Turn, deadline: Deadline, text: str) -> None:
        deadline.fillers.append(text)
        utterance = next(self._numbers)
        self._note("filler", {"turn": turn.number, "utterance": utterance})
        self._post(ResponseChunk(turn.number, utterance, text))

    async def _ask_around(
        self, request: TurnRequest, deadline: Deadline, turn: _Turn, adopted: Rehearsal | None
    ) -> None:
        failures: list[str] = []
        links = self._rotation.order()
        for index, link in enumerate(links):
            left = len(links) - index
            asked = adopted if adopted is not None and adopted.link is link else link.provider
            try:
                await self._ask(asked, request, turn, deadline, left)
            except Exception as error:  # a plugin's bug must not leave the caller in silence either
                detail = why_failed(error)
                failures.append(f"{link.name}: {detail}")
                self._rotation.failed(link)
                last = turn.utterances or left == 1
                action = "the caller is told" if last else f"{links[index + 1].name} answers instead"
                self._note(
                    "vendor-failed",
                    {"hop": "responder", "provider": link.name, "detail": detail, "action": action},
                )
                if turn.utterances:
                    break  # the caller heard the beginning; another voice must not start the sentence again
                continue
            self._rotation.worked(link)
            self._post(ResponseFinished(request.turn, turn.end_call, wordless=turn.acts))
            return
        self._post(ResponseFailed(request.turn, "; ".join(failures)))

    async def _ask(
        self, responder: Responder, request: TurnRequest, turn: _Turn, deadline: Deadline, left: int
    ) -> None:
        """Let one responder write the turn. Its first words must come while there is time for the others."""
        turn.begin(SentenceSplitter(language=request.language))
        began = self._now()
        limit = deadline.words_limit(began, left=left)
        try:
            async with asyncio.timeout(limit) as timer:
                turn.on_life = lambda: timer.reschedule(deadline.reply_by)
                await self._write(responder, request, turn)
        except TimeoutError as error:
            if timer.expired():
                missing = "complete reply" if turn.utterances or left == 1 else "words to say"
                took = round(self._now() - began, 1)
                raise TimeoutError(f"no {missing} within {took:g} s") from error
            raise TimeoutError(str(error) or "it took too long") from error
        finally:
            turn.on_life = _nothing

    async def _write(self, responder: Responder, request: TurnRequest, turn: _Turn) -> None:
        async with aclosing(responder.respond(request)) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        self._take(turn, text)
                    case EndCall():
                        turn.end_call = True
                    case SendDtmf(digits):
                        turn.act()
                        self._post(DigitsRequested(digits))
                    case Transfer(to_number, announce):
                        if request.may_transfer(to_number):
                            turn.act()
                            self._post(TransferRequested(to_number, announce))
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
        for sentence in (*turn.splitter.push(text), *turn.splitter.settle()):
            self._utter(turn, sentence)

    def _utter(self, turn: _Turn, sentence: str) -> None:
        text = speakable(sentence, self._base.language)
        if text:
            utterance = next(self._numbers)
            turn.live()
            turn.utterances.append(utterance)
            begins = max(asyncio.get_running_loop().time(), self._said_until)
            self._said_until = begins + len(text) * PER_CHARACTER
            self._post(ResponseChunk(turn.number, utterance, text))
