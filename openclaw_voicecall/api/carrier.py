"""Who connects us to the phone network.

A carrier is split in two: what can be decided without I/O (verify, parse, reply, the media codec) and what goes over
the network (place, answer, hang up). The pure half is tested without sockets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from openclaw_voicecall.core.reasons import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierCapabilities:
    """What a carrier can do; the core never asks, the shell does."""

    media: str = "stream"
    """`stream`: audio frames reach us. `turns`: the carrier transcribes and speaks. `remote`: a vendor keeps the audio
    and its speech model talks on it, steered over a socket; the carrier is a `RemoteLine` too."""
    bridges: bool = False
    """Can connect a call to a SIP address: answers the order `bridge`, and reports `stream-over` when that ends."""
    turns: bool = False
    """Can transcribe and speak by itself, a turn at a time, where no media stream does: answers the orders `turn` and
    `wait`, reports `turn`, `poll` and `stream-over`, and has `take_over`."""
    marks: bool = True
    """Echoes a mark once the audio before it was played."""
    clear: bool = True
    """Can drop audio it has not played yet."""
    dtmf_out: str = "carrier"
    """How digits reach the far party: `carrier`, by `send_digits`; `in-band`, as tones in our audio; or `none`."""
    transfer: bool = False
    """Can hand the far party over, and reports `transfer` with what became of it."""
    transfer_proven: bool = False
    """`transfer` returns once the far party is gone there for certain, and nothing is reported after it."""
    announces: bool = False
    """Can say something to the other number before a transfer."""
    limits_duration: bool = False
    """Can be told how long a call that we did not place may last."""
    machine_detection: bool = False
    finds_legs: bool = False
    """Can look for legs by their numbers and time: has `find_legs`, for dials whose outcome nobody knows."""
    billed: bool = True
    """Its calls reach the phone network and cost money. The limits on spending are for such carriers only."""
    explicit_answer: bool = False
    """Answers by a REST call of ours, not in the reply to its webhook."""
    signature_headers: tuple[str, ...] = ()
    """Headers that every webhook of it has once. Requests without them are refused before their body is read."""
    webhook_types: tuple[str, ...] = ()
    """Content types of its webhooks, in small letters; any, if none is named. Others are refused unread, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A request as it reached us; `url` is the public one, header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    remote: str = ""
    """Address of whoever sent it; behind a proxy that the configuration trusts, as the proxy tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedWebhook:
    """A request that the carrier really sent."""

    request: WebhookRequest
    params: Mapping[str, str]
    replay_key: str
    """Made from verified material only; a second request with it gets the first one's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookReply:
    """What the carrier is answered."""

    status: int = 200
    content_type: str = "text/plain"
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierEvent:
    """One fact that a carrier's webhook states about a leg.

    `kind` is `offered`, `ringing`, `answered`, `ended` or `machine`; `transfer` with `verdict` `answered` or the
    reason of its failure; and, where a carrier talks by turns:

    * `turn`: what the caller said or pressed; both empty when there was nothing in time;
    * `poll`: what it was told to say was said, and it asks how to go on;
    * `stream-over`: the media stream has ended or never came about, and it asks how to go on.

    From a carrier whose media are `remote` also `joined`: the audio of our call `call_id`, which another carrier has
    the leg of, has arrived at the vendor, who knows it as `carrier_call_id`.
    """

    kind: str
    carrier_call_id: str
    call_id: str = ""
    """Our own id, where the carrier carries it back to us."""
    from_number: str = ""
    to_number: str = ""
    reason: EndReason | None = None
    verdict: str = ""
    detail: str = ""
    text: str = ""
    """What the caller said in a `turn`."""
    digits: str = ""
    """What the caller pressed in a `turn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOrder:
    """How a webhook is to be answered.

    `action` is `stream`, `reject`, `hang-up`, `none`; or, where the carrier talks by turns, `turn` (say `text`, then
    listen if `listen`, else ask again) and `wait` (ask again in a second); or, where it connects to SIP addresses,
    `bridge`.
    """

    action: str
    call_id: str = ""
    """Ours, to be carried back to us where the carrier can."""
    stream_url: str = ""
    sip_uri: str = ""
    """Where a `bridge` leads: `sip:user@host;transport=tls`."""
    sip_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of our own that a `bridge` carries along."""
    reason: EndReason | None = None
    fallback_text: str = ""
    """Spoken by the carrier itself: before a hang-up, or should a stream end while the call goes on."""
    text: str = ""
    """Spoken by the carrier itself, in a `turn` or before a `stream`."""
    listen: bool = True
    digits: str = ""
    """Keys to press before `text` is said."""
    language: str = ""
    """BCP 47 tag of both sides of a `turn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRef:
    """A leg, by both ids."""

    call_id: str
    carrier_call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCall:
    """A call to be dialled."""

    call_id: str
    to_number: str
    from_number: str
    webhook_url: str
    """Public URL for the carrier's questions and status reports of this call."""
    ring_timeout: float
    """Seconds."""
    max_duration: float
    """Seconds; the carrier ends the call by itself then, where it can."""
    machine_detection: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    """Carrier-specific, such as `script` of the local line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStatus:
    """What the carrier says about a leg: `live`, `ended` or `unknown`. Times are Unix seconds, where it tells them."""

    state: str
    reason: EndReason | None = None
    answered_at: float | None = None
    ended_at: float | None = None


# Facts on the media stream.


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The stream says which leg it carries. `parameters` are those we put into the order."""

    carrier_call_id: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Caller audio, mu-law 8 kHz. `timestamp` is its start in seconds since the stream began, by the carrier."""

    audio: bytes
    timestamp: float


@dataclass(frozen=True, slots=True)
class DtmfPressed:
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkEchoed:
    """The audio before this mark was played, or was cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The stream is over."""


MediaEvent = StreamStarted | AudioReceived | DtmfPressed | MarkEchoed | StreamStopped


class MediaCodec(Protocol):
    """One media stream's wire format, without I/O.

    `receive` raises `RemoteProtocolError` for a message the carrier would not send; the stream may go on after it.

    A codec may have `frame(message: str) -> tuple[bytes, float] | None` besides: the caller's audio and its timestamp,
    of a message that is nothing else, else None. It is asked first, and spares an object for every 20 ms of a call.
    """

    def receive(self, message: str | bytes) -> Sequence[MediaEvent]:
        """Facts in one message of the carrier."""
        ...

    def audio(self, audio: bytes) -> str:
        """The message that plays mu-law 8 kHz audio after what was sent before."""
        ...

    def mark(self, name: str) -> str | None:
        """The message that asks for an echo once the audio so far was played; None where there are no marks."""
        ...

    def clear(self) -> str | None:
        """The message that drops audio not played yet; None where the carrier cannot."""
        ...


class Carrier(Protocol):
    """A carrier account, shared by all calls."""

    def verify(self, request: WebhookRequest, now: float) -> VerifiedWebhook:
        """Check that the carrier sent this. `now` is Unix seconds. Raises `WebhookError`."""
        ...

    def parse(self, webhook: VerifiedWebhook) -> Sequence[CarrierEvent]:
        """The facts in it. Raises `MalformedWebhook`.

        With `serve.workers` the process that has the port asks first, then the one that holds the call: about calls
        that a process does not hold it must remember nothing.
        """
        ...

    def reply(self, webhook: VerifiedWebhook, order: LegOrder) -> WebhookReply:
        """The answer that carries out an order."""
        ...

    def media_codec(self) -> MediaCodec:
        """A codec for one stream."""
        ...

    def check_options(self, options: Mapping[str, str]) -> None:
        """Look at `PlaceCall.options` before anything is written or dialled. Raises `ConfigError`."""
        ...

    async def place_call(self, request: PlaceCall) -> str:
        """Dial; returns the carrier's call id.

        A dial that may have been carried out is never repeated.

        Raises:
            DialUnknown: Nobody can tell whether the call was placed.
            VendorError: It was not.
        """
        ...

    async def hang_up(self, leg: LegRef) -> None:
        """End the leg. A leg that is gone already counts as ended."""
        ...

    async def send_digits(self, leg: LegRef, digits: str) -> None:
        """Send DTMF digits to the far party without ending the media stream."""
        ...

    async def transfer(
        self, leg: LegRef, to_number: str, *, caller_id: str = "", limit: float = 0.0, announce: str = ""
    ) -> None:
        """Hand the far party over to another number. Only where the capabilities say so.

        Args:
            leg: The leg.
            to_number: E.164.
            caller_id: The number of ours that the other number is called from.
            limit: Seconds that they may talk; 0 for as long as they like.
            announce: Said to whoever answers there, who then takes the call or does not. Given only where the
                capabilities say `announces`.
        """
        ...

    async def take_over(self, leg: LegRef) -> None:
        """Take the leg off its media stream, or back from a transfer; the carrier then asks how to go on.

        Only where the capabilities say `turns`; the question is the event `stream-over`.
        """
        ...

    async def limit_duration(self, leg: LegRef, seconds: float) -> None:
        """Have the carrier end a leg by itself after this time. Only where the capabilities say so."""
        ...

    async def fetch_status(self, leg: LegRef) -> LegStatus:
        """Ask the carrier what became of a leg."""
        ...

    async def find_legs(
        self, *, to_number: str, from_number: str, since: float, until: float
    ) -> Sequence[str]:
        """The carrier's ids of legs that we placed between two numbers. Only where the capabilities say `finds_legs`.

        Args:
            to_number: E.164.
            from_number: E.164.
            since: Unix seconds by our clock; legs begun before are left out.
            until: The same for those begun later.
        """
        ...
