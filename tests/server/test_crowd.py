"""Who is let stand at the public door, and who goes first."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from openclaw_voicecall.server import crowd as module
from openclaw_voicecall.server.crowd import HEAD_BYTES, Crowd, trust
from openclaw_voicecall.server.manners import add_manners
from openclaw_voicecall.testing.strangers import Strangers

pytestmark = pytest.mark.server

GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


class Door:
    """A server behind a crowd. `/slow` answers when it is told to; `/known` also, and its visitor is no stranger."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.port = 0
        self.go = asyncio.Event()
        self.asked = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def slow(self, request):
        self.asked += 1
        if request.path == "/known":
            trust(request)
        await self.go.wait()
        return web.Response(text="at last")

    async def body(self, request):
        try:
            return web.Response(text=str(len(await request.read())))
        except ConnectionError:
            raise web.HTTPBadRequest from None

    async def visit(self, sent=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(sent)
        return reader, writer

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def door(calm=32, **options):
    crowd = Crowd(calm, **options)
    opened = Door(crowd)
    app = web.Application()
    add_manners(app)
    app.router.add_get("/slow", opened.slow)
    app.router.add_get("/known", opened.slow)
    app.router.add_post("/body", opened.body)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(crowd.gate(runner.server), "127.0.0.1", 0)
    opened.port = server.sockets[0].getsockname()[1]
    try:
        yield opened
    finally:
        opened.go.set()
        server.close()
        crowd.close()
        await runner.cleanup()
        for writer in opened.writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def answer(reader):
    async with asyncio.timeout(5):
        return (await reader.read()).partition(b"\r\n")[0]


async def until_gone(reader):
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_the_newest_is_never_refused_and_the_oldest_goes():
    async with door(most=3) as opened:
        visits = [await opened.visit() for _ in range(3)]
        await opened.until(lambda: len(opened.crowd) == 3)
        reader, _ = await opened.visit(POST % (b"body", 2) + b"hi")
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        await until_gone(visits[0][0])
        assert len(opened.crowd) == 2
        assert opened.crowd.shed == 1


async def test_who_is_known_stays_however_crowded_it_gets():
    async with door(most=3) as opened:
        known = [await opened.visit(GET % b"known") for _ in range(5)]
        await opened.until(lambda: opened.asked == 5)
        strangers = [await opened.visit() for _ in range(10)]
        await opened.until(lambda: opened.crowd.shed == 7)
        opened.go.set()
        assert [await answer(reader) for reader, _ in known] == [b"HTTP/1.1 200 OK"] * 5
        for reader, _ in strangers[:7]:
            await until_gone(reader)


async def test_a_crowd_is_thinned_after_a_moment(monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.2)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.02)
    async with door(calm=4) as opened, Strangers("127.0.0.1", opened.port) as strangers:
        await strangers.silent(10)
        await opened.until(lambda: len(opened.crowd) == 10)
        assert opened.crowd.shed == 0, "they may be about to say something"
        await opened.until(lambda: len(opened.crowd) == 4)
        await opened.until(lambda: strangers.open == 4)
        assert [member.fate for member in strangers.members] == ["closed"] * 6 + ["open"] * 4


async def test_who_says_nothing_for_long_is_given_up_on(monkeypatch):
    for name, value in (("GRACE", 0.05), ("LOOK_EVERY", 0.02), ("HEAD_LIMIT", 0.2)):
        monkeypatch.setattr(module, name, value)
    async with door() as opened:
        readers = [(await opened.visit(first))[0] for first in (b"", b"G", GET[:20], POST[:30])]
        asking, _ = await opened.visit(GET % b"slow")
        for reader in readers:
            await until_gone(reader)
        assert len(opened.crowd) == 1
        opened.go.set()
        assert await answer(asking) == b"HTTP/1.1 200 OK", "who waits for an answer is let wait"
        assert opened.crowd.shed == 0


async def test_of_those_who_send_much_the_greediest_goes(monkeypatch):
    monkeypatch.setattr(module, "HELD_BYTES", 100_000)
    async with door() as opened:
        greedy, _ = await opened.visit(POST % (b"body", 90_000) + b"x" * 60_000)
        await opened.until(lambda: opened.crowd._held > 60_000)
        modest, writer = await opened.visit(POST % (b"body", 50_000) + b"x" * 49_000)
        await until_gone(greedy)
        writer.write(b"x" * 1000)
        assert await answer(modest) == b"HTTP/1.1 200 OK"
        await opened.until(lambda: not len(opened.crowd))
        assert opened.crowd._held == 0


async def test_a_head_without_end_is_refused():
    async with door() as opened:
        reader, _ = await opened.visit(b"GET /slow HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES)
        assert await answer(reader) == b"HTTP/1.1 431 Request Header Fields Too Large"


async def test_what_is_no_http_is_told_so_at_once():
    async with door() as opened:
        reader, _ = await opened.visit(b"\x16\x03\x01\x02\x00 a handshake of TLS")
        assert (await answer(reader)).startswith(b"HTTP/1.0 400")


async def test_a_head_that_comes_in_pieces_is_a_head_and_a_connection_is_for_one_request():
    async with door() as opened:
        reader, writer = await opened.visit()
        for byte in POST % (b"body", 2):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.write(b"hi" + GET % b"known")
        whole = await reader.read()
        assert whole.count(b"HTTP/1.1") == 1
        assert b"Connection: close" in whole
        assert whole.endswith(b"2")
        assert opened.asked == 0


async def test_a_door_that_is_closed_lets_nobody_stand():
    async with door() as opened:
        reader, _ = await opened.visit()
        await opened.until(lambda: len(opened.crowd) == 1)
        opened.crowd.close()
        await until_gone(reader)
        late, _ = await opened.visit()
        await until_gone(late)
        assert len(opened.crowd) == 0
