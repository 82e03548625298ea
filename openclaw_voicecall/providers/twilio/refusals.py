"""Twilio's error codes, and what the owner can do about each."""

from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRateLimited, VendorRejected

NOT_IN_PROGRESS = 21220
_KEYS = "check twilio.accountSid and twilio.authToken (TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN)"
_REGION = "a region other than us1 has a token of its own"
_GEO = "the account may not call there; allow the country under Voice > Geographic Permissions in Twilio's console"
_TO = "check the number that is to be called: E.164, such as +15550001234"
_FROM = "set fromNumber to a number of this Twilio account, or to a caller id it has verified"
_URL = "set publicUrl to an https address that Twilio can reach"

FIXES: dict[int, str] = {
    10001: "the account is not active; look at its state and balance in Twilio's console",
    20003: f"{_KEYS}; {_REGION}",
    20005: "the account is not active; look at its state and balance in Twilio's console",
    20008: "these are test credentials; use those of the live account",
    20404: "the account or the call does not exist there; check twilio.accountSid and twilio.region",
    20429: "too many requests at a time; call more slowly",
    13223: _TO,
    13224: _TO,
    13227: _GEO,
    21201: _TO,
    21205: _URL,
    21210: _FROM,
    21211: _TO,
    21212: _FROM,
    21213: _FROM,
    21214: _TO,
    21215: _GEO,
    21216: _GEO,
    21217: _TO,
    21219: "a trial account calls verified numbers only; verify the number in Twilio's console or upgrade",
    NOT_IN_PROGRESS: "the call is in no state in which this can be done",
    32205: _GEO,
}


class NotInProgress(VendorRejected):
    """The call is over, or it is not answered yet."""


def refusal(
    *,
    operation: str,
    status: int,
    code: int | None,
    message: str,
    request_id: str | None,
    retry_after: float | None,
) -> VendorError:
    """The error for an answer of 400 to 499.

    Args:
        operation: What was asked for, such as "place call".
        status: HTTP status.
        code: Twilio's own code, where the answer had one.
        message: Twilio's words.
        request_id: Twilio's id of the request.
        retry_after: Seconds that Twilio asks us to wait.
    """
    said = message.strip().rstrip(".")[:200] or f"HTTP status {status}"
    text = f"Twilio refuses to {operation}: {said}"
    if code is not None:
        text += f" (code {code})"
    kind: type[VendorError] = VendorRejected
    if status in (401, 403) or code == 20003:
        kind = VendorAuthError
    elif status == 429 or code == 20429:
        kind = VendorRateLimited
    # Geography and verified numbers come as 403 or 400, depending on the product; they are no matter of keys.
    if code is not None and code not in (20003, 20429) and code in FIXES:
        kind = NotInProgress if code == NOT_IN_PROGRESS else VendorRejected
    fix = FIXES.get(code or 0) or (f"{_KEYS}; {_REGION}" if kind is VendorAuthError else "")
    return kind(
        f"{text}; {fix}" if fix else text,
        vendor="twilio",
        operation=operation,
        status=status,
        request_id=request_id,
        retry_after=retry_after,
    )
