"""The account: whether Twilio takes its key and lets it call, and a request as Twilio would sign it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from twilio.request_validator import (  # type: ignore[import-untyped] # the SDK ships no types
    HMAC_SHA1,
    HMAC_SHA256,
    RequestValidator,
)

from openclaw_voicecall.api.carrier import WebhookRequest
from openclaw_voicecall.errors import ConfigError, VendorRejected
from openclaw_voicecall.providers.twilio.config import TwilioConfig
from openclaw_voicecall.providers.twilio.rest import TwilioApi, asked, open_api
from openclaw_voicecall.providers.twilio.signatures import SETTINGS_HEADER
from openclaw_voicecall.providers.twilio.webhooks import SIGNATURE_HEADER

OPERATION = "fetch account"
ACTIVE = "active"


def credentials(config: TwilioConfig) -> tuple[str, str]:
    """Account SID and auth token. Raises `ConfigError` when one is missing."""
    account_sid = config.account_sid or ""
    auth_token = config.auth_token.get_secret_value().strip() if config.auth_token is not None else ""
    for value, key, variable in (
        (account_sid, "accountSid", "TWILIO_ACCOUNT_SID"),
        (auth_token, "authToken", "TWILIO_AUTH_TOKEN"),
    ):
        if not value:
            raise ConfigError(f"twilio.{key}: expected a value, here or in {variable}; found none")
    return account_sid, auth_token


@asynccontextmanager
async def open_account(config: TwilioConfig) -> AsyncIterator[TwilioApi]:
    """The REST API of the configured account. Raises `ConfigError` when its id or token is missing."""
    account_sid, auth_token = credentials(config)
    async with open_api(account_sid, auth_token, region=config.region, base_url=config.api_base_url) as api:
        yield api


async def check_account(config: TwilioConfig) -> str:
    """Fetch the account (`GET /Accounts/{sid}`), which costs nothing.

    Returns:
        Its name, state and kind, as a phrase.

    Raises:
        ConfigError: Its id or token is missing.
        VendorRejected: It is suspended or closed: Twilio would refuse every call.
        VendorError: Twilio refuses the token, or cannot be reached.
    """
    account_sid, _ = credentials(config)
    async with open_account(config) as api:
        account = await asked(OPERATION, api.client.api.v2010.accounts(account_sid).fetch_async())
    name, status = str(account.friendly_name or account_sid), str(account.status)
    if status != ACTIVE:
        raise VendorRejected(
            f'Twilio says that the account "{name}" is {status}; look at its state and balance in Twilio\'s console',
            vendor="twilio",
            operation=OPERATION,
        )
    trial = ", a trial account: it calls verified numbers only" if str(account.type) == "Trial" else ""
    return f'the account "{name}" is {status}{trial}'


def sign_probe(config: TwilioConfig, url: str) -> WebhookRequest:
    """A status report that a call which never was is over, signed as Twilio would. Raises `ConfigError`.

    Where `signingKeys` are configured the first of them signs, otherwise the auth token; the schemes are those of
    `signatures`.
    """
    account_sid, auth_token = credentials(config)
    fields = {
        "AccountSid": account_sid,
        "CallSid": f"CA{'0' * 32}",
        "CallStatus": "completed",
        "Direction": "inbound",
        "From": "",
        "To": "",
    }
    headers = {"content-type": "application/x-www-form-urlencoded"}
    secret, algorithm = auth_token, HMAC_SHA1
    if config.signing_keys:
        name, key = next(iter(config.signing_keys.items()))
        secret, algorithm = key.get_secret_value().strip(), HMAC_SHA256
        headers[SETTINGS_HEADER] = f"key={name},algorithm={HMAC_SHA256}"
    headers[SIGNATURE_HEADER] = RequestValidator(secret).compute_signature(url, fields, algorithm)
    return WebhookRequest(method="POST", url=url, headers=headers, body=urlencode(fields).encode())
