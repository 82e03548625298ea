"""Signed webhooks of OpenAI: how a project is told of a call.

The scheme is Standard Webhooks, as the OpenAI SDK checks it in `lib/_webhooks`; the events are its
`types/webhooks/realtime_call_incoming_webhook_event` and `live_transport_incoming_webhook_event`.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

USER_AGENT: Final = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
RETRIES: Final = 2
RETRY_DELAY: Final = 0.3
"""Seconds; the vendor waits longer."""
REALTIME: Final = "realtime.call.incoming"
LIVE: Final = "live.transport.incoming"


@dataclass(slots=True)
class Delivery:
    """One webhook, with what came of it."""

    event: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    status: int = 0
    """HTTP status of the last answer, 0 for none."""
    tries: int = 0


def incoming(call_id: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The `data` of `realtime.call.incoming`."""
    return {"call_id": call_id, "sip_media_security": "srtp", "sip_headers": _sip_headers(headers)}


def live_incoming(session_id: str, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The `data` of `live.transport.incoming`."""
    return {"session_id": session_id, "type": "sip", "sip_headers": _sip_headers(headers)}


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header for a secret that begins with `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """Sends webhooks and remembers them."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def make(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        secret: str,
        webhook_id: str = "",
        age: float = 0.0,
        signed: str = "",
    ) -> Delivery:
        """A webhook, not sent yet.

        Args:
            kind: Type of the event.
            data: What it tells.
            secret: With which it is signed.
            webhook_id: Its id; a fresh one where there is none.
            age: How many seconds ago it was signed.
            signed: In place of the right signature.
        """
        now, number = int(time.time() - age), len(self.deliveries) + 1
        event = {"object": "event", "id": f"evt_{number:016d}", "type": kind, "created_at": now, "data": data}
        body = json.dumps(event).encode()
        webhook_id = webhook_id or f"wh_{number:016d}"
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": webhook_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signed or signature(secret, webhook_id, now, body),
        }
        delivery = Delivery(event, body, headers)
        self.deliveries.append(delivery)
        return delivery

    async def send(self, url: str, delivery: Delivery, *, retries: int = RETRIES) -> int:
        """Send a webhook, again where it is not taken; returns the last status, 0 for no answer."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            for attempt in range(retries + 1):
                if attempt:
                    await asyncio.sleep(RETRY_DELAY)
                delivery.tries += 1
                try:
                    async with http.post(url, data=delivery.body, headers=delivery.headers) as answer:
                        delivery.status = answer.status
                except (aiohttp.ClientError, TimeoutError):
                    delivery.status = 0
                if 200 <= delivery.status < 300:
                    break
        return delivery.status


def _sip_headers(headers: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Headers of the INVITE without those that authorise it; order and repetitions stay."""
    kept = [(name, value) for name, value in headers if "authorization" not in name.lower()]
    return [{"name": name, "value": value} for name, value in kept]
