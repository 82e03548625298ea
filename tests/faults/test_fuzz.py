"""Half a minute of hostile input for every parser: none breaks, none takes long, and none is left out."""

import logging
import os
from collections.abc import Iterator
from random import Random

import pytest
from fuzz_common import close_loop
from fuzz_targets import NOT_PARSERS, TARGETS, fuzzed_modules, reading_modules
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from stream_machine import StreamMachine

from openclaw_voicecall.testing.fuzzing import check, fuzz

pytestmark = [pytest.mark.faults, pytest.mark.unhurried]

SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
"""For all targets together."""
SEED = int(os.environ.get("FUZZ_SEED", "1" if os.environ.get("CI") else Random().randrange(2**32)))
"""The same in CI each time, so that a red run can be repeated."""


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What parsers log about each of many thousand inputs would be kept for the report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    close_loop()


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_breaks_no_parser(name: str) -> None:
    outcome = fuzz(TARGETS[name], seconds=SECONDS / len(TARGETS), seed=SEED)
    assert not outcome.findings, outcome.report()
    assert outcome.executions >= 8


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_taken(name: str) -> None:
    random = Random(SEED)
    for _ in range(5):
        finding = check(TARGETS[name], TARGETS[name].make(random), valid=True)
        assert finding is None, f"{finding.what}\n{finding.shown}\n{finding.trace}"


def test_every_module_that_reads_something_is_a_target_or_says_why_not() -> None:
    reading, fuzzed = reading_modules(), fuzzed_modules()
    forgotten = {name: signs for name, signs in reading.items() if name not in fuzzed | NOT_PARSERS.keys()}
    assert not forgotten, (
        f"give these a target in tests/faults/fuzz_*.py, or a reason in NOT_PARSERS: {forgotten}"
    )


def test_no_reason_is_out_of_date() -> None:
    assert not NOT_PARSERS.keys() & fuzzed_modules()
    assert NOT_PARSERS.keys() <= reading_modules().keys() | {"host.stdio", "host.openclaw.install"}


def test_a_media_stream_gives_its_facts_in_order_whatever_comes_between() -> None:
    few = settings(max_examples=60, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(StreamMachine, settings=few)
