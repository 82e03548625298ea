"""One emulated call: its states, what it asks the application, and what is recorded of it."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, Literal

from openclaw_voicecall.testing.emulators.sip_trunk import TrunkLeg
from openclaw_voicecall.testing.emulators.twilio_media import MediaStream
from openclaw_voicecall.testing.emulators.twilio_orders import Orders, Pickup
from openclaw_voicecall.testing.emulators.twilio_phone import Ended, Line, Person, Script
from openclaw_voicecall.testing.emulators.twilio_reports import Reports, shared_fields, show_call
from openclaw_voicecall.testing.emulators.twilio_twiml import Document, Problem, TwimlError, Verb, read
from openclaw_voicecall.testing.emulators.twilio_verbs import perform
from openclaw_voicecall.testing.emulators.twilio_webhooks import Fetch, Kind, Webhook

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio import TwilioEmulator

APOLOGY = "We are sorry, an application error has occurred. Goodbye."
LEAVE_TIME = 1.0
"""Seconds that a person's script has to end after the call did."""

EndedBy = Literal["", "person", "api", "twiml", "time-limit", "network", "emulator"]


class Call:
    """A call, as Twilio has it and as the person at the far end has it.

    Args:
        exchange: The account it belongs to.
        direction: `inbound` or `outbound-api`.
        from_number: Who calls.
        to_number: Who is called.
        orders: What to do with it.
        pickup: For a placed call, what comes of it.
        person: What the person does once the call is answered; None to be silent.
        extra: Further fields of every webhook, such as `StirVerstat`.
    """

    def __init__(
        self,
        exchange: "TwilioEmulator",
        *,
        direction: Literal["inbound", "outbound-api"],
        from_number: str,
        to_number: str,
        orders: Orders,
        pickup: Pickup | None = None,
        person: Script | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.exchange = exchange
        self.sid = exchange.new_sid("CA")
        self.direction = direction
        self.from_number, self.to_number = from_number, to_number
        self.orders = orders
        self.status = "queued" if direction == "outbound-api" else "ringing"
        self.created = time()
        self.started: float | None = None
        """Unix seconds of the answer."""
        self.ended: float | None = None
        self.ended_by: EndedBy = ""
        self.time_limit = orders.time_limit
        self.answered_by = ""
        self.application_error: int | None = None
        self.webhooks: list[Webhook] = []
        self.documents: list[str] = []
        """TwiML in the order it was carried out, as text."""
        self.verbs: list[str] = []
        """Verbs that were carried out, such as `<Pause length="1">`."""
        self.streams: list[MediaStream] = []
        self.said_by_carrier: list[str] = []
        self.played_digits = ""
        self.transferred_to = ""
        self.said_to_transferee: list[str] = []
        """What the carrier said to whoever answered a transfer, before the two were connected."""
        self.refers: list[str] = []
        """Targets of the transfers that a SIP side asked for."""
        self.sip_leg: TrunkLeg | None = None
        self.keys: deque[str] = deque()
        """Pressed while a `<Gather>` may listen."""
        self.phone: Person | None = None
        """The person, from the answer on."""
        self.person_error: BaseException | None = None
        self.person_done = False
        """Whether the person's script came to its end; false also when the call ended before it."""
        self._pickup = pickup or Pickup()
        self._script = person
        self._extra = dict(extra or {})
        self._reports = Reports(self)
        self._line: Line | None = None
        self._over = asyncio.Event()
        self._program: asyncio.Task[None] | None = None
        self._pending: Fetch | str | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._listeners: list[asyncio.Task[Any]] = []
        self._streaming: MediaStream | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def line(self) -> Line:
        """The audio of the call. Raises `RuntimeError` before the answer."""
        if self._line is None:
            raise RuntimeError("the call is not answered yet")
        return self._line

    @property
    def answered(self) -> bool:
        """Whether it is or was in progress."""
        return self._line is not None

    @property
    def over(self) -> bool:
        """Whether it has come to an end."""
        return self._over.is_set()

    @property
    def duration(self) -> int:
        """Seconds since the answer, until the end."""
        return round(self._line.now) if self._line is not None else 0

    @property
    def redirecting(self) -> bool:
        """Whether it is being sent to another document."""
        return self._pending is not None

    async def finished(self) -> "Call":
        """Wait until the call is over and everything about it was reported.

        Raises:
            BaseException: Whatever the person's script failed with.
        """
        await asyncio.shield(self._task)
        if self.person_error is not None:
            raise self.person_error
        return self

    async def abandon(self, seconds: float) -> None:
        """Give a call that was ended some time to end well, and then none."""
        await asyncio.wait({self._task}, timeout=seconds)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def shown(self) -> dict[str, Any]:
        """The call as the REST API shows it."""
        return show_call(self)

    async def until_over(self) -> None:
        """Wait for the end."""
        await self._over.wait()

    async def until_reported(self) -> None:
        """Wait until the end is reported, or a fault has taken the report."""
        await self._reports.ended.wait()

    async def until_answered(self) -> Person:
        """Wait for the answer. Raises `Ended` when there is none."""
        while self.phone is None:
            if self.over:
                raise Ended
            await asyncio.sleep(0.01)
        return self.phone

    def press(self, digit: str) -> None:
        """The person pressed a key."""
        self.keys.append(digit)
        if self._streaming is not None:
            self._streaming.press(digit)
        if self.sip_leg is not None:
            self.in_background(self.sip_leg.press(digit))

    def hang_up(self) -> None:
        """The person hung up, or gave up before the answer."""
        self.end("completed" if self.answered else "canceled", by="person")

    def cut_stream(self) -> None:
        """Break the connection of the running stream."""
        if self._streaming is not None:
            self._streaming.cut()

    def end(self, status: str, *, by: EndedBy) -> None:
        """End the call, unless it has ended."""
        if not self.over:
            self.status, self.ended_by, self.ended = status, by, time()
            self._over.set()

    def redirect(self, source: Fetch | str) -> None:
        """Leave what is carried out and go on with another document: an address, or TwiML itself."""
        self._pending = source
        if self._program is not None:
            self._program.cancel()

    def limit(self, seconds: int) -> None:
        """End the call so many seconds after its answer."""
        self.time_limit = seconds
        if self._limit is not None:
            self._limit.cancel()
        if self._line is not None:
            left = max(0.0, seconds - self._line.now)
            loop = asyncio.get_running_loop()
            self._limit = loop.call_later(left, lambda: self.end("completed", by="time-limit"))

    def answer(self) -> None:
        """The call is in progress from now on."""
        if self._line is not None or self.over:
            return
        self._line = Line(asyncio.get_running_loop().time)
        self.status, self.started = "in-progress", time()
        self.limit(self.time_limit)
        far_end = self.from_number if self.direction == "inbound" else self.to_number
        self.phone = Person(self._line, self, far_end)
        if self._script is not None:
            self.in_background(self._act(self._script, self.phone))
        self._reports.put("answered", "in-progress")

    def params(self, **more: str) -> dict[str, str]:
        """The fields that every webhook about this call has."""
        return shared_fields(self) | self._extra | more

    async def send(
        self, kind: Kind, url: str, params: Mapping[str, str], *, method: str = "POST", token: str = ""
    ) -> Webhook:
        """Ask the application, and record it."""
        webhook = await self.exchange.courier.send(kind, url, params, method=method, idempotency_token=token)
        self.webhooks.append(webhook)
        if webhook.problem is not None:
            self.note(webhook.problem, f"{kind} webhook")
        return webhook

    async def ask(self, fetch: Fetch) -> Webhook:
        """Ask for TwiML; where a fault says so, twice, as after an answer that was lost."""
        token, params = self.exchange.new_sid(""), self.params(**fetch.params)
        if self.exchange.take_fault("twiml-fetched-twice"):
            await self.send(fetch.kind, fetch.url, params, method=fetch.method, token=token)
        return await self.send(fetch.kind, fetch.url, params, method=fetch.method, token=token)

    def note(self, problem: Problem, where: str) -> None:
        """Write into Twilio's debugger."""
        self.exchange.refuse(f"{where} of {self.sid}", f"{problem.code}: {problem.text}")

    def in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something beside the call; the call is not finished before it is."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def stream(self, noun: Verb) -> None:
        """Connect the call's audio with the application until one of them ends it."""
        stream = self.exchange.new_stream(self, noun, bidirectional=True)
        if stream is None:
            return
        self.streams.append(stream)
        self._streaming = stream
        try:
            await self._reports.stream(stream, noun)
        finally:
            self._streaming = None

    def start_stream(self, noun: Verb) -> None:
        """Let the application listen in beside what else is done."""
        stream = self.exchange.new_stream(self, noun, bidirectional=False)
        if stream is not None:
            self.streams.append(stream)
            self._listeners.append(self.in_background(self._reports.stream(stream, noun)))

    async def _run(self) -> None:
        try:
            if self.direction == "outbound-api":
                await self._ring()
            if not self.over:
                orders = self.orders
                await self._talk(Fetch(orders.url, orders.method) if orders.url else orders.twiml)
        finally:
            self.end("failed", by="emulator")
            await self._clear_away()

    async def _ring(self) -> None:
        pickup = self._pickup
        self._reports.put("initiated", "initiated")
        if pickup.outcome in ("answer", "no-answer"):
            self.status = "ringing"
            self._reports.put("ringing", "ringing")
        with suppress(TimeoutError):
            async with asyncio.timeout(min(pickup.after, self.orders.timeout)):
                await self._over.wait()
        if pickup.outcome != "answer" or pickup.after > self.orders.timeout:
            self.end("no-answer" if pickup.outcome == "answer" else pickup.outcome, by="network")
        if self.over:
            return
        self.answer()
        self.played_digits += self.orders.send_digits
        if self.orders.machine_detection and not self.orders.send_digits:
            detection = self._reports.detect_machine(pickup)
            if self.orders.async_amd:
                self.in_background(detection)
            else:
                self._extra |= await detection

    async def _talk(self, source: Fetch | str) -> None:
        """Carry out one document after the other, until the call is over or there is none left."""
        over = asyncio.create_task(self._over.wait())
        try:
            while not self.over:
                self._pending = None
                self._program = asyncio.create_task(self._carry_out(source))
                await asyncio.wait({self._program, over}, return_when=asyncio.FIRST_COMPLETED)
                if self.over or self._pending is None:
                    break
                await asyncio.wait({self._program})
                source = self._pending
        finally:
            over.cancel()
            if self._program is not None:
                self._program.cancel()
                await asyncio.wait({self._program})
        if self._program is not None and not self._program.cancelled():
            self._program.result()
        self.end("completed", by="twiml")

    async def _carry_out(self, source: Fetch | str) -> None:
        following: Fetch | str | None = source
        while following is not None and not self.over:
            document = await self._document(following)
            if self.over:
                return
            if document is None:
                self.answer()
                await perform(self, Document((Verb("Say", {}, APOLOGY),)), "")
                return
            base = following.url if isinstance(following, Fetch) else ""
            following = await perform(self, document, base)

    async def _document(self, source: Fetch | str) -> Document | None:
        """The document at an address, or at the fallback; None when there is none."""
        problem: Problem | None
        if isinstance(source, str):
            document, problem = self._read(source.encode(), "text/xml")
        else:
            webhook = source.answer or await self.ask(source)
            document, problem = None, webhook.problem
            if problem is None:
                document, problem = self._read(webhook.body, webhook.content_type)
            if problem is not None and source.kind != "fallback" and self.orders.fallback_url:
                params = {"ErrorCode": str(problem.code), "ErrorUrl": source.url}
                fallback = Fetch(self.orders.fallback_url, self.orders.fallback_method, params, "fallback")
                return await self._document(fallback)
        if problem is not None:
            self.application_error = problem.code
        return document

    def _read(self, body: bytes, content_type: str) -> tuple[Document | None, Problem | None]:
        try:
            document = read(body, content_type)
        except TwimlError as error:
            self.note(error.problem, "TwiML")
            return None, error.problem
        for warning in document.warnings:
            self.note(warning, "TwiML")
        self.documents.append(body.decode(errors="replace"))
        return document, None

    async def _act(self, script: Script, person: Person) -> None:
        try:
            await script(person)
            self.person_done = True
        except Ended:
            pass
        except (
            BaseException
        ) as error:  # an assertion of a test may be of any kind; it is raised by `finished`
            if isinstance(error, asyncio.CancelledError):
                raise
            self.person_error = error
            self.hang_up()

    async def _clear_away(self) -> None:
        if self._line is not None:
            self._line.end()
        if self._limit is not None:
            self._limit.cancel()
        self._reports.final()
        for listener in self._listeners:
            listener.cancel()
        if self._background:
            await asyncio.wait(self._background, timeout=LEAVE_TIME)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._reports.done()
