"""The wire format of ElevenLabs Scribe realtime transcription, without I/O.

One WebSocket, JSON text both ways, told apart by `message_type` (SDK, realtime/connection.py and types/scribe_*.py).
The vendor opens with `session_started`. We send `input_audio_chunk`, whose `commit` ends a segment. It sends
`partial_transcript` as it likes and one `committed_transcript` for every segment that ended; with the strategy `vad`
it ends segments by itself, and with `manual` too, after 90 s. A commit of less than 0.3 s of audio is ignored with
`commit_throttled`. Every message with a text in `error` is an error.

Long segments are slow to end; the vendor's page "Transcripts and commit strategies" advises to end them every 20 to
30 s, in a pause. Such a *cut* is ours alone: its words go in front of the final that is still to come.
"""

import base64
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from openclaw_voicecall.api.speech import Heard
from openclaw_voicecall.errors import (
    RemoteProtocolError,
    VendorAuthError,
    VendorError,
    VendorRateLimited,
    VendorRejected,
    VendorUnavailable,
)
from openclaw_voicecall.media.audio import SAMPLE_RATE, ULAW_SILENCE
from openclaw_voicecall.providers._messages import json_value

VENDOR: Final = "elevenlabs"
OPERATION: Final = "transcribe"
CHUNK_BYTES: Final = 800
"""Audio in one message: 100 ms, the least that ElevenLabs recommends. A commit brings along what is left."""
LARGEST_CHUNK_BYTES: Final = 8000
"""Audio in one message when much of it waits: 1 s, the most that ElevenLabs recommends."""
LEAST_COMMIT_BYTES: Final = 2400
"""The vendor ignores the commit of less than this: 0.3 s."""
CUT_BYTES: Final = 20 * SAMPLE_RATE
"""A segment this long is cut in the next pause."""
LONGEST_BYTES: Final = 60 * SAMPLE_RATE
"""A segment this long is cut at once, well before the vendor would."""
MAX_CHARS: Final = 256 * 1024
"""Largest message of the vendor that is read, in characters."""

LONGEST_TEXT: Final = 20_000
"""Characters of one utterance that are kept."""

_NOTHING_TO_COMMIT: Final = frozenset({"commit_throttled", "insufficient_audio_activity"})
_ERRORS: Final[dict[str, tuple[type[VendorError], str]]] = {
    "auth_error": (
        VendorAuthError,
        "ElevenLabs refuses the key; check streaming.providers.elevenlabs.apiKey",
    ),
    "quota_exceeded": (VendorRejected, "the ElevenLabs account's quota is used up"),
    "unaccepted_terms": (VendorRejected, "the ElevenLabs account has terms to accept on its web site"),
    "invalid_request": (VendorRejected, "ElevenLabs refuses the request"),
    "input_error": (VendorRejected, "ElevenLabs refuses the audio"),
    "chunk_size_exceeded": (VendorRejected, "ElevenLabs refuses the audio"),
    "rate_limited": (VendorRateLimited, "ElevenLabs asks to slow down"),
    "queue_overflow": (VendorUnavailable, "ElevenLabs cannot keep up"),
    "resource_exhausted": (VendorUnavailable, "ElevenLabs cannot keep up"),
    "session_time_limit_exceeded": (VendorUnavailable, "ElevenLabs ended the session, which ran too long"),
    "transcriber_error": (VendorUnavailable, "ElevenLabs failed to transcribe"),
    "error": (VendorUnavailable, "ElevenLabs reports an error"),
}


class ScribeSession:
    """One session: audio in, words out.

    Args:
        vendor_commits: Whether the vendor ends segments by itself (strategy `vad`), so that each is an utterance.
    """

    def __init__(self, *, vendor_commits: bool) -> None:
        self.vendor_commits = vendor_commits
        self._waiting = bytearray()
        self._uncommitted = 0
        self._carried = ""
        self._shown = ""
        self._asked: deque[bool] = deque()
        """Commits on their way: whether each asks for a final, or is a cut."""
        self.started = False
        """Whether the vendor takes audio."""

    @property
    def owed(self) -> int:
        """Final texts that were asked for and have not come."""
        return sum(self._asked)

    def audio(self, audio: bytes) -> Sequence[str]:
        """The messages for the next caller audio, mu-law 8 kHz; none while it is too little for one."""
        self._waiting += audio
        self._uncommitted += len(audio)
        messages = []
        while len(self._waiting) >= CHUNK_BYTES:
            size = len(self._waiting) - len(self._waiting) % CHUNK_BYTES
            messages.append(_chunk(self._take(min(size, LARGEST_CHUNK_BYTES)), commit=False))
        if self._uncommitted >= LONGEST_BYTES and not self.vendor_commits:
            messages.append(self._commit(final=False))
        return messages

    def pause(self) -> Sequence[str]:
        """The caller's voice paused: the message that cuts a long segment, if this one is."""
        if self._uncommitted < CUT_BYTES or self.vendor_commits:
            return ()
        return (self._commit(final=False),)

    def finish(self) -> tuple[Sequence[str], Sequence[Heard]]:
        """The utterance is over: the message that asks for its final text, or the final itself.

        There is nothing to ask for when the vendor has just ended the segment by itself: the rest is too short for it.
        """
        missing = LEAST_COMMIT_BYTES - self._uncommitted
        if missing > 0:
            if not self._asked:
                return (), (self._close(self._shown or self._carried),)
            # Texts come in order, so this one has to queue behind the one that is on its way.
            self._waiting += ULAW_SILENCE * missing
        return (self._commit(final=True),), ()

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """What one message of the vendor says.

        Raises:
            RemoteProtocolError: It cannot be read; the session may go on after it.
            VendorError: The vendor says that the session failed.
        """
        data = _parse(message)
        match data.get("message_type"):
            case "session_started":
                self.started = True
            case "partial_transcript":
                return self._partial(_text(data))
            case "committed_transcript":
                return self._committed(_text(data))
            case str(kind) if kind in _NOTHING_TO_COMMIT:
                return self._answered(self._shown or self._carried) if self._asked else ()
            case str(kind) if kind in _ERRORS or isinstance(data.get("error"), str):
                raise _error(kind, str(data.get("error") or ""))
        return ()

    def _partial(self, text: str) -> Sequence[Heard]:
        text = _joined(self._carried, text)
        if not text or text == self._shown:
            return ()
        self._shown = text
        return (Heard(text, final=False),)

    def _committed(self, text: str) -> Sequence[Heard]:
        text = _joined(self._carried, text)
        if self._asked:
            return self._answered(text)
        self._uncommitted = 0
        if self.vendor_commits:
            return (self._close(text),) if text else ()
        self._carried = text
        return ()

    def _answered(self, text: str) -> Sequence[Heard]:
        if self._asked.popleft():
            return (self._close(text),)
        self._carried = text
        return ()

    def _commit(self, *, final: bool) -> str:
        self._asked.append(final)
        self._uncommitted = 0
        return _chunk(self._take(len(self._waiting)), commit=True)

    def _close(self, text: str) -> Heard:
        self._carried = self._shown = ""
        return Heard(text, final=True)

    def _take(self, size: int) -> bytes:
        piece = bytes(self._waiting[:size])
        del self._waiting[:size]
        return piece


def _chunk(audio: bytes, *, commit: bool) -> str:
    return json.dumps(
        {
            "message_type": "input_audio_chunk",
            "audio_base_64": base64.b64encode(audio).decode("ascii"),
            "commit": commit,
            "sample_rate": 8000,
        }
    )


def _parse(message: str | bytes) -> dict[str, Any]:
    if not isinstance(message, str):
        raise RemoteProtocolError("binary message")
    if len(message) > MAX_CHARS:
        raise RemoteProtocolError("message too large")
    try:
        data = json_value(message)
    except ValueError:
        raise RemoteProtocolError("not JSON") from None
    if not isinstance(data, dict):
        raise RemoteProtocolError("not a JSON object")
    return data


def _text(data: dict[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str):
        raise RemoteProtocolError("a transcript without text")
    return " ".join(text.split())


def _joined(before: str, after: str) -> str:
    return f"{before} {after}".strip()[:LONGEST_TEXT]


def _error(kind: str, said: str) -> VendorError:
    error, words = _ERRORS.get(kind, _ERRORS["error"])
    detail = " ".join(said.split())[:300]
    return error(f"{words}: {detail or kind}", vendor=VENDOR, operation=OPERATION)
