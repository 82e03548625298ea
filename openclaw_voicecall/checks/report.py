"""What the checks found, and how a check becomes a finding whatever happens in it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from openclaw_voicecall.errors import (
    ConfigError,
    EngineMissing,
    PluginError,
    PortInUse,
    ServiceError,
    StoreError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    quiet,
)

SHORTEST_SECRET = 8
"""Characters from which on a configured secret is struck out of everything that is shown: shorter ones are words."""
HIDDEN = "**********"
WRONG_SETTING = "a setting is wrong or missing"


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    hop: str
    """Where on the way of a call: `configuration`, `carrier`, `trunk`, `model`, `transcriber`, `synthesizer`,
    `responder`, `turn detector`, `tools`, `public address`, `signature`, `media stream`, `SIP address`, `call set-up`
    or `number`."""
    name: str = ""
    """Which one, such as `openai`."""
    status: Status = Status.OK
    text: str = ""
    """What was found, in one sentence."""
    cause: str = ""
    """Why, as far as it is known."""
    fix: str = ""
    """What to do about it; never empty in a failed one."""

    @property
    def label(self) -> str:
        """Hop and name, such as `transcriber openai`."""
        return f"{self.hop} {self.name}".rstrip()

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {
            "hop": self.hop,
            "name": self.name,
            "status": str(self.status),
            "text": self.text,
            "cause": self.cause,
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What a check looks at."""

    hop: str
    name: str
    section: str
    """Where in the configuration its settings stand."""

    def good(self, text: str) -> Finding:
        """It works."""
        return Finding(hop=self.hop, name=self.name, text=text)

    def wrong(self, text: str, cause: str, fix: str) -> Finding:
        """It does not."""
        return Finding(hop=self.hop, name=self.name, status=Status.FAILED, text=text, cause=cause, fix=fix)


@dataclass(slots=True)
class Report:
    """All findings, in the order in which they were made.

    Args:
        show: Gets each as soon as it is there.
    """

    show: Callable[[Finding], None] = lambda finding: None
    findings: list[Finding] = field(default_factory=list)
    secrets: tuple[str, ...] = ()
    """What must not be shown, longest first."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status is not Status.FAILED for finding in self.findings)

    def hide(self, secrets: Iterable[str]) -> None:
        """Strike these out of all findings from now on."""
        long = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self.secrets = tuple(sorted(long, key=len, reverse=True))

    def add(self, finding: Finding) -> Finding:
        """Keep a finding and show it."""
        clean = replace(
            finding,
            text=self._without_secrets(finding.text),
            cause=self._without_secrets(finding.cause),
            fix=self._without_secrets(finding.fix),
        )
        self.findings.append(clean)
        self.show(clean)
        return clean

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.ok, "findings": [finding.to_json() for finding in self.findings]}

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return quiet(text)


async def attempt(
    check: Callable[[], Awaitable[Finding]], *, hop: str, name: str = "", limit: float, section: str = ""
) -> Finding:
    """Make a check, and turn whatever it raises, and its being late, into a failed finding.

    Args:
        check: Makes the finding.
        hop: Where on the way of a call.
        name: Which one.
        limit: Seconds that it may take.
        section: Where in the configuration its settings stand.
    """
    try:
        async with asyncio.timeout(limit):
            return await check()
    except Exception as error:  # a check that breaks is a finding like any other
        return failure(error, hop=hop, name=name, limit=limit, section=section)


def failure(error: Exception, *, hop: str, name: str = "", limit: float = 0.0, section: str = "") -> Finding:
    """The finding for an error; see `attempt`."""
    text = {
        ConfigError: WRONG_SETTING,
        VendorAuthError: "the key is refused",
        EngineMissing: "it is not installed",
        VendorRateLimited: "too many requests",
        VendorRejected: "the request is refused",
        VendorError: "it fails",
        PortInUse: "the port is taken",
    }
    said = next((words for kind, words in text.items() if isinstance(error, kind)), "the check fails")
    cause = str(error)
    if isinstance(error, TimeoutError) and not cause:
        said, cause = "it does not answer", f"nothing came within {limit:g} s"
    if not isinstance(error, ConfigError):
        cause = " ".join(cause.split())
    if not cause:
        cause = type(error).__name__
    return Finding(hop=hop, name=name, status=Status.FAILED, text=said, cause=cause, fix=_fix(error, section))


def _fix(error: Exception, section: str) -> str:
    where = section or "the configuration"
    match error:
        case ConfigError():
            return "correct that setting; `openclaw-voicecall config check` shows it with its line"
        case PluginError():
            return "correct the plugin, or leave it out with plugins.disabled"
        case VendorError(vendor="openclaw"):
            return "do as said above; `openclaw gateway status` tells how the gateway is"
        case EngineMissing():
            return "install it as said above, or choose another one"
        case VendorAuthError():
            return f"put the right key into {where}, or into the environment variable that it is filled from"
        case VendorRateLimited():
            return "wait a little, or have the vendor raise the account's limits"
        case VendorRejected():
            return f"look at {where}, and at the account on the vendor's site"
        case VendorError() | TimeoutError() | OSError():
            return f"check the network and the vendor's status page, and {where} if it names another address"
        case StoreError() | PortInUse():
            return "do as said above"
        case ServiceError():
            return "restart the service"
        case _:
            return "this is a bug of the program or of a plugin: please report it with what is said above"
