"""The configuration of an agent reported as deaf holds a talk: what was said is what was heard and written down."""

import asyncio

import pytest
from vendor_line import lines, placed, vendor_line

pytestmark = pytest.mark.e2e

QUESTIONS = (
    "Hi, who is this?",
    "What can you do?",
    "When are you open?",
    "Thank you, goodbye.",
)
ANSWERS = (
    "I am Clawdbot. Nice to meet you.",
    "I take messages. Just ask me.",
    "From nine to five. On Sundays we are closed.",
    "Goodbye.",
)


async def test_four_turns_are_held_and_recorded_as_they_were_said(state_dir, free_port):
    async with vendor_line(state_dir, free_port, replies=ANSWERS) as line:
        questions = [line.words(text) for text in QUESTIONS]

        async def person(phone):
            await phone.wait_for_sound()
            await phone.wait_for_agent(quiet=0.3)
            for question in questions:
                await phone.say(question)
                await phone.wait_for_agent(quiet=1.0)
            phone.hang_up()

        line.twilio.person = person
        record, call = await placed(line)
        async with asyncio.timeout(60):
            await call.finished()
        record = await line.record(record["callId"])
        assert [text for speaker, text in lines(record) if speaker == "caller"] == list(QUESTIONS)
        assert [text for speaker, text in lines(record) if speaker == "agent"] == ["Hello", *ANSWERS]
        assert line.heard(call.phone.heard)
        assert (
            line.twilio.refusals
            == line.openai.refusals
            == line.chat.refusals
            == line.elevenlabs.refusals
            == []
        )
