"""The embedded synthesizers with their real engines, and what the chain does when one of them fails."""

import asyncio
import math
import os
import signal
import stat
import sys
import textwrap
from pathlib import Path

import pytest
import pytest_asyncio

from openclaw_voicecall.api.speech import SpeechRequest, TranscriptionRequest
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorTimeout, VendorUnavailable
from openclaw_voicecall.media.level import rms_dbfs
from openclaw_voicecall.providers.embedded import inventory, synthesizer
from openclaw_voicecall.providers.embedded.decoder import Decoder
from openclaw_voicecall.providers.embedded.settings import (
    EspeakConfig,
    FliteConfig,
    LocalSynthesizerConfig,
    LocalTranscriberConfig,
    PiperConfig,
    SayConfig,
)
from openclaw_voicecall.providers.embedded.synthesizer import LocalSynthesizer
from openclaw_voicecall.providers.embedded.transcriber import LocalTranscriber
from openclaw_voicecall.providers.embedded.voicing import ascii_text, call_audio
from openclaw_voicecall.testing.wer import spoken_words

pytestmark = [pytest.mark.contract]

SENTENCE = "Thank you for calling, how can I help you today?"
SECOND = 8000
FRAME = 160


@pytest_asyncio.fixture(params=["flite", "espeak"])
async def engine(request):
    opened = {
        "flite": lambda: synthesizer.open_flite(FliteConfig()),
        "espeak": lambda: synthesizer.open_espeak(EspeakConfig()),
    }
    async with opened[request.param]() as made:
        yield LocalSynthesizer([made])


async def speak(voice, text, /, **wishes):
    return b"".join(
        [piece async for piece in voice.speak(SpeechRequest(call_id="call", text=text, **wishes))]
    )


def levels(audio):
    return [rms_dbfs(audio[start : start + FRAME]) for start in range(0, len(audio), FRAME)]


async def test_a_sentence_becomes_call_audio_of_fitting_length(engine):
    audio = await speak(engine, SENTENCE)
    assert 1.5 * SECOND < len(audio) < 5 * SECOND


async def test_audio_comes_in_pieces_of_a_fifth_of_a_second(engine):
    pieces = [piece async for piece in engine.speak(SpeechRequest(call_id="call", text=SENTENCE))]
    assert {len(piece) for piece in pieces[:-1]} == {1600}


async def test_speech_starts_and_ends_without_long_silence(engine):
    loud = [index for index, level in enumerate(levels(await speak(engine, SENTENCE))) if level > -45]
    assert loud[0] <= 6
    assert len(levels(await speak(engine, SENTENCE))) - loud[-1] <= 8


async def test_engines_sound_equally_loud(engine):
    audio = levels(await speak(engine, SENTENCE))
    speech = [10 ** (level / 10) for level in audio if level > max(audio) - 35]
    assert 10 * math.log10(sum(speech) / len(speech)) == pytest.approx(-20, abs=1.5)


@pytest.mark.parametrize(
    "text",
    [
        "-o /tmp/never",
        "--help me please",
        "Café “naïve”, it’s 5€ … done",
        "line one\nline two\r\nline three",
        "a\x00b",
        "<speak>hello</speak> & [[hello]]",
        "word " * 150,
    ],
)
async def test_any_text_is_spoken_and_none_is_taken_for_an_option(engine, text):
    assert len(await speak(engine, text)) > 0.2 * SECOND
    assert not Path("/tmp/never").exists()


@pytest.mark.parametrize("text", ["", "...", "👍", " \n"])
async def test_a_text_without_words_is_an_error(engine, text):
    with pytest.raises(VendorRejected, match="nothing to say"):
        await speak(engine, text)


@pytest.mark.parametrize("voice", ["nobody", "/etc/passwd", "http://127.0.0.1:1/voice.flitevox", "-f"])
async def test_a_voice_that_is_not_there_is_replaced_by_the_configured_one(engine, voice):
    # espeak's noise differs from one time to the next, so only the length tells voices apart.
    another = {"flite": "slt", "espeak": "de"}[engine._engines[0].name]
    configured = len(await speak(engine, SENTENCE))
    other = len(await speak(engine, SENTENCE, voice=another))
    assert abs(len(await speak(engine, SENTENCE, voice=voice)) - configured) < abs(other - configured) / 4


async def test_voice_and_speed_can_be_chosen():
    async with (
        synthesizer.open_local(LocalSynthesizerConfig(engine="flite", speed=2.0)) as fast,
        synthesizer.open_local(LocalSynthesizerConfig(engine="flite", speed=0.5)) as slow,
    ):
        assert len(await speak(slow, SENTENCE)) > 3 * len(await speak(fast, SENTENCE))
        assert await speak(fast, SENTENCE, voice="slt") != await speak(fast, SENTENCE)


async def test_many_sentences_at_once_are_all_spoken(engine):
    alone = len(await speak(engine, SENTENCE))
    spoken = await asyncio.gather(*(speak(engine, SENTENCE) for _ in range(12)))
    assert [len(audio) for audio in spoken] == [pytest.approx(alone, rel=0.05)] * 12


async def test_what_flite_says_can_be_understood():
    async with (
        Decoder.open(inventory.moonshine_folder(), niceness=0) as decoder,
        synthesizer.open_local(LocalSynthesizerConfig()) as voice,
    ):
        transcriber = LocalTranscriber(decoder, LocalTranscriberConfig())
        async with transcriber.open_stream(TranscriptionRequest(call_id="call")) as stream:
            await stream.speech_started()
            await stream.send(b"\xff" * 2400 + await speak(voice, SENTENCE) + b"\xff" * 2400)
            await stream.speech_stopped()
            await stream.finish_utterance()
            async with asyncio.timeout(20):
                heard = [event async for event in until_final(stream)]
    assert spoken_words(heard[-1].text) == spoken_words(SENTENCE)


async def until_final(stream):
    async for event in stream:
        yield event
        if event.final:
            return


async def test_a_crashed_espeak_is_replaced():
    async with synthesizer.open_espeak(EspeakConfig()) as made:
        voice = LocalSynthesizer([made])
        length = len(await speak(voice, SENTENCE))
        crashed = made._process.pid
        os.kill(crashed, signal.SIGKILL)
        assert len(await speak(voice, SENTENCE)) == pytest.approx(length, rel=0.05)
        assert made._process.pid != crashed


class Broken:
    name = "broken"

    def __init__(self, error=None):
        self.error = error or VendorUnavailable("it broke", vendor="broken")

    async def make(self, text, voice):
        raise self.error


class Mute:
    name = "mute"

    async def make(self, text, voice):
        return 16000, b"\0\0" * 16000


async def test_when_an_engine_fails_the_next_one_speaks_the_same_sentence(caplog):
    async with synthesizer.open_flite(FliteConfig()) as flite:
        expected = await speak(LocalSynthesizer([flite]), SENTENCE)
        assert await speak(LocalSynthesizer([Broken(), Mute(), flite]), SENTENCE) == expected
    assert [record.engine for record in caplog.records] == ["broken", "mute"]


async def test_when_the_last_engine_fails_its_error_is_raised():
    with pytest.raises(VendorUnavailable, match="it broke") as failure:
        await speak(LocalSynthesizer([Mute(), Broken()]), SENTENCE)
    assert failure.value.vendor == "broken"


async def test_an_engine_that_gives_only_silence_is_an_error():
    with pytest.raises(VendorError, match="mute gave no sound"):
        await speak(LocalSynthesizer([Mute()]), SENTENCE)


def program(folder, name, code):
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


FAKE_FLITE = """
    import os, sys, time
    if "-lv" in sys.argv:
        print("Voices available: rms slt")
        raise SystemExit
    {body}
"""


async def test_a_failing_flite_is_named_with_its_words(tmp_path, monkeypatch):
    program(tmp_path, "flite", FAKE_FLITE.format(body="sys.exit('no memory for voices')"))
    monkeypatch.setenv("PATH", str(tmp_path))
    async with synthesizer.open_flite(FliteConfig()) as flite:
        with pytest.raises(VendorError, match="flite failed: no memory for voices") as failure:
            await speak(LocalSynthesizer([flite]), SENTENCE)
    assert (failure.value.vendor, failure.value.operation) == ("flite", "speak")


async def test_a_flite_that_writes_nothing_is_an_error(tmp_path, monkeypatch):
    program(tmp_path, "flite", FAKE_FLITE.format(body="sys.stdin.read()"))
    monkeypatch.setenv("PATH", str(tmp_path))
    async with synthesizer.open_flite(FliteConfig()) as flite:
        with pytest.raises(VendorError, match="flite wrote no audio"):
            await speak(LocalSynthesizer([flite]), SENTENCE)


HANGING = "os.write(os.open(os.environ['PIDS'], os.O_WRONLY), b'%d ' % os.getpid()); time.sleep(600)"


@pytest.fixture
def hanging_flite(tmp_path, monkeypatch):
    """A flite that never ends and writes its process id into a pipe."""
    pipe = tmp_path / "pids"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    program(tmp_path, "flite", FAKE_FLITE.format(body=HANGING))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIDS", str(pipe))
    yield reader
    os.close(reader)


async def started(reader):
    """Process ids that the programs have written, once there is one."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(reader, readable.set)
    try:
        async with asyncio.timeout(10):
            await readable.wait()
        return [int(pid) for pid in os.read(reader, 4096).split()]
    finally:
        asyncio.get_running_loop().remove_reader(reader)


async def test_cancelling_kills_the_process(hanging_flite):
    async with synthesizer.open_flite(FliteConfig()) as flite:
        speaking = asyncio.create_task(speak(LocalSynthesizer([flite]), SENTENCE))
        (pid,) = await started(hanging_flite)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_hanging_program_is_killed_and_told(hanging_flite, monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.providers.embedded.programs._TIMEOUT", 0.5)
    async with synthesizer.open_flite(FliteConfig()) as flite:
        with pytest.raises(VendorTimeout, match="flite did not finish"):
            await speak(LocalSynthesizer([flite]), SENTENCE)
    (pid,) = await started(hanging_flite)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_no_more_processes_run_at_once_than_configured(hanging_flite):
    async with synthesizer.open_flite(FliteConfig(max_processes=2)) as flite:
        speaking = [asyncio.create_task(speak(LocalSynthesizer([flite]), SENTENCE)) for _ in range(5)]
        pids = []
        while len(pids) < 2:
            pids += await started(hanging_flite)
        assert flite._slots.locked()
        for task in speaking:
            task.cancel()
        await asyncio.gather(*speaking, return_exceptions=True)
    assert len(pids) == 2


async def test_nothing_of_what_was_said_stays_on_disk(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with synthesizer.open_flite(FliteConfig()) as flite:
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        await speak(LocalSynthesizer([flite]), SENTENCE)
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


FAKE_SAY = """
    import subprocess, sys
    if "?" in sys.argv:
        print("Samantha            en_US    # Hello! My name is Samantha.")
        print("Bad News            en_US    # Hello! My name is Bad News.")
        raise SystemExit
    assert sys.argv[-2:] == ["-f", "-"] and "--data-format=LEI16@22050" in sys.argv, sys.argv
    out = sys.argv[sys.argv.index("-o") + 1]
    voice = "slt" if "Bad News" in sys.argv else "rms"
    subprocess.run([{flite!r}, "-voice", voice, "-f", "/dev/stdin", "-o", out], check=True)
"""


async def test_say_is_given_the_text_and_a_voice_it_has(tmp_path, monkeypatch):
    program(tmp_path, "say", FAKE_SAY.format(flite=inventory.flite_program()))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert synthesizer.describe_say(SayConfig(voice="Samantha")) == "say Samantha"
    async with synthesizer.open_say(SayConfig()) as say:
        voice = LocalSynthesizer([say])
        plain = await speak(voice, SENTENCE)
        assert await speak(voice, SENTENCE, voice="alloy") == plain
        assert await speak(voice, SENTENCE, voice="Bad News") != plain


FAKE_PIPER = """
    import array, math
    from dataclasses import dataclass

    @dataclass
    class SynthesisConfig:
        length_scale: float = 1.0

    @dataclass
    class AudioChunk:
        sample_rate: int
        audio_int16_bytes: bytes

    class PiperVoice:
        @classmethod
        def load(cls, model_path):
            open(model_path).close()
            return cls()

        def synthesize(self, text, syn_config=None):
            for sentence in text.split(". "):
                count = int(22050 * 0.05 * len(sentence) * syn_config.length_scale)
                wave = (int(9000 * math.sin(at / 9)) for at in range(count))
                yield AudioChunk(22050, array.array("h", wave).tobytes())
"""


@pytest.fixture
def fake_piper(tmp_path, monkeypatch):
    """A package with Piper's interface and a folder with one voice, in this process and in the worker."""
    (tmp_path / "piper").mkdir()
    (tmp_path / "piper" / "__init__.py").write_text(textwrap.dedent(FAKE_PIPER))
    voices = tmp_path / "voices"
    voices.mkdir()
    for suffix in (".onnx", ".onnx.json"):
        (voices / f"en_US-test-medium{suffix}").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return PiperConfig(voices_dir=str(voices))


async def test_piper_speaks_in_a_process_of_its_own(fake_piper):
    assert synthesizer.describe_piper(fake_piper) == "Piper en_US-test-medium"
    async with synthesizer.open_piper(fake_piper) as piper:
        assert piper._process.pid not in {None, os.getpid()}
        audio = await speak(LocalSynthesizer([piper]), "One sentence. And another.")
    assert len(audio) / SECOND == pytest.approx(0.05 * 25, abs=0.2)


async def test_an_installed_piper_voice_comes_first(fake_piper, monkeypatch):
    folder = Path(fake_piper.voices_dir)
    monkeypatch.setattr(inventory, "default_piper_folder", lambda: folder)
    config = LocalSynthesizerConfig()
    assert synthesizer.describe_local(config) == "Piper en_US-test-medium"
    async with synthesizer.open_local(config) as chain:
        assert [engine.name for engine in chain._engines] == ["piper", "flite", "espeak"]


def test_text_for_ascii_engines_keeps_its_words():
    assert ascii_text("“Café” – it’s naïve…") == '"Cafe" , it\'s naive...'


@pytest.mark.parametrize("amplitude", [1000, 3000, 30000])
def test_loudness_does_not_depend_on_the_engine(amplitude):
    period = [amplitude] * 40 + [-amplitude] * 40
    wave = b"".join(sample.to_bytes(2, "little", signed=True) for sample in period * 200)
    middle = call_audio(wave, 16000, "test")[2000:-2000]
    assert rms_dbfs(middle) == pytest.approx(-20, abs=1)
