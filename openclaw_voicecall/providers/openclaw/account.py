"""Whether a gateway would take turns, asked without having any agent work."""

import os
from typing import Any, Final

import aiohttp

from openclaw_voicecall.config.openclaw import GATEWAY_VARIABLE
from openclaw_voicecall.errors import VendorError, VendorRejected
from openclaw_voicecall.providers._http import names_proxy
from openclaw_voicecall.providers.openclaw.failures import VENDOR, lost, no_endpoint, refused
from openclaw_voicecall.providers.openclaw.gateway import Gateway

LIMIT: Final = 10.0
OPERATION: Final = "list agents"


async def check_gateway(gateway: Gateway, wanted: str) -> str:
    """Ask for the list of agents, which the same setting switches on as the chat endpoint.

    Args:
        gateway: Where and with what secret.
        wanted: Agent and model, as `agent@model`; both may be empty.

    Returns:
        That the gateway takes the token, and which agent answers.

    Raises:
        VendorError: It would take no turn; the message has the fix.
    """
    agent = wanted.partition("@")[0] or "default"
    try:
        async with (
            aiohttp.ClientSession(
                trust_env=names_proxy(), timeout=aiohttp.ClientTimeout(total=LIMIT)
            ) as session,
            session.get(
                f"{gateway.url}/v1/models", headers=gateway.headers, allow_redirects=False
            ) as response,
        ):
            if response.status == 404 and GATEWAY_VARIABLE in os.environ:
                return "the gateway answers, and OpenClaw's plugin hands turns to its agent"
            if response.status != 200:
                raise refused(gateway, response.status, await response.text(), operation=OPERATION)
            if response.content_type != "application/json":
                found = f"the OpenClaw gateway at {gateway.url} answers with a page"
                raise no_endpoint(gateway, found, operation=OPERATION)
            listed = _agents(await response.json())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise lost(gateway, error, operation=OPERATION) from error
    except (ValueError, RecursionError) as error:
        raise _no_gateway(gateway) from error
    if agent not in listed:
        names = ", ".join(sorted(listed - {"default"})) or "none"
        raise VendorRejected(
            f"the OpenClaw gateway at {gateway.url} knows no agent {agent!r}, only: {names}; set responseModel to one "
            "of them, as openclaw/<agentId>",
            vendor=VENDOR,
            operation=OPERATION,
        )
    return (
        f"the gateway takes the token, and its agent {agent} answers. The gateway cannot limit its tools, so it "
        "answers people that agentTools limits only inside OpenClaw"
    )


def _agents(answer: Any) -> set[str]:
    """Agents by id. Raises `ValueError` for what is no such list."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ValueError("no list")
    ids = [str(row.get("id")) for row in rows if isinstance(row, dict)]
    return {name.removeprefix("openclaw/") for name in ids if name.startswith("openclaw/")}


def _no_gateway(gateway: Gateway) -> VendorError:
    return VendorRejected(
        f"what answers at {gateway.url} is no OpenClaw gateway; check responders.openclaw.baseUrl",
        vendor=VENDOR,
        operation=OPERATION,
    )
