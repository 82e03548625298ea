"""A few seconds of hostile knocks at every door of a running service, after which it is as well as before."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
from door_knocks import CONFIG, Knocks, genuine_call, resident_mib

from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

SEED = int(os.environ.get("FUZZ_SEED", "1" if os.environ.get("CI") else Random().randrange(2**32)))
PATIENCE = 10.0
"""Seconds: the 6 that are promised, and what a busy machine adds."""
ROOM = 32.0
"""MiB that the service may grow."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("doors") / "s", port=0, config=CONFIG) as running:
        yield running


@pytest.fixture
async def knocks(service: RunningService) -> AsyncIterator[Knocks]:
    """The doors; afterwards the service must be the same process, well, no larger, and without a traceback."""
    pid = service.pid
    async with Knocks.at(service, seed=SEED, patience=PATIENCE) as at_doors:
        await genuine_call(at_doors.line)
        before = resident_mib(pid) if sys.platform == "linux" else 0.0
        yield at_doors
        await genuine_call(at_doors.line)
        async with at_doors.line.http.get(f"{service.url}/healthz") as response:
            assert await response.json() == {"status": "ok"}
        assert (await at_doors.line.client.status())["service"]["pid"] == pid
        assert at_doors.count > 50
        if sys.platform == "linux":
            assert resident_mib(pid) - before < ROOM
    log = service.stderr
    assert "Traceback" not in log, f"seed {SEED}:\n{log[log.find('Traceback') - 500 :][:6000]}"


async def test_broken_requests_are_answered_or_cut_off(knocks: Knocks) -> None:
    await knocks.http(count=150)
    assert 400 in knocks.answers, knocks.answers


async def test_weird_webhooks_with_right_signatures_are_answered(knocks: Knocks) -> None:
    await knocks.webhooks(count=120)
    assert {200, 400} <= knocks.answers.keys(), knocks.answers


async def test_garbage_on_media_streams_ends_them_and_nothing_else(knocks: Knocks) -> None:
    async with asyncio.timeout(60):
        await knocks.media(count=60)


async def test_the_owners_api_refuses_what_it_cannot_use(knocks: Knocks) -> None:
    await knocks.owner(count=300)
    assert {200, 404, 422} <= knocks.answers.keys(), knocks.answers
