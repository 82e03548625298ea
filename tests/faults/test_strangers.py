"""Strangers cannot fill the door: who really calls is served at once, however many others stand there."""

import asyncio

import pytest
from strangers_flood import Flooded, flood

pytestmark = [pytest.mark.faults, pytest.mark.timeout(90)]

SERVED = 2.0
"""Seconds in which a genuine call must be served."""
GROWN = 16 * 2**20
"""Bytes by which memory may grow."""
USUAL, LONGEST = 0.5, 2.0
"""Seconds for 99 of 100 answers to signed requests, and for each."""


@pytest.fixture(scope="module")
def flooded() -> Flooded:
    return asyncio.run(flood(silent=500, slow=50, half_open=200, wrong_tokens=50, forged=300, reports=200))


def test_a_call_in_the_midst_of_a_crowd_is_served_as_if_there_were_none(flooded):
    (call,) = flooded.calls
    assert call.webhook < SERVED
    assert call.stream < SERVED
    assert flooded.most_strangers > 300, "there was a crowd"


def test_a_call_that_was_there_before_is_not_disturbed(flooded):
    assert flooded.talker["endReason"] == "caller-hung-up"


def test_memory_hardly_grows(flooded):
    assert flooded.grown < GROWN


def test_signed_requests_are_answered_in_time_all_through(flooded):
    assert flooded.percentile(99) < USUAL
    assert max(flooded.answers) < LONGEST


def test_nobody_is_refused_and_who_stands_about_is_sent_away(flooded):
    fates = {fate for kind in flooded.fates.values() for fate in kind}
    assert fates <= {"open", "connecting", "closed", "answered 403"}
    assert flooded.fates["wrong-token"] == {"answered 403": 50}
    assert flooded.fates["silent"]["closed"] > 400
    assert set(flooded.forged) == {401}


def test_the_log_says_so_in_a_few_lines(flooded):
    lines = [line for line in flooded.log.splitlines() if "the public port is crowded" in line]
    assert 1 <= len(lines) <= 3
    assert "Traceback" not in flooded.log
