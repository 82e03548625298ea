"""What went wrong at a vendor of chat models, as this package's errors that say what to do."""

import re
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRateLimited, VendorUnavailable
from openclaw_voicecall.providers._http import SAID, failure, unreachable
from openclaw_voicecall.providers._models import retirement_notice
from openclaw_voicecall.providers.chat.vendors import ChatVendor

OPERATION: Final = "respond"


class Refusal(Exception):
    """A vendor says that it does not do what was asked.

    Args:
        message: Said where its own words cannot be found.
        body: Its own words: the JSON, or the text.
        status: HTTP status; None for an error inside a stream.
        headers: Of the answer.
    """

    def __init__(
        self,
        message: str,
        body: Any,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.body = body
        self.status = status
        self.headers = headers or {}


Failure = Refusal | aiohttp.ClientError | OSError | ValueError | RecursionError
FAILURES: Final = (Refusal, aiohttp.ClientError, OSError, ValueError, RecursionError)
"""What can go wrong with a question: a refusal; a connection that cannot be made, breaks or takes too long, which
`OSError` and its `TimeoutError` are; `ValueError` where a stream holds no JSON, `RecursionError` where that never
ends."""

# xAI and Gemini refuse a wrong key with status 400.
_KEY_REFUSED: Final = re.compile(r"(?i)(?:incorrect|invalid)\W+api\W+key|api\W+key\W+(?:not valid|invalid)")
_MODEL_CODES: Final = frozenset({"model_not_found", "model_decommissioned", "model_deprecated"})
_MODEL_GONE: Final = re.compile(
    r"(?i)\bmodels?\b.{0,200}(?:not exist|not found|not a valid|no longer|decommission|deprecat|retired|not available)"
    r"|(?:not a valid|unknown|no such) model"
)
_NO_CREDIT: Final = re.compile(
    r"(?i)insufficient[ _](?:quota|balance|credit|fund)|exceeded your current quota"
)


def is_model_gone(error: Failure) -> bool:
    """Whether the vendor says that it has no such model. Vendors do so with 404, 400, 403 and 410."""
    if not isinstance(error, Refusal) or error.status not in (400, 403, 404, 410, 422):
        return False
    return _code(error) in _MODEL_CODES or _MODEL_GONE.search(_said(error)) is not None


def vendor_error(
    error: Failure,
    vendor: ChatVendor,
    *,
    model: str = "",
    secrets: tuple[str, ...] = (),
    elsewhere: bool = False,
    operation: str = OPERATION,
) -> VendorError:
    """The error to raise for what went wrong.

    Args:
        error: What was raised; one of `FAILURES`.
        vendor: Whose it is.
        model: The model that was asked for.
        secrets: Texts that must not get into the message.
        elsewhere: Whether the configuration gives another address than the vendor's own.
        operation: What was being done.
    """
    if isinstance(error, TimeoutError):
        return unreachable(vendor.name, operation, TimeoutError())
    if isinstance(error, aiohttp.ClientPayloadError):
        return VendorUnavailable(
            f"{vendor.name} broke off its reply: the connection ended",
            vendor=vendor.name,
            operation=operation,
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return _unreachable(error, vendor, operation)
    if not isinstance(error, Refusal):
        return _not_chat(vendor, operation, "it sent something that is no JSON")
    said = _said(error)
    for secret in filter(None, secrets):
        said = said.replace(secret, "***")
    if error.status is None:
        return _broken_off(error, said, vendor, operation)
    return _with_advice(
        failure(vendor.name, operation, error.status, said, headers=error.headers),
        _advice(error, said, vendor, model, elsewhere),
        VendorAuthError if _KEY_REFUSED.search(said) else None,
    )


def not_a_stream(vendor: ChatVendor, content_type: str) -> VendorError:
    """The error for an answer that is no stream of a chat model."""
    return _not_chat(
        vendor, OPERATION, f"it answered with {content_type or 'nothing':.60}, no stream of events"
    )


def gone_advice(vendor: ChatVendor, model: str) -> str:
    """What to do about a model that the vendor does not have."""
    notice = retirement_notice(model, vendor.retired)
    if notice is not None:
        return f"{notice}: set responseModel to {vendor.name}/{vendor.retired[model].replacement}"
    if vendor.name == "ollama":
        return (
            f"get the model with `ollama pull {model}`, or set responseModel to one that `ollama list` shows"
        )
    such = f", such as {vendor.name}/{vendor.example}" if vendor.example != model else ""
    return f"the model {model} does not exist there or this key may not use it; set responseModel to another{such}"


def key_advice(vendor: ChatVendor) -> str:
    """Where the key is set."""
    variables = " or ".join(vendor.key_variables)
    return f"{vendor.setting('apiKey')}{f' ({variables})' if variables else ''}"


def _advice(error: Refusal, said: str, vendor: ChatVendor, model: str, elsewhere: bool) -> str:
    if _KEY_REFUSED.search(said) or error.status == 401:
        return f"check {key_advice(vendor)}"
    if error.status == 402 or _NO_CREDIT.search(f"{said} {_code(error)}"):
        return f"the account at {vendor.label} has no credit left"
    if model and is_model_gone(error):
        return gone_advice(vendor, model)
    if error.status == 404 and elsewhere:
        return f"check {vendor.setting('baseUrl')}: the path with the version, such as /v1, belongs to it"
    if error.status == 404 and model:
        return gone_advice(vendor, model)
    if error.status == 403:
        return f"check what the key may do: {key_advice(vendor)}"
    return ""


def _with_advice(error: VendorError, advice: str, kind: type[VendorError] | None) -> VendorError:
    return (kind or type(error))(
        f"{error}; {advice}" if advice else str(error),
        vendor=error.vendor,
        operation=error.operation,
        status=error.status,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )


def _unreachable(error: aiohttp.ClientError | OSError, vendor: ChatVendor, operation: str) -> VendorError:
    advice = "is it running? `ollama serve` starts it" if vendor.name == "ollama" else ""
    return _with_advice(unreachable(vendor.name, operation, error), advice, None)


def _broken_off(error: Refusal, said: str, vendor: ChatVendor, operation: str) -> VendorError:
    """An error inside the stream: some vendors give an HTTP status as its code."""
    code = _code(error)
    limited = code == "429" or "rate_limit" in code
    status = int(code) if code.isdecimal() and 400 <= int(code) <= 599 else None
    kind = VendorRateLimited if limited else VendorUnavailable
    return kind(
        f"{vendor.name} broke off its reply: {said}", vendor=vendor.name, operation=operation, status=status
    )


def _not_chat(vendor: ChatVendor, operation: str, what: str) -> VendorError:
    return VendorUnavailable(
        f"{vendor.name} does not answer as a chat model: {what}; check {vendor.setting('baseUrl')} if it is set",
        vendor=vendor.name,
        operation=operation,
    )


def _details(error: Refusal) -> Any:
    """The vendor's own words on an error: usually an object, text from xAI, a list of one from Gemini."""
    body: Any = error.body
    if isinstance(body, list):
        body = body[0] if body else None
    return body.get("error", body) if isinstance(body, dict) else body


def _code(error: Refusal) -> str:
    details = _details(error)
    code = details.get("code") or details.get("type") if isinstance(details, dict) else None
    return "" if code is None else str(code)


def _said(error: Refusal) -> str:
    details = _details(error)
    said = details.get("message") if isinstance(details, dict) else details
    if not isinstance(said, str):
        said = error.message
    return "an HTML page" if said.lstrip().startswith("<") else " ".join(said.split())[:SAID]
