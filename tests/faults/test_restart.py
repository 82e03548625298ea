"""What becomes of calls whose service died, whose hang-up was refused, or whose dial nobody can tell the outcome of."""

import asyncio
import contextlib
import json
import time
from typing import Any

import pytest
from kill_rounds import control, own_id, own_line
from twilio_scenes import Played, answering, tool
from vendor_line import OURS, VendorLine

from openclaw_voicecall.errors import CallNotFound, VoiceCallError
from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.emulators.twilio import Call, Pickup, Transferee
from openclaw_voicecall.testing.emulators.twilio_verbs import Fetch
from openclaw_voicecall.testing.faults import FaultProxy

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

FAR, FURTHER, DESK = "+15550008001", "+15550008002", "+15550008003"
RINGS = Pickup(after=100.0)
"""Nobody takes up the phone for as long as any test lasts."""
GOODBYE = "I'm sorry, I can't go on with this call. Goodbye."
HASTY = {"ringTimeoutMs": 120_000, "limits": {"hangUpGraceMs": 1000}}
LIMIT = 20.0


async def until(condition: Any, limit: float = LIMIT) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


async def shown(client: ControlClient, call_id: str, **wanted: str) -> dict[str, Any]:
    """The record, once its fields are these."""
    async with asyncio.timeout(LIMIT):
        while True:
            with contextlib.suppress(CallNotFound):
                record = await client.get_call(call_id)
                if all(record[name] == value for name, value in wanted.items()):
                    return record
            await asyncio.sleep(0.02)


async def closed(line: VendorLine, call_id: str) -> dict[str, Any]:
    async with control(line) as client, asyncio.timeout(LIMIT):
        while not (record := await client.get_call(call_id))["endReason"]:
            await asyncio.sleep(0.02)
        return record


async def order(client: ControlClient, to: str = FAR) -> str:
    call = await client.place_call({"to": to, "message": "Hello.", "mode": "conversation"})
    return str(call["callId"])


async def rings(line: VendorLine, to: str = FAR) -> tuple[str, Call]:
    """A call that we have placed and that nobody takes, once Twilio's id of it is in the store."""
    line.twilio.pickup = RINGS
    async with control(line) as client:
        call_id = await order(client, to)
        call = await line.twilio.next_call()
        await shown(client, call_id, carrierCallId=call.sid, state="ringing")
    return call_id, call


async def crash(line: VendorLine) -> None:
    await asyncio.to_thread(line.service.kill)


async def start(line: VendorLine) -> float:
    """Start again; seconds until the service took calls."""
    begun = time.monotonic()
    await asyncio.to_thread(line.service.start)
    return time.monotonic() - begun


def reconfigure(line: VendorLine, **twilio: str) -> None:
    """Change settings for the next start."""
    config = {**line.service.config, "twilio": {**line.service.config["twilio"], **twilio}}
    path = line.service.state_dir.with_name(f"{line.service.state_dir.name}.json")
    path.write_text(json.dumps(config), encoding="utf-8")


async def lost_answer() -> dict[str, Any]:
    """Twilio takes the dial; before its answer, or any report, reaches us the service dies."""
    async with own_line(HASTY) as line:
        line.twilio.pickup = RINGS
        line.twilio.fail_next("rest-timeout")
        line.twilio.fail_next("callbacks-lost", times=0)
        async with control(line) as client:
            call_id = await order(client)
            call = await line.twilio.next_call()
        await crash(line)
        took = await start(line)
        await until(lambda: call.over)
        return {
            "call": call,
            "record": await closed(line, call_id),
            "dials": [own_id(each) for each in line.twilio.calls.values()],
            "id": call_id,
            "took": took,
        }


async def unreachable() -> dict[str, Any]:
    """After the start Twilio's API cannot be reached, while Twilio still reaches us."""
    async with (
        own_line({**HASTY, "maxConcurrentCalls": 1}) as line,
        FaultProxy("127.0.0.1", line.twilio.port) as way,
    ):
        call_id, call = await rings(line)
        await crash(line)
        way.refuse()
        reconfigure(line, apiBaseUrl=f"http://127.0.0.1:{way.port}")
        seen: dict[str, Any] = {"call": call, "took": await start(line)}
        async with control(line) as client:
            seen["meanwhile"] = await shown(client, call_id, state="ending")
            seen["listed"] = [item["callId"] for item in (await client.status())["calls"]]
            caller = await line.twilio.dial_in(FURTHER, OURS)
            await until(lambda: caller.streams)
            seen["late"] = await call.ask(Fetch(call.orders.url, "POST"))
            seen["over before"] = call.over
            way.heal()
            await until(lambda: call.over)
            seen["record"] = await closed(line, call_id)
            seen["journal"] = await client.journal(call_id)
            caller.hang_up()
        return {**seen, "id": call_id}


async def refused_hang_up() -> dict[str, Any]:
    """Twilio fails three times when it is to end the call; our own patience is over after a second."""
    async with own_line({**HASTY, "maxConcurrentCalls": 1}) as line:
        call_id, call = await rings(line)
        async with control(line) as client:
            line.twilio.fail_next("rest-500", times=3)
            await client.end_call(call_id)
            seen: dict[str, Any] = {"call": call, "meanwhile": await shown(client, call_id, state="ending")}
            await until(lambda: call.over)
            seen["record"] = await closed(line, call_id)
            seen["journal"] = await client.journal(call_id)
        seen["never"] = await _hang_up_over_a_crash(line)
        seen["too long"] = await _asked_for_too_long(line)
        return seen


async def _hang_up_over_a_crash(line: VendorLine) -> dict[str, Any]:
    call_id, call = await rings(line, FURTHER)
    line.twilio.fail_next("rest-500", times=0)
    async with control(line) as client:
        await client.end_call(call_id)
        async with asyncio.timeout(LIMIT):
            while not any(entry["event"] == "vendor-failed" for entry in await client.journal(call_id)):
                await asyncio.sleep(0.02)
            while "endsAs" not in (await client.get_call(call_id))["metadata"]:
                await asyncio.sleep(0.02)
        # The leg is not ours any more: another call may begin.
        caller = await line.twilio.dial_in(DESK, OURS)
        await until(lambda: caller.streams)
        caller.hang_up()
    await crash(line)
    line.twilio.heal()
    await start(line)
    await until(lambda: call.over)
    return {"call": call, "record": await closed(line, call_id)}


async def _asked_for_too_long(line: VendorLine) -> dict[str, Any]:
    orders = {"to": FURTHER, "message": "Hello.", "mode": "conversation"}
    line.twilio.pickup, before = Pickup("busy"), len(line.twilio.calls)
    async with control(line) as client:
        with pytest.raises(VoiceCallError) as caught:
            await client.place_call({**orders, "maxDurationSeconds": 301})
        refused = len(line.twilio.calls) - before
        call_id = (await client.place_call({**orders, "maxDurationSeconds": 60}))["callId"]
        await closed(line, call_id)
    return {"error": caught.value, "dials": refused, "limit": list(line.twilio.calls.values())[-1].time_limit}


async def handed_over() -> dict[str, Any]:
    """The service dies while its caller talks to somebody else."""
    answers = answering({"Get me a human.": [tool("transfer_call", "One moment.", to=DESK)]})
    async with own_line({"transfer": {"allowed": [DESK]}}, respond=answers) as line:
        line.twilio.transferees[DESK] = Transferee()
        words = line.words("Get me a human.")

        async def person(phone: Any) -> None:
            await phone.wait_for_agent(quiet=0.4)
            await phone.say(words)
            await phone.listen()

        call = await line.twilio.dial_in(FAR, OURS, person)
        await until(lambda: call.transferred_to == DESK)
        await crash(line)
        await start(line)
        seen = {"talks on": not call.over}
        async with control(line) as client:
            seen["open"] = await client.get_call(call.sid)
        call.hang_up()
        return {**seen, "record": await closed(line, seen["open"]["callId"])}


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        scenes = {
            "lost answer": lost_answer(),
            "unreachable": unreachable(),
            "refused": refused_hang_up(),
            "handed over": handed_over(),
        }
        results = await asyncio.gather(*scenes.values(), return_exceptions=True)
        return Played(zip(scenes, results, strict=True))

    return asyncio.run(everything())


def failures(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry["data"] for entry in journal if entry["event"] == "vendor-failed"]


def test_a_dial_whose_answer_the_service_did_not_live_to_see_is_found_and_hung_up(played):
    scene = played["lost answer"]
    assert scene["dials"] == [scene["id"]], "it was dialled once"
    assert scene["call"].ended_by == "api"
    assert scene["record"]["carrierCallId"] == scene["call"].sid
    assert scene["record"]["endReason"] == "interrupted"
    assert "still open and is hung up" in scene["record"]["detail"]


def test_a_start_does_not_wait_for_a_carrier_that_cannot_be_reached(played):
    assert played["unreachable"]["took"] <= played["lost answer"]["took"] + 5
    assert not played["unreachable"]["over before"]


def test_a_leg_that_cannot_be_ended_yet_is_listed_and_holds_no_slot(played):
    scene = played["unreachable"]
    assert scene["meanwhile"]["endedAt"] is None
    assert scene["id"] in scene["listed"]
    assert scene["journal"][-1]["event"] == "closed"
    assert failures(scene["journal"])


def test_a_late_question_about_a_dead_call_is_answered_with_a_goodbye(played):
    late = played["unreachable"]["late"]
    assert (late.status, late.problem) == (200, None)
    assert GOODBYE.replace("'", "&apos;") in late.body.decode() or GOODBYE in late.body.decode()
    assert b"<Hangup" in late.body


def test_once_the_carrier_is_reached_the_leg_is_ended(played):
    scene = played["unreachable"]
    assert scene["call"].ended_by == "api"
    assert scene["record"]["endReason"] == "interrupted"


def test_a_hang_up_that_the_carrier_refuses_is_tried_again(played):
    scene = played["refused"]
    assert scene["meanwhile"]["endedAt"] is None
    assert scene["call"].ended_by == "api"
    assert len(failures(scene["journal"])) == 3
    assert (scene["record"]["endReason"], scene["record"]["state"]) == ("agent-hung-up", "hangup-bot")
    assert "endsAs" not in scene["record"]["metadata"]


def test_a_hang_up_that_never_succeeded_is_done_by_the_next_start_and_keeps_its_reason(played):
    scene = played["refused"]["never"]
    assert scene["call"].ended_by == "api"
    assert scene["record"]["endReason"] == "agent-hung-up"


def test_a_call_that_is_to_last_too_long_is_refused_and_not_cut_down(played):
    scene = played["refused"]["too long"]
    assert "maxDurationSeconds" in str(scene["error"])
    assert scene["dials"] == 0
    assert scene["limit"] == 70, "a shorter one is Twilio's limit too, with our margin"


def test_who_was_handed_over_talks_on_without_us(played):
    scene = played["handed over"]
    assert scene["talks on"]
    assert scene["open"]["endedAt"] is None
    assert scene["record"]["endReason"] == "transferred"
