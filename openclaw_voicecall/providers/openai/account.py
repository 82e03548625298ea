"""The account: its address and key, and whether OpenAI knows it."""

from dataclasses import dataclass
from typing import Final

import aiohttp
from pydantic import SecretStr

from openclaw_voicecall import __version__
from openclaw_voicecall.errors import ConfigError, VendorUnavailable
from openclaw_voicecall.providers._http import base_address, failure, names_proxy, unreachable
from openclaw_voicecall.providers._messages import json_value
from openclaw_voicecall.providers.openai.refusals import VENDOR, without_keys

DEFAULT_BASE = "https://api.openai.com/v1"
USER_AGENT = f"openclaw-voicecall/Python {__version__}"
CHECK_LIMIT = 10.0
"""Seconds for the request that checks a key."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where to ask, and with which key."""

    base_url: str
    """Without a slash at the end."""
    key: SecretStr

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request. There is no `OpenAI-Beta`: its dialect is refused since May 2026."""
        return {"Authorization": f"Bearer {self.key.get_secret_value()}", "User-Agent": USER_AGENT}


def account(api_key: SecretStr | None, base_url: str | None, *, section: str) -> Account:
    """The account that some settings name.

    Args:
        api_key: The key.
        base_url: Another address of the API.
        section: Where in the configuration both stand, for errors.

    Raises:
        ConfigError: The key is missing, or the address is none that a key may be sent to.
    """
    key = api_key.get_secret_value().strip() if api_key is not None else ""
    if not key:
        raise ConfigError(f"{section}.apiKey: expected a key, here or in OPENAI_API_KEY; found none")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{section}.apiKey: expected a key, found characters that no key has")
    return Account(base_address(base_url, DEFAULT_BASE, setting=f"{section}.baseUrl"), SecretStr(key))


NO_LIST: Final = "this address lists no models, so that the key shows in use only"
"""Of servers that speak OpenAI's protocol without being OpenAI."""


async def check_account(account: Account, model: str) -> str:
    """Ask for the account's models (`GET /models`), which costs nothing.

    Returns:
        Whether the model is among them, as a phrase.

    Raises:
        VendorError: The key is refused, or OpenAI cannot be reached.
    """
    operation = "list models"
    try:
        async with (
            aiohttp.ClientSession(
                trust_env=names_proxy(), timeout=aiohttp.ClientTimeout(total=CHECK_LIMIT)
            ) as session,
            session.get(
                f"{account.base_url}/models", headers=account.headers, allow_redirects=False
            ) as answer,
        ):
            body = await answer.text()
            if answer.status in (404, 405) and account.base_url != DEFAULT_BASE:
                return NO_LIST
            if answer.status != 200:
                raise failure(VENDOR, operation, answer.status, _said(body), headers=answer.headers)
    except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError) as error:
        raise unreachable(VENDOR, operation, error) from error
    try:
        models = {entry["id"] for entry in json_value(body)["data"]}
    except (ValueError, LookupError, TypeError) as error:
        raise VendorUnavailable(
            "OpenAI's list of models cannot be read", vendor=VENDOR, operation=operation
        ) from error
    known = "has" if model in models else "does not list"
    return f"the key is good, and the account {known} {model}"


def _said(body: str) -> str:
    try:
        return without_keys(str(json_value(body)["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return ""
