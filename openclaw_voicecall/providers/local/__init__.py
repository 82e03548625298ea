"""The local line: a carrier without an account, whose phones are processes on this machine.

It takes the production path: signed webhooks, the public media WebSocket with Twilio's messages, G.711 audio at real
pace. Only the network in between is short.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.carrier import Carrier
    from openclaw_voicecall.api.spec import CarrierSpec, Runtime


@hookimpl
def voicecall_register_carriers(register: "Callable[[CarrierSpec], None]") -> None:
    """Register the carrier `local`.

    The imports are in here because the phone imports this package too, and it needs no pydantic.
    """
    from openclaw_voicecall.api.carrier import CarrierCapabilities
    from openclaw_voicecall.api.spec import CarrierSpec
    from openclaw_voicecall.providers.local.config import LocalConfig

    capabilities = CarrierCapabilities(
        media="stream",
        marks=True,
        clear=True,
        dtmf_out="carrier",
        billed=False,
        signature_headers=("x-local-signature", "x-local-timestamp"),
    )
    register(CarrierSpec(name="local", config=LocalConfig, capabilities=capabilities, open=_open))


@asynccontextmanager
async def _open(config: Any, runtime: "Runtime") -> "AsyncIterator[Carrier]":
    from openclaw_voicecall.providers.local.carrier import open_local_line

    async with open_local_line(config, runtime) as carrier:
        yield carrier
