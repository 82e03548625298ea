"""Twilio's REST API, as far as a phone line needs it, through the official SDK.

No request is ever repeated here. `OutcomeUnknown` tells the one kind of failure after which a call may have been
placed all the same, `NotSent` the one after which it cannot.
"""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from twilio.base.exceptions import (  # type: ignore[import-untyped] # the SDK ships no types
    TwilioException,
)
from twilio.http.async_http_client import (  # type: ignore[import-untyped] # the SDK ships no types
    AsyncTwilioHttpClient,
)
from twilio.rest import Client  # type: ignore[import-untyped] # the SDK ships no types

from openclaw_voicecall.errors import VendorError, VendorRejected, VendorTimeout, VendorUnavailable
from openclaw_voicecall.providers.twilio.config import EDGES
from openclaw_voicecall.providers.twilio.refusals import refusal

T = TypeVar("T")

REQUEST_LIMIT = 10.0
"""Seconds that one request may take."""
TRANSIENT = (408, 425)
"""Statuses below 500 that leave open what became of the request."""


class OutcomeUnknown(VendorUnavailable):
    """The request may have reached Twilio, and it may have been carried out."""


class NotSent(VendorUnavailable):
    """Twilio was not reached at all: its name is unknown, or nobody takes the connection."""


class _Answer(Exception):
    """An HTTP answer that is no success."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.text = text
        self.headers = headers


@dataclass(frozen=True, slots=True)
class CallFound:
    """A call as Twilio lists it."""

    sid: str
    status: str
    direction: str
    created: float
    """Unix seconds."""
    ended: float | None = None
    """Unix seconds."""
    duration: float = 0.0
    """Seconds that it was talked; 0 as long as that is not known."""


class _HttpClient:
    """The SDK's asynchronous client, which may talk to another address, and whose failures keep their headers.

    Args:
        base_url: Address to use instead of Twilio's; empty for Twilio's.
    """

    is_async = True

    def __init__(self, base_url: str) -> None:
        # The SDK logs whole requests, with phone numbers in them; this logger is connected to nothing.
        silent = logging.Logger("twilio.silent", level=logging.CRITICAL + 1)
        self._client = AsyncTwilioHttpClient(logger=silent)
        self._base_url = base_url
        self.told: float | None = None
        """Unix seconds by Twilio's clock when it last answered."""

    async def request(self, method: str, url: str, **arguments: Any) -> Any:
        """Send one request. Raises `_Answer` for anything but 2xx."""
        if self._base_url:
            parts = urlsplit(url)
            url = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        # The header is written here because the SDK's own way to it is one that aiohttp is about to remove.
        name, key = arguments.pop("auth")
        credentials = base64.b64encode(f"{name}:{key}".encode()).decode("ascii")
        headers = {**arguments.pop("headers"), "Authorization": f"Basic {credentials}"}
        response = await self._client.request(method, url, headers=headers, **arguments)
        self.told = _date(response.headers.get("Date", ""))
        if not 200 <= response.status_code < 300:
            raise _Answer(response.status_code, response.text, response.headers)
        return response

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


class TwilioApi:
    """The calls of one account.

    Every method raises `NotSent` when Twilio was not reached, `OutcomeUnknown` or `VendorTimeout` when it
    may have been, and `VendorRejected` or one of its kin when it refused.

    Args:
        client: The SDK's client.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def now(self) -> float | None:
        """Unix seconds by Twilio's clock when it last answered; None where it did not say."""
        told: float | None = self.client.http_client.told
        return told

    async def create_call(self, **parameters: Any) -> str:
        """Place a call; returns its SID. The parameters are those of the SDK."""
        call = await asked("place call", self.client.calls.create_async(**parameters))
        if not isinstance(call.sid, str) or not call.sid:
            raise OutcomeUnknown("Twilio's answer names no call", vendor="twilio", operation="place call")
        return call.sid

    async def find_calls(self, to_number: str, from_number: str, limit: int = 20) -> list[CallFound]:
        """The newest calls between two numbers."""
        calls = await asked(
            "list calls", self.client.calls.list_async(to=to_number, from_=from_number, limit=limit)
        )
        return [
            CallFound(call.sid, str(call.status), str(call.direction), call.date_created.timestamp())
            for call in calls
            if call.sid and call.date_created is not None
        ]

    async def update_call(self, operation: str, sid: str, **parameters: Any) -> None:
        """Change a running call: its `status`, `twiml` or `time_limit`."""
        await asked(operation, self.client.calls(sid).update_async(**parameters))

    async def fetch_call(self, sid: str) -> CallFound:
        """How a call stands."""
        call = await asked("fetch call", self.client.calls(sid).fetch_async())
        created = call.date_created.timestamp() if call.date_created is not None else 0.0
        ended = call.end_time.timestamp() if call.end_time is not None else None
        talked = _seconds(str(call.duration)) or 0.0
        return CallFound(sid, str(call.status), str(call.direction), created, ended, talked)


@asynccontextmanager
async def open_api(
    account_sid: str, auth_token: str, *, region: str | None, base_url: str | None
) -> AsyncIterator[TwilioApi]:
    """Open the API of one account; connections are kept until the end.

    Args:
        account_sid: The account.
        auth_token: Its token, which is another one in every region.
        region: `us1`, `ie1` or `au1`; None for Twilio's own choice.
        base_url: Another address of the API, in place of Twilio's.
    """
    http = _HttpClient(base_url or "")
    client = Client(
        account_sid,
        auth_token,
        http_client=http,
        region=region,
        edge=EDGES[region] if region else None,
        # Without this the SDK takes region and edge from the process's environment, past our configuration.
        environment={"TWILIO_REGION": ""},
    )
    # The SDK imports it at its first use, 40 ms in which every call would stand still, just when one is answered.
    _ = client.calls
    try:
        yield TwilioApi(client)
    finally:
        await http.close()


async def asked(operation: str, request: Awaitable[T]) -> T:
    """Wait for a request of the SDK, and turn every way it can fail into one of our errors."""
    try:
        async with asyncio.timeout(REQUEST_LIMIT):
            return await request
    except _Answer as answer:
        raise _failure(operation, answer) from None
    except aiohttp.ClientConnectorError as error:
        raise NotSent(f"Twilio cannot be reached: {error}", vendor="twilio", operation=operation) from error
    except TimeoutError as error:
        raise VendorTimeout(
            f"Twilio did not answer within {REQUEST_LIMIT:g} s", vendor="twilio", operation=operation
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise OutcomeUnknown(
            f"the connection to Twilio broke: {error or type(error).__name__}",
            vendor="twilio",
            operation=operation,
        ) from error
    except (TwilioException, ValueError, TypeError, AttributeError, LookupError) as error:
        # What the SDK raises for an answer of 2xx that is not the document it expects.
        raise OutcomeUnknown(
            "Twilio's answer cannot be read", vendor="twilio", operation=operation
        ) from error


def _failure(operation: str, answer: _Answer) -> VendorError:
    request_id = answer.headers.get("Twilio-Request-Id")
    if answer.status >= 500 or answer.status in TRANSIENT or answer.status < 400:
        return OutcomeUnknown(
            f"Twilio answers {answer.status}",
            vendor="twilio",
            operation=operation,
            status=answer.status,
            request_id=request_id,
        )
    try:
        document = json.loads(answer.text)
    except (ValueError, RecursionError):
        document = None
    said = document if isinstance(document, dict) else {}
    code, message = said.get("code"), said.get("message")
    return refusal(
        operation=operation,
        status=answer.status,
        code=code if isinstance(code, int) else None,
        message=message if isinstance(message, str) else "",
        request_id=request_id,
        retry_after=_seconds(answer.headers.get("Retry-After", "")),
    )


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else None


def is_gone(error: VendorRejected) -> bool:
    """Whether Twilio says that there is no such call."""
    return error.status == 404
