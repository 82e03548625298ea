"""What Twilio's webhooks say of bridges, of transfers that a SIP side asks for, and of announced transfers."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from openclaw_voicecall.api.carrier import WebhookRequest
from openclaw_voicecall.errors import MalformedWebhook
from openclaw_voicecall.providers.twilio import webhooks
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck

pytestmark = pytest.mark.unit

TOKEN = "12345"
ACCOUNT = "AC" + "1" * 32
CALL, HALF = "CA" + "a" * 32, "CA" + "b" * 32
BASE = "https://voice.example.com/voice/webhook/twilio"
PARENT = {
    "AccountSid": ACCOUNT,
    "CallSid": CALL,
    "CallStatus": "in-progress",
    "Direction": "inbound",
    "From": "+15550001111",
    "To": "+15550002222",
}
CHILD = {**PARENT, "CallSid": HALF, "ParentCallSid": CALL, "Direction": "outbound-dial", "To": "+15550003333"}


def verified(purpose, params, nonce="n0"):
    url = webhooks.own_url(BASE, purpose=purpose, nonce=nonce, call_id="our-call")
    headers = {
        "x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, params),
        "content-type": "application/x-www-form-urlencoded",
    }
    request = WebhookRequest(method="POST", url=url, headers=headers, body=urlencode(params).encode())
    return webhooks.verify(request, base_url=BASE, account_sid=ACCOUNT, signatures=SignatureCheck(TOKEN, {}))


def facts(purpose, params, **more):
    return webhooks.parse(verified(purpose, {**params, **more}))


def test_the_end_of_a_bridge_asks_how_to_go_on_and_says_how_it_ended():
    (over,) = facts(webhooks.BRIDGED, PARENT, DialCallStatus="busy", DialSipResponseCode="486")
    assert (over.kind, over.verdict, over.detail) == (
        "stream-over",
        "busy",
        "Twilio says busy, DialSipResponseCode 486",
    )
    assert (over.call_id, over.carrier_call_id) == ("our-call", CALL)


def test_an_outcome_that_twilio_does_not_document_is_a_failure():
    (over,) = facts(webhooks.BRIDGED, PARENT, DialCallStatus="ok\n", DialSipResponseCode="200 <b>")
    assert (over.verdict, over.detail) == ("failed", "Twilio says failed")


def test_a_sip_side_that_ended_well_is_not_the_callers_end():
    (over,) = facts(webhooks.BRIDGED, PARENT, DialCallStatus="completed", DialSipResponseCode="200")
    assert (over.kind, over.reason) == ("stream-over", None)


def test_a_caller_who_has_gone_meanwhile_has_ended_the_call():
    (over,) = facts(webhooks.BRIDGED, PARENT, CallStatus="completed", DialCallStatus="completed")
    assert over.kind == "ended"


@pytest.mark.parametrize(
    "target",
    [
        "tel:+15550003333",
        "<tel:+15550003333>",
        "tel:+1-555-000.3333",
        "<tel:+1(555)0003333;phone-context=example.com>",
        '"The Desk" <tel:+15550003333>;method=INVITE',
        "sip:+15550003333@example.com",
        "<sip:+15550003333@example.com;transport=tls?User-to-User=12>",
        "<sips:+15550003333;npdi@example.com:5061>",
    ],
)
def test_the_number_that_a_sip_side_wants_is_read(target):
    (asked,) = facts(webhooks.REFERRED, PARENT, ReferTransferTarget=target)
    assert (asked.kind, asked.to_number, asked.detail) == ("transfer-asked", "+15550003333", "")
    assert (asked.call_id, asked.carrier_call_id) == ("our-call", CALL)


@pytest.mark.parametrize(
    "target",
    ["sip:desk@example.com", "tel:911", "tel:+0123", "https://x.example", "sip:+1555000333399999@h", "<>"],
)
def test_what_is_no_number_is_no_number(target):
    (asked,) = facts(webhooks.REFERRED, PARENT, ReferTransferTarget=target)
    assert (asked.kind, asked.to_number) == ("transfer-asked", "")
    assert target not in asked.detail


@pytest.mark.parametrize("target", ["", "tel:+1" + "5" * 300])
def test_a_target_that_twilio_would_not_pass_on_is_refused(target):
    with pytest.raises(MalformedWebhook):
        facts(webhooks.REFERRED, PARENT, ReferTransferTarget=target)


def test_the_other_half_speaks_for_the_call_it_belongs_to():
    (asked,) = facts(webhooks.REFERRED, CHILD, ReferTransferTarget="tel:+15550003333")
    assert asked.carrier_call_id == CALL
    (taken,) = facts(webhooks.TAKEN, CHILD, Digits="5")
    assert (taken.kind, taken.verdict, taken.carrier_call_id) == ("transfer", "answered", CALL)
    (handed,) = facts(webhooks.HANDED, CHILD)
    assert handed.carrier_call_id == CALL


def test_a_parent_that_is_no_call_is_not_believed():
    (asked,) = facts(
        webhooks.REFERRED, {**CHILD, "ParentCallSid": "CA1"}, ReferTransferTarget="tel:+15550003333"
    )
    assert asked.carrier_call_id == HALF


def test_whoever_is_whispered_to_has_taken_nothing_yet():
    assert facts(webhooks.WHISPER, CHILD) == []
    assert facts(webhooks.TAKEN, CHILD, Digits="") == []
    assert facts(webhooks.TAKEN, CHILD, Digits="5", CallStatus="completed") == []


def test_keys_that_no_phone_has_are_refused():
    with pytest.raises(MalformedWebhook):
        facts(webhooks.TAKEN, CHILD, Digits="5x")


@pytest.mark.parametrize(
    ("bridged", "verdict"), [("false", "declined"), ("true", "completed"), (None, "completed")]
)
def test_an_answer_without_a_connection_is_a_refusal(bridged, verdict):
    more = {} if bridged is None else {"DialBridged": bridged}
    (over,) = facts(webhooks.DIALLED, PARENT, DialCallStatus="completed", **more)
    assert (over.kind, over.verdict) == ("transfer", verdict)


@given(st.text(max_size=300))
def test_any_target_is_a_number_or_none(target):
    number = webhooks.referred_number(target)
    assert not number or (number[0] == "+" and number[1:].isdecimal() and 7 <= len(number[1:]) <= 15)


@given(st.from_regex(r"<?(tel|sip):[+0-9@;?<>a-z. -]{0,250}>?", fullmatch=True))
def test_targets_are_read_in_no_time(target):
    webhooks.referred_number(target)
