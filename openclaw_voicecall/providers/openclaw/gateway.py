"""Where the gateway is and what it asks for: from our settings, its variables, and its own configuration.

Names of variables and settings, and which comes first, are those of OpenClaw's documentation, gateway/remote and
gateway/config-gateway.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import json5

from openclaw_voicecall.config.openclaw import GATEWAY_VARIABLE, openclaw_config_path
from openclaw_voicecall.errors import keep_quiet
from openclaw_voicecall.providers._http import base_address, names_proxy
from openclaw_voicecall.providers.openclaw.config import OpenClawConfig

PORT: Final = 18789
CONNECT_TIMEOUT: Final = 5.0
KEEP_ALIVE: Final = 4.0
"""Seconds that an idle connection is kept for the next turn. Node closes them after five, and a turn that is sent into
a connection just being closed is lost."""
LONGEST_EVENT: Final = 2**20
LARGEST_CONFIG: Final = 4 * 2**20
LARGEST_BY_HAND: Final = 2**18
_BLANKS: Final = re.compile(r"[ \t\r]{2,}")
_VARIABLE: Final = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway and the secret it asks for."""

    url: str
    """Such as `http://127.0.0.1:18789`, without a slash at the end."""
    key: str = field(default="", repr=False)
    """Token or password; empty where none was found."""

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def find_gateway(config: OpenClawConfig, env: Mapping[str, str] | None = None) -> Gateway:
    """The gateway that the settings mean.

    Args:
        config: Our settings.
        env: Environment to read; `os.environ` if not given.

    Raises:
        ConfigError: The address is wrong.
    """
    variables = os.environ if env is None else env
    own = _own_config(variables)
    address = base_address(
        config.base_url, f"http://127.0.0.1:{_port(own, variables)}", setting="responders.openclaw.baseUrl"
    )
    key = config.api_key.get_secret_value() if config.api_key else ""
    # A gateway that the settings name need not be the one whose configuration lies here.
    key = key or _key({} if config.base_url else own, variables)
    if key:
        keep_quiet(key)
    return Gateway(address.removesuffix("/v1"), key)


@asynccontextmanager
async def connect(config: OpenClawConfig) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to the gateway, kept between turns."""
    limits = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT, sock_read=config.read_timeout_ms / 1000
    )
    connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE, limit=0)
    async with aiohttp.ClientSession(
        timeout=limits, connector=connector, trust_env=names_proxy(), read_bufsize=LONGEST_EVENT
    ) as session:
        yield session


def _own_config(env: Mapping[str, str]) -> dict[str, Any]:
    """The `gateway` part of OpenClaw's own configuration; empty where it cannot be read."""
    try:
        if told := env.get(GATEWAY_VARIABLE):
            return dict(json.loads(told))
        path = openclaw_config_path(env)
        if path.stat().st_size > LARGEST_CONFIG:
            return {}
        text = path.read_text("utf-8")
        whole = _parsed(text)
    except (OSError, TypeError, ValueError, RecursionError, RuntimeError):
        return {}
    gateway = whole.get("gateway") if isinstance(whole, dict) else None
    return gateway if isinstance(gateway, dict) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if len(text) > LARGEST_BY_HAND:
            raise
        # What people write by hand has comments. Reading those takes long, and blanks in a row take the longest.
        return json5.loads(_BLANKS.sub(" ", text))


def _port(own: Mapping[str, Any], env: Mapping[str, str]) -> int:
    for port in (env.get("OPENCLAW_GATEWAY_PORT"), own.get("port")):
        text = str(port or "")
        if text.isascii() and text.isdecimal() and 0 < int(text) < 2**16:
            return int(text)
    return PORT


def _key(own: Mapping[str, Any], env: Mapping[str, str]) -> str:
    auth = own.get("auth")
    auth = auth if isinstance(auth, dict) else {}
    names = ("password", "token") if auth.get("mode") == "password" else ("token", "password")
    for name in names:
        if key := _secret(auth.get(name), env) or env.get(f"OPENCLAW_GATEWAY_{name.upper()}", ""):
            return key
    return ""


def _secret(value: Any, env: Mapping[str, str]) -> str:
    """A secret of OpenClaw's configuration, as text, `${NAME}`, or a reference to a variable."""
    if isinstance(value, dict):
        return env.get(str(value.get("id")), "") if value.get("source") == "env" else ""
    if not isinstance(value, str):
        return ""
    named = _VARIABLE.fullmatch(value)
    return env.get(named[1], "") if named else value
