"""What Twilio does for `<Dial>`: calls a number or a SIP address, whispers to whoever answers, and connects the two.

From its reference of `<Dial>`, `<Number>`, `<Sip>` and of SIP REFER. Where those are silent: a `<Dial>` whose SIP side
has the call transferred does not ask its action, and a callee who hangs up in a whisper has `completed` the call
without having been bridged.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from openclaw_voicecall.testing.emulators.sip_trunk import BYE_LIMIT, TERMINATED, TrunkLeg
from openclaw_voicecall.testing.emulators.twilio_orders import E164
from openclaw_voicecall.testing.emulators.twilio_twiml import (
    Problem,
    TwimlError,
    Verb,
    read,
    read_sip_address,
)
from openclaw_voicecall.testing.emulators.twilio_webhooks import Fetch, Webhook, absolute
from openclaw_voicecall.testing.emulators.twilio_whisper import Perform, Transferee, whisper
from openclaw_voicecall.testing.emulators.voices import babble

if TYPE_CHECKING:
    from openclaw_voicecall.testing.emulators.twilio_calls import Call

RING_PERIOD = 6.0
NO_REFER = 405
NO_ANSWER_TO_REFER = 503
SIP_OUTCOMES = {408: "no-answer", 480: "no-answer", 487: "no-answer", 486: "busy", 600: "busy", 603: "busy"}
"""What `DialCallStatus` says of a SIP status; `failed` of any other."""
REFER_OUTCOMES = {"busy": 486, "no-answer": 480, "failed": 404}


class _Leg(Protocol):
    """The other half of a `<Dial>`."""

    sid: str
    bridged: bool

    async def run(self) -> str | Fetch:
        """Ring, and talk; returns how it ended, or where the call is to go on."""
        ...

    def result(self, status: str) -> dict[str, str]:
        """What the action is told."""
        ...


def action_of(verb: Verb, base: str, params: dict[str, str], *, default: bool = False) -> Fetch | None:
    """The request that tells how a verb went; None when the document goes on instead."""
    url = verb.attributes.get("action", "")
    if not url and not default:
        return None
    return Fetch(absolute(base, url), verb.attributes.get("method", "POST"), params, kind="action")


async def dial(call: "Call", verb: Verb, base: str, perform: Perform) -> Fetch | None:
    """Carry out a `<Dial>`; returns where the next document is, or None to go on with this one."""
    noun = verb.children[0] if verb.children else verb
    call.transferred_to = noun.text
    leg: _Leg
    leg = _SipLeg(call, verb, base) if noun.name == "Sip" else _NumberLeg(call, verb, base, perform)
    try:
        ended = await leg.run()
    except asyncio.CancelledError:
        # Sent elsewhere while it dials, Twilio still asks the action, and makes nothing of its answer.
        left = action_of(verb, base, leg.result("completed" if leg.bridged else "canceled"))
        if left is not None and call.redirecting:
            call.in_background(call.ask(left))
        raise
    if isinstance(ended, Fetch):
        return ended
    return action_of(verb, base, leg.result(ended))


class _Half:
    """What both kinds of legs have: an id, a bell, reports of their own."""

    def __init__(self, call: "Call", verb: Verb, base: str) -> None:
        self.sid = call.exchange.new_sid("CA")
        self.bridged = False
        self._call, self._verb, self._base = call, verb, base
        self._noun = verb.children[0] if verb.children else verb
        self._patience = float(verb.attributes.get("timeout", "30"))
        self._limit = float(verb.attributes.get("timeLimit", "14400"))
        self._since = 0.0
        self._reports = asyncio.Lock()

    def result(self, status: str) -> dict[str, str]:
        """What the action is told."""
        told = {"DialCallStatus": status, "DialCallSid": self.sid, "DialBridged": str(self.bridged).lower()}
        if self.bridged:
            told["DialCallDuration"] = str(round(self._call.line.now - self._since))
        return told

    def params(self, status: str, **more: str) -> dict[str, str]:
        """The fields of webhooks about this half."""
        caller = self._verb.attributes.get("callerId", self._call.from_number)
        ours = {"CallSid": self.sid, "ParentCallSid": self._call.sid, "CallStatus": status}
        parties = {"From": caller, "Caller": caller, "To": self._noun.text, "Called": self._noun.text}
        return self._call.params(**ours, **parties, Direction="outbound-dial", **more)

    def report(self, event: str, status: str) -> None:
        """Report how this half stands, where the noun asks for that."""
        given = self._noun.attributes
        if "statusCallback" in given and event in given.get("statusCallbackEvent", "completed").split():
            params = self.params(status, CallbackSource="call-progress-events")
            self._call.in_background(self._report(params))

    async def _report(self, params: dict[str, str]) -> None:
        given = self._noun.attributes
        async with self._reports:
            url, method = given["statusCallback"], given.get("statusCallbackMethod", "POST")
            await self._call.send("status", absolute(self._base, url), params, method=method)

    def bridge(self) -> None:
        """Connect the two: the call is answered now at the latest."""
        self._call.answer()
        self.bridged, self._since = True, self._call.line.now

    async def ring(self) -> None:
        """Let the caller hear ringing, where the caller hears anything."""
        while self._call.answered:
            self._call.line.play(babble("ring ring ring"))
            try:
                await asyncio.sleep(RING_PERIOD)
            except asyncio.CancelledError:
                self._call.line.clear()
                raise


class _NumberLeg(_Half):
    """A phone that is called."""

    def __init__(self, call: "Call", verb: Verb, base: str, perform: Perform) -> None:
        super().__init__(call, verb, base)
        self._perform = perform
        self._answered = False

    async def run(self) -> str:
        """Ring, whisper, and talk; returns how it ended."""
        number = self._noun.text
        if number.startswith("+") and not E164.fullmatch(number):
            self._call.note(Problem(13223, "Dial: Invalid phone number format"), "<Dial>")
            return "failed"
        party = self._call.exchange.transferees.get(number, Transferee())
        self.report("initiated", "initiated")
        self.report("ringing", "ringing")
        status = "canceled"
        ringing = asyncio.create_task(self.ring())
        try:
            status = await self._reach(party)
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)
            if status == "answered":
                self.bridge()
                self._call.line.play(party.says)
                status = "completed"
                await asyncio.sleep(
                    min(self._limit, self._limit if party.talks_for is None else party.talks_for)
                )
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)
            self.report("completed", "completed" if self._answered else status)
        return status

    async def _reach(self, party: Transferee) -> str:
        """Ring, and whisper; returns `answered`, or how it ended."""
        await asyncio.sleep(min(party.after, self._patience))
        if party.after > self._patience:
            return "no-answer"
        if party.outcome != "answers":
            return party.outcome
        self._answered = True
        self.report("answered", "in-progress")
        url = self._noun.attributes.get("url", "")
        if url and not await self._whisper(url, party):
            return "completed"
        return "answered"

    async def _whisper(self, url: str, party: Transferee) -> bool:
        fetch = Fetch(
            absolute(self._base, url),
            self._noun.attributes.get("method", "POST"),
            self.params("in-progress"),
            "whisper",
        )
        return await whisper(self._call, self.sid, fetch, party, self._perform)


class _SipLeg(_Half):
    """A SIP address that is called, over the loopback trunk of its host."""

    def __init__(self, call: "Call", verb: Verb, base: str) -> None:
        super().__init__(call, verb, base)
        self._call_id = f"{uuid4().hex}@0.0.0.0"
        self._leg: TrunkLeg | None = None
        self._following: Fetch | None = None

    def result(self, status: str) -> dict[str, str]:
        """What the action is told."""
        told = super().result(status) | {"DialSipCallId": self._call_id}
        if self._leg is not None and self._leg.status:
            told["DialSipResponseCode"] = str(self._leg.status)
        return told

    async def run(self) -> str | Fetch:
        """Ring, and talk; returns how it ended, or where the call goes on after a transfer."""
        self._leg = self._dialled()
        if self._leg is None:
            return "failed"
        self.report("initiated", "initiated")
        status = await self._invite(self._leg)
        if status != 200:
            outcome = SIP_OUTCOMES.get(status, "failed")
            self.report("completed", outcome)
            return outcome
        self.bridge()
        self.report("answered", "in-progress")
        self._call.sip_leg = self._leg
        try:
            async with asyncio.timeout(self._limit):
                await self._leg.talk(self._call.line)
        except TimeoutError:
            pass
        finally:
            self._call.sip_leg = None
            self.report("completed", "completed")
        return self._following or "completed"

    def _dialled(self) -> TrunkLeg | None:
        """The call to the address; None, with a note in the debugger, where it leads nowhere."""
        address, _ = read_sip_address(self._noun.text)
        if address is None:
            return None  # noted when the document was read
        host = self._call.exchange.sip_hosts.get(address.host)
        if host is None:
            self._call.note(Problem(13254, f"Dial->Sip: {address.host} does not resolve"), "<Dial>")
            return None
        caller = self._verb.attributes.get("callerId", self._call.from_number)
        headers = [
            ("From", f"<sip:{caller}@{self._call.exchange.sip_domain}>"),
            ("To", f"<sip:{address.user}@{address.host}>"),
            ("Call-ID", self._call_id),
            ("X-Twilio-AccountSid", self._call.exchange.account_sid),
            ("X-Twilio-CallSid", self.sid),
            *address.headers,
        ]
        return TrunkLeg(f"{host.rstrip('/')}/_sip/{address.user}", headers, self._refer)

    async def _invite(self, leg: TrunkLeg) -> int:
        ringing = asyncio.create_task(self.ring())
        try:
            async with asyncio.timeout(self._patience):
                return await leg.invite(self._call.exchange.courier.session)
        except TimeoutError:
            return TERMINATED
        finally:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)

    async def _refer(self, target: str) -> None:
        """The SIP side wants the call transferred: ask what is to be done, and let go of that side."""
        leg, given = self._leg, self._verb.attributes
        self._call.refers.append(target)
        if leg is None:
            return
        if "referUrl" not in given:
            self._call.note(Problem(13802, "Dial: No referUrl attribute specified"), "<Dial>")
            await leg.notify(NO_REFER)
            return
        await leg.notify(202)
        fetch = Fetch(
            absolute(self._base, given["referUrl"]),
            given.get("referMethod", "POST"),
            {"ReferTransferTarget": target if "<" in target else f"<{target}>"},
            kind="refer",
        )
        webhook = await self._call.ask(fetch)
        stays = given.get("answerOnBridge") == "true"
        outcome = self._outcome(webhook) if stays else 200
        if outcome != 200:
            await leg.notify(outcome)
            return
        self._following = Fetch(fetch.url, fetch.method, fetch.params, "refer", answer=webhook)
        await leg.notify(200)
        try:
            async with asyncio.timeout(BYE_LIMIT):
                await leg.over.wait()
        except TimeoutError:
            leg.complaints.append("no BYE after the transfer came about")
            await leg.bye()

    def _outcome(self, webhook: Webhook) -> int:
        """What the SIP side is told of a transfer that it stays for until the other side answers.

        Nobody is waited for: who will not answer is known at once, and who will counts as there.
        """
        if webhook.problem is not None:
            return NO_ANSWER_TO_REFER
        try:
            verbs = read(webhook.body, webhook.content_type).verbs
        except TwimlError:
            return NO_ANSWER_TO_REFER
        dialled = next((verb for verb in verbs if verb.name == "Dial"), None)
        if dialled is None:
            return 200
        number = dialled.children[0].text if dialled.children else dialled.text
        party = self._call.exchange.transferees.get(number, Transferee())
        return 200 if party.outcome == "answers" else REFER_OUTCOMES[party.outcome]
