"""What a call has to say before anything else, and which calls are never placed: to Twilio, with the real command."""

import asyncio
import wave
from typing import Any

import numpy as np
import pytest
from twilio_scenes import Played, Scene, Stage, answering, stage, together, tool
from vendor_line import CALLER

from openclaw_voicecall.errors import CallNotAllowed, KeyReused, LimitExceeded, VoiceCallError
from openclaw_voicecall.testing.emulators.twilio import Pickup

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

DISCLOSURE, NOTICE, MESSAGE = "This is a machine.", "It is recorded.", "Your table is booked."
ANOTHER_DISCLOSURE = "This is an AI assistant."
SORRY = "Nobody is there. What now?"
PREMIUM, ABROAD, UNWILLING = "+19005551234", "+4915112345678", "+15550009003"
BUSY = Pickup("busy")
ANSWERS = {
    "Who is calling?": "A machine.",
    "Connect me to the prize.": [tool("transfer_call", "I connect you.", to=PREMIUM)],
    "Good.": "Goodbye.",
}
SAYS_FIRST = {
    "disclosure": DISCLOSURE,
    "recording": {"enabled": True, "notice": NOTICE},
    "phrases": {"transferFailed": SORRY},
}


def quiet_caller_until(record: dict[str, Any], seconds: float) -> bool:
    """Whether the caller's channel of the recording is silent until then, and not for all time."""
    with wave.open(record["recording"]) as file:
        caller = np.frombuffer(file.readframes(file.getnframes()), "<i2")[::2]
    loud = np.flatnonzero(np.abs(caller.astype(int)) > 500)
    return bool(len(loud)) and loud[0] / 8000 >= seconds


async def talked_over(on: Stage, *, place: bool) -> tuple[Scene, bool]:
    """Somebody speaks as soon as there is a sound, and once more at the end."""
    early, late = on.line.words("Who is calling?"), on.line.words("Good.")

    async def person(phone: Any) -> None:
        await phone.wait_for_sound()
        await phone.say(early)
        await phone.wait_for_agent(quiet=1.5)
        await phone.say(late)
        await phone.wait_for_agent(quiet=0.5)
        phone.hang_up()

    scene = await (
        on.place("+15550009001", person, message=MESSAGE) if place else on.ring("+15550009002", person)
    )
    times = {
        entry["event"]: entry["elapsed"] for entry in scene.journal if entry["event"] == "MediaConnected"
    }
    told = next(entry for entry in scene.journal if entry["data"].get("line") == "recording")
    return scene, quiet_caller_until(scene.record, told["elapsed"] - times["MediaConnected"] - 0.1)


async def wants_the_prize(on: Stage) -> Scene:
    wish, good = on.line.words("Connect me to the prize."), on.line.words("Good.")

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.8)
        await phone.say(wish)
        await phone.wait_for_agent(quiet=1.2)
        await phone.say(good)
        await phone.wait_for_agent(quiet=0.5)
        phone.hang_up()

    return await on.place("+15550009004", person, message=MESSAGE)


async def with_lines() -> Played:
    async with stage(SAYS_FIRST, respond=answering(ANSWERS)) as on:
        return await together(
            {
                "outbound": talked_over(on, place=True),
                "inbound": talked_over(on, place=False),
                "prize": wants_the_prize(on),
            }
        )


async def by_turns() -> Played:
    config = {"streaming": {"enabled": False}, "disclosure": ANOTHER_DISCLOSURE}

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=3.0)
        phone.hang_up()

    async with stage(config, respond=answering(ANSWERS)) as on:
        return Played(turns=await on.place(person=person, message=MESSAGE))


async def refused(order: Any) -> tuple[type[VoiceCallError] | None, str]:
    """Which error came of it, and what it says."""
    try:
        await order
    except VoiceCallError as error:
        return type(error), str(error)
    return None, ""


async def with_limits() -> Played:
    async with stage({"outbound": {"dialsPerMinute": 100, "dialsPerNumberPerHour": 2}}) as on:
        played = Played()
        line, client = on.line, on.client
        line.twilio.pickup = BUSY
        order = {"to": CALLER, "mode": "conversation", "message": MESSAGE}
        both = await asyncio.gather(*(client.place_call(order, key="booking-7") for _ in range(2)))
        played["at once"] = {record["callId"] for record in both}
        await line.record(both[0]["callId"])
        played["other order"] = await refused(client.place_call({**order, "message": "No."}, key="booking-7"))
        await asyncio.to_thread(line.service.restart)
        again = ("call", "--to", CALLER, "--message", MESSAGE, "--idempotency-key", "booking-7", "--detach")
        played["after a restart"] = (await line.cli(*again)).json
        played["dialled once"] = len(line.twilio.calls)
        await client.place_call(order)
        played["third"] = await refused(client.place_call(order))
        played["premium"] = await refused(client.place_call({**order, "to": PREMIUM}))
        played["abroad"] = await refused(client.place_call({**order, "to": ABROAD}))
        await line.cli("optout", "add", UNWILLING)
        played["unwilling"] = await refused(client.place_call({**order, "to": UNWILLING}))
        await line.cli("optout", "remove", UNWILLING)
        await client.place_call({**order, "to": UNWILLING})
        async with asyncio.timeout(10):
            while len(line.twilio.calls) < 3:
                await asyncio.sleep(0.02)
        played["dialled"] = [call.to_number for call in line.twilio.calls.values()]
        played["kept"] = (await line.cli("calls")).json
    return played


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        parts = await asyncio.gather(with_lines(), by_turns(), with_limits())
        return Played({name: item for part in parts for name, item in part.items()})

    return asyncio.run(everything())


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_the_lines_are_heard_first_and_whole_although_the_caller_talks_over_them(played, direction):
    scene, _ = played[direction]
    first, second = (found for found in scene.found[:2])
    assert (first.clip, first.whole) == (DISCLOSURE, True)
    assert (second.clip, second.whole) == (NOTICE, True)
    agent = [text for speaker, text in scene.lines if speaker == "agent"]
    assert agent[:2] == [DISCLOSURE, NOTICE]


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_the_journal_says_that_they_were_said(played, direction):
    scene, _ = played[direction]
    said = [entry["data"] for entry in scene.journal if entry["event"] == "must-say"]
    assert said == [{"line": "disclosure", "text": DISCLOSURE}, {"line": "recording", "text": NOTICE}]


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_nobody_is_recorded_before_they_know_of_it(played, direction):
    _, quiet = played[direction]
    assert quiet


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_what_was_said_over_the_lines_is_answered(played, direction):
    scene, _ = played[direction]
    assert ("caller", "Who is calling?") in scene.lines
    assert ("agent", "A machine.") in scene.lines


def test_a_call_by_turns_goes_on_at_once_after_the_line(played):
    scene = played["turns"]
    assert [text for speaker, text in scene.lines if speaker == "agent"][:2] == [ANOTHER_DISCLOSURE, MESSAGE]
    starts = {found.clip: found.start for found in reversed(scene.found)}
    assert starts[MESSAGE] / 8000 - scene.ends(ANOTHER_DISCLOSURE) < 3.0


def test_nobody_is_handed_over_to_a_number_that_may_not_be_dialled(played):
    scene = played["prize"]
    refusal = next(entry for entry in scene.journal if entry["event"] == "transfer-refused")
    assert refusal["data"]["to"] == PREMIUM
    assert "outbound.allow" in refusal["data"]["detail"]
    assert ("agent", SORRY) in scene.lines
    assert ("agent", "Goodbye.") in scene.lines


def test_a_key_dials_once_also_at_the_same_time_and_after_a_restart(played):
    (call_id,) = played["at once"]
    assert played["after a restart"]["callId"] == call_id
    assert played["after a restart"]["endReason"] == "busy"
    assert played["dialled once"] == 1


def test_a_key_that_comes_with_another_order_is_a_mistake(played):
    error, text = played["other order"]
    assert error is KeyReused
    assert "booking-7" in text


def test_a_number_is_not_called_too_often_also_after_a_restart(played):
    error, text = played["third"]
    assert error is LimitExceeded
    assert "outbound.dialsPerNumberPerHour" in text


@pytest.mark.parametrize(
    ("order", "setting"),
    [("premium", "outbound.allow"), ("abroad", "outbound.countries"), ("unwilling", "opt-out list")],
)
def test_numbers_that_may_not_be_dialled_are_refused_with_what_to_do(played, order, setting):
    error, text = played[order]
    assert error is CallNotAllowed
    assert setting in text


def test_what_was_refused_never_reached_twilio_and_left_no_record(played):
    assert played["dialled"] == [CALLER, CALLER, UNWILLING]
    assert len(played["kept"]) == 3
