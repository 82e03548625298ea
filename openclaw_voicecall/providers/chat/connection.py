"""The HTTP connection to a vendor: one session for each account, shared by all of its models and all calls."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp

from openclaw_voicecall.errors import ConfigError, VendorError, VendorUnavailable
from openclaw_voicecall.providers._http import base_address, names_proxy
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.failures import FAILURES, Refusal, vendor_error
from openclaw_voicecall.providers.chat.vendors import ChatVendor

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 5.0
KEEP_ALIVE: Final = 300.0
"""Seconds that an idle connection is kept for the next turn; a new one costs a TLS handshake."""
CHECK_TIMEOUT: Final = 10.0
REFUSAL_LIMIT: Final = 256 * 1024
"""Bytes of a refusal that are read."""
_ACCOUNT_HEADERS: Final = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}
"""Variables that OpenAI's own SDK reads, and what it sends for them."""


class ChatConnection:
    """An account at a vendor. Nothing is ever asked a second time here, and no redirect is followed with the key.

    Args:
        address: Of the API, with its version.
        key: Of the account; some servers need none.
        headers: Further headers of every request.
        silence: Seconds that the vendor may be silent.
    """

    def __init__(self, address: str, key: str, headers: Mapping[str, str], *, silence: float) -> None:
        self.key = key
        self._address = address
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1000, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=silence),
            headers={"Authorization": f"Bearer {key or 'none'}", "Accept": "application/json", **headers},
            trust_env=names_proxy(),
        )

    async def __aenter__(self) -> Self:
        """Close it at the end."""
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._session.closed

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def complete(self, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a chat completion. Who leaves before the end of the answer closes the connection.

        Raises:
            Refusal: The vendor does not answer with 200.
            aiohttp.ClientError: It cannot be reached.
            TimeoutError: It does not answer in time.
        """
        async with self._session.post(
            f"{self._address}/chat/completions",
            data=json.dumps(body),
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            await _require_success(response)
            yield response

    async def get(self, path: str) -> Any:
        """The JSON at a path of the API. Raises like `complete`, and `ValueError` when it is no JSON."""
        timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        async with self._session.get(
            self._address + path, allow_redirects=False, timeout=timeout
        ) as response:
            await _require_success(response)
            return json.loads(await response.text())


async def _require_success(response: aiohttp.ClientResponse) -> None:
    if 200 <= response.status < 300:
        return
    said = bytearray()
    while len(said) < REFUSAL_LIMIT and (piece := await response.content.read(REFUSAL_LIMIT)):
        said += piece
    text = said.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    raise Refusal(
        f"{response.status} {response.reason or ''}".rstrip(),
        body,
        status=response.status,
        headers=dict(response.headers),
    )


@dataclass(slots=True)
class _Shared:
    connection: ChatConnection
    warming: "asyncio.Task[None]"
    users: int = 0


class Connections:
    """The accounts of one vendor that are in use.

    Args:
        vendor: Whose they are.
    """

    def __init__(self, vendor: ChatVendor) -> None:
        self._vendor = vendor
        self._open: dict[tuple[Any, ...], _Shared] = {}

    @asynccontextmanager
    async def open(self, config: ChatConfig) -> AsyncIterator[ChatConnection]:
        """The connection for an account; whoever leaves last closes it.

        Raises:
            ConfigError: The key or the address is missing or wrong.
        """
        key = (find_address(self._vendor, config), find_key(self._vendor, config), *_headers(config).items())
        shared = self._open.get(key)
        if shared is None:
            connection = connect(self._vendor, config)
            shared = self._open[key] = _Shared(
                connection, asyncio.create_task(_warm(connection, self._vendor))
            )
        shared.users += 1
        try:
            yield shared.connection
        finally:
            shared.users -= 1
            if not shared.users:
                del self._open[key]
                shared.warming.cancel()
                await asyncio.wait([shared.warming])
                await shared.connection.close()


def connect(vendor: ChatVendor, config: ChatConfig, env: Mapping[str, str] | None = None) -> ChatConnection:
    """A connection; nothing is sent yet. Needs a running loop.

    Raises:
        ConfigError: The key or the address is missing or wrong.
    """
    address, key = find_address(vendor, config), find_key(vendor, config)
    account: dict[str, str] = {}
    if vendor.name == "openai":
        variables = os.environ if env is None else env
        account = {
            header: variables[name] for name, header in _ACCOUNT_HEADERS.items() if variables.get(name)
        }
    return ChatConnection(
        address, key, {**account, **_headers(config)}, silence=config.read_timeout_ms / 1000
    )


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
        VendorError: The vendor cannot be reached, or refuses the key.
    """
    async with connect(vendor, config) as connection:
        try:
            if vendor.key_path:
                await connection.get(vendor.key_path)
            listed = _listed(await connection.get("/models"))
        except FAILURES as error:
            if config.base_url is not None and getattr(error, "status", 0) in (404, 405):
                return "this address lists no models, so that the key shows in use only"
            raise vendor_error(
                error,
                vendor,
                secrets=(connection.key,),
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


async def _warm(connection: ChatConnection, vendor: ChatVendor) -> None:
    """Make the connection before the first call needs it. Whatever is wrong shows when a call does."""
    try:
        await connection.get("/models")
    except FAILURES as error:
        logger.debug("no warm connection", extra={"vendor": vendor.name, "detail": type(error).__name__})
