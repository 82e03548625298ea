"""Twilio's webhooks, without I/O: checking the shape of a signed request and reading the facts in it.

A signature covers names and values strung together without marks between them, so one signed request can be cut into
other ones that verify too, such as `CallStatus=ringing` into `CallSta=tusringing`. Therefore every field that means
something here must be there and have one of its few forms, and a repetition is known by the signature alone.

The addresses we hand out say what for: `?call=<our id>&for=<purpose>&n=<nonce>`. The nonce makes requests differ that
Twilio would otherwise sign alike, such as those of a redirect loop.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from openclaw_voicecall.api.carrier import CarrierEvent, VerifiedWebhook, WebhookRequest
from openclaw_voicecall.config.callers import is_anonymous
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import InvalidSignature, MalformedWebhook, WebhookTooLarge

SIGNATURE_HEADER: Final = "x-twilio-signature"
MAX_BYTES: Final = 64 * 1024
MAX_QUERY: Final = 8 * 1024
"""Characters; what we write there ourselves has about a hundred."""
MAX_TARGET: Final = 256
"""Characters of a Refer-To header that Twilio passes on."""
MAX_FIELDS: Final = 200
"""Fields of a body; Twilio sends about forty."""

VOICE: Final = "voice"
"""Asks for TwiML: the far party answered, or calls us."""
STATUS: Final = "status"
"""Reports how the call stands."""
MACHINE: Final = "machine"
"""Reports what answering machine detection found."""
TURN: Final = "turn"
"""Asks for TwiML with what the caller said to a `<Gather>`."""
POLL: Final = "poll"
"""Has said what it was told to, and asks for more TwiML."""
OVER: Final = "over"
"""The media stream has ended or never came about; asks for TwiML."""
DIALLED: Final = "dialled"
"""A transfer is over, one way or the other; asks for TwiML."""
HANDED: Final = "handed"
"""Reports that the number of a transfer answered."""
WHISPER: Final = "whisper"
"""Whoever answered a transfer is there; asks for TwiML for them."""
TAKEN: Final = "taken"
"""They have pressed a key to take the call; asks for more TwiML for them."""
BRIDGED: Final = "bridged"
"""The connection with a SIP address is over or never came about; asks for TwiML."""
REFERRED: Final = "referred"
"""The SIP side wants the call transferred; asks for TwiML."""
_ASKING: Final = {
    TURN: "turn",
    POLL: "poll",
    OVER: "stream-over",
    DIALLED: "transfer",
    BRIDGED: "stream-over",
}
_PURPOSES: Final = frozenset({VOICE, STATUS, MACHINE, HANDED, WHISPER, TAKEN, REFERRED, *_ASKING})

_DIRECTIONS: Final = frozenset({"inbound", "outbound-api", "outbound-dial"})
_LIVE: Final = frozenset({"queued", "initiated", "ringing", "in-progress"})
_ENDED: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_VERDICTS: Final = {
    "human": "human",
    "machine_start": "machine",
    "machine_end_beep": "machine",
    "machine_end_silence": "machine",
    "machine_end_other": "machine",
    "fax": "fax",
    "unknown": "unknown",
}
_OUTCOMES: Final = frozenset({"completed", "answered", "busy", "no-answer", "failed", "canceled"})
_TARGET: Final = re.compile(
    r"(?:[^<>]*<)?(?:tel:(?P<tel>[0-9+().-]{1,40})|sips?:(?P<user>[^@:;?<>\s]{1,64})(?:[@;][^<>\s]*)?)"
    r"(?:[;?][^<>\s]*)?(?:>.*)?"
)
"""A Refer-To header, which may have a name, brackets, parameters and headers: RFC 3515, 3261 and 3966."""
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS: Final = re.compile(r"[0-9A-Da-d*#]{0,64}")
_CALL_SID: Final = re.compile(r"CA[0-9A-Za-z]{32}")
_OWN_WORD: Final = re.compile(r"[0-9A-Za-z_-]{1,128}")
_PARTY: Final = re.compile(r"\+?[0-9]{1,20}|[+ ]?[A-Za-z]{0,20}|(?:sips?|client):[\x21-\x7e]{1,255}")


class Signatures(Protocol):
    """Knows the secrets that Twilio signs with."""

    def check(self, urls: Iterable[str], params: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """Check a form sent to one of `urls`; returns the signature's name. Raises `InvalidSignature`."""
        ...


def own_url(base: str, *, purpose: str, nonce: str, call_id: str = "") -> str:
    """An address for Twilio to ask about one call. The nonce is for one use."""
    query = {"call": call_id, "for": purpose, "n": nonce}
    return f"{base}?{urlencode({name: value for name, value in query.items() if value})}"


def verify(
    request: WebhookRequest, *, base_url: str, account_sid: str, signatures: Signatures
) -> VerifiedWebhook:
    """Check that Twilio sent this request to us, for our account.

    Args:
        request: The request. Of its address only path and query count: the host is whatever its sender wrote.
        base_url: Public address of the webhook.
        account_sid: Our account.
        signatures: Holds the secrets.

    Raises:
        InvalidSignature: It is not signed by Twilio.
        WebhookTooLarge: The body is larger than Twilio's.
        MalformedWebhook: It is no form, or signed but not in the shape that Twilio documents.
    """
    if request.method != "POST" or not request.headers.get(SIGNATURE_HEADER):
        raise InvalidSignature("the request carries no signature of Twilio")
    if len(request.body) > MAX_BYTES:
        raise WebhookTooLarge(f"a webhook body has at most {MAX_BYTES} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise MalformedWebhook("the body is not a form")
    params = _form(request.body)
    replay_key = signatures.check(_public_urls(request.url, base_url), params, request.headers)
    if params.get("AccountSid") != account_sid:
        raise MalformedWebhook("AccountSid is not that of twilio.accountSid")
    _check_shape(params)
    _own_words(request.url)
    return VerifiedWebhook(request=request, params=params, replay_key=replay_key)


def parse(webhook: VerifiedWebhook) -> list[CarrierEvent]:
    """The facts in a verified request.

    A request for TwiML is `offered` or `answered`. A status report of `in-progress` is nothing: the request for TwiML
    says the same and has to be answered, and a second `answered` would use up the media token of the first.

    Raises:
        MalformedWebhook: The fields do not fit together.
    """
    params, purpose = webhook.params, _own_words(webhook.request.url).get("for", "")
    status = params.get("CallStatus", "")
    if purpose == HANDED:
        return [_event(webhook, "transfer", verdict="answered")] if status == "in-progress" else []
    if purpose == TAKEN and was_taken(webhook):
        return [_event(webhook, "transfer", verdict="answered")]
    if purpose in (WHISPER, TAKEN):
        return []
    if purpose == REFERRED and status not in _ENDED:
        return [_transfer_asked(webhook)]
    if params.get("Direction") == "outbound-dial":
        return []  # the other half of a transfer
    events = []
    if "AnsweredBy" in params and status not in _ENDED:
        events.append(_event(webhook, "machine", verdict=_VERDICTS[params["AnsweredBy"]]))
    if purpose == MACHINE:
        return events
    if status in _ENDED:
        return [_event(webhook, "ended", reason=end_reason(status, params["Direction"]), detail=_why(params))]
    if purpose == STATUS or "SequenceNumber" in params or "CallbackSource" in params:
        return [_event(webhook, "ringing")] if status == "ringing" else []
    if purpose in _ASKING:
        events.append(_asking(webhook, purpose))
        return events
    _require(params.get("Direction") in _DIRECTIONS, "Direction")
    # Last, because the answer to the last fact is the answer to the request.
    events.append(_event(webhook, "offered" if params["Direction"] == "inbound" else "answered"))
    return events


def call_id_of(webhook: VerifiedWebhook) -> str:
    """Our own id in the address that Twilio asked; empty where it asks for the first time."""
    return _own_words(webhook.request.url).get("call", "")


def purpose_of(webhook: VerifiedWebhook) -> str:
    """What the address is for that Twilio asked; `VOICE` where it asks for the first time."""
    return _own_words(webhook.request.url).get("for", VOICE)


def nonce_of(webhook: VerifiedWebhook) -> str:
    """The nonce of the address that Twilio asked; empty where it asks for the first time."""
    return _own_words(webhook.request.url).get("n", "")


def leg_of(webhook: VerifiedWebhook) -> str:
    """The far party's leg, also where Twilio speaks of the other half of a transfer or bridge."""
    params = webhook.params
    parent = params.get("ParentCallSid", "")
    if params.get("Direction") == "outbound-dial" and _CALL_SID.fullmatch(parent):
        return parent
    return params["CallSid"]


def was_taken(webhook: VerifiedWebhook) -> bool:
    """Whether whoever answered a transfer has pressed a key to take it. Raises `MalformedWebhook`."""
    digits = webhook.params.get("Digits", "")
    _require(_DIGITS.fullmatch(digits), "Digits")
    return bool(digits) and webhook.params.get("CallStatus") not in _ENDED


def referred_number(target: str) -> str:
    """The E.164 number that a Refer-To header leads to; empty where it leads elsewhere."""
    found = _TARGET.fullmatch(target.strip())
    if found is None:
        return ""
    number = re.sub(r"[().-]", "", found["tel"] or found["user"])
    return number if _E164.fullmatch(number) else ""


def _transfer_asked(webhook: VerifiedWebhook) -> CarrierEvent:
    target = webhook.params.get("ReferTransferTarget", "")
    _require(target and len(target) <= MAX_TARGET, "ReferTransferTarget")
    number = referred_number(target)
    # The target is a stranger's text and stays out of logs.
    detail = "" if number else "the SIP side asks for a transfer to something that is no phone number"
    return replace(_event(webhook, "transfer-asked", detail=detail), to_number=number)


def _asking(webhook: VerifiedWebhook, purpose: str) -> CarrierEvent:
    params = webhook.params
    if purpose in (DIALLED, BRIDGED):
        outcome = params.get("DialCallStatus", "failed")
        outcome = outcome if outcome in _OUTCOMES else "failed"
        if purpose == BRIDGED:
            return _event(webhook, "stream-over", verdict=outcome, detail=_why_unbridged(params, outcome))
        if outcome in ("completed", "answered") and params.get("DialBridged") == "false":
            outcome = (
                "declined"  # somebody answered, and hung up or was hung up before the two were connected
            )
        return _event(webhook, "transfer", verdict=outcome, detail=_why_unbridged(params, outcome))
    if purpose != TURN:
        return _event(webhook, _ASKING[purpose])
    digits = params.get("Digits", "")
    _require(_DIGITS.fullmatch(digits), "Digits")
    # Speech is a stranger's text; whoever reads it out or sends it on decides how much of it is too much.
    return replace(_event(webhook, "turn"), text=params.get("SpeechResult", "").strip(), digits=digits)


def end_reason(status: str, direction: str) -> EndReason:
    """Why a call is over, by a final `CallStatus`. Who ended a completed call Twilio does not say."""
    match status:
        case "busy":
            return EndReason.BUSY
        case "no-answer":
            return EndReason.NO_ANSWER
        case "canceled":
            return EndReason.CALLER_HUNG_UP if direction == "inbound" else EndReason.AGENT_HUNG_UP
        case "completed":
            return EndReason.CALLER_HUNG_UP
        case _:
            return EndReason.FAILED


def _event(
    webhook: VerifiedWebhook,
    kind: str,
    *,
    reason: EndReason | None = None,
    verdict: str = "",
    detail: str = "",
) -> CarrierEvent:
    params = webhook.params
    return CarrierEvent(
        kind=kind,
        carrier_call_id=leg_of(webhook),
        call_id=call_id_of(webhook),
        from_number=_caller_id(params.get("From", "")),
        to_number=params.get("To", ""),
        reason=reason,
        verdict=verdict,
        detail=detail,
    )


def _caller_id(party: str) -> str:
    """The caller's number; empty for callers that hide it."""
    named = ":" in party or party.lstrip("+").isdecimal()
    return party if named and not is_anonymous(party) else ""


def _why(params: Mapping[str, str]) -> str:
    return _told(params, params["CallStatus"], "SipResponseCode", "ErrorCode")


def _why_unbridged(params: Mapping[str, str], outcome: str) -> str:
    return _told(params, outcome, "DialSipResponseCode", "ErrorCode")


def _told(params: Mapping[str, str], status: str, *codes: str) -> str:
    said = [f"{name} {params[name]}" for name in codes if _is_number(params.get(name, ""))]
    return ", ".join([f"Twilio says {status}", *said])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise MalformedWebhook("the body is not a form") from None
    params = dict(pairs)
    if len(params) != len(pairs):
        raise MalformedWebhook("the body has a field twice")
    return params


def _public_urls(url: str, base_url: str) -> list[str]:
    """The addresses this request may have been sent to: our public host, and its own path and query.

    The two further ones are for a proxy that takes a part of the path away.
    """
    try:
        asked, base = urlsplit(url), urlsplit(base_url)
    except ValueError:
        raise InvalidSignature("the request's address cannot be read") from None
    paths = dict.fromkeys((asked.path, base.path, base.path.rpartition("/")[0]))
    query = f"?{asked.query}" if asked.query else ""
    return [f"{base.scheme}://{base.netloc}{path}{query}" for path in paths]


def _check_shape(params: Mapping[str, str]) -> None:
    _require(_CALL_SID.fullmatch(params.get("CallSid", "")), "CallSid")
    if "AnsweredBy" in params:
        _require(params["AnsweredBy"] in _VERDICTS, "AnsweredBy")
        if "CallStatus" not in params and "Direction" not in params:
            return  # the report of the machine detection alone
    _require(params.get("CallStatus") in _LIVE | _ENDED, "CallStatus")
    _require(params.get("Direction") in _DIRECTIONS, "Direction")
    for name in ("From", "To"):
        _require(name in params and _PARTY.fullmatch(params[name]), name)


def _require(right: object, name: str) -> None:
    if not right:
        raise MalformedWebhook(f"{name} is missing or not in the form that Twilio documents")


def _own_words(url: str) -> dict[str, str]:
    """What our own address says; other parts of the query, which the owner may have added, are left out."""
    query = urlsplit(url).query
    if len(query) > MAX_QUERY:
        raise MalformedWebhook("the query of the address is too long")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise MalformedWebhook("the query of the address cannot be read") from None
    words: dict[str, str] = {}
    for name, value in pairs:
        if name in ("call", "for", "n"):
            if name in words or not _OWN_WORD.fullmatch(value):
                raise MalformedWebhook("the address is not one that we have given out")
            words[name] = value
    if words.get("for", VOICE) not in _PURPOSES:
        raise MalformedWebhook("the address is not one that we have given out")
    return words
