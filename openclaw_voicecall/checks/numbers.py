"""The numbers: does the carrier ask us when one of them is called?"""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from openclaw_voicecall.api.numbers import NumberDesk, NumberSettings
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.checks.parts import Part
from openclaw_voicecall.checks.report import Finding, Report, Status, attempt

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

HOP = "number"
LIMIT = 60.0
"""Seconds for one number: a look, a change and another look."""
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
) -> None:
    """Look at `fromNumber` and every number of `numbers`, and set where its calls go if that is wanted.

    Args:
        report: Takes the findings.
        config: The configuration.
        carrier: The carrier.
        runtime: For its plugin.
        url: The webhooks' public address.
        consent: Asked before a number is changed; None to change nothing.
    """
    ours = list(dict.fromkeys([*([config.from_number] if config.from_number else []), *config.numbers]))
    if carrier.spec.numbers is None:
        return
    if not ours:
        report.add(
            Finding(
                hop=HOP,
                status=Status.FAILED,
                text="no number is configured",
                cause="fromNumber is not set: nobody can be called, and nobody can call",
                fix=f"set fromNumber to a number of the {carrier.name} account, such as +15550001234",
            )
        )
    inbound = config.inbound_policy != "disabled"
    for number in ours:

        async def look(number: str = number) -> Finding:
            async with carrier.spec.numbers(carrier.settings, runtime) as desk:
                return await _check(desk, carrier.name, number, url, inbound=inbound, consent=consent)

        report.add(await attempt(look, hop=HOP, name=number, limit=LIMIT, section=carrier.section))


async def _check(
    desk: NumberDesk, carrier: str, number: str, url: str, *, inbound: bool, consent: Consent | None
) -> Finding:
    settings = await desk.read(number)
    # Who takes no calls needs none to arrive.
    bad = Status.FAILED if inbound else Status.WARNING
    if settings is None:
        return Finding(
            hop=HOP,
            name=number,
            status=bad,
            text=f"the {carrier} account has no such number",
            cause="calls to it do not come here; calls from it work only where it is a verified caller id",
            fix="set fromNumber to a number of this account, or use the account that owns it",
        )
    if not settings.takes_calls:
        return Finding(
            hop=HOP,
            name=number,
            status=bad,
            text="it cannot be called",
            cause=f"{carrier} says that the number has no voice",
            fix="choose a number with voice",
        )
    wrong = _what_is_wrong(settings, carrier, url)
    if not wrong:
        return Finding(hop=HOP, name=number, text=f"{carrier} asks {url} when it is called")
    if consent is None or not consent(f"{number}: {wrong}. Set it to {url} at {carrier}?"):
        return Finding(
            hop=HOP,
            name=number,
            status=bad,
            text="calls to it do not come here",
            cause=wrong,
            fix=f"`openclaw-voicecall doctor --fix` sets it; by hand: {url} with POST, at {carrier}",
        )
    await desk.set_voice_url(number, url)
    changed = await desk.read(number)
    if changed is None or (left := _what_is_wrong(changed, carrier, url)):
        return Finding(
            hop=HOP,
            name=number,
            status=Status.FAILED,
            text="it was set, and is still wrong",
            cause=left if changed is not None else f"{carrier} does not show the number any more",
            fix=f"set {url} with POST by hand, at {carrier}",
        )
    return Finding(hop=HOP, name=number, text=f"now {carrier} asks {url} when it is called; before, {wrong}")


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
