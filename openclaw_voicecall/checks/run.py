"""All checks, in the order of a call's way."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.engines import LOCAL_LINE
from openclaw_voicecall.checks.accounts import check_accounts
from openclaw_voicecall.checks.audible import Rehearsal, check_by_ear
from openclaw_voicecall.checks.configuration import Setting, check_configuration
from openclaw_voicecall.checks.numbers import NUMBER, Consent, check_numbers
from openclaw_voicecall.checks.reach import ADDRESS, SIGNATURE, STREAM, check_reach
from openclaw_voicecall.checks.report import Finding, Report, Status, failure
from openclaw_voicecall.checks.site import open_site
from openclaw_voicecall.checks.words import phrase_for

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig


SITE_LIMIT = 60.0
"""Seconds to find the running service, or to listen in its place, with its tunnel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is to be looked at."""

    config_source: str | Path | None
    state_dir: Path | None
    env: Mapping[str, str]
    audible: bool = True
    """Whether engines speak, hear and answer."""
    public: bool = True
    """Whether the public address is asked for."""
    consent: Consent | None = None
    """Asked before the number's webhook is changed; None to change nothing."""
    phrase: str = ""
    """What is said and heard; empty for the phrase of the language."""


async def examine(examination: Examination, report: Report) -> None:
    """Make every check that can be made; each finding goes to the report as soon as it is there."""
    setting = check_configuration(report, examination.config_source, examination.env, examination.state_dir)
    if setting is None:
        return
    config, parts = setting.config, setting.parts
    runtime = Runtime(
        clock=SystemClock(),
        ids=SystemIds(),
        state_dir=setting.state.path,
        webhook_url=Addresses(config, f"{config.serve.bind}:{config.serve.port}").webhook,
        host=setting.registry.manager.hook.voicecall_provide_host(),
    )
    broken = await check_accounts(report, parts, runtime)
    url = await _check_public(
        report, examination, setting, runtime, carrier_works=parts.carrier not in broken
    )
    if parts.carrier in broken and parts.carrier.spec.numbers is not None:
        text = f"{parts.carrier.name} was not asked: its account does not work"
        report.add(Finding(hop=NUMBER, status=Status.SKIPPED, text=text))
    elif url:
        await check_numbers(report, config, parts.carrier, runtime, url=url, consent=examination.consent)
    if examination.audible:
        await check_by_ear(report, parts, runtime, _rehearsal(config, examination.phrase), broken)


async def _check_public(
    report: Report, examination: Examination, setting: Setting, runtime: Runtime, *, carrier_works: bool
) -> str:
    """The public address; returns it, empty where there is none."""
    config, carrier = setting.config, setting.parts.carrier
    configured = runtime.webhook_url(carrier.name) if config.public_url else ""
    if carrier.name == LOCAL_LINE:
        report.add(
            Finding(
                hop=ADDRESS, status=Status.SKIPPED, text="the local line needs none; it is on this machine"
            )
        )
        return ""
    if not examination.public:
        return configured
    try:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(SITE_LIMIT):
                site = await stack.enter_async_context(open_site(config, carrier, runtime, setting.state))
            return await check_reach(report, site, carrier)
    except Exception as error:  # whatever opening it raises, it is this hop that does not work
        if carrier_works:
            report.add(failure(error, hop=ADDRESS, limit=SITE_LIMIT, section="serve and tunnel"))
        else:
            text = f"{carrier.name} cannot be opened"
            for hop in (ADDRESS, SIGNATURE, STREAM):
                report.add(Finding(hop=hop, status=Status.SKIPPED, text=text))
        return configured


def _rehearsal(config: "VoiceCallConfig", phrase: str) -> Rehearsal:
    return Rehearsal(
        phrase=phrase or phrase_for(config.language, config.inbound_greeting),
        language=config.language,
        response_timeout=config.response_timeout_ms / 1000,
        filler_after=config.limits.filler_after_ms / 1000,
        system_prompt=config.response_system_prompt or "",
    )
