"""Why a call ended: data, not a state."""

from enum import StrEnum


class EndReason(StrEnum):
    """The one reason a call ended. Its value is what records, events and the command line show."""

    COMPLETED = "completed"
    """The call did what it was placed for, for example a notification that was heard."""
    CALLER_HUNG_UP = "caller-hung-up"
    """The far party hung up, whichever side placed the call."""
    AGENT_HUNG_UP = "agent-hung-up"
    """The agent ended the call after its farewell, or its owner told it to."""
    REJECTED = "rejected"
    """An inbound call that a policy refused."""
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    FAILED = "failed"
    """The carrier could not connect the call."""
    TRANSFERRED = "transferred"
    """The far party was handed over to another number, which answered."""
    VOICEMAIL = "voicemail"
    """A machine answered; the message was left after its beep."""
    MAX_DURATION = "max-duration"
    IDLE = "idle"
    """Nobody said anything for too long."""
    MEDIA_LOST = "media-lost"
    TRANSCRIPTION_FAILED = "transcription-failed"
    RESPONSE_FAILED = "response-failed"
    SYNTHESIS_FAILED = "synthesis-failed"
    CARRIER_ERROR = "carrier-error"
    SHUTDOWN = "shutdown"
    INTERRUPTED = "interrupted"
    """The service died during the call; found and closed at its next start."""
    INTERNAL_ERROR = "internal-error"

    def to_openclaw(self) -> str:
        """The final `state` word that OpenClaw's users and tools know."""
        return _OPENCLAW_STATES.get(self, "error")


_OPENCLAW_STATES = {
    EndReason.COMPLETED: "completed",
    EndReason.CALLER_HUNG_UP: "hangup-user",
    EndReason.AGENT_HUNG_UP: "hangup-bot",
    EndReason.TRANSFERRED: "completed",
    EndReason.REJECTED: "hangup-bot",
    EndReason.BUSY: "busy",
    EndReason.NO_ANSWER: "no-answer",
    EndReason.FAILED: "failed",
    EndReason.VOICEMAIL: "voicemail",
    EndReason.MAX_DURATION: "timeout",
    EndReason.IDLE: "timeout",
    EndReason.SHUTDOWN: "hangup-bot",
}
