"""What happened on a call. Facts only: past tense, frozen, without a clock.

Times are seconds as `float`. A fact's own time is the `now` that goes into `Call.receive` with it; where a fact
speaks of something earlier, it says how long ago.
"""

from dataclasses import dataclass

from openclaw_voicecall.core.reasons import EndReason


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all facts about a call."""


# What the carrier says about the leg.


@dataclass(frozen=True, slots=True)
class CallPlaced(Event):
    """We asked the carrier to dial; the intent is in the store."""


@dataclass(frozen=True, slots=True)
class CallOffered(Event):
    """The carrier offers an inbound call, and the policies have decided about it."""

    admitted: bool


@dataclass(frozen=True, slots=True)
class CallRinging(Event):
    """The far phone rings."""


@dataclass(frozen=True, slots=True)
class CallAnswered(Event):
    """The call is answered: by the far party (outbound) or by us (inbound)."""


@dataclass(frozen=True, slots=True)
class CallEnded(Event):
    """The carrier says that the call is over."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class MachineDetected(Event):
    """The carrier's machine detection decided. `verdict` is human, machine, fax or unknown."""

    verdict: str


# What happens on the media stream.


@dataclass(frozen=True, slots=True)
class MediaConnected(Event):
    """Audio can flow both ways. `unheard` tells that something the caller said was lost with the audio before."""

    unheard: bool = False


@dataclass(frozen=True, slots=True)
class MediaLost(Event):
    """The media stream broke off or was closed by the far side."""


@dataclass(frozen=True, slots=True)
class DtmfReceived(Event):
    """The caller pressed a key: one of `0-9 * # A-D`."""

    digit: str


@dataclass(frozen=True, slots=True)
class BeepDetected(Event):
    """A single tone as an answering machine plays it before it records."""


# What the caller does.


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """Voice activity began."""


@dataclass(frozen=True, slots=True)
class SpeechStopped(Event):
    """Voice activity ended `silence` seconds ago.

    `closes` tells that the final text of the utterance comes without being asked for, also when the voice goes on.
    """

    silence: float = 0.0
    closes: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptReceived(Event):
    """Words of the utterance that is being heard.

    An interim replaces the one before it. A final closes the utterance; its text may be empty when what sounded
    like speech held no words.
    """

    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class TranscriptionFailed(Event):
    """No transcriber can be reached any more; reconnects and fallbacks are used up."""

    detail: str


# What the agent's side does.


@dataclass(frozen=True, slots=True)
class ResponseChunk(Event):
    """One sentence-sized piece of the response of a turn. `utterance` numbers are unique within a call."""

    turn: int
    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyBegan(Event):
    """A speech-to-speech model answers the caller by itself, in a reply that has this id."""

    reply: str


@dataclass(frozen=True, slots=True)
class UtteranceGrew(Event):
    """All words so far of an utterance that is being made by a model while it is heard."""

    turn: int
    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class ModelLost(Event):
    """The speech-to-speech model is gone for good, with its fallbacks. `instead`: a pipeline goes on."""

    detail: str
    instead: bool = False


@dataclass(frozen=True, slots=True)
class ResponseFinished(Event):
    """The response of a turn is complete. With `end_call` the call ends once all of it was heard.

    `wordless` tells that the responder did something, such as sending digits, that needs no words.
    """

    turn: int
    end_call: bool = False
    wordless: bool = False


@dataclass(frozen=True, slots=True)
class ResponseFailed(Event):
    """The responder failed or ran out of time in this turn."""

    turn: int
    detail: str


@dataclass(frozen=True, slots=True)
class TransferRequested(Event):
    """Hand the far party over to this number, E.164, once the agent's turn was heard.

    `announce` is said to whoever answers there, before the two are connected; empty to connect them at once. `at_once`
    is for a far party whom nobody of ours can talk to any more: no word of the agent is waited for.
    """

    to: str
    announce: str = ""
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class TransferAnswered(Event):
    """The number that the far party is handed over to has answered: they talk to each other."""


@dataclass(frozen=True, slots=True)
class TransferFailed(Event):
    """The far party could not be handed over and is ours again. `detail` is `busy`, `no-answer`, `declined`, or why."""

    detail: str


@dataclass(frozen=True, slots=True)
class PlayoutProgressed(Event):
    """How much of the utterance now playing the caller has heard.

    Given before every fact or timer that may cut speech. `duration` is the whole utterance's, in seconds, or None
    while its audio is still being made.
    """

    utterance: int
    heard: float
    duration: float | None


@dataclass(frozen=True, slots=True)
class UtterancePlayed(Event):
    """The caller has heard an utterance to its end."""

    utterance: int


@dataclass(frozen=True, slots=True)
class UtteranceFailed(Event):
    """No synthesizer could speak an utterance; fallbacks are used up. `partly` tells that its beginning was spoken."""

    utterance: int
    detail: str
    partly: bool = False


@dataclass(frozen=True, slots=True)
class ClipPlayed(Event):
    """Words that belong to no turn were heard, to bridge a silence; `interrupted` before their end."""

    text: str
    interrupted: bool = False


# What the owner asks for.


@dataclass(frozen=True, slots=True)
class SayRequested(Event):
    """Say this text as soon as the floor is free."""

    text: str


@dataclass(frozen=True, slots=True)
class DigitsRequested(Event):
    """Send these DTMF digits to the far party."""

    digits: str


@dataclass(frozen=True, slots=True)
class HangUpRequested(Event):
    """End the call now; with `farewell`, say it first and hang up once it was heard."""

    reason: EndReason
    farewell: str = ""
