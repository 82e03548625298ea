"""The carrier `local`: starts phones, tells them what to do, and speaks their protocols."""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from openclaw_voicecall.api.carrier import (
    CarrierEvent,
    LegOrder,
    LegRef,
    LegStatus,
    MediaCodec,
    PlaceCall,
    VerifiedWebhook,
    WebhookReply,
    WebhookRequest,
)
from openclaw_voicecall.api.spec import Runtime
from openclaw_voicecall.config.environment import child_environment
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import ConfigError, VendorRejected, VendorUnavailable
from openclaw_voicecall.providers._mediastreams import MediaStreamsCodec
from openclaw_voicecall.providers.local import line_files, webhooks
from openclaw_voicecall.providers.local.config import LocalConfig
from openclaw_voicecall.providers.local.phone.call import absolute
from openclaw_voicecall.providers.local.phone.job import PhoneJob
from openclaw_voicecall.providers.local.phone.script_reader import built_in_scripts, load_script
from openclaw_voicecall.providers.local.reporter import Reporter

logger = logging.getLogger(__name__)

OPTIONS = ("script", "record", "report")
CLOSE_LIMIT = 5.0
"""Seconds that phones get to hang up when the line closes."""


class LocalCarrier:
    """A line to phones that are processes on this machine.

    Args:
        config: Settings.
        runtime: The process it runs in.
        key: Signs the webhooks of this line's phones.
        session: For the one webhook the line sends itself: that a phone died.
    """

    def __init__(
        self, config: LocalConfig, runtime: Runtime, key: str, session: aiohttp.ClientSession
    ) -> None:
        self._config = config
        self._state_dir = runtime.state_dir
        self._key = key
        self._session = session
        self._phones: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    def verify(self, request: WebhookRequest, now: float) -> VerifiedWebhook:
        """Check that one of our phones sent this. Raises `WebhookError`."""
        return webhooks.verify(request, self._key, now)

    def parse(self, webhook: VerifiedWebhook) -> Sequence[CarrierEvent]:
        """The fact in it. Raises `MalformedWebhook`."""
        return webhooks.parse(webhook)

    def reply(self, webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
        """The JSON document that carries out an order."""
        return webhooks.reply(webhook, order)

    def media_codec(self) -> MediaCodec:
        """A codec for one stream: Twilio's messages."""
        return MediaStreamsCodec()

    def check_options(self, options: Mapping[str, str]) -> None:
        """Look at the options of a call: `script`, `record` and `report`.

        Raises:
            ConfigError: An option is unknown.
            ScriptError: The script is wrong; the message names file and line.
        """
        for name in options:
            if name not in OPTIONS:
                raise ConfigError(f"the local line has no option {name!r}; it knows {', '.join(OPTIONS)}")
        load_script(_script_path(options.get("script") or self._config.script))

    async def place_call(self, request: PlaceCall) -> str:
        """Start a phone that rings; returns its id.

        Raises:
            ScriptError: The phone's script is wrong.
            VendorRejected: The phone cannot be started.
        """
        self.check_options(request.options)
        carrier_call_id = "LC" + secrets.token_hex(16)
        job = PhoneJob(
            call_id=request.call_id,
            carrier_call_id=carrier_call_id,
            webhook_url=request.webhook_url,
            key=self._key,
            from_number=request.from_number,
            to_number=request.to_number,
            script=_script_path(request.options.get("script") or self._config.script),
            status=line_files.status_path(self._state_dir, carrier_call_id),
            ring_timeout=request.ring_timeout,
            max_duration=request.max_duration,
            record=absolute(request.options.get("record")),
            report=absolute(request.options.get("report")),
        )
        try:
            phone = await _start_phone(job)
        except OSError as error:
            raise VendorRejected(
                f"the phone cannot be started: {error}", vendor="local", operation="place call"
            ) from error
        self._phones[carrier_call_id] = phone
        watcher = asyncio.create_task(self._watch(phone, job))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return carrier_call_id

    async def hang_up(self, leg: LegRef) -> None:
        """End the leg. A phone that called us hangs up when its media stream is closed, as at Twilio."""
        if await self._order(leg, {"command": "hang-up"}):
            return
        status = self._status(leg)
        if status is not None and status.takes_signals and status.state != "ended" and status.running():
            with suppress(ProcessLookupError):
                os.kill(status.pid, signal.SIGTERM)

    async def send_digits(self, leg: LegRef, digits: str) -> None:
        """Let the phone hear DTMF digits.

        Raises:
            VendorRejected: The phone is not one that this process called.
        """
        if not await self._order(leg, {"command": "dtmf", "digits": digits}):
            raise VendorRejected(
                "the local line sends digits only to phones it has called itself and that still are on the line",
                vendor="local",
                operation="send digits",
            )

    async def transfer(
        self, leg: LegRef, to_number: str, *, caller_id: str = "", limit: float = 0.0, announce: str = ""
    ) -> None:
        """Not on the local line. Raises `VendorRejected`."""
        raise VendorRejected("the local line cannot transfer calls", vendor="local", operation="transfer")

    async def take_over(self, leg: LegRef) -> None:
        """Not on the local line: it has no voice of its own. Raises `VendorRejected`."""
        raise VendorRejected("the local line cannot talk by turns", vendor="local", operation="take over")

    async def limit_duration(self, leg: LegRef, seconds: float) -> None:
        """Not on the local line: its phones end with the service. Raises `VendorRejected`."""
        raise VendorRejected("the local line has no limit of its own", vendor="local", operation="limit")

    async def fetch_status(self, leg: LegRef) -> LegStatus:
        """How a phone stands, by the file it keeps; the process need not be one of ours."""
        status = self._status(leg)
        if status is None:
            return LegStatus(state="unknown")
        if status.state != "ended" and status.running():
            return LegStatus(state="live")
        # What a phone calls lost or failed is what it saw of its service's death: it reports those only to itself.
        told = set(EndReason) - {EndReason.MEDIA_LOST, EndReason.FAILED}
        reason = next((reason for reason in told if reason == status.reason), None)
        return LegStatus(state="ended", reason=reason)

    async def find_legs(
        self, *, to_number: str, from_number: str, since: float, until: float
    ) -> Sequence[str]:
        """Not on the local line: a phone that nobody told us of ends with its service. Raises `VendorRejected`."""
        raise VendorRejected("the local line cannot look for legs", vendor="local", operation="find legs")

    async def close(self) -> None:
        """Hang up all phones this process called, and see them gone."""
        for carrier_call_id in tuple(self._phones):
            await self.hang_up(LegRef(call_id="", carrier_call_id=carrier_call_id))
        if self._watchers:
            await asyncio.wait(self._watchers, timeout=CLOSE_LIMIT)
        for carrier_call_id, phone in tuple(self._phones.items()):
            logger.warning("phone %s did not hang up and is killed", carrier_call_id)
            with suppress(ProcessLookupError):
                phone.kill()
        if self._watchers:
            await asyncio.wait(self._watchers, timeout=CLOSE_LIMIT)

    async def _order(self, leg: LegRef, order: dict[str, str]) -> bool:
        """Write an order to a phone's stdin; False if there is no phone of ours to read it."""
        phone, status = self._phones.get(leg.carrier_call_id), self._status(leg)
        if phone is None or phone.stdin is None or (status is not None and status.state == "ended"):
            return False
        try:
            phone.stdin.write(json.dumps(order).encode() + b"\n")
            await phone.stdin.drain()
        except (
            ConnectionError,
            RuntimeError,
        ):  # it died, which `_watch` is about to notice; the second is uvloop's
            return False
        return True

    def _status(self, leg: LegRef) -> line_files.PhoneStatus | None:
        try:
            return line_files.read_status(line_files.status_path(self._state_dir, leg.carrier_call_id))
        except ValueError:
            return None

    async def _watch(self, phone: asyncio.subprocess.Process, job: PhoneJob) -> None:
        """Wait until a phone's process is gone. A phone reports its end itself; if it died first, the line does."""
        code = await phone.wait()
        self._phones.pop(job.carrier_call_id, None)
        if phone.stdin is not None:
            phone.stdin.close()
        status = line_files.read_status(job.status)
        if status is not None and status.state == "ended":
            return
        detail = f"the phone's process died (exit code {code}); see {job.status.with_suffix('.log')}"
        logger.warning("phone %s died without a word, exit code %s", job.carrier_call_id, code)
        leg = {
            "callId": job.call_id,
            "carrierCallId": job.carrier_call_id,
            "from": job.from_number,
            "to": job.to_number,
        }
        reporter = Reporter(self._session, url=job.webhook_url, key=self._key, leg=leg)
        with suppress(VendorUnavailable):  # the service itself is going down
            await reporter.post("ended", limit=3.0, reason="failed", detail=detail)


@asynccontextmanager
async def open_local_line(config: LocalConfig, runtime: Runtime) -> AsyncIterator[LocalCarrier]:
    """Open the line: phones may call from now on, and find it by the state directory.

    Raises:
        StoreError: The state directory cannot be written.
    """
    key = secrets.token_hex(32)
    line_files.remove_old_files(runtime.state_dir)
    line_file = line_files.open_line_file(runtime.state_dir, runtime.webhook_url("local"), key)
    try:
        async with aiohttp.ClientSession() as session:
            carrier = LocalCarrier(config, runtime, key, session)
            try:
                yield carrier
            finally:
                await carrier.close()
    finally:
        line_files.close_line_file(line_file)


async def _start_phone(job: PhoneJob) -> asyncio.subprocess.Process:
    """Start the process in a session of its own, so that Ctrl-C in the service's terminal is not its business."""
    log = os.open(job.status.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        phone = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "openclaw_voicecall.providers.local.phone",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            env=child_environment(os.environ),
            start_new_session=True,
        )
    finally:
        os.close(log)
    if phone.stdin is not None:
        phone.stdin.write(job.to_line())
    return phone


def _script_path(script: str) -> str:
    return script if script in built_in_scripts() else str(Path(script).expanduser().absolute())
