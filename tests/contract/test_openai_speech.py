"""OpenAI's synthesizer against a strict stand-in for its speech API: call audio that is whole, or an error in time."""

import asyncio
import sys
import time
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.api.speech import SpeechRequest
from openclaw_voicecall.errors import (
    ConfigError,
    EngineMissing,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
)
from openclaw_voicecall.media.g711 import ulaw_to_pcm
from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.providers import openai as plugin
from openclaw_voicecall.providers.openai.account import account
from openclaw_voicecall.providers.openai.config import OpenAISynthesizerConfig
from openclaw_voicecall.providers.openai.speech import LONGEST, Limits, open_synthesizer, parts
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.scripted import CountingIds, LoopClock

pytestmark = pytest.mark.contract

KEY = "sk-emulated"
TEXT = "Your table is booked for eight."


@pytest.fixture
async def vendor():
    async with OpenAISpeechEmulator(key=KEY) as emulator:
        yield emulator


@asynccontextmanager
async def voice(url, *, key=KEY, limits=None, **settings):
    owner = account(SecretStr(key), f"{url}/v1", section="tts.providers.openai")
    async with open_synthesizer(owner, OpenAISynthesizerConfig(**settings), limits) as synthesizer:
        yield synthesizer


def request(text=TEXT, **fields):
    return SpeechRequest(call_id="c1", text=text, **fields)


async def spoken(synthesizer, text=TEXT, **fields):
    async with aclosing(synthesizer.speak(request(text, **fields))) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_the_whole_text_is_spoken_as_call_audio(vendor):
    async with voice(vendor.url) as synthesizer:
        audio = await spoken(synthesizer)
    encoder = UlawEncoder(24000)
    assert audio == encoder.push(speech(TEXT, "coral")) + encoder.finish()
    assert len(audio) == len(babble(TEXT, seed="coral"))
    assert [said.text for said in vendor.spoken] == [TEXT]
    assert vendor.refusals == []


async def test_samples_that_are_split_between_pieces_make_no_noise(vendor):
    async with voice(vendor.url) as synthesizer:
        audio = await spoken(synthesizer)
    heard, meant = (
        np.frombuffer(ulaw_to_pcm(part), "<i2").astype(float) for part in (audio, babble(TEXT, seed="coral"))
    )
    # The emulator's sound changes by nothing but the resampler's filter; shifted bytes would be unlike it.
    assert np.corrcoef(heard, meant)[0, 1] > 0.9


async def test_audio_is_given_while_it_still_arrives(vendor):
    vendor.chunk_delay = 0.02
    async with voice(vendor.url) as synthesizer, aclosing(synthesizer.speak(request())) as pieces:
        await anext(pieces)
        assert vendor.open_streams == 1
        rest = [piece async for piece in pieces]
    assert len(rest) > 1


async def test_settings_reach_the_vendor(vendor):
    async with voice(
        vendor.url, speaker_voice="marin", instructions="Be brief.", speed=1.25, model="gpt-4o-mini-tts"
    ) as synthesizer:
        await spoken(synthesizer)
        await spoken(synthesizer, voice="cedar")
    assert [said.voice for said in vendor.spoken] == ["marin", "cedar"]
    assert vendor.spoken[0].instructions == "Be brief."
    assert vendor.refusals == []


async def test_old_models_are_not_sent_instructions(vendor):
    async with voice(vendor.url, model="tts-1", instructions="Be brief.") as synthesizer:
        assert await spoken(synthesizer)
    assert vendor.refusals == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("401", VendorAuthError),
        ("429", VendorRateLimited),
        ("quota", VendorRateLimited),
        ("500", VendorUnavailable),
        ("empty", VendorError),
        ("cut", VendorUnavailable),
    ],
)
async def test_a_failure_has_a_name_and_is_not_tried_again(vendor, fault, kind):
    vendor.fail_next(fault)
    async with voice(vendor.url) as synthesizer:
        began = time.monotonic()
        with pytest.raises(kind) as caught:
            await spoken(synthesizer)
        assert time.monotonic() - began < 2
        assert type(caught.value) is kind
        assert caught.value.vendor == "openai"
        assert KEY not in str(caught.value)
        assert await spoken(synthesizer)
    assert len(vendor.spoken) == (2 if fault in {"empty", "cut"} else 1)


async def test_how_long_to_wait_is_passed_on(vendor):
    vendor.fail_next("429", retry_after=7)
    async with voice(vendor.url) as synthesizer:
        with pytest.raises(VendorRateLimited) as caught:
            await spoken(synthesizer)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("fault", ["hang", "slow"])
async def test_a_vendor_that_does_not_begin_is_given_up_in_time(vendor, fault):
    vendor.fail_next(fault, seconds=30)
    async with voice(vendor.url, limits=Limits(first_byte=0.2)) as synthesizer:
        with pytest.raises(VendorTimeout):
            await spoken(synthesizer)


async def test_a_vendor_that_stops_in_the_middle_is_given_up_in_time(vendor):
    vendor.chunk_delay = 30
    async with voice(vendor.url, limits=Limits(stall=0.2)) as synthesizer:
        with pytest.raises(VendorTimeout):
            await spoken(synthesizer)
        async with asyncio.timeout(2):
            await vendor.until(lambda: vendor.cancelled == 1)


async def test_a_vendor_that_is_not_there_is_unavailable():
    async with OpenAISpeechEmulator() as gone:
        pass
    async with voice(gone.url) as synthesizer:
        with pytest.raises(VendorUnavailable):
            await spoken(synthesizer)


async def test_an_interrupted_utterance_costs_no_more(vendor):
    vendor.chunk_delay = 0.05
    async with voice(vendor.url) as synthesizer:
        pieces = synthesizer.speak(request())
        await anext(pieces)
        await pieces.aclose()
        async with asyncio.timeout(2):
            await vendor.until(lambda: vendor.cancelled == 1)
        vendor.chunk_delay = 0.0
        assert await spoken(synthesizer)


async def test_a_cancelled_task_lets_go_of_the_connection(vendor):
    vendor.fail_next("hang")
    async with voice(vendor.url) as synthesizer:
        task = asyncio.create_task(spoken(synthesizer))
        async with asyncio.timeout(2):
            await vendor.until(lambda: vendor.open_streams == 1)
            task.cancel()
            await vendor.until(lambda: vendor.open_streams == 0)
        await asyncio.wait([task])
    assert task.cancelled()


async def test_a_long_text_is_spoken_whole_in_several_requests(vendor):
    text = " ".join(f"This is sentence number {n} of a very long story." for n in range(120))
    assert len(text) > LONGEST
    async with voice(vendor.url) as synthesizer:
        audio = await spoken(synthesizer, text)
    assert " ".join(said.text for said in vendor.spoken) == text
    assert all(said.text.endswith("story.") for said in vendor.spoken)
    assert len(audio) >= sum(len(babble(said.text)) for said in vendor.spoken)
    assert vendor.refusals == []


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("  ", 0), ("Yes.", 1), ("x" * LONGEST, 1), ("word " * 2000, 3), ("x" * (LONGEST + 1), 2)],
)
def test_no_part_of_a_text_is_too_long_and_none_is_empty(text, count):
    cut = parts(text, "en")
    assert len(cut) == count
    assert all(0 < len(part) <= LONGEST for part in cut)
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")


async def test_nothing_to_say_is_an_error(vendor):
    async with voice(vendor.url) as synthesizer:
        with pytest.raises(VendorError, match="no audio"):
            await spoken(synthesizer, " ")
    assert vendor.spoken == []


async def test_what_a_text_may_not_be_is_the_vendors_refusal(vendor):
    async with voice(vendor.url, speaker_voice="nobody") as synthesizer:
        with pytest.raises(VendorRejected, match="voice"):
            await spoken(synthesizer)


async def test_a_page_instead_of_audio_is_not_played():
    async def page(request):
        return web.Response(text="<html>Log in</html>", content_type="text/html")

    app = web.Application()
    app.router.add_post("/v1/audio/speech", page)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        voice(str(server.make_url("")).rstrip("/")) as synthesizer,
    ):
        with pytest.raises(VendorUnavailable, match="text/html"):
            await spoken(synthesizer)


async def test_a_request_names_us_and_takes_nothing_from_the_environment(monkeypatch):
    seen = []
    monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-other")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")

    async def take(request):
        seen.append(request.headers)
        return web.Response(body=b"\x00\x01" * 2400, content_type="audio/pcm")

    app = web.Application()
    app.router.add_post("/v1/audio/speech", take)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        voice(str(server.make_url("")).rstrip("/")) as synthesizer,
    ):
        assert len(await spoken(synthesizer)) == 800
    (headers,) = seen
    assert headers["User-Agent"].startswith("openclaw-voicecall/Python ")
    assert "OpenAI-Organization" not in headers
    assert "OpenAI-Project" not in headers


def registered():
    found = []
    plugin.voicecall_register_synthesizers(found.append)
    return found[0]


def runtime(tmp_path):
    return Runtime(clock=LoopClock(), ids=CountingIds(), state_dir=tmp_path, webhook_url=lambda name: "")


async def test_the_registered_synthesizer_speaks(vendor, tmp_path):
    spec = registered()
    config = spec.config(api_key=KEY, base_url=f"{vendor.url}/v1")
    assert spec.name == "openai"
    assert spec.describe(config) == "OpenAI gpt-4o-mini-tts, voice coral"
    assert any("2027-01-06" in notice for notice in spec.notices(config))
    async with spec.open(config, runtime(tmp_path)) as synthesizer:
        assert await spoken(synthesizer)


async def test_a_missing_key_is_said_by_its_setting(tmp_path):
    spec = registered()
    with pytest.raises(ConfigError, match=r"tts\.providers\.openai\.apiKey"):
        async with spec.open(spec.config(), runtime(tmp_path)):
            pass


async def test_a_missing_sdk_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "openclaw_voicecall.providers.openai.speech", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    spec = registered()
    with pytest.raises(EngineMissing, match=r"pip install 'openclaw-voicecall\[openai\]'"):
        async with spec.open(spec.config(api_key=KEY), runtime(tmp_path)):
            pass
