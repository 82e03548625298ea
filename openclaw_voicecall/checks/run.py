"""All checks, in the order of a call's way."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from openclaw_voicecall.api.realtime import RealtimeRequest
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.builtin.system import SystemClock, SystemIds
from openclaw_voicecall.calls.addresses import Addresses
from openclaw_voicecall.calls.engines import LOCAL_LINE
from openclaw_voicecall.checks.accounts import check_accounts
from openclaw_voicecall.checks.audible import CALL_ID, Rehearsal, check_by_ear
from openclaw_voicecall.checks.configuration import Setting, check_configuration
from openclaw_voicecall.checks.model import try_model
from openclaw_voicecall.checks.numbers import NUMBER, Consent, check_numbers
from openclaw_voicecall.checks.parts import Part, Parts
from openclaw_voicecall.checks.reach import ADDRESS, check_reach, hops
from openclaw_voicecall.checks.remote import check_remote, try_remote
from openclaw_voicecall.checks.report import Finding, Report, Status, failure
from openclaw_voicecall.checks.site import open_site
from openclaw_voicecall.checks.upcoming import next_session
from openclaw_voicecall.checks.words import phrase_for
from openclaw_voicecall.session.tools import TIME_LIMIT

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
    request = next_session(report, setting.registry, config, parts.carrier, CALL_ID) if parts.is_led else None
    url = await _check_public(report, examination, setting, runtime, broken)
    sip_address = ""
    if parts.carrier.is_remote and parts.carrier not in broken:
        sip_address = await check_remote(report, parts.carrier, parts.trunk, runtime, request, url=url)
    await _check_numbers(report, examination, setting, runtime, broken, url=url, sip_address=sip_address)
    if examination.audible:
        rehearsal = _rehearsal(config, parts, examination.phrase)
        if request is not None:
            await _try_models(report, parts, runtime, request, rehearsal, broken=broken)
        await check_by_ear(report, parts, runtime, rehearsal, broken)


async def _check_numbers(
    report: Report,
    examination: Examination,
    setting: Setting,
    runtime: Runtime,
    broken: frozenset[Part],
    *,
    url: str,
    sip_address: str,
) -> None:
    """The numbers; where another carrier brings the calls, it has them, and asks at an address of its own."""
    carrier = setting.parts.trunk or setting.parts.carrier
    if carrier in broken:
        if carrier.spec.numbers is not None:
            text = f"{carrier.name} was not asked: its account does not work"
            report.add(Finding(hop=NUMBER, status=Status.SKIPPED, text=text))
    elif url:
        asked = f"{url}/{carrier.name}" if carrier is setting.parts.trunk else url
        consent = examination.consent
        await check_numbers(
            report, setting.config, carrier, runtime, url=asked, consent=consent, sip_address=sip_address
        )


async def _try_models(
    report: Report,
    parts: Parts,
    runtime: Runtime,
    request: RealtimeRequest,
    rehearsal: Rehearsal,
    *,
    broken: frozenset[Part],
) -> None:
    """One after the other: how long they take is what is asked."""
    if parts.carrier.is_remote and parts.carrier not in broken:
        await try_remote(report, parts.carrier, runtime, request, rehearsal)
    for part in parts.models:
        if part not in broken:
            await try_model(report, part.subject, partial(part.open, runtime), request, rehearsal)


async def _check_public(
    report: Report, examination: Examination, setting: Setting, runtime: Runtime, broken: frozenset[Part]
) -> str:
    """The public address; returns it, empty where there is none."""
    config, carrier, trunk = setting.config, setting.parts.carrier, setting.parts.trunk
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
    trunk = None if trunk in broken else trunk
    carriers = [part for part in (carrier, trunk) if part is not None]
    try:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(SITE_LIMIT):
                site = await stack.enter_async_context(open_site(config, carriers, runtime, setting.state))
            return await check_reach(report, site, carrier, trunk)
    except Exception as error:  # whatever opening it raises, it is this hop that does not work
        if carrier not in broken:
            report.add(failure(error, hop=ADDRESS, limit=SITE_LIMIT, section="serve and tunnel"))
        else:
            text = f"{carrier.name} cannot be opened"
            for hop in hops(carrier):
                report.add(Finding(hop=hop, status=Status.SKIPPED, text=text))
        return configured


def _rehearsal(config: "VoiceCallConfig", parts: Parts, phrase: str) -> Rehearsal:
    asked = not parts.has_pipeline
    own = config.response_timeout_ms / 1000
    return Rehearsal(
        phrase=phrase or phrase_for(config.language, config.inbound_greeting),
        language=config.language,
        # A model waits for an answer as for any other tool, and nobody hears a filler meanwhile.
        response_timeout=TIME_LIMIT if asked else own,
        timeout_setting="" if asked else "responseTimeoutMs",
        filler_after=math.inf if asked else config.limits.filler_after_ms / 1000,
        system_prompt=config.response_system_prompt or "",
    )
