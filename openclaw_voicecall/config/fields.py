"""The types of single settings: what they take, and what is wrong about anything else."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Words = Annotated[str, Field(min_length=1)]


def wrong(text: str) -> PydanticCustomError:
    """A mistake in a setting; the text says what was expected and must not repeat a secret."""
    return PydanticCustomError("setting", "{reason}", {"reason": text})


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine, where nobody listens in."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_parts(text: str, *, expected: str) -> SplitResult:
    """The parts of an http or https address.

    The text is not repeated in the error: people paste addresses with keys and passwords in them.

    Args:
        text: The address.
        expected: What the setting takes, for the error.

    Raises:
        PydanticCustomError: It is no such address.
    """
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0 and text.isascii()
    except ValueError:
        right = False
    if not right or any(character.isspace() for character in text):
        raise wrong(f"expected {expected}")
    return parts


def _url_path(text: str) -> str:
    path = "/" + text.strip("/")
    if not path.isascii() or any(character in path for character in " ?#%\\") or "//" in path or ".." in path:
        raise wrong("expected the path of a URL, such as /voice/webhook")
    return path


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise wrong("expected an IP address or network, such as 100.64.0.1 or 10.0.0.0/8") from None
    return text


def _public_url(text: str) -> str:
    parts = address_parts(
        text, expected="an http or https address, such as https://voice.example.com/voice/webhook"
    )
    if parts.username is not None or parts.query or parts.fragment:
        raise wrong("expected an address without user name, query or fragment")
    return text.rstrip("/")


def _own_path(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise wrong("expected a path whose ~ names a user of this machine") from None


UrlPath = Annotated[str, Field(min_length=1), AfterValidator(_url_path)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
OwnPath = Annotated[Path, AfterValidator(_own_path)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=0, le=65535)]
LevelName = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
