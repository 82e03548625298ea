"""What an application asks of a call, checked as Twilio's REST API checks it.

Names of fields are those of Twilio's SDK (`twilio.rest.api.v2010.account.call`); codes are those of its error
dictionary.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from multidict import MultiMapping

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
MAX_TWIML = 4000
"""Characters of the field `Twiml`."""
EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})

CREATE_FIELDS = frozenset({
    "To", "From", "Url", "Twiml", "ApplicationSid", "Method", "FallbackUrl", "FallbackMethod",
    "StatusCallback", "StatusCallbackEvent", "StatusCallbackMethod", "SendDigits", "Timeout", "TimeLimit",
    "Record", "RecordingChannels", "RecordingStatusCallback", "RecordingStatusCallbackMethod",
    "RecordingStatusCallbackEvent", "RecordingConfigurationId", "RecordingTrack", "SipAuthUsername",
    "SipAuthPassword", "MachineDetection", "MachineDetectionTimeout", "MachineDetectionSpeechThreshold",
    "MachineDetectionSpeechEndThreshold", "MachineDetectionSilenceTimeout", "Trim", "CallerId", "AsyncAmd",
    "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod", "Byoc", "CallReason", "CallToken",
    "ClientNotificationUrl", "Passports",
})  # fmt: skip
UPDATE_FIELDS = frozenset({
    "Url", "Method", "Status", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackMethod",
    "Twiml", "TimeLimit",
})  # fmt: skip


class ApiError(Exception):
    """An answer of the REST API that is no success.

    Args:
        status: HTTP status.
        code: Twilio's error code.
        message: Twilio's words.
        blame: Whether a right application would not have asked.
    """

    def __init__(self, status: int, code: int, message: str, *, blame: bool = True) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.blame = blame
        self.document: dict[str, Any] = {
            "code": code,
            "message": message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }


@dataclass(frozen=True, slots=True)
class Orders:
    """What was asked for when the call was placed, or what its number is set to."""

    url: str = ""
    method: str = "POST"
    twiml: str = ""
    fallback_url: str = ""
    fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})
    timeout: float = 60.0
    time_limit: int = 14400
    machine_detection: str = ""
    async_amd: bool = False
    amd_callback: str = ""
    amd_callback_method: str = "POST"
    send_digits: str = ""


@dataclass(frozen=True, slots=True)
class Pickup:
    """What the network does with a placed call."""

    outcome: Literal["answer", "busy", "no-answer", "failed"] = "answer"
    after: float = 0.05
    """Seconds of ringing until then."""
    answered_by: str = "human"
    """What machine detection finds."""
    amd_after: float = 0.1
    """Seconds that machine detection takes."""


def read_orders(form: MultiMapping[str]) -> Orders:
    """The orders in a request for a call, apart from who calls whom. Raises `ApiError`."""
    url, twiml = web_address(form, "Url", 21205), form.get("Twiml", "")
    if not url and not twiml:
        raise ApiError(400, 21205, "Url parameter is required.")
    if len(twiml) > MAX_TWIML:
        raise ApiError(400, 20001, f"Twiml is longer than {MAX_TWIML} characters.")
    digits = form.get("SendDigits", "")
    if not re.fullmatch("[0-9A-D#*wW]{0,32}", digits):
        raise ApiError(400, 21206, "Invalid SendDigits.")
    return Orders(
        url=url,
        method=_method(form, "Method"),
        twiml="" if url else twiml,  # with both, Twilio takes the address
        fallback_url=web_address(form, "FallbackUrl", 21205),
        fallback_method=_method(form, "FallbackMethod"),
        status_callback=web_address(form, "StatusCallback", 21609),
        status_callback_method=_method(form, "StatusCallbackMethod"),
        events=read_events(form) or frozenset(),
        timeout=_number(form, "Timeout", 60, 600, 21208),
        time_limit=read_time_limit(form) or 14400,
        machine_detection=_choice(form, "MachineDetection", ("", "Enable", "DetectMessageEnd")),
        async_amd=_choice(form, "AsyncAmd", ("", "true", "false")) == "true",
        amd_callback=web_address(form, "AsyncAmdStatusCallback", 21609),
        amd_callback_method=_method(form, "AsyncAmdStatusCallbackMethod"),
        send_digits=digits,
    )


def read_events(form: MultiMapping[str]) -> frozenset[str] | None:
    """Reports that are asked for, one field for each; None when one is unknown, and then Twilio sends none at all."""
    asked = form.getall("StatusCallbackEvent", ["completed"])
    return frozenset(asked) if set(asked) <= EVENTS else None


def read_time_limit(form: MultiMapping[str]) -> int | None:
    """Seconds that the call may last; None when nothing is said of it. Raises `ApiError`."""
    return _number(form, "TimeLimit", 0, 10**6, 20001) or None


def check_parties(form: MultiMapping[str], own: Collection[str], blocked: Collection[str]) -> tuple[str, str]:
    """Who calls, and who is called.

    Args:
        form: The request.
        own: Numbers that may call.
        blocked: Beginnings of numbers that the account may not call.

    Raises:
        ApiError: One of them is missing, malformed or not allowed.
    """
    to_number, from_number = form.get("To", ""), form.get("From", "")
    if not to_number:
        raise ApiError(400, 21201, "No 'To' number is specified")
    if not from_number:
        raise ApiError(400, 21213, "No 'From' number is specified")
    if not E164.fullmatch(to_number):
        if re.fullmatch(r"\+[0-9]{1,20}", to_number):
            raise ApiError(400, 21217, f"Phone number {to_number} does not appear to be valid.")
        raise ApiError(400, 21211, f"The phone number you are attempting to call, {to_number}, is not valid.")
    if not E164.fullmatch(from_number):
        raise ApiError(400, 21212, f"The source phone number provided, {from_number}, is not valid.")
    if from_number not in own:
        text = f"The source phone number provided, {from_number}, is not yet verified for your account."
        raise ApiError(400, 21210, text)
    if to_number.startswith(tuple(blocked)):
        raise ApiError(400, 21215, f"Account not authorized to call {to_number}.")
    return from_number, to_number


def web_address(form: MultiMapping[str], name: str, code: int) -> str:
    """An absolute address, or none. Raises `ApiError` with `code`."""
    url = form.get(name, "")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ApiError(400, code, f"{name} is not a valid URL: {url[:200]}") from None
    wrong_name = "_" in host and name.endswith("StatusCallback")
    if parts.scheme not in ("http", "https") or not host or wrong_name or any(c.isspace() for c in url):
        raise ApiError(400, code, f"{name} is not a valid URL: {url[:200]}")
    return url


def _method(form: MultiMapping[str], name: str) -> str:
    method = form.get(name, "POST").upper()
    if method not in ("GET", "POST"):
        raise ApiError(400, 21209, f"{name} is not a valid HTTP method.")
    return method


def _number(form: MultiMapping[str], name: str, default: int, most: int, code: int) -> int:
    text = form.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise ApiError(400, code, f"Invalid {name}: {text[:50]}")
    return int(text)


def _choice(form: MultiMapping[str], name: str, known: tuple[str, ...]) -> str:
    value = form.get(name, "")
    if value not in known:
        raise ApiError(400, 20001, f"Invalid {name}: {value[:50]}")
    return value
