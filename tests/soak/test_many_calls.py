"""What four hours of calls would leave behind, compressed into short calls: over Twilio's line and over our own."""

import asyncio
from pathlib import Path

import pytest
from figures import keep
from local_calls import local_calls
from many_calls import many_calls

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

CALLS = 2000
MIB_PER_100_CALLS = 1.0
MIB_PER_LIVE_CALL = 4.0


def test_thousands_of_calls_leave_nothing_behind():
    tally = asyncio.run(many_calls(CALLS, 25))
    keep("many_calls", **tally.figures())
    assert len(tally.troubles) <= CALLS // 200, tally.troubles
    assert sum(found.total() for found in tally.wrong_ends.values()) <= CALLS // 200, tally.wrong_ends
    assert tally.records == tally.calls == CALLS + tally.extra
    assert tally.open_records == 0
    assert [held.slots for held in tally.looks] == [{"liveCalls": 0, "streams": 0, "tokens": 0}] * len(
        tally.looks
    )
    assert tally.left_over == {}
    assert tally.slope < MIB_PER_100_CALLS, [round(held.mib, 1) for held in tally.looks]
    assert tally.mib_per_call <= MIB_PER_LIVE_CALL


def test_calls_of_real_phone_processes_leave_nothing_behind(tmp_path: Path):
    tally = asyncio.run(local_calls(30, 3, tmp_path))
    keep("many_local_calls", **tally.figures())
    assert tally.troubles == []
    assert tally.open_records == 0
    assert tally.left_over == {}
    assert tally.phones == 0
