"""Ten minutes and more of hostile input: every parser in turn, guided by the code it reaches, then every door."""

import logging
import os
from collections.abc import Iterator
from random import Random

import pytest
from door_knocks import CONFIG, Knocks, genuine_call, resident_mib
from figures import keep
from fuzz_common import close_loop
from fuzz_targets import PACKAGE, TARGETS
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from stream_machine import StreamMachine

from openclaw_voicecall.testing.fuzzing import LineGuide, Outcome, fuzz
from openclaw_voicecall.testing.service import RunningService

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))
"""For all parsers together."""
SEED = int(os.environ.get("FUZZ_SEED", str(Random().randrange(2**32))))
ROUNDS = max(1, round(SECONDS / 60))
"""Of knocks at the doors; one takes about a quarter of a minute."""
PATIENCE = 6.0
ROOM = 32.0
"""MiB that the service may grow."""


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What parsers log about each of many thousand inputs would be kept for the report."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    close_loop()


@pytest.mark.timeout(2 * SECONDS + 600)
def test_hostile_input_breaks_no_parser() -> None:
    print(f"\nFUZZ_SEED={SEED}")
    outcomes = list(outcomes_of(SECONDS))
    found = [outcome for outcome in outcomes if outcome.findings]
    slowest = max(outcomes, key=lambda outcome: outcome.slowest)
    executions = sum(outcome.executions for outcome in outcomes)
    keep(
        "fuzz",
        seed=SEED,
        targets=len(TARGETS),
        executions=executions,
        executions_per_second=round(executions / sum(outcome.elapsed for outcome in outcomes)),
        findings=sum(len(outcome.findings) for outcome in found),
        slowest_input=f"{slowest.slowest * 1000:.0f} ms ({slowest.name})",
    )
    assert not found, "\n\n".join(outcome.report() for outcome in found)


def outcomes_of(seconds: float) -> Iterator[Outcome]:
    """Each target for half of its share as fast as can be, and for the other half guided by the lines it reaches."""
    share = seconds / len(TARGETS) / 2
    for name, target in TARGETS.items():
        plain = fuzz(target, seconds=share, seed=SEED)
        with LineGuide(PACKAGE) as guide:
            guided = fuzz(target, seconds=share, seed=SEED + 1, guide=guide)
        for outcome in (plain, guided):
            rate = outcome.executions / outcome.elapsed
            print(f"{name:26} {outcome.executions:9} inputs {rate:8.0f}/s {outcome.kept:4} kept", flush=True)
            yield outcome


@pytest.mark.timeout(SECONDS + 600)
def test_a_media_stream_gives_its_facts_in_order_whatever_comes_between() -> None:
    many = settings(max_examples=max(60, round(SECONDS * 2)), stateful_step_count=50, deadline=None)
    run_state_machine_as_test(StreamMachine, settings=many)


@pytest.mark.timeout(2 * SECONDS + 600)
async def test_hostile_knocks_leave_the_service_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RunningService(tmp_path_factory.mktemp("doors") / "s", port=0, config=CONFIG) as service:
        async with Knocks.at(service, seed=SEED, patience=PATIENCE) as knocks:
            await one_round(knocks)
            before = resident_mib(service.pid)
            for _ in range(ROUNDS):
                await one_round(knocks)
                assert (await knocks.line.client.status())["service"]["pid"] == service.pid
            grown = resident_mib(service.pid) - before
        log = service.stderr
    keep(
        "fuzz-doors",
        seed=SEED,
        knocks=knocks.count,
        answers=sorted(knocks.answers.items()),
        grown_mib=round(grown, 1),
    )
    assert "Traceback" not in log, log[log.find("Traceback") - 500 :][:6000]
    assert grown < ROOM


async def one_round(knocks: Knocks) -> None:
    await knocks.http(count=300)
    await knocks.webhooks(count=200)
    await knocks.media(count=100)
    await knocks.owner(count=500)
    await genuine_call(knocks.line)
