"""Vendors that seem well and are not: the emulators' faults that no status and no broken connection tells of."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from openclaw_voicecall.media.level import is_audible
from openclaw_voicecall.testing.emulators.chat import ChatEmulator
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator
from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.faults import FaultProxy

pytestmark = [pytest.mark.contract, pytest.mark.timeout(20)]

WORDS = "a table for two please"
SPOKEN = babble(WORDS) + b"\xff" * 8000
VOICE = "21m00Tcm4TlvDq8ikWAM"
TEXT = {"text": "Hello there.", "model_id": "eleven_turbo_v2_5"}
SPEECH = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": "Hello there.", "response_format": "pcm"}
SESSION = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-4o-transcribe"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
        }
    },
}


@pytest.fixture
def book():
    words = ClipBook()
    words.add(WORDS, babble(WORDS))
    return words


@asynccontextmanager
async def session_of(vendor):
    """A ready Realtime session of an emulator."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {vendor.key}"}) as http,
        http.ws_connect(f"{vendor.url}/v1/realtime?intent=transcription") as socket,
    ):
        await socket.send_json({"type": "session.update", "session": SESSION})
        while (await socket.receive_json())["type"] != "session.updated":
            pass
        yield socket


async def say(socket, audio):
    for at in range(0, len(audio), 160):
        encoded = base64.b64encode(audio[at : at + 160]).decode()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": encoded})


async def events(socket, last):
    """Texts of messages up to the event of this name."""
    texts = []
    while True:
        texts.append(await socket.receive_str())
        if f'"{last}"' in texts[-1]:
            return texts


HEARD = "conversation.item.input_audio_transcription.completed"


async def test_a_session_goes_deaf_in_the_middle_and_hears_again_when_it_heals(book):
    async with OpenAIRealtimeEmulator(recognizer=book) as vendor, session_of(vendor) as socket:
        vendor.fail_next("deaf", times=0)
        await say(socket, SPOKEN)
        await vendor.until(lambda: vendor.sessions[0].appends == len(SPOKEN) // 160)
        vendor.heal()
        await say(socket, SPOKEN)
        *_, completed = await events(socket, HEARD)
        assert json.loads(completed)["transcript"] == WORDS
        assert len(vendor.sessions[0].audio) == len(SPOKEN), "the first time nothing was heard"
        assert set(vendor.taken) == {"deaf"}


@pytest.mark.parametrize(("options", "code"), [({}, 1006), ({"code": 1011}, 1011), ({"code": 1000}, 1000)])
async def test_an_open_session_is_closed_at_its_next_audio(book, options, code):
    async with OpenAIRealtimeEmulator(recognizer=book) as vendor, session_of(vendor) as socket:
        vendor.fail_next("close-now", **options)
        await say(socket, SPOKEN[:160])
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == code


@pytest.mark.parametrize("fault", ["error-event", "gibberish"])
async def test_a_session_says_what_it_should_not_and_goes_on(book, fault):
    async with OpenAIRealtimeEmulator(recognizer=book) as vendor, session_of(vendor) as socket:
        vendor.fail_next(fault)
        await say(socket, SPOKEN)
        first, *_, last = await events(socket, HEARD)
        assert ("server_error" in first) if fault == "error-event" else (first == "{no JSON")
        assert json.loads(last)["transcript"] == WORDS


async def test_an_open_deepgram_goes_deaf_and_is_closed(book):
    async with DeepgramEmulator(recognizer=book) as vendor:
        address = f"{vendor.url}/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000&endpointing=300"
        headers = {"Authorization": f"Token {vendor.key}"}
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession(headers=headers) as http,
            http.ws_connect(address) as socket,
        ):
            vendor.fail_next("deaf")
            await socket.send_bytes(SPOKEN)
            await socket.send_bytes(SPOKEN)
            heard = await socket.receive_json()
            assert heard["channel"]["alternatives"][0]["transcript"] == WORDS
            assert heard["start"] < 1, "the first time nothing was heard"
            vendor.fail_next("close-now", code=1008)
            await socket.send_bytes(SPOKEN)
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert socket.close_code == 1008


async def test_a_voice_sends_a_recording_of_silence():
    async with ElevenLabsEmulator() as vendor, OpenAISpeechEmulator() as second:
        vendor.fail_next("silent")
        second.fail_next("silent")
        kind, silence = await eleven(vendor)
        assert kind == "audio/basic"
        assert silence == b"\xff" * len(babble("Hello there."))
        assert not is_audible(silence)
        assert await openai(second) == ("audio/pcm", bytes(6 * len(silence)))


@pytest.mark.parametrize(("fault", "kind"), [("json", "application/json"), ("html", "text/html")])
async def test_a_voice_sends_a_document(fault, kind):
    async with ElevenLabsEmulator() as vendor, OpenAISpeechEmulator() as second:
        vendor.fail_next(fault)
        second.fail_next(fault)
        assert (await eleven(vendor))[0] == kind
        assert (await openai(second))[0] == kind
        assert not vendor.spoken


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("silent", b"\xff" * len(babble("Hello there."))), ("json", None), ("html", None), ("empty", b"")],
)
async def test_a_voice_lies_on_its_socket(fault, expected):
    address = f"/v1/text-to-speech/{VOICE}/stream-input?model_id=eleven_turbo_v2_5&output_format=ulaw_8000"
    async with ElevenLabsEmulator() as vendor:
        vendor.fail_next(fault)
        async with (
            asyncio.timeout(10),
            aiohttp.ClientSession(headers={"xi-api-key": "xi-emulated"}) as http,
            http.ws_connect(vendor.url + address) as socket,
        ):
            for text in (" ", "Hello there. ", ""):
                await socket.send_json({"text": text})
            received = [message.data async for message in socket]
        if expected is None:
            assert received[0].startswith("<!doctype" if fault == "html" else '{"audio": 7')
        else:
            frames = [json.loads(text) for text in received]
            assert b"".join(base64.b64decode(f["audio"]) for f in frames if f["audio"]) == expected
        assert json.loads(received[-1])["isFinal"] is True


@pytest.mark.parametrize(
    ("fault", "last"),
    [("truncated", '"content": " morning"'), ("wrong-shape", "[DONE]"), ("no-json", "Bad gateway, sort of")],
)
async def test_a_model_sends_what_is_no_reply(fault, last):
    async with ChatEmulator(replies=["Good morning, all"]) as vendor:
        vendor.fail_next(fault)
        body = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
        headers = {"Authorization": "Bearer sk-emulated"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{vendor.url}/v1/chat/completions", json=body) as response,
        ):
            text = await response.text()
        assert response.status == 200
        assert last in text.strip().split("\n\n")[-1]
        assert ('finish_reason": "stop' in text) == (fault == "wrong-shape")


async def test_media_sockets_may_go_another_way_than_webhooks():
    """Through a proxy that harms streams only; the application sees the address it gave."""
    seen = []

    async def application(request):
        if request.path == "/stream":
            seen.append(request.headers["Host"])
            socket = aiohttp.web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                if message.json()["event"] == "start":
                    break
            return socket
        twiml = f'<Response><Connect><Stream url="ws://127.0.0.1:{port}/stream"/></Connect></Response>'
        return aiohttp.web.Response(text=twiml, content_type="text/xml")

    app = aiohttp.web.Application()
    app.router.add_route("*", "/{tail:.*}", application)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    number = "+15550001111"
    async with (
        FaultProxy("127.0.0.1", port) as proxy,
        TwilioEmulator(numbers={number: f"http://127.0.0.1:{port}/voice"}, stream_port=proxy.port) as twilio,
    ):
        call = await twilio.dial_in("+15550002222", number)
        async with asyncio.timeout(10):
            await call.finished()
        assert proxy.accepted == 1
        assert seen == [f"127.0.0.1:{port}"]
        assert call.streams[0].started.is_set()
    await runner.cleanup()


async def eleven(vendor):
    async with (
        aiohttp.ClientSession(headers={"xi-api-key": "xi-emulated"}) as http,
        http.post(
            f"{vendor.url}/v1/text-to-speech/{VOICE}/stream",
            json=TEXT,
            params={"output_format": "ulaw_8000"},
        ) as response,
    ):
        return response.content_type, await response.read()


async def openai(vendor):
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer sk-emulated"}) as http,
        http.post(f"{vendor.url}/v1/audio/speech", json=SPEECH) as response,
    ):
        return response.content_type, await response.read()
