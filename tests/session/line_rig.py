"""A caller with ears on virtual time, who talks with an agent whose suppliers fail in every way."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from rig import FarEnd, Rig, running_call

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.api.responder import TextDelta
from openclaw_voicecall.api.speech import Heard, SpeechEdge
from openclaw_voicecall.core.events import CallEnded
from openclaw_voicecall.core.policy import CallPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.media.level import is_audible
from openclaw_voicecall.media.vad import EnergyVad
from openclaw_voicecall.session.responding import Fillers
from openclaw_voicecall.testing.emulators.voices import babble

SILENCE = b"\xff" * 160
FRAME = 0.02
AT_ONCE = 5
"""Frames that the network brings together."""
PER_CHARACTER = 0.06
QUESTION = babble("Will you tell me what time it is?", seed="caller")[:12800]
"""1.6 s of a caller's voice."""
GREETING = CallPolicy(greeting="Hello, this is the agent of the house.")
FILLERS = Fillers(
    phrases=("One moment, please.", "I'm still on it."),
    after=2.0,
    every=4.5,
    late="I'm sorry, this is taking longer than usual.",
)


class Ear(FarEnd):
    """A far end that listens: what is audible, when, and whether a piece of speech comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.sounds: list[tuple[float, float]] = []
        self.pieces: list[tuple[float, bytes]] = []
        self.reads = True
        """Whether the network takes what is sent, and anything comes back."""

    async def close(self) -> None:
        """Agree to the end, unless nobody is there to agree."""
        if not self.reads:
            await asyncio.sleep(600)
        await super().close()

    def hang_on(self) -> None:
        """From now on nothing is taken and nothing sent, and what was sent ahead is played."""
        self.reads = False

    def take(self, text: str) -> None:
        """Play it, and note what of it can be heard."""
        if not self.reads:
            return
        message = json.loads(text)
        now = asyncio.get_running_loop().time()
        if message["event"] == "media":
            audio = base64.b64decode(message["media"]["payload"])
            starts = max(now, self._ends)
            for at in range(0, len(audio), 160):
                if is_audible(audio[at : at + 160]):
                    begins = starts + at / 8000
                    self.sounds.append((begins, begins + FRAME))
                    self.pieces.append((begins, audio[at : at + 160]))
        super().take(text)
        if message["event"] == "clear":
            self.sounds = [(begins, ends) for begins, ends in self.sounds if begins < now]
            self.pieces = [(begins, piece) for begins, piece in self.pieces if begins < now]

    def _echo(self, name: str) -> None:
        if self.reads:
            super()._echo(name)


@dataclass
class Voice:
    """A synthesizer that does with each utterance what is next on its list, and goes on with the last."""

    ways: list[str]
    spoken: list[str] = field(default_factory=list)

    async def speak(self, request):
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        frames = max(10, round(len(request.text) * PER_CHARACTER / FRAME))
        await asyncio.sleep(0.2)
        match way:
            case "error":
                raise VendorUnavailable("it fails", vendor="v", operation="speak")
            case "refused":
                raise VendorRejected("it refuses", vendor="v", operation="speak")
            case "bug":
                raise KeyError("a bug of a plugin")
            case "hang":
                await asyncio.sleep(600)
            case "empty":
                return
            case "silent":
                for _ in range(frames // 5 + 1):
                    yield SILENCE * 5
                return
            case "silent-slowly":
                for _ in range(frames):
                    yield SILENCE
                    await asyncio.sleep(0.5)
                return
        self.spoken.append(request.text)
        for index, piece in enumerate(_speech(request.text, frames)):
            if way == "cut" and index > frames // 2:
                raise VendorUnavailable("it breaks off", vendor="v", operation="speak")
            if way == "stops" and index > frames // 2:
                await asyncio.sleep(600)
            if way == "trickle":
                await asyncio.sleep(0.2)
            yield SILENCE if way == "falls-silent" and index > frames // 2 else piece
        if way == "endless":
            while True:
                yield SILENCE * 50
                await asyncio.sleep(0.05)


def code(text: str) -> bytes:
    """Tells the speech of a text from that of others."""
    number = sum(text.encode()) % 97
    return bytes([0x10 + number % 16, 0x10 + number // 16])


def _speech(text: str, frames: int) -> list[bytes]:
    """Loud frames that differ from one another and from those of any other text."""
    name = code(text)
    return [
        bytes([0x0F, 0x8F]) * 76 + (name + bytes([0x10 + at % 16, 0x10 + at // 16])) * 2
        for at in range(frames)
    ]


@dataclass
class Mind:
    """A responder that does with each turn what is next on its list, and goes on with the last."""

    ways: list[str]
    asked: int = 0

    async def respond(self, request):
        self.asked += 1
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        answer = f"This is answer {self.asked}, and it is a good one."
        await asyncio.sleep(0.3)
        match way:
            case "error":
                raise VendorUnavailable("it fails", vendor="m", operation="respond")
            case "bug":
                raise KeyError("a bug of a plugin")
            case "hang":
                await asyncio.sleep(600)
            case "nothing":
                return
            case "spaces":
                while True:
                    yield TextDelta("  \n")
                    await asyncio.sleep(0.1)
            case "unspeakable":
                while True:
                    yield TextDelta("*** ")
                    await asyncio.sleep(0.1)
            case "slow":
                await asyncio.sleep(7.0)
            case "very-slow":
                await asyncio.sleep(13.0)
        yield TextDelta(answer + " ")
        if way == "stops":
            await asyncio.sleep(600)
        if way == "cut":
            raise VendorUnavailable("it breaks off", vendor="m", operation="respond")
        yield TextDelta(f"That was number {self.asked}.")


class EarStream:
    """A transcription stream that hears speech by its energy."""

    def __init__(self, way: str, request) -> None:
        self.request = request
        self._way = way
        self._vad = EnergyVad()
        self._events: asyncio.Queue = asyncio.Queue()
        self._utterances = 0

    async def send(self, audio: bytes) -> None:
        if self._way == "deaf":
            return
        for edge in self._vad.push(audio):
            await self._edge(edge.speaking)

    async def _edge(self, speaking: bool) -> None:
        if self._way == "dies":
            self._events.put_nowait(VendorUnavailable("it breaks off", vendor="t", operation="listen"))
            return
        if speaking:
            self._events.put_nowait(SpeechEdge(True))
            return
        if self._way == "begins":
            return
        if self._way == "half":
            self._events.put_nowait(Heard("What time", False))
            return
        self._events.put_nowait(SpeechEdge(False, 0.3))
        self._utterances += 1
        text = "" if self._way == "wordless" else f"Question {self._utterances}?"
        if self._way != "edges":
            self._events.put_nowait(Heard(text, True))

    async def speech_started(self) -> None: ...

    async def speech_stopped(self) -> None: ...

    async def finish_utterance(self) -> None: ...

    async def __aiter__(self):
        while True:
            event = await self._events.get()
            if isinstance(event, BaseException):
                raise event
            yield event


@dataclass
class Hearing:
    """A transcriber that opens streams of one kind after the other, and goes on with the last."""

    ways: list[str]
    streams: list[EarStream] = field(default_factory=list)

    @asynccontextmanager
    async def open_stream(self, request) -> AsyncIterator[EarStream]:
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        if way == "refuses":
            raise VendorUnavailable("it refuses", vendor="t", operation="open")
        if way == "bug":
            raise KeyError("a bug of a plugin")
        if way == "never-opens":
            await asyncio.sleep(600)
        stream = EarStream(way, request)
        self.streams.append(stream)
        yield stream


class Exchange:
    """A carrier that takes over: it asks how to go on, says what it is told, and hears the caller's words.

    Args:
        call: The call.
        delay: Seconds from the order to take over to the first question.
    """

    def __init__(self, call: Rig, ear: Ear, *, delay: float = 0.4) -> None:
        self._call = call
        self._ear = ear
        self._delay = delay
        self._tasks: set[asyncio.Task] = set()
        self.said: list[str] = []
        self.question: asyncio.Queue[str] = asyncio.Queue()
        self.listens = False
        call.carrier.on_take_over = self.take_over

    def take_over(self) -> None:
        task = asyncio.create_task(self._serve())
        self._tasks.add(task)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self) -> None:
        session = self._call.session
        await asyncio.sleep(self._delay)
        if self._ear.reads:
            self._ear.drop()
        if await session.takeover.next_stream():
            self._ear.reads = True
            self._call.connect()
            return
        line = session.parts.speaking
        while not session.released:
            order = await line.next_order()
            if order.action == "hang-up":
                session.post(CallEnded(EndReason.COMPLETED))
                return
            if order.action == "wait":
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(0.1)
            if order.text:
                self.said.append(order.text)
                now = self._call.now()
                self._ear.sounds.append((now, now + len(order.text) * PER_CHARACTER))
                await asyncio.sleep(len(order.text) * PER_CHARACTER)
            if not order.listen:
                line.said()
                continue
            words = ""
            self.listens = True
            with suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    words = await self.question.get()
            self.listens = False
            line.heard(words, "")


@dataclass
class Caller:
    """Somebody who listens, asks when the line is quiet, and hangs up after some questions.

    Frames come all the time, as on a real line, at the pace of the (virtual) clock; five at a time, to be quick.
    """

    call: Rig
    ear: Ear
    exchange: Exchange | None = None
    questions: int = 2
    said: list[tuple[float, float]] = field(default_factory=list)
    began: float = 0.0
    _audio: deque = field(default_factory=deque)

    async def mouth(self) -> None:
        """Send frames for ever."""
        at = 0
        began = self.call.now()
        while True:
            piece = self._audio.popleft() if self._audio else SILENCE * AT_ONCE
            if self.ear.reads and not self.call.session.takeover.by_turns:
                self.ear.frames(1, at, piece)
            at += 20 * AT_ONCE
            await asyncio.sleep(max(0.0, began + at / 1000 - self.call.now()))

    async def talk(self) -> None:
        """Ask, wait for an answer, ask again."""
        await self._heard_and_quiet()
        for _ in range(self.questions):
            await self.say()
            await self._heard_and_quiet()
        self.call.session.post(CallEnded(EndReason.CALLER_HUNG_UP))

    def say_on(self) -> None:
        """Begin to ask something."""
        size = len(SILENCE) * AT_ONCE
        self._audio += [QUESTION[at : at + size] for at in range(0, len(QUESTION), size)]

    async def say(self) -> None:
        """Ask something."""
        began = self.call.now()
        self.said.append((began, began + len(QUESTION) / 8000))
        if self.exchange is not None and self.call.session.takeover.by_turns:
            await asyncio.sleep(len(QUESTION) / 8000)
            self.exchange.question.put_nowait("Another question?")
        else:
            self.say_on()
            await asyncio.sleep(len(QUESTION) / 8000)

    async def _heard_and_quiet(self) -> None:
        since = self.call.now()
        while True:
            await asyncio.sleep(0.1)
            now = self.call.now()
            heard = [ends for begins, ends in self.ear.sounds if begins < now and ends > since]
            if heard and now - min(now, max(heard)) >= 1.4:
                return

    def heard_at(self, *texts: str) -> float | None:
        """When something of one of these utterances was first heard; None if nothing was."""
        codes = [code(text) for text in texts]
        return min((at for at, piece in self.ear.pieces if piece[-4:-2] in codes), default=None)

    def longest_silence(self) -> float:
        """Seconds in which neither side was to be heard, from the answer to the end of the call."""
        end = next((at for at, _, _, orders in self.call.journal if _ends(orders)), self.call.now())
        last, longest = self.began, 0.0
        for begins, ends in sorted((*self.ear.sounds, *self.said)):
            if begins >= end:
                break
            longest = max(longest, begins - last)
            last = max(last, min(ends, end))
        return max(longest, end - last)


def _ends(orders) -> bool:
    return any(order["command"] in ("HangUp", "ReleaseCall") for order in orders)


def chain(make, ways):
    """One supplier for each item: a way, or a list of ways in the order of its uses."""
    return [make([way] if isinstance(way, str) else list(way)) for way in ways]


@asynccontextmanager
async def conversation(
    *,
    voices=("ok",),
    minds=("ok",),
    hearings=("ok",),
    takes_turns: bool = False,
    questions: int = 2,
    talks: bool = True,
    policy: CallPolicy = GREETING,
    fillers: Fillers = FILLERS,
    **options,
) -> AsyncIterator[Caller]:
    """A caller and an agent with these suppliers, from the greeting on."""
    ear = Ear()
    suppliers = {
        "tts": chain(Voice, voices),
        "llm": chain(Mind, minds),
        "stt": chain(Hearing, hearings),
    }
    capabilities = CarrierCapabilities(turns=takes_turns)
    async with running_call(
        policy, **suppliers, far=ear, fillers=fillers, capabilities=capabilities, **options
    ) as call:
        exchange = Exchange(call, ear) if takes_turns else None
        caller = Caller(call, ear, exchange, questions, began=call.now())
        work = [asyncio.create_task(caller.mouth())]
        if talks:
            work.append(asyncio.create_task(caller.talk()))
        try:
            yield caller
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            if exchange is not None:
                await exchange.close()
