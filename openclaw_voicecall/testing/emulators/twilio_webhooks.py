"""Requests that Twilio makes to the application: signed, bounded in time, and recorded."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
from yarl import URL

from openclaw_voicecall.testing.emulators.twilio_signing import Ports, sign
from openclaw_voicecall.testing.emulators.twilio_twiml import Problem

CONNECT_LIMIT = 5.0
ANSWER_LIMIT = 15.0
"""Seconds until the whole answer must be there, a retry included: Twilio's connection override `tt`."""
MAX_ANSWER = 256 * 1024

Kind = Literal["voice", "action", "fallback", "status", "machine", "stream", "play", "whisper", "refer"]


@dataclass(slots=True)
class Webhook:
    """One request to the application, and how it was answered."""

    kind: Kind
    method: str
    url: str
    params: Mapping[str, str]
    """Fields of the form, or what was added to the query of a GET."""
    status: int | None = None
    """HTTP status; None when there was no answer."""
    content_type: str = ""
    body: bytes = b""
    latency: float = 0.0
    """Seconds until the answer was there."""
    problem: Problem | None = None
    """Why Twilio makes nothing of it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer."""


class Courier:
    """Asks the application, as Twilio does.

    Args:
        auth_token: Secret that requests are signed with.
        ports: Which port is signed.
        limit: Seconds for one answer.
        spoil: Asked before each request; true to sign it wrong.
    """

    def __init__(self, auth_token: str, *, ports: Ports, limit: float, spoil: Callable[[], bool]) -> None:
        self.ports: Ports = ports
        self.limit = limit
        self._auth_token = auth_token
        self._spoil = spoil
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Connections to the application."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A kept connection may be closed just as it is used, and then nobody knows what was received.
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT),
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        kind: Kind,
        url: str,
        params: Mapping[str, str],
        *,
        method: str = "POST",
        idempotency_token: str = "",
    ) -> Webhook:
        """Send one request. An address that nobody listens at is tried once more; redirections are not followed.

        Args:
            kind: What it is for.
            url: Absolute address; a fragment with connection overrides is not sent.
            params: The fields.
            method: `POST` for a form, `GET` for a query.
            idempotency_token: The same for every repetition of a request.
        """
        url = url.partition("#")[0]
        webhook = Webhook(kind, method, url, dict(params))
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            webhook.problem = Problem(11100, f"Invalid URL format: {url[:100]}")
            return webhook
        asked, form = url, dict(params)
        if method == "GET":
            asked, form = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(params)}", {}
        token = "another-token" if self._spoil() else self._auth_token
        headers = {
            "X-Twilio-Signature": sign(token, asked, form.items(), ports=self.ports),
            "I-Twilio-Idempotency-Token": idempotency_token or secrets.token_hex(16),
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
            "X-Home-Region": "us1",
        }
        begun = monotonic()
        try:
            async with asyncio.timeout(self.limit):
                await self._ask(webhook, asked, form, headers)
        except TimeoutError:
            webhook.problem = Problem(11203, f"no answer within {self.limit:g} s: {url}")
        except (aiohttp.ClientError, OSError) as error:
            webhook.problem = Problem(11205, f"HTTP connection failure: {url}: {type(error).__name__}")
        webhook.latency = monotonic() - begun
        if webhook.status is not None and not 200 <= webhook.status < 300:
            webhook.problem = Problem(11200, f"HTTP retrieval failure: status {webhook.status} from {url}")
        return webhook

    async def _ask(
        self, webhook: Webhook, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        data = urlencode(form) if webhook.method == "POST" else None
        if data is not None:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        for attempt in (1, 2):
            try:
                # The address goes out letter by letter: it is signed so.
                async with self.session.request(
                    webhook.method,
                    URL(url, encoded=True),
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                ) as answer:
                    webhook.status = answer.status
                    webhook.headers = dict(answer.headers)
                    webhook.content_type = answer.headers.get("Content-Type", "")
                    webhook.body = await answer.content.read(MAX_ANSWER)
                    while piece := await answer.content.read(MAX_ANSWER - len(webhook.body)):
                        webhook.body += piece
                    return
            except aiohttp.ClientConnectorError:
                if attempt == 2:
                    raise


@dataclass(frozen=True, slots=True)
class Fetch:
    """An address that is to be asked for TwiML."""

    url: str
    method: str = "POST"
    params: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "voice"
    answer: Webhook | None = None
    """Where it was asked already."""


def absolute(base: str, url: str) -> str:
    """An address in TwiML, which may be relative to that of its document."""
    return urljoin(base, url) if base else url
