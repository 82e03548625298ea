"""Sends the local line's webhooks: what a carrier does when it asks and reports."""

import asyncio
import json
import secrets
import time
from typing import Any

import aiohttp

from openclaw_voicecall.errors import VendorUnavailable
from openclaw_voicecall.providers.local.webhooks import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
"""As Twilio waits for a voice webhook."""


class Reporter:
    """Signs and POSTs what happens to one leg.

    Args:
        session: Open HTTP session.
        url: Webhook URL of the service.
        key: Key of the line.
        leg: What every report says: `callId`, `carrierCallId`, `from` and `to`.
    """

    def __init__(self, session: aiohttp.ClientSession, *, url: str, key: str, leg: dict[str, str]) -> None:
        self._session = session
        self._url = url
        self._key = key
        self._leg = leg

    async def post(
        self, event: str, *, attempts: int = 2, limit: float = 15.0, **more: str
    ) -> dict[str, Any]:
        """Report an event and return the service's answer.

        Each attempt may take `limit` seconds. A repetition carries the same nonce and signature, so the service can
        tell it from a second event.

        Raises:
            VendorUnavailable: The service cannot be reached, refuses the report, or answers something else than a
                JSON object.
        """
        moment = time.time()
        message = {"event": event, **self._leg, **more, "nonce": secrets.token_hex(16), "at": moment}
        body = json.dumps(message).encode()
        timestamp = str(int(moment))
        headers = {
            "content-type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(self._key, timestamp, body),
        }
        problem = ""
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(0.2)
            try:
                async with (
                    asyncio.timeout(limit),
                    self._session.post(
                        self._url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False
                    ) as response,
                ):
                    if response.status == 200:
                        return _document(await response.read())
                    problem = f"the service answered {response.status} to {event!r}"
                    if response.status < 500:
                        break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = f"the service cannot be reached: {error or type(error).__name__}"
        raise VendorUnavailable(problem, vendor="local", operation=f"report {event}")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise VendorUnavailable(
            "the service's answer is not a JSON object", vendor="local", operation="report"
        )
    return document
