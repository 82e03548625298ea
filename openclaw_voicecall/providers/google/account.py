"""The account: its address and key, and whether Google knows it."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from openclaw_voicecall import __version__
from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.providers._http import ask, base_address
from openclaw_voicecall.providers.google.config import SECTION, GoogleRealtimeConfig

VENDOR: Final = "google"
DEFAULT_BASE: Final = "https://generativelanguage.googleapis.com"
VERSION: Final = "v1beta"


@dataclass(frozen=True, slots=True)
class Account:
    """Where to ask, and with which key."""

    base_url: str
    """Without a version and without a slash at the end."""
    key: SecretStr

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request. The key goes here and not into the address, which ends up in logs."""
        return {
            "x-goog-api-key": self.key.get_secret_value(),
            "User-Agent": f"openclaw-voicecall/Python {__version__}",
        }


def account(config: GoogleRealtimeConfig) -> Account:
    """The account that the settings name.

    Raises:
        ConfigError: The key is missing, or the address is none that a key may be sent to.
    """
    key = config.api_key.get_secret_value().strip() if config.api_key is not None else ""
    if not key:
        raise ConfigError(
            f"{SECTION}.apiKey: expected a key, here, in GEMINI_API_KEY or in GOOGLE_API_KEY; found none"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{SECTION}.apiKey: expected a key, found characters that no key has")
    base = base_address(config.base_url, DEFAULT_BASE, setting=f"{SECTION}.baseUrl")
    return Account(base.removesuffix(f"/{VERSION}"), SecretStr(key))


async def check_account(account: Account, model: str) -> str:
    """Ask for the account's models (`GET /v1beta/models`), which costs nothing.

    Returns:
        Whether the model is among them, as a phrase.

    Raises:
        VendorError: The key is refused, or Google cannot be reached.
    """
    wanted = "models/" + model.removeprefix("models/")

    def read(answer: Any) -> str:
        known = wanted in {entry["name"] for entry in answer["models"]}
        return f"the key is good, and the account {'has' if known else 'does not list'} {model}"

    return await ask(
        f"{account.base_url}/{VERSION}/models?pageSize=1000",
        account.headers,
        vendor=VENDOR,
        operation="list models",
        read=read,
    )
