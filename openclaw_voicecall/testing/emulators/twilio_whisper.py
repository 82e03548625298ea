"""Whoever a call is transferred to, and what they hear before they are connected: the `url` of `<Number>`.

From Twilio's reference of `<Number>`: the document is carried out on the called party's end. When it comes to its end
and the party is still there, the two are connected.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from openclaw_voicecall.testing.emulators.twilio_phone import TICK, Line
from openclaw_voicecall.testing.emulators.twilio_twiml import Document, Problem, TwimlError, read
from openclaw_voicecall.testing.emulators.twilio_webhooks import Fetch, Webhook

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio_calls import Call

NOT_WHISPERED = frozenset({"Dial", "Connect", "Start", "Reject"})

Perform = Callable[["Call", Document, str], Awaitable[Fetch | None]]
"""Carries out a document for a call, as `twilio_verbs.perform` does."""


@dataclass(frozen=True, slots=True)
class Transferee:
    """Whoever a call is transferred to."""

    outcome: Literal["answers", "busy", "no-answer", "failed"] = "answers"
    after: float = 0.1
    """Seconds of ringing until then."""
    talks_for: float | None = None
    """Seconds until this person hangs up; None to stay until the others do."""
    says: bytes = b""
    """Mu-law audio that this person opens with."""
    presses: str | None = "1"
    """Keys pressed once a whisper was said; None to press none."""
    hangs_up_after: float | None = None
    """Seconds of a whisper until this person hangs up; None to hear it out."""


async def whisper(call: "Call", sid: str, fetch: Fetch, party: Transferee, perform: Perform) -> bool:
    """Carry out what the other half of a transfer hears first.

    Args:
        call: The call that is transferred.
        sid: Id of the other half.
        fetch: Where the document is, with the fields of the other half.
        party: Who is there.
        perform: Carries it out.

    Returns:
        Whether the party is still there afterwards.
    """
    callee = _Callee(call, sid)
    acting = asyncio.create_task(callee.act(party))
    source: Fetch | None = fetch
    try:
        while source is not None and not callee.over:
            document = await callee.document(source)
            source = await callee.carry_out(perform, document, source.url)
            if source is not None:
                source = replace(source, params={**fetch.params, **source.params}, kind="whisper")
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
        callee.line.end()
    return not callee.over


class _Callee:
    """Whoever hears a whisper: as much of a call as its verbs need."""

    def __init__(self, call: "Call", sid: str) -> None:
        self.exchange = call.exchange
        self.sid = sid
        self.answered = True
        self.line = Line(asyncio.get_running_loop().time)
        self.keys: deque[str] = deque()
        self.verbs: list[str] = []
        self.played_digits = ""
        self.said_by_carrier = call.said_to_transferee
        self._call = call
        self._said = len(self.said_by_carrier)
        self._over = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether this half has ended."""
        return self._over.is_set()

    def answer(self) -> None:
        """Nothing: it was answered."""

    def end(self, status: str, *, by: str) -> None:
        """End this half."""
        self._over.set()

    def note(self, problem: Problem, where: str) -> None:
        """Write into Twilio's debugger."""
        self._call.note(problem, f"whisper, {where}")

    async def send(self, *arguments: Any, **options: Any) -> Webhook:
        """Ask the application."""
        return await self._call.send(*arguments, **options)

    async def act(self, party: Transferee) -> None:
        """Hear what is said, and press keys or hang up."""
        if party.hangs_up_after is not None:
            await asyncio.sleep(party.hangs_up_after)
            self._over.set()
            return
        while len(self.said_by_carrier) == self._said or self.line.waiting:  # noqa: ASYNC110 sound takes its time
            await asyncio.sleep(TICK)
        await asyncio.sleep(2 * TICK)
        self.keys.extend(party.presses or "")

    async def document(self, source: Fetch) -> Document:
        """What is to be done on this half; what cannot be read connects the two at once."""
        webhook = await self._call.send(source.kind, source.url, source.params, method=source.method)
        if webhook.problem is not None:
            return Document(())
        try:
            document = read(webhook.body, webhook.content_type)
        except TwimlError as error:
            self.note(error.problem, "TwiML")
            return Document(())
        refused = [verb.name for verb in document.verbs if verb.name in NOT_WHISPERED]
        for problem in (*document.warnings, *(Problem(12200, f"{name} in a whisper") for name in refused)):
            self.note(problem, "TwiML")
        return Document(tuple(verb for verb in document.verbs if verb.name not in NOT_WHISPERED))

    async def carry_out(self, perform: Perform, document: Document, base: str) -> Fetch | None:
        """Carry out a document; returns where the next one is, and None too when this half ends first."""
        work = asyncio.ensure_future(perform(cast("Call", self), document, base))
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([work, over], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            work.cancel()
            over.cancel()
            await asyncio.gather(work, over, return_exceptions=True)
