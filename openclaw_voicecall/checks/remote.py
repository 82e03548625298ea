"""A vendor who keeps the audio of calls: where trunks have to send them, and whether it would take the next one.

Taking a call needs a call. So what it would be taken with is held against the vendor's rules here, and the same model
with the same settings is talked to on a line of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol, runtime_checkable

from openclaw_voicecall.api.realtime import RealtimeModel, RealtimeRequest, RemoteLine
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.checks.audible import Rehearsal
from openclaw_voicecall.checks.model import advice, try_model
from openclaw_voicecall.checks.parts import MODEL, TRUNK, Part
from openclaw_voicecall.checks.report import Finding, Report, Status, Subject, attempt
from openclaw_voicecall.errors import VendorRejected

TARGET = "SIP address"
ACCEPT = "call set-up"
LIMIT = 20.0
"""Seconds for one of the two."""


@runtime_checkable
class CanBeTried(Protocol):
    """What a carrier of this kind has, where it can be tried without a call."""

    @property
    def trial(self) -> RealtimeModel:
        """The same model with the same settings, on a line of ours."""
        ...

    def refusals(self, request: RealtimeRequest) -> Sequence[str]:
        """What the vendor would not take of a call with this request, a phrase each with the name of the field."""
        ...


async def check_remote(
    report: Report,
    carrier: Part,
    trunk: Part | None,
    runtime: Runtime,
    request: RealtimeRequest | None,
    *,
    url: str,
) -> str:
    """Look at the address for trunks and at what the next call would be taken with.

    Args:
        report: Takes the findings.
        carrier: Of the vendor.
        trunk: Which carrier connects calls to it, if one of ours does.
        runtime: For their plugins.
        request: What a session would be opened with, where that is known.
        url: The webhooks' public address, empty where there is none.

    Returns:
        The address for trunks, empty where it is not known.
    """
    address = [""]
    if trunk is None:
        text = (
            f"{carrier.section}.trunk is empty: calls only come in, from a SIP trunk, and none can be placed"
        )
        report.add(Finding(hop=TRUNK, status=Status.SKIPPED, text=text))

    async def target() -> Finding:
        async with carrier.open(runtime) as line:
            address[0] = _address(line)
        told = f"; the vendor has to tell of them at {url}" if url else ""
        text = f"{address[0]} is where trunks have to send calls{told}"
        return Finding(hop=TARGET, name=carrier.name, text=text)

    finding = await attempt(target, hop=TARGET, name=carrier.name, limit=LIMIT, section=carrier.section)
    if finding.status is Status.FAILED:
        finding = replace(
            finding,
            # Calls that a SIP trunk brings come without it: the owner has written it there by hand.
            status=Status.FAILED if trunk is not None else Status.WARNING,
            text="it is not known where trunks have to send calls",
            fix=f"set {carrier.section}.projectId to the id of the project that owns the webhook; the vendor's site "
            "shows it in the settings of the project",
        )
    report.add(finding)
    if request is not None:
        report.add(await _set_up(carrier, runtime, request))
    return address[0]


async def try_remote(
    report: Report, carrier: Part, runtime: Runtime, request: RealtimeRequest, rehearsal: Rehearsal
) -> None:
    """Talk with its model, on a line of ours."""

    @asynccontextmanager
    async def opens() -> AsyncIterator[RealtimeModel]:
        async with carrier.open(runtime) as line:
            if not isinstance(line, CanBeTried):
                raise VendorRejected(
                    f"the model of {carrier.name} can be tried on a call only", operation="talk"
                )
            yield line.trial

    await try_model(report, Subject(MODEL, carrier.name, carrier.section), opens, request, rehearsal)


async def _set_up(carrier: Part, runtime: Runtime, request: RealtimeRequest) -> Finding:
    async def look() -> Finding:
        async with carrier.open(runtime) as line:
            if not isinstance(line, CanBeTried):
                return Finding(
                    hop=ACCEPT, name=carrier.name, status=Status.SKIPPED, text="it shows on a call only"
                )
            # Building the vendor's rules takes a while at the first time.
            problems = await asyncio.to_thread(line.refusals, request)
        if not problems:
            tools = f"{len(request.tools)} tool{'' if len(request.tools) == 1 else 's'}"
            text = f"the next call would be taken with {carrier.describe()} and {tools}, as the vendor's rules allow"
            return Finding(hop=ACCEPT, name=carrier.name, text=text)
        return Finding(
            hop=ACCEPT,
            name=carrier.name,
            status=Status.FAILED,
            text="the vendor would not take the next call as it is set up",
            cause="\n".join(problems),
            fix="\n".join(dict.fromkeys(advice(problem, carrier.section) for problem in problems)),
        )

    return await attempt(look, hop=ACCEPT, name=carrier.name, limit=LIMIT, section=carrier.section)


def _address(line: RemoteLine) -> str:
    return line.target("doctor").uri
