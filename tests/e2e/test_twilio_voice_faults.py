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
from openclaw_voicecall.testing.emulators.clips import ClipBook, Found
from openclaw_voicecall.testing.emulators.elevenlabs import ElevenLabsEmulator
from openclaw_voicecall.testing.emulators.openai_speech import OpenAISpeechEmulator, speech
from openclaw_voicecall.testing.emulators.twilio_rest import Number
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.e2e, pytest.mark.heavy, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
ANSWERS = {TIME: NOON, OPEN: FIVE}
TALK = [("caller", TIME), ("agent", NOON), ("caller", OPEN), ("agent", FIVE)]
HELLO = ("Hello, this is Clawdbot.", "I'm here to help you today.")
SORRY = ("I'm sorry, something went wrong on my side.", "Could you say that again?")
PREPARED = "so I'll hang up now."
"""The last of the fixed phrases, which are prepared in the order of the alphabet."""
CAUSES = {
    "401": "check tts.providers.elevenlabs.apiKey",
    "quota": "quota is used up",
    "429": "answered 429",
    "500": "answered 500",
    "empty": "sent no audio",
    "slow": "no audio in time",
    "cut": "broke off",
    "hang": "no audio in time",
}
TAKEN_OVER = "the carrier speaks and listens from here on"
FOR_GOOD = ("401", "quota", "hang")
"""After these nothing is tried again in the same call."""


@dataclass(frozen=True)
class Case:
    """How the ElevenLabs of one call fails."""

    fault: str
    always: bool
    spare: bool
    """Whether there is a second synthesizer."""

    def __str__(self) -> str:
        return f"{self.fault}-{'always' if self.always else 'once'}-{'spare' if self.spare else 'alone'}"

    def strike(self, voice: ElevenLabsEmulator) -> None:
        options = {"seconds": 5.0 if self.always else 1.0} if self.fault == "slow" else {}
        voice.fail_next(self.fault, times=0 if self.always else 1, **options)

    @property
    def outcome(self) -> str:
        """Who speaks after the failure."""
        if self.fault == "cut":
            return "second" if self.spare else "carrier" if self.always else "same"
        return ("second" if self.spare else "carrier") if self.always or self.fault in FOR_GOOD else "same"


CASES = {
    str(case): case
    for case in (
        Case(f, always, spare) for spare in (False, True) for f in CAUSES for always in (True, False)
    )
}
DEAD = Case("dead", always=False, spare=False)
"""ElevenLabs breaks off in the first answer, and is gone after that."""


@dataclass(frozen=True)
class Told(HeldCall):
    """A call, and its own ElevenLabs."""

    voice: ElevenLabsEmulator
    found: list[Found]

    @property
    def whole(self) -> str:
        """All that was heard to its end, by whichever voice."""
        return " ".join(found.text for found in self.found if found.whole)


class Town:
    """A service with a number for each case."""

    def __init__(self, here: Stage, voices: dict[Case, ElevenLabsEmulator]) -> None:
        self.here, self.voices = here, voices
        self.questions = {question: here.line.words(question) for question in ANSWERS}
        self.coral = ClipBook()
        for text in (*ANSWERS.values(), *HELLO, *SORRY):
            encoder = UlawEncoder(24000)
            self.coral.add(text, encoder.push(speech(text, "coral")) + encoder.finish())

    def read(self, audio: bytes) -> list[Found]:
        """What was said in some audio: by ElevenLabs, by the carrier, or by OpenAI's voice."""
        finds = self.here.line.agent.read(audio) + self.coral.read(audio)
        return sorted(finds, key=lambda found: found.start)

    async def hold(self, index: int, case: Case) -> Told:
        line, voice = self.here.line, self.voices[case]
        number, ours = number_of(index), line.service.config["publicUrl"]
        line.twilio.numbers[number] = Number(line.twilio.new_sid("PN"), number, voice_url=ours)
        if not case.spare and not case.always:
            async with asyncio.timeout(20):
                await voice.until(lambda: count(voice, PREPARED) and not voice.open_streams)
        for said in voice.spoken:
            line.agent.add(said.text, babble(said.text))
        voice.clips = line.agent
        if case is DEAD:
            voice.fail_next("cut")
        elif not case.always:
            case.strike(voice)

        async def person(phone):
            while not {HELLO[1], SORRY[1]} & {last_sentence(f.clip) for f in self.read(bytes(phone.heard))}:
                await phone.wait_for_agent(quiet=1.0)
            for question, answer in list(ANSWERS.items())[: 1 if case is DEAD else None]:
                for _ in range(3):
                    await phone.say(self.questions[question])
                    heard = self.read(await phone.wait_for_agent(quiet=0.8))
                    if case is DEAD:
                        voice.fail_next("500", times=0)
                    if answer in [found.text for found in heard]:
                        break
            phone.hang_up()

        scene = await self.here.ring(f"+1555000{index:04d}", person, to=number)
        found = self.read(bytes(scene.call.line.heard))
        return Told(scene.record, scene.journal, scene.call, line, voice, found)


def last_sentence(text: str) -> str:
    return text.rpartition(". ")[2]


def number_of(index: int) -> str:
    return f"+1267000{index:04d}"


def count(voice: ElevenLabsEmulator, text: str) -> int:
    """How often ElevenLabs was asked for a text and gave it."""
    return [said.text for said in voice.spoken].count(text)


async def hold_calls(cases: list[Case], *, spare: bool) -> Played:
    """Calls with the same second voice, at the same time."""
    async with AsyncExitStack() as stack:
        voices = {case: await stack.enter_async_context(ElevenLabsEmulator()) for case in cases}
        for case, voice in voices.items():
            if case.always:
                case.strike(voice)
        config = {
            # What is made early and fails is asked for again, so one fault alone would not be noticed at all.
            "endpointing": {"speculate": False},
            "phrases": {"prepare": not spare},
            "numbers": {
                number_of(index): {"tts": {"providers": {"elevenlabs": {"baseUrl": voice.url}}}}
                for index, voice in enumerate(voices.values())
            },
        }
        if spare:
            second = await stack.enter_async_context(OpenAISpeechEmulator())
            account = {"apiKey": "sk-emulated", "baseUrl": second.url + "/v1"}
            config["tts"] = {"fallbacks": ["openai"], "openai": account}
        town = Town(await stack.enter_async_context(stage(config, respond=answering(ANSWERS))), voices)
        return await together({str(case): town.hold(index, case) for index, case in enumerate(cases)})


@pytest.fixture(scope="module")
def held() -> Played:
    async def run() -> Played:
        alone = [DEAD, *(case for case in CASES.values() if not case.spare)]
        spare = [case for case in CASES.values() if case.spare]
        kinds = await asyncio.gather(hold_calls(alone, spare=False), hold_calls(spare, spare=True))
        return Played({**kinds[0], **kinds[1]})

    return asyncio.run(run())


def require_good_end(call: Told) -> None:
    call.require_no_dead_line()
    assert call.record["endReason"] == "caller-hung-up"
    assert call.call.time_limit == 310, "Twilio itself ends the call, should we not"
    line = call.line
    for emulator in (line.twilio, line.openai, line.chat, line.elevenlabs, call.voice):
        assert emulator.refusals == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.outcome == "same"])
def test_a_passing_failure_is_not_heard_or_apologised_for(held, name):
    call, case = held[name], CASES[name]
    sorry = [APOLOGY] if case.fault == "cut" else []
    assert call.whole == " ".join([GREETING, *sorry, NOON, FIVE])
    assert call.call.said_by_carrier == []
    again = [("agent", APOLOGY), ("caller", TIME)] if sorry else []
    assert call.transcript == [
        ("agent", GREETING),
        ("caller", TIME),
        *again,
        *TALK[1:],
    ]
    if case.fault != "slow":
        action = "given up" if sorry else "asked again"
        call.require_log_line("synthesizer elevenlabs failed", CAUSES[case.fault], action)
    require_good_end(call)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.outcome == "second" and case.fault != "cut"]
)
def test_the_second_voice_speaks_and_nobody_notices(held, name):
    call, case = held[name], CASES[name]
    assert call.whole == " ".join([GREETING, NOON, FIVE])
    assert call.call.said_by_carrier == []
    assert call.transcript == [("agent", GREETING), *TALK]
    assert not {NOON, FIVE} & {said.text for said in call.voice.spoken}, "who has failed is asked last"
    call.require_log_line("synthesizer elevenlabs failed", CAUSES[case.fault], "openai speaks instead")
    require_good_end(call)


@pytest.mark.parametrize("name", ["cut-always-spare", "cut-once-spare"])
def test_the_second_voice_goes_on_after_half_a_sentence_and_says_nothing_twice(held, name):
    call = held[name]
    assert call.whole == " ".join([HELLO[1], APOLOGY, NOON, FIVE])
    assert call.heard == ["Hello, this"], "the rest was said by OpenAI"
    assert call.transcript[1:] == [("agent", APOLOGY), *TALK]
    call.require_log_line("synthesizer elevenlabs failed", CAUSES["cut"], "given up")
    require_good_end(call)


@pytest.mark.parametrize("name", [f"{fault}-always-alone" for fault in CAUSES if fault != "cut"])
def test_without_any_voice_the_carrier_greets_and_holds_the_same_call(held, name):
    call, case = held[name], CASES[name]
    assert call.whole == " ".join([GREETING, NOON, FIVE])
    assert call.call.said_by_carrier == [GREETING, NOON, FIVE]
    assert call.transcript == [("agent", GREETING), *TALK]
    call.require_log_line("synthesizer failed", CAUSES[case.fault], TAKEN_OVER)
    require_good_end(call)


def test_a_voice_that_breaks_off_again_and_again_gives_way_to_the_carrier(held):
    call = held["cut-always-alone"]
    # A greeting of which a word was heard is not begun again.
    first = call.call.said_by_carrier[0]
    assert first in (GREETING, APOLOGY)
    assert call.call.said_by_carrier == [first, NOON, FIVE]
    assert call.whole == " ".join([first, NOON, FIVE])
    assert call.transcript[-5:] == [("agent", first), *TALK]
    call.require_log_line("synthesizer failed", CAUSES["cut"], TAKEN_OVER)
    require_good_end(call)


@pytest.mark.parametrize("name", [f"{fault}-once-alone" for fault in FOR_GOOD])
def test_the_carrier_takes_over_in_the_middle_of_a_talk(held, name):
    call, case = held[name], CASES[name]
    assert call.whole == " ".join([GREETING, APOLOGY, NOON, FIVE])
    assert call.call.said_by_carrier == [APOLOGY, NOON, FIVE]
    # Before a voice that hangs is given up, the line may have been silent for long enough for a prepared word.
    assert [line for line in call.transcript if not BRIDGE.startswith(line[1])] == [
        ("agent", GREETING),
        ("caller", TIME),
        ("agent", APOLOGY),
        *TALK,
    ]
    call.require_log_line("synthesizer failed", CAUSES[case.fault], TAKEN_OVER)
    require_good_end(call)


def test_an_apology_is_made_in_the_configured_voice_although_that_is_dead(held):
    call = held[str(DEAD)]
    assert call.whole == " ".join([GREETING, APOLOGY, APOLOGY, NOON])
    assert call.call.said_by_carrier == [APOLOGY, NOON], "the first apology was no carrier's"
    assert [count(call.voice, text) for text in (*HELLO, *SORRY)] == [1, 1, 1, 1], "prepared, and kept"
    call.require_log_line("synthesizer elevenlabs failed", CAUSES["cut"], "given up")
    call.require_log_line("synthesizer failed", CAUSES["500"], TAKEN_OVER)
    require_good_end(call)


def test_whatever_the_voice_does_twilio_is_answered_within_two_seconds(held):
    hooks = [hook.latency for name in CASES for hook in held[name].call.webhooks]
    assert len(hooks) > 60
    assert sorted(hooks)[len(hooks) * 99 // 100] < 2.0
