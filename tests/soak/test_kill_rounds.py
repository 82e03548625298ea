"""A hundred rounds of `kill -9` at random moments of calls."""

import asyncio

import pytest
from figures import keep
from kill_rounds import kill_rounds

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

ROUNDS = 100


def test_of_a_hundred_kills_none_dials_twice_leaves_a_call_running_or_loses_a_record():
    outcome = asyncio.run(kill_rounds(ROUNDS, seed=100, lines=3))
    keep(
        "kill_rounds",
        rounds=outcome.rounds,
        calls=outcome.calls,
        at_kill=dict(outcome.states_at_kill),
        dialled_twice=len(outcome.dialled_twice),
        left_running=len(outcome.left_running),
        lost=len(outcome.lost),
        never_closed=len(outcome.never_closed),
        without_limit=len(outcome.without_limit),
        slowest_end_s=round(outcome.slowest_end, 2),
        slowest_close_s=round(outcome.slowest_close, 2),
        slowest_start_s=round(outcome.slowest_start, 2),
        seconds=round(outcome.seconds),
        seconds_per_round=round(outcome.seconds / outcome.rounds, 2),
    )
    outcome.require_promises()
    assert outcome.rounds == ROUNDS
    assert outcome.seconds <= 720
