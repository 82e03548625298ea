"""What processes of one service give each other: connections with what was read of them, questions and errors."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from openclaw_voicecall.errors import LimitExceeded, ServiceError, VendorUnavailable
from openclaw_voicecall.server.channel import Channel
from openclaw_voicecall.server.crowd import Crowd
from openclaw_voicecall.server.handover import Receiver, Sender, StreamPaths

pytestmark = pytest.mark.server

HEAD = b"GET /s/twilio/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


@asynccontextmanager
async def application(name: str) -> AsyncIterator[web.Server]:
    """Says its name and what it was sent."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{name} {request.path} {(await request.read()).decode()}")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        assert runner.server is not None
        yield runner.server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def two_sites() -> AsyncIterator[tuple[int, Crowd]]:
    """A port whose connections go to one site, or are handed over to the other; and the crowd before the port."""
    giving, taking = socket.socketpair()
    async with application("here") as here, application("there") as there:
        front, back = Crowd(10), Crowd(10)
        sender, paths = Sender(giving), StreamPaths("/s")
        front.pass_on = lambda connection, head: paths.worker(head) == 1 and sender.send(connection, head)
        receiver = Receiver(taking, lambda begun: back.gate(there, begun)())
        receiver.open()
        server = await asyncio.get_running_loop().create_server(front.gate(here), "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1], front
        finally:
            server.close()
            sender.close()
            receiver.close()
            front.close()
            back.close()


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send a request in pieces; the answer's last line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return body


async def test_a_connection_is_served_by_whom_its_path_names():
    async with two_sites() as (port, crowd):
        assert await ask(port, HEAD % b"w1.abc" + b"body") == b"there /s/twilio/w1.abc body"
        assert await ask(port, HEAD % b"abc" + b"body") == b"here /s/twilio/abc body"
        assert await ask(port, HEAD % b"w2.abc" + b"body") == b"here /s/twilio/w2.abc body"
        assert len(crowd) <= 2, "who was handed over stands at this door no more"


async def test_no_byte_of_a_handed_connection_is_lost_wherever_it_is_cut():
    async with two_sites() as (port, _):
        whole = HEAD % b"w1.abc" + b"body"
        cuts = (1, 10, len(whole) - 6, len(whole) - 4, len(whole) - 1)
        answers = await asyncio.gather(*(ask(port, whole[:cut], whole[cut:]) for cut in cuts))
        assert set(answers) == {b"there /s/twilio/w1.abc body"}


async def test_many_connections_at_once_each_get_their_own_answer():
    async with two_sites() as (port, _):
        names = [b"w1.%d" % number for number in range(100)]
        answers = await asyncio.gather(*(ask(port, HEAD % name + b"body") for name in names))
        assert answers == [b"there /s/twilio/" + name + b" body" for name in names]


async def test_nobody_hangs_on_a_connection_that_the_other_process_does_not_take():
    giving, taking = socket.socketpair()
    taking.close()
    async with application("here") as here:
        front, sender = Crowd(10), Sender(giving)
        front.pass_on = lambda connection, head: sender.send(connection, head) or True
        server = await asyncio.get_running_loop().create_server(front.gate(here), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(HEAD % b"w1.abc")
        async with asyncio.timeout(5):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
        writer.close()
        server.close()
        front.close()
        sender.close()


@asynccontextmanager
async def channels(**answers: Any) -> AsyncIterator[tuple[Channel, Channel, list[Any]]]:
    """Two ends; the second answers, and keeps the news it hears."""
    news: list[Any] = []
    one, two = socket.socketpair()
    asking = Channel("worker 1", {}, {})
    answering = Channel("the service", answers, {"news": lambda *facts: news.append(facts)})
    await asking.connect(one)
    await answering.connect(two)
    running = [asyncio.create_task(asking.run()), asyncio.create_task(answering.run())]
    try:
        yield asking, answering, news
    finally:
        asking.close()
        await asyncio.gather(*running)


async def test_answers_find_whoever_asked_in_whatever_order_they_come():
    slow = asyncio.Event()

    async def double(number: int) -> int:
        if number == 1:
            await slow.wait()
        return 2 * number

    async with channels(double=double) as (asking, _, news):
        first = asyncio.create_task(asking.ask("double", 1))
        assert await asking.ask("double", 2) == 4
        slow.set()
        assert await first == 2
        asking.tell("news", 1, "two")
        await asking.ask("double", 3)
        assert news == [(1, "two")]


async def test_an_error_over_there_is_the_same_error_here():
    async def refuse() -> None:
        raise LimitExceeded("outbound.dialsPerMinute: wait")

    async def fail() -> None:
        raise VendorUnavailable("not reached", vendor="twilio", operation="place call", status=503)

    async def break_() -> None:
        raise KeyError("a bug")

    async with channels(refuse=refuse, fail=fail, bug=break_) as (asking, _, _):
        with pytest.raises(LimitExceeded, match="dialsPerMinute"):
            await asking.ask("refuse")
        with pytest.raises(VendorUnavailable) as caught:
            await asking.ask("fail")
        assert (caught.value.vendor, caught.value.status) == ("twilio", 503)
        with pytest.raises(ServiceError, match="a bug"):
            await asking.ask("bug")


async def test_who_waits_for_a_process_that_dies_is_told():
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with channels(never=never) as (asking, answering, _):
        waiting = asyncio.create_task(asking.ask("never"))
        await begun.wait()
        answering.close()
        with pytest.raises(ServiceError, match="worker 1 is gone"):
            await waiting
        with pytest.raises(ServiceError, match="worker 1 is gone"):
            await asking.ask("never")
