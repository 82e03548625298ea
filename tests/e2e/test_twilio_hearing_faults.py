"""Whatever OpenAI's transcriber does, a caller is heard or is told, and never left in silence."""

import os
from contextlib import AsyncExitStack
from typing import Any
from unittest import mock

import pytest
from hearing import (
    APOLOGY,
    BRIDGE,
    RECONNECTED,
    HeldCall,
    Lane,
    Outcomes,
    Scenario,
    carrier_listens,
    first_heard,
    hold,
    hold_all,
    patient,
)
from vendor_line import GREETING, VendorLine

from openclaw_voicecall.testing.emulators.deepgram import DeepgramEmulator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
OPEN, FIVE = "Are you open?", "Until five."
THANKS = "Goodbye and thank you."
SESSION = "Missing required parameter: 'session'."
CARRIER = "the carrier speaks and listens from here on"
DEAF = "the caller speaks, and no words of it come back"
WHOLE_TALK = [("agent", "Hello"), ("caller", TIME), ("agent", NOON)]

REOPENED = {
    "refuse-session": SESSION,
    "http-429": "Rate limit reached.",
    "http-500": "The server had an error while processing your request.",
    "no-session-updated": DEAF,
    "close": "closed with 1006",
    "quiet": DEAF,
    "close-after-speech-started": "closed with 1006",
    "expire": "Your session hit the maximum duration of 60 minutes.",
}
"""Faults of one session, with the cause in the log."""
TAKEN_OVER = {
    "refuse-session-always": SESSION,
    "beta-half-migrated-always": SESSION,
    "http-401-always": "Incorrect API key provided",
    "http-500-always": "The server had an error while processing your request.",
    "auth-in-band-always": "Incorrect API key provided",
    "quiet-always": DEAF,
    "close-after-speech-started-always": "closed with 1006",
}
"""Faults of every session, with the cause in the log."""


def answers(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
    """What the model says: an answer to each question it was asked last."""
    said = messages[-1]["content"]
    known = {TIME: NOON, OPEN: FIVE}
    return " ".join(answer for question, answer in known.items() if question in said) or f"You said: {said}"


def with_fault(name: str, *talk: tuple[str, str], times: int = 1, **options: Any) -> Scenario:
    """The transcriber fails like this, and somebody asks until everything is answered."""

    async def scenario(line: VendorLine) -> HeldCall:
        line.openai.fail_next(name, times=times, **options)
        return await hold(line, patient(line, *(talk or ((TIME, NOON),))))

    return scenario


def without_a_session(name: str, *talk: tuple[str, str]) -> Scenario:
    """No session ever opens, and somebody takes a moment before the first question."""

    async def scenario(line: VendorLine) -> HeldCall:
        line.openai.fail_next(name, times=0)
        asking = patient(line, *(talk or ((TIME, NOON),)))

        async def person(phone):
            await carrier_listens(phone, line)
            await phone.wait_for_agent(quiet=0.9)
            await asking(phone)

        return await hold(line, person)

    return scenario


async def over_the_greeting(line: VendorLine) -> HeldCall:
    question = line.words(TIME)

    async def person(phone):
        await phone.wait_for_sound()
        await phone.wait(0.5)
        await phone.say(question)
        await first_heard(phone, line.agent, NOON)
        phone.hang_up()

    return await hold(line, person, inbound=True)


async def right_before_hanging_up(line: VendorLine) -> HeldCall:
    question, last = line.words(TIME), line.words(THANKS)

    async def person(phone):
        await first_heard(phone, line.agent, "Hello", since=0.0)
        await phone.say(question)
        await first_heard(phone, line.agent, NOON)
        await phone.say(last)
        await phone.wait(0.2)
        phone.hang_up()

    return await hold(line, person)


async def out_of_order(line: VendorLine) -> HeldCall:
    """Two utterances of one breath: the words of the second come first."""
    line.openai.fail_next("out-of-order")
    first, second = line.words(TIME), line.words(OPEN)

    async def person(phone):
        await first_heard(phone, line.agent, "Hello", since=0.0)
        await phone.say(first)
        await phone.wait(1.0)
        await phone.say(second)
        await first_heard(phone, line.agent, FIVE)
        phone.hang_up()

    return await hold(line, person)


class Spare:
    """A Deepgram that stands by, on a line where nothing interrupts the agent."""

    def __init__(self) -> None:
        self.deepgram = DeepgramEmulator()

    async def prepare(self, stack: AsyncExitStack) -> dict[str, Any]:
        await stack.enter_async_context(self.deepgram)
        variables = {
            "DEEPGRAM_API_KEY": self.deepgram.key,
            "VOICECALL_STREAMING__PROVIDERS__DEEPGRAM__BASE_URL": self.deepgram.url,
        }
        stack.enter_context(mock.patch.dict(os.environ, variables))
        return {"config": {"streaming": {"fallbacks": ["deepgram"]}, "interruptions": {"mode": "off"}}}

    def heard_instead(self, name: str, **options: Any) -> Scenario:
        async def scenario(line: VendorLine) -> HeldCall:
            self.deepgram.recognizer = line.caller
            return await with_fault(name, (TIME, NOON), (OPEN, FIVE), times=0, **options)(line)

        return scenario


@pytest.fixture(scope="module")
def held() -> Outcomes:
    """All calls, by the names of their faults."""
    spare = Spare()
    lanes: list[dict[str, Scenario]] = [
        {
            **{name: with_fault(name) for name in ("refuse-session", "http-429", "http-500")},
            "slow-start": with_fault("slow-start", seconds=2.0),
            "right-before-hanging-up": right_before_hanging_up,
        },
        {
            "refuse-session-always": without_a_session("refuse-session", (TIME, NOON), (OPEN, FIVE)),
            "http-401-always": without_a_session("http-401"),
            "http-500-always": without_a_session("http-500"),
        },
        {
            "beta-half-migrated-always": without_a_session("beta-half-migrated"),
            "auth-in-band-always": without_a_session("auth-in-band"),
            "no-session-updated": with_fault("no-session-updated"),
        },
        {"quiet": with_fault("quiet"), "quiet-always": with_fault("quiet", times=0)},
        {
            "close": with_fault("close", seconds=1.0),
            "close-after-speech-started": with_fault("close-after-speech-started"),
            "close-after-speech-started-always": with_fault("close-after-speech-started", times=0),
        },
        {
            "failed-item": with_fault("failed-item"),
            "expire": with_fault("expire", seconds=1.5),
            "over-the-greeting": over_the_greeting,
        },
        {
            "empty-transcript": with_fault("empty-transcript"),
            "out-of-order": out_of_order,
        },
    ]
    spared = {
        "spare-http-401": spare.heard_instead("http-401"),
        "spare-close": spare.heard_instead("close", seconds=1.0),
        "over-the-whole-greeting": over_the_greeting,
    }
    options = {"respond": answers}
    return hold_all([*(Lane(lane, options) for lane in lanes), Lane(spared, options, spare.prepare)])


def without_bridge(texts: list[str]) -> list[str]:
    """Without what is said, or begun, because a line was silent for long while another transcriber was asked."""
    return [text for text in texts if not BRIDGE.startswith(text)]


def talk_of(call: HeldCall) -> list[tuple[str, str]]:
    return [line for line in call.transcript if not BRIDGE.startswith(line[1])]


@pytest.mark.parametrize("fault", REOPENED)
def test_after_a_fault_of_one_session_the_next_one_hears_what_was_said(held, fault):
    call = held(fault)
    assert without_bridge(call.heard) == ["Hello", NOON]
    assert talk_of(call) == WHOLE_TALK
    assert call.record["endReason"] == "caller-hung-up"
    assert "<Gather" not in "".join(call.call.verbs), "the audio stream was kept"
    call.require_log_line("transcriber openai", REOPENED[fault], "opened again")
    call.require_no_dead_line()


@pytest.mark.parametrize("fault", TAKEN_OVER)
def test_when_every_session_fails_the_carrier_listens_in_the_same_call(held, fault):
    call = held(fault)
    heard = without_bridge(call.heard)
    answered = [text for text in heard if text not in (APOLOGY, RECONNECTED)]
    assert answered == ["Hello", NOON] + [FIVE] * ("refuse" in fault)
    assert call.caller_words == [TIME] + [OPEN] * ("refuse" in fault), "nothing half heard is answered"
    assert len(heard) - len(answered) <= 1, "that something was wrong is said once, if at all"
    assert call.record["endReason"] == "caller-hung-up"
    assert "<Gather" in "".join(call.call.verbs)
    call.require_log_line("transcriber", TAKEN_OVER[fault], CARRIER)
    call.require_no_dead_line()


@pytest.mark.parametrize("fault", ["quiet-always", "close-after-speech-started-always"])
def test_a_caller_whose_words_are_lost_with_the_stream_is_asked_to_repeat_them(held, fault):
    assert talk_of(held(fault)) == [WHOLE_TALK[0], ("agent", APOLOGY), *WHOLE_TALK[1:]]


@pytest.mark.parametrize("fault", ["failed-item", "empty-transcript"])
def test_a_caller_of_whose_utterance_no_word_comes_is_asked_to_repeat_it(held, fault):
    call = held(fault)
    assert call.transcript == [WHOLE_TALK[0], ("agent", APOLOGY), *WHOLE_TALK[1:]]
    assert " ".join(call.heard) == f"Hello {APOLOGY} {NOON}"
    call.require_no_dead_line()


def test_an_utterance_that_could_not_be_transcribed_is_in_the_log(held):
    held("failed-item").require_log_line(
        "transcriber openai", "The audio could not be transcribed.", "this utterance is given up"
    )


def test_words_said_before_the_session_is_ready_are_heard(held):
    call = held("slow-start")
    assert call.transcript == WHOLE_TALK
    assert call.heard == ["Hello", NOON]
    call.require_no_dead_line()


def test_words_whose_transcripts_come_in_the_wrong_order_are_put_right(held):
    call = held("out-of-order")
    assert " ".join(call.caller_words) == f"{TIME} {OPEN}"
    assert " ".join(call.heard) == f"Hello {NOON} {FIVE}"
    call.require_no_dead_line()


def test_the_first_words_over_the_greeting_interrupt_it_and_are_answered(held):
    call = held("over-the-greeting")
    greeting, *talk = call.transcript
    assert GREETING.startswith(greeting[1])
    assert greeting[1] != GREETING
    assert talk == WHOLE_TALK[1:]
    assert call.heard[-1] == NOON
    call.require_no_dead_line()


def test_the_first_words_are_answered_after_a_greeting_that_nothing_interrupts(held):
    call = held("over-the-whole-greeting")
    assert call.transcript == [("agent", GREETING), *WHOLE_TALK[1:]]
    assert " ".join(call.heard) == f"{GREETING} {NOON}"
    call.require_no_dead_line()


def test_the_last_words_right_before_hanging_up_are_written_down(held):
    call = held("right-before-hanging-up")
    assert call.transcript == [*WHOLE_TALK, ("caller", THANKS)]
    assert call.record["endReason"] == "caller-hung-up"
    call.require_no_dead_line()


@pytest.mark.parametrize(
    ("name", "cause"), [("spare-http-401", "Incorrect API key provided"), ("spare-close", "closed with 1006")]
)
def test_a_second_transcriber_takes_over_without_a_word_lost(held, name, cause):
    call = held(name)
    assert call.transcript == [*WHOLE_TALK, ("caller", OPEN), ("agent", FIVE)]
    assert call.heard == ["Hello", NOON, FIVE]
    assert "<Gather" not in "".join(call.call.verbs), "the audio stream was kept"
    call.require_log_line("transcriber openai", cause, "deepgram listens instead")
    call.require_no_dead_line()
