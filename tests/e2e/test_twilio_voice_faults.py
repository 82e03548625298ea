"""ElevenLabs fails in every way it can: the caller always hears a voice, and always an answer.

Each fault comes once or for good, with and without a second synthesizer. Every call has a number of its own, and every
number an ElevenLabs of its own, so that one service holds them all at the same time.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hearing import APOLOGY, BRIDGE, HeldCall
from twilio_scenes import Played, Stage, answering, stage, together
from vendor_line import GREETING

from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.twilio_rest import Number
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
ANSWERS = {TIME: NOON, OPEN: FIVE}
FAULTS = ("401", "quota", "429", "500", "empty", "slow", "cut", "hang")
SLOW = {True: 5.0, False: 1.0}
PREPARED = "Thanks for waiting, nearly there."
"""The last of the fixed phrases, which are prepared in the order of the alphabet."""
TRIES = 3
"""How often a caller asks the same thing."""


@dataclass(frozen=True)
class Case:
    fault: str
    always: bool
    spare: bool
    """Whether there is a second synthesizer."""

    def __str__(self):
        return f"{self.fault}-{'always' if self.always else 'once'}-{'spare' if self.spare else 'alone'}"

    def strike(self, voice):
        options = {"seconds": SLOW[self.always]} if self.fault == "slow" else {}
        voice.fail_next(self.fault, times=0 if self.always else 1, **options)


CASES = {
    str(case): case
    for case in (Case(fault, always, spare) for spare in (False, True) for fault in FAULTS for always in (True, False))
}


class Town:
    """One service with a number for each case, and an ElevenLabs for each number."""

    def __init__(self, here: Stage, voices: dict[Case, ElevenLabsEmulator]) -> None:
        self.here, self.voices, self.book = here, voices, here.line.agent
        self.questions = {question: here.line.words(question) for question in ANSWERS}
        self.coral = ClipBook()
        for text in (*ANSWERS.values(), *sentences(GREETING), *sentences(APOLOGY)):
            encoder = UlawEncoder(24000)
            self.coral.add(text, encoder.push(speech(text, "coral")) + encoder.finish())

    async def hold(self, index, case):
        twilio, voice, line = self.here.line.twilio, self.voices[case], self.here.line
        number = number_of(index)
        twilio.numbers[number] = Number(twilio.new_sid("PN"), number, voice_url=line.service.config["publicUrl"])
        if not case.spare and not case.always:
            async with asyncio.timeout(20):
                await voice.until(lambda: spoken(voice, PREPARED) and not voice.open_streams)
        for said in voice.spoken:
            self.book.add(said.text, babble(said.text))
        voice.clips = self.book
        if not case.always:
            case.strike(voice)
        scene = await self.here.ring(f"+1555000{index:04d}", self.person, to=number)
        call = HeldCall(scene.record, scene.journal, scene.call, line)
        call.__dict__["voices"] = sorted([(f.start, "E", f.text) for f in scene.found if f.text] + [(f.start, "O", f.text) for f in self.coral.read(bytes(scene.call.phone.heard)) if f.text])
        return call

    async def person(self, phone):
        await phone.wait_for_agent(quiet=1.0)
        for question, answer in ANSWERS.items():
            for _ in range(TRIES):
                await phone.say(self.questions[question])
                heard = await phone.wait_for_agent(quiet=0.8)
                if answer in [found.text for found in self.book.read(heard) + self.coral.read(heard)]:
                    break
        phone.hang_up()


def number_of(index):
    return f"+1267000{index:04d}"


def spoken(voice, text):
    return text in [said.text for said in voice.spoken]


def sentences(text):
    first, _, second = text.partition(". ")
    return f"{first}.", second


async def hold_calls(cases, *, spare):
    """All cases of one kind at the same time."""
    async with AsyncExitStack() as stack:
        voices = {case: await stack.enter_async_context(ElevenLabsEmulator()) for case in cases}
        for case, voice in voices.items():
            if case.always:
                case.strike(voice)
        config = {
            "phrases": {"prepare": not spare},
            "numbers": {
                number_of(index): {"tts": {"providers": {"elevenlabs": {"baseUrl": voice.url}}}}
                for index, voice in enumerate(voices.values())
            },
        }
        if spare:
            second = await stack.enter_async_context(OpenAISpeechEmulator())
            config["tts"] = {
                "fallbacks": ["openai"],
                "openai": {"apiKey": "sk-emulated", "baseUrl": second.url + "/v1"},
            }
        here = await stack.enter_async_context(stage(config, respond=answering(ANSWERS)))
        town = Town(here, voices)
        return await together({str(case): town.hold(index, case) for index, case in enumerate(cases)})


@pytest.fixture(scope="module")
def played():
    async def run():
        kinds = [
            hold_calls([case for case in CASES.values() if case.spare is spare], spare=spare)
            for spare in (False, True)
        ]
        return await asyncio.gather(*kinds)

    played = Played()
    for kind in asyncio.run(run()):
        played.update(kind)
    return played


@pytest.mark.parametrize("name", CASES)
def test_print(played, name):
    call = played[name]
    print(name, [v[1:] for v in call.voices], "SILENCE", call.silence, call.call.application_error, call.record["endReason"], call.call.said_by_carrier, call.call.time_limit, max(w.latency for w in call.call.webhooks))
    print("    ", call.transcript, [(hook.kind, hook.status, hook.problem) for hook in call.call.webhooks if hook.problem])
    print("\n".join(l[36:] for l in call.log if "INFO" not in l))
    print(call.line.twilio.refusals , call.line.chat.refusals , call.line.openai.refusals)
