"""Answers that are begun while the caller pauses, over a whole call with every vendor emulated."""

import asyncio
from contextlib import asynccontextmanager

import asking
import pytest
from vendor_line import lines, placed, vendor_line

pytestmark = pytest.mark.e2e

FIRST_HALF, SECOND_HALF = "I would like to book", "a table for us please."
ANSWERS = {
    f"{FIRST_HALF} {SECOND_HALF}": "Your table is booked for tonight.",
    FIRST_HALF: "And what is it that I should book?",
}
PAUSE = b"\xff" * 8 * 350
"""Silence of 350 ms, in which the transcriber gives the words before it, and which ends no turn."""


def answer(messages, body):
    said = [message["content"] for message in messages if message["role"] == "user"]
    return next(reply for text, reply in ANSWERS.items() if text in said[-1])


@asynccontextmanager
async def hesitant_call(state_dir, port, **config):
    """A caller says one sentence with a pause in its middle. Gives the line, the closed record and the call."""
    async with vendor_line(state_dir, port, respond=answer, config=config) as line:
        sentence = line.words(FIRST_HALF) + PAUSE + line.words(SECOND_HALF)

        async def person(phone):
            await phone.wait_for_sound()
            await phone.wait_for_agent(quiet=0.5)
            await phone.say(sentence)
            await phone.wait_for_agent(quiet=1.0)
            phone.hang_up()

        line.twilio.person = person
        record, call = await placed(line)
        async with asyncio.timeout(40):
            await call.finished()
        yield line, await line.record(record["callId"]), call


def outcomes(journal):
    return [entry["data"]["outcome"] for entry in journal if entry["event"] == "rehearsal"]


async def test_a_caller_who_pauses_and_goes_on_never_hears_what_was_begun(state_dir, free_port):
    async with hesitant_call(state_dir, free_port) as (line, record, call):
        whole = f"{FIRST_HALF} {SECOND_HALF}"
        assert lines(record)[1:] == [("caller", whole), ("agent", ANSWERS[whole])]
        assert line.heard(call.phone.heard) == ["Hello", ANSWERS[whole]]
        asked = [request.messages[-1]["content"] for request in line.chat.requests]
        assert asked == [FIRST_HALF, whole], "the first half was answered as well, unheard"
        journal = await asking.journal(line.service, record["callId"])
        assert outcomes(journal) == ["begun", "dropped", "begun", "adopted"]
        (latency,) = [turn for turn in record["latencies"] if turn["headStartMs"] is not None]
        assert latency["headStartMs"] >= 100
        refusals = (line.twilio.refusals, line.openai.refusals, line.chat.refusals, line.elevenlabs.refusals)
        assert refusals == ([], [], [], [])


async def test_switched_off_nothing_is_asked_before_the_turn_is_over(state_dir, free_port):
    async with hesitant_call(state_dir, free_port, endpointing={"speculate": False}) as (line, record, call):
        whole = f"{FIRST_HALF} {SECOND_HALF}"
        assert lines(record)[1:] == [("caller", whole), ("agent", ANSWERS[whole])]
        assert len(line.chat.requests) == 1
        assert line.heard(call.phone.heard) == ["Hello", ANSWERS[whole]]
