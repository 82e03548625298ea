"""The OpenAI transcriber against a stand-in for its Realtime API: every word in order, or an error with a cause."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import Heard, SpeechEdge, TranscriptionRequest
from openclaw_voicecall.core import events
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.providers import openai as plugin
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.config import OpenAITranscriberConfig
from openclaw_voicecall.providers.openai.transcriber import Limits, OpenAITranscriber
from openclaw_voicecall.session.chain import Link, Rotation
from openclaw_voicecall.session.listening import Listening
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.openai_realtime import OpenAIRealtimeEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import CountingIds, LoopClock

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
FRAME = 160
REQUEST = TranscriptionRequest(call_id="c1", language="en-US")
BOOKING = "I would like to book a table"
FOUR = "for four people tonight"
PAUSE = b"\xff" * 8000


class Hand:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def wall(self):
        return self.now


class Line:
    """A stream, its audio going in as fast as it is taken, and what came out of it."""

    def __init__(self, stream):
        self.stream = stream
        self.heard = []
        self.error = None
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for heard in self.stream:
                self.heard.append(heard)
                self.news.set()
        except Exception as error:
            self.error = error
        self.news.set()

    async def say(self, *pieces):
        for audio in pieces:
            for at in range(0, len(audio), FRAME):
                await self.stream.send(audio[at : at + FRAME].ljust(FRAME, b"\xff"))

    @property
    def finals(self):
        return [heard.text for heard in self.heard if isinstance(heard, Heard) and heard.final]

    @property
    def edges(self):
        return [heard for heard in self.heard if isinstance(heard, SpeechEdge)]

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                assert self.error is None, self.error
                self.news.clear()
                await self.news.wait()

    async def failure(self):
        async with asyncio.timeout(5):
            await self.task
        assert self.error is not None
        return self.error


@pytest.fixture
def book():
    return ClipBook()


@pytest.fixture
async def vendor(book):
    async with OpenAIRealtimeEmulator(key=KEY, recognizer=book) as emulator:
        yield emulator


def transcriber(vendor, *, key=KEY, clock=None, limits=None, **settings):
    owner = account(SecretStr(key), f"{vendor.url}/v1", section="streaming.providers.openai")
    return OpenAITranscriber(owner, OpenAITranscriberConfig(**settings), clock or LoopClock(), limits)


@asynccontextmanager
async def call(vendor, request=REQUEST, **settings):
    async with transcriber(vendor, **settings).open_stream(request) as stream:
        line = Line(stream)
        try:
            yield line
        finally:
            line.task.cancel()
            await asyncio.wait([line.task])


async def test_the_caller_is_heard_from_the_first_word_to_the_last(vendor, book):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    async with call(vendor) as line:
        await line.say(first, PAUSE, second, PAUSE)
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == [BOOKING, FOUR]
    assert [edge.speaking for edge in line.edges] == [True, False, True, False]
    assert vendor.refusals == []
    (session,) = vendor.sessions
    assert session.early == 0
    assert bytes(session.audio).startswith(first)
    given = session.config["audio"]["input"]
    assert given["format"] == {"type": "audio/pcmu"}
    assert given["transcription"] == {"model": "gpt-transcribe", "language": "en"}
    assert given["turn_detection"]["silence_duration_ms"] == 500
    assert session.user_agent.startswith("openclaw-voicecall/Python ")


@pytest.mark.parametrize(("configured", "asked"), [(800, 300), (200, 200)])
async def test_a_call_that_is_eager_for_words_gets_them_after_a_short_pause(vendor, book, configured, asked):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    eager = replace(REQUEST, eager=True)
    async with call(vendor, eager, silence_duration_ms=configured) as line:
        await line.say(first, b"\xff" * 8 * 340, second, PAUSE)
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == [BOOKING, FOUR]
    (session,) = vendor.sessions
    assert session.config["audio"]["input"]["turn_detection"]["silence_duration_ms"] == asked
    stops = [edge for edge in line.edges if not edge.speaking]
    assert all(edge.closes and edge.ago >= asked / 1000 - 0.05 for edge in stops)


async def test_interims_grow_into_the_final(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    async with call(vendor) as line:
        await line.say(audio, PAUSE)
        await line.until(lambda: line.finals)
    interims = [heard.text for heard in line.heard if isinstance(heard, Heard) and not heard.final]
    assert all(FOUR.startswith(interim) for interim in interims)


async def test_the_end_of_speech_is_dated_back_by_the_silence_that_was_waited_for(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    async with call(vendor) as line:
        await line.stream.send(audio[: FRAME * 10])
        async with asyncio.timeout(5):
            await vendor.until(lambda: vendor.sessions and vendor.sessions[0].ready)
        await line.say(audio[FRAME * 10 :], PAUSE[:6400])
        await line.until(lambda: len(line.edges) == 2)
    assert line.edges[1].ago == pytest.approx(0.8, abs=0.05)


async def test_audio_waits_for_a_session_that_is_slow_to_start(vendor, book):
    audio = book.add(BOOKING, babble(BOOKING))
    vendor.fail_next("slow-start", seconds=0.2)
    async with call(vendor) as line:
        await line.say(audio, PAUSE)
        await line.until(lambda: line.finals)
    assert line.finals == [BOOKING]
    assert vendor.sessions[0].early == 0
    assert vendor.refusals == []


@pytest.mark.parametrize("fault", ["refuse-session", "beta-half-migrated"])
async def test_a_refused_set_up_is_an_error_with_the_vendors_words(vendor, fault):
    vendor.fail_next(fault)
    async with call(vendor) as line:
        await line.say(PAUSE)
        error = await line.failure()
        await line.say(PAUSE)
        await line.stream.finish_utterance()
    assert isinstance(error, VendorRejected)
    assert "Missing required parameter: 'session'." in str(error)
    assert "missing_required_parameter" in str(error)
    assert vendor.sessions[0].appends == 0


async def test_a_set_up_that_is_never_granted_fails_in_time(vendor):
    vendor.fail_next("no-session-updated")
    async with call(vendor, limits=Limits(ready=0.2)) as line:
        await line.say(PAUSE)
        assert isinstance(await line.failure(), VendorTimeout)
    assert vendor.sessions[0].appends == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("http-401", VendorAuthError),
        ("http-429", VendorRateLimited),
        ("http-500", VendorUnavailable),
        ("auth-in-band", VendorAuthError),
    ],
)
async def test_a_refused_connection_says_whose_fault_it_is(vendor, fault, kind):
    vendor.fail_next(fault)
    async with call(vendor) as line:
        error = await line.failure()
    assert isinstance(error, kind)
    assert error.vendor == "openai"
    assert KEY not in str(error)


async def test_a_wrong_key_is_told_as_such(vendor):
    async with call(vendor, key="sk-wrong") as line:
        error = await line.failure()
    assert isinstance(error, VendorAuthError)
    assert "sk-wrong" not in str(error)


async def test_a_vendor_that_is_not_there_is_unavailable():
    async with OpenAIRealtimeEmulator() as gone:
        pass
    async with call(gone) as line:
        assert isinstance(await line.failure(), VendorUnavailable)


async def test_a_handshake_that_hangs_fails_in_time():
    release = asyncio.Event()

    async def hang(request):
        await release.wait()
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/v1/realtime", hang)
    async with TestServer(app, host="127.0.0.1") as server:
        owner = account(SecretStr(KEY), str(server.make_url("/v1")), section="x")
        slow = OpenAITranscriber(owner, OpenAITranscriberConfig(), LoopClock(), Limits(ready=0.2))
        async with slow.open_stream(REQUEST) as stream:
            line = Line(stream)
            assert isinstance(await line.failure(), VendorTimeout)
        release.set()


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("close", {"appends": 5}),
        ("close", {"appends": 5, "code": 1011}),
        ("close", {"appends": 5, "code": 1000}),
        ("expire", {"appends": 5}),
        ("expire", {"appends": 5, "error": False}),
    ],
)
async def test_a_session_that_ends_by_itself_is_an_error(vendor, fault, options):
    vendor.fail_next(fault, **options)
    async with call(vendor) as line:
        await line.say(PAUSE)
        error = await line.failure()
    assert isinstance(error, VendorUnavailable)
    if fault == "expire":
        assert "60 minutes" in str(error)


async def test_an_utterance_that_cannot_be_transcribed_ends_without_words(vendor, book):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    vendor.fail_next("failed-item")
    async with call(vendor) as line:
        await line.say(first, PAUSE, second, PAUSE)
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == ["", FOUR]


async def test_finals_keep_the_order_of_the_turns(vendor, book):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    vendor.fail_next("out-of-order")
    async with call(vendor) as line:
        await line.say(first, PAUSE, second, PAUSE)
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == [BOOKING, FOUR]


async def test_a_sound_without_words_closes_its_utterance(vendor, book):
    vendor.fail_next("empty-transcript")
    async with call(vendor) as line:
        await line.say(babble("hm"), PAUSE)
        await line.until(lambda: line.finals)
    assert line.finals == [""]


async def test_the_end_of_a_turn_does_not_wait_for_the_vendors_silence(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    async with call(vendor) as line:
        await line.say(audio, PAUSE[:2400])
        await line.until(lambda: line.edges)
        await line.stream.finish_utterance()
        await line.until(lambda: line.finals)
        assert [edge.speaking for edge in line.edges] == [True, False]
        await line.stream.finish_utterance()
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == [FOUR, ""]
    assert vendor.sessions[0].commits == 1
    assert vendor.refusals == []


async def test_words_that_are_on_their_way_are_waited_for(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    vendor.delay = 0.1
    async with call(vendor) as line:
        await line.say(audio, PAUSE)
        await line.until(lambda: len(line.edges) == 2)
        await line.stream.finish_utterance()
        await line.until(lambda: line.finals)
    assert line.finals == [FOUR]
    assert vendor.sessions[0].commits == 0


@pytest.mark.parametrize("model", ["gpt-realtime-whisper", "gpt-live-transcribe"])
async def test_a_model_without_turns_is_led_by_the_turn_detector(vendor, book, model):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    async with call(vendor, model=model) as line:
        for audio in (first, second):
            await line.say(PAUSE, audio[:800])
            await line.stream.speech_started()
            await line.say(audio[800:], PAUSE[:2400])
            await line.stream.speech_stopped()
            await line.say(PAUSE[:1600])
            await line.stream.finish_utterance()
        await line.until(lambda: len(line.finals) == 2)
        await line.stream.finish_utterance()
        await line.until(lambda: len(line.finals) == 3)
    assert line.finals == [BOOKING, FOUR, ""]
    assert line.edges == []
    (session,) = vendor.sessions
    assert session.config["audio"]["input"]["turn_detection"] is None
    assert session.commits == 2
    assert len(session.audio) < len(first) + len(second) + 2 * 8000
    assert vendor.refusals == []


async def test_what_is_said_just_before_the_end_is_still_heard(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    async with transcriber(vendor).open_stream(REQUEST) as stream:
        line = Line(stream)
        await line.say(audio)
        await line.until(lambda: line.edges)
    async with asyncio.timeout(5):
        await line.task
    assert line.error is None
    assert line.finals == [FOUR]


async def test_a_vendor_that_says_nothing_at_the_end_is_not_waited_for_long(vendor):
    vendor.fail_next("quiet")
    async with (
        asyncio.timeout(3),
        transcriber(vendor, limits=Limits(last_words=0.1)).open_stream(REQUEST) as stream,
    ):
        line = Line(stream)
        await line.say(babble("Hello?"))
        async with asyncio.timeout(2):
            await vendor.until(lambda: vendor.sessions and vendor.sessions[0].appends > 10)
    await line.task
    assert line.error is None


async def test_a_vendor_that_never_transcribes_is_given_up(vendor):
    vendor.fail_next("quiet")
    async with call(vendor, model="gpt-live-transcribe") as line:
        await line.stream.speech_started()
        await line.say(babble("Hello?"))
        await line.stream.finish_utterance()
        async with asyncio.timeout(2):
            await vendor.until(lambda: vendor.sessions and vendor.sessions[0].commits)
        await line.say(*[PAUSE] * 11)
        assert isinstance(await line.failure(), VendorTimeout)


async def test_a_call_longer_than_a_session_goes_on_in_a_pause(vendor, book):
    first, second = book.add(BOOKING, babble(BOOKING)), book.add(FOUR, babble(FOUR))
    clock = Hand()
    async with call(vendor, clock=clock) as line:
        await line.say(first, PAUSE)
        await line.until(lambda: line.finals)
        clock.now = 51 * 60
        await line.say(PAUSE)
        async with asyncio.timeout(5):
            await vendor.until(lambda: len(vendor.sessions) == 2 and vendor.sessions[1].ready)
            while not vendor.sessions[0].closed:
                await line.say(PAUSE[:FRAME])
                await asyncio.sleep(0.001)
        await line.say(second, PAUSE)
        await line.until(lambda: len(line.finals) == 2)
    assert line.finals == [BOOKING, FOUR]
    assert [edge.speaking for edge in line.edges] == [True, False, True, False]
    assert vendor.refusals == []


async def test_a_call_longer_than_a_session_goes_on_in_the_middle_of_a_sentence(vendor, book):
    audio = book.add(f"{BOOKING} {FOUR}", babble(f"{BOOKING} {FOUR}"))
    clock = Hand()
    async with call(vendor, clock=clock) as line:
        await line.say(audio[:1600])
        await line.until(lambda: line.edges)
        clock.now = 58 * 60
        at = 1600
        async with asyncio.timeout(5):
            while not vendor.sessions[0].commits:
                await line.say(audio[at : at + FRAME])
                at += FRAME
                await asyncio.sleep(0.001)
        assert at < len(audio)
        await line.say(audio[at:], PAUSE)
        await line.until(lambda: len(line.finals) == 2 and len(line.edges) == 4)
    assert b"".join(bytes(session.audio) for session in vendor.sessions).startswith(audio)
    # The cut may take a word in two halves, of which neither is enough to be known.
    assert 9 <= len(" ".join(line.finals).split()) <= len(f"{BOOKING} {FOUR}".split())
    assert line.finals[0].startswith("I")
    assert line.finals[1].endswith("people tonight")
    assert [edge.speaking for edge in line.edges] == [True, False, True, False]


async def test_a_fresh_session_that_cannot_be_had_disturbs_nobody(vendor, book):
    audio = book.add(FOUR, babble(FOUR))
    clock = Hand()
    async with call(vendor, clock=clock) as line:
        await line.say(PAUSE)
        async with asyncio.timeout(5):
            await vendor.until(lambda: vendor.sessions and vendor.sessions[0].ready)
        vendor.fail_next("refuse-session")
        clock.now = 51 * 60
        await line.say(PAUSE)
        async with asyncio.timeout(5):
            await vendor.until(lambda: len(vendor.sessions) == 2 and bool(vendor.sessions[1].closed))
        await line.say(audio, PAUSE)
        await line.until(lambda: line.finals)
    assert line.finals == [FOUR]
    assert len(vendor.sessions) == 2


async def test_an_utterance_cut_by_a_broken_connection_is_heard_whole_by_the_next(vendor, book):
    audio = book.add(BOOKING, babble(BOOKING))
    vendor.fail_next("close-after-speech-started")
    posted, notes = [], []
    listening = Listening(
        request=REQUEST,
        rotation=Rotation((Link("openai", transcriber(vendor)),), lambda word, data: None),
        detector=None,
        post=posted.append,
        note=lambda word, data: notes.append(data),
        clock=LoopClock(),
        hear_beeps=False,
    )
    running = asyncio.create_task(listening.run())
    finals = []
    try:
        async with asyncio.timeout(5):
            for at in range(0, len(audio), FRAME):
                listening.frame(audio[at : at + FRAME].ljust(FRAME, b"\xff"))
                await asyncio.sleep(0)
            await vendor.until(lambda: len(vendor.sessions) == 2 and vendor.sessions[1].ready)
            while not finals:
                listening.frame(PAUSE[:FRAME])
                await asyncio.sleep(0.001)
                finals = [e for e in posted if isinstance(e, events.TranscriptReceived) and e.final]
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert [final.text for final in finals] == [BOOKING]
    assert [note["action"] for note in notes if "action" in note] == ["opened again"]


def runtime(tmp_path):
    return Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: "")


def specs():
    found = []
    plugin.voicecall_register_transcribers(found.append)
    plugin.voicecall_register_synthesizers(found.append)
    return found


async def test_the_registered_transcriber_opens_and_knows_who_detects_turns(vendor, book, tmp_path):
    spec = specs()[0]
    config = spec.config(api_key=KEY, base_url=f"{vendor.url}/v1/")
    assert spec.name == "openai"
    assert spec.detects_speech(config)
    assert not spec.detects_speech(spec.config(model="gpt-live-transcribe"))
    assert spec.closes_after(spec.config(silence_duration_ms=800)) == 0.8
    assert spec.closes_after(spec.config(model="gpt-live-transcribe")) == 0.0
    assert spec.describe(config) == "OpenAI gpt-transcribe"
    assert KEY not in repr(config)
    audio = book.add(FOUR, babble(FOUR))
    async with spec.open(config, runtime(tmp_path)) as opened, opened.open_stream(REQUEST) as stream:
        line = Line(stream)
        await line.say(audio, PAUSE)
        await line.until(lambda: line.finals)
    await line.task
    assert line.error is None
    assert line.finals == [FOUR]


@pytest.mark.parametrize("settings", [{}, {"api_key": " "}, {"api_key": "sk-a\nb"}])
async def test_a_missing_key_is_said_by_its_setting(tmp_path: Path, settings):
    spec = specs()[0]
    with pytest.raises(ConfigError, match=r"streaming\.providers\.openai\.apiKey"):
        async with spec.open(spec.config(**settings), runtime(tmp_path)):
            pass


async def test_a_key_is_sent_nowhere_in_clear_text(tmp_path):
    spec = specs()[0]
    with pytest.raises(ConfigError, match=r"streaming\.providers\.openai\.baseUrl"):
        async with spec.open(spec.config(api_key=KEY, base_url="http://192.0.2.1/v1"), runtime(tmp_path)):
            pass


@pytest.mark.parametrize("index", [0, 1])
async def test_the_check_asks_the_account_and_says_what_it_has(tmp_path, index):
    spec = specs()[index]
    async with OpenAISpeechEmulator(key=KEY) as emulator:
        base = f"{emulator.url}/v1"
        good = await spec.check(spec.config(api_key=KEY, base_url=base), runtime(tmp_path))
        assert "the key is good" in good
        assert spec.config().model in good
        with pytest.raises(VendorAuthError) as caught:
            await spec.check(spec.config(api_key="sk-wrong", base_url=base), runtime(tmp_path))
        assert "sk-wrong" not in str(caught.value)
    with pytest.raises(VendorUnavailable):
        await spec.check(spec.config(api_key=KEY, base_url=base), runtime(tmp_path))
