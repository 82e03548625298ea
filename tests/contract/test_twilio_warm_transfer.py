"""A transfer whose other side hears first what it is about, and takes it by a key or does not."""

import asyncio

import pytest
from twilio_rig import OURS, THEIRS, codes, emulated, response
from twilio_service import leg_of, served

from openclaw_voicecall.api.carrier import LegOrder
from openclaw_voicecall.providers.twilio.twiml import TAKE_PROMPT
from openclaw_voicecall.testing.emulators.twilio import Transferee
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

DESK = "+15550003333"
WORDS = "Ann Lee is on the line: it is about order 12 & its <bill>."


async def after_transfer(event):
    """What the manager answers: the caller is left alone, and comes back to the agent where nobody took the call."""
    if event.verdict == "answered":
        return LegOrder(action="none")
    return LegOrder(action="hang-up", fallback_text="Bye." if event.verdict == "completed" else "Back again.")


async def transferred(party, *, announce=WORDS, person=None):
    """Hand a caller over; gives the call, the service and its Twilio once all is over."""
    orders = {
        "offered": LegOrder(action="turn", call_id="our-call", text="Hello."),
        "transfer": after_transfer,
    }
    async with served(orders) as (service, twilio):
        twilio.transferees[DESK] = party
        call = await twilio.dial_in(THEIRS, OURS, person)
        await call.until_answered()
        await service.carrier.transfer(leg_of(call), DESK, caller_id=OURS, announce=announce)
        await call.finished()
        return call, service, twilio


def verdicts(service):
    return [event.verdict for event in service.of("transfer")]


async def test_whoever_answers_hears_what_it_is_about_and_takes_the_call_by_a_key():
    call, service, twilio = await transferred(Transferee(talks_for=0.2))
    assert call.said_to_transferee == [WORDS, TAKE_PROMPT]
    assert verdicts(service) == ["answered", "completed"]
    assert {event.call_id for event in service.of("transfer")} == {"our-call"}
    assert {event.carrier_call_id for event in service.of("transfer")} == {call.sid}
    assert call.said_by_carrier[-1] == "Bye."
    assert twilio.refusals == []


@pytest.mark.parametrize("key", ["0", "#", "*"])
async def test_any_key_takes_the_call(key):
    _, service, _ = await transferred(Transferee(presses=key, talks_for=0.1))
    assert verdicts(service) == ["answered", "completed"]


async def test_the_caller_hears_nothing_of_the_announcement():
    hello = babble("desk speaking")
    call, _, twilio = await transferred(Transferee(says=hello, talks_for=1.0))
    spoken = twilio.voice(WORDS)
    assert spoken not in bytes(call.phone.heard)
    assert hello[:4000] in bytes(call.phone.heard)


async def test_whoever_presses_no_key_is_hung_up_and_the_caller_comes_back(monkeypatch):
    monkeypatch.setattr("openclaw_voicecall.providers.twilio.carrier.TAKE_TIME", 1)
    call, service, _ = await transferred(Transferee(presses=None))
    assert verdicts(service) == ["declined"]
    assert call.said_by_carrier[-1] == "Back again."
    assert call.said_to_transferee == [WORDS, TAKE_PROMPT]


async def test_whoever_hangs_up_during_the_announcement_has_declined():
    call, service, _ = await transferred(Transferee(hangs_up_after=0.05))
    assert verdicts(service) == ["declined"]
    assert call.said_by_carrier[-1] == "Back again."


@pytest.mark.parametrize(
    ("party", "verdict"),
    [(Transferee("busy"), "busy"), (Transferee("failed"), "failed"), (Transferee("no-answer"), "no-answer")],
)
async def test_who_cannot_be_reached_is_told_as_without_words(party, verdict):
    call, service, _ = await transferred(party)
    assert verdicts(service) == [verdict]
    assert call.said_to_transferee == []


async def test_a_transfer_without_words_connects_at_once():
    call, service, _ = await transferred(Transferee(talks_for=0.2, presses=None), announce="")
    assert call.said_to_transferee == []
    assert verdicts(service) == ["answered", "completed"]


async def test_the_words_are_in_no_address():
    call, _, _ = await transferred(Transferee(talks_for=0.1))
    asked = [webhook.url for webhook in call.webhooks] + call.documents
    assert not [text for text in asked if "Ann" in text]


async def test_a_caller_who_hangs_up_meanwhile_has_ended_the_call():
    async def caller(phone):
        await phone.wait(0.4)
        phone.hang_up()

    call, service, _ = await transferred(Transferee(presses=None), person=caller)
    assert call.ended_by == "person"
    assert verdicts(service) == []


async def test_words_that_an_earlier_process_had_are_not_missed():
    orders = {
        "offered": LegOrder(action="turn", call_id="our-call", text="Hello."),
        "transfer": after_transfer,
    }
    async with served(orders) as (service, twilio):
        twilio.transferees[DESK] = Transferee(talks_for=0.1)
        call = await twilio.dial_in(THEIRS, OURS)
        await call.until_answered()
        await service.carrier.transfer(leg_of(call), DESK, announce=WORDS)
        service.carrier._announced.clear()
        async with asyncio.timeout(10):
            await call.finished()
        assert call.said_to_transferee == [TAKE_PROMPT]
        assert verdicts(service) == ["answered", "completed"]


async def test_the_reports_of_the_other_half_are_those_that_were_asked_for():
    number = (
        f"<Number statusCallback='/news' statusCallbackEvent='ringing answered completed'>{DESK}</Number>"
    )
    async with emulated() as twilio:
        twilio.app.answers["/voice"] = response(f"<Dial action='/over'>{number}</Dial>")
        twilio.transferees[DESK] = Transferee(talks_for=0.1)
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        news = twilio.app.forms("/news")
        assert [form["CallStatus"] for form in news] == ["ringing", "in-progress", "completed"]
        assert {(form["Direction"], form["ParentCallSid"], form["To"]) for form in news} == {
            ("outbound-dial", call.sid, DESK)
        }


async def test_a_whisper_that_dials_is_complained_of_and_the_rest_of_it_is_said():
    async with emulated() as twilio:
        twilio.app.answers |= {
            "/voice": response(f"<Dial action='/over'><Number url='/whisper'>{DESK}</Number></Dial>"),
            "/whisper": response("<Say>for you</Say><Dial>+15550004444</Dial>"),
        }
        twilio.transferees[DESK] = Transferee(talks_for=0.1)
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        assert (call.said_to_transferee, codes(twilio)) == (["for you"], [12200])
        assert [form["DialBridged"] for form in twilio.app.forms("/over")] == ["true"]
        assert [form["CallSid"] != call.sid for form in twilio.app.forms("/whisper")] == [True]
