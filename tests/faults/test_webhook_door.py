"""The carriers' door: who knocks wrongly learns so at once and changes nothing."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from raw_line import RawLine, message, new_leg

from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60)]

LIMIT = 64 * 1024
SLOTS = 12


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    config = {
        "inboundPolicy": "open",
        "maxConcurrentCalls": SLOTS,
        "limits": {"mediaGraceMs": 1000, "hangUpGraceMs": 1000},
    }
    with RunningService(tmp_path_factory.mktemp("webhooks") / "s", port=0, config=config) as running:
        yield running


@pytest.fixture
async def line(service: RunningService) -> AsyncIterator[RawLine]:
    """The line; afterwards the service must still be the same process, and well."""
    pid = service.pid
    async with RawLine.to(service) as raw:
        yield raw
        async with raw.http.get(f"{service.url}/healthz") as response:
            assert await response.json() == {"status": "ok"}
        assert (await raw.client.status())["service"]["pid"] == pid
    assert "Traceback" not in service.stderr


async def connect(service: RunningService) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = service.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_request_without_a_right_signature_is_refused_and_nothing_happens(line):
    leg = new_leg()
    body = message("offered", leg)
    right = line.signed(body)
    refused = {
        "no signature": {},
        "no timestamp": {"x-local-signature": right["x-local-signature"]},
        "a wrong signature": right | {"x-local-signature": "0" * 64},
        "not even hex": right | {"x-local-signature": "é"},
        "the signature of another body": line.signed(message("offered", leg)),
        "another timestamp": right | {"x-local-timestamp": str(int(right["x-local-timestamp"]) + 1)},
        "a stale timestamp": line.signed(body, age=400),
        "a timestamp of the future": line.signed(body, age=-400),
    }
    for name, headers in refused.items():
        status, answer = await line.post(body, headers)
        assert status == 401, name
        assert json.loads(answer).keys() == {"error"}, name
    assert await line.calls_of(leg) == []


async def test_a_request_that_comes_twice_has_one_effect_and_the_same_answer(line):
    leg = new_leg()
    body = message("offered", leg)
    headers = line.signed(body)
    together = await asyncio.gather(*(line.post(body, headers) for _ in range(3)))
    later = await line.post(body, headers)
    assert together[0][0] == 200
    assert json.loads(together[0][1])["action"] == "stream"
    assert [*together, later] == [together[0]] * 4, "byte for byte"
    assert len(await line.calls_of(leg)) == 1
    # A carrier that repeats its question in a new request gets the same answer too, and still no second call.
    again = json.loads((await line.post(message("offered", leg)))[1])
    assert again["streamUrl"] == json.loads(later[1])["streamUrl"]
    assert len(await line.calls_of(leg)) == 1
    # An answer makes a new token each time it is reported, but not when the report is the same one.
    body = message("answered", leg)
    headers = line.signed(body)
    first, second = [await line.post(body, headers) for _ in range(2)]
    assert first == second
    await (await line.open(json.loads(first[1])["streamUrl"])).close()
    await line.report("ended", leg, reason="caller-hung-up")


async def test_a_body_that_is_too_large_is_refused(line):
    leg = new_leg()
    body = message("offered", leg, detail="x" * LIMIT)
    status, answer = await line.post(body)
    assert status == 413
    assert str(LIMIT) in json.loads(answer)["error"]

    async def pieces():
        for first in range(0, len(body), 8192):
            yield body[first : first + 8192]

    status, _ = await line.post(pieces(), line.signed(body))
    assert status == 413, "without a Content-Length just as well"
    assert await line.calls_of(leg) == []


async def test_who_is_too_slow_is_given_up_on_and_keeps_nobody_waiting(line, service):
    body = message("offered", new_leg())
    never = asyncio.Event()

    async def slow_body() -> None:
        async def trickle():
            yield body[:20]
            await never.wait()
            yield body[20:]

        status, answer = await line.post(trickle(), line.signed(body))
        assert status == 400
        assert "within 5 s" in json.loads(answer)["error"]

    async def until_cut_off(first_bytes: bytes) -> None:
        reader, writer = await connect(service)
        writer.write(first_bytes)
        while await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()

    silent = b""
    half_a_head = b"POST /voice/webhook/local HTTP/1.1\r\nHost: loc"
    then_idle = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    began = time.monotonic()
    async with asyncio.timeout(10), asyncio.TaskGroup() as slow:
        for _ in range(5):
            slow.create_task(slow_body())
        for first_bytes in [silent, half_a_head, then_idle] * 8:
            slow.create_task(until_cut_off(first_bytes))
        asked = time.monotonic()
        assert await line.report("ringing", new_leg()) == {}
        assert time.monotonic() - asked < 2
    assert time.monotonic() - began >= 4.5


async def test_what_is_signed_but_no_message_of_the_carrier_is_refused(line):
    leg = new_leg()
    wrong = {
        "not JSON": b"event=offered",
        "not an object": b"[1, 2]",
        "not UTF-8": b'{"event": "\xff\xfe"}',
        "numbers for texts": json.dumps({"event": 1, "carrierCallId": 2}).encode(),
        "an unknown event": message("exploded", leg),
        "an unknown end reason": message("ended", leg, reason="boredom"),
        "nested very deep": b"[" * 30_000,
        "nothing": b"",
    }
    for name, body in wrong.items():
        status, answer = await line.post(body)
        assert status == 400, name
        assert json.loads(answer).keys() == {"error"}, name
    assert await line.calls_of(leg) == []


async def test_a_compressed_body_is_not_unpacked(line):
    body = gzip.compress(message("offered", new_leg(), detail="x" * 10_000_000))
    assert len(body) < LIMIT
    headers = line.signed(body) | {"Content-Encoding": "gzip"}
    status, answer = await line.post(body, headers)
    assert status == 400
    assert "error" in json.loads(answer)


async def test_webhooks_of_a_carrier_that_is_not_configured_are_not_found(line):
    for name in ("twilio", "LOCAL", "local/extra", "%2e%2e"):
        url = line.url.removesuffix("local") + name
        body = message("offered", new_leg())
        status, _ = await line.post(body, line.signed(body), url=url)
        assert status == 404, name


async def test_who_looks_at_the_webhook_with_get_is_told_what_it_is(line):
    async with line.http.get(line.url) as response:
        assert response.status == 200
        told = await response.json()
    assert "carriers POST signed requests here" in told["what"]
    assert told["carriers"] == ["local"]
    async with line.http.put(line.url, data=b"") as response:
        assert response.status == 405


async def test_events_of_calls_that_nobody_knows_change_nothing(line):
    leg = new_leg()
    assert await line.report("answered", leg) == {"action": "hang-up"}, "no leg is left open"
    assert await line.report("answered", leg, callId="no-such-call") == {"action": "hang-up"}
    assert await line.report("ringing", leg) == {}
    assert await line.report("ended", leg, reason="completed") == {}
    assert await line.calls_of(leg) == []


async def test_an_answer_that_is_reported_twice_answers_once(line):
    leg = new_leg()
    first = await line.offer(leg)
    again = await line.report("answered", leg)
    assert again["action"] == "stream"
    assert again["streamUrl"] != first, "a new token"
    assert await line.refusal(first) == 403, "and the old one is dead"
    socket = await line.open(again["streamUrl"])
    await socket.close()
    (call,) = await line.calls_of(leg)
    entries = await line.client.journal(call["callId"])
    assert [entry["states"]["leg"] for entry in entries if entry["event"] == "CallAnswered"] == ["up"]
    await line.report("ended", leg, reason="caller-hung-up")
    (call,) = await line.calls_of(leg)
    assert call["endReason"] == "caller-hung-up"


async def test_an_end_that_is_reported_twice_ends_once(line):
    leg = new_leg()
    await line.offer(leg)
    await line.report("ended", leg, reason="caller-hung-up")
    await line.report("ended", leg, reason="failed")
    (call,) = await line.calls_of(leg)
    assert call["endReason"] == "caller-hung-up"


async def test_calls_that_are_offered_at_the_same_time_take_one_slot_each(line):
    async def offer(leg: str) -> str:
        order = await line.report("offered", leg)
        return order["action"] if order["action"] == "stream" else order["reason"]

    for _ in range(2):
        legs = [new_leg() for _ in range(SLOTS + 4)]
        answers = await asyncio.gather(*(offer(leg) for leg in legs))
        assert sorted(answers) == ["busy"] * 4 + ["stream"] * SLOTS
        # Who hangs up frees a slot at once.
        await asyncio.gather(*(line.report("ended", leg, reason="caller-hung-up") for leg in legs))


async def test_a_flood_of_wrong_requests_does_not_hold_up_a_right_one(line):
    async def knock() -> int:
        return (await line.post(b"x" * 1000, {}))[0]

    leg = new_leg()
    flood = [asyncio.create_task(knock()) for _ in range(300)]
    began = time.monotonic()
    assert (await line.offer(leg)).startswith("ws://127.0.0.1:")
    assert time.monotonic() - began < 2
    assert set(await asyncio.gather(*flood)) == {401}
    await line.report("ended", leg, reason="caller-hung-up")


def malformed(token: bytes) -> list[bytes]:
    """Requests that no server can take, and what each says of a token."""
    path, host = b"/voice/stream/twilio/" + token, b"\r\nHost: localhost\r\n"
    lines = [
        b"GET " + path + b" HTTP/9.9",
        b"GET " + path + b" HTTP/1.1 more",
        b"G@T " + path + b" HTTP/1.1",
        b"GET " + path + b"\xff\xfe HTTP/1.1",
        b"GET http://[::1" + path + b" HTTP/1.1",
        b"GET http://localhost:99999999" + path + b" HTTP/1.1",
        b"GET " + path * 500 + b" HTTP/1.1",
        b"CONNECT " + token + b":99999999 HTTP/1.1",
        token,
    ]
    headers = [
        b"Host " + token,
        b"Cookie: " + token + b"\0",
        b"Content-Length: " + token,
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: " + token,
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
        b"Transfer-Encoding: chunked\r\n\r\n" + token,
    ]
    sound = b"POST " + path + b" HTTP/1.1" + host
    return [line + host + b"\r\n" for line in lines] + [sound + each + b"\r\n\r\n" for each in headers]


async def test_a_malformed_request_is_answered_and_leaves_nothing_of_it_in_the_log(service):
    token = b"CanaryToken7Qx2"
    socket = service.state_dir / "control.sock"
    for request in malformed(token):
        for reader, writer in (await connect(service), await asyncio.open_unix_connection(socket)):
            writer.write(request)
            async with asyncio.timeout(8):
                assert (await reader.read(100)).startswith(b"HTTP/1.")
            writer.close()
            await writer.wait_closed()
    assert token.decode() not in service.stderr
    assert "Traceback" not in service.stderr
    assert "manners" not in service.stderr


async def test_bytes_that_are_not_http_are_answered_with_an_error(service):
    for garbage in (
        b"\x16\x03\x01\x02\x00hello\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
        b"POST /voice\r\n\r\n",
    ):
        reader, writer = await connect(service)
        writer.write(garbage)
        async with asyncio.timeout(8):
            assert (await reader.read(100)).startswith(b"HTTP/")
        writer.close()
        await writer.wait_closed()
    async with aiohttp.ClientSession() as http, http.get(f"{service.url}/healthz") as response:
        assert response.status == 200
