"""A phone as a process: reads its job from stdin, then orders of the carrier, one JSON object a line.

Orders are `{"command": "hang-up"}` and `{"command": "dtmf", "digits": "12#"}`. That stdin ends means nothing: a call
does not end because the service restarts. It ends when the media stream or the webhook is gone.
"""

import asyncio
import json
import signal
import sys

import aiohttp

from openclaw_voicecall.errors import ScriptError
from openclaw_voicecall.providers.local.phone.call import PhoneCall, report_for
from openclaw_voicecall.providers.local.phone.far_end import LineEnd
from openclaw_voicecall.providers.local.phone.job import PhoneJob
from openclaw_voicecall.providers.local.phone.report import Entry
from openclaw_voicecall.providers.local.phone.script_reader import load_script
from openclaw_voicecall.providers.local.phone.voice import synthesize


async def main() -> int:
    """Do the job on stdin; returns the exit code."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    try:
        job = PhoneJob.from_line(await orders.readline())
        script = load_script(job.script)
    except (ValueError, KeyError, ScriptError) as error:
        sys.stderr.write(f"no job for a phone: {error!r}\n")
        pipe.close()
        return ScriptError.exit_code
    async with aiohttp.ClientSession() as session:
        report = report_for(job, script)
        report.listener = _log
        phone = PhoneCall(job, script, session=session, speak=synthesize, report=report, takes_signals=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(
                number, phone.hang_up, LineEnd(reason="completed", detail="hung up by a signal")
            )
        obeying = asyncio.create_task(_obey(orders, phone))
        try:
            await phone.run()
        finally:
            obeying.cancel()
            pipe.close()
    sys.stderr.writelines(f"protocol error: {error}\n" for error in report.errors)
    return 0


def _log(entry: Entry) -> None:
    """One line for each thing that happens; the carrier keeps stderr as the phone's log."""
    sys.stderr.write(f"{entry.at:9.3f} {entry.event} {json.dumps(entry.data) if entry.data else ''}\n")


async def _obey(orders: asyncio.StreamReader, phone: PhoneCall) -> None:
    while line := await orders.readline():
        order = json.loads(line)
        match order.get("command"):
            case "hang-up":
                phone.hang_up(LineEnd(reason="completed", detail="hung up by the service"))
            case "dtmf":
                phone.hear_digits(str(order["digits"]))


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
