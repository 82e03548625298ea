"""A call that Twilio connects with a SIP address: the TwiML of the carrier, carried out by the emulated Twilio."""

import asyncio
from urllib.parse import urlencode

import pytest
from trunk_rig import far_side
from twilio.request_validator import RequestValidator
from twilio_rig import OURS, THEIRS, codes, emulated, response
from twilio_service import leg_of, served

from openclaw_voicecall.api.carrier import LegOrder, WebhookRequest
from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.testing.emulators import twilio_twiml
from openclaw_voicecall.testing.emulators.twilio import Transferee
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.contract

HOST = "sip.api.openai.com"
URI = f"sip:proj_emulated@{HOST};transport=tls"
DESK = "+15550003333"
BRIDGE = LegOrder(action="bridge", call_id="our-call", sip_uri=URI, sip_headers={"X-Call-Token": "a b;c"})


def connected(far, **orders):
    """A Twilio whose SIP side is `far`, and which is told to connect calls with it."""
    return served({"offered": BRIDGE, "answered": BRIDGE, **orders}, sip_hosts={HOST: far.url})


async def test_the_caller_and_the_sip_side_hear_each_other():
    async def agent(far):
        await far.until(lambda: "how are you" in heard(far.heard))
        await far.say(book.add("very well", babble("very well")))

    async def caller(phone):
        await phone.say(book.add("how are you", babble("how are you")))
        await phone.wait_until_heard("very well", book)
        await phone.press("5")
        phone.hang_up()

    def heard(audio):
        return [find.text for find in book.read(bytes(audio)) if find.whole]

    async with far_side(script=agent) as far, connected(far) as (_, twilio):
        book = twilio.book
        call = await (await twilio.dial_in(THEIRS, OURS, caller)).finished()
        (side,) = far.calls
        assert side.header("X-Call-Token") == "a b;c"
        assert THEIRS in side.header("From")
        assert side.header("To") == f"<sip:proj_emulated@{HOST}>"
        assert side.header("X-Twilio-CallSid").startswith("CA")
        assert side.keys == ["5"]
        assert side.ended_by == "near"
        assert (call.ended_by, twilio.refusals) == ("person", [])


async def test_the_end_of_the_sip_side_is_no_hang_up_of_the_caller():
    async def agent(far):
        await far.bye()

    async with far_side(script=agent) as far, connected(far, **{"stream-over": goodbye}) as (service, twilio):
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        (over,) = service.of("stream-over")
        assert (over.call_id, over.carrier_call_id, over.verdict) == ("our-call", call.sid, "completed")
        assert over.detail == "Twilio says completed, DialSipResponseCode 200"
        assert service.of("ended") == []
        assert call.said_by_carrier == ["Bye."]


async def goodbye(event):
    return LegOrder(action="hang-up", fallback_text="Bye.")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(486, "busy"), (603, "busy"), (480, "no-answer"), (404, "failed"), (503, "failed")],
)
async def test_a_sip_side_that_does_not_take_the_call_leaves_it_ringing_and_says_why(status, verdict):
    async def refuse(event):
        return LegOrder(action="reject")

    async with far_side(status=status) as far, connected(far, **{"stream-over": refuse}) as (service, twilio):
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        (over,) = service.of("stream-over")
        assert (over.verdict, over.detail) == (
            verdict,
            f"Twilio says {verdict}, DialSipResponseCode {status}",
        )
        assert not call.answered
        assert call.verbs[-1].startswith("<Reject")


async def test_a_sip_side_that_wants_a_transfer_is_let_go_of_and_the_caller_stays():
    async def agent(far):
        await far.refer(f"tel:{DESK}")
        await far.until(lambda: 200 in far.notified)
        await far.bye()

    async with far_side(script=agent) as far, connected(far, **{"stream-over": goodbye}) as (service, twilio):
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        (asked,) = service.of("transfer-asked")
        assert (asked.to_number, asked.call_id, asked.carrier_call_id) == (DESK, "our-call", call.sid)
        assert call.refers == [f"tel:{DESK}"]
        assert far.calls[0].notified == [202, 200]
        # Nobody carried it out, so after a while the carrier asks how to go on.
        assert [event.kind for event in service.events][-2:] == ["transfer-asked", "stream-over"]
        assert call.said_by_carrier == ["Bye."]
        assert twilio.refusals == []


async def test_a_transfer_that_the_sip_side_asked_for_is_carried_out_by_the_carrier():
    async def agent(far):
        await far.refer(f"<sip:{DESK}@example.com>")
        await far.over.wait()

    async with far_side(script=agent) as far, connected(far) as (service, twilio):

        async def hand_over(event):
            tasks.append(asyncio.create_task(service.carrier.transfer(leg_of(call), event.to_number)))
            return LegOrder(action="none")

        tasks = []
        twilio.transferees[DESK] = Transferee(talks_for=0.1)
        service.orders |= {"transfer-asked": hand_over, "transfer": LegOrder(action="hang-up")}
        call = await twilio.dial_in(THEIRS, OURS)
        await call.finished()
        await tasks[0]
        assert call.transferred_to == DESK
        assert [event.verdict for event in service.of("transfer")] == ["answered", "completed"]
        assert service.of("stream-over") == []


async def test_a_call_that_is_taken_off_its_bridge_tells_of_no_end_of_it():
    async with far_side() as far, connected(far, **{"stream-over": goodbye}) as (service, twilio):
        call = await twilio.dial_in(THEIRS, OURS)
        await call.until_answered()
        await service.carrier.take_over(leg_of(call))
        await call.finished()
        # One question, that of the take-over, and none for the end of the bridge.
        assert len(service.of("stream-over")) == 1
        assert [webhook.kind for webhook in call.webhooks].count("action") == 1
        assert far.calls[0].ended_by == "near"


async def test_a_sip_side_that_may_not_transfer_is_refused_and_the_talk_goes_on():
    async def agent(far):
        await far.refer(f"tel:{DESK}")
        await far.until(lambda: far.notified)
        await far.bye()

    async with far_side(script=agent) as far, emulated(sip_hosts={HOST: far.url}) as twilio:
        twilio.app.answers["/voice"] = response(f"<Dial><Sip>{URI}</Sip></Dial>")
        call = await (await twilio.dial_in(THEIRS, OURS)).finished()
        assert far.calls[0].notified == [405]
        assert codes(twilio) == [13802]
        assert call.refers == [f"tel:{DESK}"]


async def test_a_transfer_that_nobody_answers_for_leaves_the_caller_with_the_sip_side():
    async def agent(far):
        await far.refer(f"tel:{DESK}")
        await far.until(lambda: len(far.notified) == 2)
        await far.bye()

    async with far_side(script=agent) as far, emulated(sip_hosts={HOST: far.url}) as twilio:
        twilio.transferees[DESK] = Transferee("busy")
        dial = f"<Dial answerOnBridge='true' referUrl='/refer'><Sip>{URI}</Sip></Dial>"
        twilio.app.answers |= {"/voice": response(dial), "/refer": response(f"<Dial>{DESK}</Dial>")}
        await (await twilio.dial_in(THEIRS, OURS)).finished()
        assert far.calls[0].notified == [202, 486]
        (form,) = twilio.app.forms("/refer")
        assert form["ReferTransferTarget"] == f"<tel:{DESK}>"
        (request,) = [request for request, _ in twilio.app.requests if request.path == "/refer"]
        signature = request.headers["X-Twilio-Signature"]
        assert RequestValidator(twilio.auth_token).validate(twilio.app.url("/refer"), form, signature)


async def test_a_host_that_nobody_knows_is_complained_of():
    async with emulated() as twilio:
        twilio.app.answers["/voice"] = response(f"<Dial action='/over'><Sip>{URI}</Sip></Dial>")
        await (await twilio.dial_in(THEIRS, OURS)).finished()
        (form,) = twilio.app.forms("/over")
        assert (form["DialCallStatus"], form["DialBridged"]) == ("failed", "false")
        assert codes(twilio) == [13254]


async def test_a_sip_side_that_never_answers_is_given_up():
    async with far_side(rings=9.0) as far, emulated(sip_hosts={HOST: far.url}) as twilio:
        twilio.app.answers["/voice"] = response(f"<Dial action='/over' timeout='1'><Sip>{URI}</Sip></Dial>")
        await (await twilio.dial_in(THEIRS, OURS)).finished()
        (form,) = twilio.app.forms("/over")
        assert (form["DialCallStatus"], form["DialSipResponseCode"]) == ("no-answer", "487")
        assert far.calls[0].ended_by == "near"


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("proj@host", 13243),
        ("sip:a b@host", 13243),
        ("sip:a@host;transport=ws", 13243),
        (f"sip:{'a' * 260}@host", 13243),
        ("sip:a@host?Token=1", 32110),
        ("sip:a@host?X-Token=a;b", 32110),
        (f"sip:a@host?X-Token={'a' * 1024}", 32110),
    ],
)
def test_a_sip_address_that_twilio_would_not_take_is_warned_of(address, code):
    document = twilio_twiml.read(response(f"<Dial><Sip>{address}</Sip></Dial>").encode())
    assert [problem.code for problem in document.warnings] == [code]


def test_headers_that_twilio_passes_on_are_read():
    address, problems = twilio_twiml.read_sip_address("sip:a@host;transport=tls?X-A=b%3Bc&User-to-User=1")
    assert problems == []
    assert (address.user, address.host, address.params) == ("a", "host", {"transport": "tls"})
    assert address.headers == (("X-A", "b;c"), ("User-to-User", "1"))


async def test_an_address_that_twilio_would_not_take_is_not_sent_to_it():
    async with far_side() as far, connected(far) as (service, twilio):
        wrong = LegOrder(action="bridge", call_id="our-call", sip_uri="proj@host")
        with pytest.raises(ConfigError, match="not a SIP address"):
            service.carrier.reply(await offer(service, twilio), wrong)


async def offer(service, twilio):
    call = await twilio.dial_in(THEIRS, OURS)
    await call.until_answered()
    call.hang_up()
    webhook = call.webhooks[0]
    headers = {
        "x-twilio-signature": RequestValidator(twilio.auth_token).compute_signature(
            webhook.url, webhook.params
        ),
        "content-type": "application/x-www-form-urlencoded",
    }
    body = urlencode(webhook.params).encode()
    request = WebhookRequest(method="POST", url=webhook.url, headers=headers, body=body)
    return service.carrier.verify(request, 0.0)
