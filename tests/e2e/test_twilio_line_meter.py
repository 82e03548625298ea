"""What no vendor reports is noticed on the line: silent and trickling voices, a stream that nobody reads, a slow model.

Calls are held at the same time. Where each has an ElevenLabs of its own, it also has a number of its own.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hearing import APOLOGY, BRIDGE, LONGEST_SILENCE, HeldCall
from twilio_scenes import Played, Stage, answering, stage, together
from vendor_line import GREETING, OURS

from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.twilio_rest import Number

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "Noon."
STORY = "Tell me a story."
LONG = (
    "Once upon a time there was a miller who had three sons, a mill, a donkey and a cat, and when he died the sons "
    "shared what was there, and the youngest got nothing but the cat."
)
ANSWERS = {TIME: NOON, STORY: LONG}
LATE = "I'm sorry, this is taking longer than usual."
BACK = "I'm here again. Please go on."
SOUND_WITHIN = 4.0
JITTER = 0.6
"""Seconds that a loaded machine may add."""
VOICE_FAULTS = {"silent": "the audio is silent", "trickle": "the audio comes slower than it is heard"}


@dataclass(frozen=True)
class Held(HeldCall):
    """A call, what was heard by whichever voice, and what the service said of it meanwhile."""

    said: str
    shown: dict[str, Any]
    status: dict[str, Any]

    def lines(self, word: str) -> list[dict[str, Any]]:
        return [entry["data"] for entry in self.journal if entry["event"] == word]


class House:
    """A service and those who call it."""

    def __init__(self, here: Stage) -> None:
        self.here = here
        self.questions = {question: here.line.words(question) for question in ANSWERS}
        self.coral = ClipBook()
        for text in (NOON, *GREETING.split(". "), *APOLOGY.split(". ")):
            encoder = UlawEncoder(24000)
            sentence = text if text[-1] in ".?" else f"{text}."
            self.coral.add(sentence, encoder.push(speech(sentence, "coral")) + encoder.finish())

    def read(self, audio: bytes) -> str:
        finds = sorted(
            self.here.line.agent.read(audio) + self.coral.read(audio), key=lambda found: found.start
        )
        return " ".join(found.text for found in finds if found.text)

    async def hold(self, question: str, *ends: str, number: str = OURS, caller: str = "+15550001000") -> Held:
        """Somebody calls, asks when the line is quiet, and hangs up after one of these words or asks again."""
        shown: dict[str, Any] = {}
        status: dict[str, Any] = {}

        async def person(phone):
            await phone.wait_for_agent(quiet=1.2, timeout=20)
            for _ in range(3):
                await phone.say(self.questions[question])
                asked = len(phone.heard)
                async with asyncio.timeout(25):
                    while not any(
                        end in self.read(bytes(phone.heard[asked:])) for end in (*ends, APOLOGY[-6:])
                    ):
                        await phone.wait(0.2)
                await phone.wait(0.5)
                if any(end in self.read(bytes(phone.heard[asked:])) for end in ends):
                    break
            live = (await self.here.client.status())["calls"]
            shown.update(next(call for call in live if call["from"] == caller))
            status.update((await self.here.client.status())["service"])
            phone.hang_up()

        scene = await self.here.ring(caller, person, to=number)
        said = self.read(bytes(scene.call.line.heard))
        return Held(scene.record, scene.journal, scene.call, self.here.line, said, shown, status)


async def with_voices(*, spare: bool) -> Played:
    """ElevenLabs that nobody can hear, or hardly, with and without another voice."""
    async with AsyncExitStack() as stack:
        voices = {fault: await stack.enter_async_context(ElevenLabsEmulator()) for fault in VOICE_FAULTS}
        numbers = {fault: f"+1267000200{index}" for index, fault in enumerate(VOICE_FAULTS)}
        config: dict[str, Any] = {
            "numbers": {
                numbers[fault]: {"tts": {"providers": {"elevenlabs": {"baseUrl": voice.url}}}}
                for fault, voice in voices.items()
            }
        }
        if spare:
            second = await stack.enter_async_context(OpenAISpeechEmulator())
            account = {"apiKey": "sk-emulated", "baseUrl": second.url + "/v1"}
            config["tts"] = {"fallbacks": ["openai"], "openai": account}
        here = await stack.enter_async_context(stage(config, respond=answering(ANSWERS)))
        house, twilio = House(here), here.line.twilio
        scenes = {}
        for index, (fault, voice) in enumerate(voices.items()):
            voice.fail_next(fault, times=0)
            voice.clips = here.line.agent
            url = here.line.service.config["publicUrl"]
            twilio.numbers[numbers[fault]] = Number(twilio.new_sid("PN"), numbers[fault], voice_url=url)
            scenes[f"{fault}-{'spare' if spare else 'alone'}"] = house.hold(
                TIME, NOON, number=numbers[fault], caller=f"+1555000100{index}"
            )
        return await together(scenes)


async def with_a_slow_model() -> Played:
    async with stage(respond=answering(ANSWERS)) as here:
        house = House(here)
        here.line.chat.fail_next("slow", seconds=5.5)
        return await together({"slow": house.hold(TIME, NOON)})


async def with_a_stream_that_is_not_read() -> Played:
    """And one call beside it on which all is well."""
    async with stage(respond=answering(ANSWERS)) as here:
        house, twilio = House(here), here.line.twilio
        twilio.fail_next("media-unread", seconds=9.0)

        async def good() -> Held:
            async with asyncio.timeout(10):
                while not any(call.streams for call in twilio.calls.values()):
                    await asyncio.sleep(0.05)  # the fault is the other call's
            return await house.hold(TIME, NOON, caller="+15550001003")

        return await together({"unread": house.hold(STORY, BACK, caller="+15550001002"), "good": good()})


@pytest.fixture(scope="module")
def held() -> Played:
    async def run() -> Played:
        kinds = await asyncio.gather(
            with_voices(spare=False),
            with_voices(spare=True),
            with_a_slow_model(),
            with_a_stream_that_is_not_read(),
        )
        return Played({name: call for played in kinds for name, call in played.items()})

    return asyncio.run(run())


def require_sound(call: Held) -> None:
    assert call.silence <= LONGEST_SILENCE, call.said
    assert call.call.application_error is None
    assert call.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("fault", VOICE_FAULTS)
def test_another_voice_speaks_for_one_that_nobody_can_hear(held, fault):
    call = held[f"{fault}-spare"]
    require_sound(call)
    assert call.said.endswith(NOON)
    assert call.call.said_by_carrier == []
    call.require_log_line("synthesizer elevenlabs failed", VOICE_FAULTS[fault], "")
    assert call.silence <= SOUND_WITHIN + JITTER


@pytest.mark.parametrize("fault", VOICE_FAULTS)
def test_the_carrier_speaks_where_there_is_no_other_voice(held, fault):
    call = held[f"{fault}-alone"]
    require_sound(call)
    assert call.call.said_by_carrier[-1] == NOON
    call.require_log_line(
        "synthesizer failed", VOICE_FAULTS[fault], "the carrier speaks and listens from here on"
    )


def test_silence_of_a_voice_is_not_taken_for_the_greeting(held):
    call = held["silent-alone"]
    assert call.call.said_by_carrier[0] == GREETING
    assert call.record["line"]["spokenSeconds"] == 0
    assert call.transcript[0] == ("agent", GREETING)


def test_what_is_heard_of_a_voice_that_trickles_is_not_said_again(held):
    call = held["trickle-spare"]
    assert [said for said in call.said.split(". ") if call.said.count(said) > 1] == []


def test_a_caller_whose_answer_takes_long_is_told_so_in_time(held):
    call = held["slow"]
    require_sound(call)
    assert BRIDGE in call.said
    assert call.said.count(LATE) == 1
    assert call.said.endswith(NOON)
    asked_at, audio = call.call.line.said[0]
    told = next(found for found in call.line.agent.read(bytes(call.call.line.heard)) if found.clip == LATE)
    assert told.start / 8000 - (asked_at + len(audio) / 8000) < 10.0
    assert call.silence <= SOUND_WITHIN + JITTER


def test_a_stream_that_nobody_reads_is_replaced(held):
    call = held["unread"]
    require_sound(call)
    assert len(call.call.streams) == 2
    assert BACK in call.said
    (silent,) = [data for data in call.lines("line-silent") if data["hop"] == "media stream"]
    assert silent["detail"] == "it plays nothing"
    call.require_log_line("waiting for the media stream", "it plays nothing", "the carrier is asked to go on")
    story = next(line for line in call.record["transcript"] if line["text"].startswith("Once upon"))
    assert story["interrupted"], "what was not played was not heard"


def test_the_record_says_what_could_be_heard_and_while_the_call_goes_on_too(held):
    call = held["good"]
    line, live = call.record["line"], call.shown["line"]
    spoken = len(call.line.agent.read(bytes(call.call.line.heard))) and line["spokenSeconds"]
    assert 2.0 < spoken < 8.0
    assert 0 < live["spokenSeconds"] <= spoken
    assert line["heardSeconds"] > 0.5
    assert line["longestSilenceMs"] < 3500
    assert call.lines("line-figures") == [
        {
            "heard_seconds": line["heardSeconds"],
            "spoken_seconds": line["spokenSeconds"],
            "longest_silence_ms": line["longestSilenceMs"],
        }
    ]
    assert call.lines("line-silent") == []
    assert call.status["breakers"] == []
