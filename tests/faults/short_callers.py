"""People whose calls last two or three seconds, some of them cut short, and who of them is at which number just now."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from twilio_scenes import tool
from vendor_line import VendorLine

from openclaw_voicecall.testing.emulators.twilio import Call, Person, Pickup

GREETING, WORD, ANSWER = "Hi.", "Yes.", "Ok."
STORY, LONG, STOP = "Story?", "This is a long story of many words, and it goes on and on.", "Stop."
SAGA, WHOLE_SAGA = "Saga?", " ".join([LONG] * 8)
"""Half a minute of audio, which vendors give much faster than it is heard."""
BYE, FAREWELL = "Bye.", "Bye bye."
ANSWERS = {
    WORD: ANSWER,
    STORY: LONG,
    SAGA: WHOLE_SAGA,
    STOP: ANSWER,
    BYE: [tool("end_call", FAREWELL, reason="done")],
}
HEAR = 10.0
"""Seconds that somebody waits for the agent: far more than it takes."""
QUIET = 0.12
"""Seconds of silence after which the agent has said what it had to say."""
TALKS = ("talk in", "talk out", "farewell in", "talk in", "talk out", "farewell out")
BROKEN = ("reset", "cut off", "never starts", "rejected", "silent", "barge-in", "busy", "failed")
CAST = (*TALKS, *BROKEN[:4], *TALKS, *BROKEN[4:])
"""What becomes of twenty calls in a row; then it begins again."""
STRANGER = "+15550009999"
"""Not in `allowFrom`."""


def number(lane: int) -> str:
    """The number of one of those who may call."""
    return f"+1555010{lane:04d}"


@dataclass
class Resident:
    """Somebody with a phone, for one call."""

    kind: str
    person: Callable[[Person], Awaitable[None]] | None = None
    pickup: Pickup = field(default_factory=Pickup)
    call: "asyncio.Future[Call]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Town:
    """Who is at which number just now, so that many calls at once each meet their own person and their own fault."""

    def __init__(self, line: VendorLine) -> None:
        self.line = line
        self.kinds: dict[str, str] = {}
        """Kinds of calls by Twilio's id."""
        self.at: dict[str, Resident] = {}
        twilio: Any = line.twilio
        self._place, self._new_stream = twilio.place, twilio.new_stream
        twilio.place, twilio.new_stream = self._placed, self._streamed
        twilio.person = self._act

    def refusals(self) -> list[Any]:
        """What vendors had to refuse, but for what comes of the faults."""
        line = self.line
        return [
            refusal
            for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs)
            for refusal in emulator.refusals
            if "3192" not in refusal.why and "3195" not in refusal.why
        ]

    def forget(self, call: Call) -> None:
        """Keep nothing of a call that is over, nor of what vendors noted meanwhile."""
        line = self.line
        line.twilio.calls.pop(call.sid, None)
        line.openai.sessions[:] = [session for session in line.openai.sessions if not session.closed]
        for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs):
            emulator.moments.clear()
        for ledger in (line.chat.requests, line.elevenlabs.spoken, line.elevenlabs.bodies):
            ledger.clear()

    def _placed(self, from_number: str, to_number: str, orders: Any) -> Call:
        resident = self.at[to_number]
        self.line.twilio.pickup = resident.pickup
        call: Call = self._place(from_number, to_number, orders)
        self.kinds[call.sid] = resident.kind
        resident.call.set_result(call)
        return call

    def _streamed(self, call: Call, *noun: Any, **options: Any) -> Any:
        if self.kinds.get(call.sid) == "never starts" and not call.streams:
            self.line.twilio.fail_next("stream-never-starts")
        return self._new_stream(call, *noun, **options)

    async def _act(self, phone: Person) -> None:
        person = self.at[phone.number].person
        if person is not None:
            await person(phone)


def person_of(kind: str, line: VendorLine) -> Callable[[Person], Awaitable[None]] | None:
    """What a person does in a call of some kind; None for silence."""
    match kind:
        case "talk in" | "talk out":
            return talk(line, WORD)
        case "never starts":
            return talk(line, WORD, tries=3)
        case "farewell in" | "farewell out":
            return talk(line, BYE, stays=True)
        case "barge-in":
            return _interrupting(line)
        case "reset":
            return _reset(line)
        case "cut off":
            return _cut_off(line)
        case "silent":
            return _silent
    return None


def talk(
    line: VendorLine, word: str, *, stays: bool = False, tries: int = 1
) -> Callable[[Person], Awaitable[None]]:
    """Say a word after the greeting, and hang up after the answer; or stay until the agent does.

    With several tries it is said again when no answer comes: a carrier that speaks and listens by turns is deaf for a
    moment between them, and the word is shorter than that.
    """
    audio = line.words(word)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        for left in reversed(range(tries)):
            await phone.say(audio)
            if stays:
                await phone.listen()
            with suppress(*[TimeoutError] if left else []):
                await phone.wait_for_agent(QUIET, HEAR / tries)
                break
        phone.hang_up()

    return person


def _interrupting(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    story, stop = line.words(STORY), line.words(STOP)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        await phone.say(story)
        await phone.wait_for_sound(HEAR)
        await phone.wait(0.3)
        await phone.say(stop)
        await phone.wait_for_agent(QUIET, HEAR)
        phone.hang_up()

    return person


def _reset(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    """The network breaks the stream while the caller speaks."""
    audio = line.words(WORD)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(QUIET, HEAR)
        phone.cut_stream()
        await phone.say(audio)
        await phone.wait_for_sound(HEAR)
        phone.hang_up()

    return person


def _cut_off(line: VendorLine) -> Callable[[Person], Awaitable[None]]:
    """Gone in the middle of the own words, after the agent's first."""
    audio = line.words(STORY)

    async def person(phone: Person) -> None:
        await phone.wait_for_sound(HEAR)
        speaking = asyncio.ensure_future(phone.say(audio))
        try:
            await phone.wait(0.2)
            phone.hang_up()
        finally:
            speaking.cancel()

    return person


async def _silent(phone: Person) -> None:
    await phone.wait_for_agent(QUIET, HEAR)
    await phone.wait(1.0)
    phone.hang_up()
