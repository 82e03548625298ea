"""Accounts: is every engine installed, and does every vendor take our key?"""

import asyncio
from dataclasses import replace

from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.checks.parts import TRUNK, Part, Parts
from openclaw_voicecall.checks.report import WRONG_SETTING, Finding, Report, Status, attempt

LIMIT = 20.0
"""Seconds for one account."""


async def check_accounts(report: Report, parts: Parts, runtime: Runtime) -> frozenset[Part]:
    """Ask all vendors at the same time, one harmless request each; tell in the order of the hops.

    Returns:
        The parts that cannot work, so that nobody waits for them again.
    """
    asked = list(parts)
    found = await asyncio.gather(*(_check(part, runtime) for part in asked))
    broken = []
    for part, finding in zip(asked, found, strict=True):
        report.add(finding)
        if finding.status is Status.FAILED:
            broken.append(part)
            continue
        for notice in _notices(part):
            report.add(notice)
    for part in parts.farewell:
        finding = await _check(part, runtime)
        if finding.status is Status.FAILED:
            # A wrong setting keeps the service from starting; for the rest one can do without.
            severity = finding.status if finding.text == WRONG_SETTING else Status.WARNING
            text = f"{finding.text}; should the model fail, it cannot say goodbye"
            report.add(replace(finding, status=severity, text=text))
    return frozenset(broken)


async def _check(part: Part, runtime: Runtime) -> Finding:
    async def ask() -> Finding:
        if part.role == TRUNK and not part.spec.capabilities.bridges:
            return _no_bridge(part)
        engine = part.describe()
        asking = part.check(runtime)
        said = [engine, await asking if asking is not None else "needs no account"]
        text = "; ".join(words for words in said if words)
        return Finding(hop=part.role, name=part.label, text=text)

    return await attempt(ask, hop=part.role, name=part.label, limit=LIMIT, section=part.section)


def _no_bridge(part: Part) -> Finding:
    return Finding(
        hop=part.role,
        name=part.label,
        status=Status.FAILED,
        text="it cannot connect calls to a SIP address",
        cause=f"the carrier {part.name} places calls, but does not bridge them",
        fix="name one that does as the trunk, such as twilio, or none",
    )


def _notices(part: Part) -> list[Finding]:
    return [
        Finding(
            hop=part.role,
            name=part.label,
            status=Status.WARNING,
            text=notice,
            fix=f"change {'responseModel' if part.model else part.section}",
        )
        for notice in part.notices()
    ]
