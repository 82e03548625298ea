"""The embedded transcriber with its real engine: what a stream promises, and what becomes of a worker that dies."""

import asyncio
import logging
import os
import signal
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from openclaw_voicecall.api.speech import Heard, TranscriptionRequest
from openclaw_voicecall.errors import VendorError, VendorUnavailable
from openclaw_voicecall.media.wav import decode_ulaw, encode_ulaw
from openclaw_voicecall.providers.embedded import inventory
from openclaw_voicecall.providers.embedded.decoder import Decoder, Urgency
from openclaw_voicecall.providers.embedded.settings import LocalTranscriberConfig, SileroConfig
from openclaw_voicecall.providers.embedded.silero import SileroDetector, SileroModel
from openclaw_voicecall.providers.embedded.transcriber import LocalTranscriber
from openclaw_voicecall.testing.wer import spoken_words, word_errors

pytestmark = [pytest.mark.contract, pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]

CORPUS = Path(__file__).parent.parent / "data" / "speech-asterisk"
TRANSCRIPTS = {
    name: text
    for name, _, text in (
        line.split("\t") for line in (CORPUS / "transcripts.tsv").read_text().splitlines()[1:]
    )
}
SECOND = 8000
FRAME = 160
PIN = "conf-getpin.ulaw"
GOODBYE = "number-not-answering.ulaw"


@pytest.fixture(scope="module")
def silero():
    return SileroModel(inventory.silero_model())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder():
    async with Decoder.open(inventory.moonshine_folder(), niceness=0) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transcriber(decoder):
    return LocalTranscriber(decoder, LocalTranscriberConfig())


def prompt(name):
    return (CORPUS / name).read_bytes()


def silence(seconds):
    return b"\xff" * (int(seconds * SECOND) // FRAME * FRAME)


class Line:
    """A stream whose caller's audio is given as fast as it is taken; finals and interims are collected."""

    def __init__(self, stream, detector=None):
        self.stream = stream
        self.detector = detector
        self.interims = []
        self.finals = []
        self._news = asyncio.Queue()
        self._reader = asyncio.ensure_future(self._read())

    async def feed(self, audio, endpoint=0.5):
        """Send audio; a pause of `endpoint` seconds of audio ends the turn, as the core does it."""
        stopped = None
        for start in range(0, len(audio), FRAME):
            await self.stream.send(audio[start : start + FRAME])
            for edge in self.detector.push(audio[start : start + FRAME]) if self.detector else ():
                if edge.speaking:
                    stopped = None
                    await self.stream.speech_started()
                else:
                    stopped = start + FRAME - edge.ago * SECOND
                    await self.stream.speech_stopped()
            if stopped is not None and start + FRAME - stopped >= endpoint * SECOND:
                stopped = None
                await self.stream.finish_utterance()

    async def finish(self):
        """End the turn; gives its text."""
        await self.stream.finish_utterance()
        return await self.final()

    async def end(self):
        """Read finals up to the empty one of a turn in which nothing was said."""
        await self.stream.finish_utterance()
        while await self.final():
            pass

    async def final(self):
        while True:
            heard = await self.next()
            if heard.final:
                return heard.text

    async def next(self):
        async with asyncio.timeout(20):
            news = await self._news.get()
        if isinstance(news, Exception):
            raise news
        return news

    async def closed(self):
        async with asyncio.timeout(5):
            await self._reader

    async def _read(self):
        try:
            async for heard in self.stream:
                (self.finals if heard.final else self.interims).append(heard.text)
                self._news.put_nowait(heard)
        except VendorError as error:
            self._news.put_nowait(error)

    @property
    def text(self):
        return " ".join(text for text in self.finals if text)


@asynccontextmanager
async def line(transcriber, silero=None, language="en"):
    detector = SileroDetector(silero, SileroConfig()) if silero else None
    async with transcriber.open_stream(TranscriptionRequest(call_id="call", language=language)) as stream:
        caller = Line(stream, detector)
        yield caller
    await caller.closed()


async def test_human_prompts_are_understood(transcriber, silero):
    pairs = []
    for name, said in TRANSCRIPTS.items():
        async with line(transcriber, silero) as caller:
            await caller.feed(prompt(name) + silence(0.8))
            await caller.end()
        pairs.append((said, caller.text))
    errors = word_errors(pairs)
    wrong = [(said, heard) for said, heard in pairs if spoken_words(said) != spoken_words(heard)]
    assert errors.words == 668
    assert errors.rate <= 0.06, wrong


def tones(*frequencies, on=1.0, off=0.0, seconds=30, amplitude=0.3):
    time = np.arange(seconds * SECOND) / SECOND
    wave = sum(np.sin(2 * np.pi * frequency * time) for frequency in frequencies) / len(frequencies)
    return amplitude * wave * (time % (on + off) < on)


def keys_pressed():
    keys = [tones(low, high, seconds=1, on=0.2, off=0.8) for low in (697, 852) for high in (1209, 1336, 1477)]
    return np.concatenate(keys * 5)


def noise(level):
    return np.random.default_rng(7).normal(0, level, 30 * SECOND)


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(np.zeros(30 * SECOND), id="silence"),
        pytest.param(noise(0.003), id="hiss"),
        pytest.param(noise(0.03), id="loud-noise"),
        pytest.param(tones(440, 480, on=2.0, off=4.0), id="ringback"),
        pytest.param(tones(480, 620, on=0.5, off=0.5), id="busy"),
        pytest.param(tones(1100, on=0.5, off=3.0), id="fax"),
        pytest.param(keys_pressed(), id="keys"),
    ],
)
async def test_no_words_are_invented_where_nobody_speaks(transcriber, silero, sound):
    async with line(transcriber, silero) as caller:
        await caller.feed(encode_ulaw((sound * 32767).astype(np.int16)))
        await caller.end()
    assert caller.finals == [""]
    assert caller.interims == []


@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0, 5.0])
async def test_an_utterance_of_silence_has_no_words(transcriber, seconds):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.stream.send(silence(seconds))
        await caller.stream.speech_stopped()
        assert await caller.finish() == ""


async def test_finishing_without_an_utterance_gives_an_empty_final(transcriber):
    async with line(transcriber) as caller:
        await caller.feed(silence(1.0))
        await caller.stream.finish_utterance()
        assert await caller.next() == Heard("", final=True)


async def test_words_before_the_report_of_speech_belong_to_the_utterance(transcriber):
    audio = prompt(PIN)
    async with line(transcriber) as caller:
        await caller.feed(audio[: int(0.45 * SECOND)])
        await caller.stream.speech_started()
        await caller.feed(audio[int(0.45 * SECOND) :])
        await caller.stream.speech_stopped()
        assert (await caller.finish()).startswith("Please enter")


async def test_the_text_is_there_when_the_turn_ends_and_is_decoded_once(transcriber, decoder, monkeypatch):
    decoded = []

    async def counting(audio, urgency):
        decoded.append(urgency)
        return await Decoder.decode(decoder, audio, urgency)

    monkeypatch.setattr(decoder, "decode", counting)
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        for start in range(0, len(prompt(PIN)), 4000):
            await caller.stream.send(prompt(PIN)[start : start + 4000])
        await caller.stream.speech_stopped()
        while (interim := await caller.next()).text != "Please enter the conference pin number.":
            assert not interim.final
        await caller.feed(silence(0.2))
        before = len(decoded)
        await caller.stream.finish_utterance()
        assert await caller.next() == Heard(interim.text, final=True)
    assert len(decoded) == before
    assert decoded.count(Urgency.PAUSE) == 1


async def test_a_caller_who_goes_on_after_a_pause_is_heard_in_one_utterance(transcriber):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN))
        await caller.stream.speech_stopped()
        await caller.feed(silence(0.2))
        await caller.stream.speech_started()
        await caller.feed(prompt(GOODBYE))
        await caller.stream.speech_stopped()
        text = await caller.finish()
    assert "pin number" in text
    assert "not answering" in text


async def test_words_said_after_the_pause_but_not_reported_do_not_change_the_final(transcriber):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN) + silence(0.2))
        await caller.stream.speech_stopped()
        await caller.feed(prompt(GOODBYE)[: SECOND // 2])
        assert "number" in await caller.finish()
        assert "answering" not in caller.text


async def test_finishing_in_the_middle_of_speech_loses_no_words(transcriber):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN))
        first = await caller.finish()
        await caller.feed(prompt(GOODBYE))
        await caller.stream.speech_stopped()
        second = await caller.finish()
    assert "pin number" in first
    assert "not answering" in second
    assert "pin" not in second


async def test_the_end_of_one_utterance_is_not_heard_again_in_the_next(transcriber, silero):
    async with line(transcriber, silero) as caller:
        for name in (GOODBYE, PIN, GOODBYE):
            await caller.feed(prompt(name) + silence(0.4), endpoint=0.36)
        await caller.end()
    assert [spoken_words(text) for text in caller.finals if text] == [
        spoken_words(TRANSCRIPTS[name]) for name in (GOODBYE, PIN, GOODBYE)
    ]


async def test_interims_grow_while_the_caller_speaks(transcriber, decoder, monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.providers.embedded.decoder._CROWDED_SHARE", 100)
    audio = prompt("confbridge-pin-bad.ulaw")
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        for start in range(0, len(audio), SECOND):
            await caller.stream.send(audio[start : start + SECOND])
            await asyncio.sleep(0)
            await decoder.decode(b"", Urgency.INTERIM)  # comes back once the interim before it was decoded
        await caller.stream.speech_stopped()
        await caller.finish()
    lengths = [len(text.split()) for text in caller.interims]
    assert lengths == sorted(lengths)
    assert len(lengths) >= 4
    assert lengths[0] < lengths[-1]


async def test_no_interims_come_while_the_caller_speaks_when_they_are_turned_off(decoder):
    quiet = LocalTranscriber(decoder, LocalTranscriberConfig(interim_ms=0))
    async with line(quiet) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN))
        assert "pin number" in await caller.finish()
    assert caller.interims == []


async def test_speech_without_a_pause_is_cut_after_twenty_seconds(transcriber):
    unbroken = (prompt(PIN)[1600:-1600] * 10)[: 32 * SECOND]
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(unbroken)
        await caller.stream.speech_stopped()
        await caller.final()
        await caller.finish()
    assert len(caller.finals) >= 2
    spoken = len(unbroken) / (len(prompt(PIN)) - 3200)
    assert caller.text.lower().count("conference") == pytest.approx(spoken, abs=1.5)


async def test_a_long_turn_is_closed_at_a_pause_so_that_its_end_comes_quickly(transcriber):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt("dir-intro.ulaw"))
        await caller.stream.speech_stopped()
        await caller.feed(silence(0.4))
        await caller.stream.speech_started()
        first = await caller.final()
        await caller.feed(prompt(GOODBYE))
        await caller.stream.speech_stopped()
        second = await caller.finish()
    assert first.startswith("Welcome to the directory.")
    assert spoken_words(second) == spoken_words(TRANSCRIPTS[GOODBYE])


async def test_quiet_speech_is_understood(transcriber):
    whisper = encode_ulaw((decode_ulaw(prompt(PIN)) * 0.04).astype(np.int16))
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(whisper)
        await caller.stream.speech_stopped()
        assert await caller.finish() == "Please enter the conference pin number."


async def test_calls_at_once_each_get_their_own_words(transcriber, silero):
    names = [name for name in TRANSCRIPTS if (CORPUS / name).stat().st_size < 3 * SECOND][:12]

    async def call(name):
        async with line(transcriber, silero) as caller:
            await caller.feed(prompt(name) + silence(0.8))
            await caller.end()
        return TRANSCRIPTS[name], caller.text

    assert word_errors(await asyncio.gather(*map(call, names))).rate < 0.15


async def test_closing_a_stream_ends_its_iteration_and_its_tasks(transcriber):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN))
    assert [task for task in asyncio.all_tasks() if "embedded/transcriber.py" in str(task)] == []


async def test_another_language_is_tried_and_said_once(transcriber, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            async with line(transcriber, language="de-DE") as caller:
                await caller.finish()
    assert [record.getMessage() for record in caplog.records] == [
        "the local transcriber understands English only"
    ]


async def test_the_one_who_waits_for_an_answer_is_decoded_first():
    order = []
    gate = asyncio.Event()

    class SlowProcess:
        async def ask(self, audio, *, limit):
            order.append(audio)
            await gate.wait()
            return b""

    decoder = Decoder(SlowProcess())
    async with asyncio.TaskGroup() as tasks:
        for audio, urgency in (
            (b"first", Urgency.INTERIM),
            (b"interim", Urgency.INTERIM),
            (b"pause", Urgency.PAUSE),
            (b"dropped", Urgency.FINAL),
            (b"final", Urgency.FINAL),
        ):
            task = tasks.create_task(decoder.decode(audio, urgency))
            await asyncio.sleep(0)
            if audio == b"dropped":
                task.cancel()
        assert decoder.busy
        gate.set()
    assert order == [b"first", b"final", b"pause", b"interim"]
    assert not decoder.busy


async def test_interims_are_left_out_while_the_worker_has_too_much_to_do(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])

    class SlowProcess:
        async def ask(self, audio, *, limit):
            now[0] += 0.5
            return b"words"

    decoder = Decoder(SlowProcess())
    busy = []
    for _ in range(3):
        busy.append(decoder.busy)
        await decoder.decode(b"", Urgency.FINAL)
    assert busy == [False, False, True]
    now[0] += 3
    assert not decoder.busy


async def test_a_killed_worker_is_replaced_and_the_words_are_not_lost(transcriber, decoder):
    async with line(transcriber) as caller:
        await caller.stream.speech_started()
        await caller.feed(prompt("demo-nogo.ulaw"))
        before = decoder.pid
        await caller.stream.speech_stopped()
        await asyncio.sleep(0)
        os.kill(before, signal.SIGKILL)
        assert "Digium" in await caller.finish()
    assert decoder.pid != before


async def test_a_worker_killed_between_utterances_costs_no_words(transcriber, decoder):
    async with line(transcriber) as caller:
        os.kill(decoder.pid, signal.SIGKILL)
        await caller.stream.speech_started()
        await caller.feed(prompt(PIN))
        await caller.stream.speech_stopped()
        assert "pin number" in await caller.finish()


async def test_an_idle_worker_that_dies_is_replaced_before_it_is_asked(monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.providers.embedded.engine_process._HEALTHY_AFTER", 0.0)
    async with Decoder.open(inventory.moonshine_folder(), niceness=0) as decoder:
        dead = decoder.pid
        os.kill(dead, signal.SIGKILL)
        async with asyncio.timeout(20):
            while decoder.pid in {None, dead}:
                await asyncio.sleep(0.02)


async def test_a_model_that_is_not_preloaded_is_loaded_as_a_call_begins():
    async with Decoder.open(inventory.moonshine_folder(), niceness=0, lazy=True) as decoder:
        assert decoder.pid is None
        async with line(LocalTranscriber(decoder, LocalTranscriberConfig())) as caller:
            async with asyncio.timeout(20):
                while decoder.pid is None:
                    await asyncio.sleep(0.02)
            loaded = decoder.pid
            await caller.stream.speech_started()
            await caller.feed(prompt(PIN))
            await caller.stream.speech_stopped()
            assert "pin number" in await caller.finish()
            assert decoder.pid == loaded


async def test_a_call_that_ends_while_the_model_is_loaded_leaves_nothing():
    async with Decoder.open(inventory.moonshine_folder(), niceness=0, lazy=True) as decoder:
        async with line(LocalTranscriber(decoder, LocalTranscriberConfig())):
            pass
        async with asyncio.timeout(20):
            while (worker := decoder.pid) is None:
                await asyncio.sleep(0.02)
    assert not alive(worker)


async def test_a_worker_that_hangs_is_replaced(decoder, monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.providers.embedded.decoder._TIMEOUT", 1.0)
    await decoder.decode(b"", Urgency.FINAL)
    stuck = decoder.pid
    os.kill(stuck, signal.SIGSTOP)
    assert "pin number" in await decoder.decode(prompt(PIN), Urgency.FINAL)
    assert decoder.pid != stuck


async def test_a_worker_that_dies_again_and_again_is_told_to_the_stream(tmp_path):
    async with Decoder.open(inventory.moonshine_folder(), niceness=0) as decoder:
        decoder._process._arguments = (str(tmp_path),)
        os.kill(decoder.pid, signal.SIGKILL)
        async with line(LocalTranscriber(decoder, LocalTranscriberConfig())) as caller:
            await caller.stream.speech_started()
            await caller.feed(prompt(PIN))
            with pytest.raises(VendorUnavailable, match="moonshine does not run"):
                await caller.finish()


async def test_opening_fails_with_a_reason_when_the_model_cannot_be_loaded(tmp_path):
    with pytest.raises(VendorUnavailable, match=r"moonshine does not run: .*ONNXRuntimeError"):
        async with Decoder.open(tmp_path, niceness=0):
            pass


async def test_the_worker_ends_with_the_transcriber():
    async with Decoder.open(inventory.moonshine_folder(), niceness=0) as decoder:
        worker = decoder.pid
    assert not alive(worker)


async def test_the_worker_ends_when_its_parent_is_killed():
    program = textwrap.dedent("""
        import asyncio
        from openclaw_voicecall.providers.embedded import inventory
        from openclaw_voicecall.providers.embedded.decoder import Decoder
        async def main():
            async with Decoder.open(inventory.moonshine_folder(), niceness=0) as decoder:
                print(decoder.pid, flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
    """)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    worker = int(await parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    await parent.communicate()
    async with asyncio.timeout(10):
        while alive(worker):
            await asyncio.sleep(0.02)


async def test_ctrl_c_does_not_reach_the_worker(decoder):
    await decoder.decode(b"", Urgency.FINAL)
    worker = decoder.pid
    os.kill(worker, signal.SIGINT)
    assert "pin number" in await decoder.decode(prompt(PIN), Urgency.FINAL)
    assert decoder.pid == worker
    assert os.getpgid(worker) != os.getpgrp()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
