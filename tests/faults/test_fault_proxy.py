"""The bad network does what its name says, and nothing else."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from openclaw_voicecall.testing.faults import Direction, FaultProxy

pytestmark = pytest.mark.faults

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxy_to(handler: Handler = echo) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, FaultProxy("127.0.0.1", port) as proxy:
        yield proxy
    await server.wait_closed()


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_healthy_proxy_changes_nothing() -> None:
    sent = bytes(range(256)) * 2000
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        assert proxy.accepted == proxy.open_connections == 1
        assert proxy.forwarded == {Direction.TO_SERVER: len(sent), Direction.TO_CLIENT: len(sent)}


async def test_the_end_of_one_direction_is_passed_on_while_the_other_goes_on() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(b"last words")
        writer.write_eof()
        assert await reader.read(-1) == b"last wordsend"


async def test_delayed_bytes_come_late_and_in_order() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.delay(0.15, Direction.TO_CLIENT)
        began = time.monotonic()
        for number in range(5):
            writer.write(b"%d" % number)
            await writer.drain()
        assert await reader.readexactly(5) == b"01234"
        assert 0.14 < time.monotonic() - began < 2


async def test_a_throttled_line_is_no_faster_than_told() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.throttle(20_000, Direction.TO_SERVER)
        began = time.monotonic()
        writer.write(bytes(6_000))
        await reader.readexactly(6_000)
        assert time.monotonic() - began > 0.28


async def test_dropped_bytes_never_come_and_the_connection_stays() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.drop(Direction.TO_SERVER)
        writer.write(b"lost")
        async with asyncio.timeout(5):
            await proxy.until(lambda: proxy.dropped[Direction.TO_SERVER] == 4)
        proxy.heal()
        writer.write(b"found")
        assert await reader.readexactly(5) == b"found"
        assert proxy.forwarded[Direction.TO_SERVER] == 5


async def test_a_cut_is_an_error_and_not_an_end() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        async with asyncio.timeout(5):
            await proxy.until(lambda: not proxy.open_connections)


@asynccontextmanager
async def proxy_to_a_waiting_server() -> AsyncIterator[tuple[FaultProxy, asyncio.Future[BaseException]]]:
    seen: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(100)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            seen.set_result(error)
        finally:
            writer.close()

    async with proxy_to(wait_for_the_end) as proxy:
        yield proxy, seen


async def test_the_server_sees_the_cut_too() -> None:
    async with proxy_to_a_waiting_server() as (proxy, seen), client(proxy) as (_, writer), asyncio.timeout(5):
        writer.write(b"hello")
        await proxy.until(lambda: proxy.forwarded[Direction.TO_SERVER] == 5)
        proxy.cut()
        assert isinstance(await seen, ConnectionResetError)


async def test_a_client_that_breaks_off_is_a_break_for_the_server() -> None:
    async with proxy_to_a_waiting_server() as (proxy, seen), client(proxy) as (_, writer), asyncio.timeout(5):
        writer.write(b"hello")
        await proxy.until(lambda: proxy.forwarded[Direction.TO_SERVER] == 5)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert isinstance(await seen, ConnectionResetError)


async def test_a_message_is_cut_in_the_middle() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.cut_after(1_000, Direction.TO_SERVER)
        writer.write(bytes(5_000))
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionResetError):
                await reader.read(-1)
        assert proxy.forwarded[Direction.TO_SERVER] == 1_000


async def test_a_stalled_line_holds_everything_back_until_it_heals() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.stall()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(4), 0.1)
        assert proxy.forwarded[Direction.TO_SERVER] == 0
        proxy.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"held"


async def test_a_sender_blocks_on_a_stalled_line() -> None:
    async with proxy_to() as proxy, client(proxy) as (_, writer):
        proxy.stall(Direction.TO_SERVER)

        async def send_without_end() -> None:
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_without_end(), 0.5)
        assert proxy.forwarded[Direction.TO_SERVER] == 0
        writer.transport.abort()


async def test_a_spoiled_line_changes_bytes_and_loses_none() -> None:
    sent = bytes(20_000)
    heard = []
    for _ in range(2):
        async with proxy_to() as proxy, client(proxy) as (reader, writer):
            proxy.corrupt(100, Direction.TO_CLIENT, seed=7)
            writer.write(sent)
            heard.append(await reader.readexactly(len(sent)))
            spoiled = proxy.spoiled[Direction.TO_CLIENT]
            proxy.heal()
            writer.write(b"clean")
            assert await reader.readexactly(5) == b"clean"
    wrong = [byte for byte in heard[0] if byte]
    assert 100 < len(wrong) < 400
    assert all(byte.bit_count() == 1 for byte in wrong), "one bit of a byte"
    assert heard[0] == heard[1], "the same seed spoils the same bytes"
    assert spoiled == len(wrong)


async def test_a_sender_feels_a_slow_reader_that_loses_nothing() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        proxy.read_slowly(1_000_000, Direction.TO_SERVER)
        async with asyncio.timeout(5):
            await proxy.until(lambda: proxy.open_connections == 1)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.transport.set_write_buffer_limits(high=0)
        began = time.monotonic()
        writer.write(bytes(400_000))
        await writer.drain()
        assert time.monotonic() - began > 0.1, "the sender had to wait"
        assert len(await reader.readexactly(400_000)) == 400_000
        assert time.monotonic() - began > 0.38


async def test_it_counts_how_often_a_fault_did_something() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(b"well")
        await reader.readexactly(4)
        assert proxy.struck == 0
        proxy.delay(0.01, Direction.TO_CLIENT)
        writer.write(b"late")
        await reader.readexactly(4)
        assert proxy.struck == 1
        proxy.heal()
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert proxy.struck == 2


async def test_ending_one_direction_leaves_the_other_open() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        proxy.end(Direction.TO_SERVER)
        assert await asyncio.wait_for(reader.read(-1), 5) == b"end"


async def test_refused_connections_break_while_open_ones_live_on() -> None:
    async with proxy_to() as proxy, client(proxy) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        proxy.refuse()
        async with client(proxy) as (refused, _):
            with pytest.raises(ConnectionResetError):
                await refused.read(1)
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"
        proxy.heal()
        async with client(proxy) as (again, sender):
            sender.write(b"c")
            assert await again.readexactly(1) == b"c"
        assert proxy.accepted == 2


async def test_a_server_that_is_not_there_looks_like_a_reset() -> None:
    async with proxy_to() as down:
        port = down.port
    async with FaultProxy("127.0.0.1", port) as proxy, client(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_nothing_of_a_proxy_runs_on_after_it_was_left() -> None:
    async with proxy_to() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.stall()
        writer.write(b"x")
        await writer.drain()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    assert not [task for task in asyncio.all_tasks() if "FaultProxy" in repr(task.get_coro())]
