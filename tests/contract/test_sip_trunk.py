"""The phone on a SIP trunk: it is heard, hears, presses keys, and takes transfers as a trunk does."""

import asyncio

import pytest
from trunk_rig import far_side

from openclaw_voicecall.testing.emulators.clips import ClipBook
from openclaw_voicecall.testing.emulators.sip_trunk import TrunkPhone
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract


def phone_to(far, **options):
    return TrunkPhone(f"{far.url}/_sip/proj_emulated", **options)


async def test_a_call_says_who_calls_and_what_else_its_headers_hold():
    async with far_side() as far, phone_to(far, from_number="+15550009999", headers=[("X-A", "1")]) as phone:
        assert await phone.dial() == 200
        (call,) = far.calls
        assert call.project == "proj_emulated"
        assert call.header("From") == "<sip:+15550009999@trunk>"
        assert (call.header("To"), call.header("X-A")) == ("<sip:+15550001111@trunk>", "1")
        assert call.header("Call-ID")
        assert phone.leg.rang


async def test_both_sides_are_heard_to_the_sample_at_real_pace():
    book = ClipBook()
    question = book.add("what is the time", babble("what is the time"))
    answer = book.add("it is late", babble("it is late", seed="marin"))

    async def agent(far):
        await far.until(lambda: any(find.whole for find in book.read(bytes(far.heard))))
        await far.say(answer)

    async def caller(phone):
        await phone.say(question)
        await phone.wait_until_heard("it is late", book)
        assert phone.now >= (len(question) + len(answer)) / 8000
        phone.hang_up()

    async with far_side(script=agent) as far, phone_to(far, person=caller) as phone:
        await phone.dial()
        await phone.finished()
        (call,) = far.calls
        await call.over.wait()
    assert [find.text for find in book.read(phone.heard)] == ["it is late"]
    assert [find.text for find in book.read(bytes(call.heard))] == ["what is the time"]
    assert (phone.ended_by, call.ended_by, phone.complaints) == ("near", "near", [])


async def test_a_call_that_is_refused_is_told_so():
    async with far_side(status=486) as far, phone_to(far) as phone:
        assert await phone.dial() == 486
        assert phone.leg.reason == "Busy Here"
        assert phone.person is None


async def test_nobody_at_the_address_is_a_status_too(free_port):
    async with TrunkPhone(f"ws://127.0.0.1:{free_port}/_sip/proj_emulated") as phone:
        assert await phone.dial() == 503


async def test_keys_are_told():
    async def caller(phone):
        await phone.press("4#")

    async with far_side() as far, phone_to(far, person=caller) as phone:
        await phone.dial()
        await far.calls[0].until(lambda: far.calls[0].keys == ["4", "#"])


async def test_the_far_side_may_hang_up():
    async def agent(far):
        await far.bye()

    async with far_side(script=agent) as far, phone_to(far) as phone:
        await phone.dial()
        await phone.finished()
        assert phone.ended_by == "far"


async def test_a_connection_that_breaks_is_no_hang_up():
    async def agent(far):
        await far.socket.close()

    async with far_side(script=agent) as far, phone_to(far) as phone:
        await phone.dial()
        await phone.finished()
        assert phone.ended_by == "network"


async def test_a_transfer_that_comes_about_is_followed_by_the_end_of_the_call():
    async def agent(far):
        await far.refer("tel:+15550003333")
        await far.until(lambda: far.notified == [202, 200])
        await far.bye()

    async with far_side(script=agent) as far, phone_to(far) as phone:
        await phone.dial()
        await phone.finished()
        assert [refer.target for refer in phone.refers] == ["tel:+15550003333"]
        assert (phone.ended_by, phone.complaints) == ("far", [])


@pytest.mark.parametrize("answers", [(603,), (202, 486)])
async def test_after_a_transfer_that_comes_to_nothing_the_call_goes_on(answers):
    book = ClipBook()

    async def agent(far):
        await far.refer("tel:+15550003333")
        await far.until(lambda: far.notified == list(answers))
        await far.say(book.add("still here", babble("still here")))

    async def caller(phone):
        await phone.wait_until_heard("still here", book)
        phone.hang_up()

    async with far_side(script=agent) as far, phone_to(far, person=caller, refer=answers) as phone:
        await phone.dial()
        await phone.finished()
        assert phone.ended_by == "near"


async def test_what_a_callers_script_fails_with_is_raised():
    async def caller(phone):
        raise AssertionError("not what was expected")

    async with far_side() as far, phone_to(far, person=caller) as phone:
        await phone.dial()
        with pytest.raises(AssertionError, match="not what was expected"):
            await phone.finished()


async def test_a_trunk_that_goes_on_after_a_transfer_is_complained_of(monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.testing.emulators.sip_trunk.BYE_LIMIT", 0.1)

    async def agent(far):
        await far.refer("tel:+15550003333")

    async with far_side(script=agent) as far, phone_to(far) as phone:
        await phone.dial()
        async with asyncio.timeout(5):
            while not phone.complaints:
                await asyncio.sleep(0.02)
        assert "no BYE" in phone.complaints[0]
