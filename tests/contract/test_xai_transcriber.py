"""The xAI transcriber against a strict stand-in: no audio and no word is lost, and no failure is silent."""

import asyncio
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from pydantic import SecretStr

from openclaw_voicecall.api.speech import Heard, TranscriptionRequest
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import xai
from openclaw_voicecall.providers.xai import transcriber as module
from openclaw_voicecall.providers.xai.config import XaiTranscriberConfig, notices
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.emulators.xai import XaiEmulator
from openclaw_voicecall.testing.faults import FaultProxy

pytestmark = pytest.mark.contract

KEY = "xai-key"
ORDER = "please call me back tomorrow noon"
LONG = "the quick brown fox jumps over the lazy dog and then it does the same thing all over again"
SILENCE = b"\xff" * 160


def spec():
    found = []
    xai.voicecall_register_transcribers(found.append)
    return found[0]


def config(url, **settings):
    return XaiTranscriberConfig(**{"base_url": url, "api_key": SecretStr(KEY)} | settings)


def quiet(seconds):
    return b"\xff" * round(seconds * 8000)


class Caller:
    """A call's audio going into a stream, and what comes out of it."""

    def __init__(self, stream):
        self.stream = stream
        self.events = []
        self.error = None
        self.changed = asyncio.Event()
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for event in self.stream:
                self.events.append(event)
                self.changed.set()
        except Exception as error:
            self.error = error
        self.changed.set()

    async def say(self, audio):
        for at in range(0, len(audio), 160):
            await self.stream.send(audio[at : at + 160].ljust(160, b"\xff"))

    async def until(self, condition, seconds=5.0):
        async with asyncio.timeout(seconds):
            while not condition():
                assert not (
                    self.reader.done() and self.changed.is_set() and not condition() and self.error
                ), self.error
                self.changed.clear()
                await self.changed.wait()

    async def ended(self):
        async with asyncio.timeout(5):
            await self.reader

    @property
    def finals(self):
        return [event.text for event in self.events if isinstance(event, Heard) and event.final]

    @property
    def interims(self):
        return [event.text for event in self.events if isinstance(event, Heard) and not event.final]


@asynccontextmanager
async def call(url, language="en", **settings):
    opened = spec().open(config(url, **settings), None)
    async with (
        opened as transcriber,
        transcriber.open_stream(TranscriptionRequest(call_id="c1", language=language)) as stream,
    ):
        caller = Caller(stream)
        try:
            yield caller
        finally:
            caller.reader.cancel()
            with suppress(asyncio.CancelledError):
                await caller.reader


@pytest.fixture
def book():
    book = ClipBook()
    for text in (ORDER, LONG):
        book.add(text, babble(text))
    return book


@pytest.fixture
async def emulator(book):
    async with XaiEmulator(key=KEY, recognizer=book) as emulator:
        yield emulator


async def test_an_utterance_comes_as_interims_and_a_final(emulator):
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]
    assert len(caller.interims) > 1
    assert all(ORDER.startswith(interim) for interim in caller.interims)
    assert emulator.refusals == []
    assert not spec().detects_speech


async def test_audio_is_held_until_xai_is_ready_and_every_frame_arrives(emulator):
    emulator.fail_next("slow-start", seconds=0.2)
    audio = babble(ORDER) + quiet(1)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(audio)
        await caller.until(lambda: caller.finals)

    (stream,) = emulator.streams
    assert bytes(stream.audio) == audio
    assert emulator.refusals == []
    assert caller.finals == [ORDER]


@pytest.mark.parametrize("fault", [None, "no-times"])
async def test_long_speech_that_xai_cuts_and_repeats_is_said_once(emulator, fault):
    if fault:
        emulator.fail_next(fault)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(LONG) + quiet(1) + babble(ORDER) + quiet(1))
        await caller.until(lambda: len(caller.finals) == 2)

    assert caller.finals == [LONG, ORDER]
    assert len(LONG) * 0.06 > 5, "or xAI would not have cut it"
    assert all(LONG.startswith(text) or ORDER.startswith(text) for text in caller.interims)


async def test_finish_brings_the_final_at_once(emulator):
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER) + quiet(0.1))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals, 1.0)

    assert caller.finals == [ORDER]
    assert emulator.streams[0].controls[0] == "finalize"


@pytest.mark.parametrize("times", [True, False])
async def test_what_xai_repeats_after_finish_is_not_said_twice(emulator, times):
    emulator.fail_next("repeat")
    if not times:
        emulator.fail_next("no-times")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER) + quiet(0.1))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)
        await caller.say(babble(LONG) + quiet(1))
        await caller.until(lambda: len(caller.finals) == 2)
        await caller.stream.close()
        await caller.ended()

    assert caller.finals == [ORDER, LONG]


async def test_the_same_words_said_twice_are_two_utterances(emulator):
    async with call(emulator.url + "/v1") as caller:
        await caller.say((babble(ORDER) + quiet(4)) * 2)
        await caller.until(lambda: len(caller.finals) == 2)

    assert caller.finals == [ORDER, ORDER]


async def test_finish_before_xai_is_ready_waits_for_the_audio(emulator):
    emulator.fail_next("slow-start", seconds=0.2)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]


async def test_finish_without_a_word_brings_an_empty_final(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(quiet(0.5))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [""]


async def test_without_an_answer_the_best_interim_is_the_final(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.3)
    emulator.fail_next("ignore-finalize")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims and caller.interims[-1].count(" ") >= 3)
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [caller.interims[-1]]


@pytest.mark.parametrize("times", [True, False])
async def test_a_late_answer_brings_only_what_it_adds(emulator, monkeypatch, times):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    emulator.fail_next("late-finalize", seconds=0.5)
    if not times:
        emulator.fail_next("no-times")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.stream.finish_utterance()
        await caller.until(lambda: len(caller.finals) == 2)

    given, added = caller.finals
    assert given
    assert added
    assert f"{given} {added}" == ORDER


async def test_the_last_words_come_when_the_stream_is_closed(emulator):
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)
        await caller.stream.close()
        await caller.ended()

    assert caller.finals == [ORDER]
    assert emulator.streams[0].controls == ["audio.done"]


async def test_xai_is_told_goodbye_when_nobody_listens_any_more(emulator):
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)

    assert emulator.streams[0].controls == ["audio.done"]


async def test_a_stream_without_audio_is_kept_alive(emulator, monkeypatch):
    monkeypatch.setattr(module, "KEEP_ALIVE_AFTER", 0.05)
    emulator.idle_limit = 0.3
    async with call(emulator.url + "/v1") as caller:
        await caller.say(SILENCE)
        await asyncio.sleep(0.5)  # longer than the stand-in waits
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]


@pytest.mark.parametrize("fault", ["news", "hiccup"])
async def test_odd_messages_in_the_middle_are_survived(emulator, fault):
    emulator.fail_next("slow-start", seconds=0.1)
    emulator.fail_next(fault)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]
    assert emulator.refusals == []


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("unauthorized", VendorAuthError, 401),
        ("rate-limit", VendorRateLimited, 429),
        ("unavailable", VendorUnavailable, 503),
    ],
)
async def test_a_refused_handshake_says_why(emulator, fault, error, status):
    emulator.fail_next(fault)
    async with call(emulator.url + "/v1") as caller:
        await caller.ended()

    assert type(caller.error) is error
    assert caller.error.status == status
    assert KEY not in str(caller.error)
    if status == 429:
        assert caller.error.retry_after == 7


@pytest.mark.parametrize("fault", ["hang", "no-start"])
async def test_a_stream_that_never_gets_ready_ends(emulator, monkeypatch, fault):
    monkeypatch.setattr(module, "READY_LIMIT", 0.2)
    emulator.fail_next(fault)
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, VendorTimeout)


@pytest.mark.parametrize(
    ("code", "error"), [(1011, VendorUnavailable), (1008, VendorRejected), (1000, VendorUnavailable)]
)
async def test_a_stream_closed_by_xai_is_an_error(emulator, code, error):
    emulator.fail_next("close", code=code, reason="because")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, error)
    assert "because" in str(caller.error)


async def test_a_broken_stream_is_an_error(emulator):
    emulator.fail_next("cut")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.ended()
        await caller.say(babble(ORDER))  # sending into it is harmless

    assert isinstance(caller.error, VendorUnavailable)


async def test_an_error_message_after_which_nothing_comes_is_an_error(emulator, monkeypatch):
    monkeypatch.setattr(module, "ERROR_LIMIT", 0.2)
    emulator.fail_next("error")
    async with call(emulator.url + "/v1") as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)
    assert "ASR backend is gone" in str(caller.error)


async def test_a_stream_that_says_nothing_any_more_is_an_error(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    emulator.fail_next("quiet")
    async with call(emulator.url + "/v1") as caller:
        for _ in range(2):
            await caller.say(babble(ORDER))
            await caller.stream.finish_utterance()
        await caller.ended()

    assert caller.finals == ["", ""]
    assert isinstance(caller.error, VendorTimeout)


async def test_a_cut_network_is_an_error(emulator):
    async with (
        FaultProxy("127.0.0.1", emulator.port) as proxy,
        call(f"http://127.0.0.1:{proxy.port}/v1") as caller,
    ):
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)
        proxy.cut()
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)


async def test_a_missing_key_is_named_when_the_transcriber_is_opened():
    with pytest.raises(VendorAuthError, match=r"streaming\.providers\.xai\.apiKey or XAI_API_KEY"):
        async with spec().open(XaiTranscriberConfig(), None):
            pass


async def test_the_settings_reach_xai(emulator):
    settings = {"model": "grok-voice-transcribe-2.0", "endpointing_ms": 9000, "interim_results": False}
    async with call(emulator.url + "/v1", language="pt-BR", **settings) as caller:
        await caller.say(babble(ORDER) + quiet(6))
        await caller.until(lambda: caller.finals)

    query = emulator.streams[0].query
    assert query == {
        "sample_rate": "8000",
        "encoding": "mulaw",
        "interim_results": "false",
        "endpointing": "5000",
        "language": "pt",
        "model": "grok-voice-transcribe-2.0",
    }


async def test_a_language_that_xai_is_not_told_of_is_left_out(emulator):
    async with call(emulator.url + "/v1", language="cy-GB") as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert "language" not in emulator.streams[0].query


async def test_the_check_counts_the_models_and_refuses_a_wrong_key(emulator):
    assert await spec().check(config(emulator.url + "/v1"), None) == "the key may use 2 models"
    with pytest.raises(VendorAuthError):
        await spec().check(config(emulator.url + "/v1", api_key=SecretStr("wrong")), None)


def test_what_is_odd_in_the_settings_is_said():
    assert notices(XaiTranscriberConfig()) == []
    odd = XaiTranscriberConfig(encoding="pcm", sample_rate=16000, endpointing_ms=0, interim_results=False)
    assert len(notices(odd)) == 3
    assert len(notices(XaiTranscriberConfig(endpointing_ms=6000))) == 1
    assert spec().describe(XaiTranscriberConfig()) == "xAI speech to text"


@asynccontextmanager
async def raw(emulator, *, authorization=f"Bearer {KEY}", **query):
    """A client that is not ours."""
    right = {"encoding": "mulaw", "sample_rate": "8000"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            emulator.url + "/v1/stt", params=right | query, headers={"Authorization": authorization}
        ) as socket,
    ):
        yield socket


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"authorization": f"Token {KEY}"}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"encoding": "g711_ulaw"}, 400),
        ({"encoding": "pcm"}, 400),
        ({"endpointing": "5001"}, 400),
        ({"language": "en-US"}, 400),
        ({"interim_results": "True"}, 400),
        ({"silence": "800"}, 400),
    ],
    ids=str,
)
async def test_the_stand_in_refuses_wrong_handshakes(emulator, wrong, status):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with raw(emulator, **wrong):
            pass
    assert refused.value.status == status
    assert len(emulator.refusals) == 1


async def test_the_stand_in_throws_early_audio_away(emulator):
    emulator.fail_next("slow-start", seconds=0.1)
    async with raw(emulator) as socket, asyncio.timeout(3):
        await socket.send_bytes(babble(ORDER))
        assert (await socket.receive_json())["type"] == "transcript.created"
        await socket.send_str('{"type":"audio.done"}')
        assert (await socket.receive_json())["text"] == ""
    assert len(emulator.refusals) == 1


@pytest.mark.parametrize(
    "message", ['{"type":"CloseStream"}', "hello", '{"type":"input_audio_buffer.append"}']
)
async def test_the_stand_in_refuses_wrong_messages(emulator, message):
    async with raw(emulator) as socket, asyncio.timeout(3):
        await socket.receive()
        await socket.send_str(message)
        assert (await socket.receive_json())["type"] == "error"
        await socket.receive()
        assert socket.close_code == 1008
    assert len(emulator.refusals) == 1


async def test_the_stand_in_ends_an_utterance_for_every_breath_unless_told_otherwise(emulator):
    first, second = "please call me", "back tomorrow"
    for text in (first, second):
        emulator.recognizer.add(text, babble(text))
    async with raw(emulator) as socket, asyncio.timeout(3):
        await socket.receive()
        await socket.send_bytes(babble(first) + quiet(0.1) + babble(second) + quiet(0.1))
        texts = [(await socket.receive_json())["text"] for _ in range(2)]
    assert texts == [first, second]


async def test_without_a_recognizer_the_stand_in_says_its_transcripts_in_order():
    async with XaiEmulator(key=KEY, transcripts=["hello there", "goodbye"]) as emulator:
        async with call(emulator.url + "/v1") as caller:
            await caller.say(babble("a" * 20) + quiet(1) + babble("b" * 20) + quiet(1))
            await caller.until(lambda: len(caller.finals) == 2)
        assert caller.finals == ["hello there", "goodbye"]
