"""What the next call would open a session with a speech-to-speech model with, and whether its tools can be offered."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from openclaw_voicecall.api.policy import CallOffer
from openclaw_voicecall.api.realtime import RealtimeRequest
from openclaw_voicecall.api.spec import ToolSpec
from openclaw_voicecall.api.store import CallRecord
from openclaw_voicecall.calls.assembly import turn_request
from openclaw_voicecall.calls.engines import Engines
from openclaw_voicecall.calls.modelparts import call_tools, instructions
from openclaw_voicecall.calls.planning import plan_call
from openclaw_voicecall.checks.parts import Part
from openclaw_voicecall.checks.report import Finding, Report, Status, failure
from openclaw_voicecall.plugins import Registry
from openclaw_voicecall.session.modeltools import ToolBench

if TYPE_CHECKING:
    from openclaw_voicecall.config.schema import VoiceCallConfig

TOOLS = "tools"
_PLUGIN = "correct the plugin that registers it, or leave the plugin out with plugins.disabled"
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


def next_session(
    report: Report, registry: Registry, config: "VoiceCallConfig", carrier: Part, call_id: str
) -> RealtimeRequest | None:
    """The request of an inbound call's session, with the tools of all plugins.

    Returns:
        None where it cannot be made; the report says why.
    """
    try:
        specs = registry.collect("voicecall_register_tools", config=config)
        request, tools = _request(config, carrier, specs, call_id)
    except Exception as error:  # plugins of others may raise anything
        report.add(failure(error, hop=TOOLS))
        return None
    found = _look_at(tools)
    for finding in found:
        report.add(finding)
    return None if any(finding.status is Status.FAILED for finding in found) else request


def _request(
    config: "VoiceCallConfig", carrier: Part, specs: Sequence[ToolSpec], call_id: str
) -> tuple[RealtimeRequest, Sequence[ToolSpec]]:
    ours = config.from_number or ""
    offer = CallOffer(direction="inbound", carrier=carrier.name, from_number="", to_number=ours)
    plan = plan_call(config, offer, message="", objective="", call_id=call_id)
    record = CallRecord(
        call_id=call_id,
        carrier=carrier.name,
        direction=offer.direction,
        from_number=offer.from_number,
        to_number=ours,
        mode=offer.mode,
        state="active",
        created_at=0.0,
    )
    base = turn_request(record, plan, config, carrier.spec.capabilities)
    tools = call_tools(config, plan, Engines(tools=tuple(specs)), (), base)
    if any(not isinstance(tool.parameters, Mapping) for tool in tools):
        return RealtimeRequest(call_id=call_id, instructions=""), tools
    bench = ToolBench(base, tools, post=lambda event: None, note=lambda word, data: None)
    request = RealtimeRequest(
        call_id=call_id,
        instructions=instructions(config, base, bench),
        language=plan.language,
        tools=bench.offered,
    )
    return request, tools


def _look_at(tools: Sequence[ToolSpec]) -> list[Finding]:
    """What is wrong with tools, whoever is the vendor: each needs a name of its own and a schema of an object."""
    found: list[Finding] = []
    times = Counter(_wire_name(tool.name) for tool in tools)
    for tool in tools:
        name, wire = tool.name[:_LONGEST_NAME], _wire_name(tool.name)
        if times[wire] > 1 or not wire:
            others = [other.name for other in tools if other is not tool and _wire_name(other.name) == wire]
            cause = (
                f"{', '.join(map(repr, others))} has the same name for a model: {wire}"
                if wire
                else "it has none"
            )
            text = "it cannot be called by its name"
            found.append(
                Finding(hop=TOOLS, name=name, status=Status.FAILED, text=text, cause=cause, fix=_PLUGIN)
            )
        elif wire != tool.name:
            text = f"models know it as {wire}"
            cause = f"a tool's name has at most {_LONGEST_NAME} letters, digits, _ and -, for all vendors"
            found.append(
                Finding(hop=TOOLS, name=name, status=Status.WARNING, text=text, cause=cause, fix=_PLUGIN)
            )
        schema = tool.parameters
        if not isinstance(schema, Mapping) or (schema and schema.get("type") != "object"):
            found.append(
                Finding(
                    hop=TOOLS,
                    name=name,
                    status=Status.FAILED,
                    text="no vendor takes it",
                    cause='its parameters are no JSON Schema with "type": "object", and one such tool has the whole '
                    "set-up of a session refused",
                    fix=_PLUGIN,
                )
            )
    return found


def _wire_name(name: str) -> str:
    return _NO_NAME.sub("_", name)[:_LONGEST_NAME]
