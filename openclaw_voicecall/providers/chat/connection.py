"""The HTTP connection to a vendor: one client for each account, shared by all of its models and all calls."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openclaw_voicecall.errors import ConfigError, EngineMissing, VendorError, VendorUnavailable
from openclaw_voicecall.providers._http import base_address
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.vendors import ChatVendor

if TYPE_CHECKING:
    from openai import AsyncOpenAI

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 5.0
KEEP_ALIVE: Final = 300.0
"""Seconds that an idle connection is kept for the next turn; a new one costs a TLS handshake."""
CHECK_TIMEOUT: Final = 10.0


@dataclass(slots=True)
class _Shared:
    client: "AsyncOpenAI"
    warming: "asyncio.Task[None]"
    users: int = 0


class Connections:
    """The clients of one vendor that are open.

    Args:
        vendor: Whose they are.
    """

    def __init__(self, vendor: ChatVendor) -> None:
        self._vendor = vendor
        self._open: dict[tuple[Any, ...], _Shared] = {}

    @asynccontextmanager
    async def open(self, config: ChatConfig) -> "AsyncIterator[AsyncOpenAI]":
        """The client for an account; whoever leaves last closes it.

        Raises:
            ConfigError: The key or the address is missing or wrong.
            EngineMissing: OpenAI's SDK is not installed.
        """
        key = (find_address(self._vendor, config), find_key(self._vendor, config), *_headers(config).items())
        shared = self._open.get(key)
        if shared is None:
            client = connect(self._vendor, config)
            shared = self._open[key] = _Shared(client, asyncio.create_task(_warm(client, self._vendor)))
        shared.users += 1
        try:
            yield shared.client
        finally:
            shared.users -= 1
            if not shared.users:
                del self._open[key]
                shared.warming.cancel()
                await asyncio.wait([shared.warming])
                await shared.client.close()


def connect(vendor: ChatVendor, config: ChatConfig) -> "AsyncOpenAI":
    """A client; nothing is sent yet. It never repeats a request by itself: callers do not wait for that.

    Raises:
        ConfigError: The key or the address is missing or wrong.
        EngineMissing: OpenAI's SDK is not installed.
    """
    address, key = find_address(vendor, config), find_key(vendor, config)
    try:
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("openai", "httpx2"):
            raise
        raise EngineMissing(
            "OpenAI's SDK is not installed; install it with `pip install 'openclaw-voicecall[openai]'`",
            vendor=vendor.name,
            operation="open",
        ) from error
    timeout = Timeout(config.read_timeout_ms / 1000, connect=CONNECT_TIMEOUT, pool=CONNECT_TIMEOUT)
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEP_ALIVE)
    client = AsyncOpenAI(
        api_key=key or "none",
        base_url=address,
        timeout=timeout,
        max_retries=0,
        default_headers=_headers(config),
        http_client=DefaultAsyncHttpxClient(timeout=timeout, limits=limits),
    )
    _ = client.chat.completions  # imported by the SDK at its first use, for which the first caller would wait
    if vendor.name != "openai":
        # The SDK takes these from OPENAI_ORG_ID and OPENAI_PROJECT_ID, and other vendors have no business with them.
        client.organization = client.project = None
    return client


def find_address(vendor: ChatVendor, config: ChatConfig) -> str:
    """The address of the API. Raises `ConfigError` when there is none."""
    if not vendor.base_url and not config.base_url:
        raise ConfigError(
            f"{vendor.setting('baseUrl')}: expected the address of the server, such as http://127.0.0.1:8080/v1"
        )
    return base_address(config.base_url, vendor.base_url, setting=vendor.setting("baseUrl"))


def find_key(vendor: ChatVendor, config: ChatConfig, env: Mapping[str, str] | None = None) -> str:
    """The key of the account: the configured one, else the one in the vendor's variable; empty where none is needed.

    A `responseModel` that names the vendor is enough to use the variable, also where the configuration has no section
    for the vendor that the variable could have been filled into.

    Raises:
        ConfigError: The vendor needs a key and there is none.
    """
    if config.api_key is not None:
        return config.api_key.get_secret_value()
    variables = os.environ if env is None else env
    key = next((variables[name] for name in vendor.key_variables if variables.get(name)), "")
    if not key and vendor.needs_key:
        raise ConfigError(
            f"{vendor.setting('apiKey')}: {vendor.label} needs a key; set it there or in {vendor.key_variables[0]}"
        )
    return key


async def check_account(vendor: ChatVendor, config: ChatConfig, model: str) -> str:
    """Ask for the list of models with the key.

    Returns:
        Whether the key was taken and whether the model is listed.

    Raises:
        ConfigError: The key or the address is missing or wrong.
        EngineMissing: OpenAI's SDK is not installed.
        VendorError: The vendor cannot be reached, or refuses the key.
    """
    async with connect(vendor, config) as client:
        from openclaw_voicecall.providers.chat.failures import FAILURES, vendor_error

        limited = client.with_options(timeout=CHECK_TIMEOUT)
        try:
            if vendor.key_path:
                await limited.get(vendor.key_path, cast_to=object)
            answer = await limited.models.with_raw_response.list()
            listed = _listed(answer.http_response.json())
        except FAILURES as error:
            if config.base_url is not None and getattr(error, "status_code", 0) in (404, 405):
                return "this address lists no models, so that the key shows in use only"
            raise vendor_error(
                error,
                vendor,
                secrets=(client.api_key,),
                elsewhere=config.base_url is not None,
                operation="list models",
            ) from error
    if listed is None:
        raise _no_list(vendor)
    taken = "the key is accepted" if find_key(vendor, config) else "it answers"
    if model in listed:
        return f"{taken}, and {model} is listed"
    return f"{taken}, but {model} is not among the {len(listed)} models that it lists"


def _headers(config: ChatConfig) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in config.headers.items()}


def _listed(answer: Any) -> set[str] | None:
    """The ids of the models; None when it is no list. Together AI sends the bare list, Gemini's ids have a prefix."""
    rows = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        return None
    ids = {row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)}
    return ids | {name.removeprefix("models/") for name in ids}


def _no_list(vendor: ChatVendor) -> VendorError:
    return VendorUnavailable(
        f"{vendor.name} gave no list of models; check {vendor.setting('baseUrl')} if it is set",
        vendor=vendor.name,
        operation="list models",
    )


async def _warm(client: "AsyncOpenAI", vendor: ChatVendor) -> None:
    """Make the connection before the first call needs it. Whatever is wrong shows when a call does."""
    import httpx2
    from openai import OpenAIError

    try:
        await client.models.with_raw_response.list()
    except (OpenAIError, httpx2.HTTPError, OSError, ValueError) as error:
        logger.debug("no warm connection", extra={"vendor": vendor.name, "detail": type(error).__name__})
