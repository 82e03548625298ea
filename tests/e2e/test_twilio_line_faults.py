"""The line fails in every way it can: sockets, webhooks, reports, the REST API, and the service itself.

Calls that cannot disturb each other share a service and are held at the same time. A fault belongs to the next
occasion at Twilio, so whoever needs one holds the `occasion` until it has struck.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from hearing import BRIDGE, LONGEST_SILENCE, HeldCall
from twilio_scenes import Played, Stage, answering, stage, together
from vendor_line import CALLER, GREETING, OURS, SID

from openclaw_voicecall.testing.emulators.twilio import Call, Pickup
from openclaw_voicecall.testing.emulators.twilio_signing import sign
from openclaw_voicecall.testing.service import CliResult

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
ANSWERS = {TIME: NOON, OPEN: FIVE}
BACK = "I'm here again. Please go on."
TALK = [("caller", TIME), ("agent", NOON), ("caller", OPEN), ("agent", FIVE)]
MESSAGE = "Hello"
UNNOTICED = ("twiml-fetched-twice", "no-marks", "bad-media-signature", "malformed-frames")
STREAMS = ("stream-never-starts", "media-refused", "media-dropped")
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
    async def occasion(self, fault: str = "", times: int = 1):
        """Have a fault for what is done now, and for nothing else."""
        async with self._turn:
            if fault:
                self.twilio.fail_next(fault, times=times)
            yield
            async with asyncio.timeout(10):
                while self.twilio._faults:
                    await asyncio.sleep(0.005)

    async def ring(self, person=None, fault: str = "") -> HeldCall:
        """Somebody calls, and the fault strikes at the beginning."""
        number = next(self._numbers)
        async with self.occasion(fault):
            call = await self.twilio.dial_in(number, OURS, person or self.asks())
            await self.stream_tried(call, fault)
        return await self.over(call)

    async def place(self, person=None, fault: str = "") -> HeldCall:
        """We call somebody, and the fault strikes at the beginning."""
        number = next(self._numbers)
        async with self.occasion(fault):
            self.twilio.person = person or self.asks()
            record = await self.here.client.place_call(
                {"to": number, "message": MESSAGE, "mode": "conversation"}
            )
            call = await self.here.dialled(number)
            await self.stream_tried(call, fault)
        return await self.over(call, record["callId"])

    async def stream_tried(self, call: Call, fault: str) -> None:
        """Wait for the call's first stream, because the faults of streams go to whichever is opened next."""
        async with asyncio.timeout(10):
            while not call.streams and fault != "media-refused":
                await asyncio.sleep(0.005)

    async def over(self, call: Call, call_id: str = "") -> HeldCall:
        scene = await self.here.over(call, call_id)
        return HeldCall(scene.record, scene.journal, call, self.line)

    async def ring_in_vain(self, fault: str) -> tuple[Call, str]:
        """Somebody calls, and is not let in; the call, and the log."""
        async with self.occasion(fault):
            call = await self.twilio.dial_in(next(self._numbers), OURS)
        await call.finished()
        return call, self.line.service.stderr

    async def dial_in_vain(self, fault: str, *, times: int = 1, waits: bool = True) -> Any:
        """The owner calls somebody with the command; without `waits` what comes of it is awaited later."""
        number = next(self._numbers)

        async def outcome() -> Undialled:
            command = await dialling
            record = next(call for call in await self.here.client.list_calls() if call["to"] == number)
            calls = [call for call in self.twilio.calls.values() if call.to_number == number]
            log = [text for text in self.line.service.stderr.splitlines() if record["callId"] in text]
            return Undialled(command, record, calls, log)

        async with self.occasion(fault, times):
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
                # Otherwise the report of this end would meet the fault that is meant for another.
                await next(
                    call for call in self.twilio.calls.values() if call.phone is phone
                ).until_reported()

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

        scenes = {"wrong-token": street.ring_in_vain("bad-signature")}
        scenes |= {fault: street.ring(fault=fault) for fault in UNNOTICED}
        scenes["twiml-fetched-twice-outbound"] = street.place(fault="twiml-fetched-twice")
        scenes |= {fault: street.ring(fault=fault) for fault in STREAMS}
        scenes["cut-thrice"] = street.ring(street.asks(before=cut_thrice))
        scenes["cut-for-good"] = street.ring(street.asks(before=cut_for_good))
        scenes |= {fault: street.place(street.asks(at_end=fault), fault) for fault in REPORTS}
        played = await together(scenes)
        return Played({**played, "strangers": strangers})


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
        # What was surely not carried out is tried four times in all.
        refused = {
            fault: await street.dial_in_vain(fault, times=times)
            for fault, times in (("rest-401", 1), ("rest-429", 4))
        }
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
                "rest-500-limit": street.ring(fault="rest-500"),
            }
        )
        return Played({**played, **refused})


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
def played() -> tuple[Played, Played, Played]:
    async def run() -> tuple[Played, Played, Played]:
        return await asyncio.gather(streams_and_reports(), dials(), a_crash())

    return asyncio.run(run())


@pytest.fixture(scope="module")
def streams(played) -> Played:
    return played[0]


@pytest.fixture(scope="module")
def dialled(played) -> Played:
    return played[1]


@pytest.fixture(scope="module")
def crash(played) -> Played:
    return played[2]


def require_good_end(call: HeldCall, *, reason: str = "caller-hung-up", refusals: int = 0) -> None:
    assert call.silence <= LONGEST_SILENCE
    assert call.call.application_error is None
    assert [hook for hook in call.call.webhooks if hook.problem is not None] == []
    assert call.record["endReason"] == reason
    assert call.call.time_limit == 310, "Twilio itself ends the call, should we not"
    line = call.line
    assert len([refusal for refusal in line.twilio.refusals if call.call.sid in refusal.where]) == refusals
    assert line.openai.refusals == line.chat.refusals == line.elevenlabs.refusals == []
    closed = datetime.fromisoformat(call.record["endedAt"]).timestamp()
    assert closed - call.call.ended < 4.0, "a record is closed soon after its call"


def words(call: HeldCall) -> str:
    """All that was heard, in whatever pieces."""
    return " ".join(call.heard)


@pytest.mark.parametrize("fault", UNNOTICED)
def test_a_caller_does_not_notice(streams, fault):
    call = streams[fault]
    assert words(call) == " ".join([GREETING, NOON, FIVE])
    assert call.transcript == [("agent", GREETING), *TALK]
    assert call.call.said_by_carrier == []
    assert len(call.call.streams) == 1
    require_good_end(call)


def test_twiml_that_is_fetched_twice_is_one_call_with_one_greeting(streams):
    for name, first in (("twiml-fetched-twice", GREETING), ("twiml-fetched-twice-outbound", MESSAGE)):
        call = streams[name]
        asked = [hook for hook in call.call.webhooks if hook.kind == "voice"]
        assert len(asked) == 2
        assert asked[0].body == asked[1].body, "the same answer, with the same stream"
        assert words(call) == " ".join([first, NOON, FIVE])
        assert call.transcript == [("agent", first), *TALK]
        require_good_end(call)


def test_broken_messages_on_a_stream_are_named_and_left_out(streams):
    streams["malformed-frames"].require_log_line("carrier media stream", "JSON", "left out")


def test_a_stream_that_breaks_is_replaced_and_the_talk_goes_on(streams):
    call = streams["media-dropped"]
    (first, *rest), cut = call.heard, call.transcript[0][1]
    assert GREETING.startswith(first), "cut after half a second, more or less"
    assert " ".join(rest) == " ".join([BRIDGE, BACK, NOON, FIVE])
    assert GREETING.startswith(cut)
    assert call.transcript == [("agent", cut), ("agent", BACK), *TALK]
    assert call.call.said_by_carrier == [BRIDGE]
    assert [stream.closed_by for stream in call.call.streams] == ["network", "carrier"]
    call.require_log_line("carrier media stream", "ended while the call goes on", "another one is opened")
    require_good_end(call)


@pytest.mark.parametrize(("fault", "refusals"), [("media-refused", 0), ("stream-never-starts", 1)])
def test_a_stream_that_never_comes_is_done_without(streams, fault, refusals):
    call = streams[fault]
    assert words(call) == " ".join([BRIDGE, GREETING, NOON, FIVE])
    assert call.call.said_by_carrier == [BRIDGE, GREETING, NOON, FIVE]
    assert call.transcript == [("agent", GREETING), *TALK]
    call.require_log_line("carrier media stream", "did not begin", "the carrier speaks and listens")
    require_good_end(call, refusals=refusals)


def test_a_stream_that_breaks_and_does_not_return_is_done_without(streams):
    call = streams["cut-for-good"]
    assert words(call) == " ".join([GREETING, BRIDGE, BRIDGE, BACK, NOON, FIVE])
    assert call.call.said_by_carrier == [BRIDGE, BRIDGE, BACK, NOON, FIVE]
    assert call.transcript == [("agent", GREETING), ("agent", BACK), *TALK]
    call.require_log_line("carrier media stream", "ended while the call goes on", "another one is opened")
    call.require_log_line("carrier media stream", "did not begin", "the carrier speaks and listens")
    require_good_end(call)


def test_a_stream_that_breaks_again_and_again_is_given_up(streams):
    call = streams["cut-thrice"]
    assert words(call).startswith(" ".join([GREETING, BRIDGE]))
    assert words(call).endswith(" ".join([NOON, FIVE]))
    assert words(call).count(BRIDGE) == 3
    assert len(call.call.streams) == 3
    assert call.call.said_by_carrier[-2:] == [NOON, FIVE]
    assert call.transcript[0] == ("agent", GREETING)
    assert call.transcript[-len(TALK) :] == TALK
    call.require_log_line("carrier media stream", "ended", "the carrier speaks and listens")
    require_good_end(call)


@pytest.mark.parametrize("fault", REPORTS)
def test_reports_may_come_twice_late_in_disorder_or_not_at_all(streams, fault):
    call = streams[fault]
    assert words(call) == " ".join([MESSAGE, NOON, FIVE])
    assert call.transcript == [("agent", MESSAGE), *TALK]
    reports = [hook.params["CallStatus"] for hook in call.call.webhooks if hook.kind == "status"]
    assert reports != ["initiated", "ringing", "completed"]
    if fault == "callbacks-lost":
        call.require_log_line("carrier", "reports nothing", "closed")
    require_good_end(call)


def test_webhooks_are_answered_at_once(streams, dialled):
    calls = [call for played in (streams, dialled) for call in played.values() if isinstance(call, HeldCall)]
    latencies = sorted(hook.latency for call in calls for hook in call.call.webhooks)
    assert len(latencies) > 60
    assert latencies[len(latencies) * 99 // 100] < 2.0


def test_nothing_is_believed_that_twilio_has_not_signed(streams):
    met = streams["strangers"]
    assert met["right"][0] == 200
    for name in ("forged", "unsigned", "twice", "forged-first", "forged-last"):
        status, answer = met[name]
        assert status == 401, name
        assert "signature" in answer["error"]


def test_whoever_tries_the_webhook_by_hand_is_told_what_it_is(streams):
    met = streams["strangers"]
    assert met["get"][0] == 200
    assert "webhook of openclaw-voicecall" in met["get"][1]["what"]
    assert met["unsigned"][0] == 401
    assert "webhook of openclaw-voicecall" in met["unsigned"][1]["error"]


def test_a_wrong_token_is_named_in_the_answer_and_in_the_log(streams):
    call, log = streams["wrong-token"]
    assert [hook.status for hook in call.webhooks] == [401]
    assert b"check twilio.authToken" in call.webhooks[0].body
    assert "webhook of twilio refused: the signature does not match; check twilio.authToken" in log


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("rest-401", "check twilio.accountSid and twilio.authToken"),
        ("rest-429", "too many requests"),
        (
            "rest-500",
            "whether the call was placed is unknown, and it is not placed again: Twilio answers 500",
        ),
    ],
)
def test_a_dial_that_fails_says_why_and_is_not_repeated(dialled, fault, cause):
    failed = dialled[fault]
    assert failed.command.exit_code == 69
    assert cause in failed.command.stdout
    assert failed.record["endReason"] == "carrier-error"
    assert cause in failed.record["detail"]
    assert failed.calls == [], "nobody was called, and nothing is billed"
    assert [text for text in failed.log if cause in text and "the call is not placed" in text]


@pytest.mark.parametrize("fault", ["rest-timeout", "rest-lost-reply"])
def test_a_dial_without_an_answer_is_found_again_and_held(dialled, fault):
    call = dialled[fault]
    assert words(call) == " ".join([MESSAGE, NOON, FIVE])
    assert call.transcript == [("agent", MESSAGE), *TALK]
    assert call.record["carrierCallId"] == call.call.sid
    others = [other for other in call.line.twilio.calls.values() if other.to_number == call.call.to_number]
    assert others == [call.call], "dialled once"
    require_good_end(call)


def test_a_hang_up_that_fails_is_tried_again(dialled):
    call = dialled["rest-500-hang-up"]
    assert call.call.ended_by == "api"
    assert words(call) == MESSAGE
    call.require_log_line("carrier hang-up failed", "Twilio answers 500", "tried again")
    require_good_end(call, reason="agent-hung-up")


def test_the_time_limit_of_a_call_that_comes_in_is_set_although_that_fails_once(dialled):
    call = dialled["rest-500-limit"]
    assert words(call) == " ".join([GREETING, NOON, FIVE])
    # On a slow machine the call may be asked after first, and then that question is the one that fails.
    call.require_log_line("carrier", "Twilio answers 500", "again")
    require_good_end(call)


def test_after_a_crash_open_calls_are_hung_up_and_closed_with_the_reason(crash):
    assert crash["seconds"] < 30
    assert crash["ringing"].call.status == "canceled"
    assert crash["ringing"].call.ended_by == "api"
    assert crash["talking"].call.status == "completed"
    for name in ("ringing", "talking"):
        record = crash[name].record
        assert record["endReason"] == "interrupted"
        assert "the service died during the call" in record["detail"]
        assert crash[name].log, "the log of the new process names the call"
    assert crash["talking"].transcript[0][0] == "agent"
    assert len(crash["calls"]) == 2, "nothing is dialled from what was stored"
