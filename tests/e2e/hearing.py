"""Calls with a fault in them, held several at a time: what was heard, when nothing was, and what was written of it."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from vendor_line import OURS, VendorLine, lines, vendor_line

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.twilio import Call, Person
from openclaw_voicecall.testing.emulators.twilio_phone import AUDIBLE, RATE
from openclaw_voicecall.testing.ports import free_port

BRIDGE = "One moment, please."
"""Said by the carrier's voice when the stream is given up, and by the agent's while a reply is awaited."""
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"
RECONNECTED = "I'm here again. Please go on."
"""Said when the audio is back and nothing else is due."""
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
LONGEST_SILENCE = 6.0
"""Seconds that a caller may hear nothing at all, whatever fails."""
CALL_LIMIT = 60.0

_AUDIBLE = bytes((~code & 0x7F) >= AUDIBLE for code in range(256))
"""Mu-law codes to 1 where they can be heard, else 0."""
_SILENCE = re.compile(rb"\x00+")
_SUBSCRIBERS = count(1)
"""Each call has a number of its own: nobody is called again and again within an hour."""


def longest_silence(
    heard: bytes, said: Iterable[tuple[float, bytes]] = (), start: float = 0.0, end: float | None = None
) -> float:
    """The longest time, in seconds, in which neither side of a call was to be heard.

    Args:
        heard: What the caller heard from the answer on, mu-law at 8000 Hz.
        said: What the caller said: seconds since the answer, and the audio.
        start: Seconds since the answer from which on it counts.
        end: Until when; the end of what was heard, if not given.
    """
    sound = bytearray(bytes(heard).translate(_AUDIBLE))
    for at, audio in said:
        begin = round(at * RATE)
        sound[begin : begin + len(audio)] = b"\x01" * max(0, min(len(audio), len(sound) - begin))
    window = sound[round(start * RATE) : None if end is None else round(end * RATE)]
    return max((len(found[0]) for found in _SILENCE.finditer(window)), default=0) / RATE


@dataclass(frozen=True)
class HeldCall:
    """A call that is over, from every side."""

    record: dict[str, Any]
    journal: list[dict[str, Any]]
    call: Call
    line: VendorLine

    @property
    def heard(self) -> list[str]:
        """What the caller heard, as texts, in order."""
        return self.line.heard(self.call.line.heard)

    @property
    def transcript(self) -> list[tuple[str, str]]:
        """Who said what, by our record."""
        return lines(self.record)

    @property
    def caller_words(self) -> list[str]:
        """What the caller said, by our record."""
        return [text for speaker, text in self.transcript if speaker == "caller"]

    @property
    def silence(self) -> float:
        """The longest silence between the answer and the end, in seconds."""
        return longest_silence(self.call.line.heard, self.call.line.said)

    @property
    def log(self) -> list[str]:
        """The lines about this call in the service's log."""
        return [text for text in self.line.service.stderr.splitlines() if self.record["callId"] in text]

    def require_log_line(self, hop: str, cause: str, action: str) -> None:
        """One line of the log names the call, the hop, the cause and what was done about it."""
        found = [text for text in self.log if hop in text and cause in text and action in text]
        assert found, f"no line with {hop!r}, {cause!r} and {action!r} in:\n" + "\n".join(self.log)

    def require_no_dead_line(self) -> None:
        """Nobody sat in silence, Twilio got a usable answer to all it asked, and no vendor had to refuse a request."""
        assert self.silence <= LONGEST_SILENCE, (self.silence, self.heard)
        assert self.call.application_error is None
        assert not [
            (hook.kind, hook.status, hook.problem)
            for hook in self.call.webhooks
            if hook.problem is not None or hook.status is None
        ]
        line = self.line
        assert [line.twilio.refusals, line.openai.refusals, line.chat.refusals, line.elevenlabs.refusals] == [
            []
        ] * 4


Scenario = Callable[[VendorLine], Awaitable[HeldCall]]
"""Holds one call on a running line."""
Outcomes = Callable[[str], HeldCall]
"""Gives a scenario's call by its name, or raises what it failed with."""


@dataclass
class Lane:
    """Scenarios that need the same settings: they are held on one running service, one after the other."""

    scenarios: Mapping[str, Scenario]
    options: Mapping[str, Any] = field(default_factory=dict)
    """For `vendor_line`."""
    prepare: Callable[[AsyncExitStack], Awaitable[Mapping[str, Any]]] | None = None
    """Starts what else is needed, and gives more options."""


def hold_all(lanes: Sequence[Lane]) -> Outcomes:
    """Hold the calls of all lanes, the lanes at the same time."""

    async def run() -> dict[str, HeldCall | BaseException]:
        outcomes: dict[str, HeldCall | BaseException] = {}
        await asyncio.gather(*(_run_lane(lane, outcomes) for lane in lanes))
        return outcomes

    outcomes = asyncio.run(run())

    def outcome(name: str) -> HeldCall:
        held = outcomes[name]
        if isinstance(held, BaseException):
            raise held
        return held

    return outcome


async def hold(
    line: VendorLine, person: Callable[[Person], Awaitable[None]], *, inbound: bool = False
) -> HeldCall:
    """Have the service call somebody with the words `Hello`, as its owner did, and wait until all is over.

    Args:
        line: Where; nobody else may call on it.
        person: What they do.
        inbound: That they call, and hear the greeting first.
    """
    number = f"+1555000{next(_SUBSCRIBERS):04d}"
    async with ControlClient(line.service.state_dir / "control.sock") as client, asyncio.timeout(CALL_LIMIT):
        if inbound:
            call = await line.twilio.dial_in(number, OURS, person)
        else:
            line.twilio.person = person
            await client.place_call({"to": number, "message": "Hello", "mode": "conversation"})
            call = await line.twilio.next_call()
        try:
            await call.finished()
        except TimeoutError as error:
            record = (await client.list_calls(limit=1))[0]
            raise AssertionError(
                f"{error}; on record: {lines(record)}; log:\n{line.service.stderr}"
            ) from error
        while not (record := (await client.list_calls(limit=1))[0])["endReason"]:
            await asyncio.sleep(0.05)
        return HeldCall(
            await client.get_call(record["callId"]), await client.journal(record["callId"]), call, line
        )


async def carrier_listens(phone: Person, line: VendorLine, limit: float = 15.0) -> None:
    """Wait until the newest call goes on without its audio stream."""
    call = list(line.twilio.calls.values())[-1]
    async with asyncio.timeout(limit):
        while not any(verb.startswith("<Gather") for verb in call.verbs):
            await phone.wait(0.05)


async def first_heard(
    phone: Person, book: ClipBook, *texts: str, since: float | None = None, limit: float = 20.0
) -> str:
    """Wait until one of these texts was heard to its end; which one it was.

    Args:
        phone: Who listens.
        book: Knows the audio.
        texts: What to wait for.
        since: Seconds since the answer from which on it counts; now, if not given.
        limit: Seconds.
    """
    begin = round((phone.now if since is None else since) * RATE)
    found: list[str] = []
    try:
        async with asyncio.timeout(limit):
            while True:
                # A voice may say a text sentence by sentence, so it need not be one clip.
                found = [find.clip for find in book.read(bytes(phone.heard[begin:])) if find.whole]
                for text in texts:
                    if text in " ".join(found):
                        return text
                await phone.wait(0.1)
    except TimeoutError:
        raise TimeoutError(f"none of {texts} was heard within {limit:g} s; heard was {found}") from None


def patient(line: VendorLine, *talk: tuple[str, str], tries: int = 3) -> Callable[[Person], Awaitable[None]]:
    """Somebody who asks questions until each is answered, and asks again when the agent says that it must be.

    Args:
        line: Where.
        talk: Each question with its answer.
        tries: How often a question is asked before the caller hangs up.
    """
    spoken = {question: line.words(question) for question, _ in talk}

    async def person(phone: Person) -> None:
        await first_heard(phone, line.agent, "Hello", since=0.0)
        for question, answer in talk:
            for _ in range(tries):
                await phone.wait(0.2)
                await phone.say(spoken[question])
                if await first_heard(phone, line.agent, answer, APOLOGY) == answer:
                    break
        await phone.wait(0.2)
        phone.hang_up()

    return person


async def _run_lane(lane: Lane, outcomes: dict[str, HeldCall | BaseException]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    try:
        async with AsyncExitStack() as stack:
            more = await lane.prepare(stack) if lane.prepare is not None else {}
            line = await stack.enter_async_context(vendor_line(folder, free_port(), **lane.options, **more))
            for name, scenario in lane.scenarios.items():
                try:
                    outcomes[name] = await scenario(line)
                except Exception as error:  # it belongs to the test of that name
                    outcomes[name] = error
                for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs):
                    emulator.heal()
    except BaseException as error:
        for name in lane.scenarios:
            outcomes.setdefault(name, error)
        if not isinstance(error, Exception):
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
