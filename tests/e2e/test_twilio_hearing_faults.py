"""Whatever the transcriber does, the caller of field report A is heard, or told, and never left in silence."""

import asyncio
import os
from unittest import mock

import pytest
from hearing import APOLOGY, BRIDGE, HeldCall, Lane, Outcomes, Scenario, first_heard, hold, hold_all, patient
from vendor_line import VendorLine

from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
SESSION = "Missing required parameter: 'session'"
ANSWERS = {TIME: NOON, OPEN: FIVE}


def answers(messages, body):
    """The agent knows the answer to each question, and to two in one breath both."""
    said = messages[-1]["content"]
    return " ".join(answer for question, answer in ANSWERS.items() if question in said) or f"You said {said}"


def with_fault(name: str, *talk: tuple[str, str], times: int = 1, **options) -> Scenario:
    async def scenario(line: VendorLine) -> HeldCall:
        line.openai.fail_next(name, times=times, **options)
        return await hold(line, patient(line, *(talk or ((TIME, NOON),))))

    return scenario


async def over_the_greeting(line: VendorLine) -> HeldCall:
    early = line.words(TIME)

    async def person(phone):
        await phone.wait_for_sound()
        await phone.say(early)
        await first_heard(phone, line.agent, NOON)
        phone.hang_up()

    return await hold(line, person)


async def before_hanging_up(line: VendorLine) -> HeldCall:
    question, last = line.words(TIME), line.words("Goodbye and thank you.")

    async def person(phone):
        await first_heard(phone, line.agent, "Hello", since=0.0)
        await phone.say(question)
        await first_heard(phone, line.agent, NOON)
        await phone.say(last)
        await phone.wait(0.2)
        phone.hang_up()

    return await hold(line, person)


@pytest.fixture(scope="module")
def held() -> Outcomes:
    lanes = [
        {
            "refuse-session-once": with_fault("refuse-session"),
            "refuse-session-always": with_fault("refuse-session", (TIME, NOON), (OPEN, FIVE), times=0),
            "beta-half-migrated": with_fault("beta-half-migrated", times=0),
            "over-the-greeting": over_the_greeting,
        },
        {
            "http-401": with_fault("http-401", times=0),
            "http-429": with_fault("http-429"),
            "http-500": with_fault("http-500"),
            "http-500-always": with_fault("http-500", times=0),
        },
        {
            "auth-in-band": with_fault("auth-in-band", times=0),
            "slow-start": with_fault("slow-start", seconds=2.0),
            "no-session-updated": with_fault("no-session-updated"),
            "before-hanging-up": before_hanging_up,
        },
        {
            "close": with_fault("close", seconds=1.0),
            "quiet": with_fault("quiet"),
            "close-after-speech-started": with_fault("close-after-speech-started"),
            "close-after-speech-started-always": with_fault("close-after-speech-started", times=0),
        },
        {
            "failed-item": with_fault("failed-item"),
            "empty-transcript": with_fault("empty-transcript"),
            "out-of-order": with_fault("out-of-order", (TIME, NOON), (OPEN, FIVE)),
            "expire": with_fault("expire", seconds=1.5),
        },
    ]
    return hold_all([Lane(lane, {"respond": answers}) for lane in lanes])


NAMES = ["refuse-session-once", "refuse-session-always", "beta-half-migrated", "over-the-greeting", "http-401", "http-429", "http-500", "http-500-always", "auth-in-band", "slow-start", "no-session-updated", "before-hanging-up", "close", "quiet", "close-after-speech-started", "close-after-speech-started-always", "failed-item", "empty-transcript", "out-of-order", "expire"]


@pytest.mark.parametrize("name", NAMES)
def test_explore(held, name):
    call = held(name)
    print(name, round(call.silence, 2), call.heard, call.transcript, call.record["endReason"], call.call.verbs)
    print("\n".join(call.log))
    print(call.line.openai.refusals, call.line.twilio.refusals)
    call.require_no_dead_line()
