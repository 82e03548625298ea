"""Calls over OpenAI's SIP endpoint in which something fails: straight from a trunk, and connected by Twilio."""

import asyncio
from typing import Any

import pytest
from model_faults_scenes import APOLOGY
from model_line import GREETING, OURS, VOICE
from sip_line import trunk_phone
from sip_scenes import CALL_LIMIT, Script, SipHeld, SipPlace, sip_place, some_number
from twilio_scenes import Played, together

from openclaw_voicecall.testing.emulators.openai_replies import Reply, ToolUse
from openclaw_voicecall.testing.emulators.openai_webhooks import LIVE, REALTIME
from openclaw_voicecall.testing.emulators.twilio import Person

pytestmark = [pytest.mark.e2e, pytest.mark.timed]

ANSWER = "Sam is here today."
LOOKING = "Let me look."
STORY = "Tomorrow it is Ada, and then there is a very long story about the day after that."
BACK = "I'm here again. Please go on."
FAREWELL = "Goodbye, have a good day."
WHO = "Who is at the office today?"
KEYS = "You pressed five."
NEWS = "Your taxi is here."
WAYS = ("trunk", "ring")


def looks_up(on: SipPlace, question: str) -> Script:
    """Somebody whose question the model answers with the help of a tool."""
    use = ToolUse("ask_agent", {"question": question})
    on.mind.answers(question, Reply(LOOKING, (use,)), ANSWER)
    on.line.will_say(LOOKING)
    return on.talk((question, ANSWER))


def asks(on: SipPlace) -> Script:
    """Somebody who asks something simple."""
    on.mind.answers(WHO, ANSWER)
    return on.talk((WHO, ANSWER))


def cut_short(on: SipPlace, question: str, strike: Any) -> Script:
    """Somebody to whom this happens in the middle of the answer; who is still there then asks again."""
    on.line.will_say(STORY, APOLOGY, BACK)
    on.mind.answers(question, STORY, ANSWER)
    again = on.talk((question, ANSWER))
    first = on.line.words(question)

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        await phone.wait(0.3)
        await phone.say(first)
        await phone.wait_for_sound()
        await phone.wait(1.5)
        await strike(phone)
        await phone.wait_for_agent(quiet=0.7)
        await again(phone)

    return person


def dropped(on: SipPlace) -> Any:
    async def strike(phone: Person) -> None:
        await on.line.model.calls.drop_sidebands(on.legs(phone.number)[-1].id)

    return strike


def hung_up_by_vendor(on: SipPlace) -> Any:
    async def strike(phone: Person) -> None:
        await on.line.model.calls.hang_up(on.legs(phone.number)[-1].id)

    return strike


async def hangs_up(phone: Person) -> None:
    phone.hang_up()


def presses(on: SipPlace) -> Script:
    on.mind.answers("", KEYS)
    on.line.will_say(KEYS)

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        await phone.press("5#")
        await phone.wait_until_heard(KEYS, on.line.agent)
        phone.hang_up()

    return person


def stalled(on: SipPlace, question: str) -> Script:
    """Somebody whose answer stops in the middle, for ever."""
    story = f"{question} {STORY}"
    on.line.will_say(story, APOLOGY, BACK)
    on.mind.answers(question, story, ANSWER)
    on.mind.fails_to_say(story, "stall")

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        await phone.wait(0.3)
        await phone.say(on.line.words(question))
        await phone.wait_until_heard(BACK, on.line.agent)
        await on.talk((question, ANSWER))(phone)

    return person


async def commanded(on: SipPlace, way: str) -> SipHeld:
    """A call on which the owner says something, and which the owner ends then."""
    on.line.will_say(NEWS, FAREWELL)
    number: list[str] = []

    async def person(phone: Person) -> None:
        number.append(phone.number)
        await phone.wait_until_heard(GREETING, on.line.agent)
        call_id = await on.call_id(phone.number)
        await on.line.cli("speak", call_id, NEWS)
        await phone.wait_until_heard(NEWS, on.line.agent)
        await on.client.end_call(call_id, farewell=FAREWELL)
        await phone.listen()

    held: SipHeld = await getattr(on, way)(person)
    return held


async def webhooks(on: SipPlace) -> dict[str, Any]:
    """Webhooks that nobody should send, about a call that goes on, one that is over, and one that never was."""
    number, calls, told = some_number(), on.line.model.calls, {}

    async def person(phone: Person) -> None:
        await phone.wait_until_heard(GREETING, on.line.agent)
        leg = on.legs(number)[-1]
        [first] = [each for each in calls.webhooks.deliveries if each.event["data"].get("call_id") == leg.id]
        told["replayed"] = await calls.replay(first)
        told["told again"] = (await calls.tell(leg.id)).status
        told["forged"] = (
            await calls.tell("rtc_forged", secret="whsec_AAAA", From="<sip:+15551110000@x>")
        ).status
        told["garbled"] = (
            await calls.tell("rtc_garbled", signed="v1,AAAA", From="<sip:+15551110000@x>")
        ).status
        told["late"] = (await calls.tell("rtc_late", age=3600, From="<sip:+15551110000@x>")).status
        told["never was"] = (await calls.tell("rtc_never", From="<sip:+15551110009@x>")).status
        await on.talk((WHO, ANSWER))(phone)

    on.mind.answers(WHO, ANSWER)
    held = await on.trunk(person, number=number)
    told["gone"] = (await calls.tell(held.legs[0].id)).status
    told["held"] = held
    told["ghost"] = await on.record("+15551110009")
    told["strangers"] = [each for each in await on.client.list_calls() if "+15551110000" in each["from"]]
    told["calls"] = [each for each in await on.client.list_calls() if number == each["from"]]
    return told


async def everyday() -> Played:
    async with sip_place(model={"live_events": True}, consults=("Sam",) * 9) as on:
        scenes: dict[str, Any] = {"webhooks": webhooks(on)}
        for way in (*WAYS, "place"):
            scenes[f"{way} plain"] = getattr(on, way)(looks_up(on, f"Who is at desk {way}?"))
        for way in WAYS:
            hold = getattr(on, way)
            scenes |= {
                f"{way} accept-404": hold(asks(on), fault="accept-404"),
                f"{way} accept-500": hold(asks(on), fault="accept-500"),
                f"{way} accept-500 taken": hold(asks(on), fault="accept-500", anyway=True),
                f"{way} sideband-404": hold(asks(on), fault="sideband-404", times=2),
                f"{way} told twice": hold(asks(on), fault="incoming-twice"),
                f"{way} told twice anew": hold(asks(on), fault="incoming-twice", fresh_id=True),
            }
        played = await together(scenes)
        played["refusals"] = on.line.model.refusals + on.line.twilio.refusals
        return played


async def in_mid_call() -> Played:
    async with sip_place() as on:
        on.mind.answers("That is all.", Reply(FAREWELL, (ToolUse("end_call", {"reason": "done"}),)))
        on.line.will_say(FAREWELL)
        scenes: dict[str, Any] = {
            "too long": on.place(on.talk(stays=True), order={"maxDurationSeconds": 6}),
        }
        for way in WAYS:
            hold = getattr(on, way)
            scenes |= {
                f"{way} dropped": hold(cut_short(on, f"What is {way} dropped?", dropped(on))),
                f"{way} vendor": hold(cut_short(on, f"What is {way} ended?", hung_up_by_vendor(on))),
                f"{way} caller": hold(cut_short(on, f"What is {way} left?", hangs_up)),
                f"{way} stalled": hold(stalled(on, f"What is {way} stalled?")),
                f"{way} keys": hold(presses(on)),
                f"{way} farewell": hold(on.talk(("That is all.", FAREWELL), stays=True)),
                f"{way} commands": commanded(on, way),
            }
        return await together(scenes)


async def without_sideband() -> Played:
    async with sip_place() as on:
        on.line.model.fail_next("sideband-404", times=0)
        played = await together({"trunk": on.trunk(None), "ring": on.ring(by_carrier(on))})
        on.line.model.heal()
        for way in WAYS:
            static = getattr(on, way)(asks(on), fault="refuse-update", static=True, settled=CALL_LIMIT)
            played.update(await together({f"{way} static": static}))
        return played


def by_carrier(on: SipPlace) -> Script:
    """Somebody who listens until the carrier speaks itself, and hangs up then."""

    async def person(phone: Person) -> None:
        async with asyncio.timeout(30):
            while not any(call.said_by_carrier for call in on.line.twilio.calls.values()):
                await phone.wait(0.1)
        await phone.wait_for_agent(quiet=0.7)
        phone.hang_up()

    return person


async def with_a_refused_body() -> Played:
    """Calls that are taken with a model that there is not: OpenAI answers 200 all the same."""
    played = Played()
    async with sip_place(sip={"model": "gpt-realtime-9"}) as on:
        for fate in ("defaults", "gone"):
            on.line.model.invalid_accept = fate
            both = {f"trunk {fate}": on.trunk(None), f"ring {fate}": on.ring(by_carrier(on))}
            played.update(await together(both))
            on.line.twilio.calls.clear()
    return played


async def policies() -> Played:
    async def on_terms(config: dict[str, Any], *numbers: str) -> list[tuple[int, str]]:
        async with sip_place(config=config) as on:

            async def knocks(number: str) -> tuple[int, str]:
                async with trunk_phone(on.line, None, from_number=number, to=OURS) as phone:
                    async with asyncio.timeout(CALL_LIMIT):
                        status = await phone.dial()
                    taken = "taken" if any(leg.accepts for leg in on.legs(number)) else ""
                    opened.set()
                    if status == 200 and len(numbers) > 1:
                        await all_in.wait()
                    return status, taken

            opened, all_in, found = asyncio.Event(), asyncio.Event(), []
            tasks = []
            for number in numbers:
                opened.clear()
                tasks.append(asyncio.create_task(knocks(number)))
                await opened.wait()
            all_in.set()
            found = [await task for task in tasks]
            assert on.line.model.refusals == []
            return found

    known = some_number()
    return await together(
        {
            "disabled": on_terms({"inboundPolicy": "disabled"}, some_number()),
            "allowlist": on_terms(
                {"inboundPolicy": "allowlist", "allowFrom": [known]}, known, some_number(), "anonymous"
            ),
            "pairing": paired(),
            "full": on_terms({"maxConcurrentCalls": 1}, some_number(), some_number()),
        }
    )


async def paired() -> SipHeld:
    """A stranger calls where strangers have to be approved; what they hear is known once it is written down."""
    async with sip_place(config={"inboundPolicy": "pairing"}) as on:
        held = await on.trunk(None)
        on.line.will_say(*(text for _, text in held.lines))
        return held


async def killed() -> dict[str, Any]:
    """The service dies while a straight and a bridged call go on, and is started again."""
    async with sip_place() as on:
        numbers, calls = [some_number(), some_number()], on.line.model.calls
        async with trunk_phone(on.line, None, from_number=numbers[0]) as phone:
            assert await phone.dial() == 200
            bridged = await on.line.twilio.dial_in(numbers[1], OURS)
            await bridged.until_answered()
            async with asyncio.timeout(10):
                while len(on.line.model.sessions) < 2 or not all(s.responses for s in on.line.model.sessions):
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(on.line.service.kill)
            await asyncio.to_thread(on.line.service.start)
            async with asyncio.timeout(CALL_LIMIT):
                await asyncio.gather(phone.finished(), bridged.finished())
                records = [await on.record(number) for number in numbers]
            return {
                "records": records,
                "trunk": phone.ended_by,
                "twilio": bridged.ended_by,
                "calls": calls.all,
            }


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        # Two lines at a time are what a small machine can carry.
        many = {"day": everyday(), "mid": in_mid_call()}
        few = {
            "dead": without_sideband(),
            "body": with_a_refused_body(),
            "killed": killed(),
            "policy": policies(),
        }
        return Played({**await together(many), **await together(few)})

    return asyncio.run(everything())


def speaks_right(held: SipHeld) -> None:
    """Every word came in the configured voice, and nothing before the settings were in force."""
    held.require_live_line()
    for session in held.sessions:
        names = [event["type"] for event in session.sent]
        assert names.index("session.updated") < names.index("response.created")
        assert {response.voice for response in session.responses} == {VOICE}
        assert session.config["audio"]["output"]["voice"] == VOICE


@pytest.mark.parametrize("way", [*WAYS, "place"])
def test_the_first_word_is_in_the_right_voice_and_tools_fire(played, way):
    held = played["day"][f"{way} plain"]
    speaks_right(held)
    assert held.heard[-3:] == [GREETING, LOOKING, ANSWER]
    [body] = held.legs[0].accepts
    assert body["audio"]["output"]["voice"] == VOICE
    assert body["tracing"]["group_id"] == held.record["callId"]
    assert body["tracing"]["workflow_name"] == "front office"
    assert held.sessions[0].config["tracing"] == body["tracing"]
    assert held.told("tool-called")[0]["outcome"] == "done"
    assert held.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "scene",
    ["accept-404", "accept-500", "accept-500 taken", "sideband-404", "told twice", "told twice anew"],
)
def test_a_call_that_begins_badly_is_held_all_the_same(played, way, scene):
    held = played["day"][f"{way} {scene}"]
    speaks_right(held)
    assert held.heard == [GREETING, ANSWER]
    assert [leg.status for leg in held.legs] == [200]
    assert len(held.legs[0].accepts) == 1
    assert held.record["endReason"] == "caller-hung-up"


def test_nothing_that_leaves_us_has_to_be_refused(played):
    assert played["day"]["refusals"] == []


def test_webhooks_that_nobody_should_send_change_nothing(played):
    told = played["day"]["webhooks"]
    assert (told["replayed"], told["told again"], told["gone"]) == (200, 200, 200)
    assert {told[name] for name in ("forged", "garbled", "late")} <= {400, 401, 403}
    assert told["strangers"] == []
    assert len(told["calls"]) == 1
    held = told["held"]
    speaks_right(held)
    assert held.heard == [GREETING, ANSWER]
    assert len(held.legs[0].accepts) == 1
    assert told["never was"] == 200
    assert told["ghost"]["endReason"] in ("response-failed", "media-lost", "failed")
    assert {each.event["type"] for each in held.line.model.calls.webhooks.deliveries} == {REALTIME, LIVE}


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_sideband_is_opened_again_and_the_model_does_not_talk_unsteered(played, way):
    held = played["mid"][f"{way} dropped"]
    speaks_right(held)
    assert len(held.legs) == 1
    assert STORY not in held.heard
    assert held.heard[-2:] == [BACK, ANSWER]
    assert held.lines[2][1] != STORY
    assert STORY.startswith(held.lines[2][1])


def test_the_end_of_a_straight_call_by_the_vendor_is_its_end(played):
    held = played["mid"]["trunk vendor"]
    assert held.trunk.ended_by == "far"
    assert held.record["endReason"] == "caller-hung-up"
    assert STORY.startswith(held.lines[-1][1])


def test_a_connected_caller_whom_the_vendor_hangs_up_on_is_brought_back(played):
    held = played["mid"]["ring vendor"]
    speaks_right(held)
    assert len(held.legs) == 2
    assert held.heard[-2:] == [BACK, ANSWER]
    assert held.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("way", WAYS)
def test_of_a_caller_who_hangs_up_the_record_has_what_was_heard(played, way):
    held = played["mid"][f"{way} caller"]
    assert held.record["endReason"] == "caller-hung-up"
    speaker, text = held.lines[-1]
    assert speaker == "agent"
    assert STORY.startswith(text)
    assert abs(len(text.split()) - len(held.heard[-1].split())) <= 2


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_that_stops_in_the_middle_leaves_nobody_waiting(played, way):
    held = played["mid"][f"{way} stalled"]
    speaks_right(held)
    assert held.heard[-2:] == [BACK, ANSWER]


@pytest.mark.parametrize("way", WAYS)
def test_keys_are_answered(played, way):
    held = played["mid"][f"{way} keys"]
    assert held.lines[1:] == [("caller", "[keys 5]"), ("agent", KEYS)]
    assert held.legs[0].digits == "5#"


@pytest.mark.parametrize("way", WAYS)
def test_a_farewell_is_heard_before_the_hang_up(played, way):
    held = played["mid"][f"{way} farewell"]
    speaks_right(held)
    assert held.heard == [GREETING, FAREWELL]
    assert held.record["endReason"] == "agent-hung-up"


@pytest.mark.parametrize("way", WAYS)
def test_the_owner_can_speak_and_end_the_call(played, way):
    held = played["mid"][f"{way} commands"]
    speaks_right(held)
    assert held.heard == [GREETING, NEWS, FAREWELL]
    assert held.record["endReason"] == "agent-hung-up"


def test_a_call_that_lasts_too_long_is_ended(played):
    held = played["mid"]["too long"]
    assert held.record["endReason"] == "max-duration"
    assert len(held.audio) / 8000 <= 9


def test_a_straight_call_that_turned_to_static_is_ended_with_a_reason(played):
    held = played["dead"]["trunk static"]
    assert held.noise <= 6
    assert held.trunk.ended_by == "far"
    assert held.record["endReason"] == "response-failed"
    assert "static" in held.record["detail"]
    assert len(held.audio) / 8000 <= 6


def test_a_connected_caller_in_static_is_brought_to_the_model_once_more(played):
    held = played["dead"]["ring static"]
    held.require_live_line(noise=2.0)
    assert held.heard == [GREETING, ANSWER]
    assert [leg.status for leg in held.legs] == [200, 200]


def test_a_call_that_cannot_be_steered_is_ended_or_taken_over(played):
    held = played["dead"]["trunk"]
    assert held.trunk.ended_by == "far"
    assert held.record["endReason"] == "response-failed"
    assert "OpenAI" in held.record["detail"]
    assert held.silence <= 6
    held = played["dead"]["ring"]
    assert held.call.said_by_carrier[0] == GREETING
    assert held.silence <= 6
    assert held.record["endReason"] == "caller-hung-up"


@pytest.mark.parametrize("fate", ["defaults", "gone"])
def test_settings_that_openai_refuses_after_it_said_yes_leave_nobody_in_static(played, fate):
    held = played["body"][f"trunk {fate}"]
    assert held.record["endReason"] == "response-failed"
    assert "gpt-realtime-9" in held.record["detail"] or "OpenAI" in held.record["detail"]
    assert held.noise <= 2
    assert held.line.heard_wrong(held.audio) == []
    held = played["body"][f"ring {fate}"]
    if fate == "defaults":
        assert held.call.said_by_carrier[0] == GREETING
        assert held.record["endReason"] == "caller-hung-up"
    else:  # the caller heard it ringing, and the call was never answered
        assert not held.call.answered
        assert held.record["detail"]
    assert held.line.heard_wrong(held.audio) == []
    assert held.noise <= 4
    assert held.silence <= 6


def test_who_may_not_call_is_refused_before_the_call_is_taken(played):
    found = played["policy"]
    assert found["disabled"] == [(603, "")]
    assert found["allowlist"] == [(200, "taken"), (603, ""), (603, "")]
    assert found["full"] == [(200, "taken"), (486, "")]


def test_who_has_to_be_paired_hears_the_code_and_nothing_else(played):
    held = played["policy"]["pairing"]
    [(speaker, text)] = held.lines
    assert speaker == "agent"
    assert sum(letter.isdigit() for letter in text) >= 4
    assert held.heard == [text]
    assert held.trunk.ended_by == "far"
    assert held.record["endReason"] == "completed"


def test_calls_of_a_service_that_was_killed_are_hung_up_by_the_next_one(played):
    found = played["killed"]
    assert [record["endReason"] for record in found["records"]] == ["interrupted", "interrupted"]
    assert (found["trunk"], found["twilio"]) == ("far", "api")
    assert [call.state for call in found["calls"]] == ["ended", "ended"]
