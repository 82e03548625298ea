"""Chat models as responders: every vendor whose API is OpenAI's, and any server that speaks it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.responder import Responder
    from openclaw_voicecall.api.spec import ResponderSpec, Runtime
    from openclaw_voicecall.providers.chat.config import ChatConfig
    from openclaw_voicecall.providers.chat.connection import Connections
    from openclaw_voicecall.providers.chat.vendors import ChatVendor


@hookimpl
def voicecall_register_responders(register: "Callable[[ResponderSpec], None]") -> None:
    """Register a responder for each vendor, and `custom`."""
    from openclaw_voicecall.api.spec import ResponderSpec
    from openclaw_voicecall.providers.chat.config import ChatConfig
    from openclaw_voicecall.providers.chat.connection import Connections
    from openclaw_voicecall.providers.chat.vendors import VENDORS

    for vendor in VENDORS:
        register(
            ResponderSpec(
                name=vendor.name,
                config=ChatConfig,
                describe=partial(_describe, vendor),
                notices=partial(_notices, vendor),
                check=partial(_check, vendor),
                open=partial(_open, vendor, Connections(vendor)),
            )
        )


def _describe(vendor: "ChatVendor", config: "ChatConfig") -> str:
    return f"chat model at {config.base_url}" if config.base_url else f"chat model of {vendor.label}"


def _notices(vendor: "ChatVendor", config: "ChatConfig", model: str) -> Sequence[str]:
    from openclaw_voicecall.providers._models import retirement_notice

    notice = retirement_notice(model, vendor.retired)
    return () if notice is None else (notice,)


async def _check(vendor: "ChatVendor", config: "ChatConfig", runtime: "Runtime", model: str) -> str:
    from openclaw_voicecall.providers.chat.connection import check_account

    _named(vendor, model)
    return await check_account(vendor, config, model)


@asynccontextmanager
async def _open(
    vendor: "ChatVendor", connections: "Connections", config: "ChatConfig", runtime: "Runtime", model: str
) -> "AsyncIterator[Responder]":
    _named(vendor, model)
    async with connections.open(config) as connection:
        from openclaw_voicecall.providers.chat.responder import ChatResponder

        yield ChatResponder(connection, vendor, config, model)


def _named(vendor: "ChatVendor", model: str) -> None:
    from openclaw_voicecall.errors import ConfigError

    if not model:
        raise ConfigError(
            f"responseModel: expected a model after the vendor, such as {vendor.name}/{vendor.example}"
        )
