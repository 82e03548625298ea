"""Twilio's webhooks: who signed them, what shape they have, and which facts are in them."""

import base64
import hashlib
import hmac
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from openclaw_voicecall.api.carrier import WebhookRequest
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import InvalidSignature, MalformedWebhook, WebhookError, WebhookTooLarge
from openclaw_voicecall.providers.twilio import webhooks
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck

pytestmark = pytest.mark.unit

TOKEN = "12345"
ACCOUNT = "AC" + "1" * 32
CALL = "CA" + "a" * 32
BASE = "https://voice.example.com/voice/webhook/twilio"
FORM = "application/x-www-form-urlencoded"
SETTINGS = "x-twilio-webhooks-signature-settings"
INBOUND = {
    "AccountSid": ACCOUNT,
    "ApiVersion": "2010-04-01",
    "CallSid": CALL,
    "CallStatus": "ringing",
    "Direction": "inbound",
    "From": "+15550001111",
    "FromCity": "",
    "To": "+15550002222",
}
OUTBOUND = {**INBOUND, "CallStatus": "in-progress", "Direction": "outbound-api"}


def by_token(url, params, token=TOKEN):
    return {
        "x-twilio-signature": RequestValidator(token).compute_signature(url, params),
        "content-type": FORM,
    }


def request(params=INBOUND, url=BASE, *, sign=None, headers=None, body=None, method="POST"):
    headers = by_token(sign or url, params) if headers is None else headers
    body = urlencode(params).encode() if body is None else body
    return WebhookRequest(method=method, url=url, headers=headers, body=body)


def verify(req, keys=None, base=BASE):
    return webhooks.verify(
        req, base_url=base, account_sid=ACCOUNT, signatures=SignatureCheck(TOKEN, keys or {})
    )


def facts(params=INBOUND, url=BASE):
    return webhooks.parse(verify(request(params, url)))


def own(purpose, nonce="n0"):
    return webhooks.own_url(BASE, purpose=purpose, nonce=nonce, call_id="our-call")


def test_the_signature_in_twilios_own_documentation_is_accepted():
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    params = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    check = SignatureCheck("12345", {})
    headers = {"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}
    assert check.check([url], params, headers).startswith("account:")
    with pytest.raises(InvalidSignature):
        check.check([url], {**params, "Digits": "1235"}, headers)


def test_a_request_signed_with_the_auth_token_is_accepted():
    webhook = verify(request())
    assert webhook.params["From"] == "+15550001111"
    assert webhook.params["FromCity"] == ""


@pytest.mark.parametrize(
    ("base", "signed"),
    [
        ("https://h/voice/webhook/twilio", "https://h:443/voice/webhook/twilio"),
        ("https://h:8443/voice/webhook/twilio", "https://h/voice/webhook/twilio"),
        ("http://127.0.0.1:8000/voice/webhook/twilio", "http://127.0.0.1:8000/voice/webhook/twilio"),
        ("http://[::1]:8000/voice/webhook/twilio", "http://[::1]/voice/webhook/twilio"),
        ("http://h/voice/webhook/twilio", "http://h:80/voice/webhook/twilio"),
    ],
)
def test_twilio_may_sign_with_or_without_the_port(base, signed):
    verify(request(url=base, sign=signed), base=base)


def test_the_address_that_counts_is_the_public_one_whatever_host_the_request_names():
    local = "http://127.0.0.1:3334/voice/webhook/twilio"
    verify(request(url=local, sign=BASE))
    with pytest.raises(InvalidSignature):
        verify(request(url="https://attacker.example/voice/webhook/twilio"))


def test_the_bare_path_and_a_path_cut_short_by_a_proxy_are_ours_too():
    bare = BASE.removesuffix("/twilio")
    verify(request(url=bare))
    verify(request(url="http://127.0.0.1/hook/twilio", sign=BASE))
    verify(request(url="http://127.0.0.1/hook?n=1", sign=bare + "?n=1"))
    with pytest.raises(InvalidSignature):
        verify(request(url="http://127.0.0.1/hook?n=1", sign=bare + "?n=2"))


def test_forged_requests_are_refused():
    good = request()
    for headers in (
        {"content-type": FORM},
        {"content-type": FORM, "x-twilio-signature": ""},
        {"content-type": FORM, "x-twilio-signature": "é"},
        {"content-type": FORM, "x-twilio-signature": "AAAA"},
        {"content-type": FORM, "x-twilio-signature": "*" + good.headers["x-twilio-signature"]},
        {"content-type": FORM, "x-twilio-signature": base64.b64encode(bytes(20)).decode()},
        by_token(BASE, INBOUND, token="54321"),
        by_token(BASE + "/", INBOUND),
    ):
        with pytest.raises(InvalidSignature):
            verify(request(headers=headers))
    with pytest.raises(InvalidSignature):
        verify(request(method="GET"))


def shared(url, params, key="key-1", secret="shared", algorithm="HMAC_SHA256"):
    text = url + "".join(name + params[name] for name in sorted(params))
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return {
        "content-type": FORM,
        "x-twilio-signature": base64.b64encode(digest).decode(),
        SETTINGS: f"key={key},algorithm={algorithm}",
    }


def test_a_request_signed_with_a_configured_shared_key_is_accepted():
    webhook = verify(request(headers=shared(BASE, INBOUND)), {"key-1": "shared"})
    assert webhook.replay_key.startswith("key-1:")


def test_the_settings_header_cannot_weaken_anything():
    keys = {"key-1": "shared"}
    token = by_token(BASE, INBOUND)
    for headers, known in (
        (token, keys),  # the header left out, so that the auth token would do
        ({**token, SETTINGS: "key=key-1,algorithm=HMAC_SHA1"}, keys),
        ({**token, SETTINGS: "algorithm=HMAC_SHA1"}, keys),
        ({**token, SETTINGS: ""}, keys),
        (shared(BASE, INBOUND, algorithm="HMAC_SHA1"), keys),
        (shared(BASE, INBOUND, algorithm="none"), keys),
        (shared(BASE, INBOUND, key="key-2"), keys),
        (shared(BASE, INBOUND, secret="other"), keys),
        ({**shared(BASE, INBOUND), SETTINGS: "key=key-1,key=key-1,algorithm=HMAC_SHA256"}, keys),
        (shared(BASE, INBOUND, key="", secret=""), {}),
        (shared(BASE, INBOUND, key="account", secret=TOKEN), {}),
    ):
        with pytest.raises(InvalidSignature):
            verify(request(headers=headers), known)


def test_a_request_cut_anew_from_a_signed_one_is_refused_or_counts_as_its_repetition():
    good = request()
    genuine = verify(good)
    pairs = list(INBOUND.items())

    def moved(old, new):
        fields = dict(pairs)
        for name in old:
            del fields[name]
        return {**fields, **new}

    for params in (
        moved(("Direction", "From"), {"Direction": "inboundFrom+15550001111"}),
        moved(("CallStatus",), {"CallSta": "tusringing"}),
        moved(("From", "FromCity"), {"From": "+15550001111FromCity"}),
        moved(("CallSid", "CallStatus"), {"CallSid": CALL + "CallStatusringing"}),
    ):
        assert RequestValidator(TOKEN).validate(BASE, params, good.headers["x-twilio-signature"])
        with pytest.raises(MalformedWebhook):
            verify(request(params, headers=good.headers))
    rest = moved(("AccountSid",), {})
    with pytest.raises(WebhookError):
        verify(request(rest, url=f"{BASE}AccountSid{ACCOUNT}", headers=good.headers))
    harmless = moved(("ApiVersion",), {"ApiVer": "sion2010-04-01"})
    assert verify(request(harmless, headers=good.headers)).replay_key == genuine.replay_key


def test_a_repetition_has_the_same_replay_key_and_another_request_has_not():
    header = {**by_token(BASE, INBOUND), "i-twilio-idempotency-token": "anything"}
    assert verify(request()).replay_key == verify(request(headers=header)).replay_key
    urls = {verify(request(url=own("voice", nonce))).replay_key for nonce in ("a", "b", "c")}
    assert len(urls) == 3


def test_another_spelling_of_a_signature_has_the_same_replay_key():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    header = by_token(BASE, INBOUND)
    text = header["x-twilio-signature"]
    respelled = f"{text[:-2]}{letters[letters.index(text[-2]) + 1]}="  # the last two bits of 162 mean nothing
    again = verify(request(headers={**header, "x-twilio-signature": respelled}))
    assert again.replay_key == verify(request()).replay_key


@pytest.mark.parametrize(
    "change",
    [
        {"AccountSid": "AC" + "2" * 32},
        {"CallSid": "CA" + "-" * 32},
        {"CallSid": CALL + "\n"},
        {"CallStatus": "Ringing"},
        {"CallStatus": ""},
        {"Direction": "inbound "},
        {"From": "+1555 000"},
        {"From": "+1555٣"},
        {"To": "+1555\n"},
        {"AnsweredBy": "somebody"},
    ],
)
def test_signed_fields_of_another_shape_are_refused(change):
    with pytest.raises(MalformedWebhook):
        verify(request({**INBOUND, **change}))


@pytest.mark.parametrize("name", ["AccountSid", "CallSid", "CallStatus", "Direction", "From", "To"])
def test_a_field_that_is_missing_is_refused(name):
    with pytest.raises(MalformedWebhook):
        verify(request({key: value for key, value in INBOUND.items() if key != name}))


def test_bodies_that_are_no_form_of_twilios_are_refused():
    headers = by_token(BASE, INBOUND)
    body = urlencode(INBOUND).encode()
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        with pytest.raises(MalformedWebhook):
            verify(request(headers={**headers, "content-type": kind}))
    for wrong in (body + b"&From=%2B15550001111", "From=é".encode(), b"From=%ff", b"a=1&" * 300):
        with pytest.raises(MalformedWebhook):
            verify(request(headers=headers, body=wrong))
    with pytest.raises(WebhookTooLarge):
        verify(request(headers=headers, body=b"a" * (64 * 1024 + 1)))
    verify(request(headers={**headers, "content-type": FORM + "; charset=UTF-8"}))


@pytest.mark.parametrize(
    "query", ["call=a&call=b", "call=%0a", "n=", "for=anything", "call=" + "a" * 200, "x=" + "a" * 8192]
)
def test_an_address_we_never_gave_out_is_refused(query):
    with pytest.raises(MalformedWebhook):
        verify(request(url=f"{BASE}?{query}"))


def test_a_report_of_the_machine_detection_at_another_address_is_refused():
    with pytest.raises(MalformedWebhook, match="Direction"):
        facts({"AccountSid": ACCOUNT, "CallSid": CALL, "AnsweredBy": "machine_start"})


def test_a_query_that_the_owner_added_means_nothing():
    (event,) = facts(url=BASE + "?tenant=7&tenant=8")
    assert (event.kind, event.call_id) == ("offered", "")


def test_an_inbound_call_is_offered():
    (event,) = facts()
    assert event.kind == "offered"
    assert event.carrier_call_id == CALL
    assert (event.from_number, event.to_number) == ("+15550001111", "+15550002222")


@pytest.mark.parametrize(
    "hidden",
    [
        "+266696687", "266696687", "+7378742833", "+2562533", "+86282452253", "+8656696",
        "anonymous", "Anonymous", "+anonymous", "RESTRICTED", "",
    ],
)  # fmt: skip
def test_callers_who_hide_their_number_have_none(hidden):
    (event,) = facts({**INBOUND, "From": hidden})
    assert event.from_number == ""


@pytest.mark.parametrize(
    "shown", ["+15550001111", "12345", "sip:bob@example.com;transport=tls", "client:bob"]
)
def test_other_callers_keep_theirs(shown):
    (event,) = facts({**INBOUND, "From": shown})
    assert event.from_number == shown


def test_our_call_asks_for_twiml_once_it_is_answered():
    (event,) = facts(OUTBOUND, own("voice"))
    assert (event.kind, event.call_id, event.carrier_call_id) == ("answered", "our-call", CALL)


@pytest.mark.parametrize(
    ("status", "kinds"), [("queued", []), ("initiated", []), ("ringing", ["ringing"]), ("in-progress", [])]
)
def test_a_report_on_a_live_call_asks_for_nothing(status, kinds):
    report = {
        **OUTBOUND,
        "CallStatus": status,
        "SequenceNumber": "1",
        "CallbackSource": "call-progress-events",
    }
    assert [event.kind for event in facts(report, own("status"))] == kinds
    assert [event.kind for event in facts(report)] == kinds


@pytest.mark.parametrize(
    ("status", "direction", "reason"),
    [
        ("completed", "outbound-api", EndReason.CALLER_HUNG_UP),
        ("busy", "outbound-api", EndReason.BUSY),
        ("no-answer", "outbound-api", EndReason.NO_ANSWER),
        ("failed", "outbound-api", EndReason.FAILED),
        ("canceled", "outbound-api", EndReason.AGENT_HUNG_UP),
        ("canceled", "inbound", EndReason.CALLER_HUNG_UP),
    ],
)
def test_a_call_ends_with_its_reason_wherever_it_is_reported(status, direction, reason):
    report = {**INBOUND, "CallStatus": status, "Direction": direction, "SipResponseCode": "486"}
    for url in (own("status"), own("voice"), BASE):
        (event,) = facts(report, url)
        assert (event.kind, event.reason) == ("ended", reason)
        assert event.detail == f"Twilio says {status}, SipResponseCode 486"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("human", "human"),
        ("machine_start", "machine"),
        ("machine_end_beep", "machine"),
        ("fax", "fax"),
        ("unknown", "unknown"),
    ],
)
def test_machine_detection_gives_its_verdict(said, verdict):
    report = {"AccountSid": ACCOUNT, "CallSid": CALL, "AnsweredBy": said, "MachineDetectionDuration": "2100"}
    (event,) = facts(report, own("machine"))
    assert (event.kind, event.verdict, event.call_id) == ("machine", verdict, "our-call")


def test_a_verdict_within_a_question_comes_before_the_fact_that_decides_the_answer():
    kinds = [event.kind for event in facts({**OUTBOUND, "AnsweredBy": "human"}, own("voice"))]
    assert kinds == ["machine", "answered"]


def test_the_far_leg_of_a_transfer_is_no_call_of_ours():
    assert facts({**OUTBOUND, "Direction": "outbound-dial"}, own("voice")) == []


def test_what_the_caller_said_to_a_question_is_read():
    said = {**OUTBOUND, "SpeechResult": "next Monday & thank you", "Confidence": "0.93"}
    live = {**said, "CallStatus": "in-progress"}
    (turn,) = facts(live, own("turn"))
    assert (turn.kind, turn.text, turn.digits, turn.call_id) == (
        "turn",
        "next Monday & thank you",
        "",
        "our-call",
    )
    (silent,) = facts({**OUTBOUND, "CallStatus": "in-progress", "Digits": "12#"}, own("turn"))
    assert (silent.text, silent.digits) == ("", "12#")
    assert facts(live, own("voice"))[0].text == ""
    with pytest.raises(MalformedWebhook):
        facts({**live, "Digits": "1; drop"}, own("turn"))


def test_questions_of_a_call_without_a_stream_are_told_apart():
    live = {**OUTBOUND, "CallStatus": "in-progress"}
    assert [facts(live, own(purpose))[0].kind for purpose in ("poll", "over")] == ["poll", "stream-over"]
    (gone,) = facts({**live, "CallStatus": "completed"}, own("turn"))
    assert gone.kind == "ended"


def test_what_became_of_a_transfer_is_told():
    live = {**OUTBOUND, "CallStatus": "in-progress"}
    outcomes = [
        facts({**live, "DialCallStatus": status}, own("dialled"))[0].verdict
        for status in ("completed", "busy", "no-answer", "nonsense")
    ]
    assert outcomes == ["completed", "busy", "no-answer", "failed"]
    (news,) = facts({**live, "Direction": "outbound-dial"}, own("handed"))
    assert (news.kind, news.verdict, news.call_id) == ("transfer", "answered", "our-call")
    assert facts({**live, "Direction": "outbound-dial", "CallStatus": "ringing"}, own("handed")) == []


TEXTS = st.text(max_size=40) | st.sampled_from([*INBOUND.values(), "in-progress", "human", "outbound-api"])
NAMES = st.text(max_size=8) | st.sampled_from([*INBOUND, "AnsweredBy", "SequenceNumber", "Confidence"])


@given(st.dictionaries(NAMES, TEXTS, max_size=8), st.text(max_size=40), st.booleans())
def test_no_signed_form_raises_anything_but_a_webhook_error(fields, query, whole):
    params = {**INBOUND, **fields} if whole else fields
    url = f"{BASE}?{query}"
    try:
        headers = by_token(url, params)
        body = urlencode(params).encode()
    except UnicodeEncodeError:
        return
    with suppress(WebhookError):
        webhooks.parse(verify(request(url=url, headers=headers, body=body)))


@given(
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["x-twilio-signature", "content-type", SETTINGS]), st.text(max_size=60)),
    st.binary(max_size=200),
)
def test_no_request_of_a_stranger_raises_anything_but_a_webhook_error(url, headers, body):
    for keys in ({}, {"key-1": "shared"}):
        with pytest.raises(WebhookError):
            verify(
                request(
                    url=url,
                    headers={"content-type": FORM, "x-twilio-signature": "A" * 27 + "=", **headers},
                    body=body,
                ),
                keys,
            )
