"""What goes wrong at a gateway, as errors that say where to look and what to do.

Status codes and words are the gateway's, OpenClaw 2026.9.
"""

import json
from typing import Final

import aiohttp

from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.providers._http import SAID, failure, unreachable
from openclaw_voicecall.providers._messages import whole
from openclaw_voicecall.providers.openclaw.gateway import Gateway

VENDOR: Final = "openclaw"
OPERATION: Final = "agent turn"
ENABLE: Final = (
    "switch it on with `openclaw config set gateway.http.endpoints.chatCompletions.enabled true`, or run the service "
    "inside OpenClaw: `openclaw-voicecall openclaw install`"
)
_AGENTS: Final = (
    "`openclaw agents list` shows which there are; set responseModel to one of them, as openclaw/<agentId>"
)


def refused(gateway: Gateway, status: int, text: str, *, operation: str = OPERATION) -> VendorError:
    """The error for an answer that is no success."""
    said = _said(text)
    where = f"the OpenClaw gateway at {gateway.url}"
    if status == 401:
        return _error(
            VendorAuthError, f"{where} refuses the token: {_key_advice(gateway)}", status, operation
        )
    if status in (404, 405):
        return no_endpoint(gateway, f"{where} answers {status}", operation=operation, status=status)
    plain = failure(VENDOR, operation, status, said)
    if status == 400 and "agent" in said.lower():
        return _error(type(plain), f"{where} says: {said} {_AGENTS}", status, operation)
    return _error(type(plain), f"{where} answers {status}: {said}", status, operation)


def no_endpoint(
    gateway: Gateway, found: str, *, operation: str = OPERATION, status: int | None = None
) -> VendorError:
    """The error for a gateway that has no such endpoint; `found` is what is there."""
    return _error(VendorRejected, f"{found}: its chat endpoint is switched off; {ENABLE}", status, operation)


def lost(gateway: Gateway, error: BaseException, *, operation: str = OPERATION) -> VendorError:
    """The error for a gateway that is not there, hangs, or breaks off."""
    plain = unreachable(VENDOR, operation, error)
    if isinstance(error, TimeoutError):
        text = (
            f"the OpenClaw gateway at {gateway.url} does not answer in time; `openclaw gateway status` tells how it "
            "is, and `openclaw gateway restart` starts it anew"
        )
    elif isinstance(error, aiohttp.ClientConnectorError):
        text = (
            f"no OpenClaw gateway can be reached at {gateway.url}; start it with `openclaw gateway run`, or set "
            "responders.openclaw.baseUrl if it is elsewhere"
        )
    else:
        cause = " ".join(str(error).split())[:SAID] or type(error).__name__
        text = f"the OpenClaw gateway at {gateway.url} broke off: {cause}"
    return _error(type(plain), text, None, operation)


def run_failed(said: object) -> VendorError:
    """The error for a run of the agent that failed after the gateway had taken it."""
    message = said.get("message") if isinstance(said, dict) else said
    text = " ".join(str(message or "no reason given").split())[:SAID]
    return _error(
        VendorUnavailable,
        f"the agent's run in OpenClaw failed: {text}; `openclaw logs` tells more",
        None,
        OPERATION,
    )


def no_words() -> VendorError:
    """The error for a run that ended well and left nothing to say."""
    return _error(VendorError, "OpenClaw's agent gave no words; `openclaw logs` tells more", None, OPERATION)


def _key_advice(gateway: Gateway) -> str:
    what = "set responders.openclaw.apiKey or OPENCLAW_GATEWAY_TOKEN to the gateway's token"
    if not gateway.key:
        return f"none was found; {what}"
    return f"{what}; where OpenClaw runs, it is gateway.auth.token in openclaw.json"


def _said(text: str) -> str:
    """The gateway's own words on an error: usually `{"error": {"message": ...}}`, sometimes plain text."""
    try:
        error = json.loads(text)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    return (
        "an HTML page"
        if text.lstrip().startswith("<")
        else " ".join(text.split())[:SAID] or "no reason given"
    )


def _error(kind: type[VendorError], text: str, status: int | None, operation: str) -> VendorError:
    return kind(whole(text), vendor=VENDOR, operation=operation, status=status)
