"""What vendors' HTTP APIs have in common: addresses, a question, and failures as errors of this package."""

import logging
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import aiohttp

from openclaw_voicecall.config.fields import is_loopback
from openclaw_voicecall.errors import (
    ConfigError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    quiet,
)

logger = logging.getLogger(__name__)

SAID = 300
"""Characters of a vendor's message that are kept."""
LONGEST_WAIT = 86400.0
"""Seconds; a vendor that asks for more, or for no number, asks for nothing that can be followed."""
ASK_LIMIT = 10.0
"""Seconds for a question."""


def base_address(url: str | None, default: str, *, setting: str) -> str:
    """The address of an API without a slash at its end.

    Plain http is taken on loopback only, where a stand-in may listen; one warning says so.

    Args:
        url: What the configuration says, if anything.
        default: The vendor's own address.
        setting: Key of the setting, for errors.

    Raises:
        ConfigError: It is no http or https address, or plain http to another machine.
    """
    if not url:
        return default
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{setting}: it is no address ({error})") from None
    # Python leaves some spaces and line ends out when it takes an address apart; whoever uses it does not.
    plain = url.isprintable() and " " not in url and not parts.query and not parts.fragment
    if not plain or parts.scheme not in ("http", "https") or not host:
        # What stands behind the path may be a key.
        raise ConfigError(
            f"{setting}: expected an address such as {default}, without ? and #; got one of {host or 'no host'}"
        )
    if parts.username or parts.password:
        raise ConfigError(
            f"{setting}: an address holds no user name or password; keys have settings of their own"
        )
    if is_loopback(host):
        _warn_of_loopback(setting, url)
    elif parts.scheme == "http":
        raise ConfigError(f"{setting}: http to {host} would send the key in clear text; use https")
    return url.rstrip("/")


def names_proxy() -> bool:
    """Whether the environment names a proxy. Only then aiohttp is told to look at the environment.

    It also looks for the vendor in `~/.netrc` then, in a thread, before every request: that takes a millisecond of
    every turn, and what it found would go out beside the key of the configuration.
    """
    return bool(getproxies())


def socket_address(base: str, path: str, query: Mapping[str, str] | None = None) -> str:
    """The WebSocket address of a path below an API: http becomes ws, https becomes wss."""
    address = "ws" + base.removeprefix("http") + path
    return f"{address}?{urlencode(query)}" if query else address


async def ask(
    url: str, headers: Mapping[str, str], *, vendor: str, operation: str, read: Callable[[Any], str]
) -> str:
    """Ask for something harmless, as a check of an account does.

    Args:
        url: Address. Redirects are not followed: they would carry the key elsewhere.
        headers: With the key.
        vendor: Name of the provider.
        operation: What is asked for, such as "list models".
        read: Makes a phrase of the answer's JSON; its `TypeError` and `LookupError` mean that it is no such answer.

    Raises:
        VendorError: The vendor refuses, answers something else, or cannot be reached.
    """
    timeout = aiohttp.ClientTimeout(total=ASK_LIMIT)
    try:
        async with (
            aiohttp.ClientSession(trust_env=names_proxy(), timeout=timeout) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise failure(
                    vendor, operation, response.status, await response.text(), headers=response.headers
                )
            return read(await response.json(content_type=None))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(vendor, operation, error) from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise failure(vendor, operation, 502, f"not the answer of {vendor}'s API") from error


def failure(
    vendor: str, operation: str, status: int, message: str, *, headers: Mapping[str, str] | None = None
) -> VendorError:
    """The error for an answer that is not a success.

    Args:
        vendor: Name of the provider.
        operation: What was asked for, such as "speak".
        status: HTTP status.
        message: The vendor's words, without any key.
        headers: Of the answer; `retry-after` and the request id are read.
    """
    known = {name.lower(): value for name, value in (headers or {}).items()}
    kind: type[VendorError] = VendorRejected
    if status in (401, 403):
        kind = VendorAuthError
    elif status == 429:
        kind = VendorRateLimited
    elif status in (408, 425) or status >= 500:
        kind = VendorUnavailable
    # A key that is cut in half would not be known any more.
    said = quiet(" ".join(message.split()))[:SAID] or "no reason given"
    return kind(
        f"{vendor} answered {status} to {operation}: {said}",
        vendor=vendor,
        operation=operation,
        status=status,
        request_id=known.get("x-request-id") or known.get("request-id"),
        retry_after=_seconds(known.get("retry-after")),
    )


def unreachable(vendor: str, operation: str, error: BaseException) -> VendorError:
    """The error for a connection that could not be made, broke, or took too long."""
    if isinstance(error, TimeoutError):
        return VendorTimeout(
            f"{vendor} did not answer in time ({operation})", vendor=vendor, operation=operation
        )
    cause = " ".join(str(error).split())[:SAID] or type(error).__name__
    return VendorUnavailable(
        f"{vendor} cannot be reached ({operation}): {cause}", vendor=vendor, operation=operation
    )


@lru_cache
def _warn_of_loopback(setting: str, url: str) -> None:
    logger.warning("%s is %s, on this machine: the vendor itself is not called", setting, url)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = math.nan if text is None else float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if seconds <= LONGEST_WAIT else None
