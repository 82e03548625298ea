"""The same talk with a speech-to-speech model, over OpenAI's SIP endpoint: straight, and connected by Twilio."""

import asyncio

import pytest
from model_line import CALLER, GREETING, OURS
from model_scenes import CONSULTS, REPLIES, check, talking
from sip_line import sip_line, trunk_phone

pytestmark = [pytest.mark.e2e, pytest.mark.timed]


async def test_a_caller_over_a_sip_trunk_holds_the_talk(state_dir, free_port):
    async with (
        sip_line(state_dir, free_port, replies=REPLIES, consults=CONSULTS) as line,
        trunk_phone(line, talking(line), from_number=CALLER) as phone,
    ):
        assert await phone.dial() == 200
        async with asyncio.timeout(60):
            await phone.finished()
        record = await line.last_record()
        check(line, record, phone.heard)
        assert (record["from"], record["to"]) == (CALLER, OURS)


async def test_a_caller_whom_twilio_connects_holds_the_talk(state_dir, free_port):
    async with sip_line(state_dir, free_port, replies=REPLIES, consults=CONSULTS) as line:
        call = await line.twilio.dial_in(CALLER, OURS, talking(line))
        async with asyncio.timeout(60):
            await call.finished()
        record = await line.last_record()
        check(line, record, call.phone.heard)
        assert record["carrier"] == "twilio"


async def test_a_call_that_twilio_places_holds_the_talk(state_dir, free_port):
    async with sip_line(state_dir, free_port, replies=REPLIES, consults=CONSULTS) as line:
        line.twilio.person = talking(line)
        await line.cli("call", "--to", CALLER, "--message", GREETING, "--detach")
        call = await line.twilio.next_call()
        async with asyncio.timeout(60):
            await call.finished()
        check(line, await line.last_record(), call.phone.heard)
