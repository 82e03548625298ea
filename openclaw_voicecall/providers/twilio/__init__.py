"""Twilio: calls over its REST API, webhooks signed by it, and audio over Media Streams.

The SDK is imported when the carrier is opened, not before.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.carrier import Carrier
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
        marks=True,
        clear=True,
        dtmf_out="in-band",
        transfer=True,
        limits_duration=True,
        machine_detection=True,
    )
    register(CarrierSpec(name="twilio", config=TwilioConfig, capabilities=capabilities, open=_open))


@asynccontextmanager
async def _open(config: "TwilioConfig", runtime: "Runtime") -> "AsyncIterator[Carrier]":
    from openclaw_voicecall.errors import EngineMissing

    try:
        from openclaw_voicecall.providers.twilio.carrier import open_twilio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "twilio":
            raise
        raise EngineMissing(
            "Twilio's SDK is not installed; install it with `pip install 'openclaw-voicecall[twilio]'`",
            vendor="twilio",
            operation="open",
        ) from error
    async with open_twilio(config, runtime) as carrier:
        yield carrier
