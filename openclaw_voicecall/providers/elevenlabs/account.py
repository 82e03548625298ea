"""An ElevenLabs account: its key and address, its refusals in words that help, and a look at whether it works."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRejected
from openclaw_voicecall.providers._http import SAID, base_address, failure, names_proxy, unreachable
from openclaw_voicecall.providers._messages import json_value

VENDOR: Final = "elevenlabs"
ADDRESS: Final = "https://api.elevenlabs.io"
CHECK_LIMIT: Final = 10.0
"""Seconds for the request that looks at the account."""

_QUOTA: Final = frozenset({"quota_exceeded", "insufficient_credits"})
_VOICE: Final = frozenset({"voice_not_found", "voice_does_not_exist", "voice_id_does_not_exist"})
_KEY: Final = frozenset({"invalid_api_key", "needs_authorization", "authentication_error", "auth_error"})


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom to ask.

    Args:
        base: Address of the API, without `/v1` and without a slash at its end.
        key: The API key.
        settings: Section of the configuration it comes from, such as `tts.providers.elevenlabs`.
    """

    base: str
    key: str = field(repr=False)
    settings: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What every request and handshake carries."""
        return {"xi-api-key": self.key}

    def refusal(
        self,
        operation: str,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> VendorError:
        """The error for a refusal, saying what to change where that is known.

        ElevenLabs answers 401 both to a wrong key and to an account without credits (its help, "API - Error Code 400
        or 401"); only `code` tells them apart.

        Args:
            operation: What was asked for, such as "speak".
            status: HTTP status.
            code: The vendor's word for it, such as `quota_exceeded`.
            message: The vendor's sentence.
            headers: Of the answer.
        """
        said = " ".join(message.replace(self.key, "***").split())[:SAID]
        if code in _QUOTA:
            return VendorRejected(
                f"{VENDOR}: the account's quota is used up ({operation}): {said}",
                vendor=VENDOR,
                operation=operation,
                status=status,
                request_id=(headers or {}).get("request-id"),
            )
        hint = ""
        if code in _VOICE:
            hint = f"; check {self.settings}.speakerVoiceId"
        elif code in _KEY or (status == 401 and not code):
            hint = f"; check {self.settings}.apiKey or ELEVENLABS_API_KEY"
        words = f"{said} ({code})" if code and said else said or code
        return failure(VENDOR, operation, status, words + hint, headers=headers)


def account(api_key: SecretStr | None, base_url: str | None, *, settings: str) -> Account:
    """The account of a section of the configuration.

    Raises:
        VendorAuthError: There is no key.
        ConfigError: The address is none.
    """
    key = api_key.get_secret_value().strip() if api_key is not None else ""
    if not key:
        raise VendorAuthError(
            f"ElevenLabs needs a key: set {settings}.apiKey or ELEVENLABS_API_KEY",
            vendor=VENDOR,
            operation="open",
        )
    return Account(base_address(base_url, ADDRESS, setting=f"{settings}.baseUrl"), key, settings)


def open_session(*, connect: float, stall: float | None = None) -> aiohttp.ClientSession:
    """A client whose connections are kept between utterances; close it.

    Args:
        connect: Seconds to connect.
        stall: Seconds between two pieces of an answer; None for whoever has limits of its own: each piece arms a timer.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=stall),
        trust_env=names_proxy(),
    )


def voice_path(voice: str) -> str:
    """A voice's id as a part of a path."""
    return quote(voice, safe="")


async def refused(who: Account, operation: str, response: aiohttp.ClientResponse) -> VendorError:
    """The error for an answer that is no success; reads what it says."""
    try:
        text = (await response.content.read(64 * 1024)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError):
        text = ""
    code, message = read_refusal(text)
    return who.refusal(operation, response.status, code, message or response.reason or "", response.headers)


def read_refusal(text: str) -> tuple[str, str]:
    """Code and message in the body of a refusal.

    `{"detail": {"type", "code", "message", "status", ...}}`, where `status` is the older name of `code`;
    `{"detail": [{"loc", "msg"}]}` for parameters that are wrong; `{"detail": "..."}` for unknown paths (ElevenLabs
    docs, "Errors").
    """
    try:
        detail: Any = json_value(text)["detail"]
    except (ValueError, LookupError, TypeError):
        return "", text
    if isinstance(detail, dict):
        code = detail.get("code") or detail.get("status") or detail.get("type") or ""
        return str(code), str(detail.get("message") or "")
    if isinstance(detail, list):
        faults = [item for item in detail if isinstance(item, dict)]
        places: list[Any] = [item.get("loc") for item in faults]
        where = [".".join(map(str, place)) if isinstance(place, list) else "" for place in places]
        return "", "; ".join(f"{place}: {item.get('msg')}" for place, item in zip(where, faults, strict=True))
    return "", str(detail)


async def check_voice(who: Account, voice: str) -> str:
    """Ask for a voice; returns what came of it. Raises `VendorError`, for an unknown voice too."""
    found = await _get(who, f"/v1/voices/{voice_path(voice)}", "check voice")
    if found is None:
        return "the key is accepted; it may not read voices, so the voice was not looked up"
    return f"the key is accepted; the voice is {str(found.get('name') or voice)[:80]}"


async def check_subscription(who: Account) -> str:
    """Ask for the account's plan; returns what is left of it. Raises `VendorError`."""
    plan = await _get(who, "/v1/user/subscription", "check account")
    if plan is None:
        return "the key is accepted; it may not read the account"
    used, limit = plan.get("character_count"), plan.get("character_limit")
    return f"the key is accepted; {used} of {limit} credits of the {plan.get('tier')} plan are used"


async def _get(who: Account, path: str, operation: str) -> dict[str, Any] | None:
    """One harmless request. None: the key is good, but made for other things (`missing_permissions`)."""
    try:
        async with (
            open_session(connect=CHECK_LIMIT, stall=CHECK_LIMIT) as session,
            session.get(who.base + path, headers=who.headers, allow_redirects=False) as response,
        ):
            text = await response.text()
            if response.status == 200:
                body = json_value(text)
                return body if isinstance(body, dict) else {}
            code, message = read_refusal(text)
            if code == "missing_permissions":
                return None
            raise who.refusal(operation, response.status, code, message, response.headers)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise unreachable(VENDOR, operation, error) from error
