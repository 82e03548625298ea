"""The numbers: does the carrier ask us when one of them is called?"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openclaw_voicecall.api.numbers import NumberDesk, NumberSettings
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.checks.parts import Part
from openclaw_voicecall.checks.report import Finding, Report, Status, attempt

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

NUMBER = "number"
LIMIT = 60.0
"""Seconds for a look at one number, and for a change."""
SIP_TRUNK = "the SIP trunk"
"""How carriers name one in `handled_by`."""
_DEFAULT_PORTS = {"http": 80, "https": 443}

Consent = Callable[[str], bool]
"""Asked whether something may be changed; gets a question for people."""


async def check_numbers(
    report: Report,
    config: "VoiceCallConfig",
    carrier: Part,
    runtime: Runtime,
    *,
    url: str,
    consent: Consent | None,
    sip_address: str = "",
) -> None:
    """Look at `fromNumber` and every number of `numbers`, and set where its calls go if that is wanted.

    Args:
        report: Takes the findings.
        config: The configuration.
        carrier: The carrier.
        runtime: For its plugin.
        url: The webhooks' public address.
        consent: Asked before a number is changed; None to change nothing.
        sip_address: Where a SIP trunk may bring its calls instead.
    """
    ours = list(dict.fromkeys([*([config.from_number] if config.from_number else []), *config.numbers]))
    if carrier.spec.numbers is None:
        return
    if not ours:
        report.add(
            Finding(
                hop=NUMBER,
                status=Status.FAILED,
                text="no number is configured",
                cause="fromNumber is not set: nobody can be called, and nobody can call",
                fix=f"set fromNumber to a number of the {carrier.name} account, such as +15550001234",
            )
        )
    # Who takes no calls needs none to arrive.
    severity = Status.FAILED if config.inbound_policy != "disabled" else Status.WARNING
    for number in ours:
        visit = _Visit(carrier, runtime, number, url, severity, sip_address)
        finding = await attempt(visit.look, hop=NUMBER, name=number, limit=LIMIT, section=carrier.section)
        # People may think as long as they like; only the carrier has a limit.
        if visit.wrong and consent is not None and consent(visit.question):
            finding = await attempt(visit.mend, hop=NUMBER, name=number, limit=LIMIT, section=carrier.section)
        report.add(finding)


@dataclass(slots=True)
class _Visit:
    """A look at one number, and maybe its change."""

    carrier: Part
    runtime: Runtime
    number: str
    url: str
    severity: Status
    """How bad it is when calls do not come here."""
    sip_address: str = ""
    wrong: str = ""
    """Why calls do not come here, where that can be changed."""

    @property
    def question(self) -> str:
        return f"{self.number}: {self.wrong}. Set it to {self.url} at {self.carrier.name}?"

    async def look(self) -> Finding:
        async with self._desk() as desk:
            settings = await desk.read(self.number)
        name = self.carrier.name
        if settings is None:
            return self._finding(
                f"the {name} account has no such number",
                cause="calls to it do not come here; calls from it work only where it is a verified caller id",
                fix="set fromNumber to a number of this account, or use the account that owns it",
            )
        if not settings.takes_calls:
            return self._finding(
                "it cannot be called",
                cause=f"{name} says that the number has no voice",
                fix="choose a number with voice",
            )
        if self.sip_address and settings.handled_by.startswith(SIP_TRUNK):
            return self._good(f"{settings.handled_by} takes its calls; it has to lead to {self.sip_address}")
        self.wrong = _what_is_wrong(settings, name, self.url)
        if self.wrong:
            return self._finding(
                "calls to it do not come here",
                cause=self.wrong,
                fix=f"`openclaw-voicecall doctor --fix` sets it; by hand: {self.url} with POST, at {name}",
            )
        return self._good(f"{name} asks {self.url} when it is called")

    async def mend(self) -> Finding:
        name = self.carrier.name
        async with self._desk() as desk:
            await desk.set_voice_url(self.number, self.url)
            changed = await desk.read(self.number)
        left = (
            _what_is_wrong(changed, name, self.url)
            if changed
            else f"{name} does not show the number any more"
        )
        if left:
            fix = f"set {self.url} with POST by hand, at {name}"
            return self._finding("it was set, and is still wrong", cause=left, fix=fix)
        return self._good(f"now {name} asks {self.url} when it is called; before, {self.wrong}")

    def _desk(self) -> AbstractAsyncContextManager[NumberDesk]:
        opened: AbstractAsyncContextManager[NumberDesk] = self.carrier.spec.numbers(
            self.carrier.settings, self.runtime
        )
        return opened

    def _good(self, text: str) -> Finding:
        return Finding(hop=NUMBER, name=self.number, text=text)

    def _finding(self, text: str, *, cause: str, fix: str) -> Finding:
        return Finding(hop=NUMBER, name=self.number, status=self.severity, text=text, cause=cause, fix=fix)


def _what_is_wrong(settings: NumberSettings, carrier: str, url: str) -> str:
    """Why calls to a number do not come to `url`; empty when they do."""
    if settings.handled_by:
        return f"{settings.handled_by} takes its calls"
    if not settings.voice_url:
        return f"{carrier} asks nobody"
    if _key(settings.voice_url) != _key(url):
        return f"{carrier} asks {settings.voice_url}"
    if settings.method.upper() != "POST":
        return f"{carrier} asks by {settings.method}, not by POST"
    return ""


def _key(url: str) -> tuple[str, str, int | None, str]:
    """An address such that two spellings of one are equal. A query of the owner's own does no harm."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ("", url, None, "")
    return (parts.scheme, parts.hostname or "", port, parts.path or "/")
