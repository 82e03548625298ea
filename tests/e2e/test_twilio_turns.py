"""Without a media stream: the carrier speaks and listens, a turn at a time."""

import pytest
from hearing import BRIDGE, HeldCall, Lane, first_heard, hold, hold_all
from vendor_line import GREETING, VendorLine

pytestmark = pytest.mark.e2e

QUESTIONS = ("Who is this?", "What time is it?", "Are you open?", "Thanks, bye.")
ANSWERS = ("I am Clawdbot.", "It is noon. Anything else?", "Until five.", "Goodbye.")
NOON = ("What time is it?", "It is noon.")
OFF = {"streaming": {"enabled": False}}


async def four_turns(line: VendorLine) -> HeldCall:
    spoken = [line.words(question) for question in QUESTIONS]

    async def person(phone) -> None:
        for question in spoken:
            await phone.wait_for_agent(quiet=0.6)
            await phone.say(question)
        await first_heard(phone, line.agent, "Goodbye.")
        await phone.wait(0.5)
        phone.hang_up()

    return await hold(line, person)


async def greeted(line: VendorLine) -> HeldCall:
    question = line.words(NOON[0])

    async def person(phone) -> None:
        await first_heard(phone, line.agent, GREETING, since=0.0)
        await phone.say(question)
        await first_heard(phone, line.agent, NOON[1])
        await phone.wait(0.5)
        phone.hang_up()

    return await hold(line, person, inbound=True)


def never_begins(fault: str):
    async def scenario(line: VendorLine) -> HeldCall:
        line.twilio.fail_next(fault)
        return await greeted(line)

    return scenario


@pytest.fixture(scope="module")
def held():
    return hold_all(
        [
            Lane({"four turns": four_turns}, {"config": OFF, "replies": ANSWERS}),
            Lane({"greeted": greeted}, {"config": OFF, "replies": [NOON[1]]}),
            Lane({"media-refused": never_begins("media-refused")}, {"replies": [NOON[1]]}),
            Lane({"stream-never-starts": never_begins("stream-never-starts")}, {"replies": [NOON[1]]}),
        ]
    )


def test_the_same_talk_is_held_by_turns(held):
    call = held("four turns")
    talk = zip(QUESTIONS, ANSWERS, strict=True)
    said = [("agent", "Hello"), *(line for q, a in talk for line in (("caller", q), ("agent", a)))]
    assert call.transcript == said
    assert call.heard == ["Hello", *ANSWERS]
    assert not call.call.streams
    call.require_no_dead_line()


def test_an_inbound_call_by_turns_is_greeted(held):
    call = held("greeted")
    assert call.transcript == [("agent", GREETING), ("caller", NOON[0]), ("agent", NOON[1])]
    assert call.call.time_limit == 310
    call.require_no_dead_line()


@pytest.mark.parametrize("fault", ["media-refused", "stream-never-starts"])
def test_turns_take_over_when_the_stream_cannot_start(held, fault):
    call = held(fault)
    assert call.transcript == [("agent", GREETING), ("caller", NOON[0]), ("agent", NOON[1])]
    assert call.heard == [BRIDGE, GREETING, NOON[1]]
    assert call.silence <= 6.0
