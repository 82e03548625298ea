"""What carriers and the local phone send: media streams, webhooks, answers in TwiML, phone scripts, jobs."""

import base64
import json
import string
from pathlib import Path
from random import Random
from unittest.mock import Mock
from urllib.parse import urlencode
from xml.etree import ElementTree

import yaml
from fuzz_common import said, storable
from twilio.request_validator import RequestValidator

from openclaw_voicecall.api.carrier import (
    AudioReceived,
    DtmfPressed,
    LegOrder,
    MarkEchoed,
    StreamStarted,
    WebhookRequest,
)
from openclaw_voicecall.core.dtmf import DTMF_DIGITS, DigitCollector
from openclaw_voicecall.core.policy import DtmfPolicy
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import (
    InvalidSignature,
    LocalProtocolError,
    RemoteProtocolError,
    ScriptError,
    WebhookError,
)
from openclaw_voicecall.providers._mediastreams import MAX_CHARS, MediaStreamsCodec
from openclaw_voicecall.providers.local import webhooks as local_webhooks
from openclaw_voicecall.providers.local.phone.far_end import FarEnd
from openclaw_voicecall.providers.local.phone.report import PhoneReport
from openclaw_voicecall.providers.local.phone.script_reader import BUILT_IN, MAX_BYTES, read_script
from openclaw_voicecall.providers.twilio import twiml
from openclaw_voicecall.providers.twilio import webhooks as twilio_webhooks
from openclaw_voicecall.providers.twilio.carrier import TwilioCarrier
from openclaw_voicecall.providers.twilio.rest import TwilioApi
from openclaw_voicecall.providers.twilio.signatures import SignatureCheck
from openclaw_voicecall.testing.fuzzing import Target
from openclaw_voicecall.testing.fuzzing_kinds import JsonText, Series, Text, Tree

SID = "MZ" + "0123456789abcdef" * 2
LEG = "CA" + "0123456789abcdef" * 2
ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "https://phone.example/voice/webhook"
CHECK = SignatureCheck(TOKEN, {})
SIGNER = RequestValidator(TOKEN)
LAX = ("utf-8", "surrogatepass")


def compact(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))


def stream_messages(random: Random) -> list[str]:
    """A stream in good order, as Twilio sends it."""
    parameters = {"callId": "c1"} if random.random() < 0.5 else {}
    start = {
        "accountSid": ACCOUNT,
        "streamSid": SID,
        "callSid": LEG,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters,
    }
    bodies = [
        {
            "media": {
                "track": "inbound",
                "chunk": str(number),
                "timestamp": str(number * 20),
                "payload": base64.b64encode(random.randbytes(random.choice((1, 160, 320)))).decode(),
            }
        }
        for number in range(random.randrange(4))
    ]
    bodies += [{"dtmf": {"track": "inbound_track", "digit": random.choice(sorted(DTMF_DIGITS))}}]
    bodies += [{"mark": {"name": f"turn-{random.randrange(9)}"}}]
    random.shuffle(bodies)
    bodies = [{"start": start}, *bodies, {"stop": {"accountSid": ACCOUNT, "callSid": LEG}}]
    messages = [
        {"event": event, "sequenceNumber": str(number), "streamSid": SID, event: content}
        for number, body in enumerate(bodies, 1)
        for event, content in body.items()
    ]
    return [compact(message) for message in ({"event": "connected", "protocol": "Call"}, *messages)]


def read_stream(messages: list[str]) -> None:
    """What is refused changes nothing: without it all the rest is read the same."""
    codec, again = MediaStreamsCodec(), MediaStreamsCodec()
    kept, facts, refused = [], [], None
    for message in messages:
        try:
            facts += codec.receive(message)
            kept.append(message)
        except RemoteProtocolError as error:
            refused = error
            said(error, 80)
    assert [fact for message in kept for fact in again.receive(message)] == facts
    for fact in facts:
        match fact:
            case AudioReceived(audio, at):
                assert 0 < len(audio) <= MAX_CHARS
                assert 0 <= at < 1e12
            case DtmfPressed(digit):
                assert digit in DTMF_DIGITS
            case MarkEchoed(name):
                storable(name)
            case StreamStarted(leg, parameters):
                storable(leg, *parameters, *parameters.values())
    if codec.stream_sid:
        for sent in (codec.clear(), codec.mark("m"), codec.audio(b"\xff")):
            assert json.loads(sent)["streamSid"] == codec.stream_sid
    if refused is not None:
        raise refused


def press_keys(keys: str) -> None:
    collector = DigitCollector(DtmfPolicy())
    given = "".join(filter(None, (collector.press(key) for key in keys if key in DTMF_DIGITS)))
    assert len(given) + len(collector.take()) <= len(keys)


def twilio_request(random: Random) -> dict:
    params = {
        "AccountSid": ACCOUNT,
        "CallSid": LEG,
        "From": random.choice(
            ("+15550001234", "+266696687", "anonymous", "sip:ann@example.com", "client:ann")
        ),
        "To": "+15550100000",
        "CallStatus": random.choice(("ringing", "in-progress", "completed", "busy", "no-answer", "queued")),
        "Direction": random.choice(("inbound", "outbound-api")),
        "ApiVersion": "2010-04-01",
    }
    extra = {
        "SpeechResult": "What time is it?",
        "Digits": "12#",
        "SequenceNumber": "3",
        "AnsweredBy": "machine_start",
        "DialCallStatus": "no-answer",
        "SipResponseCode": "486",
        "Caller": "Ann & Bo",
    }
    params |= {name: value for name, value in extra.items() if random.random() < 0.3}
    query = {}
    if random.random() < 0.7:
        purposes = ("voice", "status", "machine", "turn", "poll", "over", "dialled", "handed")
        query = {"call": "c1", "for": random.choice(purposes), "n": str(random.randrange(99))}
    return {"query": query, "params": params, "headers": {}, "tail": ""}


RUNTIME = Mock(webhook_url=lambda carrier: BASE)
RUNTIME.ids.token = lambda: "nonce"
TWILIO = TwilioCarrier(TwilioApi(None), ACCOUNT, CHECK, RUNTIME)


def plain(value: object) -> dict[str, str]:
    """What became of a dictionary of texts, as such a one again."""
    return {str(name): str(item) for name, item in value.items()} if isinstance(value, dict) else {}


def take_twilio(described: dict) -> None:
    """A request that is rightly signed, whatever is in it, through the whole pure half of the carrier."""
    described = described if isinstance(described, dict) else {}
    params, query = plain(described.get("params")), plain(described.get("query"))
    tail = str(described.get("tail", ""))
    url = BASE + (f"?{lax(query)}" if query else "") + tail
    body = lax(params).encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        twilio_webhooks.SIGNATURE_HEADER: signature(url, params),
    } | {name.lower(): value for name, value in plain(described.get("headers")).items()}
    request = WebhookRequest(method="POST", url=url, headers=headers, body=body)
    webhook = TWILIO.verify(request, 0.0)
    assert webhook.params["AccountSid"] == ACCOUNT
    for event in TWILIO.parse(webhook):
        storable(
            event.kind, event.carrier_call_id, event.call_id, event.from_number, event.to_number, event.text
        )
        assert len(event.carrier_call_id) == 34
        assert event.reason is None or isinstance(event.reason, EndReason)
        order = LegOrder(action="turn", text=event.text, digits=event.digits, call_id=event.call_id)
        answer = ElementTree.fromstring(TWILIO.reply(webhook, order).body)
        assert answer.tag == "Response"


def lax(fields: dict[str, str]) -> str:
    """A form as a careless sender writes it, half characters too."""
    return urlencode([(name.encode(*LAX), value.encode(*LAX)) for name, value in fields.items()])


def signature(url: str, params: dict[str, str]) -> str:
    try:
        return str(SIGNER.compute_signature(url, params))
    except UnicodeEncodeError:
        return "A" * 27 + "="


def forge_twilio(described: dict) -> None:
    """With any signature that was not made with our key nothing gets in, and nothing but a refusal comes out."""
    described = described if isinstance(described, dict) else {}
    request = WebhookRequest(
        method="POST",
        url=f"{BASE}?{described.get('query', '')}",
        headers=plain(described.get("headers")),
        body=str(described.get("body", "")).encode("utf-8", "surrogatepass"),
    )
    try:
        TWILIO.verify(request, 0.0)
    except WebhookError:
        return
    raise AssertionError("a forged request was taken")


def forgery(random: Random) -> dict:
    settings = {"x-twilio-webhooks-signature-settings": "key=SK1,algorithm=HMAC_SHA256"}
    return {
        "query": "call=c1&for=status",
        "body": urlencode({"AccountSid": ACCOUNT, "CallSid": LEG}),
        "headers": {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": base64.b64encode(random.randbytes(20)).decode(),
        }
        | (settings if random.random() < 0.3 else {}),
    }


def check_signature(described: dict) -> None:
    described = described if isinstance(described, dict) else {}
    keyed = SignatureCheck("", {"SK1": "secret"})
    for check in (CHECK, keyed):
        try:
            check.check(
                [str(described.get("url", ""))],
                plain(described.get("params")),
                plain(described.get("headers")),
            )
        except InvalidSignature:
            continue
        raise AssertionError("a signature by nobody was taken")


def printable(text: str) -> str:
    """What our own callers give where it is no words: addresses, languages, keys."""
    return "".join(char for char in text if char.isprintable())


def say_in_twiml(texts: dict) -> None:
    """Whatever is to be said, pressed or asked, the answer is XML and says no other verb than meant."""
    texts = plain(texts)
    text, url, language, digits, hints = (
        texts.get(name, "") for name in ("text", "url", "language", "digits", "hints")
    )
    url, language, digits, hints = map(printable, (url, language, digits, hints))
    for document, verbs in (
        (twiml.hang_up(text), {"Say", "Hangup"}),
        (twiml.stream(url, text, url), {"Connect", "Stream", "Say", "Redirect"}),
        (twiml.say(text, then_url=url, language=language, digits=digits), {"Play", "Say", "Redirect"}),
        (
            twiml.say_and_gather(text, action_url=url, retry_url=url, language=language, hints=hints),
            {"Gather", "Say", "Redirect"},
        ),
    ):
        root = ElementTree.fromstring(document.encode())
        assert {node.tag for node in root.iter()} <= verbs | {"Response"}
    spoken = ElementTree.fromstring(twiml.hang_up(text).encode()).findtext("Say", "")
    assert spoken == "".join(char for char in text if char in spoken).strip() or "\r" in text


def local_message(random: Random) -> str:
    event = random.choice(("offered", "ringing", "answered", "ended"))
    return json.dumps(
        {
            "event": event,
            "callId": "",
            "carrierCallId": "LC" + "0" * 32,
            "from": "+15550001234",
            "to": "+15550100000",
            "reason": "caller-hung-up" if event == "ended" else "",
            "detail": "the far end",
            "nonce": str(random.random()),
            "at": 1.5,
        }
    )


def take_local(body: str) -> None:
    data = body.encode("utf-8", "surrogatepass")
    headers = {"x-local-timestamp": "100", "x-local-signature": local_webhooks.sign("key", "100", data)}
    request = WebhookRequest(method="POST", url="http://127.0.0.1/", headers=headers, body=data)
    webhook = local_webhooks.verify(request, "key", 100.0)
    (event,) = local_webhooks.parse(webhook)
    storable(
        event.kind, event.carrier_call_id, event.call_id, event.from_number, event.to_number, event.detail
    )
    for action in ("stream", "reject", "hang-up", "wait", "none"):
        order = LegOrder(action=action, stream_url="ws://127.0.0.1/", fallback_text=event.detail)
        assert isinstance(json.loads(local_webhooks.reply(webhook, order).body), dict)


def forge_local(headers: dict) -> None:
    request = WebhookRequest(method="POST", url="http://127.0.0.1/", headers=plain(headers), body=b"{}")
    try:
        local_webhooks.verify(request, "key", 100.0)
    except WebhookError:
        return
    raise AssertionError("a forged request was taken")


def service_messages(random: Random) -> list[str]:
    """What the service sends to the phone."""
    codec = MediaStreamsCodec()
    for message in stream_messages(random)[:2]:
        codec.receive(message)
    sent = [
        codec.audio(random.randbytes(160)),
        codec.mark("turn-1"),
        codec.clear(),
        codec.audio(b"\xff" * 800),
    ]
    return random.sample(sent, random.randrange(1, 4))


def play_on_phone(messages: list[str]) -> None:
    end = FarEnd(stream_sid=SID, call_sid=LEG, report=PhoneReport(LEG, "inbound", "friendly", "", ""))
    end.start({})
    refused = None
    for at, message in enumerate(messages):
        try:
            for answer in end.receive(message, at / 50):
                json.loads(answer)
        except RemoteProtocolError as error:
            refused = error
            said(error, 300)
        assert all(len(answer) < 10_000 for answer in end.tick())
    end.finish()
    if refused is not None:
        raise refused


SCRIPTS = [path.read_text() for path in sorted(BUILT_IN.glob("*.yaml"))]
SMALL_SCRIPT = yaml.safe_dump(
    {
        "name": "short",
        "answer": "yes",
        "steps": [
            {"say": "Hello."},
            {"silence": 1},
            {"press": "12#"},
            {"tone": {"hz": 440, "ms": 200}},
            "hang_up",
        ],
    }
)


def script(text: str) -> None:
    refusal = None
    try:
        read_script(text, Path("talk.yaml"))
    except ScriptError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).startswith("talk.yaml:")
        raise refusal


def letters(random: Random, most: int = 12) -> str:
    return "".join(random.choices(string.ascii_letters + string.digits, k=random.randrange(1, most)))


WIRE = "openclaw_voicecall.providers"
TARGETS = (
    Target(
        name="media stream",
        kind=Series(JsonText(MAX_CHARS + 10)),
        make=stream_messages,
        feed=read_stream,
        refusals=(RemoteProtocolError, LocalProtocolError),
        parsers=(f"{WIRE}._mediastreams", "openclaw_voicecall.core.dtmf"),
    ),
    Target(
        name="keys",
        kind=Text(10_000),
        make=lambda random: "".join(random.choices("0123456789*#", k=8)),
        feed=press_keys,
    ),
    Target(
        name="twilio webhook",
        kind=Tree(),
        make=twilio_request,
        feed=take_twilio,
        refusals=(WebhookError,),
        parsers=(f"{WIRE}.twilio.webhooks", f"{WIRE}.twilio.carrier"),
    ),
    Target(
        name="twilio forgery",
        kind=Tree(),
        make=forgery,
        feed=forge_twilio,
        parsers=(f"{WIRE}.twilio.webhooks",),
    ),
    Target(
        name="twilio signature",
        kind=Tree(),
        make=lambda random: {
            "url": BASE,
            "params": {"A": letters(random)},
            "headers": forgery(random)["headers"],
        },
        feed=check_signature,
        parsers=(f"{WIRE}.twilio.signatures",),
    ),
    Target(
        name="twiml",
        kind=Tree(),
        make=lambda random: {
            "text": "Hello <you> & all.",
            "url": BASE + "?a=1&b=2",
            "language": "de",
            "digits": "1w2",
            "hints": "yes, no",
        },
        feed=say_in_twiml,
        parsers=(f"{WIRE}.twilio.twiml",),
    ),
    Target(
        name="local webhook",
        kind=JsonText(half=True),
        make=local_message,
        feed=take_local,
        refusals=(WebhookError,),
        known=(r'{"event":"ringing","carrierCallId":"0","detail":"\udc00","nonce":"5"}',),
        parsers=(f"{WIRE}.local.webhooks",),
    ),
    Target(
        name="local forgery",
        kind=Tree(),
        make=lambda random: {"x-local-timestamp": "100", "x-local-signature": random.randbytes(32).hex()},
        feed=forge_local,
        known=(
            {"x-local-timestamp": "1", "x-local-signature": "\ud800"},
            {"x-local-timestamp": "\ud800", "x-local-signature": "9"},
        ),
        parsers=(f"{WIRE}.local.webhooks",),
    ),
    Target(
        name="local phone",
        kind=Series(JsonText()),
        make=service_messages,
        feed=play_on_phone,
        refusals=(RemoteProtocolError,),
        parsers=(f"{WIRE}.local.phone.messages", f"{WIRE}.local.phone.far_end", f"{WIRE}.local.phone.audio"),
    ),
    Target(
        name="phone script",
        kind=Text(MAX_BYTES // 8),
        make=lambda random: random.choice(SCRIPTS) if random.random() < 0.1 else SMALL_SCRIPT,
        feed=script,
        refusals=(ScriptError,),
        seconds=0.5,  # PyYAML reads 300 kB a second
        parsers=(f"{WIRE}.local.phone.script_reader",),
    ),
)
