"""A far end of the local line that is written by hand, byte for byte, so that it can do wrong what no phone does."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from openclaw_voicecall.server.client import ControlClient
from openclaw_voicecall.testing.service import RunningService

SILENCE = base64.b64encode(b"\xff" * 160).decode()


class RawLine:
    """Speaks with a running service as its local carrier does.

    Args:
        service: The service.
        http: Open HTTP session.
        client: Its control API, for what the owner sees.
    """

    def __init__(self, service: RunningService, http: aiohttp.ClientSession, client: ControlClient) -> None:
        line = json.loads((service.state_dir / "local" / "line.json").read_text())
        self.url: str = line["url"]
        self.http = http
        self.client = client
        self._key: str = line["key"]

    @classmethod
    @asynccontextmanager
    async def to(cls, service: RunningService) -> AsyncIterator[Self]:
        async with (
            aiohttp.ClientSession() as http,
            ControlClient(service.state_dir / "control.sock") as client,
        ):
            yield cls(service, http, client)

    def signed(self, body: bytes, *, age: float = 0.0) -> dict[str, str]:
        """The headers that a carrier would send with a body, so many seconds ago."""
        stamp = str(int(time.time() - age))
        signature = hmac.new(self._key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"x-local-timestamp": stamp, "x-local-signature": signature}

    async def post(
        self, body: Any, headers: dict[str, str] | None = None, *, url: str = ""
    ) -> tuple[int, bytes]:
        """POST a webhook; signed unless `headers` are given."""
        if headers is None:
            headers = self.signed(body)
        async with self.http.post(url or self.url, data=body, headers=headers) as response:
            return response.status, await response.read()

    async def report(self, event: str, leg: str, **more: str) -> dict[str, Any]:
        """Report an event of a leg in good order, and return the order that comes back."""
        status, answer = await self.post(message(event, leg, **more))
        assert status == 200, answer
        return json.loads(answer)

    async def offer(self, leg: str, **more: str) -> str:
        """Call the service; returns the URL of the media stream it orders."""
        order = await self.report("offered", leg, **more)
        assert order["action"] == "stream", order
        return str(order["streamUrl"])

    async def open(self, url: str) -> aiohttp.ClientWebSocketResponse:
        """Open a media socket."""
        return await self.http.ws_connect(url, max_msg_size=0)

    async def refusal(self, url: str) -> int:
        """The status with which the upgrade to a WebSocket is refused."""
        try:
            socket = await self.open(url)
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await socket.close()
        raise AssertionError("the media socket was opened")

    async def calls_of(self, leg: str) -> list[dict]:
        """The records that came of a leg."""
        return [call for call in await self.client.list_calls(limit=1000) if call["carrierCallId"] == leg]


def new_leg() -> str:
    """An id as the local line makes them."""
    return "LC" + secrets.token_hex(16)


def message(event: str, leg: str, **more: str) -> bytes:
    """The body of a webhook."""
    texts = {"callId": "", "from": "+15550001234", "to": "+15550100000", "reason": "", "detail": ""}
    return json.dumps(
        texts
        | {
            "event": event,
            "carrierCallId": leg,
            "nonce": secrets.token_hex(16),
            "at": time.time(),
        }
        | more
    ).encode()


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start(leg: str) -> str:
    return json.dumps(
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ1",
            "start": {
                "streamSid": "MZ1",
                "accountSid": "AC1",
                "callSid": leg,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {},
            },
        }
    )


def media(number: int, payload: str = SILENCE) -> str:
    return json.dumps(
        {
            "event": "media",
            "sequenceNumber": str(number + 2),
            "streamSid": "MZ1",
            "media": {
                "track": "inbound",
                "chunk": str(number + 1),
                "timestamp": str(number * 20),
                "payload": payload,
            },
        }
    )
