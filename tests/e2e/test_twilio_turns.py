"""Without a media stream: the carrier speaks and listens, a turn at a time."""

import asyncio

import pytest
from vendor_line import CALLER, GREETING, OURS, lines, placed, vendor_line

pytestmark = pytest.mark.e2e

QUESTIONS = ("Who is this?", "What time is it?", "Are you open?", "Thanks, bye.")
ANSWERS = ("I am Clawdbot.", "It is noon. Anything else?", "Until five.", "Goodbye.")


async def test_the_same_talk_is_held_by_turns(state_dir, free_port):
    off = {"streaming": {"enabled": False}}
    async with vendor_line(state_dir, free_port, config=off, replies=ANSWERS) as line:
        questions = [line.words(text) for text in QUESTIONS]

        async def person(phone):
            for question in questions:
                await phone.wait_for_agent(quiet=0.6)
                await phone.say(question)
            await phone.wait_until_heard("Goodbye.", line.agent)
            await phone.wait(0.5)
            phone.hang_up()

        line.twilio.person = person
        record, call = await placed(line)
        try:
            async with asyncio.timeout(50):
                await call.finished()
        finally:
            print(line.service.stderr, call.verbs, [w.params.get("SpeechResult") for w in call.webhooks])
        record = await line.record(record["callId"])
        assert lines(record) == [
            ("agent", "Hello"),
            ("caller", QUESTIONS[0]),
            ("agent", ANSWERS[0]),
            ("caller", QUESTIONS[1]),
            ("agent", ANSWERS[1]),
            ("caller", QUESTIONS[2]),
            ("agent", ANSWERS[2]),
            ("caller", QUESTIONS[3]),
            ("agent", ANSWERS[3]),
        ]
        assert line.heard(call.phone.heard) == ["Hello", *ANSWERS]
        assert call.application_error is None
        assert not call.streams
        assert line.twilio.refusals == line.chat.refusals == []


async def test_an_inbound_call_by_turns_is_greeted(state_dir, free_port):
    off = {"streaming": {"enabled": False}}
    async with vendor_line(state_dir, free_port, config=off, replies=["It is noon."]) as line:
        question = line.words("What time is it?")

        async def person(phone):
            await phone.wait_until_heard(GREETING, line.agent)
            await phone.say(question)
            await phone.wait_until_heard("It is noon.", line.agent)
            await phone.wait(0.5)
            phone.hang_up()

        call = await line.twilio.dial_in(CALLER, OURS, person)
        async with asyncio.timeout(30):
            await call.finished()
        record = await line.last_record()
        assert lines(record) == [
            ("agent", GREETING),
            ("caller", "What time is it?"),
            ("agent", "It is noon."),
        ]
        assert call.time_limit == 310
        assert line.twilio.refusals == []


@pytest.mark.parametrize("fault", ["media-refused", "stream-never-starts"])
async def test_turns_take_over_when_the_stream_cannot_start(state_dir, free_port, fault):
    async with vendor_line(state_dir, free_port, replies=["It is noon."]) as line:
        line.twilio.fail_next(fault)
        question = line.words("What time is it?")

        async def person(phone):
            await phone.wait_until_heard(GREETING, line.agent, timeout=20)
            await phone.say(question)
            await phone.wait_until_heard("It is noon.", line.agent)
            await phone.wait(0.5)
            phone.hang_up()

        call = await line.twilio.dial_in(CALLER, OURS, person)
        try:
            async with asyncio.timeout(40):
                await call.finished()
        finally:
            print(line.service.stderr, call.verbs)
        record = await line.last_record()
        assert lines(record) == [
            ("agent", GREETING),
            ("caller", "What time is it?"),
            ("agent", "It is noon."),
        ]
