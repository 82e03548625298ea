"""The line fails in every way it can: sockets, webhooks, reports, the REST API, and the service itself.

Calls that cannot disturb each other share a service and are held at the same time. A fault belongs to the next
occasion at Twilio, so whoever needs one holds the `occasion` until it has struck.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from hearing import BRIDGE, LONGEST_SILENCE, HeldCall
from twilio_scenes import Played, Stage, answering, stage, together
from vendor_line import CALLER, GREETING, OURS, SID

from openclaw_voicecall.testing.emulators.twilio import Call, Pickup, TwilioEmulator
from openclaw_voicecall.testing.emulators.twilio_signing import sign
from openclaw_voicecall.testing.service import CliResult

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
ANSWERS = {TIME: NOON, OPEN: FIVE}
TALK = [("caller", TIME), ("agent", NOON), ("caller", OPEN), ("agent", FIVE)]
MESSAGE = "Hello"
AT_FIRST = ("twiml-fetched-twice",)
STREAMS = (
    "malformed-frames",
    "no-marks",
    "bad-media-signature",
    "stream-never-starts",
    "media-refused",
    "media-dropped",
)
REPORTS = ("callbacks-duplicated", "callbacks-late", "callbacks-reordered", "callbacks-lost")


@dataclass(frozen=True)
class Undialled:
    """A call that did not come about: what the command said, what is on record, and what Twilio has of it."""

    command: CliResult
    record: dict[str, Any]
    calls: list[Call]
    log: list[str]


class Street:
    """A service, its Twilio, and the order in which faults strike."""

    def __init__(self, here: Stage) -> None:
        self.here, self.line, self.twilio = here, here.line, here.line.twilio
        self.questions = {question: here.line.words(question) for question in ANSWERS}
        self._turn = asyncio.Lock()
        self._numbers = iter(f"+1555000{index:04d}" for index in range(1, 1000))

    @asynccontextmanager
    async def occasion(self, fault: str = "", **options: Any):
        """Have a fault for what is done now, and for nothing else."""
        async with self._turn:
            if fault:
                self.twilio.fail_next(fault, **options)
            yield
            async with asyncio.timeout(10):
                while self.twilio._faults:
                    await asyncio.sleep(0.005)

    async def ring(self, person=None, fault: str = "", **options: Any) -> HeldCall:
        """Somebody calls, and the fault strikes at the beginning."""
        number = next(self._numbers)
        async with self.occasion(fault, **options):
            call = await self.twilio.dial_in(number, OURS, person or self.asks())
            if not fault:
                await call.until_answered()
        return await self.over(call)

    async def place(self, person=None, fault: str = "", *, pickup: Pickup = Pickup(), **options: Any) -> HeldCall:
        """We call somebody, and the fault strikes at the beginning."""
        number = next(self._numbers)
        async with self.occasion(fault, **options):
            self.twilio.pickup, self.twilio.person = pickup, person or self.asks()
            record = await self.here.client.place_call({"to": number, "message": MESSAGE, "mode": "conversation"})
            call = await self.here.dialled(number)
        return await self.over(call, record["callId"])

    async def over(self, call: Call, call_id: str = "") -> HeldCall:
        scene = await self.here.over(call, call_id)
        return HeldCall(scene.record, scene.journal, call, self.line)

    async def ring_in_vain(self, fault: str) -> tuple[Call, str]:
        """Somebody calls, and is not let in; the call, and the log."""
        async with self.occasion(fault):
            call = await self.twilio.dial_in(next(self._numbers), OURS)
        await call.finished()
        return call, self.line.service.stderr

    async def dial_in_vain(self, fault: str, *, waits: bool = True) -> Any:
        """The owner calls somebody with the command; without `waits` what comes of it is awaited later."""
        number = next(self._numbers)

        async def outcome() -> Undialled:
            command = await dialling
            record = next(call for call in await self.here.client.list_calls() if call["to"] == number)
            calls = [call for call in self.twilio.calls.values() if call.to_number == number]
            log = [text for text in self.line.service.stderr.splitlines() if record["callId"] in text]
            return Undialled(command, record, calls, log)

        async with self.occasion(fault):
            order = ("call", "--to", number, "--message", MESSAGE)
            dialling = asyncio.create_task(self.line.cli(*order, json=False, check=False))
        return await outcome() if waits else outcome()

    def asks(self, *, before: Callable[[Any], Awaitable[None]] | None = None, at_end: str = ""):
        """Somebody who listens to the first words, asks both questions, and hangs up."""

        async def person(phone):
            await phone.wait_for_agent(quiet=1.4)
            if before is not None:
                await before(phone)
            for question in ANSWERS:
                await phone.say(self.questions[question])
                await phone.wait_for_agent(quiet=0.8)
            async with self.occasion(at_end):
                phone.hang_up()

        return person

    def call_of(self, phone) -> Call:
        return next(
            call for call in self.twilio.calls.values() if phone.number in (call.from_number, call.to_number)
        )

    async def stream_back(self, phone) -> None:
        """Wait until the call has a stream again."""
        call = self.call_of(phone)
        count = len(call.streams)
        async with asyncio.timeout(10):
            while len(call.streams) == count:
                await asyncio.sleep(0.01)
            await call.streams[-1].started.wait()


async def streams_and_reports() -> Played:
    async with stage(respond=answering(ANSWERS)) as here:
        street = Street(here)
        strangers = await met_by(here)

        async def cut_thrice(phone):
            for comes_back in (True, True, False):
                async with street.occasion():
                    phone.cut_stream()
                    if comes_back:
                        await street.stream_back(phone)
            await phone.wait_for_agent(quiet=1.0)

        async def cut_for_good(phone):
            async with street.occasion("media-refused"):
                phone.cut_stream()
            await phone.wait_for_agent(quiet=2.0)

        wrong_token = await street.ring_in_vain("bad-signature")
        scenes = {fault: street.ring(fault=fault) for fault in AT_FIRST}
        scenes["twiml-fetched-twice-outbound"] = street.place(fault="twiml-fetched-twice")
        scenes |= {fault: street.ring(fault=fault) for fault in STREAMS}
        scenes["cut-thrice"] = street.ring(street.asks(before=cut_thrice))
        scenes["cut-for-good"] = street.ring(street.asks(before=cut_for_good))
        scenes |= {fault: street.place(street.asks(at_end=fault), fault) for fault in REPORTS}
        played = await together(scenes)
        return Played({**played, "strangers": strangers, "wrong-token": wrong_token})


async def met_by(here: Stage) -> dict[str, tuple[int, dict[str, Any]]]:
    """How the webhook's door meets strangers: status and body, by what they try."""
    url = here.line.service.config["publicUrl"]
    form = {
        "AccountSid": SID,
        "CallSid": "CA" + "f" * 32,
        "CallStatus": "completed",
        "Direction": "inbound",
        "From": CALLER,
        "To": OURS,
    }
    good = ("X-Twilio-Signature", sign("emulated-token", url, form.items()))
    forged = ("X-Twilio-Signature", sign("another-token", url, form.items()))
    tries = {
        "right": [good],
        "forged": [forged],
        "unsigned": [],
        "twice": [good, good],
        "forged-first": [forged, good],
        "forged-last": [good, forged],
    }
    met = {}
    async with aiohttp.ClientSession() as web:
        for name, headers in tries.items():
            async with web.post(url, data=form, headers=headers) as answer:
                met[name] = answer.status, {} if answer.status == 200 else await answer.json()
        async with web.get(url) as answer:
            met["get"] = answer.status, await answer.json()
    return met


async def dials() -> Played:
    async with stage(respond=answering(ANSWERS)) as here:
        street = Street(here)
        refused = {fault: await street.dial_in_vain(fault) for fault in ("rest-401", "rest-429")}
        unknown = await street.dial_in_vain("rest-500", waits=False)

        async def hung_up_on(phone):
            await phone.wait_for_agent(quiet=0.5)
            async with street.occasion("rest-500"):
                await here.client.end_call(street.call_of(phone).sid)
            await phone.listen()

        played = await together(
            {
                "rest-500": unknown,
                "rest-lost-reply": street.place(fault="rest-lost-reply"),
                "rest-timeout": street.place(fault="rest-timeout"),
                "rest-500-hang-up": street.place(hung_up_on),
            }
        )
        return Played({**played, **refused, "calls": dict(street.twilio.calls)})


async def a_crash() -> Played:
    async with stage(respond=answering(ANSWERS)) as here:
        twilio, service = here.line.twilio, here.line.service
        twilio.pickup = Pickup(after=30.0)
        await here.client.place_call({"to": CALLER, "message": MESSAGE, "mode": "conversation"})
        ringing = await here.dialled(CALLER)
        talking = await twilio.dial_in("+15550002222", OURS)
        async with asyncio.timeout(10):
            await (await talking.until_answered()).wait_for_agent(quiet=0.1)
            while ringing.status != "ringing":
                await asyncio.sleep(0.01)
        await asyncio.to_thread(service.kill)
        begun = time.monotonic()
        await asyncio.to_thread(service.start)
        async with asyncio.timeout(30):
            await asyncio.gather(ringing.until_over(), talking.until_over())
        results = {
            name: HeldCall(await here.client.get_call(call.sid), [], call, here.line)
            for name, call in (("ringing", ringing), ("talking", talking))
        }
        return Played({**results, "seconds": time.monotonic() - begun, "calls": dict(twilio.calls)})


@pytest.fixture(scope="module")
def held() -> Played:
    async def run() -> Played:
        streams, dialled, crash = await asyncio.gather(streams_and_reports(), dials(), a_crash())
        return Played({**streams, **{f"dial-{k}": v for k, v in dialled.items()}, **{f"crash-{k}": v for k, v in crash.items()}})

    return asyncio.run(run())


def test_print(held):
    for name in dict(held):
        try:
            call = held[name]
        except Exception as error:
            print(name, "FAILED", repr(error)[:1500])
            continue
        if not isinstance(call, HeldCall):
            print(name, call)
            continue
        print(name, call.heard, "SILENCE", call.silence if call.call.phone else None, call.call.application_error, call.record["endReason"], call.record["detail"], call.call.said_by_carrier, call.call.time_limit, call.call.ended_by)
        print("    ", call.transcript, [(hook.kind, hook.status, hook.problem) for hook in call.call.webhooks if hook.problem])
        print("    ", [w.params.get("CallStatus") for w in call.call.webhooks if w.kind=="status"], datetime.fromisoformat(call.record["endedAt"]).timestamp() - call.call.ended)
        print("\n".join(l[36:] for l in call.log))
        print([r for r in call.line.twilio.refusals if call.call.sid in r.where], call.line.openai.refusals)
