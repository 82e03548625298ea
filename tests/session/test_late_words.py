"""A transcriber that gives words only after the caller's pause: a yielded agent waits for them."""

import asyncio
from dataclasses import replace

import pytest
from rig import running_call

from openclaw_voicecall.api.carrier import CarrierCapabilities
from openclaw_voicecall.calls.tuning import LONG_WITHOUT_WORDS, LONGEST_INTERRUPTION, TAKEOVER, tuned_policy
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.core.policy import CallPolicy

pytestmark = [pytest.mark.session, pytest.mark.looptime]

CONFIG = build_config_model()
STREAMS = CarrierCapabilities()
TURNS = CarrierCapabilities(turns=True)
LONG = "This is a long sentence that goes on for quite a while, and here comes another part of it."


async def test_nobody_is_talked_over_who_interrupts_for_long():
    policy = tuned_policy(CallPolicy(greeting=LONG), CONFIG(), STREAMS, interims=False)
    async with running_call(policy, replies=["All right."]) as call:
        await call.until(lambda: call.far.heard)
        await asyncio.sleep(1.0)
        call.stream.edge(speaking=True)
        began = call.now()
        await asyncio.sleep(4.0)
        assert max(end for _, end in call.far.heard) <= began + 0.05, "the agent went on over the caller"
        call.stream.on_finish = "No wait, tell me of Lima."
        call.stream.edge(speaking=False, ago=0.5)
        await call.until(lambda: call.lines and call.lines[-1].text == "All right.")
        assert LONG not in [line.text for line in call.lines]


def test_the_agent_waits_as_long_as_words_may_take_to_come():
    policy = CallPolicy()
    tuned = tuned_policy(policy, CONFIG(), STREAMS, interims=False).barge_in
    assert tuned.resume_after == policy.endpointing.after + policy.endpointing.transcript_wait
    assert tuned.noise_after == LONGEST_INTERRUPTION
    assert tuned_policy(policy, CONFIG(), STREAMS, interims=False).endpointing.stale_after is None
    assert tuned_policy(policy, CONFIG(), STREAMS, interims=True) == policy
    rare = tuned_policy(policy, CONFIG(), STREAMS, interims=True, steady=False)
    assert rare.endpointing.stale_after == LONG_WITHOUT_WORDS


def test_what_the_owner_set_is_left_alone():
    config = CONFIG.model_validate({"interruptions": {"resumeAfterMs": 700, "noiseAfterMs": 1100}})
    policy = config.call_policy("inbound", "conversation")
    assert tuned_policy(policy, config, STREAMS, interims=False).barge_in == policy.barge_in


def test_a_carrier_that_takes_over_is_given_the_time_for_it():
    policy = tuned_policy(CallPolicy(), CONFIG(), TURNS, interims=True)
    assert policy == replace(CallPolicy(), media_grace=5.0 + TAKEOVER)


def test_answers_are_begun_early_only_with_leave_of_responder_and_owner_and_on_a_line_of_ours():
    off = CONFIG.model_validate({"endpointing": {"speculate": False}})
    by_turns = CONFIG.model_validate({"streaming": {"enabled": False}})

    def begins(config, line=STREAMS, *, speculates=True, respond=True, led=False):
        policy = CallPolicy(respond=respond)
        tuned = tuned_policy(policy, config, line, interims=False, speculates=speculates, led=led)
        return tuned.speculation.enabled

    assert begins(CONFIG())
    assert not begins(CONFIG(), speculates=False)
    assert not begins(off)
    assert not begins(CONFIG(), led=True)
    assert not begins(by_turns, TURNS)
    assert not begins(CONFIG(), respond=False)


def test_who_asks_a_transcriber_for_words_early_waits_for_the_caller_as_long_as_it_would_have():
    tuned = tuned_policy(CallPolicy(), CONFIG(), STREAMS, interims=False, speculates=True, closes_after=0.8)
    assert not tuned.speculation.on_interims
    silence = tuned.endpointing
    assert (silence.after, silence.after_question, silence.after_digits) == (0.8, 0.8, 1.2)
    assert tuned.barge_in.resume_after == 0.8 + silence.transcript_wait


def test_a_carrier_that_listens_has_waited_for_the_end_of_the_turn_already():
    config = CONFIG.model_validate({"streaming": {"enabled": False}})
    quick = tuned_policy(CallPolicy(), config, TURNS, interims=True).endpointing
    assert (quick.after, quick.after_question, quick.after_digits) == (0.0, 0.0, 0.0)
