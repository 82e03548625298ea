"""What the agent does besides talking: it presses keys, hears them, says goodbye, and hands the caller over."""

import asyncio
from typing import Any

import pytest
from hearing import longest_silence
from twilio_scenes import Played, Stage, answering, keys_heard, stage, together, tool

from openclaw_voicecall.testing.emulators.twilio import Transferee
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

DESK, ELSEWHERE, NOBODY = "+15550007001", "+15550007002", "+15550007003"
"""Numbers to be handed over to; at the last two there is nobody free."""
GREETING = "Hello."
SORRY = "Nobody is there. What now?"
LONG = "I have a long list of things to tell you, and it takes a while."
COMMON = {
    "inboundGreeting": GREETING,
    "phrases": {"transferFailed": SORRY, "transferBusy": SORRY, "transferNoAnswer": SORRY},
}
ANSWERS = {
    "(They pressed the keys 4 2.)": "You pressed forty two.",
    "For sales press two.": [tool("send_digits", digits="2#")],
    "Sales speaking.": "I need a bell.",
    "Stop it, please.": "I stop.",
    "That is all, bye.": [tool("end_call", "Goodbye, and take good care.", reason="done")],
    "Get me a human.": [tool("transfer_call", "I connect you now.", to=DESK)],
    "Get me the boss.": [tool("transfer_call", "I call the boss.", to=ELSEWHERE)],
    "Get me the owner.": [tool("transfer_call", "I call the owner.", to=NOBODY)],
    "Take a message.": "I take it down.",
    "Connect me abroad.": [tool("transfer_call", to=ELSEWHERE), "I cannot do that."],
    "Try the desk.": [tool("transfer_call", "I try the desk.", to=DESK)],
}


def saying(on: Stage, *texts: str, stays: bool = False, quiet: float = 0.5) -> Any:
    """A person who says these, each after the agent, and hangs up after the last answer unless they stay."""
    clips = [on.line.words(text) for text in texts]

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        for clip in clips:
            await phone.say(clip)
            if clip is not clips[-1] or not stays:
                await phone.wait_for_agent(quiet)
        if stays:
            await phone.listen()
        phone.hang_up()

    return person


async def pressed_keys(on: Stage) -> Any:
    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        await phone.press("42#")
        await phone.wait_for_agent(quiet=0.4)
        phone.hang_up()

    return await on.ring("+15550005001", person)


async def talked_to_a_menu(on: Stage) -> Any:
    """The model presses keys, the owner presses more by the command, and the talk goes on over the same stream."""
    menu, sales, to = on.line.words("For sales press two."), on.line.words("Sales speaking."), "+15550005002"
    pressed, more = asyncio.Event(), asyncio.Event()

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        await phone.say(menu)
        while keys_heard(bytes(phone.heard)) != "2#":
            await phone.wait(0.1)
        pressed.set()
        await more.wait()
        while keys_heard(bytes(phone.heard)) != "2#90":
            await phone.wait(0.1)
        await phone.wait_for_agent(quiet=0.4)
        await phone.say(sales)
        await phone.wait_for_agent(quiet=0.4)
        phone.hang_up()

    async def owner() -> None:
        call = await on.dialled(to)
        async with asyncio.timeout(30):
            await pressed.wait()
        await on.line.cli("dtmf", call.sid, "90")
        more.set()

    scene, _ = await asyncio.gather(on.place(to, person, message=GREETING), owner())
    return scene


async def talked_into_tones(on: Stage) -> Any:
    """The person interrupts the agent while keys are being pressed on it."""
    stop, to = on.line.words("Stop it, please."), "+15550005003"

    async def person(phone: Any) -> None:
        await phone.wait_for_sound()
        await on.client.send_digits((await on.dialled(to)).sid, "1590")
        while not keys_heard(bytes(phone.heard[-4000:])):
            await phone.wait(0.02)
        await phone.say(stop)
        await phone.wait_for_agent(quiet=0.4)
        phone.hang_up()

    return await on.place(to, person, message=LONG)


def desk(on: Stage) -> Transferee:
    """Somebody who answers at once, says something, and soon hangs up."""
    says = on.line.agent.add("Desk here.", babble("Desk here.", seed="desk"))
    return Transferee(after=0.3, talks_for=1.5, says=says)


async def handed_over(on: Stage, to: str, text: str, *more: str) -> Any:
    """Somebody whom we call wants to talk with somebody else."""
    # It is quieter for longer where a transfer is tried and the other phone rings now and then.
    return await on.place(to, saying(on, text, *more, stays=not more, quiet=1.2), message=GREETING)


async def with_any_number() -> Played:
    async with stage(COMMON, respond=answering(ANSWERS)) as on:
        transferees = on.line.twilio.transferees
        transferees[DESK] = desk(on)
        transferees[ELSEWHERE] = Transferee("busy", after=0.3)
        transferees[NOBODY] = Transferee("no-answer", after=1.0)
        played = await together(
            {
                "keys": pressed_keys(on),
                "menu": talked_to_a_menu(on),
                "into tones": talked_into_tones(on),
                "goodbye": on.ring("+15550005004", saying(on, "That is all, bye.", stays=True)),
                "handed over": handed_over(on, "+15550005005", "Get me a human."),
                "busy": handed_over(on, "+15550005006", "Get me the boss.", "Take a message."),
                "no answer": handed_over(on, "+15550005007", "Get me the owner.", "Take a message."),
                "stranger": on.ring("+15550005008", saying(on, "Connect me abroad.")),
            }
        )
        played["stranger requests"] = on.asked("Connect me abroad.")
        played["outbound requests"] = on.asked("Get me a human.")
        played["refusals"] = on.line.twilio.refusals
    return played


async def with_listed_numbers() -> Played:
    config = {**COMMON, "transfer": {"allowed": [DESK]}}
    async with stage(config, respond=answering(ANSWERS)) as on:
        on.line.twilio.transferees[DESK] = desk(on)
        played = await together(
            {
                "caller handed over": on.ring("+15550005011", saying(on, "Get me a human.", stays=True)),
                "not listed": on.ring("+15550005012", saying(on, "Connect me abroad.")),
            }
        )
        played["listed requests"] = on.asked("Connect me abroad.")
        person = saying(on, "Try the desk.", "Take a message.")

        async def refused(phone: Any) -> None:
            on.line.twilio.fail_next("rest-401", times=2)
            await person(phone)

        played["refused"] = await on.place("+15550005013", refused, message=GREETING)
    return played


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        parts = await asyncio.gather(with_any_number(), with_listed_numbers())
        return Played({**parts[0], **parts[1]})

    return asyncio.run(everything())


def tools_in(body: dict[str, Any]) -> set[str]:
    return {entry["function"]["name"] for entry in body.get("tools", [])}


def test_keys_of_the_caller_are_a_turn(played):
    scene = played["keys"]
    assert scene.lines[1:] == [("caller", "[keys 42]"), ("agent", "You pressed forty two.")]
    assert scene.heard == f"{GREETING} You pressed forty two."


def test_keys_of_model_and_owner_are_heard_and_the_stream_stays(played):
    scene = played["menu"]
    assert keys_heard(bytes(scene.call.phone.heard)) == "2#90"
    assert scene.heard == f"{GREETING} I need a bell."
    assert len(scene.call.streams) == 1
    assert scene.call.verbs == ["<Connect>"]
    assert scene.lines == [
        ("agent", GREETING),
        ("caller", "For sales press two."),
        ("caller", "Sales speaking."),
        ("agent", "I need a bell."),
    ]


def test_an_interruption_neither_cuts_nor_doubles_keys(played):
    scene = played["into tones"]
    assert keys_heard(bytes(scene.call.phone.heard)) == "1590"
    assert scene.heard.endswith("I stop.")
    assert LONG not in scene.heard
    assert len(scene.call.streams) == 1


def test_a_farewell_is_heard_whole_before_the_hang_up(played):
    scene = played["goodbye"]
    assert scene.heard == f"{GREETING} Goodbye, and take good care."
    assert all(found.whole for found in scene.found)
    assert scene.record["endReason"] == "agent-hung-up"
    assert scene.call.ended_by == "api"
    assert scene.call.line.now - scene.ends("Goodbye, and take good care.") <= 3


def test_a_person_is_handed_over_after_the_agent_said_so(played):
    scene = played["handed over"]
    assert scene.call.transferred_to == DESK
    assert scene.heard == f"{GREETING} I connect you now. Desk here."
    assert all(found.whole for found in scene.found)
    assert scene.record["endReason"] == "transferred"
    assert scene.record["state"] == "completed"


@pytest.mark.parametrize(("scene", "to"), [("busy", ELSEWHERE), ("no answer", NOBODY)])
def test_who_could_not_be_handed_over_gets_the_agent_back(played, scene, to):
    scene = played[scene]
    assert scene.call.transferred_to == to
    assert SORRY in scene.heard
    assert scene.heard.endswith("I take it down.")
    assert len(scene.call.streams) == 2
    assert scene.record["endReason"] == "caller-hung-up"
    assert scene.call.time_limit == 310
    assert longest_silence(scene.call.phone.heard, scene.call.phone.said) <= 6


def test_the_agent_goes_on_when_the_carrier_refuses_a_transfer(played):
    scene = played["refused"]
    assert scene.call.transferred_to == ""
    assert scene.heard == f"{GREETING} I try the desk. {SORRY} I take it down."
    assert len(scene.call.streams) == 1
    assert scene.record["endReason"] == "caller-hung-up"


def test_a_caller_is_handed_over_to_no_number_unless_some_are_listed(played):
    scene = played["stranger"]
    assert scene.call.transferred_to == ""
    assert scene.heard == f"{GREETING} I cannot do that."
    assert "transfer_call" not in tools_in(played["stranger requests"][0])
    assert "transfer_call" in tools_in(played["outbound requests"][0])


def test_a_caller_is_handed_over_to_a_listed_number(played):
    scene = played["caller handed over"]
    assert scene.call.transferred_to == DESK
    assert scene.record["endReason"] == "transferred"


def test_the_model_is_told_that_a_number_is_not_listed(played):
    scene = played["not listed"]
    assert scene.call.transferred_to == ""
    assert scene.heard == f"{GREETING} I cannot do that."
    results = [
        message["content"]
        for message in played["listed requests"][-1]["messages"]
        if message["role"] == "tool"
    ]
    assert results == [f"Not done: callers may be handed over to {DESK} only."]


def test_twilio_had_nothing_to_refuse(played):
    assert played["refusals"] == []
