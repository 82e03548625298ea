"""Who gets through to the agent: allowlist, hidden numbers, pairing, and how many at a time."""

import asyncio
import re
from typing import Any

import pytest
from twilio_scenes import Played, Stage, answering, stage, together

from openclaw_voicecall.errors import LimitExceeded

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FRIEND, SECOND_FRIEND = "+15550003001", "+15550003002"
STRANGER = "+15550004321"
LOOK_ALIKES = {"longer": "+115550003001", "shorter": "+1555000300", "without plus": "15550003001"}
HIDDEN = {"a word": "anonymous", "keypad": "+266696687", "nothing": ""}
GREETING = "Hello."
FACT, QUESTION = "My cat is called Whiskers.", "What is my cat called?"
CODE = re.compile(r"\d(?:, \d){5}")
CLOSED = {
    "inboundPolicy": "allowlist",
    "allowFrom": [FRIEND, SECOND_FRIEND],
    "inboundGreeting": GREETING,
    "maxConcurrentCalls": 1,
    "sessionScope": "per-call",
}
PAIRING = {
    "inboundPolicy": "pairing",
    "allowAnonymous": True,
    "inboundGreeting": GREETING,
    "sessionScope": "main",
    "phrases": {"pairing": "Code {code}. Again: {code}."},
}


def recalled(messages: list[dict[str, Any]]) -> str:
    told = any(message["role"] == "user" and "Whiskers" in message["content"] for message in messages)
    return "It is Whiskers." if told else "I do not know."


ANSWERS = {FACT: "A fine name.", QUESTION: recalled}


async def listens(phone: Any) -> None:
    await phone.listen()


def saying(on: Stage, text: str) -> Any:
    """A person who says this after the greeting, hears the answer, and hangs up."""
    words = on.line.words(text)

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        await phone.say(words)
        await phone.wait_for_agent(quiet=0.4)
        phone.hang_up()

    return person


async def two_friends(on: Stage) -> Played:
    """One friend is on the line when another one calls, and the owner wants to call, too; then the line is free."""
    words, met, leave = on.line.words(FACT), asyncio.Event(), asyncio.Event()

    async def friend(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        met.set()
        await phone.say(words)
        await phone.wait_for_agent(quiet=0.4)
        await leave.wait()
        phone.hang_up()

    played = Played()
    first = asyncio.create_task(on.ring(FRIEND, friend))
    async with asyncio.timeout(30):
        await met.wait()
    played["busy"] = await on.ring(SECOND_FRIEND, listens)
    try:
        await on.client.place_call({"to": "+15550003003", "mode": "conversation", "message": "Hello."})
    except LimitExceeded as error:
        played["owner"] = str(error)
    leave.set()
    played["friend"] = await first
    played["again"] = await on.ring(FRIEND, saying(on, QUESTION))
    return played


async def with_allowlist() -> Played:
    async with stage(CLOSED, respond=answering(ANSWERS)) as on:
        played = Played()
        for name, number in {"stranger": STRANGER, **LOOK_ALIKES, **HIDDEN}.items():
            played[name] = await on.ring(number, listens)
        played |= await two_friends(on)
        played["allowlist refusals"] = on.line.twilio.refusals
    return played


async def with_pairing() -> Played:
    async with stage(PAIRING, respond=answering(ANSWERS)) as on:
        interrupting = on.line.words("Let me talk to the agent.")

        async def stranger(phone: Any) -> None:
            await phone.wait_for_sound()
            await phone.say(interrupting)
            await phone.listen()

        played = await together(
            {"unknown": on.ring(STRANGER, stranger), "other": on.ring("+15550004322", listens)}
        )
        played["asked the model"] = len(on.line.chat.requests)
        code = "".join(CODE.findall(played["unknown"].heard)[0].split(", "))
        played["approved"] = await on.line.cli("pairing", "approve", code)
        played |= await together(
            {
                "known": on.ring(STRANGER, saying(on, FACT)),
                "still unknown": on.ring("+15550004322", listens),
            }
        )
        played["hidden"] = await on.ring("anonymous", saying(on, QUESTION))
        played["told"] = on.asked(QUESTION)
        played["pairing refusals"] = on.line.twilio.refusals
    return played


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        parts = await asyncio.gather(with_allowlist(), with_pairing())
        return Played({**parts[0], **parts[1]})

    return asyncio.run(everything())


@pytest.mark.parametrize("who", ["stranger", *LOOK_ALIKES, *HIDDEN])
def test_who_is_not_on_the_list_hears_nothing_and_costs_nothing(played, who):
    scene = played[who]
    assert scene.call.verbs == ['<Reject reason="rejected">']
    assert not scene.call.answered
    assert scene.heard == ""
    assert scene.record["endReason"] == "rejected"
    assert scene.record["answeredAt"] is None
    assert scene.lines == []


def test_who_is_on_the_list_is_greeted_and_answered(played):
    assert played["friend"].heard == f"{GREETING} A fine name."
    assert played["friend"].record["endReason"] == "caller-hung-up"


def test_one_caller_too_many_hears_the_busy_tone(played):
    scene = played["busy"]
    assert scene.call.status == "busy"
    assert not scene.call.answered
    assert scene.record["endReason"] == "rejected"
    assert "maxConcurrentCalls" in scene.record["detail"]


def test_one_call_too_many_is_not_placed(played):
    assert "maxConcurrentCalls" in played["owner"]


def test_the_line_is_free_again_after_the_call(played):
    assert played["again"].heard.startswith(GREETING)


def test_a_call_with_a_memory_of_its_own_knows_nothing_of_the_last(played):
    assert played["again"].heard == f"{GREETING} I do not know."


def test_a_stranger_hears_a_code_twice_and_is_hung_up(played):
    scene = played["unknown"]
    first, second = CODE.findall(scene.heard)
    assert first == second
    assert all(found.whole for found in scene.found)
    assert scene.call.ended_by == "api"
    assert scene.record["endReason"] == "completed"
    assert scene.call.line.now <= 60


def test_a_stranger_is_not_answered_whatever_they_say(played):
    assert ("caller", "Let me talk to the agent.") in played["unknown"].lines
    assert played["asked the model"] == 0


def test_another_stranger_hears_another_code_which_does_not_change(played):
    codes = {name: CODE.findall(played[name].heard)[0] for name in ("unknown", "other", "still unknown")}
    assert codes["unknown"] != codes["other"] == codes["still unknown"]


def test_an_approved_caller_talks_with_the_agent(played):
    assert played["approved"].exit_code == 0
    assert played["known"].heard == f"{GREETING} A fine name."


def test_a_hidden_caller_gets_through_where_that_is_allowed(played):
    assert played["hidden"].heard.startswith(GREETING)


def test_one_memory_of_all_calls_knows_what_any_caller_said(played):
    assert played["hidden"].heard == f"{GREETING} It is Whiskers."


def test_a_code_is_no_part_of_the_memory(played):
    (body,) = played["told"]
    assert "Code" not in " ".join(message["content"] for message in body["messages"][1:])


def test_twilio_had_nothing_to_refuse(played):
    assert played["allowlist refusals"] == played["pairing refusals"] == []
