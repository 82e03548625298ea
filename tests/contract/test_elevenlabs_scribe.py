"""The Scribe transcriber against a strict stand-in for ElevenLabs' realtime transcription."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import TranscriptionRequest
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import elevenlabs
from openclaw_voicecall.providers.elevenlabs.account import Account
from openclaw_voicecall.providers.elevenlabs.config import ElevenLabsScribeConfig
from openclaw_voicecall.providers.elevenlabs.transcriber import ScribeTranscriber
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs_scribe import ScribeEmulator
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

REQUEST = TranscriptionRequest(call_id="c1", language="en-US")
SILENCE = b"\xff" * 160
HELLO, ORDER = "hello there my friend", "two pizzas with olives please"


@pytest.fixture
def book():
    return ClipBook()


@pytest.fixture
async def vendor(book):
    async with ScribeEmulator(recognizer=book) as emulator, asyncio.timeout(15):
        yield emulator


def spec():
    found = []
    elevenlabs.voicecall_register_transcribers(found.append)
    assert [each.name for each in found] == ["elevenlabs"]
    return found[0]


def runtime():
    return Runtime(clock=None, ids=None, state_dir=Path(), webhook_url=str)


def settings(vendor, **changes):
    return ElevenLabsScribeConfig(api_key=SecretStr(vendor.key), base_url=vendor.url, **changes)


@asynccontextmanager
async def listening(vendor, **changes):
    async with (
        spec().open(settings(vendor, **changes), runtime()) as transcriber,
        transcriber.open_stream(REQUEST) as stream,
    ):
        yield stream


async def play(stream, audio):
    for at in range(0, len(audio), 160):
        await stream.send(audio[at : at + 160])


async def final(stream):
    """The next final and the interims before it."""
    interims = []
    async for event in stream:
        if event.final:
            return event.text, interims
        interims.append(event.text)
    raise AssertionError("the stream ended without a final")


async def test_an_utterance_comes_back_as_interims_and_one_final(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    async with listening(vendor) as stream:
        await stream.speech_started()
        await play(stream, clip + SILENCE * 20)
        await stream.speech_stopped()
        await stream.finish_utterance()
        text, interims = await final(stream)
    assert text == HELLO
    assert interims
    assert HELLO.startswith(interims[0])
    assert vendor.sessions[0].query == {
        "model_id": "scribe_v2_realtime",
        "audio_format": "ulaw_8000",
        "commit_strategy": "manual",
        "language_code": "en",
    }
    assert not vendor.refusals


async def test_every_byte_of_audio_arrives_in_order(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    audio = SILENCE * 3 + clip[:4000] + SILENCE * 7
    async with listening(vendor) as stream:
        await play(stream, audio)
        await stream.finish_utterance()
        await final(stream)
    assert bytes(vendor.sessions[0].audio) == audio


async def test_utterances_are_kept_apart(vendor, book):
    clips = [book.add(text, babble(text)) for text in (HELLO, ORDER)]
    heard = []
    async with listening(vendor) as stream:
        for clip in clips:
            await play(stream, clip + SILENCE * 40)
            await stream.finish_utterance()
            heard.append((await final(stream))[0])
        await play(stream, SILENCE * 40)
        await stream.finish_utterance()
        heard.append((await final(stream))[0])
    assert heard == [HELLO, ORDER, ""]


async def test_asking_twice_gives_two_answers_and_no_refused_commit(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    async with listening(vendor) as stream:
        await play(stream, clip)
        await stream.finish_utterance()
        await stream.finish_utterance()
        assert [(await final(stream))[0], (await final(stream))[0]] == [HELLO, ""]
        await stream.finish_utterance()
        assert (await final(stream))[0] == ""
    assert not vendor.refusals


async def test_a_long_utterance_that_the_vendor_cuts_comes_in_one_piece(book):
    async with ScribeEmulator(recognizer=book, longest=10400) as vendor, asyncio.timeout(15):
        clips = [book.add(text, babble(text)) for text in (HELLO, "and olives please")]
        async with listening(vendor) as stream:
            await play(stream, clips[0] + SILENCE * 2)
            await vendor.until(lambda: vendor.sessions[0].transcripts == [HELLO])
            await play(stream, clips[1][:5600])
            events = aiter(stream)
            while not (event := await anext(events)).text.startswith(f"{HELLO} and"):
                assert not event.final
            await play(stream, clips[1][5600:])
            await stream.finish_utterance()
            text, _ = await final(stream)
    assert text == f"{HELLO} and olives please"


async def test_the_vendors_own_voice_detection_ends_utterances_by_itself(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    async with listening(vendor, commit_strategy="vad", vad_silence_threshold_secs=0.5) as stream:
        await play(stream, clip + SILENCE * 30)
        assert (await final(stream))[0] == HELLO
    assert vendor.sessions[0].commits == 0


async def test_with_the_vendors_voice_detection_too_the_final_comes_when_it_is_asked_for(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    async with listening(vendor, commit_strategy="vad") as stream:
        await play(stream, clip + SILENCE * 20)
        await stream.finish_utterance()
        assert (await final(stream))[0] == HELLO


async def test_the_stream_is_there_only_when_the_session_has_started(vendor):
    vendor.fail_next("slow-start", seconds=0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with listening(vendor):
        assert loop.time() - began >= 0.2


async def test_words_that_came_before_a_failure_are_heard_before_it(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    vendor.fail_next("close", chunks=len(clip) // 800 + 2)
    async with listening(vendor) as stream:
        await play(stream, clip)
        await stream.finish_utterance()
        await vendor.until(lambda: bool(vendor.sessions[0].transcripts))
        await play(stream, SILENCE * 20)
        assert (await final(stream))[0] == HELLO
        with pytest.raises(VendorUnavailable):
            await final(stream)


async def test_a_stream_whose_vendor_is_gone_takes_audio_without_complaint(vendor):
    vendor.fail_next("close")
    async with listening(vendor) as stream:
        await play(stream, SILENCE * 10)
        with pytest.raises(VendorUnavailable):
            await final(stream)
        await play(stream, SILENCE * 100)
        await stream.finish_utterance()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", VendorAuthError, "401"),
        ("429", VendorRateLimited, "429"),
        ("auth", VendorAuthError, r"streaming\.providers\.elevenlabs\.apiKey"),
    ],
)
async def test_a_refused_session_is_an_error_of_the_opening(vendor, fault, error, words):
    vendor.fail_next(fault)
    with pytest.raises(error, match=words):
        async with listening(vendor):
            raise AssertionError("a stream was given")


async def test_an_account_without_credits_is_told_apart_from_a_wrong_key(vendor):
    vendor.fail_next("quota")
    with pytest.raises(VendorRejected, match="quota is used up") as caught:
        async with listening(vendor) as stream:
            await final(stream)
    assert not isinstance(caught.value, VendorAuthError)


async def test_a_session_that_ran_too_long_may_be_opened_again(vendor):
    vendor.fail_next("expire")
    async with listening(vendor) as stream:
        await play(stream, SILENCE * 10)
        with pytest.raises(VendorUnavailable, match="ran too long") as caught:
            await final(stream)
    assert caught.value.retryable


async def test_a_message_that_cannot_be_read_harms_nothing(vendor, book, caplog):
    clip = book.add(HELLO, babble(HELLO))
    vendor.fail_next("junk")
    async with listening(vendor) as stream:
        await play(stream, clip)
        await stream.finish_utterance()
        assert (await final(stream))[0] == HELLO
    assert "cannot be read" in caplog.text


async def test_a_vendor_that_falls_silent_is_noticed(vendor):
    vendor.fail_next("quiet")
    who = Account(vendor.url, vendor.key, "streaming.providers.elevenlabs")
    transcriber = ScribeTranscriber(settings(vendor), who, answer_limit=0.2)
    async with transcriber.open_stream(REQUEST) as stream:
        await play(stream, SILENCE * 50)
        await stream.finish_utterance()
        with pytest.raises(VendorTimeout, match="no final text"):
            await final(stream)


async def test_an_ignored_commit_is_answered_all_the_same(vendor, book):
    clip = book.add(HELLO, babble(HELLO))
    vendor.fail_next("throttle")
    async with listening(vendor) as stream:
        await play(stream, clip)
        await stream.finish_utterance()
        text, interims = await final(stream)
    assert text == interims[-1]


async def test_nothing_is_left_behind_when_a_call_ends(vendor):
    before = asyncio.all_tasks()
    async with listening(vendor) as stream:
        await play(stream, SILENCE * 100)
    await vendor.until(lambda: vendor.sessions[0].closed)
    assert not [task for task in asyncio.all_tasks() - before if "providers/" in repr(task)]


async def test_an_address_where_nobody_listens_is_named():
    config = ElevenLabsScribeConfig(api_key=SecretStr("k"), base_url="http://127.0.0.1:9")
    async with spec().open(config, runtime()) as transcriber:
        with pytest.raises(VendorUnavailable, match="cannot be reached"):
            async with transcriber.open_stream(REQUEST):
                raise AssertionError("a stream was given")


async def test_without_a_key_nothing_opens():
    with pytest.raises(VendorAuthError, match="ELEVENLABS_API_KEY"):
        async with spec().open(ElevenLabsScribeConfig(), runtime()):
            raise AssertionError("a transcriber was given")


async def test_the_check_tells_what_the_account_says(vendor):
    assert await spec().check(settings(vendor), runtime()) == (
        "the key is accepted; 1200 of 100000 credits of the creator plan are used"
    )
    with pytest.raises(VendorAuthError, match=r"streaming\.providers\.elevenlabs\.apiKey"):
        await spec().check(ElevenLabsScribeConfig(api_key=SecretStr("wrong"), base_url=vendor.url), runtime())


CHUNK = {"message_type": "input_audio_chunk", "audio_base_64": "", "commit": False, "sample_rate": 8000}
QUERY = {"model_id": "scribe_v2_realtime", "audio_format": "ulaw_8000", "commit_strategy": "manual"}


@pytest.mark.parametrize(
    ("query", "key", "message", "answer"),
    [
        ({}, "wrong", None, "auth_error"),
        ({"audio_format": "mulaw"}, "", None, "invalid_request"),
        ({"audio_format": "pcm_16000"}, "", None, "invalid_request"),
        ({"model_id": "scribe_v1"}, "", None, "invalid_request"),
        ({"commit_strategy": "auto"}, "", None, "invalid_request"),
        ({"encoding": "mulaw"}, "", None, "invalid_request"),
        ({"vad_threshold": "1"}, "", None, "invalid_request"),
        ({}, "", b"\xff" * 160, "input_error"),
        ({}, "", "junk", "input_error"),
        ({}, "", {"message_type": "commit"}, "invalid_request"),
        ({}, "", CHUNK | {"audio": "x"}, "invalid_request"),
        ({}, "", CHUNK | {"sample_rate": 16000}, "input_error"),
        ({}, "", CHUNK | {"audio_base_64": "!"}, "input_error"),
        (
            {},
            "",
            CHUNK | {"audio_base_64": base64.b64encode(b"\xff" * 80000).decode()},
            "chunk_size_exceeded",
        ),
        ({}, "", CHUNK | {"commit": True}, "commit_throttled"),
    ],
)
async def test_the_stand_in_refuses_a_wrong_client(vendor, query, key, message, answer):
    url, headers = f"{vendor.url}/v1/speech-to-text/realtime", {"xi-api-key": key or vendor.key}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, params=QUERY | query, headers=headers) as socket,
    ):
        if message is not None:
            assert (await socket.receive_json())["message_type"] == "session_started"
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_str(message if isinstance(message, str) else json.dumps(message))
        said = await socket.receive_json()
    assert said["message_type"] == answer
    assert said["error"]
    assert vendor.refusals


def test_every_fault_is_described():
    assert all(ScribeEmulator.FAULTS.values())
    assert issubclass(VendorTimeout, VendorError)
