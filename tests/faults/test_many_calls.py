"""Sixty short calls, two of five broken in some way: nothing of them stays behind. `make soak` holds thousands."""

import asyncio

import pytest
from holdings import Tally
from many_calls import many_calls
from short_callers import BROKEN, CAST

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

CALLS = 60
MIB_PER_CALL = 4.0


@pytest.fixture(scope="module")
def tally() -> Tally:
    return asyncio.run(many_calls(CALLS, 30, every=30))


def test_every_call_comes_to_the_end_that_its_kind_has(tally: Tally):
    assert tally.troubles == []
    assert tally.wrong_ends == {}
    assert tally.refusals == []


def test_every_call_has_one_record_and_the_record_is_closed(tally: Tally):
    for kind in set(CAST):
        assert tally.ends[kind].total() == CALLS // len(CAST) * CAST.count(kind), kind
    assert tally.records == tally.calls == CALLS + tally.extra
    assert tally.open_records == 0


def test_no_slot_stream_or_token_is_left_after_twenty_broken_calls(tally: Tally):
    assert sum(tally.ends[kind].total() for kind in BROKEN) >= 20
    assert [held.slots for held in tally.looks] == [{"liveCalls": 0, "streams": 0, "tokens": 0}] * len(
        tally.looks
    )


def test_no_task_socket_file_or_process_is_left(tally: Tally):
    assert tally.left_over == {}


def test_a_live_call_takes_less_than_four_mebibytes(tally: Tally):
    assert tally.mib_per_call <= MIB_PER_CALL


def test_memory_does_not_grow_by_what_a_call_holds(tally: Tally):
    """The warm-up of caches is most of it in so few calls; the slope is measured over thousands."""
    assert tally.growth < CALLS * MIB_PER_CALL / 20
