"""What is kept of a call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

OPENCLAW_STATES = (
    "initiated",
    "ringing",
    "answered",
    "active",
    "speaking",
    "listening",
    "completed",
    "hangup-user",
    "hangup-bot",
    "timeout",
    "error",
    "failed",
    "no-answer",
    "busy",
    "voicemail",
)
"""The `state` words of a call record, as OpenClaw's tools know them."""
ENDING = "ending"
"""The one further `state` word: the end is decided, and the carrier has not confirmed yet that the leg is over."""

ANSWERS_KEPT = 1000
"""Answers to webhooks that a store keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptLine:
    """What was said, or heard of the agent. `at` is Unix seconds."""

    speaker: str
    text: str
    at: float
    interrupted: bool = False
    turn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLatency:
    """Where the time between the caller's last word and the agent's first sound went, in milliseconds.

    A stage that did not happen is None. `total_ms` runs from the caller's last speech frame to the first agent frame.
    """

    turn: int
    endpointing_ms: float | None = None
    """Last speech frame to the decision that the turn is over."""
    transcript_ms: float | None = None
    """That decision to the final text."""
    head_start_ms: float | None = None
    """How long the answer was being made when the turn was over, where it was begun before."""
    first_token_ms: float | None = None
    """Final text to the first text of the response."""
    first_sentence_ms: float | None = None
    """First text to the first whole utterance."""
    first_audio_ms: float | None = None
    """First utterance to its first audio sent to the carrier."""
    total_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFigures:
    """What could be heard on a call, of the audio that passed through us: not while the carrier itself spoke."""

    heard_seconds: float
    """Audible sound of the far party."""
    spoken_seconds: float
    """Audible sound of ours, as far as the far party was still there to hear it."""
    longest_silence_ms: float
    """The longest time for which the far party waited for sound of ours and neither side was to be heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """Everything kept of one call. Times are Unix seconds."""

    call_id: str
    carrier: str
    direction: str
    """`inbound` or `outbound`."""
    from_number: str
    to_number: str
    mode: str
    """`conversation` or `notify`."""
    state: str
    """One of `OPENCLAW_STATES`, or `ENDING`."""
    created_at: float
    carrier_call_id: str = ""
    answered_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    """An `EndReason` value once the call is over."""
    detail: str = ""
    """Why it failed, in a sentence, where it did: names the hop."""
    transcript: tuple[TranscriptLine, ...] = ()
    latencies: tuple[TurnLatency, ...] = ()
    line: LineFigures | None = None
    """None where no audio passed through us."""
    recording: str = ""
    """Path of the WAV file, where there is one."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Objective, session key, script and the like."""

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """When and whereto a call was, without what was said: enough to count calls and minutes. Times are Unix seconds."""

    carrier: str
    direction: str
    to_number: str
    created_at: float
    answered_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One thing that happened to a call, and what was ordered because of it."""

    call_id: str
    seq: int
    """Counts from 1 within the call."""
    at: float
    """Unix seconds."""
    elapsed: float
    """Monotonic seconds since the call was created."""
    event: str
    """Name of the core's event, `timer`, or a word of the shell such as `vendor-failed`."""
    data: dict[str, Any] = field(default_factory=dict)
    """The event's fields."""
    commands: tuple[dict[str, Any], ...] = ()
    """The orders, each with `command` and its fields."""
    states: dict[str, str] = field(default_factory=dict)
    """Leg, media, caller and agent after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAnswer:
    """How a signed request of a carrier was answered, for when the same request comes again."""

    carrier: str
    replay_key: str
    """See `VerifiedWebhook.replay_key`."""
    at: float
    """Unix seconds."""
    status: int
    content_type: str
    body: bytes


class CallStore(Protocol):
    """Keeps calls. When a method returns, what it was given survives a crash of process and machine."""

    async def put_call(self, record: CallRecord) -> None:
        """Write a call, new or changed."""
        ...

    async def append_journal(self, entries: Sequence[JournalEntry]) -> None:
        """Write journal entries. Repeating one changes nothing."""
        ...

    async def get_call(self, call_id: str) -> CallRecord | None:
        """One call by our id, or by the carrier's."""
        ...

    async def list_calls(self, *, limit: int = 100, open_only: bool = False) -> Sequence[CallRecord]:
        """Newest first."""
        ...

    async def session_calls(self, session_key: str, *, since: float, limit: int) -> Sequence[CallRecord]:
        """Calls that have ended, with this `sessionKey` in their metadata and something in their transcript.

        Args:
            session_key: Compared as a whole.
            since: Unix seconds; calls created before are left out.
            limit: How many at most. Newest first.
        """
        ...

    async def call_times(self, *, since: float) -> Sequence[CallTimes]:
        """Of every call that was created then or later, newest first.

        Args:
            since: Unix seconds.
        """
        ...

    async def keyed_call(self, key: str, *, since: float) -> CallRecord | None:
        """The newest call with this `idempotencyKey` in its metadata that was created then or later.

        Args:
            key: Compared as a whole.
            since: Unix seconds.
        """
        ...

    async def journal(self, call_id: str, *, after: int = 0) -> Sequence[JournalEntry]:
        """Entries of a call with `seq > after`, oldest first."""
        ...

    async def put_answer(self, answer: WebhookAnswer) -> None:
        """Keep the answer to a webhook; one that is kept already stays. Only the `ANSWERS_KEPT` newest are kept."""
        ...

    async def answers(self, *, since: float) -> Sequence[WebhookAnswer]:
        """The answers that are kept, oldest first.

        Args:
            since: Unix seconds; older answers are left out.
        """
        ...

    async def close(self) -> None:
        """Write what is pending and free the database."""
        ...
