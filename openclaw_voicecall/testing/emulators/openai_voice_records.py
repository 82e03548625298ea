"""What is known of an emulated speech-to-speech session, and what it has to do with: sockets and a line. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from openclaw_voicecall.testing.emulators.openai_checks import SessionRefused
from openclaw_voicecall.testing.emulators.openai_conversation import Item
from openclaw_voicecall.testing.emulators.openai_responses import ResponseRecord


class UnjustRefusal(SessionRefused):
    """The vendor refuses what is right."""


class Watcher(Protocol):
    """A socket that is told what happens."""

    async def tell(self, name: str, fields: Mapping[str, Any]) -> None:
        """Send an event."""
        ...

    async def drop(self, code: int | None) -> None:
        """Close, or break off where there is no code."""
        ...


class Line(Protocol):
    """A call whose audio the vendor has itself."""

    def play(self, response_id: str, item_id: str, audio: bytes) -> None:
        """Play to the caller after what is being played, mu-law."""
        ...

    def finish(self, response_id: str) -> None:
        """Nothing more comes of a response."""
        ...

    def clear(self) -> tuple[str, list[tuple[str, int]]]:
        """Play no more. Returns whose response is cut, and of its unfinished items how many ms were heard."""
        ...

    async def hang_up(self) -> None:
        """End the call."""
        ...


@dataclass(slots=True)
class VoiceSession:
    """What one session did, for tests."""

    config: dict[str, Any]
    """The session in force, as the last `session.created` or `session.updated` told it."""
    query: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = ""
    call_id: str = ""
    """Of a SIP call."""
    received: list[dict[str, Any]] = field(default_factory=list)
    """Every event of the client, right or wrong."""
    sent: list[dict[str, Any]] = field(default_factory=list)
    """Every event of the server."""
    sent_at: list[float] = field(default_factory=list)
    """When each of them left, seconds of `time.monotonic`."""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """Every `session.update` that came, right or wrong."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The `error` of every error event that was sent."""
    ready: bool = False
    """Whether settings of the client are in force."""
    appends: int = 0
    early: int = 0
    """Bytes of audio that came before `session.updated` and were lost."""
    audio: bytearray = field(default_factory=bytearray)
    """What was heard of the caller, mu-law."""
    heard: list[str] = field(default_factory=list)
    """The words of each turn of the caller, as they were understood."""
    transcripts: list[str] = field(default_factory=list)
    """What was sent as completed transcripts."""
    items: list[Item] = field(default_factory=list)
    """The conversation as it is, with what the model believes was heard of it."""
    responses: list[ResponseRecord] = field(default_factory=list)
    audio_made: bool = False
    """Whether the model has made sound, so that its voice is fixed."""
    closed: str = ""
    """Who ended the last socket: `client 1000`, `server 4000: reason`, `broken off`; empty while it is open."""
