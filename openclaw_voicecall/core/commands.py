"""What the shell must do. Imperatives, frozen; what belongs to a turn names it."""

from dataclasses import dataclass, field

from openclaw_voicecall.core.reasons import EndReason


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all orders to the shell."""


@dataclass(frozen=True, slots=True)
class AnswerCall(Command):
    """Answer the inbound call with our media stream."""


@dataclass(frozen=True, slots=True)
class RejectCall(Command):
    """Refuse the inbound call without answering."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class StartListening(Command):
    """Open the transcriber, so that it is ready before the caller's first word."""


@dataclass(frozen=True, slots=True)
class FinishUtterance(Command):
    """Ask the transcriber for the final text of the utterance now."""


@dataclass(frozen=True, slots=True)
class StartResponse(Command):
    """Ask the responder for the agent's turn. `digits` are keys pressed, when the turn was dialled, not said."""

    turn: int
    text: str
    digits: str = ""
    waited: float = field(default=0.0, compare=False)
    """Seconds since the caller's last word."""


@dataclass(frozen=True, slots=True)
class Rehearse(Command):
    """Begin the answer to this text, unheard: the turn has not ended yet, and would get this number.

    `StartResponse` with the same turn and text makes it the agent's turn; until then nothing of it may have an effect.
    Another `Rehearse` replaces it.
    """

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class DropRehearsal(Command):
    """Throw away what was rehearsed for this turn: nobody will hear it."""

    turn: int


@dataclass(frozen=True, slots=True)
class AdoptReply(Command):
    """What the model says in this reply is the agent's turn."""

    turn: int
    reply: str


@dataclass(frozen=True, slots=True)
class DropReply(Command):
    """Nobody may hear this reply of the model."""

    reply: str


@dataclass(frozen=True, slots=True)
class StartSaying(Command):
    """Speak a fixed text as the agent's turn: a greeting, a request of the owner, an apology."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class CancelResponse(Command):
    """Stop the response or saying of a turn; nothing more of it may arrive."""

    turn: int


@dataclass(frozen=True, slots=True)
class Speak(Command):
    """Synthesize an utterance and play it after those before it."""

    turn: int
    utterance: int
    text: str


@dataclass(frozen=True, slots=True)
class HoldAudio(Command):
    """Stop the agent's audio at once and keep what was not heard; new audio of the turn is kept as well."""

    turn: int


@dataclass(frozen=True, slots=True)
class ResumeAudio(Command):
    """Go on from the heard point."""

    turn: int


@dataclass(frozen=True, slots=True)
class ClearAudio(Command):
    """Stop the agent's audio at once and drop what was not heard."""

    turn: int


@dataclass(frozen=True, slots=True)
class SendDigits(Command):
    """Send DTMF digits to the far party."""

    digits: str


@dataclass(frozen=True, slots=True)
class TransferCall(Command):
    """Hand the far party over to this number, E.164, after `announce` was said to whoever answers there."""

    to: str
    announce: str = ""


@dataclass(frozen=True, slots=True)
class TakeBack(Command):
    """The transfer has come to nothing and nobody says so: fetch the far party back to us."""


@dataclass(frozen=True, slots=True)
class AppendTranscript(Command):
    """Add a line to the record: what the caller said, or what the caller heard of the agent."""

    speaker: str
    text: str
    turn: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class NoteSaid(Command):
    """A line that has to be said was heard to its end: the record says so."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class HangUp(Command):
    """Ask the carrier to end the leg."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class ReleaseCall(Command):
    """The call is over: free everything and close the record."""

    reason: EndReason
