"""A phone in this process that calls the running service."""

import secrets
from collections.abc import Callable
from pathlib import Path

import aiohttp

from openclaw_voicecall.providers.local.line_files import find_line, status_path
from openclaw_voicecall.providers.local.phone.call import PhoneCall, absolute, report_for
from openclaw_voicecall.providers.local.phone.job import PhoneJob
from openclaw_voicecall.providers.local.phone.prompts import Speak
from openclaw_voicecall.providers.local.phone.report import Entry, PhoneReport
from openclaw_voicecall.providers.local.phone.script_reader import load_script
from openclaw_voicecall.providers.local.phone.voice import synthesize

DEFAULT_TO = "+15550100000"
"""The number dialled when none is given; the local line has only one far end anyway."""


async def ring_service(
    state_dir: Path,
    script: str = "caller",
    *,
    from_: str = "",
    to: str = "",
    record: str | Path | None = None,
    report: str | Path | None = None,
    speak: Speak = synthesize,
    listener: Callable[[Entry], None] | None = None,
) -> PhoneReport:
    """Call the service that runs on a state directory, and talk to it as a script says.

    Cancelling hangs up.

    Args:
        state_dir: The service's state directory.
        script: A built-in name or the path of a YAML file.
        from_: The phone's number, E.164; empty means the script's.
        to: The number it dials, E.164; empty means the local line's usual one.
        record: WAV file to write: left what the phone said, right what it heard.
        report: JSON file to write.
        speak: Makes audio of sentences that are not shipped.
        listener: Called with each entry of the report's timeline as it is made.

    Raises:
        ServiceNotRunning: No service with a local line runs there.
        ScriptError: The script is wrong.
    """
    line = find_line(state_dir)
    loaded = load_script(script)
    carrier_call_id = "LC" + secrets.token_hex(16)
    job = PhoneJob(
        carrier_call_id=carrier_call_id,
        webhook_url=line.url,
        key=line.key,
        from_number=from_ or loaded.from_number,
        to_number=to or DEFAULT_TO,
        script=script,
        status=status_path(state_dir, carrier_call_id),
        outbound=False,
        record=absolute(record),
        report=absolute(report),
    )
    witness = report_for(job, loaded)
    witness.listener = listener
    async with aiohttp.ClientSession() as session:
        return await PhoneCall(job, loaded, session=session, speak=speak, report=witness).run()
