"""What a service tells of the memory and the handles that it holds."""

import asyncio
import gc
import socket
import subprocess
import sys
import threading

import pytest

from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.tokens import LIFE, StreamTokens
from openclaw_voicecall.cli.control import _held
from openclaw_voicecall.server.resources import keep_collections_short, resources

pytestmark = [pytest.mark.server, pytest.mark.timed]


async def test_what_is_opened_is_counted_and_what_is_closed_is_not():
    before = resources()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    task = asyncio.create_task(asyncio.Event().wait())
    with socket.socket(), socket.socket(), open(sys.executable, "rb"):
        during = resources()
    stop.set()
    thread.join()
    task.cancel()
    await asyncio.wait([task])
    after = resources()
    more = {"sockets": 2, "files": 1, "threads": 1, "tasks": 1}
    assert {name: during[name] - before[name] for name in more} == more
    assert {name: after[name] - before[name] for name in more} == dict.fromkeys(more, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
async def test_memory_and_children_are_told():
    gc.collect()
    before = resources()
    block = bytearray(b"x") * 50_000_000
    with subprocess.Popen(["sleep", "60"]) as child:
        during = resources()
        child.kill()
    assert during["rssBytes"] - before["rssBytes"] >= 0.9 * len(block)
    assert during["childProcesses"] == before["childProcesses"] + 1


def test_what_the_start_has_made_is_not_looked_through_again():
    thresholds = gc.get_threshold()
    try:
        keep_collections_short()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def test_status_says_it_in_a_line_and_leaves_out_what_is_unknown():
    held = {"rssBytes": 61_000_000, "streams": 2, "tasks": 31, "sockets": None, "files": None, "threads": 9}
    assert _held(held) == "61 MB of memory, 2 streams, 31 tasks, 9 threads"
    assert _held({"rssBytes": None}) == ""


def test_the_tokens_of_a_call_die_with_it():
    class Clock(SystemClock):
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    tokens = StreamTokens(clock, SystemIds())
    first, second = tokens.mint("one", "twilio"), tokens.mint("two", "twilio")
    assert len(tokens) == 2
    tokens.drop("one")
    assert len(tokens) == 1
    assert tokens.take(first, "twilio") is None
    clock.now = LIFE
    assert len(tokens) == 0
    assert tokens.take(second, "twilio") is None
