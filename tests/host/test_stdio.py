"""The line of JSON between the service and its host program: two peers talk over a pair of sockets."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from openclaw_voicecall.errors import CallNotFound, HostError
from openclaw_voicecall.host.stdio import LINE_LIMIT, Peer

pytestmark = pytest.mark.server


async def nobody(method, params):
    raise AssertionError(f"{method} was asked")


@asynccontextmanager
async def two_peers(ours=nobody, theirs=nobody):
    """Ours, theirs, and the writer of theirs for lines that no peer would write."""
    near, far = socket.socketpair()
    streams = [await asyncio.open_connection(sock=end, limit=LINE_LIMIT) for end in (near, far)]
    peers = [Peer(*stream, handle) for stream, handle in zip(streams, (ours, theirs), strict=True)]
    running = [asyncio.create_task(peer.run()) for peer in peers]
    try:
        async with asyncio.timeout(10):
            yield *peers, streams[1][1]
    finally:
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*running)


async def test_a_question_gets_its_answer_and_what_is_told_on_the_way():
    async def theirs(method, params):
        return {"method": method, **params}

    async with two_peers(theirs=theirs) as (ours, _, _):
        assert await ask_twice(ours) == [{"method": "one", "n": 1}, {"method": "two", "n": 2}]


async def ask_twice(peer):
    return await asyncio.gather(peer.ask("one", {"n": 1}), peer.ask("two", {"n": 2}))


async def test_progress_comes_before_the_answer_and_in_order():
    told = []
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    other_reader, other_writer = await asyncio.open_connection(sock=far)
    peer = Peer(reader, writer, nobody)
    running = asyncio.create_task(peer.run())
    asking = asyncio.create_task(peer.ask("agent.turn", {}, progress=told.append))
    assert b'"method":"agent.turn"' in await other_reader.readline()
    other_writer.write(
        b'{"id":"p1","stream":{"delta":"a"}}\n{"id":"p1","stream":{"delta":"b"}}\n{"id":"p1","result":"ab"}\n'
    )
    assert await asking == "ab"
    assert told == [{"delta": "a"}, {"delta": "b"}]
    other_writer.close()
    await running
    writer.close()


async def test_a_refusal_keeps_its_words():
    async def theirs(method, params):
        raise CallNotFound("no call has the id 7")

    async with two_peers(theirs=theirs) as (ours, _, _):
        with pytest.raises(HostError, match="no call has the id 7"):
            await ours.ask("voicecall.end", {"callId": "7"})


async def test_a_bug_on_one_side_is_one_failed_answer(caplog):
    async def theirs(method, params):
        return 1 / params["by"]

    async with two_peers(theirs=theirs) as (ours, _, _):
        with pytest.raises(HostError, match="ZeroDivisionError"):
            await ours.ask("divide", {"by": 0})
        assert await ours.ask("divide", {"by": 1}) == 1
    assert "divide failed" in caplog.text


async def test_a_question_that_is_given_up_stops_the_work_on_it():
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def theirs(method, params):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with two_peers(theirs=theirs) as (ours, _, _):
        asking = asyncio.create_task(ours.ask("agent.turn", {}))
        await begun.wait()
        asking.cancel()
        await stopped.wait()


async def test_when_the_other_side_goes_open_questions_fail_and_later_ones_too():
    begun = asyncio.Event()

    async def theirs(method, params):
        begun.set()
        await asyncio.Event().wait()

    async with two_peers(theirs=theirs) as (ours, _, writer):
        asking = asyncio.create_task(ours.ask("agent.turn", {}))
        await begun.wait()
        writer.close()
        with pytest.raises(HostError, match="gone"):
            await asking
        with pytest.raises(HostError, match="gone"):
            await ours.ask("agent.turn", {})


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"id":7,"method":"x"}\n',
        b'{"id":"p99","result":1}\n',
        b'{"event":"cancel","id":"j9"}\n',
        b'{"event":"cancel"}\n',
        b'"' + b"a" * (LINE_LIMIT + 10) + b'"\n',
        b'"' + b"a" * (3 * LINE_LIMIT) + b'"\n',
    ],
)
async def test_lines_that_mean_nothing_are_skipped(garbage):
    async def theirs(method, params):
        return "still here"

    async with two_peers(theirs=theirs) as (ours, _, writer):
        writer.write(garbage)
        assert await ours.ask("ping", {}) == "still here"
