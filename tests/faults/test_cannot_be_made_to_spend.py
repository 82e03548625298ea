"""Numbers that cost more than a call are refused at every entrance, by name, and never reach the carrier."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twilio_scenes import Played, Scene, Stage, answering, stage, together, tool
from vendor_line import CALLER, OURS

from openclaw_voicecall.errors import VoiceCallError
from openclaw_voicecall.testing.emulators.twilio import Pickup

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

REFUSED = {
    "+19005551234": ("premium", "outbound.allow"),
    "+12129761234": ("premium", "outbound.allow"),
    "+447601234567": ("premium", "outbound.allow"),
    "+972190012345": ("premium", "outbound.allow"),
    "+449098790879": ("premium", "outbound.allow"),
    "+33892123456": ("premium", "outbound.allow"),
    "+979123456789": ("premium", "outbound.allow"),
    "+80812345678": ("shared-cost", "outbound.allow"),
    "+447012345678": ("personal", "outbound.allow"),
    "+881612345678": ("satellite", "outbound.allow"),
    "+870771234567": ("satellite", "outbound.allow"),
    "+88216123456": ("satellite", "outbound.allow"),
    "+883510012345678": ("satellite", "outbound.allow"),
    "+19115550000": ("emergency", "outbound.allow"),
    "+18765551234": ("one-ring", "outbound.countries"),
    "+12684601234": ("one-ring", "outbound.countries"),
    "+22245000000": ("one-ring", "outbound.countries"),
    "+23225123456": ("one-ring", "outbound.countries"),
    "+6777421234": ("one-ring", "outbound.countries"),
    "+4915112345678": ("DE", "outbound.countries"),
    "+14165550123": ("CA", "outbound.countries"),
    "+8613812345678": ("CN", "outbound.countries"),
}
"""Numbers with what the refusal has to name, and the setting that would allow them."""
NO_NUMBERS = [
    "+1911",
    "+44999",
    "+49112",
    "911",
    "112",
    "1911",
    "+",
    "0019005551234",
    "+1 900 555 1234",
    "tel:+19005551234",
    "sip:a@b.c",
    "+１９００",
    "",
]
"""What is no number in the one form that is taken, so that nothing can hide in another one."""
BY_COMMAND = ["+19005551234", "+881612345678", "+18765551234", "+4915112345678"]
MESSAGE, SORRY = "Your table is booked.", "I cannot do that."
WISHES = {f"Connect me to {number}.": number for number in ("+19005551234", "+881612345678", "+18765551234")}
BUSY = Pickup("busy")
SLEEPER = "+15550002009"
"""Where it is night, whenever it is."""


async def refusal(order: Any) -> str:
    """What the control API says to an order; empty when it is taken."""
    try:
        await order
    except VoiceCallError as error:
        return str(error)
    return ""


async def wishes_for(on: Stage, wish: str, number: str) -> Scene:
    """Somebody whom we call, and who wants to be connected: the model does as it is told."""
    clip = on.line.words(wish)

    async def person(phone: Any) -> None:
        await phone.wait_for_agent(quiet=0.4)
        await phone.say(clip)
        await phone.wait_for_agent(quiet=1.2)
        phone.hang_up()

    return await on.place(number, person, message=MESSAGE)


async def out_of_the_box() -> Played:
    answers = {wish: [tool("transfer_call", to=number), SORRY] for wish, number in WISHES.items()}
    async with stage({"phrases": {"transferFailed": SORRY}}, respond=answering(answers)) as on:
        played, order = Played(), {"mode": "conversation", "message": MESSAGE}
        played["api"] = {
            number: await refusal(on.client.place_call({**order, "to": number}))
            for number in (*REFUSED, *NO_NUMBERS)
        }
        done = await asyncio.gather(
            *(
                on.line.cli("call", "--to", number, "--detach", check=False, json=False)
                for number in BY_COMMAND
            )
        )
        played["command"] = dict(zip(BY_COMMAND, done, strict=True))
        played["before talks"] = list(on.line.twilio.calls)
        scenes = await together(
            {wish: wishes_for(on, wish, f"+1555000{9100 + at}") for at, wish in enumerate(WISHES)}
        )
        played["scenes"] = scenes
        played["kept"] = await on.client.list_calls(limit=200)
        played["ledger"] = [
            (call.from_number, call.to_number, call.transferred_to) for call in on.line.twilio.calls.values()
        ]
        return played


async def with_limits() -> Played:
    """Limits count what was placed, over a restart too; an opt-out holds; the night is quiet; the money is counted."""
    now = datetime.now(UTC)
    night = {
        "start": f"{now - timedelta(hours=2):%H:%M}",
        "end": f"{now + timedelta(hours=2):%H:%M}",
        "zones": {"+1555": "Etc/GMT+12", SLEEPER: "UTC"},
    }
    config = {"outbound": {"dialsPerMinute": 3, "dialsPerNumberPerHour": 2, "quietHours": night}}
    async with stage(config) as on:
        played, order = Played(), {"mode": "conversation", "message": MESSAGE}
        on.line.twilio.pickup = BUSY
        for number in (CALLER, CALLER):
            await on.client.place_call({**order, "to": number})
        played["night"] = await refusal(on.client.place_call({**order, "to": SLEEPER}))
        played["per number"] = await refusal(on.client.place_call({**order, "to": CALLER}))
        await on.line.cli("optout", "add", "+15550002001")
        await asyncio.to_thread(on.line.service.kill)
        await asyncio.to_thread(on.line.service.start)
        played["per number after a kill"] = await refusal(on.client.place_call({**order, "to": CALLER}))
        played["opted out after a kill"] = await refusal(
            on.client.place_call({**order, "to": "+15550002001"})
        )
        await on.client.place_call({**order, "to": "+15550002002"})
        played["per minute"] = await refusal(on.client.place_call({**order, "to": "+15550002003"}))
        async with asyncio.timeout(10):
            while len(on.line.twilio.calls) < 3:  # a call is recorded first and dialled then
                await asyncio.sleep(0.02)
        # Refusals are no dials, and are not counted: the count is still that of what was placed.
        played["placed"] = [call.to_number for call in on.line.twilio.calls.values()]
        return played


async def without_money() -> Played:
    """The first call might cost more than the day's money."""
    async with stage({"spending": {"perMinute": 0.5, "dailyCap": 2.4, "currency": "EUR"}}) as on:
        played = Played()
        played["cap"] = await refusal(
            on.client.place_call({"mode": "notify", "message": MESSAGE, "to": CALLER})
        )
        played["caller"] = (await on.ring(CALLER, None)).call.verbs
        played["placed without money"] = [
            call for call in on.line.twilio.calls.values() if call.direction != "inbound"
        ]
        return played


@pytest.fixture(scope="module")
def played() -> Played:
    async def everything() -> Played:
        parts = await asyncio.gather(out_of_the_box(), with_limits(), without_money())
        return Played({name: item for part in parts for name, item in part.items()})

    return asyncio.run(everything())


@pytest.mark.parametrize("number", REFUSED)
def test_an_expensive_number_is_refused_with_what_it_is_and_the_setting(played, number):
    what, setting = REFUSED[number]
    reason = played["api"][number]
    assert reason.startswith(setting)
    assert what in reason
    assert number in reason


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_what_is_no_number_in_the_one_form_is_not_dialled(played, number):
    assert "E.164" in played["api"][number]


def test_the_command_says_the_same(played):
    for number, done in played["command"].items():
        assert done.exit_code != 0
        assert REFUSED[number][1] in done.stderr


def test_nobody_is_called_from_a_number_that_is_not_ours(played):
    assert {caller for caller, _, _ in played["ledger"]} == {OURS}


@pytest.mark.parametrize("wish", WISHES)
def test_nobody_is_handed_over_to_an_expensive_number(played, wish):
    scene = played["scenes"][wish]
    (refused,) = [entry["data"] for entry in scene.journal if entry["event"] == "transfer-refused"]
    assert refused["to"] == WISHES[wish]
    assert REFUSED[WISHES[wish]][1] in refused["detail"]
    assert not [verb for verb in scene.call.verbs if "Dial" in verb]
    assert SORRY in scene.heard


def test_what_was_refused_never_reached_the_carrier_and_left_no_record(played):
    assert played["before talks"] == []
    assert sorted(to for _, to, _ in played["ledger"]) == sorted(
        f"+1555000{9100 + at}" for at in range(len(WISHES))
    )
    assert {transferred for _, _, transferred in played["ledger"]} == {""}
    assert len(played["kept"]) == len(WISHES)


@pytest.mark.parametrize(
    ("which", "setting"),
    [
        ("per number", "outbound.dialsPerNumberPerHour"),
        ("per number after a kill", "outbound.dialsPerNumberPerHour"),
        ("opted out after a kill", "opt-out list"),
        ("per minute", "outbound.dialsPerMinute"),
        ("night", "outbound.quietHours"),
        ("cap", "spending.dailyCap"),
    ],
)
def test_a_limit_that_is_reached_names_itself(played, which, setting):
    assert setting in played[which]


def test_limits_count_what_was_placed_over_a_restart_and_nothing_else(played):
    assert played["placed"] == [CALLER, CALLER, "+15550002002"]
    assert played["placed without money"] == []


def test_a_cap_that_is_reached_answers_nobody_either(played):
    assert played["caller"] == ['<Reject reason="busy">']
