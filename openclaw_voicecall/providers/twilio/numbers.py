"""The account's phone numbers: whom Twilio asks when one is called (`IncomingPhoneNumbers` of the REST API)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openclaw_voicecall.api.numbers import NumberSettings
from openclaw_voicecall.errors import VendorRejected
from openclaw_voicecall.providers.twilio.account import open_account
from openclaw_voicecall.providers.twilio.config import TwilioConfig
from openclaw_voicecall.providers.twilio.rest import TwilioApi, asked


class TwilioNumbers:
    """The numbers of one account.

    Args:
        api: Its REST API.
    """

    def __init__(self, api: TwilioApi) -> None:
        self._numbers = api.client.incoming_phone_numbers

    async def read(self, number: str) -> NumberSettings | None:
        """The settings of a number; None when it is not the account's. Raises `VendorError`."""
        found = await self._find(number)
        if found is None:
            return None
        abilities = found.capabilities if isinstance(found.capabilities, dict) else {}
        return NumberSettings(
            number=number,
            voice_url=str(found.voice_url or ""),
            method=str(found.voice_method or "POST"),
            status_callback=str(found.status_callback or ""),
            handled_by=_handler(found),
            takes_calls=bool(abilities.get("voice", True)),
        )

    async def set_voice_url(self, number: str, url: str) -> None:
        """Have Twilio POST to `url` when the number is called. Raises `VendorRejected` where it is not ours."""
        found = await self._find(number)
        if found is None:
            raise VendorRejected(
                f"{number} is no number of this Twilio account", vendor="twilio", operation="update number"
            )
        changes = {"voice_url": url, "voice_method": "POST"}
        # Either of them takes the calls before the address is asked; an empty text takes it away.
        changes |= {name: "" for name in ("voice_application_sid", "trunk_sid") if getattr(found, name)}
        await asked("update number", self._numbers(found.sid).update_async(**changes))

    async def _find(self, number: str) -> Any:
        listed = await asked("list numbers", self._numbers.list_async(phone_number=number, limit=20))
        # Twilio's filter takes parts of numbers, too.
        return next((found for found in listed if found.phone_number == number), None)


@asynccontextmanager
async def open_numbers(config: TwilioConfig) -> AsyncIterator[TwilioNumbers]:
    """Open the numbers of the configured account. Raises `ConfigError` when its id or token is missing."""
    async with open_account(config) as api:
        yield TwilioNumbers(api)


def _handler(found: Any) -> str:
    if found.trunk_sid:
        return f"the SIP trunk {found.trunk_sid}"
    if found.voice_application_sid:
        return f"the TwiML application {found.voice_application_sid}"
    return ""
