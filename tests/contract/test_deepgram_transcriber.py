"""The Deepgram transcriber against a strict stand-in: no audio and no word is lost, and no failure is silent."""

import asyncio
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from pydantic import SecretStr

from openclaw_voicecall.api.speech import Heard, SpeechEdge, TranscriptionRequest
from openclaw_voicecall.errors import (
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import deepgram
from openclaw_voicecall.providers.deepgram import transcriber as module
from openclaw_voicecall.providers.deepgram.config import DeepgramTranscriberConfig, notices
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.faults import FaultProxy

pytestmark = pytest.mark.contract

KEY = "deepgram-key"
ORDER = "please call me back tomorrow noon"
LONG = "the quick brown fox jumps over the lazy dog and then it does the same thing all over again"
SILENCE = b"\xff" * 160


def spec():
    found = []
    deepgram.voicecall_register_transcribers(found.append)
    return found[0]


def config(url, **settings):
    return DeepgramTranscriberConfig(**{"base_url": url, "api_key": SecretStr(KEY)} | settings)


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

    @property
    def edges(self):
        return [event.speaking for event in self.events if isinstance(event, SpeechEdge)]


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
    async with DeepgramEmulator(key=KEY, recognizer=book) as emulator:
        yield emulator


async def test_an_utterance_comes_as_interims_and_a_final(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]
    assert len(caller.interims) > 1
    assert all(ORDER.startswith(interim) for interim in caller.interims)
    assert emulator.refusals == []


async def test_every_frame_arrives_unchanged_from_the_first_one_on(emulator):
    audio = babble(ORDER) + quiet(1)
    async with call(emulator.url) as caller:
        await caller.say(audio)  # the connection is not even begun
        await caller.until(lambda: caller.finals)

    (stream,) = emulator.streams
    assert bytes(stream.audio) == audio


async def test_edges_of_speech_come_from_deepgram_and_say_how_long_ago(emulator):
    async with call(emulator.url) as caller:
        await caller.say(quiet(0.5) + babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.edges == [True, False]
    start, end = (event for event in caller.events if isinstance(event, SpeechEdge))
    # All of it was sent at once, so "ago" counts from the end of the audio.
    assert start.ago == pytest.approx(len(ORDER) * 0.06 + 1, abs=0.1)
    assert end.ago == pytest.approx(1, abs=0.1)
    assert caller.events.index(end) < caller.events.index(Heard(ORDER, final=True))


async def test_long_speech_is_put_together_to_one_final(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(LONG) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [LONG]
    assert len(LONG) * 0.06 > 5, "or Deepgram would not have cut it"


async def test_finish_brings_the_final_at_once(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER) + quiet(0.1))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals, 1.0)

    assert caller.finals == [ORDER]
    assert emulator.streams[0].controls[0] == "Finalize"


async def test_finish_before_the_connection_is_there_waits_for_the_audio(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]


async def test_finish_without_a_word_brings_an_empty_final(emulator):
    async with call(emulator.url) as caller:
        await caller.say(quiet(0.5))
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [""]


async def test_finish_with_nothing_to_flush_is_not_stuck(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER) + quiet(0.32))
        await caller.until(lambda: caller.finals)
        await caller.stream.finish_utterance()
        await caller.until(lambda: len(caller.finals) == 2)

    assert caller.finals == [ORDER, ""]


async def test_without_an_answer_the_best_interim_is_the_final(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.3)
    emulator.fail_next("ignore-finalize")
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims and caller.interims[-1].count(" ") >= 3)
        await caller.stream.finish_utterance()
        await caller.until(lambda: caller.finals)

    assert caller.finals == [caller.interims[-1]]


async def test_a_late_answer_brings_only_what_it_adds(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    emulator.fail_next("late-finalize", seconds=0.6)
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.stream.finish_utterance()
        await caller.until(lambda: len(caller.finals) == 2)

    given, added = caller.finals
    assert given
    assert added
    assert f"{given} {added}" == ORDER


async def test_the_last_words_come_when_the_stream_is_closed(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)
        await caller.stream.close()
        await caller.ended()

    assert caller.finals == [ORDER]
    assert emulator.streams[0].controls == ["CloseStream"]


async def test_deepgram_is_told_goodbye_when_nobody_listens_any_more(emulator):
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)

    assert emulator.streams[0].controls == ["CloseStream"]


async def test_a_stream_without_audio_is_kept_alive(emulator, monkeypatch):
    monkeypatch.setattr(module, "KEEP_ALIVE_AFTER", 0.05)
    emulator.idle_limit = 0.3
    async with call(emulator.url) as caller:
        await caller.say(SILENCE)
        await asyncio.sleep(0.5)  # longer than Deepgram waits
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]
    assert "KeepAlive" in emulator.streams[0].controls


async def test_messages_that_nobody_knows_are_ignored(emulator):
    emulator.fail_next("news")
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    assert caller.finals == [ORDER]


async def test_where_a_turn_detector_speaks_up_deepgrams_edges_are_silent(emulator):
    async with call(emulator.url) as caller:
        await caller.stream.send(SILENCE)
        await caller.stream.speech_started()
        await caller.say(babble(ORDER) + quiet(1))
        await caller.stream.speech_stopped()
        await caller.until(lambda: caller.finals)

    assert caller.edges == []


async def test_a_noise_is_no_endless_speech():
    async with DeepgramEmulator(key=KEY) as emulator, call(emulator.url) as caller:
        await caller.say(babble("x" * 10))
        await caller.until(lambda: caller.edges)
        await caller.say(babble("y" * 60))  # more than three seconds without a word
        await caller.until(lambda: caller.edges == [True, False])


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
    async with call(emulator.url) as caller:
        await caller.ended()

    assert type(caller.error) is error
    assert caller.error.status == status
    assert caller.error.request_id.endswith("000000000000")
    assert KEY not in str(caller.error)
    if status == 401:
        assert "Invalid credentials" in str(caller.error)
    if status == 429:
        assert caller.error.retry_after == 7


async def test_a_handshake_without_an_answer_ends(emulator, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_LIMIT", 0.2)
    emulator.fail_next("hang")
    async with call(emulator.url) as caller:
        await caller.ended()

    assert isinstance(caller.error, VendorTimeout)


async def test_a_stream_closed_by_deepgram_is_an_error(emulator):
    emulator.fail_next("close")
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)
    assert caller.error.status == 1011
    assert "NET-0001" in str(caller.error)


async def test_a_stream_closed_for_what_we_send_is_rejected(emulator):
    emulator.fail_next("close", code=1008, reason="DATA-0000")
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, VendorRejected)


async def test_even_an_orderly_close_in_the_middle_is_an_error(emulator):
    emulator.fail_next("close", code=1000, reason="")
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)


@pytest.mark.parametrize("fault", ["cut", "error"])
async def test_a_broken_stream_is_an_error(emulator, fault):
    emulator.fail_next(fault)
    async with call(emulator.url) as caller:
        await caller.say(babble(ORDER))
        await caller.ended()
        await caller.say(babble(ORDER))  # sending into it is harmless

    assert isinstance(caller.error, VendorUnavailable)


async def test_a_stream_that_says_nothing_any_more_is_an_error(emulator, monkeypatch):
    monkeypatch.setattr(module, "FINISH_LIMIT", 0.2)
    emulator.fail_next("quiet")
    async with call(emulator.url) as caller:
        for _ in range(2):
            await caller.say(babble(ORDER))
            await caller.stream.finish_utterance()
        await caller.ended()

    assert caller.finals == ["", ""]
    assert isinstance(caller.error, VendorTimeout)


async def test_a_cut_network_is_an_error(emulator):
    async with (
        FaultProxy("127.0.0.1", emulator.port) as proxy,
        call(f"http://127.0.0.1:{proxy.port}") as caller,
    ):
        await caller.say(babble(ORDER))
        await caller.until(lambda: caller.interims)
        proxy.cut()
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)


async def test_nobody_at_the_address_is_an_error(free_port):
    async with call(f"http://127.0.0.1:{free_port}") as caller:
        await caller.ended()

    assert isinstance(caller.error, VendorUnavailable)


async def test_a_missing_key_is_named_when_the_transcriber_is_opened():
    with pytest.raises(VendorAuthError, match=r"streaming\.providers\.deepgram\.apiKey or DEEPGRAM_API_KEY"):
        async with spec().open(DeepgramTranscriberConfig(), None):
            pass


async def test_the_settings_reach_deepgram(emulator):
    settings = {"model": "nova-2", "language": "de", "endpointing_ms": 500, "interim_results": False}
    async with call(emulator.url, vad_events=False, **settings) as caller:
        await caller.say(babble(ORDER) + quiet(1))
        await caller.until(lambda: caller.finals)

    query = emulator.streams[0].query
    assert (query["model"], query["language"], query["endpointing"]) == ("nova-2", "de", "500")
    assert query["interim_results"] == query["vad_events"] == "false"
    assert caller.edges == caller.interims == []
    assert not spec().detects_speech(config(emulator.url, vad_events=False))


async def test_the_check_names_the_project_and_refuses_a_wrong_key(emulator):
    assert await spec().check(config(emulator.url), None) == "the key belongs to project Voice calls"
    with pytest.raises(VendorAuthError):
        await spec().check(config(emulator.url, api_key=SecretStr("wrong")), None)


def test_what_is_odd_in_the_settings_is_said():
    assert notices(DeepgramTranscriberConfig()) == []
    odd = DeepgramTranscriberConfig(
        model="flux-general-en", encoding="linear16", endpointing_ms=0, interim_results=False
    )
    assert len(notices(odd)) == 4
    assert spec().describe(DeepgramTranscriberConfig()) == "Deepgram nova-3"


@asynccontextmanager
async def raw(emulator, *, authorization=f"Token {KEY}", **query):
    """A client that is not ours."""
    right = {"model": "nova-3", "encoding": "mulaw", "sample_rate": "8000"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            emulator.url + "/v1/listen", params=right | query, headers={"Authorization": authorization}
        ) as socket,
    ):
        yield socket


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"authorization": f"Bearer {KEY}"}, 401),
        ({"authorization": "Token wrong"}, 401),
        ({"model": "flux-general-en"}, 400),
        ({"modell": "nova-3"}, 400),
        ({"encoding": "linear16"}, 400),
        ({"utterance_end_ms": "1000"}, 400),
        ({"utterance_end_ms": "500", "interim_results": "true"}, 400),
        ({"interim_results": "True"}, 400),
    ],
    ids=str,
)
async def test_the_stand_in_refuses_wrong_handshakes(emulator, wrong, status):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with raw(emulator, **wrong):
            pass
    assert refused.value.status == status
    assert "dg-error" in refused.value.headers
    assert len(emulator.refusals) == 1


@pytest.mark.parametrize("message", ['{"type":"keepalive"}', "hello", '{"audio":"AAAA"}'])
async def test_the_stand_in_refuses_wrong_messages(emulator, message):
    async with raw(emulator) as socket, asyncio.timeout(3):
        await socket.send_str(message)
        assert (await socket.receive_json())["variant"] == "SchemaError"
        await socket.receive()
        assert socket.close_code == 1008
    assert len(emulator.refusals) == 1


async def test_the_stand_in_closes_idle_streams(emulator):
    emulator.idle_limit = 0.1
    async with raw(emulator) as socket, asyncio.timeout(3):
        message = await socket.receive()
        assert (socket.close_code, "NET-0001" in message.extra) == (1011, True)


async def test_without_a_recognizer_the_stand_in_says_its_transcripts_in_order():
    async with DeepgramEmulator(key=KEY, transcripts=["hello there", "goodbye"]) as emulator:
        async with call(emulator.url) as caller:
            await caller.say(babble("a" * 20) + quiet(1) + babble("b" * 20) + quiet(1))
            await caller.until(lambda: len(caller.finals) == 2)
        assert caller.finals == ["hello there", "goodbye"]
