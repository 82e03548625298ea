"""OpenClaw's agent as responder from outside of OpenClaw, over the gateway's HTTP endpoint.

`responseModel: openclaw/<agentId>`. Inside OpenClaw the same words reach the agent without HTTP.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from openclaw_voicecall import hookimpl

if TYPE_CHECKING:
    from openclaw_voicecall.api.responder import Responder
    from openclaw_voicecall.api.spec import ResponderSpec, Runtime
    from openclaw_voicecall.providers.openclaw.config import OpenClawConfig


@hookimpl
def voicecall_register_responders(register: "Callable[[ResponderSpec], None]") -> None:
    """Register `openclaw`."""
    from openclaw_voicecall.api.spec import ResponderSpec
    from openclaw_voicecall.providers.openclaw.config import OpenClawConfig

    register(
        ResponderSpec(name="openclaw", config=OpenClawConfig, describe=_describe, check=_check, open=_open)
    )


def _describe(config: "OpenClawConfig") -> str:
    from openclaw_voicecall.providers.openclaw.gateway import find_gateway

    return f"agent of the OpenClaw gateway at {find_gateway(config).url}"


async def _check(config: "OpenClawConfig", runtime: "Runtime", model: str) -> str:
    from openclaw_voicecall.providers.openclaw.account import check_gateway
    from openclaw_voicecall.providers.openclaw.gateway import find_gateway

    return await check_gateway(find_gateway(config), model)


@asynccontextmanager
async def _open(config: "OpenClawConfig", runtime: "Runtime", model: str) -> "AsyncIterator[Responder]":
    from openclaw_voicecall.providers.openclaw.gateway import connect, find_gateway
    from openclaw_voicecall.providers.openclaw.responder import GatewayAgent

    gateway = find_gateway(config)
    async with connect(config) as session:
        yield GatewayAgent(session, gateway, model)
