"""The ElevenLabs synthesizer, over HTTP and over WebSockets, against a strict stand-in for the vendor."""

import asyncio
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import SpeechRequest
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import elevenlabs
from openclaw_voicecall.providers.elevenlabs.account import Account
from openclaw_voicecall.providers.elevenlabs.config import ElevenLabsSpeechConfig
from openclaw_voicecall.providers.elevenlabs.speech import Limits, open_speech
from openclaw_voicecall.providers.elevenlabs.speech_socket import open_socket_speech
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

VOICE = "54noaetjxv80HAvkIbfQ"
HELLO, LONG = (
    "Hello there.",
    "This is a rather long sentence that takes some seconds to be spoken on a telephone.",
)
QUICK = Limits(connect=1.0, first=0.3, stall=0.3)
both = pytest.mark.parametrize("transport", ["http", "websocket"])


@pytest.fixture
async def vendor():
    async with ElevenLabsEmulator(key="xi-secret") as emulator, asyncio.timeout(15):
        yield emulator


def spec():
    found = []
    elevenlabs.voicecall_register_synthesizers(found.append)
    assert [each.name for each in found] == ["elevenlabs"]
    return found[0]


def runtime():
    return Runtime(clock=None, ids=None, state_dir=Path(), webhook_url=str)


def settings(vendor, **changes):
    return ElevenLabsSpeechConfig.model_validate(
        {"apiKey": "xi-secret", "baseUrl": vendor.url, "speakerVoiceId": VOICE} | changes
    )


@asynccontextmanager
async def speaking(vendor, **changes):
    async with spec().open(settings(vendor, **changes), runtime()) as synthesizer:
        yield synthesizer


@asynccontextmanager
async def impatient(vendor, transport):
    """A synthesizer that waits only for a moment."""
    opening = open_socket_speech if transport == "websocket" else open_speech
    who = Account(vendor.url, "xi-secret", "tts.providers.elevenlabs")
    async with opening(settings(vendor), who, limits=QUICK) as synthesizer:
        yield synthesizer


def request(text=HELLO, **changes):
    return SpeechRequest(call_id="c1", text=text, **changes)


async def collect(pieces, heard):
    async for piece in pieces:
        heard += piece


async def say(synthesizer, text=HELLO, **changes):
    return b"".join([piece async for piece in synthesizer.speak(request(text, **changes))])


@both
async def test_an_utterance_arrives_as_the_vendor_made_it(vendor, transport):
    async with speaking(vendor, transport=transport) as synthesizer:
        assert await say(synthesizer) == babble(HELLO)
    assert [(spoken.text, spoken.voice, spoken.model) for spoken in vendor.spoken] == [
        (HELLO, VOICE, "eleven_flash_v2_5")
    ]
    assert not vendor.refusals


@both
async def test_the_first_audio_does_not_wait_for_the_last(vendor, transport):
    vendor.chunk_delay = 30
    async with (
        speaking(vendor, transport=transport) as synthesizer,
        aclosing(synthesizer.speak(request(LONG))) as pieces,
    ):
        assert babble(LONG).startswith(await anext(pieces))


@both
async def test_the_model_and_voice_of_an_old_file_speak(vendor, transport):
    async with speaking(vendor, transport=transport, modelId="eleven_turbo_v2_5") as synthesizer:
        assert await say(synthesizer) == babble(HELLO)
    assert vendor.spoken[0].model == "eleven_turbo_v2_5"


@both
async def test_every_setting_reaches_the_vendor_in_its_own_spelling(vendor, transport):
    tuning = {"stability": 0.4, "similarityBoost": 0.8, "style": 0.1, "useSpeakerBoost": False, "speed": 1.7}
    changes = {"seed": 7, "languageCode": "de", "applyTextNormalization": "auto", "voiceSettings": tuning}
    async with speaking(vendor, transport=transport, **changes) as synthesizer:
        assert await say(synthesizer)
    assert not vendor.refusals
    if transport == "http":
        assert vendor.bodies == [
            {
                "text": HELLO,
                "model_id": "eleven_flash_v2_5",
                "voice_settings": {
                    "stability": 0.4,
                    "similarity_boost": 0.8,
                    "style": 0.1,
                    "use_speaker_boost": False,
                    "speed": 1.2,
                },
                "language_code": "de",
                "seed": 7,
                "apply_text_normalization": "auto",
            }
        ]


@both
async def test_a_model_without_languages_is_not_given_one(vendor, transport):
    async with speaking(vendor, transport=transport, modelId="eleven_multilingual_v2") as synthesizer:
        assert await say(synthesizer, language="de-AT") == babble(HELLO)
    assert not vendor.refusals


@both
async def test_a_call_may_have_a_voice_of_its_own(vendor, transport):
    async with speaking(vendor, transport=transport) as synthesizer:
        await say(synthesizer)
        await say(synthesizer, voice="21m00Tcm4TlvDq8ikWAM")
    assert [spoken.voice for spoken in vendor.spoken] == [VOICE, "21m00Tcm4TlvDq8ikWAM"]


async def test_a_model_without_sockets_is_spoken_over_http(vendor):
    async with speaking(vendor, transport="websocket", modelId="eleven_v3") as synthesizer:
        assert await say(synthesizer) == babble(HELLO)
    assert vendor.spoken[0].transport == "stream"


@both
async def test_many_calls_speak_at_once(vendor, transport):
    texts = [f"Sentence of call {number}." for number in range(12)]
    async with speaking(vendor, transport=transport) as synthesizer:
        audio = await asyncio.gather(*(say(synthesizer, text) for text in texts))
    assert audio == [babble(text) for text in texts]
    assert not vendor.refusals


async def test_one_socket_carries_one_utterance_after_the_other(vendor):
    async with speaking(vendor, transport="websocket") as synthesizer:
        for text in (HELLO, LONG, HELLO):
            assert await say(synthesizer, text) == babble(text)
        assert len(vendor.sockets) == 1
    assert len({spoken.context for spoken in vendor.spoken}) == 3


async def test_one_connection_carries_one_request_after_the_other():
    peers = []

    async def speak(request):
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response(body=b"\x11" * 500, content_type="audio/basic")

    app = web.Application()
    app.router.add_post("/v1/text-to-speech/{voice}/stream", speak)
    async with TestServer(app) as server:
        config = ElevenLabsSpeechConfig(api_key=SecretStr("k"), base_url=f"http://127.0.0.1:{server.port}")
        async with spec().open(config, runtime()) as synthesizer:
            assert await say(synthesizer) == b"\x11" * 500
            assert await say(synthesizer) == b"\x11" * 500
    assert len(set(peers)) == 1


@both
async def test_a_barge_in_ends_the_request_and_the_next_utterance_is_clean(vendor, transport):
    vendor.chunk_delay = 0.005
    async with speaking(vendor, transport=transport) as synthesizer:
        async with aclosing(synthesizer.speak(request(LONG))) as pieces:
            await anext(pieces)
        assert await say(synthesizer) == babble(HELLO)
        await vendor.until(lambda: vendor.open_streams == 0)
    assert not vendor.refusals
    assert vendor.cancelled == (1 if transport == "http" else 0)


async def test_a_caller_who_interrupts_all_the_time_never_exceeds_the_vendors_contexts(vendor):
    vendor.chunk_delay = 0.05
    async with speaking(vendor, transport="websocket") as synthesizer:
        for number in range(8):
            async with aclosing(synthesizer.speak(request(f"{LONG} {number}"))) as pieces:
                await anext(pieces)
    assert not vendor.refusals


@both
async def test_cancelling_the_speaker_leaves_nothing_behind(vendor, transport):
    before = asyncio.all_tasks()
    vendor.fail_next("hang")
    async with speaking(vendor, transport=transport) as synthesizer:
        task = asyncio.create_task(say(synthesizer))
        await vendor.until(lambda: vendor.open_streams == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await vendor.until(lambda: vendor.open_streams == 0)
    assert not [task for task in asyncio.all_tasks() - before if "providers/elevenlabs" in repr(task)]


@both
@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", VendorAuthError, "401"),
        ("quota", VendorRejected, "quota is used up"),
        ("429", VendorRateLimited, "429"),
        ("500", VendorUnavailable, "500"),
        ("empty", VendorUnavailable, "no audio"),
        ("cut", VendorUnavailable, "broke off|closed"),
    ],
)
async def test_every_failure_has_its_name_and_the_next_utterance_is_heard(
    vendor, transport, fault, error, words
):
    async with speaking(vendor, transport=transport) as synthesizer:
        vendor.fail_next(fault)
        with pytest.raises(error, match=words) as caught:
            await say(synthesizer)
        assert "xi-secret" not in str(caught.value)
        assert isinstance(caught.value, VendorAuthError) == (fault == "401")
        assert await say(synthesizer) == babble(HELLO)


async def test_a_wrong_key_is_told_with_the_setting_to_change(vendor):
    async with speaking(vendor, apiKey="xi-old") as synthesizer:
        with pytest.raises(VendorAuthError, match=r"tts\.providers\.elevenlabs\.apiKey"):
            await say(synthesizer)


@both
async def test_an_unknown_voice_is_told_with_the_setting_to_change(vendor, transport):
    async with speaking(vendor, transport=transport, speakerVoiceId="gone") as synthesizer:
        with pytest.raises(VendorRejected, match=r"tts\.providers\.elevenlabs\.speakerVoiceId"):
            await say(synthesizer)


@both
async def test_what_was_heard_before_the_connection_broke_is_the_beginning(vendor, transport):
    heard = bytearray()
    vendor.fail_next("cut")
    async with speaking(vendor, transport=transport) as synthesizer:
        with pytest.raises(VendorUnavailable):
            await collect(synthesizer.speak(request(LONG)), heard)
    assert heard
    assert babble(LONG).startswith(bytes(heard))


async def test_a_socket_closed_in_order_in_the_middle_of_a_sentence_is_a_failure_too(vendor):
    vendor.fail_next("close", code=1000)
    async with speaking(vendor, transport="websocket") as synthesizer:
        with pytest.raises(VendorUnavailable):
            await say(synthesizer)
        assert await say(synthesizer) == babble(HELLO)


@both
async def test_a_vendor_that_never_answers_is_given_up(vendor, transport):
    vendor.fail_next("hang")
    async with impatient(vendor, transport) as synthesizer:
        with pytest.raises(VendorTimeout):
            await say(synthesizer)
        await vendor.until(lambda: vendor.open_streams == 0)
        assert await say(synthesizer) == babble(HELLO)


@both
async def test_a_vendor_that_stalls_in_the_middle_is_given_up(vendor, transport):
    vendor.chunk_delay = 5
    async with impatient(vendor, transport) as synthesizer:
        with pytest.raises(VendorTimeout, match="in the middle"):
            await say(synthesizer, LONG)


@both
async def test_a_slow_first_word_is_waited_for(vendor, transport):
    vendor.fail_next("slow", seconds=0.1)
    async with impatient(vendor, transport) as synthesizer:
        assert await say(synthesizer) == babble(HELLO)


@both
async def test_a_connection_that_the_vendor_closed_meanwhile_costs_no_utterance(transport):
    emulator = ElevenLabsEmulator(key="xi-secret")
    async with emulator, speaking(emulator, transport=transport) as synthesizer:
        assert await say(synthesizer) == babble(HELLO)
        for socket in list(emulator.sockets):
            await socket.close(1011)
        await emulator.until(lambda: not emulator.sockets)
        assert await say(synthesizer, LONG) == babble(LONG)


async def test_a_kept_connection_that_dies_under_the_request_is_replaced():
    calls = []

    async def speak(request):
        calls.append(request)
        if len(calls) == 2:
            request.transport.abort()
        return web.Response(body=b"\x11" * 500, content_type="audio/basic")

    app = web.Application()
    app.router.add_post("/v1/text-to-speech/{voice}/stream", speak)
    async with TestServer(app) as server:
        config = ElevenLabsSpeechConfig(api_key=SecretStr("k"), base_url=f"http://127.0.0.1:{server.port}")
        async with spec().open(config, runtime()) as synthesizer:
            assert await say(synthesizer) == b"\x11" * 500
            assert await say(synthesizer) == b"\x11" * 500
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["application/json", "audio/mpeg", "text/html"])
async def test_what_is_no_raw_audio_never_reaches_the_line(kind):
    async def speak(request):
        return web.Response(body=b"ID3" * 500, content_type=kind)

    app = web.Application()
    app.router.add_post("/v1/text-to-speech/{voice}/stream", speak)
    async with TestServer(app) as server:
        config = ElevenLabsSpeechConfig(api_key=SecretStr("k"), base_url=f"http://127.0.0.1:{server.port}")
        async with spec().open(config, runtime()) as synthesizer:
            with pytest.raises(VendorUnavailable, match="raw audio"):
                await say(synthesizer)


async def test_the_key_is_carried_to_no_other_address(vendor):
    asked = []

    async def elsewhere(request):
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect(f"{vendor.url}{request.path}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    async with TestServer(app) as server:
        config = ElevenLabsSpeechConfig(api_key=SecretStr("k"), base_url=f"http://127.0.0.1:{server.port}")
        async with spec().open(config, runtime()) as synthesizer:
            with pytest.raises(VendorRejected, match="307"):
                await say(synthesizer)
        with pytest.raises(VendorRejected, match="307"):
            await spec().check(config, runtime())
    assert len(asked) == 2
    assert not vendor.refusals


@both
async def test_an_address_where_nobody_listens_is_named(transport):
    config = ElevenLabsSpeechConfig(
        api_key=SecretStr("k"), base_url="http://127.0.0.1:9", transport=transport
    )
    async with spec().open(config, runtime()) as synthesizer:
        with pytest.raises(VendorUnavailable, match="cannot be reached"):
            await say(synthesizer)


async def test_without_a_key_nothing_opens():
    with pytest.raises(VendorAuthError, match=r"tts\.providers\.elevenlabs\.apiKey or ELEVENLABS_API_KEY"):
        async with spec().open(ElevenLabsSpeechConfig(), runtime()):
            raise AssertionError("a synthesizer was given")


async def test_a_key_is_not_sent_in_clear_text():
    config = ElevenLabsSpeechConfig(api_key=SecretStr("k"), base_url="http://voice.example.com")
    with pytest.raises(ConfigError, match="https"):
        async with spec().open(config, runtime()):
            raise AssertionError("a synthesizer was given")


async def test_the_check_names_the_voice_and_tells_what_is_wrong(vendor):
    check = spec().check
    assert await check(settings(vendor), runtime()) == "the key is accepted; the voice is Voice 54no"
    assert not vendor.spoken
    with pytest.raises(VendorRejected, match=r"tts\.providers\.elevenlabs\.speakerVoiceId"):
        await check(settings(vendor, speakerVoiceId="gone"), runtime())
    with pytest.raises(VendorAuthError, match=r"tts\.providers\.elevenlabs\.apiKey"):
        await check(settings(vendor, apiKey="xi-old"), runtime())
    vendor.fail_next("permissions")
    assert "may not read voices" in await check(settings(vendor), runtime())


async def test_the_stand_in_refuses_a_client_that_speaks_camel_case(vendor):
    url = f"{vendor.url}/v1/text-to-speech/{VOICE}/stream?output_format=ulaw_8000"
    body = {"text": HELLO, "modelId": "eleven_flash_v2_5"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers={"xi-api-key": "xi-secret"}) as response,
    ):
        assert response.status >= 400
    assert vendor.refusals
