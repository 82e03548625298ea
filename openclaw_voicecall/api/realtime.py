"""Speech in, speech out: models that listen and talk by themselves.

A session carries one call's audio to the model and its voice back. The model decides when the caller is done and when
it is interrupted; what it is told to say, what was heard of it, and what its tools gave, it learns from us.

All audio is raw G.711 mu-law, 8000 Hz, one channel. Where the vendor has the call's audio itself, as on a SIP line, a
session carries none and tells what is played instead.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from openclaw_voicecall.api.carrier import LegRef
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.core.reasons import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTool:
    """A function that the model may call: what it is told of it."""

    name: str
    """Letters, digits, underscore and dash, at most 64."""
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments, an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeRequest:
    """Opens one session, for one call."""

    call_id: str
    instructions: str
    """Who the model is and what it is to do."""
    language: str = "en"
    """BCP 47 tag of the talk."""
    voice: str = ""
    """Empty for the configured one."""
    tools: tuple[ModelTool, ...] = ()
    history: tuple[Line, ...] = ()
    """What was said on this call before: another session broke off, or grew old. It is known, and not said again."""


# What the model does. Items and replies have the vendor's ids; they mean nothing to anybody else.


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The vendor has confirmed every setting, the voice included. Nothing is heard or said before."""


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """Words of the caller. An interim replaces the one of the same item before; items become final in order.

    A final without text: there were no words, or they could not be made out.
    """

    item: str
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class ReplyBegan:
    """The model begins to talk: by itself, or because it was asked to under the name `asked`."""

    reply: str
    asked: str = ""


@dataclass(frozen=True, slots=True)
class ReplyAudio:
    """The next sound of a reply, mu-law 8 kHz, any length. An item is one stretch of speech within the reply."""

    reply: str
    item: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class ReplyText:
    """The next words of what is said in an item."""

    reply: str
    item: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """Nothing more comes of a reply. `status` is `completed`, `cancelled`, `failed` or `incomplete`.

    A cancelled one was interrupted, by the caller or by `cut`. `asked` is that of its beginning, also where the
    vendor refused to begin at all.
    """

    reply: str
    status: str
    detail: str = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class PlaybackBegan:
    """The vendor plays a reply to the caller now. Only where it has the audio itself."""

    reply: str


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """A reply was played to its end, or was cut off. Only where the vendor has the audio itself."""

    reply: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model calls a function and waits for `give_result`. `arguments` is what it wrote: JSON, as it hopes."""

    call: str
    name: str
    arguments: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller pressed a key. Only where the vendor has the audio itself."""

    digit: str


@dataclass(frozen=True, slots=True)
class SessionExpiring:
    """The vendor will end the session in so many seconds: a fresh one is to take over before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class VendorComplained:
    """The vendor has refused something, and the session goes on without it. `what` is our message's name for it."""

    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class CallOver:
    """The vendor says that the call itself is over. Only where it has the audio itself."""

    detail: str = ""


RealtimeEvent = (
    SessionReady
    | SpeechEdge
    | CallerSaid
    | ReplyBegan
    | ReplyAudio
    | ReplyText
    | ReplyEnded
    | PlaybackBegan
    | PlaybackEnded
    | ToolCalled
    | KeyPressed
    | SessionExpiring
    | VendorComplained
    | CallOver
)


class RealtimeSession(Protocol):
    """One call's talk with a model.

    No method waits for the network, and none raises for a vendor that fails: iterating does, with a `VendorError`.
    What is asked for before `SessionReady` is kept and done after it; audio that comes before is kept as well.
    """

    def send(self, audio: bytes) -> None:
        """Take the next caller audio, any whole number of 20 ms frames. Nothing where the vendor has it itself."""
        ...

    def say(self, text: str, *, asked: str) -> None:
        """Have this text said, word for word, in the model's own voice and without a tool.

        A reply that is under way is let finish first. `ReplyBegan` names `asked`.
        """
        ...

    def answer(self, text: str = "", *, asked: str) -> None:
        """Have the caller answered now; `text` is a message of theirs that was not spoken, such as dialled keys.

        A reply that is under way is let finish first. `ReplyBegan` names `asked`.
        """
        ...

    def cut(self, reply: str, heard: Sequence[tuple[str, int]]) -> None:
        """Say no more of this reply, and let the model know what was heard of it.

        Args:
            reply: Its id. It may be complete already.
            heard: Each item of it that made sound, and how many milliseconds of it were heard.
        """
        ...

    def attend(self, listens: bool) -> None:
        """Whether speech of the caller interrupts the model and is answered. Where it cannot be told, nothing."""
        ...

    def give_result(self, call: str, output: str, *, asked: str = "", answer: bool = True) -> None:
        """The result of a function. Once all results of a reply are there, the model goes on, if any wants it to.

        Args:
            call: Of `ToolCalled`.
            output: The result as text.
            asked: The name of the reply that follows from it; of several results, the last that wants an answer has it.
            answer: Whether the model has anything to say about it.
        """
        ...

    def __aiter__(self) -> AsyncIterator[RealtimeEvent]:
        """What happens, until the session is closed. Raises `VendorError` when the vendor fails or ends it."""
        ...


class RealtimeModel(Protocol):
    """A speech-to-speech model, shared by all calls."""

    def open_session(self, request: RealtimeRequest) -> AbstractAsyncContextManager[RealtimeSession]:
        """Open a session for one call. Does not wait until it is ready. Leaving it closes its socket."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SipTarget:
    """Where another carrier has to connect a call to, so that its audio comes to the vendor."""

    uri: str
    """`sip:user@host;transport=tls`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of our own that the vendor brings back, such as the secret that names the call."""


class RemoteLine(Protocol):
    """What a carrier has besides `Carrier` when its vendor keeps the audio of calls, with the model listening to it.

    A call comes to it in one of two ways: straight from a SIP trunk, then it is `offered`; or because a carrier of
    ours was told to connect one of our calls with `target`, then it is `joined`, and `CarrierEvent.call_id` is ours.
    """

    def target(self, call_id: str) -> SipTarget:
        """Where another carrier has to connect this call of ours to. Each use makes a new secret."""
        ...

    def open_session(
        self, leg: LegRef, request: RealtimeRequest
    ) -> AbstractAsyncContextManager[RealtimeSession]:
        """Take the call and talk on it. Again, for a call that was taken before: only steer it, from a fresh socket.

        Does not wait for the network; iterating raises `VendorError` where the vendor refuses, and `CallIsGone` where
        there is no such call any more. Leaving it does not end the call.
        """
        ...

    async def refuse(self, leg: LegRef, reason: EndReason) -> None:
        """Refuse an offered call: busy where that is the reason. Raises `VendorError`."""
        ...
