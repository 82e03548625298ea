"""Every exception this package raises on purpose.

```
VoiceCallError                 code, retryable, http_status, exit_code, end_reason
  ConfigError                  a setting is wrong: names the key, what was expected, where it was read
    ScriptError                a phone script is wrong: names the file and the line
  PluginError
    PluginLoadError            a plugin could not be loaded or misspells a hook
    DuplicateProvider          two plugins register one name
    UnknownProvider            the config names a provider nobody registered; lists the known
  ProtocolError
    LocalProtocolError         our side asked for what the state forbids (a bug here, 409 on the control API)
    RemoteProtocolError        a carrier or vendor said what the state or its own protocol forbids
  WebhookError
    InvalidSignature, ReplayedWebhook, MalformedWebhook, WrongContentType, WebhookTooLarge
  PolicyError
    CallNotAllowed, LimitExceeded
  KeyReused                    an idempotency key came with another request than before
  VendorError                  vendor, operation, status, request_id, retry_after
    VendorUnavailable          connect errors, 5xx, 408, 425; retryable
    VendorTimeout              retryable
    VendorRateLimited          retryable after `retry_after` seconds
    VendorRejected             4xx: our request is wrong; never retried
    VendorAuthError            401 and 403
    EngineMissing              an engine that runs on this machine is not installed; says how to install it
  MediaError
    StreamRejected, StreamLost, CodecError
  HostError                    the program we live in refused something, or is gone
  CallNotFound, CallIsOver
  ServiceError
    ServiceRunning, ServiceNotRunning, PortInUse
  StoreError
```

Exceptions are for the caller of a function. A call's fate is an `EndReason` value, and anything that goes
wrong inside a running call becomes an event for its core.
"""

import re
from typing import ClassVar, Final


class VoiceCallError(Exception):
    """Base of all errors of this package. No message holds a secret that `keep_quiet` was told of."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(quiet(each) if isinstance(each, str) else each for each in arguments))

    code: ClassVar[str] = "error"
    """Stable word for machines, the same in JSON output, logs and the control API."""
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later without a change."""
    http_status: ClassVar[int] = 500
    """Status that the control API answers with."""
    exit_code: ClassVar[int] = 1
    """Exit code of the command line."""
    end_reason: ClassVar[str | None] = None
    """End reason of a call that this error ends, where it ends one."""


class ConfigError(VoiceCallError):
    """A setting is missing, unknown, or of the wrong type or value."""

    code = "config"
    http_status = 422
    exit_code = 78


class ScriptError(ConfigError):
    """A phone script cannot be read or says something unknown; the message names file and line."""

    code = "script"


class InvalidNumber(ConfigError):
    """A phone number is not E.164, such as +15550001234."""

    code = "number"
    exit_code = 64


class PluginError(VoiceCallError):
    """Something about plugins."""

    code = "plugin"
    exit_code = 70


class PluginLoadError(PluginError):
    """A plugin cannot be imported, or implements a hook that does not exist."""

    code = "plugin-load"


class DuplicateProvider(PluginError):
    """Two plugins register a provider of one kind under one name."""

    code = "duplicate-provider"


class UnknownProvider(PluginError):
    """The configuration names a provider that no plugin registered."""

    code = "unknown-provider"
    http_status = 422
    exit_code = 78


class ProtocolError(VoiceCallError):
    """A party broke the order or the form of a protocol."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our side asked for what the state of the call forbids."""

    code = "local-protocol"
    http_status = 409


class RemoteProtocolError(ProtocolError):
    """A carrier or vendor said what its own protocol, or the state of the call, forbids."""

    code = "remote-protocol"
    http_status = 502


class WebhookError(VoiceCallError):
    """A webhook request was not accepted."""

    code = "webhook"
    http_status = 400


class InvalidSignature(WebhookError):
    """The signature is missing or wrong."""

    code = "invalid-signature"
    http_status = 401


class ReplayedWebhook(WebhookError):
    """A request with this signature was already taken."""

    code = "replayed-webhook"
    http_status = 409


class MalformedWebhook(WebhookError):
    """The body is not what the carrier documents."""

    code = "malformed-webhook"


class WrongContentType(WebhookError):
    """The body is of a type that the carrier does not send."""

    code = "wrong-content-type"
    http_status = 415


class WebhookTooLarge(WebhookError):
    """The body is larger than a carrier sends."""

    code = "webhook-too-large"
    http_status = 413


class PolicyError(VoiceCallError):
    """A policy forbids the call."""

    code = "policy"
    http_status = 403
    exit_code = 77


class CallNotAllowed(PolicyError):
    """A policy refuses this call; the message says which and why."""

    code = "call-not-allowed"


class LimitExceeded(PolicyError):
    """A limit on calls is reached."""

    code = "limit-exceeded"
    retryable = True
    http_status = 429
    exit_code = 75


class KeyReused(VoiceCallError):
    """An idempotency key stands for a call that was asked for in another way."""

    code = "key-reused"
    http_status = 409
    exit_code = 64


class VendorError(VoiceCallError):
    """A vendor's service failed. The message carries no secret.

    Args:
        message: What happened and what to do.
        vendor: Name of the provider, as in the configuration.
        operation: What was being done, such as "place call".
        status: HTTP status or WebSocket close code, when there was one.
        request_id: The vendor's id of the request, for its support.
        retry_after: Seconds the vendor asked us to wait.
    """

    code = "vendor"
    http_status = 502
    exit_code = 69

    def __init__(
        self,
        message: str,
        *,
        vendor: str = "",
        operation: str = "",
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.vendor = vendor
        self.operation = operation
        self.status = status
        self.request_id = None if request_id is None else quiet(request_id)
        self.retry_after = retry_after


class VendorUnavailable(VendorError):
    """The vendor cannot be reached or answers with a server error."""

    code = "vendor-unavailable"
    retryable = True


class DialUnknown(VendorUnavailable):
    """Whether the carrier placed a call is unknown. It is looked for there and never placed again."""

    code = "dial-unknown"
    retryable = False


class VendorTimeout(VendorError):
    """The vendor did not answer in time."""

    code = "vendor-timeout"
    retryable = True


class VendorRateLimited(VendorError):
    """The vendor asks us to slow down."""

    code = "vendor-rate-limited"
    retryable = True


class VendorRejected(VendorError):
    """The vendor refuses the request as wrong; repeating it would not help."""

    code = "vendor-rejected"


class VendorAuthError(VendorRejected):
    """The vendor refuses our key."""

    code = "vendor-auth"


class CallIsGone(VendorRejected):
    """The vendor knows no call of this id, or no more."""

    code = "call-is-gone"


class EngineMissing(VendorError):
    """A speech engine that runs on this machine is not installed."""

    code = "engine-missing"
    exit_code = 69


class MediaError(VoiceCallError):
    """Something about a media stream."""

    code = "media"
    http_status = 502
    end_reason = "media-lost"


class StreamRejected(MediaError):
    """A media stream was refused: unknown or used token, or no valid start in time."""

    code = "stream-rejected"
    http_status = 403


class StreamLost(MediaError):
    """A media stream broke off."""

    code = "stream-lost"


class CodecError(MediaError):
    """Audio is not in the negotiated format."""

    code = "codec"


class HostError(VoiceCallError):
    """The program we live in, such as OpenClaw, refused something or is gone."""

    code = "host"
    http_status = 502
    exit_code = 69


class CallNotFound(VoiceCallError):
    """No call has this id."""

    code = "call-not-found"
    http_status = 404
    exit_code = 66


class CallIsOver(VoiceCallError):
    """The call exists, but it has ended."""

    code = "call-ended"
    http_status = 410
    exit_code = 66


class ServiceError(VoiceCallError):
    """Something about the running service."""

    code = "service"
    exit_code = 69


class ServiceRunning(ServiceError):
    """Another process already owns the state directory."""

    code = "service-running"
    http_status = 409


class ServiceNotRunning(ServiceError):
    """The command needs a running service."""

    code = "service-not-running"


class PortInUse(ServiceError):
    """The port is taken; the message names the process where the system tells it."""

    code = "port-in-use"


class StoreError(VoiceCallError):
    """The state directory or its database cannot be used."""

    code = "store"
    exit_code = 74


_MASK: Final = "***"
_SHORTEST_SECRET: Final = 6
"""Characters; shorter words would be struck out of ordinary text, and nobody has such a key."""
_CREDENTIALS: Final = re.compile(r"(?i)\b((?:basic|bearer|token)\s+)(?=\S*\d)[\w.~+/=:-]{8,}")
"""What stands in a header, also in a form that nobody told us of."""
_IN_ADDRESS: Final = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(@)")
_secrets: tuple[str, ...] = ()


def keep_quiet(*secrets: str) -> None:
    """Name texts that nothing may hold that people read: every key of the configuration, once it is known.

    Vendors say keys back in their errors, and errors get into records, answers and terminals.
    """
    global _secrets  # noqa: PLW0603 what a process knows of is the same for all of it
    known = {*_secrets, *(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)}
    _secrets = tuple(sorted(known, key=len, reverse=True))  # the longer first: one may contain another


def holds_secret(text: str) -> bool:
    """Whether a secret that is known is in a text."""
    return any(secret in text for secret in _secrets)


def quiet(text: str) -> str:
    """A text without the secrets that are known, and without what a header carries."""
    for secret in _secrets:
        text = text.replace(secret, _MASK)
    return _IN_ADDRESS.sub(rf"\1{_MASK}\2", _CREDENTIALS.sub(rf"\1{_MASK}", text))
