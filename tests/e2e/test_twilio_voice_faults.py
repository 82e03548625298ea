"""ElevenLabs fails in every way it can: the caller always hears a voice, and always an answer.

Each fault comes once or for good, with and without a second synthesizer. Every call has a number of its own, and every
number an ElevenLabs of its own, so that one service holds them all at the same time.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from twilio_scenes import Played, Scene, Stage, answering, stage, together
from vendor_line import GREETING

from openclaw_voicecall.media.resample import UlawEncoder
from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.twilio_phone import AUDIBLE
from openclaw_voicecall.testing.emulators.twilio_rest import Number

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

FAULTS = {
    "401": ("refused", {}),
    "quota": ("quota", {}),
    "429": ("429", {}),
    "500": ("500", {}),
    "empty": ("no audio", {}),
    "slow": ("no audio in time", {"seconds": 5.0}),
    "cut": ("broke off", {}),
    "hang": ("no audio in time", {}),
}
ANSWERS = {"What time is it?": "It is noon.", "Are you open?": "Until five."}
APOLOGY = "I'm sorry, something went wrong on my side. Could you say that again?"
LAST_PHRASE = "Thanks for waiting, nearly there."
"""Fixed phrases are prepared in the order of the alphabet."""
PATIENCE = 3
"""How often a caller asks the same."""


@dataclass(frozen=True)
class Case:
    fault: str
    always: bool
    fallback: bool

    @property
    def name(self):
        return f"{self.fault}-{'always' if self.always else 'once'}-{'fallback' if self.fallback else 'alone'}"


CASES = [Case(fault, always, fallback) for fault in FAULTS for always in (True, False) for fallback in (True, False)]


def asking(heard_by: ClipBook):
    """A caller who asks until there is an answer, then asks the next thing."""

    async def person(phone):
        await phone.wait_for_agent(quiet=1.0)
        for question, answer in ANSWERS.items():
            for _ in range(PATIENCE):
                before = len(phone.heard)
                await phone.say(heard_by.asked[question])
                await phone.wait_for_agent(quiet=0.8)
                if answer in [found.text for found in heard_by.read(bytes(phone.heard[before:]))]:
                    break
        phone.hang_up()

    return person


def longest_silence(call):
    """Seconds in which neither side was heard."""
    step = 160
    heard = bytes(call.phone.heard)
    loud = bytes((~byte & 0x7F) >= AUDIBLE for byte in range(256))
    sound = [1 in heard[at : at + step].translate(loud) for at in range(0, len(heard), step)]
    for at, audio in call.phone.said:
        for block in range(round(at * 8000) // step, min(len(sound), (round(at * 8000) + len(audio)) // step + 1)):
            sound[block] = True
    longest = run = 0
    for audible in sound:
        run = 0 if audible else run + 1
        longest = max(longest, run)
    return longest * step / 8000


async def _stage_of(cases, fallback, results):
    async with AsyncExitStack() as stack:
        voices = {case: await stack.enter_async_context(ElevenLabsEmulator()) for case in cases}
        for case, voice in voices.items():
            if case.always:
                voice.fail_next(case.fault, times=0, **FAULTS[case.fault][1])
        numbers = {case: f"+1267000{index:04d}" for index, case in enumerate(cases, 1)}
        tts = {}
        if fallback:
            spare = await stack.enter_async_context(OpenAISpeechEmulator())
            tts = {"fallbacks": ["openai"], "openai": {"apiKey": "sk-emulated", "baseUrl": spare.url + "/v1"}}
        config = {
            "tts": tts,
            "numbers": {
                numbers[case]: {"tts": {"providers": {"elevenlabs": {"baseUrl": voice.url}}}}
                for case, voice in voices.items()
            },
        }
        here = await stack.enter_async_context(stage(config, respond=answering(ANSWERS)))
        results[fallback] = here
        await _play(here, voices, numbers, results)


async def _play(here, voices, numbers, results):
    book = here.line.agent
    book.asked = {question: here.line.words(question) for question in ANSWERS}
    for text in (*ANSWERS.values(), "I'm sorry, something went wrong on my side.", "Could you say that again?", "Hello, this is Clawdbot.", "I'm here to help you today."):
        encoder = UlawEncoder(24000)
        book.add(text, encoder.push(speech(text, "coral")) + encoder.finish())
    for case, voice in voices.items():
        here.line.twilio.numbers[numbers[case]] = Number(
            here.line.twilio.new_sid("PN"), numbers[case], voice_url=here.line.service.config["publicUrl"]
        )
        for spoken in voice.spoken:
            from openclaw_voicecall.testing.emulators.voices import babble
            book.add(spoken.text, babble(spoken.text))
        if not case.always:
            async with asyncio.timeout(20):
                await voice.until(lambda voice=voice: LAST_PHRASE in [spoken.text for spoken in voice.spoken] and not voice.open_streams)
            for spoken in voice.spoken:
                book.add(spoken.text, babble(spoken.text))
            voice.fail_next(case.fault, **FAULTS[case.fault][1])
        voice.clips = book
    played = await together(
        {
            case.name: here.ring(f"+1555000{index:04d}", asking(book), to=numbers[case])
            for index, case in enumerate(voices, 1)
        }
    )
    results.update(played)
    results["stderr", here] = here.line.service.stderr
    results["refusals", here] = here.line.twilio.refusals + here.line.chat.refusals + here.line.openai.refusals


@pytest.fixture(scope="module")
def played():
    results = Played()

    async def run():
        await asyncio.gather(
            *(_stage_of([case for case in CASES if case.fallback is fallback], fallback, results) for fallback in (True, False))
        )

    asyncio.run(run())
    return results


def test_print(played):
    import time
    for case in CASES:
        try:
            scene = played[case.name]
        except Exception as error:
            print(case.name, "FAILED", repr(error)[:600])
            continue
        print(case.name, scene.heard, "SILENCE", longest_silence(scene.call), scene.call.application_error, scene.record["endReason"], scene.call.said_by_carrier, scene.call.time_limit, max(w.latency for w in scene.call.webhooks))
        print("    ", scene.lines)
        print("    ", [(e["data"].get("hop"), e["data"].get("detail"), e["data"].get("action")) for e in scene.journal if e["event"] == "vendor-failed"])
    for key, value in played.items():
        if isinstance(key, tuple) and key[0] in("refusals",):
            print(key[0], value)
