"""Whatever the chat model of field report A does, the caller hears an answer, or is told, and never sits in silence."""

from typing import Any

import pytest
from hearing import APOLOGY, BRIDGE, GOODBYE, HeldCall, Lane, Outcomes, Scenario, first_heard, hold, hold_all, patient
from vendor_line import VendorLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

TIME, NOON = "What time is it?", "It is noon."
LUNCH = "When is lunch?"
AT_ONE = "Lunch is at one. It is soup."
TALK = [("agent", "Hello"), ("caller", TIME), ("agent", NOON)]
REPEATED = [("agent", "Hello"), ("caller", TIME), ("agent", APOLOGY), *TALK[1:]]
TIMEOUT = 6.0

SHAPES: dict[str, Any] = {
    "Thinking?": {"content": "Yes.", "reasoning_content": "The user asks whether I think. I do."},
    "Tags?": "<think>The user wants tags. I say no.</think>No.",
    "Contract?": '{"reply": "Sure.", "mood": "helpful"}',
    "Fenced?": '```json\n{"spoken": "Fine."}\n```',
}
"""Questions that are answered with more than words."""
SPOKEN = {"Thinking?": "Yes.", "Tags?": "No.", "Contract?": "Sure.", "Fenced?": "Fine."}

ALONE = {
    "401": "Incorrect API key provided",
    "429": "Rate limit",
    "500": "The server had an error",
    "hang": "6 s",
    "hang-mid-stream": "6 s",
    "rubbish": "no JSON",
    "empty": "xai wrote an empty reply",
    "cut": "xai",
    "error-in-stream": "The server had an error",
    "html": "text/html",
}


def answers(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
    said = messages[-1]["content"]
    return {TIME: NOON, LUNCH: AT_ONE, **SHAPES}.get(said, f"You said: {said}")


def with_fault(name: str, *talk: tuple[str, str], times: int = 1, **options: Any) -> Scenario:
    async def scenario(line: VendorLine) -> HeldCall:
        line.chat.fail_next(name, times=times, **options)
        return await hold(line, patient(line, *(talk or ((TIME, NOON),))))

    return scenario


def until_the_end(name: str) -> Scenario:
    async def scenario(line: VendorLine) -> HeldCall:
        line.chat.fail_next(name, times=0)
        question = line.words(TIME)

        async def person(phone):
            await first_heard(phone, line.agent, "Hello", since=0.0)
            await phone.say(question)
            await first_heard(phone, line.agent, APOLOGY)
            await phone.say(question)
            await phone.listen()

        return await hold(line, person)

    return scenario


def broken_in_the_middle(name: str, **options: Any) -> Scenario:
    async def scenario(line: VendorLine) -> HeldCall:
        line.chat.fail_next(name, **options)
        question = line.words(LUNCH)

        async def person(phone):
            await first_heard(phone, line.agent, "Hello", since=0.0)
            await phone.say(question)
            await first_heard(phone, line.agent, APOLOGY)
            phone.hang_up()

        return await hold(line, person)

    return scenario


async def shapes(line: VendorLine) -> HeldCall:
    return await hold(line, patient(line, *SPOKEN.items()))


@pytest.fixture(scope="module")
def held() -> Outcomes:
    lanes = [
        {f"{n}": with_fault(n) for n in ("401", "429", "500", "empty")},
        {f"{n}": with_fault(n) for n in ("hang", "html", "cut")},
        {f"{n}": with_fault(n) for n in ("hang-mid-stream", "rubbish", "error-in-stream")},
        {"500-always": until_the_end("500"), "hang-always": until_the_end("hang")},
        {f"middle-{n}": broken_in_the_middle(n) for n in ("rubbish", "cut", "error-in-stream", "hang-mid-stream")},
        {"middle-trickle": broken_in_the_middle("trickle"), "slow": with_fault("slow"), "shapes": shapes, "404-model": with_fault("404-model", shape="xai")},
    ]
    spared = {f"spare-{n}": with_fault(n) for n in ("401", "429", "500", "hang", "rubbish", "empty", "html")}
    options = {"respond": answers, "config": {"responseTimeoutMs": 6000}}
    spare = {"respond": answers, "config": {"responseTimeoutMs": 6000, "responseFallbacks": ["xai/grok-4.3"]}}
    return hold_all([*(Lane(lane, options) for lane in lanes), Lane(spared, spare)])


NAMES = ["401", "429", "500", "empty", "hang", "html", "cut", "hang-mid-stream", "rubbish", "error-in-stream", "500-always", "hang-always", "middle-rubbish", "middle-cut", "middle-error-in-stream", "middle-hang-mid-stream", "middle-trickle", "slow", "shapes", "404-model", *(f"spare-{n}" for n in ("401", "429", "500", "hang", "rubbish", "empty", "html"))]


@pytest.mark.parametrize("name", NAMES)
def test_explore(held, name):
    call = held(name)
    print("XX", name, round(call.silence, 2), call.heard, call.transcript, call.record["endReason"])
    print("\n".join("XX   " + l[20:] for l in call.log if "INFO" not in l))
    call.require_no_dead_line()
