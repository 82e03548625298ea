"""`kill -9` at random moments of calls over Twilio; `make soak` plays a hundred rounds of it."""

import asyncio

import pytest
from kill_rounds import kill_rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


def test_a_killed_service_dials_nobody_twice_leaves_no_call_running_and_loses_no_record():
    outcome = asyncio.run(kill_rounds(4, seed=4, lines=2))
    outcome.require_promises()
    assert outcome.rounds == 4
    assert outcome.calls >= 4
