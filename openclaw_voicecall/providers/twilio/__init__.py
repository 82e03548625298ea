"""Twilio: calls over its REST API, webhooks signed by it, and audio over Media Streams.

The SDK is imported when the carrier is opened, not before.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.carrier import Carrier, WebhookRequest
    from openclaw_voicecall.api.numbers import NumberDesk
    from openclaw_voicecall.api.spec import CarrierSpec, Runtime
    from openclaw_voicecall.providers.twilio.config import TwilioConfig


@hookimpl
def voicecall_register_carriers(register: "Callable[[CarrierSpec], None]") -> None:
    """Register the carrier `twilio`."""
    from openclaw_voicecall.api.carrier import CarrierCapabilities
    from openclaw_voicecall.api.spec import CarrierSpec
    from openclaw_voicecall.providers.twilio.config import TwilioConfig

    # A media stream carries digits in only: sent ones have to be tones in the audio.
    capabilities = CarrierCapabilities(
        media="stream",
        turns=True,
        bridges=True,
        announces=True,
        marks=True,
        clear=True,
        dtmf_out="in-band",
        transfer=True,
        limits_duration=True,
        machine_detection=True,
        finds_legs=True,
        signature_headers=("x-twilio-signature",),
        webhook_types=("application/x-www-form-urlencoded",),
    )
    register(
        CarrierSpec(
            name="twilio",
            config=TwilioConfig,
            capabilities=capabilities,
            check=_check,
            numbers=_numbers,
            sign_probe=_sign_probe,
            open=_open,
        )
    )


@asynccontextmanager
async def _open(config: "TwilioConfig", runtime: "Runtime") -> "AsyncIterator[Carrier]":
    with _sdk():
        from openclaw_voicecall.providers.twilio.carrier import open_twilio
    async with open_twilio(config, runtime) as carrier:
        yield carrier


async def _check(config: "TwilioConfig", runtime: "Runtime") -> str:
    with _sdk():
        from openclaw_voicecall.providers.twilio.account import check_account
    return await check_account(config)


@asynccontextmanager
async def _numbers(config: "TwilioConfig", runtime: "Runtime") -> "AsyncIterator[NumberDesk]":
    with _sdk():
        from openclaw_voicecall.providers.twilio.numbers import open_numbers
    async with open_numbers(config) as desk:
        yield desk


def _sign_probe(config: "TwilioConfig", url: str) -> "WebhookRequest":
    with _sdk():
        from openclaw_voicecall.providers.twilio.account import sign_probe
    return sign_probe(config, url)


@contextmanager
def _sdk() -> Iterator[None]:
    """Say how to install the SDK where importing it fails. Raises `EngineMissing`."""
    from openclaw_voicecall.errors import EngineMissing

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "twilio":
            raise
        raise EngineMissing(
            "Twilio's SDK is not installed; install it with `pip install 'openclaw-voicecall[twilio]'`",
            vendor="twilio",
            operation="open",
        ) from error
