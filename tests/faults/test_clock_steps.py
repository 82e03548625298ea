"""The wall clock is set, far forward and far back, while calls are live, are dialled, and between two starts.

The service is the real one in a process of its own, and so are its phones. Deadlines lie on the clock that never jumps,
so a call notices nothing.
"""

import asyncio
import os
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from twilio_scenes import Played, Scene, Stage, answering, stage, together
from vendor_line import VendorLine

from openclaw_voicecall.errors import CallNotAllowed, LimitExceeded
from openclaw_voicecall.testing.clocks import SteppedClock
from openclaw_voicecall.testing.emulators.twilio import Person, Pickup

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

HOUR, DAYS = 3600.0, 3 * 86400.0
STEPS = (HOUR, -2 * HOUR, DAYS + HOUR, -DAYS)
"""To one hour ahead, one hour behind, three days ahead, and right again."""
EVERY = 0.7
"""Seconds between two of them."""
GREETING = "Hello."
ANSWERS = {"First.": "The first.", "Second.": "The second."}
TALK = [("agent", GREETING)]
TALK += [line for asked, answer in ANSWERS.items() for line in (("caller", asked), ("agent", answer))]
LONGEST = 4.0
"""Seconds that one of the calls may last."""
CONFIG = {
    "inboundGreeting": GREETING,
    "ringTimeoutMs": 3000,
}


def _minutes_from_now(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%H:%M")


def talk(line: VendorLine) -> Any:
    """Somebody who asks two things and hangs up after the last answer."""
    words = {text: line.words(text) for text in ANSWERS}

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, line.agent)
        for text, clip in words.items():
            await phone.say(clip)
            await phone.wait_until_heard(ANSWERS[text], line.agent)
        phone.hang_up()

    return person


async def patient(phone: Person) -> None:
    """Somebody who says nothing and never hangs up."""
    await phone.listen()


async def steps(clock: SteppedClock) -> None:
    for seconds in STEPS:
        await asyncio.sleep(EVERY)
        clock.step(seconds)


async def play() -> Played:
    """All scenes on one service whose clock is set under way, then what is refused at which time, then a restart."""
    with tempfile.TemporaryDirectory(prefix="ovc-", dir="/tmp") as folder:
        clock = SteppedClock(Path(folder))
        quiet = {"start": _minutes_from_now(30), "end": _minutes_from_now(90), "zones": {"+1555": "UTC"}}
        config = {**CONFIG, "outbound": {"quietHours": quiet}}
        with mock.patch.dict(os.environ, clock.environment):
            async with stage(config, respond=answering(ANSWERS)) as on:
                played = await together(
                    {
                        "steps": steps(clock),
                        "inbound": on.ring("+15550101001", talk(on.line)),
                        "outbound": _rings_long(on),
                        "capped": on.place(
                            "+15550101003", patient, message=GREETING, maxDurationSeconds=LONGEST
                        ),
                        "not answered": _not_answered(on),
                        "local": _rung_by_a_phone(on, Path(folder) / "phone.yaml"),
                    }
                )
                played |= await together({"dials": _dials(on, clock)})
                played |= await together({"restart": _restart(on, clock)})
                return Played(played)


async def _rings_long(on: Stage) -> Scene:
    """Dialled before the first step, answered after the second."""
    return await on.place(
        "+15550101002", talk(on.line), message=GREETING, pickup=Pickup(after=2 * EVERY + 0.2)
    )


async def _not_answered(on: Stage) -> Scene:
    await asyncio.sleep(EVERY / 2)
    return await on.place("+15550101004", pickup=Pickup(after=60.0))


async def _rung_by_a_phone(on: Stage, script: Path) -> dict[str, Any]:
    """A call over the local line, whose phone signs the time of day into every message."""
    script.write_text("name: stays\nsteps:\n  - wait: agent\n  - silence: 3.5\nlinger: 0.1\n")
    for _ in range(3):
        rung = await on.line.cli("phone", "--script", str(script), check=False)
        if "401" not in (rung.json["detail"] or ""):
            break  # else the clock was set between the phone's signing and the service's look at it
    report = rung.json
    async with asyncio.timeout(20):
        while not (record := await on.client.get_call(report["carrierCallId"]))["endReason"]:
            await asyncio.sleep(0.05)
    return {"report": report, "record": record}


async def _dials(on: Stage, clock: SteppedClock) -> dict[str, Any]:
    """What comes of orders at other times of the day, and of a dial whose answer is lost."""
    outcomes: dict[str, Any] = {}

    async def order(name: str, **options: Any) -> None:
        try:
            outcomes[name] = await on.client.place_call(
                {"to": "+15550101005", "message": GREETING}, **options
            )
        except (CallNotAllowed, LimitExceeded) as refusal:
            outcomes[name] = str(refusal)

    on.line.twilio.pickup = Pickup("busy")
    await order("first", key="one-key")
    clock.step(HOUR)
    await order("an hour ahead")
    clock.step(DAYS - HOUR)
    outcomes["lost"] = await _lost(on)
    await order("again, days ahead", key="one-key")
    return outcomes


async def _lost(on: Stage) -> tuple[dict[str, Any], Any]:
    """A dial whose answer is lost, and the reports about it as well, so that only a look into Twilio's list helps."""
    on.line.twilio.fail_next("rest-lost-reply")
    on.line.twilio.fail_next("callbacks-lost", times=0)
    on.line.twilio.pickup = Pickup(after=60.0)
    record = await on.client.place_call({"to": "+15550101007", "message": GREETING})
    async with asyncio.timeout(10):
        while not (record := await on.client.get_call(record["callId"]))["carrierCallId"]:
            await asyncio.sleep(0.02)
    on.line.twilio.heal()
    call = on.line.twilio.calls[record["carrierCallId"]]
    call.hang_up()
    return record, call


async def _restart(on: Stage, clock: SteppedClock) -> dict[str, Any]:
    """The service is killed in a talk, and starts again on a clock that goes two days after it."""
    call = await on.line.twilio.dial_in("+15550101006", "+12670000000", patient)
    await call.until_answered()
    await asyncio.to_thread(on.line.service.kill)
    clock.step(-2 * DAYS)
    await asyncio.to_thread(on.line.service.start)
    async with asyncio.timeout(20):
        await call.finished()
        while not (record := await on.client.get_call(call.sid))["endedAt"]:
            await asyncio.sleep(0.05)
    return {"call": call, "record": record}


@pytest.fixture(scope="module")
def played() -> Played:
    return asyncio.run(play())


def _seconds(record: dict[str, Any], begin: str = "answeredAt", end: str = "endedAt") -> float:
    first, last = (datetime.fromisoformat(record[name]) for name in (begin, end))
    return (last - first).total_seconds()


@pytest.mark.parametrize("name", ["inbound", "outbound"])
def test_a_talk_notices_nothing(played, name):
    scene = played[name]
    assert played["steps"] is None
    assert scene.lines == TALK
    assert scene.record["endReason"] == "caller-hung-up"


def test_a_call_lasts_as_long_as_it_may_and_no_longer(played):
    scene = played["capped"]
    assert scene.record["endReason"] == "max-duration"
    assert LONGEST - 0.5 <= scene.call.line.now <= LONGEST + 6


def test_a_phone_rings_as_long_as_it_may(played):
    assert played["not answered"].record["endReason"] == "no-answer"


def test_messages_that_are_signed_with_the_time_are_taken(played):
    report, record = played["local"]["report"], played["local"]["record"]
    assert report["errors"] == []
    assert record["endReason"] == "caller-hung-up"
    assert [line["text"] for line in record["transcript"]] == [GREETING]


@pytest.mark.parametrize("name", ["inbound", "outbound", "capped"])
def test_a_record_tells_how_long_the_call_really_was(played, name):
    scene = played[name]
    assert _seconds(scene.record) == pytest.approx(scene.call.line.now, abs=5.0)


@pytest.mark.parametrize("name", ["inbound", "outbound", "capped"])
def test_the_journal_goes_forward(played, name):
    for earlier, later in pairwise(played[name].journal):
        assert earlier["elapsed"] <= later["elapsed"]
        assert earlier["at"] <= later["at"]


def test_quiet_hours_follow_the_clock(played):
    assert "quietHours" in played["dials"]["an hour ahead"]


def test_a_key_stands_for_its_call_however_the_clock_is_set(played):
    dials = played["dials"]
    assert dials["again, days ahead"]["callId"] == dials["first"]["callId"]


def test_a_dial_whose_answer_was_lost_is_found_though_the_clock_is_days_ahead(played):
    record, call = played["dials"]["lost"]
    assert call.to_number == "+15550101007" == record["to"]


def test_a_call_that_a_dead_process_left_is_ended_by_the_next_one_whatever_the_time(played):
    record = played["restart"]["record"]
    assert record["endReason"] == "interrupted"
    assert played["restart"]["call"].ended_by in ("api", "twiml")
    assert record["createdAt"] <= record["endedAt"]
