"""The media door: a stranger never holds a socket, and garbage on one stream is no other call's business."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from raw_line import RawLine, connected, media, new_leg, start

from openclaw_voicecall.calls.tokens import LIFE, StreamTokens
from openclaw_voicecall.server.keys import MANAGER, TOKENS
from openclaw_voicecall.server.media import MediaDoor
from openclaw_voicecall.testing.service import RunningService

pytestmark = [pytest.mark.faults, pytest.mark.timeout(90)]

START_LIMIT = 1.5
LOUD_SECOND = base64.b64encode(b"\x00\x80" * 4000).decode()
CONFIG = {
    "inboundPolicy": "open",
    "inboundGreeting": "",
    "maxConcurrentCalls": 30,
    "streaming": {"preStartTimeoutMs": int(START_LIMIT * 1000)},
    "limits": {"mediaGraceMs": 1000, "hangUpGraceMs": 1000},
}
TALK = """
name: talks while others break the rules
steps:
  - wait: agent
    timeout: 1
  - say: "What time is it, please?"
  - wait: agent
    pause: 0.4
  - hang_up
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    with RunningService(tmp_path_factory.mktemp("media") / "s", port=0, config=CONFIG) as running:
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


async def test_a_token_opens_one_stream_and_no_second_one(line):
    leg = new_leg()
    url = await line.offer(leg)
    socket = await line.open(url)
    assert await line.refusal(url) == 403, "used"
    await socket.send_str(connected())
    await socket.send_str(start(leg))
    await socket.send_str(media(0))
    assert await line.refusal(url) == 403, "used, and the stream that used it lives on"
    await line.report("ended", leg, reason="caller-hung-up")
    async with asyncio.timeout(5):
        assert (await socket.receive()).type is WSMsgType.CLOSE
    await socket.close()
    (call,) = await line.calls_of(leg)
    last = (await line.client.journal(call["callId"]))[-1]
    assert last["event"] == "CallEnded", "that we close the stream afterwards is no news of the call"


async def test_a_wrong_token_is_refused_before_the_upgrade(line):
    url = await line.offer(leg := new_leg())
    base, token = url.rsplit("/", 1)
    assert await line.refusal(f"{base}/{'A' * len(token)}") == 403
    assert await line.refusal(f"{base}/{token[:-1]}") == 403
    assert await line.refusal(f"{base}/{'x' * 5000}") == 403
    assert await line.refusal(f"{base}/") == 404
    assert await line.refusal(f"{base.removesuffix('local')}twilio/{token}") == 403, "another carrier's"
    assert await line.refusal(url) == 403, "and that attempt has used it up"
    await line.report("ended", leg, reason="caller-hung-up")


async def test_the_token_of_a_call_that_is_over_opens_nothing(line):
    url = await line.offer(leg := new_leg())
    await line.report("ended", leg, reason="caller-hung-up")
    (call,) = await line.calls_of(leg)
    assert call["endReason"] == "caller-hung-up"
    assert await line.refusal(url) in (403, 410), "the token goes with the call, a moment after its end"


@pytest.mark.parametrize("beginning", ["right", "wrong"])
async def test_a_stream_that_begins_when_its_call_is_over_is_closed(line, beginning):
    socket = await line.open(await line.offer(leg := new_leg()))
    await line.report("ended", leg, reason="caller-hung-up")
    (call,) = await line.calls_of(leg)
    before = await line.client.journal(call["callId"])
    for message in (connected(), start(leg)) if beginning == "right" else ("{",):
        await socket.send_str(message)
    async with asyncio.timeout(START_LIMIT):
        assert (await socket.receive()).type is WSMsgType.CLOSE
    await socket.close()
    assert await line.client.journal(call["callId"]) == before


async def test_a_token_is_dead_after_its_life():
    class ManualClock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def wall(self) -> float:
            return self.now

    class Ids:
        def token(self) -> str:
            return "token"

    clock = ManualClock()
    tokens = StreamTokens(clock, Ids())
    app = web.Application()
    app[TOKENS], app[MANAGER] = tokens, None
    MediaDoor("/voice/stream", start_limit=1.0, max_streams=1).add_routes(app)
    tokens.mint("call", "local")
    clock.now += LIFE
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/voice/stream/local/token")
    assert refused.value.status == 403


def wrong_beginnings(leg: str) -> dict[str, list[str | bytes]]:
    stereo = json.loads(start(leg))
    stereo["start"]["mediaFormat"]["channels"] = 2
    return {
        "not JSON": ["hello?"],
        "not an object": ["[]"],
        "the start before the connection": [start(leg)],
        "audio before the start": [connected(), media(0)],
        "the connection twice": [connected(), connected()],
        "an unknown event": [connected(), '{"event": "reboot"}'],
        "another leg": [connected(), start(new_leg())],
        "another format": [connected(), json.dumps(stereo)],
        "binary": [b"\x00\x01\x02"],
        "a huge text": ["x" * (256 * 1024 + 1)],
        "a large text": [json.dumps({"event": "connected", "protocol": "x" * 100_000})],
        "deep nesting": ["[" * 60_000],
        "nothing at all": [],
        "silence after the connection": [connected()],
    }


async def test_a_stream_that_does_not_begin_as_streams_do_is_closed(line):
    async def begin_wrongly(name: str) -> tuple[int | None, dict]:
        leg = new_leg()
        socket = await line.open(await line.offer(leg))
        for message in wrong_beginnings(leg)[name]:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
        heard = [received async for received in socket]
        assert heard == [], f"{name}: nothing is said to a stranger"
        call_id = (await line.calls_of(leg))[0]["callId"]
        async for _ in line.client.feed(call_id=call_id):
            pass
        return socket.close_code, await line.client.get_call(call_id)

    names = list(wrong_beginnings(""))
    async with asyncio.timeout(START_LIMIT + 10):
        ends = await asyncio.gather(*(begin_wrongly(name) for name in names))
    for name, (code, call) in zip(names, ends, strict=True):
        assert code == (1009 if name == "a huge text" else 1008), name
        assert call["endReason"] == "media-lost", f"{name}: no audio ever flowed, and the call does not hang"
        assert call["transcript"] == [], name


async def garbage_after_start(line: RawLine, name: str) -> int | None:
    """Begin a stream in good order and break the rules on it; returns how the service closed it, if it did."""
    leg = new_leg()
    socket = await line.open(await line.offer(leg))
    await socket.send_str(connected())
    await socket.send_str(start(leg))
    messages: dict[str, list[str | bytes]] = {
        "not JSON": ["{"] * 60,
        "odd base64": [media(0, "AAA"), media(1, "A" * 5), media(2, "!!!!"), media(3, "é")] * 15,
        "an unknown event": ['{"event": "reboot", "streamSid": "MZ1"}'] * 60,
        "binary": [b"\xff" * 160] * 60,
        "the start again": [start(leg)] * 60,
        "another stream": [media(0).replace("MZ1", "MZ2")] * 60,
        "huge": ["x" * (256 * 1024 + 1)],
        "a second of loud noise in each message": [media(n, LOUD_SECOND) for n in range(40)],
        "numbers out of range": [media(0).replace('"timestamp": "0"', '"timestamp": "99999999999999999999"')] * 60,
        "wrong keys": [json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "Z"}})] * 60,
    }  # fmt: skip
    try:
        for message in messages[name]:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
    except ConnectionError:
        pass  # the service closed the stream before it had it all
    if name.startswith("a second of loud"):
        await socket.close()
    async with asyncio.timeout(20):
        async for _ in socket:
            pass
    await line.report("ended", leg, reason="media-lost")
    (call,) = await line.calls_of(leg)
    assert call["endReason"] == "media-lost", name
    return socket.close_code


GARBAGE = (
    "not JSON", "odd base64", "an unknown event", "binary", "the start again", "another stream", "huge",
    "a second of loud noise in each message", "numbers out of range", "wrong keys",
)  # fmt: skip


async def test_garbage_on_a_stream_is_no_other_calls_business(service, line, tmp_path: Path):
    script, report = tmp_path / "talk.yaml", tmp_path / "talk.json"
    script.write_text(TALK)
    options = ("phone", "--script", str(script), "--report", str(report))
    talk = asyncio.create_task(asyncio.to_thread(service.cli, *options))
    async for item in line.client.feed():
        if item["entry"]["event"] == "MediaConnected":
            break  # the good call is up
    leg = item["call"]["carrierCallId"]
    rounds = 0
    while not talk.done():
        codes = await asyncio.gather(*(garbage_after_start(line, name) for name in GARBAGE))
        assert codes[GARBAGE.index("huge")] == 1009
        rounds += 1
    assert rounds >= 2, "there was garbage all through the talk"
    (call,) = await line.calls_of(leg)
    told = talk.result().json
    assert call["endReason"] == "caller-hung-up"
    assert [line["speaker"] for line in call["transcript"]] == ["caller", "agent"]
    assert call["transcript"][1]["text"].startswith("It's ")
    assert told["errors"] == []
    assert told["gaps"] == [], "the agent's voice had no holes"
    assert len(told["heard"]) >= 1


async def test_a_few_wrong_messages_do_not_end_a_stream(line):
    leg = new_leg()
    socket = await line.open(await line.offer(leg))
    for message in (connected(), start(leg), "{", media(0), media(1, "AAA"), media(2)):
        await socket.send_str(message)
    await socket.send_str(json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "7"}}))
    call_id = (await line.calls_of(leg))[0]["callId"]
    async with asyncio.timeout(10):
        async for item in line.client.feed(call_id=call_id):
            if item["entry"]["event"] == "DtmfReceived":
                break  # the stream is alive, and read in order
    entries = await line.client.journal(call_id)
    refused = [entry["data"]["detail"] for entry in entries if entry["event"] == "media-refused"]
    assert refused == ["not JSON", "payload is not base64"]
    await socket.close()
    await line.report("ended", leg, reason="caller-hung-up")
