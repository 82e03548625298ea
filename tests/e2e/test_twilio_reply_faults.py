"""Whatever the chat model does, the caller hears an answer, or is told, and never sits in silence."""

from typing import Any

import pytest
from hearing import (
    APOLOGY,
    BRIDGE,
    GOODBYE,
    HeldCall,
    Lane,
    Outcomes,
    Scenario,
    first_heard,
    hold,
    hold_all,
    patient,
)
from vendor_line import VendorLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
LUNCH, AT_ONE = "When is lunch?", "Lunch is at one."
SOUP = "It is soup, and there is bread."
SHAPES: dict[str, tuple[Any, str]] = {
    "Thinking?": ({"content": "Yes.", "reasoning_content": "Do I think? I do."}, "Yes."),
    "Tags?": ("<think>The user wants tags. I say no.</think>No.", "No."),
    "Contract?": ('{"reply": "Sure.", "mood": "helpful"}', "Sure."),
    "Fenced?": ('```json\n{"spoken": "Fine."}\n```', "Fine."),
}
"""Questions that are answered with more than words, and the words."""
MODEL, SPARE = "responder xai/grok-4-1-fast-reasoning", "xai/grok-4.3"
LATE = "no complete reply within 6 s"
HALF = "no words to say within 3 s"
"""Where a second model has to have time for its reply, too."""
SERVER = "The server had an error while processing your request."

ONCE = {
    "401": "Incorrect API key provided",
    "429": "Rate limit reached.",
    "500": SERVER,
    "hang": LATE,
    "empty": "xai wrote an empty reply",
    "html": "it answered with text/html",
}
"""Faults before the first word, with the cause in the log."""
MIDDLE = {
    "rubbish": "it sent something that is no JSON",
    "cut": "broke off its reply",
    "error-in-stream": SERVER,
    "hang-mid-stream": LATE,
    "trickle": LATE,
}
"""Faults after the first sentence."""
SPARED = ("401", "500", "hang", "empty", "html", "rubbish")
"""Faults with a second model at hand."""
SLOW_FAULTS = ("hang", "hang-mid-stream", "trickle")
"""In these a reply is awaited for so long that the caller hears so."""


def answers(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
    """What the model says."""
    said = messages[-1]["content"]
    written = {question: reply for question, (reply, _) in SHAPES.items()}
    return {TIME: NOON, LUNCH: f"{AT_ONE} {SOUP}", **written}.get(said, f"You said: {said}")


def with_fault(name: str, *, times: int = 1, **options: Any) -> Scenario:
    """The model fails like this, and somebody asks until there is an answer."""

    async def scenario(line: VendorLine) -> HeldCall:
        asking = patient(line, (TIME, NOON))

        async def person(phone):
            await first_heard(phone, line.agent, "Hello", since=0.0)
            line.chat.fail_next(name, times=times, **options)
            await asking(phone)

        return await hold(line, person)

    return scenario


def after_a_sentence(name: str, **options: Any) -> Scenario:
    """The model fails in the middle of a reply, and somebody hangs up after the apology."""

    async def scenario(line: VendorLine) -> HeldCall:
        question = line.words(LUNCH)

        async def person(phone):
            await first_heard(phone, line.agent, "Hello", since=0.0)
            line.chat.fail_next(name, **options)
            await phone.say(question)
            await first_heard(phone, line.agent, APOLOGY)
            phone.hang_up()

        return await hold(line, person)

    return scenario


def for_good(name: str, **options: Any) -> Scenario:
    """The model never answers, and somebody asks twice and waits for the end."""

    async def scenario(line: VendorLine) -> HeldCall:
        question = line.words(TIME)

        async def person(phone):
            await first_heard(phone, line.agent, "Hello", since=0.0)
            line.chat.fail_next(name, times=0, **options)
            await phone.say(question)
            await first_heard(phone, line.agent, APOLOGY)
            await phone.say(question)
            await phone.listen()

        return await hold(line, person)

    return scenario


async def shapes(line: VendorLine) -> HeldCall:
    return await hold(line, patient(line, *((question, words) for question, (_, words) in SHAPES.items())))


@pytest.fixture(scope="module")
def held() -> Outcomes:
    """All calls, by the names of their faults."""
    lanes: list[dict[str, Scenario]] = [
        {"401": with_fault("401"), "429": with_fault("429")},
        {"500": with_fault("500"), "empty": with_fault("empty"), "slow": with_fault("slow")},
        {"html": with_fault("html"), "hang": with_fault("hang")},
        {"hang-for-good": for_good("hang")},
        {"500-for-good": for_good("500"), "rubbish": after_a_sentence("rubbish")},
        {
            "error-in-stream": after_a_sentence("error-in-stream"),
            "trickle": after_a_sentence("trickle", seconds=1.0),
        },
        {name: after_a_sentence(name) for name in ("cut", "hang-mid-stream")},
        {
            "404-model": with_fault("404-model", shape="xai"),
            "404-model-for-good": for_good("404-model", shape="xai"),
            "shapes": shapes,
        },
    ]
    # After five failures within half a minute the second model would be asked first.
    spared = [{f"spare-{name}": with_fault(name) for name in names} for names in (SPARED[:3], SPARED[3:])]
    # An answer that is begun early and fails is asked for again, so one fault alone would not be noticed at all.
    settings = {"responseTimeoutMs": 6000, "endpointing": {"speculate": False}}
    alone = {"respond": answers, "config": settings}
    second = {"respond": answers, "config": {**settings, "responseFallbacks": [SPARE]}}
    return hold_all([*(Lane(lane, alone) for lane in lanes), *(Lane(lane, second) for lane in spared)])


@pytest.mark.parametrize("fault", ONCE)
def test_a_caller_who_gets_no_reply_is_asked_to_repeat_it_and_is_answered_then(held, fault):
    call = held(fault)
    # On a busy machine a failure at once may come late enough to be waited for, once.
    waiting = [BRIDGE] * (fault in SLOW_FAULTS or BRIDGE in call.heard)
    assert " ".join(call.heard) == " ".join(["Hello", *waiting, APOLOGY, NOON])
    assert call.transcript == [
        ("agent", "Hello"),
        ("caller", TIME),
        *(("agent", text) for text in waiting),
        ("agent", APOLOGY),
        ("caller", TIME),
        ("agent", NOON),
    ]
    assert call.record["endReason"] == "caller-hung-up"
    call.require_log_line(MODEL, ONCE[fault], "the caller is told")
    call.require_no_dead_line()


@pytest.mark.parametrize("fault", MIDDLE)
def test_a_reply_that_breaks_off_after_a_sentence_ends_with_an_apology(held, fault):
    call = held(fault)
    said = " ".join(call.heard)
    assert said.startswith(f"Hello {AT_ONE}")
    assert said.endswith(APOLOGY)
    assert (BRIDGE in said) == (fault in SLOW_FAULTS)
    assert call.caller_words == [LUNCH]
    call.require_log_line(MODEL, MIDDLE[fault], "the caller is told")
    call.require_no_dead_line()


@pytest.mark.parametrize(
    ("name", "cause"),
    [("500-for-good", SERVER), ("hang-for-good", LATE), ("404-model-for-good", "does not exist")],
)
def test_after_two_failures_in_a_row_there_is_a_goodbye_and_the_call_ends(held, name, cause):
    call = held(name)
    assert call.caller_words == [TIME, TIME]
    apologies = [text for _, text in call.transcript if text in (APOLOGY, GOODBYE)]
    assert apologies == [APOLOGY, GOODBYE]
    assert call.heard[-1] == "Goodbye.", "it is heard to its end"
    assert call.record["endReason"] == "response-failed"
    assert call.call.ended_by == "api"
    call.require_log_line("responder", cause, "the caller is told")
    call.require_no_dead_line()


def test_a_retired_model_answers_through_its_replacement_in_the_same_turn(held):
    call = held("404-model")
    assert call.heard == ["Hello", NOON]
    assert call.transcript == [("agent", "Hello"), ("caller", TIME), ("agent", NOON)]
    call.require_log_line(
        "providers.chat.responder", "model grok-4-1-fast-reasoning of xAI is gone", "grok-4.3 answers"
    )
    call.require_no_dead_line()


def test_a_slow_model_is_bridged_and_heard_to_its_end(held):
    call = held("slow")
    assert call.heard == ["Hello", BRIDGE, NOON]
    assert call.record["endReason"] == "caller-hung-up"
    call.require_no_dead_line()


def test_neither_thoughts_nor_json_are_heard(held):
    call = held("shapes")
    assert call.heard == ["Hello", *(words for _, words in SHAPES.values())]
    assert [text for speaker, text in call.transcript if speaker == "agent"] == call.heard
    call.require_no_dead_line()


@pytest.mark.parametrize("fault", SPARED)
def test_a_second_model_answers_in_the_same_turn(held, fault):
    call = held(f"spare-{fault}")
    waiting = [BRIDGE] * (fault in SLOW_FAULTS)
    assert call.heard == ["Hello", *waiting, NOON]
    assert call.caller_words == [TIME]
    assert call.record["endReason"] == "caller-hung-up"
    cause = HALF if fault == "hang" else {**MIDDLE, **ONCE}[fault]
    call.require_log_line(MODEL, cause, f"{SPARE} answers instead")
    call.require_no_dead_line()
