"""Calls over OpenAI's SIP endpoint, many at once, each with a fault of its own: on a trunk, and connected by Twilio."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from hearing import LONGEST_SILENCE, first_heard, longest_silence
from model_faults_scenes import APOLOGY, GOODBYE, Mind
from model_line import GREETING, OURS, ModelLine, lines
from sip_line import sip_line, trunk_phone

from openclaw_voicecall.errors import CallNotFound
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.openai_sip import Call as VendorCall
from openclaw_voicecall.testing.emulators.openai_voice_records import VoiceSession
from openclaw_voicecall.testing.emulators.sip_trunk import TrunkPhone
from openclaw_voicecall.testing.emulators.twilio import Call, Person, Pickup
from openclaw_voicecall.testing.emulators.twilio_phone import AUDIBLE, RATE
from openclaw_voicecall.testing.ports import free_port

CALL_LIMIT = 50.0
CROWD = 8
"""Calls on one line at a time: all that is heard in them goes through one process of the test."""
TRACING = {"workflowName": "front office", "metadata": {"desk": "1"}}

_AUDIBLE = bytes((~code & 0x7F) >= AUDIBLE for code in range(256))
_SUBSCRIBERS = count(1)

Script = Callable[[Person], Awaitable[None]]


def some_number() -> str:
    """A number that nobody else has."""
    return f"+1555300{next(_SUBSCRIBERS):04d}"


@dataclass(frozen=True)
class SipHeld:
    """A call that is over, from every side."""

    line: ModelLine
    number: str
    """The far party's."""
    record: dict[str, Any]
    journal: list[dict[str, Any]]
    audio: bytes
    """What the far party heard from the answer on."""
    said: list[tuple[float, bytes]]
    legs: list[VendorCall]
    """The call as OpenAI had it: every time that it was brought there."""
    trunk: TrunkPhone | None = None
    call: Call | None = None

    @property
    def heard(self) -> list[str]:
        """What was heard in the right voice or in the carrier's, in order."""
        return self.line.heard(self.audio)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Who said what, by our record."""
        return lines(self.record)

    @property
    def sessions(self) -> list[VoiceSession]:
        """The model's sessions on it."""
        return [leg.session for leg in self.legs if leg.session is not None]

    @property
    def transfers(self) -> list[tuple[str, str]]:
        """Whom the far party was handed over to, by our record, and what became of it."""
        return [(each["to"], each["result"]) for each in self.record["metadata"].get("transfers", [])]

    @property
    def silence(self) -> float:
        """The longest time, in seconds, in which neither side was to be heard."""
        return longest_silence(self.audio, self.said)

    @property
    def noise(self) -> float:
        """Seconds of audible sound that is no word that anybody was to hear."""
        sound = bytearray(self.audio.translate(_AUDIBLE))
        for found in (*self.line.agent.read(self.audio), *self.line.wrong.read(self.audio)):
            sound[found.start : found.end] = bytes(found.end - found.start)
        return sound.count(1) / RATE

    def told(self, word: str) -> list[dict[str, Any]]:
        """The data of the journal's entries of this name."""
        return [entry["data"] for entry in self.journal if entry["event"] == word]

    def require_live_line(self, *, noise: float = 0.3) -> None:
        """Never silence, nor a wrong voice, nor static; and nothing that a vendor or the trunk had to refuse."""
        assert self.silence <= LONGEST_SILENCE, (self.silence, self.heard)
        assert self.line.heard_wrong(self.audio) == []
        assert self.noise <= noise, self.noise
        if self.trunk is not None:
            assert self.trunk.complaints == []
        if self.call is not None:
            assert self.call.application_error is None
            assert [hook.problem for hook in self.call.webhooks if hook.problem is not None] == []


@dataclass
class SipPlace:
    """A line on which calls are held."""

    line: ModelLine
    client: ControlClient
    mind: Mind
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that is to meet a fault."""
    crowd: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CROWD))

    def talk(self, *questions: tuple[str, str], stays: bool = False, first: str = GREETING) -> Script:
        """Somebody who asks until each question is answered, and hangs up then.

        Args:
            questions: Each with the answer that is waited for.
            stays: Stay on the line until somebody else ends the call.
            first: What is waited for before anything is said.
        """
        spoken = [(self.line.words(question), answer) for question, answer in questions]
        self.line.will_say(APOLOGY, GOODBYE, first, *(answer for _, answer in questions))

        async def person(phone: Person) -> None:
            await first_heard(phone, self.line.agent, first, since=0.0)
            for clip, answer in spoken:
                for _ in range(3):
                    await phone.wait(0.3)
                    await phone.say(clip)
                    if await first_heard(phone, self.line.agent, answer, APOLOGY, GOODBYE) == answer:
                        break
            if stays:
                await phone.listen()
            await phone.wait(0.3)
            phone.hang_up()

        return person

    async def trunk(self, person: Script | None, *, fault: str = "", **options: Any) -> SipHeld:
        """Somebody calls straight over a trunk; returns when all is over.

        Args:
            person: Who calls.
            fault: Befalls this call at OpenAI.
            **options: Of the fault; `refer` is the phone's, and `number` theirs.
        """
        phone_options = {
            key: options.pop(key) for key in ("refer", "refer_pause", "headers") if key in options
        }
        number = options.pop("number", None) or some_number()
        async with self.crowd, trunk_phone(self.line, person, from_number=number, **phone_options) as phone:

            async def whole() -> None:
                if await phone.dial() == 200:
                    await phone.finished()

            try:
                await self._meeting(fault, options, whole)
            except Exception as error:
                raise await self._explained(
                    error, number, bytes(phone.heard) if phone.person else b""
                ) from error
            answered = phone.status == 200
            return await self._held(
                number,
                audio=phone.heard if answered else b"",
                said=phone.line.said if answered else [],
                trunk=phone,
            )

    async def ring(self, person: Script | None, *, fault: str = "", **options: Any) -> SipHeld:
        """Somebody calls a number of Twilio's, which connects them; returns when all is over."""
        number = some_number()
        calls: list[Call] = []

        async def whole() -> None:
            calls.append(await self.line.twilio.dial_in(number, OURS, person))
            await calls[0].finished()

        return await self._over_twilio(number, calls, fault, options, whole)

    async def place(
        self, person: Script | None, *, fault: str = "", order: dict[str, Any] | None = None, **options: Any
    ) -> SipHeld:
        """We call somebody, and Twilio connects them; returns when all is over."""
        number = some_number()
        calls: list[Call] = []

        async def whole() -> None:
            self.line.twilio.pickup, self.line.twilio.person = Pickup(), person
            message = {"message": GREETING, "mode": "conversation"}
            await self.client.place_call({"to": number, **message, **(order or {})})
            calls.append(await self.line.twilio.next_call())
            await calls[0].finished()

        return await self._over_twilio(number, calls, fault, options, whole)

    async def record(self, number: str) -> dict[str, Any]:
        """The record of the call with this number, once it is closed."""
        while True:
            with suppress(CallNotFound):
                record = await self.client.get_call(await self.call_id(number))
                if record["endReason"]:
                    return record
            await asyncio.sleep(0.05)

    async def call_id(self, number: str) -> str:
        """Our id of the call with this number, once there is one."""
        while True:
            for record in await self.client.list_calls(limit=200):
                if number in (record["from"], record["to"]):
                    found: str = record["callId"]
                    return found
            await asyncio.sleep(0.05)

    async def _over_twilio(
        self,
        number: str,
        calls: list[Call],
        fault: str,
        options: dict[str, Any],
        whole: Callable[[], Awaitable[None]],
    ) -> SipHeld:
        try:
            async with self.crowd:
                await self._meeting(fault, options, whole)
        except Exception as error:
            heard = bytes(calls[0].line.heard) if calls and calls[0].answered else b""
            raise await self._explained(error, number, heard) from error
        [call] = calls
        return await self._held(
            number,
            audio=bytes(call.line.heard) if call.answered else b"",
            said=call.line.said if call.answered else [],
            call=call,
        )

    async def _meeting(
        self, fault: str, options: dict[str, Any], whole: Callable[[], Awaitable[None]]
    ) -> None:
        """Hold a call; nobody else begins one until its fault was met, and some time more."""
        settled = options.pop("settled", 1.0)
        vendor, times = self.line.model, int(options.get("times", 1))
        async with self.opening:
            before = vendor.taken.count(fault)
            if fault:
                vendor.fail_next(fault, **options)
            holding = asyncio.ensure_future(asyncio.wait_for(whole(), CALL_LIMIT))
            try:
                while fault and not holding.done() and vendor.taken.count(fault) < before + times:
                    await asyncio.wait({holding}, timeout=0.02)
                # What a call does about its fault, another one must not meet with a fault of its own.
                await asyncio.wait({holding}, timeout=settled if fault else 0.3)
            except asyncio.CancelledError:
                holding.cancel()
                raise
            if holding.done() and fault:
                vendor.heal()
        await holding

    async def _held(self, number: str, **sides: Any) -> SipHeld:
        async with asyncio.timeout(20):
            record = await self.record(number)
        journal = await self.client.journal(record["callId"])
        legs = self.legs(number, record["callId"])
        return SipHeld(self.line, number, record, journal, legs=legs, **sides)

    def legs(self, number: str, call_id: str = "") -> list[VendorCall]:
        """The call with this number, or with this id in its trace, as OpenAI has it."""
        return [
            call
            for call in self.line.model.calls.all
            if any(name == "From" and number in value for name, value in call.headers)
            or any(body["tracing"]["group_id"] == call_id for body in call.accepts)
        ]

    async def _explained(self, error: Exception, number: str, heard: bytes) -> AssertionError:
        records = [
            record
            for record in await self.client.list_calls(limit=200)
            if number in (record["from"], record["to"])
        ]
        told: list[Any] = []
        for record in records:
            journal = await self.client.journal(record["callId"])
            told += [(round(each["elapsed"], 2), each["event"], each["data"]) for each in journal]
        texts = self.line.heard(heard), self.line.heard_wrong(heard)
        said = [lines(record) for record in records]
        return AssertionError(f"{error!r}; heard: {texts}; record: {said}; journal: {told[-25:]}")


@asynccontextmanager
async def sip_place(*, sip: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[SipPlace]:
    """Start a line of its own; `sip` is laid over the settings of the SIP endpoint."""
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    config = {"maxConcurrentCalls": 50, **(options.pop("config", None) or {})}
    config["openai-sip"] = {"tracing": TRACING, **(sip or {})}
    try:
        async with (
            sip_line(folder / "state", free_port(), config=config, **options) as line,
            ControlClient(folder / "state" / "control.sock") as client,
        ):
            yield SipPlace(line, client, Mind(line.model))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
