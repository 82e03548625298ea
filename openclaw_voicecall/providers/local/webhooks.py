"""The local line's webhooks, without I/O: signing, checking, reading and answering them.

A phone POSTs a JSON object `{event, callId, carrierCallId, from, to, reason, detail, nonce, at}`. The header
`x-local-timestamp` has Unix seconds, and `x-local-signature` has the HMAC-SHA256, in hex, over that timestamp, a dot
and the body, under the line's key. The answer is a JSON document that says what to do, as TwiML does at Twilio.
"""

import hashlib
import hmac
import json
from typing import Any

from openclaw_voicecall.api.carrier import (
    CarrierEvent,
    LegOrder,
    VerifiedWebhook,
    WebhookReply,
    WebhookRequest,
)
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import InvalidSignature, MalformedWebhook

SIGNATURE_HEADER = "x-local-signature"
TIMESTAMP_HEADER = "x-local-timestamp"
WINDOW = 300.0
"""Seconds a request's timestamp may be off."""
MAX_BYTES = 64 * 1024

_EVENTS = ("offered", "ringing", "answered", "ended")
_TEXTS = ("event", "callId", "carrierCallId", "from", "to", "reason", "detail", "nonce")


def sign(key: str, timestamp: str, body: bytes) -> str:
    """The signature of a request."""
    return hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(request: WebhookRequest, key: str, now: float) -> VerifiedWebhook:
    """Check that a phone of this line sent the request, and lately.

    Raises:
        InvalidSignature: The signature or the timestamp is missing, wrong, or too old.
        MalformedWebhook: It is signed, but no JSON object of texts.
    """
    signature = request.headers.get(SIGNATURE_HEADER, "")
    timestamp = request.headers.get(TIMESTAMP_HEADER, "")
    if request.method != "POST" or not signature or not timestamp:
        raise InvalidSignature("the request carries no signature of the local line")
    # Headers that are no UTF-8 arrive as half characters, which cannot be encoded again.
    readable = signature.isascii() and timestamp.isascii()
    if not readable or not hmac.compare_digest(signature, sign(key, timestamp, request.body)):
        raise InvalidSignature("the signature does not match the key of the running line")
    if not (timestamp.isdecimal() and abs(now - float(timestamp)) <= WINDOW):
        raise InvalidSignature(f"the request's timestamp is more than {WINDOW:g} s off")
    params = _read(request.body)
    return VerifiedWebhook(request=request, params=params, replay_key=f"{params['nonce']}.{signature}")


def parse(webhook: VerifiedWebhook) -> list[CarrierEvent]:
    """The one fact in a verified request.

    Raises:
        MalformedWebhook: The event or the end reason is unknown.
    """
    params = webhook.params
    if params["event"] not in _EVENTS:
        raise MalformedWebhook(f"unknown event {params['event'][:40]!r}")
    try:
        reason = EndReason(params["reason"]) if params["event"] == "ended" else None
    except ValueError:
        raise MalformedWebhook(f"unknown end reason {params['reason'][:40]!r}") from None
    return [
        CarrierEvent(
            kind=params["event"],
            carrier_call_id=params["carrierCallId"],
            call_id=params["callId"],
            from_number=params["from"],
            to_number=params["to"],
            reason=reason,
            detail=params["detail"],
        )
    ]


def reply(webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
    """The document that carries out an order; empty for `none`."""
    document: dict[str, Any] = {}
    match order.action:
        case "stream":
            call_id = webhook.params["callId"]
            parameters = {"callId": call_id} if call_id else {}
            document = {"action": "stream", "streamUrl": order.stream_url, "parameters": parameters}
            if order.fallback_text:
                document["fallbackText"] = order.fallback_text
        case "reject":
            document = {"action": "reject", "reason": str(order.reason or EndReason.REJECTED)}
        case "hang-up" | "wait":
            document = {"action": order.action}
    return WebhookReply(content_type="application/json", body=json.dumps(document).encode())


def _read(body: bytes) -> dict[str, str]:
    if len(body) > MAX_BYTES:
        raise MalformedWebhook("the body is too large")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedWebhook("the body is not JSON") from None
    if not isinstance(message, dict):
        raise MalformedWebhook("the body is not a JSON object")
    params = {name: message.get(name, "") for name in _TEXTS}
    for name, value in params.items():
        if not isinstance(value, str) or not _is_unicode(value):
            raise MalformedWebhook(f"{name} is not text")
    for name in ("event", "carrierCallId", "nonce"):
        if not params[name]:
            raise MalformedWebhook(f"{name} is missing")
    return params


def _is_unicode(text: str) -> bool:
    """Whether nothing in a text is half a character, which JSON can say and nobody can keep."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
