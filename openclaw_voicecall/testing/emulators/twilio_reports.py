"""What Twilio tells the application of its own accord: how calls and streams stand, and who answered."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING, Any

from openclaw_voicecall.testing.emulators.serving import Fault
from openclaw_voicecall.testing.emulators.twilio_media import MediaStream
from openclaw_voicecall.testing.emulators.twilio_orders import Pickup
from openclaw_voicecall.testing.emulators.twilio_twiml import Verb

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio_calls import Call

CALLBACK_FAULTS = ("callbacks-duplicated", "callbacks-late", "callbacks-reordered", "callbacks-lost")
SIP_CODES = {"busy": "486", "no-answer": "487", "failed": "404", "canceled": "487", "completed": "200"}


class Reports:
    """Sends one call's reports, in order, while the call goes on."""

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._sequence = 0
        self._turn = asyncio.Lock()
        self._held: list[Mapping[str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.ended = asyncio.Event()
        """Set when the report of the end is on its way, or a fault has taken it."""

    def put(self, event: str, status: str, **extra: str) -> None:
        """Report that something happened, if the application asked for it.

        Args:
            event: `initiated`, `ringing`, `answered` or `completed`.
            status: The call's status.
            extra: Further fields.
        """
        orders = self._call.orders
        if not orders.status_callback or event not in orders.events:
            return
        params = self._call.params(
            CallStatus=status,
            Timestamp=date(time()) or "",
            SequenceNumber=str(self._sequence),
            CallbackSource="call-progress-events",
            **extra,
        )
        self._sequence += 1
        fault = self._call.exchange.take_fault(*CALLBACK_FAULTS)
        if fault is not None and fault.name == "callbacks-lost":
            return
        if fault is not None and fault.name == "callbacks-reordered":
            self._held.append(params)
            return
        self._spawn(self._send(params, fault))
        self._release()

    def final(self) -> None:
        """Report how the call ended."""
        call = self._call
        error = {"ErrorCode": str(call.application_error)} if call.application_error else {}
        self.put(
            "completed",
            call.status,
            CallDuration=str(call.duration),
            Duration=str(-(-call.duration // 60)),
            SipResponseCode=SIP_CODES[call.status],
            **error,
        )
        self.ended.set()

    async def done(self) -> None:
        """Wait until all is sent."""
        self._release()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stream(self, stream: MediaStream, noun: Verb) -> None:
        """Run a stream, and report its beginning and its end where the TwiML asks for that."""
        reporting = asyncio.create_task(self._when_started(stream, noun))
        try:
            await stream.run(
                self._call.exchange.courier.session, self._call.exchange.stream_signature(stream.url)
            )
        finally:
            reporting.cancel()
            event = {"StreamEvent": "stream-stopped"}
            if stream.problem is not None:
                event = {"StreamEvent": "stream-error", "StreamError": stream.problem.text}
            self._tell(stream, noun, event)

    async def detect_machine(self, pickup: Pickup) -> dict[str, str]:
        """Find out who answered: told in a report of its own, or returned for the request for TwiML."""
        call, orders = self._call, self._call.orders
        with suppress(TimeoutError):
            async with asyncio.timeout(pickup.amd_after):
                await call.until_over()
                return {}
        found = pickup.answered_by
        if found == "machine_start" and orders.machine_detection == "DetectMessageEnd":
            found = "machine_end_beep"
        call.answered_by = found
        verdict = {"AnsweredBy": found, "MachineDetectionDuration": str(round(pickup.amd_after * 1000))}
        if orders.async_amd and orders.amd_callback:
            params = {"CallSid": call.sid, "AccountSid": call.exchange.account_sid, **verdict}
            await call.send("machine", orders.amd_callback, params, method=orders.amd_callback_method)
        return verdict

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _release(self) -> None:
        held, self._held = self._held, []
        for params in held:
            self._spawn(self._send(params, None))

    async def _send(self, params: Mapping[str, str], fault: Fault | None) -> None:
        orders = self._call.orders
        if fault is not None and fault.name == "callbacks-late":
            await asyncio.sleep(float(fault.options.get("seconds", 1.0)))
        async with self._turn:
            for _ in range(2 if fault is not None and fault.name == "callbacks-duplicated" else 1):
                await self._call.send(
                    "status", orders.status_callback, params, method=orders.status_callback_method
                )

    async def _when_started(self, stream: MediaStream, noun: Verb) -> None:
        await stream.started.wait()
        self._tell(stream, noun, {"StreamEvent": "stream-started"})

    def _tell(self, stream: MediaStream, noun: Verb, event: Mapping[str, str]) -> None:
        url = noun.attributes.get("statusCallback", "")
        if not url:
            return
        params = {
            "AccountSid": self._call.exchange.account_sid,
            "CallSid": self._call.sid,
            "StreamSid": stream.stream_sid,
            "StreamName": noun.attributes.get("name", stream.stream_sid),
            "Timestamp": date(time()) or "",
            **event,
        }
        self._spawn(self._send_stream(url, params, noun.attributes.get("statusCallbackMethod", "POST")))

    async def _send_stream(self, url: str, params: Mapping[str, str], method: str) -> None:
        await self._call.send("stream", url, params, method=method)


def date(moment: float | None) -> str | None:
    """A time in Twilio's form, such as `Tue, 01 Sep 2026 10:00:00 +0000`."""
    return None if moment is None else formatdate(moment).replace("-0000", "+0000")


def shared_fields(call: "Call") -> dict[str, str]:
    """The fields of every webhook about a call."""
    fields = {
        "AccountSid": call.exchange.account_sid,
        "ApiVersion": "2010-04-01",
        "CallSid": call.sid,
        "CallStatus": call.status,
        "Called": call.to_number,
        "Caller": call.from_number,
        "Direction": call.direction,
        "From": call.from_number,
        "To": call.to_number,
    }
    places = ("Called", "Caller", "From", "To")
    fields |= {place + part: "" for place in places for part in ("City", "State", "Zip")}
    return fields | {f"{place}Country": "US" for place in places}


def show_call(call: "Call") -> dict[str, Any]:
    """A call as the REST API shows it, with the fields of Twilio's call resource."""
    base = f"/2010-04-01/Accounts/{call.exchange.account_sid}/Calls/{call.sid}"
    return {
        "sid": call.sid,
        "account_sid": call.exchange.account_sid,
        "api_version": "2010-04-01",
        "direction": call.direction,
        "from": call.from_number,
        "from_formatted": call.from_number,
        "to": call.to_number,
        "to_formatted": call.to_number,
        "status": call.status,
        "date_created": date(call.created),
        "date_updated": date(call.ended or call.started or call.created),
        "start_time": date(call.started),
        "end_time": date(call.ended),
        "duration": str(call.duration) if call.over else None,
        "answered_by": call.answered_by or None,
        "annotation": None,
        "caller_name": None,
        "forwarded_from": None,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": call.exchange.sid_of(call.from_number, call.to_number),
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "trunk_sid": "",
        "uri": f"{base}.json",
        "subresource_uris": {"streams": f"{base}/Streams.json", "events": f"{base}/Events.json"},
    }
