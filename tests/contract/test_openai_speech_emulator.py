"""The stand-in for OpenAI's text to speech: a wrong client fails, a right one hears the whole sentence."""

import asyncio

import aiohttp
import numpy as np
import openai
import pytest

from openclaw_voicecall.media.g711 import pcm_to_ulaw
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.contract, pytest.mark.timeout(20)]

BODY = {"model": "gpt-4o-mini-tts", "voice": "marin", "input": "Hello there.", "response_format": "pcm"}


@pytest.fixture
async def emulator():
    async with OpenAISpeechEmulator() as emulator:
        yield emulator


@pytest.fixture
async def client(emulator):
    async with openai.AsyncOpenAI(
        base_url=f"{emulator.url}/v1", api_key="sk-emulated", max_retries=0, timeout=10
    ) as client:
        yield client


async def post(emulator, body, *, key="sk-emulated"):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{emulator.url}/v1/audio/speech", json=body, headers=headers) as response,
    ):
        return response.status, await response.json()


async def hear(client, **changes):
    chunks = []
    async with client.audio.speech.with_streaming_response.create(**(BODY | changes)) as response:
        async for chunk in response.iter_bytes():
            chunks.append(chunk)
    return chunks


async def test_the_sdk_hears_the_whole_sentence_at_24_khz(emulator, client):
    sound = b"".join(await hear(client, instructions="Whisper."))

    samples = np.frombuffer(sound, "<i2")[::3]
    assert pcm_to_ulaw(samples.tobytes()) == babble("Hello there.", seed="marin")
    assert [(said.text, said.voice, said.instructions) for said in emulator.spoken] == [
        ("Hello there.", "marin", "Whisper.")
    ]
    assert not emulator.refusals
    assert emulator.open_streams == emulator.cancelled == 0


async def test_chunks_split_samples(emulator):
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{emulator.url}/v1/audio/speech", json=BODY, headers={"Authorization": "Bearer sk-emulated"}
        ) as response,
    ):
        sizes, size = [], 0
        async for data, whole in response.content.iter_chunks():
            size += len(data)
            if whole:
                sizes.append(size)
                size = 0

    assert sizes[:3] == [4801, 3, 9599]
    assert sum(sizes) % 2 == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "tts-9"}, "does not exist"),
        ({"voice": "rachel"}, "'voice'"),
        ({"voice": {"id": "voice_1"}}, "custom voices"),
        ({"model": "tts-1", "voice": "marin"}, "'voice'"),
        ({"model": "tts-1", "voice": "nova", "instructions": "Whisper."}, "instructions"),
        ({"input": ""}, "at least 1"),
        ({"input": "a" * 4097}, "at most 4096"),
        ({"input": None}, "valid string"),
        ({"instructions": 5}, "valid string"),
        ({"response_format": "ulaw"}, "'response_format'"),
        ({"response_format": "mp3"}, "pcm only"),
        ({"stream_format": "sse"}, "pcm only"),
        ({"speed": 5}, "'speed'"),
        ({"sample_rate": 8000}, "Unrecognized request argument supplied: sample_rate"),
    ],
)
async def test_a_wrong_request_is_refused_in_openais_words(emulator, change, words):
    status, answer = await post(emulator, BODY | change)

    assert status in {400, 404}
    assert words in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"
    assert [refusal.where for refusal in emulator.refusals] == ["POST /v1/audio/speech"]
    assert not emulator.spoken


@pytest.mark.parametrize("name", ["model", "voice", "input"])
async def test_a_missing_field_is_named(emulator, name):
    status, answer = await post(emulator, {key: value for key, value in BODY.items() if key != name})

    assert status == 400
    assert f"'{name}'" in answer["error"]["message"]


async def test_mp3_is_what_a_client_gets_that_asks_for_nothing(emulator):
    status, answer = await post(
        emulator, {key: value for key, value in BODY.items() if key != "response_format"}
    )

    assert (status, answer["error"]["code"]) == (400, "emulator_pcm_only")


async def test_a_wrong_key_is_refused_and_never_repeated(emulator):
    status, answer = await post(emulator, BODY, key="sk-secret-one")

    assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
    assert "sk-secret-one" not in str(answer) + str(emulator.refusals)


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("500", openai.InternalServerError, None),
    ],
)
async def test_a_vendor_that_refuses_is_no_fault_of_the_client(emulator, client, fault, kind, code):
    emulator.fail_next(fault)

    with pytest.raises(kind) as caught:
        await hear(client)

    assert caught.value.code == code
    assert not emulator.refusals
    assert await hear(client)


async def test_429_says_when_to_come_back(emulator, client):
    emulator.fail_next("429", retry_after=7)

    with pytest.raises(openai.RateLimitError) as caught:
        await hear(client)

    assert caught.value.response.headers["retry-after"] == "7"


async def test_empty_is_200_without_a_byte(emulator, client):
    emulator.fail_next("empty")

    assert await hear(client) == []


async def test_cut_leaves_half_a_sentence_and_an_error(emulator, client):
    emulator.fail_next("cut")
    heard = bytearray()

    async def listen():
        async with client.audio.speech.with_streaming_response.create(**BODY) as response:
            async for chunk in response.iter_bytes():
                heard.extend(chunk)

    with pytest.raises(Exception, match="incomplete chunked read") as caught:
        await listen()

    assert caught.type.__name__ in {"RemoteProtocolError", "APIConnectionError"}
    assert 0 < len(heard) < 6 * len(babble("Hello there."))


async def test_slow_sends_its_first_byte_late(emulator, client):
    emulator.fail_next("slow", seconds=0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()

    await hear(client)

    assert loop.time() - began >= 0.2


async def test_hang_never_answers_and_a_client_that_gives_up_is_counted(emulator, client):
    emulator.fail_next("hang")

    with pytest.raises(openai.APITimeoutError):
        await hear(client.with_options(timeout=0.4))

    await emulator.until(lambda: emulator.cancelled == 1)
    assert emulator.open_streams == 0


async def test_a_client_that_leaves_in_the_middle_is_counted(emulator, client):
    emulator.chunk_delay = 5.0

    async with client.audio.speech.with_streaming_response.create(**BODY) as response:
        async for _ in response.iter_bytes():
            break

    await emulator.until(lambda: emulator.cancelled == 1)


async def test_the_models_can_be_looked_up(emulator, client):
    assert "gpt-4o-mini-tts" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("tts-1")).id == "tts-1"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("tts-9")
