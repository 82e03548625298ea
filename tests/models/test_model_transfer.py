"""Callers who are handed over, on every kind of line: the same results in the record, and said to the caller."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hearing import LONGEST_SILENCE, longest_silence
from model_faults_scenes import Mind
from model_line import GREETING, model_line
from sip_scenes import SipHeld, SipPlace, sip_place, some_number
from twilio_scenes import Played, Scene, Stage, answering, stage, together, tool

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.twilio import Person, Transferee
from openclaw_voicecall.testing.emulators.voices import babble
from openclaw_voicecall.testing.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timed]

BUSY = "I'm sorry, their line is busy. Is there anything else I can do?"
NOBODY = "I'm sorry, nobody answers there. Is there anything else I can do?"
FAILED = "I'm sorry, I couldn't reach them. Is there anything else I can do?"
COMES = "One moment, I'm connecting you."
CONNECTS = "I connect you now."
DESK_SAYS = "Desk here."
NOTE = "I take it down."
TAKE_NOTE = "Then take a message."
ABOUT = "Somebody wants a bell."
WORDY = " ".join(["Somebody wants a bell, and it has to be a very large one."] * 2)
ANSWER_MS = 18000
"""The limit of a transfer: shorter than it takes to say all that and wait for a key."""

NUMBERS = {
    name: f"+1555777000{at}"
    for at, name in enumerate(("desk", "late", "busy", "nobody", "dead", "declines", "deaf", "elsewhere"))
}
PHRASES = {"busy": BUSY, "nobody": NOBODY, "dead": FAILED, "declines": FAILED, "deaf": FAILED}
RESULTS = {
    "desk": "transferred",
    "late": "transferred",
    "busy": "busy",
    "nobody": "no-answer",
    "dead": "failed: Twilio says failed",
    "declines": "declined",
    "deaf": "declined",
}
ALLOWED: dict[str, Any] = {
    "transfer": {
        "allowed": [number for name, number in NUMBERS.items() if name != "elsewhere"],
        "answerMs": ANSWER_MS,
    }
}


def people(twilio: Any, agent: Any) -> None:
    """Who is at the numbers."""
    says = agent.add(DESK_SAYS, babble(DESK_SAYS, seed="desk"))
    agent.add("ring ring ring", babble("ring ring ring"))
    at = twilio.transferees
    at[NUMBERS["desk"]] = Transferee(after=0.3, talks_for=1.5, says=says)
    at[NUMBERS["late"]] = Transferee(after=11.5, talks_for=1.5, says=says)
    at[NUMBERS["busy"]] = Transferee("busy", after=0.3)
    at[NUMBERS["nobody"]] = Transferee("no-answer", after=11.0)
    at[NUMBERS["dead"]] = Transferee("failed", after=0.2)
    at[NUMBERS["declines"]] = Transferee(after=0.3, hangs_up_after=1.0)
    at[NUMBERS["deaf"]] = Transferee(after=0.3, presses=None)


def ordered(on: SipPlace, whom: str, *, announce: str = "") -> str:
    """A sentence after which the model hands the caller over to this number."""
    words = f"Get me {whom}{' who is told why' if announce else ''}."
    arguments = {"to": NUMBERS[whom], **({"announce": announce} if announce else {})}
    on.mind.answers(words, Reply(CONNECTS, (ToolUse("transfer_call", arguments),)))
    on.mind.answers(TAKE_NOTE, NOTE)
    on.line.will_say(CONNECTS, NOTE, COMES, BUSY, NOBODY, FAILED)
    return words


def wants(on: SipPlace, whom: str, *, announce: str = "", back: str | None = None) -> Any:
    """A caller who wants to be handed over, and who goes on with the agent where nobody takes the call."""
    clip, more = on.line.words(ordered(on, whom, announce=announce)), on.line.words(TAKE_NOTE)
    back = PHRASES.get(whom, "") if back is None else back

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        await phone.wait(0.3)
        await phone.say(clip)
        await after(on, phone, back, more)

    return person


def is_handed_over(on: SipPlace, whom: str, *, announce: str = "", by: str = "command") -> Any:
    """A caller whom the owner hands over: with the command, or over the API."""
    ordered(on, whom)
    more, back = on.line.words(TAKE_NOTE), PHRASES.get(whom, "")

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        call_id = await on.call_id(phone.number)
        if by == "command":
            options = ("--announce", announce) if announce else ()
            await on.line.cli("transfer", call_id, "--to", NUMBERS[whom], *options)
        else:
            await on.client.transfer(call_id, NUMBERS[whom], announce=announce)
        await after(on, phone, back, more)

    return person


async def after(on: SipPlace, phone: Person, back: str, more: bytes) -> None:
    if not back:
        await phone.listen()
    await phone.wait_until_heard(back, on.line.agent, timeout=45)
    await phone.wait(0.3)
    await phone.say(more)
    await phone.wait_until_heard(NOTE, on.line.agent)
    phone.hang_up()


def referred_away(on: SipPlace, whom: str) -> Any:
    """A connected caller whom somebody else with our key wants to have handed over by OpenAI."""
    ordered(on, whom)
    on.line.will_say("I'm here again. Please go on.")

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        leg = on.legs(phone.number)[-1]
        await on.line.model.calls.refer(leg.id, f"tel:{NUMBERS[whom]}")
        if whom == "desk":
            await phone.listen()
        await phone.wait_until_heard("I'm here again. Please go on.", on.line.agent)
        phone.hang_up()

    return person


async def over_sip() -> Played:
    async with sip_place(config=ALLOWED) as on:
        on.crowd = asyncio.Semaphore(14)
        people(on.line.twilio, on.line.agent)
        scenes: dict[str, Any] = {
            # First, while nobody else is about to be transferred by OpenAI.
            **{
                f"trunk {fault}": on.trunk(wants(on, "desk", back=FAILED), fault=fault)
                for fault in ("refer-nothing", "refer-500")
            },
            "wordy": on.ring(wants(on, "deaf", announce=WORDY)),
            **{
                f"ring {whom}": on.ring(wants(on, whom))
                for whom in ("desk", "late", "busy", "nobody", "dead")
            },
            **{
                f"ring {whom} told": on.ring(wants(on, whom, announce=ABOUT))
                for whom in ("desk", "declines", "deaf")
            },
            "place desk": on.place(wants(on, "desk")),
            "place busy": on.place(wants(on, "busy")),
            "command desk": on.ring(is_handed_over(on, "desk", announce=ABOUT)),
            "command busy": on.ring(is_handed_over(on, "busy")),
            "api busy": on.ring(is_handed_over(on, "busy", by="api")),
            "refer desk": on.ring(referred_away(on, "desk")),
            "refer elsewhere": on.ring(referred_away(on, "elsewhere")),
            "trunk desk": on.trunk(wants(on, "desk")),
            "trunk command": on.trunk(is_handed_over(on, "desk")),
            "trunk refused": on.trunk(wants(on, "desk", back=FAILED), refer=(603,)),
            "trunk busy": on.trunk(wants(on, "desk", back=FAILED), refer=(202, 486)),
            "trunk nothing": on.trunk(wants(on, "desk", back=FAILED), refer=()),
        }
        played = await together(scenes)
        played["refusals"] = on.line.model.refusals + on.line.twilio.refusals
        return played


@asynccontextmanager
async def over_stream() -> AsyncIterator[SipPlace]:
    """The same with the model over Twilio's media stream."""
    folder = Path(tempfile.mkdtemp(prefix="ovc-", dir="/tmp"))
    try:
        async with (
            model_line(folder / "state", free_port(), config={**ALLOWED, "maxConcurrentCalls": 50}) as line,
            ControlClient(folder / "state" / "control.sock") as client,
        ):
            people(line.twilio, line.agent)
            yield SipPlace(line, client, Mind(line.model))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def with_model() -> Played:
    async with over_stream() as on:
        return await together(
            {
                **{
                    f"ring {whom}": on.ring(wants(on, whom))
                    for whom in ("desk", "late", "busy", "nobody", "dead")
                },
                "ring declines told": on.ring(wants(on, "declines", announce=ABOUT)),
                "command busy": on.ring(is_handed_over(on, "busy")),
            }
        )


def pipeline_asks(on: Stage, whom: str, back: str) -> Any:
    clip, more = on.line.words(f"Get me {whom}."), on.line.words(TAKE_NOTE)

    async def person(phone: Person) -> None:
        await phone.wait_for_agent(quiet=0.7)
        await phone.say(clip)
        if not back:
            await phone.listen()
        await phone.wait_until_heard(back.rpartition(". ")[2], on.line.agent, timeout=45)
        await phone.wait_for_agent(quiet=0.5)
        await phone.say(more)
        await phone.wait_for_agent(quiet=0.7)
        phone.hang_up()

    return person


async def with_pipeline() -> Played:
    answers: dict[str, Any] = {TAKE_NOTE: NOTE}
    for whom, number in NUMBERS.items():
        announce = {"announce": ABOUT} if whom == "declines" else {}
        answers[f"Get me {whom}."] = [tool("transfer_call", CONNECTS, to=number, **announce)]
    async with stage({**ALLOWED, "inboundGreeting": GREETING}, respond=answering(answers)) as on:
        people(on.line.twilio, on.line.agent)
        return await together(
            {
                f"ring {whom}": on.ring(some_number(), pipeline_asks(on, whom, PHRASES.get(whom, "")))
                for whom in ("desk", "busy", "nobody", "dead", "declines")
            }
        )


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        return await together({"sip": over_sip(), "model": with_model(), "pipeline": with_pipeline()})

    return asyncio.run(everything())


def comes_back(held: SipHeld, whom: str, legs: int = 2) -> None:
    """The caller heard why, in the agent's own voice, and talked on with it."""
    held.require_live_line()
    assert held.transfers == [(NUMBERS[whom], RESULTS[whom])]
    assert held.heard[-2:] == [PHRASES[whom], NOTE]
    assert [text for speaker, text in held.lines if speaker == "agent"][-2:] == [PHRASES[whom], NOTE]
    assert len(held.legs) == legs
    assert held.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("scene", ["ring desk", "ring late", "ring desk told", "place desk", "command desk"])
def test_a_connected_caller_is_handed_over_by_twilio(played, scene):
    held = played["sip"][scene]
    held.require_live_line()
    whom = "late" if "late" in scene else "desk"
    assert held.heard[-1] == DESK_SAYS
    assert held.call.transferred_to == NUMBERS[whom]
    assert held.transfers == [(NUMBERS[whom], "transferred")]
    assert held.record["endReason"] == "transferred"
    if scene in ("ring desk told", "command desk"):
        assert held.call.said_to_transferee[0] == ABOUT


@pytest.mark.parametrize("whom", ["busy", "nobody", "dead"])
def test_whom_nobody_takes_hears_why_from_the_same_agent(played, whom):
    held = played["sip"][f"ring {whom}"]
    comes_back(held, whom)
    # The model has what was said before.
    assert [item.text for item in held.sessions[-1].items][:2] == [GREETING, f"Get me {whom}."]


@pytest.mark.parametrize("whom", ["declines", "deaf"])
def test_who_declines_an_announced_caller_has_not_taken_them(played, whom):
    comes_back(played["sip"][f"ring {whom} told"], whom)


@pytest.mark.parametrize("scene", ["command busy", "api busy", "place busy"])
def test_it_makes_no_difference_who_asks_for_the_transfer(played, scene):
    held = played["sip"][scene]
    comes_back(held, "busy")
    assert (CONNECTS if scene == "place busy" else COMES) in held.heard


def test_a_long_announcement_is_heard_out_before_anybody_has_to_take_the_call(played):
    held = played["sip"]["wordy"]
    comes_back(held, "deaf")
    assert held.call.said_to_transferee[0] == WORDY


def test_a_transfer_that_openais_side_asks_for_follows_the_same_rules(played):
    held = played["sip"]["refer desk"]
    assert held.call.refers == [f"tel:{NUMBERS['desk']}"]
    assert held.transfers == [(NUMBERS["desk"], "transferred")]
    assert held.record["endReason"] == "transferred"
    held = played["sip"]["refer elsewhere"]
    assert held.call.refers == [f"tel:{NUMBERS['elsewhere']}"]
    assert held.transfers == []
    assert NUMBERS["elsewhere"] not in "".join(held.call.documents)
    assert "transfer.allowed" in held.told("transfer-refused")[0]["detail"]
    held.require_live_line()
    assert held.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("scene", ["trunk desk", "trunk command"])
def test_a_straight_call_counts_as_handed_over_once_it_has_left(played, scene):
    held = played["sip"][scene]
    assert [refer.target for refer in held.trunk.refers] == [f"tel:{NUMBERS['desk']}"]
    assert held.trunk.leg.notified == [202, 200]
    assert held.trunk.complaints == []
    assert held.transfers == [(NUMBERS["desk"], "transferred")]
    assert held.record["endReason"] == "transferred"


@pytest.mark.parametrize("scene", ["refused", "busy", "nothing", "refer-nothing", "refer-500"])
def test_a_transfer_that_never_happens_brings_the_agent_back(played, scene):
    held = played["sip"][f"trunk {scene}"]
    held.require_live_line()
    [(number, result)] = held.transfers
    assert number == NUMBERS["desk"]
    assert result.startswith("failed: ")
    assert ("nothing happened" in result) is (scene != "refer-500")
    assert held.heard[-2:] == [FAILED, NOTE]
    assert held.record["endReason"] == "caller-hung-up"
    assert (held.trunk.refers == []) is scene.startswith("refer-")


def test_no_vendor_had_to_refuse_anything(played):
    assert played["sip"]["refusals"] == []


@pytest.mark.parametrize("whom", ["busy", "nobody", "dead"])
def test_over_a_media_stream_the_results_are_the_same(played, whom):
    comes_back(played["model"][f"ring {whom}"], whom, legs=0)


@pytest.mark.parametrize("scene", ["ring declines told", "command busy"])
def test_over_a_media_stream_an_announcement_and_a_command_do_the_same(played, scene):
    comes_back(played["model"][scene], "busy" if "busy" in scene else "declines", legs=0)


@pytest.mark.parametrize("whom", ["desk", "late"])
def test_over_a_media_stream_the_caller_is_handed_over(played, whom):
    held = played["model"][f"ring {whom}"]
    held.require_live_line()
    assert held.heard[-1] == DESK_SAYS
    assert held.transfers == [(NUMBERS[whom], "transferred")]
    assert held.record["endReason"] == "transferred"


@pytest.mark.parametrize("whom", ["desk", "busy", "nobody", "dead", "declines"])
def test_a_pipeline_of_text_has_the_same_results(played, whom):
    scene: Scene = played["pipeline"][f"ring {whom}"]
    [transfer] = scene.record["metadata"]["transfers"]
    assert (transfer["to"], transfer["result"]) == (NUMBERS[whom], RESULTS[whom])
    assert scene.record["endReason"] == ("transferred" if whom == "desk" else "caller-hung-up")
    if whom in PHRASES:
        assert PHRASES[whom] in " ".join(text for speaker, text in scene.lines if speaker == "agent")
        assert NOTE in scene.heard
    assert longest_silence(scene.call.phone.heard, scene.call.phone.said) <= LONGEST_SILENCE
