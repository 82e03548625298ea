"""OpenAI's webhooks about SIP calls, without I/O: reading the facts in a request that is known to be OpenAI's.

One call may be told of twice, for the Realtime API (`realtime.call.incoming`) and for the Live API (`live.*`); who
takes it first decides which of them it is. We take it with the first, so the second is none of our business.

The headers of the SIP invitation are the caller's words: nobody is let in on their strength alone. Shapes: OpenAI SDK,
`types/webhooks/realtime_call_incoming_webhook_event.py`.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.carrier import VerifiedWebhook, WebhookRequest
from openclaw_voicecall.config.callers import is_anonymous, is_number
from openclaw_voicecall.errors import InvalidSignature, MalformedWebhook, WebhookTooLarge
from openclaw_voicecall.providers._messages import json_value

SIGNATURE_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
CALL_HEADER: Final = "X-Call-Token"
"""Header of the invitation with the secret that names one of our calls."""
INCOMING: Final = "realtime.call.incoming"
PROBE: Final = "openclaw.probe"
_PREFIX: Final = "whsec_"
MAX_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 200

_CALL: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PARTY: Final = re.compile(r"(?:sips?|tel):(?P<user>[^@;>?\s]{1,64})", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9]{3,15}")


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A call that waits to be taken."""

    call: str
    """OpenAI's id of it, `rtc_...`."""
    headers: tuple[tuple[str, str], ...]
    """Of the SIP invitation, in their order, repeats included."""

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in their order."""
        return tuple(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def from_number(self) -> str:
        """The caller's number as they give it; empty for callers who hide it."""
        return _number(self.all("From"))

    @property
    def to_number(self) -> str:
        """The number that was called; empty where the invitation names none."""
        return _number(self.all("To"))


def require_shape(request: WebhookRequest) -> None:
    """Look at what can be told without the secret. Raises `InvalidSignature` or `WebhookTooLarge`."""
    if request.method != "POST" or not all(request.headers.get(name) for name in SIGNATURE_HEADERS):
        raise InvalidSignature("the request carries no signature of OpenAI")
    if len(request.body) > MAX_BYTES:
        raise WebhookTooLarge(f"a webhook body has at most {MAX_BYTES} bytes")


def verified(request: WebhookRequest) -> VerifiedWebhook:
    """A request whose signature was checked. Raises `MalformedWebhook`."""
    event = _event(request.body)
    kind = event.get("type")
    if not isinstance(kind, str):
        raise MalformedWebhook("the body is no event of OpenAI")
    # The signature covers the id, so nobody can send the same event under another one.
    return VerifiedWebhook(
        request=request, params={"type": kind}, replay_key=f"openai:{request.headers['webhook-id']}"
    )


def incoming_call(webhook: VerifiedWebhook) -> IncomingCall | None:
    """The call that a verified request tells of; None for any other event. Raises `MalformedWebhook`."""
    if webhook.params["type"] != INCOMING:
        return None
    data = _event(webhook.request.body).get("data")
    call = data.get("call_id") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(call, str) or not _CALL.fullmatch(call):
        raise MalformedWebhook("data.call_id is missing or not in the form that OpenAI documents")
    headers = data.get("sip_headers", [])
    if not isinstance(headers, list) or len(headers) > MAX_HEADERS:
        raise MalformedWebhook("data.sip_headers is not in the form that OpenAI documents")
    return IncomingCall(call, tuple(_header(header) for header in headers))


def signing_key(secret: str) -> bytes:
    """What a secret signs with: the part behind `whsec_`, decoded, or else all of it; empty where there is none."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX))
    except binascii.Error:
        return b""


def probe(url: str, secret: str, *, nonce: str, now: float) -> WebhookRequest:
    """An event that nobody has subscribed to, signed as OpenAI would (OpenAI SDK, `lib/_webhooks.py`).

    Args:
        url: Address of the webhook.
        secret: Its secret.
        nonce: Makes its id.
        now: Unix seconds.
    """
    name = f"wh_{nonce}"
    event = {"object": "event", "id": f"evt_{nonce}", "type": PROBE, "created_at": int(now), "data": {}}
    body = json.dumps(event).encode()
    signed = b".".join((name.encode(), str(int(now)).encode(), body))
    signature = base64.b64encode(hmac.digest(signing_key(secret), signed, "sha256")).decode("ascii")
    return WebhookRequest(
        method="POST",
        url=url,
        headers={
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": f"v1,{signature}",
        },
        body=body,
    )


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = json_value(body.decode("utf-8"))
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise MalformedWebhook("the body is no JSON object")
    return event


def _header(header: Any) -> tuple[str, str]:
    name = header.get("name") if isinstance(header, dict) else None
    value = header.get("value") if isinstance(header, dict) else None
    if not isinstance(name, str) or not isinstance(value, str):
        raise MalformedWebhook("data.sip_headers is not in the form that OpenAI documents")
    return name, value


def _number(values: Sequence[str]) -> str:
    """The number in the first of these parties, such as `"A" <sip:+15550001234@trunk>`."""
    found = _PARTY.search(values[0]) if values else None
    user = found["user"] if found else ""
    if is_number(user):
        return user
    return user if _DIGITS.fullmatch(user) and not is_anonymous(user) else ""
