"""One call of one phone, from the first ring to the last report: the carrier's switch and the phone in one."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from openclaw_voicecall.errors import VendorUnavailable, VoiceCallError
from openclaw_voicecall.providers.local.line_files import PhoneStatus, write_status
from openclaw_voicecall.providers.local.phone.audio import write_recording
from openclaw_voicecall.providers.local.phone.far_end import FarEnd, LineEnd
from openclaw_voicecall.providers.local.phone.job import PhoneJob
from openclaw_voicecall.providers.local.phone.media import HangUpLine, carry, connect
from openclaw_voicecall.providers.local.phone.performance import Lines, perform
from openclaw_voicecall.providers.local.phone.prompts import Speak, gather_lines
from openclaw_voicecall.providers.local.phone.report import PhoneReport
from openclaw_voicecall.providers.local.phone.script import Script
from openclaw_voicecall.providers.local.processes import own_start
from openclaw_voicecall.providers.local.reporter import Reporter

WAIT_BETWEEN = 0.5
"""Seconds until a service that said `wait` is asked again."""
WAIT_LONGEST = 30.0
"""Seconds after which the carrier gives up on it."""


class PhoneCall:
    """Runs one job.

    Args:
        job: What to do.
        script: The loaded script.
        session: HTTP session to the service.
        speak: Makes audio of sentences that are not shipped.
        report: Filled while the call runs.
        takes_signals: Whether this process is nothing but the phone.
    """

    def __init__(
        self,
        job: PhoneJob,
        script: Script,
        *,
        session: aiohttp.ClientSession,
        speak: Speak,
        report: PhoneReport,
        takes_signals: bool = False,
    ) -> None:
        self._job = job
        self._script = script
        self._session = session
        self._speak = speak
        self._report = report
        self._takes_signals = takes_signals
        self._reporter = Reporter(
            session,
            url=job.webhook_url,
            key=job.key,
            leg={
                "callId": job.call_id,
                "carrierCallId": job.carrier_call_id,
                "from": job.from_number,
                "to": job.to_number,
            },
        )
        self._origin = time.monotonic()
        self.hang_up = HangUpLine()
        """Ends the call from outside."""

    def hear_digits(self, digits: str) -> None:
        """The service sends DTMF digits."""
        self._report.digits += digits
        self._note("digits heard", digits=digits)

    async def run(self) -> PhoneReport:
        """Make the call. Whatever happens, the service is told how it ended, and so is the report."""
        self._set_state("dialing")
        self._report.started_at = time.time()
        try:
            end = await self._call()
        except VoiceCallError as error:
            end = LineEnd(reason="failed", detail=str(error))
        except asyncio.CancelledError:
            await self._finish(LineEnd(reason="caller-hung-up", detail="the phone was stopped"))
            raise
        await self._finish(end)
        return self._report

    async def _call(self) -> LineEnd:
        preparing = asyncio.create_task(gather_lines(self._script, self._speak))
        asked = asyncio.create_task(self.hang_up.wait())
        talking = asyncio.create_task(
            self._outbound(preparing) if self._job.outbound else self._inbound(preparing)
        )
        try:
            # While the line is up, `carry` obeys `hang_up` by itself: it has a stream to close.
            await asyncio.wait((talking, asked), return_when=asyncio.FIRST_COMPLETED)
            if not talking.done() and self._report.stream_monotonic is None:
                talking.cancel()
                await asyncio.wait((talking,))
                return asked.result()
            return await talking
        finally:
            for task in (preparing, asked, talking):
                task.cancel()
            await asyncio.gather(preparing, asked, talking, return_exceptions=True)

    async def _outbound(self, preparing: "asyncio.Task[Lines]") -> LineEnd:
        """The service called: ring, then do what the script says about answering."""
        script, job = self._script, self._job
        never = script.answer == "never" or script.ring >= job.ring_timeout
        if never or script.ring > 0:
            self._set_state("ringing")
            self._note("ringing")
            await self._reporter.post("ringing")
            await asyncio.sleep(job.ring_timeout if never else script.ring)
        if never:
            return LineEnd(reason="no-answer", detail=f"nobody answered for {job.ring_timeout:g} s")
        if script.answer in ("busy", "reject"):
            detail = "the line is busy" if script.answer == "busy" else "the far party declined the call"
            return LineEnd(reason="busy", detail=detail)
        lines = await preparing
        self._set_state("answered")
        self._note("answered")
        return await self._obey("answered", lines)

    async def _inbound(self, preparing: "asyncio.Task[Lines]") -> LineEnd:
        """The phone calls the service."""
        lines = await preparing
        self._set_state("ringing")
        self._note("rings the service")
        return await self._obey("offered", lines)

    async def _obey(self, question: str, lines: Lines) -> LineEnd:
        """Ask the service what to do with the call, and do it."""
        latest = time.monotonic() + WAIT_LONGEST
        while (order := await self._reporter.post(question)).get("action") == "wait":
            if time.monotonic() >= latest:
                return LineEnd(reason="failed", detail=f"the service said wait for {WAIT_LONGEST:g} s")
            await asyncio.sleep(WAIT_BETWEEN)
        match order.get("action"):
            case "stream":
                if question == "offered":
                    self._set_state("answered")
                    self._note("answered")
                return await self._talk(order, lines)
            case "reject":
                self._note("rejected", reason=order.get("reason"))
                return LineEnd(reason="busy" if order.get("reason") == "busy" else "rejected")
            case "hang-up":
                return LineEnd(reason="completed", detail=f"the service answered {question!r} with hang-up")
        return LineEnd(reason="failed", detail=f"the service answered {question!r} with no order")

    async def _talk(self, order: dict[str, Any], lines: Lines) -> LineEnd:
        url, parameters = order.get("streamUrl"), order.get("parameters") or {}
        if not isinstance(url, str) or not url.startswith(("ws://", "wss://")):
            return LineEnd(reason="failed", detail="the stream URL is not ws:// or wss://")
        try:
            ws = await connect(self._session, url)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            detail = f"the media stream was not accepted: {getattr(error, 'status', None) or error!r}"
            return LineEnd(reason="failed", detail=detail)
        now = time.monotonic()
        self._report.rebase(now - self._origin)
        self._origin = now
        self._note("stream started")
        line = FarEnd(
            stream_sid="MZ" + uuid4().hex,
            call_sid=self._job.carrier_call_id,
            report=self._report,
            record=self._job.record is not None,
        )
        line.performance = perform(self._script, lines, line)
        try:
            async with ws:
                end = await carry(
                    ws,
                    line,
                    parameters=parameters,
                    hang_up=self.hang_up,
                    max_duration=self._job.max_duration,
                )
        except (aiohttp.ClientError, OSError) as error:
            end = LineEnd(reason="media-lost", detail=f"the media stream broke off: {error!r}")
        finally:
            if self._job.record is not None:
                write_recording(self._job.record, bytes(line.said_audio), bytes(line.heard_audio))
        self._note("stream ended", detail=end.detail)
        if end.reason == "media-lost" and order.get("fallbackText"):
            self._note("carrier would say", text=order["fallbackText"])
        await asyncio.sleep(end.delay)
        return end

    async def _finish(self, end: LineEnd) -> None:
        """Tell everybody that it is over: the status file, the report, and then the service."""
        self._note("ended", reason=end.reason, detail=end.detail)
        self._report.end_reason, self._report.detail = end.reason, end.detail
        self._set_state("ended", end.reason)
        self._write_report()  # whoever hears of the end from the service will look for it
        try:
            await self._reporter.post("ended", limit=3.0, reason=end.reason, detail=end.detail)
        except VendorUnavailable as error:
            self._note("nobody to report to", detail=str(error))
            self._write_report()

    def _write_report(self) -> None:
        if self._job.report is not None:
            self._report.write(self._job.report)

    def _note(self, event: str, **data: Any) -> None:
        self._report.note(time.monotonic() - self._origin, event, **data)

    def _set_state(self, state: str, reason: str = "") -> None:
        status = PhoneStatus(
            pid=os.getpid(),
            started=own_start(),
            state=state,
            reason=reason,
            takes_signals=self._takes_signals,
        )
        write_status(self._job.status, status)


def report_for(job: PhoneJob, script: Script) -> PhoneReport:
    """An empty report of a job."""
    return PhoneReport(
        call_id=job.call_id,
        carrier_call_id=job.carrier_call_id,
        direction="outbound" if job.outbound else "inbound",
        script=script.name,
        from_number=job.from_number,
        to_number=job.to_number,
    )


def absolute(path: str | Path | None) -> Path | None:
    """A path that stays right in another process."""
    return Path(path).expanduser().absolute() if path else None
