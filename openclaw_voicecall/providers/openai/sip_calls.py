"""OpenAI's REST API for SIP calls, through the official SDK, and the socket that steers one of them.

That a request was answered with 200 proves little: a call may be gone all the same, and a REFER may never leave. No
request is repeated here that OpenAI may have carried out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import httpx2
import openai

from openclaw_voicecall.errors import CallIsGone, VendorError, VendorTimeout
from openclaw_voicecall.providers._http import failure, socket_address, unreachable
from openclaw_voicecall.providers._socket import VendorSocket, open_socket
from openclaw_voicecall.providers.openai.account import USER_AGENT, Account
from openclaw_voicecall.providers.openai.refusals import VENDOR, without_keys

REQUEST_LIMIT: Final = 5.0
"""Seconds that one request may take."""
PROBE_LIMIT: Final = 2.0
"""Seconds for finding out whether a call goes on."""
PAUSES: Final = (0.25, 0.5, 1.0)
"""Seconds between attempts to reach a call that was just taken: OpenAI says for a moment that there is none."""
STEER: Final = "steer the call"
GONE: Final = 404
UNDECIDED: Final = (408, 409)
"""Statuses below 500 after which a call may have been taken all the same."""


class SipCalls:
    """The SIP calls of one account.

    Every method raises `CallIsGone` when OpenAI knows no such call, and another `VendorError` when it refuses.

    Args:
        account: Whose key is used.
        client: The SDK's client.
        pauses: Seconds between attempts to reach a call that was just taken.
    """

    def __init__(
        self, account: Account, client: openai.AsyncOpenAI, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._account = account
        self._pauses = tuple(pauses)
        self._calls = client.with_options(max_retries=0, timeout=REQUEST_LIMIT).realtime.calls

    async def accept(self, call: str, body: Mapping[str, Any]) -> None:
        """Take a call that was just announced, and may take a moment to appear.

        Whether the body was good shows on its socket only.
        """
        for pause in self._pauses:
            with suppress(CallIsGone):
                await _asked("take the call", self._calls.accept(call, **body))
                return
            await asyncio.sleep(pause)
        await _asked("take the call", self._calls.accept(call, **body))

    async def reject(self, call: str, status: int) -> None:
        """Refuse a call with a SIP status."""
        await _asked("refuse the call", self._calls.reject(call, status_code=status))

    async def refer(self, call: str, target: str) -> None:
        """Ask for the caller to be handed over to a `tel:` or `sip:` address."""
        await _asked("transfer the call", self._calls.refer(call, target_uri=target))

    async def hang_up(self, call: str, *, fresh: bool = False) -> None:
        """End a call; a fresh one, that was just taken, is given a moment to appear."""
        for pause in self._pauses if fresh else ():
            with suppress(CallIsGone):
                await _asked("end the call", self._calls.hangup(call))
                return
            await asyncio.sleep(pause)
        await _asked("end the call", self._calls.hangup(call))

    @asynccontextmanager
    async def sideband(self, call: str, *, fresh: bool) -> AsyncIterator[VendorSocket]:
        """Open the socket that steers a call; a fresh one, that was just taken, is given a moment to appear."""
        pauses = list(self._pauses) if fresh else []
        while True:
            try:
                async with self._open(call, REQUEST_LIMIT) as socket:
                    yield socket
                return
            except _NotThere as error:
                if not pauses:
                    raise CallIsGone(
                        "OpenAI took the call and then knew of none: the caller has hung up, or it refused what the "
                        "call was taken with"
                        if fresh
                        else "OpenAI knows of no such call any more",
                        vendor=VENDOR,
                        operation=STEER,
                        status=GONE,
                    ) from error
            await asyncio.sleep(pauses.pop(0))

    async def is_over(self, call: str) -> bool:
        """Whether a call is over. There is no other way to ask than to open its socket. Raises `VendorError`."""
        try:
            async with self._open(call, PROBE_LIMIT):
                return False
        except _NotThere:
            return True

    @asynccontextmanager
    async def _open(self, call: str, limit: float) -> AsyncIterator[VendorSocket]:
        opened = False
        try:
            async with open_socket(
                socket_address(self._account.base_url, "/realtime", {"call_id": call}),
                vendor=VENDOR,
                operation=STEER,
                headers=self._account.headers,
                timeout=limit,
            ) as socket:
                opened = True
                yield socket
        except VendorError as error:
            if error.status == GONE and not opened:
                raise _NotThere from error
            raise


class _NotThere(Exception):
    """OpenAI refuses the socket, because there is no such call."""


@asynccontextmanager
async def open_client(account: Account, webhook_secret: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """Open the SDK's client; connections are kept until the end."""
    async with openai.AsyncOpenAI(
        api_key=account.key.get_secret_value(),
        base_url=account.base_url,
        webhook_secret=webhook_secret,
        default_headers={"User-Agent": USER_AGENT},
        max_retries=0,
    ) as client:
        # The SDK takes both from the process's environment, past our configuration.
        client.organization = client.project = None
        # Imported by the SDK at their first use, while a call waits to be answered.
        _ = client.realtime.calls, client.webhooks
        yield client


async def _asked(operation: str, request: Awaitable[None]) -> None:
    """Wait for a request of the SDK, and turn every way it can fail into one of our errors."""
    try:
        async with asyncio.timeout(REQUEST_LIMIT):
            await request
    except openai.APIStatusError as error:
        body = error.body
        message = body.get("message") if isinstance(body, dict) else None
        said = without_keys(message if isinstance(message, str) else "")
        if error.status_code == GONE:
            raise CallIsGone(
                f"OpenAI knows of no such call any more ({operation}): {said or 'no reason given'}",
                vendor=VENDOR,
                operation=operation,
                status=GONE,
            ) from error
        raise failure(VENDOR, operation, error.status_code, said, headers=error.response.headers) from error
    except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
        raise VendorTimeout(
            f"OpenAI did not answer in time ({operation})", vendor=VENDOR, operation=operation
        ) from error
    except (openai.APIConnectionError, httpx2.HTTPError, OSError) as error:
        raise unreachable(VENDOR, operation, error.__cause__ or error) from error
    except (openai.OpenAIError, ValueError, TypeError) as error:
        raise VendorError(
            f"OpenAI's answer cannot be read: {without_keys(str(error))}", vendor=VENDOR, operation=operation
        ) from error
