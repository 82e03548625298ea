"""Settings of the Twilio carrier."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from openclaw_voicecall.config.fields import PublicUrl, wrong
from openclaw_voicecall.config.sections_openclaw import TwilioKeys

EDGES = {"us1": "ashburn", "ie1": "dublin", "au1": "sydney"}
"""The edge beside each region: the SDK's host names need both."""


def _account_sid(text: str) -> str:
    if not (text.startswith("AC") and text.isascii() and text.isalnum()):
        raise wrong("expected an account SID, such as AC0123456789abcdef0123456789abcdef")
    return text


class TwilioConfig(TwilioKeys):
    """A Twilio account.

    `accountSid` and `authToken` are needed; they are also read from `TWILIO_ACCOUNT_SID` and `TWILIO_AUTH_TOKEN`, and
    the caller id of our calls from `TWILIO_FROM_NUMBER`.
    """

    account_sid: Annotated[str, AfterValidator(_account_sid)] | None = None
    """Account SID, `AC...`. Filled from `TWILIO_ACCOUNT_SID`."""
    api_base_url: PublicUrl | None = None
    """Another address of Twilio's REST API, such as `http://127.0.0.1:9000`; `region` has no effect on it."""
    signing_keys: dict[str, SecretStr] = Field(default_factory=dict)
    """Shared keys for webhook signatures (HMAC-SHA256), by key id. Where there are any, webhooks that are signed with
    the auth token are refused."""
