"""Twilio on 127.0.0.1: the REST API, signed webhooks, media streams, and a person at the other end of each call."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from openclaw_voicecall.testing.emulators.clips import ClipBook, Recognizer
from openclaw_voicecall.testing.emulators.serving import Emulator
from openclaw_voicecall.testing.emulators.twilio_calls import Call
from openclaw_voicecall.testing.emulators.twilio_media import MediaStream, StreamFaults
from openclaw_voicecall.testing.emulators.twilio_orders import Orders, Pickup
from openclaw_voicecall.testing.emulators.twilio_phone import Ended, Person, Script
from openclaw_voicecall.testing.emulators.twilio_rest import Number, RestApi
from openclaw_voicecall.testing.emulators.twilio_signing import Ports, sign
from openclaw_voicecall.testing.emulators.twilio_twiml import Verb, without_query
from openclaw_voicecall.testing.emulators.twilio_webhooks import ANSWER_LIMIT, Courier
from openclaw_voicecall.testing.emulators.twilio_whisper import Transferee
from openclaw_voicecall.testing.emulators.voices import babble

__all__ = ["Call", "Ended", "Person", "Pickup", "Transferee", "TwilioEmulator"]

STOP_LIMIT = 5.0


class TwilioEmulator(Emulator):
    """One Twilio account.

    ```python
    async with TwilioEmulator(numbers={"+15550001111": "http://127.0.0.1:8080/voice"}) as twilio:
        async def somebody(phone: Person) -> None:
            await phone.wait_for_agent()
            await phone.say(clips.add("goodbye", babble("goodbye")))
            phone.hang_up()

        call = await twilio.dial_in("+15550002222", "+15550001111", somebody)
        await call.finished()
        assert not twilio.refusals
    ```

    Args:
        port: TCP port; 0 for any free one.
        account_sid: Its id.
        auth_token: Secret of the REST API and of the webhooks.
        numbers: The account's phone numbers, each with the address that is asked for TwiML when it is called.
        recognizer: Hears what a person says to `<Gather input="speech">`; without one nobody is understood.
        clips: Learns what the carrier says in `<Say>`.
        answer_limit: Seconds in which the application has to answer; 15 at Twilio.
        ports: Which port is signed in webhooks.
        stream_port: Port on this machine to which media sockets are opened, where it is not the one that they were
            asked to: of a `FaultProxy`, which then harms streams and leaves webhooks alone.
        sip_hosts: Where the hosts of SIP addresses are: each with the loopback trunk that answers for it, such as
            `{"sip.api.openai.com": "ws://127.0.0.1:9000"}`.
    """

    vendor: ClassVar[str] = "twilio"
    FAULTS: ClassVar[Mapping[str, str]] = {
        "rest-401": "a request to the REST API is answered 401, code 20003",
        "rest-429": "a request to the REST API is answered 429 with Retry-After, code 20429",
        "rest-500": "a request to the REST API is answered 500, code 20500, and nothing is done",
        "rest-timeout": "a POST to the REST API is carried out and never answered",
        "rest-lost-reply": "a POST to the REST API is carried out and the connection is reset",
        "callbacks-duplicated": "a status callback is sent twice",
        "callbacks-late": "a status callback is sent after `seconds` (1)",
        "callbacks-reordered": "a status callback is sent after the one that follows it",
        "callbacks-lost": "a status callback is not sent",
        "twiml-fetched-twice": "TwiML is asked for again with the same idempotency token; the second answer counts",
        "media-dropped": "the media socket breaks `seconds` (0.5) after start",
        "media-unread": "a stream is read no more `seconds` (2) after start, although the caller's audio goes on",
        "media-refused": "a stream is never opened; the call goes on with the verb after it",
        "stream-never-starts": "a media socket is opened and says connected, but never start",
        "malformed-frames": "a stream carries messages that Twilio would never send",
        "no-marks": "a stream echoes no marks",
        "bad-signature": "a webhook is signed with another token",
        "bad-media-signature": "a media socket is signed with another token",
    }

    def __init__(
        self,
        *,
        port: int = 0,
        account_sid: str = "AC" + "0" * 31 + "1",
        auth_token: str = "emulated-token",  # noqa: S107 it opens nothing but this emulator
        numbers: Mapping[str, str] | None = None,
        recognizer: Recognizer | None = None,
        clips: ClipBook | None = None,
        answer_limit: float = ANSWER_LIMIT,
        ports: Ports = "as-is",
        stream_port: int | None = None,
        sip_hosts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(port=port)
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.numbers = {
            phone_number: Number(self.new_sid("PN"), phone_number, voice_url=url)
            for phone_number, url in (numbers or {}).items()
        }
        self.verified: set[str] = set()
        """Further numbers that the account may call from."""
        self.blocked: set[str] = set()
        """Beginnings of numbers that the account may not call."""
        self.calls: dict[str, Call] = {}
        """All calls by SID, oldest first."""
        self.pickup = Pickup()
        """What comes of calls that are placed."""
        self.person: Script | None = None
        """What the person does who answers a placed call; None to be silent."""
        self.transferees: dict[str, Transferee] = {}
        """Who is at the numbers that calls are transferred to; somebody who answers, where nothing is said."""
        self.voice: Callable[[str], bytes] = babble
        """Renders what the carrier says in mu-law."""
        self.stream_port = stream_port
        """Where media sockets are opened to, if not where they were asked to."""
        self.sip_hosts: dict[str, str] = dict(sip_hosts or {})
        """Loopback trunks by the host of a SIP address; calls to any other host fail."""
        self.sip_domain = "trunk"
        """Host of the callers' own SIP addresses."""
        self._recognizer, self._clips = recognizer, clips
        self._placed: asyncio.Queue[Call] = asyncio.Queue()
        self.courier = Courier(
            auth_token,
            ports=ports,
            limit=answer_limit,
            spoil=lambda: self.take_fault("bad-signature") is not None,
        )

    @property
    def callers(self) -> set[str]:
        """Numbers that the account may call from."""
        return self.numbers.keys() | self.verified

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the REST API."""
        RestApi(self).add_routes(router)

    def state(self) -> dict[str, Any]:
        """The account's calls."""
        return {
            "account": self.account_sid,
            "numbers": {number.phone_number: number.voice_url for number in self.numbers.values()},
            "calls": [
                {**call.shown(), "verbs": call.verbs, "said_by_carrier": call.said_by_carrier}
                for call in self.calls.values()
            ],
        }

    async def stop(self) -> None:
        """End all calls and close all connections."""
        for call in self.calls.values():
            call.end("completed" if call.answered else "canceled", by="emulator")
        await asyncio.gather(*(call.abandon(STOP_LIMIT) for call in self.calls.values()))
        await self.courier.close()

    async def dial_in(
        self, from_number: str, to_number: str, person: Script | None = None, **extra: str
    ) -> Call:
        """Call one of the account's numbers; returns when it rings, not when it is answered.

        Args:
            from_number: The caller's number, or whatever stands in its place when it is withheld.
            to_number: The number that is called.
            person: What the caller does once the call is answered; None to be silent.
            extra: Further fields of its webhooks, such as `StirVerstat`.

        Raises:
            ValueError: The number is not the account's, or has no address.
        """
        number = self.numbers.get(to_number)
        if number is None or not number.voice_url:
            raise ValueError(f"{to_number} is no number of the account, or has no address to ask")
        call = Call(
            self,
            direction="inbound",
            from_number=from_number,
            to_number=to_number,
            orders=number.orders(),
            person=person,
            extra=extra,
        )
        self.calls[call.sid] = call
        return call

    def place(self, from_number: str, to_number: str, orders: Orders) -> Call:
        """Carry out a request for a call."""
        call = Call(
            self,
            direction="outbound-api",
            from_number=from_number,
            to_number=to_number,
            orders=orders,
            pickup=self.pickup,
            person=self.person,
        )
        self.calls[call.sid] = call
        self._placed.put_nowait(call)
        return call

    async def next_call(self) -> Call:
        """The next call that the application places."""
        return await self._placed.get()

    def new_sid(self, prefix: str) -> str:
        """A new id of Twilio's form."""
        return prefix + secrets.token_hex(16)

    def sid_of(self, *phone_numbers: str) -> str | None:
        """The id of the first of these numbers that is the account's."""
        return next((self.numbers[number].sid for number in phone_numbers if number in self.numbers), None)

    def render(self, text: str) -> bytes:
        """The carrier's voice saying something."""
        audio = self.voice(text)
        return self._clips.add(text, audio) if self._clips is not None else audio

    async def recognise(self, audio: bytes) -> str:
        """The words in what a person said."""
        return await self._recognizer(audio) if self._recognizer is not None else ""

    def stream_signature(self, url: str) -> str:
        """What a media socket is opened with."""
        wrong = self.take_fault("bad-media-signature") is not None
        return sign("another-token" if wrong else self.auth_token, url, ports=self.courier.ports)

    def new_stream(self, call: Call, noun: Verb, *, bidirectional: bool) -> MediaStream | None:
        """A stream for a call; None where a fault has it never opened."""
        if self.take_fault("media-refused"):
            return None
        dropped, unread = self.take_fault("media-dropped"), self.take_fault("media-unread")
        faults = StreamFaults(
            cut_after=None if dropped is None else float(dropped.options.get("seconds", 0.5)),
            unread_after=None if unread is None else float(unread.options.get("seconds", 2.0)),
            never_starts=self.take_fault("stream-never-starts") is not None,
            junk=self.take_fault("malformed-frames") is not None,
            no_marks=self.take_fault("no-marks") is not None,
        )
        return MediaStream(
            url=without_query(noun.attributes["url"]),
            stream_sid=self.new_sid("MZ"),
            call_sid=call.sid,
            account_sid=self.account_sid,
            line=call.line,
            note=lambda problem: call.note(problem, "media stream"),
            stamp=self.stamp,
            parameters={p.attributes["name"]: p.attributes["value"] for p in noun.children},
            bidirectional=bidirectional,
            port=self.stream_port,
            faults=faults,
        )
