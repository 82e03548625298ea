"""A talk with a speech-to-speech model over Twilio's media stream: tools, a barge-in, and the agent's hang-up."""

import asyncio

import pytest
from model_line import CALLER, OURS, model_line
from model_scenes import ANSWERS, CONSULTS, REPLIES, check, talking

pytestmark = [pytest.mark.e2e, pytest.mark.timed]


async def test_a_talk_with_tools_a_barge_in_and_a_hang_up(state_dir, free_port):
    async with model_line(state_dir, free_port, replies=REPLIES, consults=CONSULTS) as line:
        call = await line.twilio.dial_in(CALLER, OURS, talking(line))
        async with asyncio.timeout(60):
            await call.finished()
        record = await line.last_record()
        check(line, record, call.phone.heard)
        [session] = line.model.sessions
        [cut] = [item for item in session.items if item.truncated_ms is not None]
        assert cut.text == ANSWERS[1]
        [heard] = [found for found in line.agent.read(bytes(call.phone.heard)) if found.clip == cut.text]
        assert abs(cut.truncated_ms - (heard.end - heard.start) / 8) <= 60
