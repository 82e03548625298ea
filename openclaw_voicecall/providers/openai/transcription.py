"""One OpenAI realtime transcription session, without I/O.

The client opens the socket, sends one `session.update`, and may count on it only once `session.updated` echoes it.
Caller audio that comes earlier waits here. With server VAD OpenAI finds the turns and commits them; without it the
turn detector's reports decide which audio is sent, and `finish_utterance` commits it. Committed items are transcribed
at the same time and given in order.

Events and their fields: OpenAI SDK, `types/realtime/*_event.py`. Errors after the set-up leave the session open
(`realtime_error_event.py`), so only those that concern the whole account or session end it.
"""

import binascii
import logging
from collections import deque
from enum import StrEnum
from typing import Any, Final

from openclaw_voicecall.api.speech import Heard, SpeechEdge, SpeechEvent
from openclaw_voicecall.errors import VendorRejected, VendorTimeout, VendorUnavailable
from openclaw_voicecall.media.audio import FRAME_BYTES, SAMPLE_RATE, seconds
from openclaw_voicecall.media.level import is_audible
from openclaw_voicecall.providers.openai.items import MAX_ITEMS, Items
from openclaw_voicecall.providers.openai.messages import milliseconds, parsed, text
from openclaw_voicecall.providers.openai.refusals import VENDOR, refusal
from openclaw_voicecall.providers.openai.session_config import SessionSettings, session_update, unmet

logger = logging.getLogger(__name__)

SHORTEST: Final = SAMPLE_RATE // 10
"""Bytes that a commit must hold: OpenAI refuses less than 100 ms."""
PRE_ROLL: Final = SAMPLE_RATE // 2
"""Bytes from before the report of speech that belong to the utterance."""
TAIL: Final = SAMPLE_RATE // 10
"""Bytes from before the report of a pause that may open the next utterance: too little to hold the last word again."""
QUIET: Final = SAMPLE_RATE
"""Bytes without a word after which a session can be left without loss."""
ANSWER_LIMIT: Final = 10 * SAMPLE_RATE
"""Bytes of call audio in which a committed utterance must be transcribed."""
REFUSALS: Final = 5
"""Messages of ours that may be refused before the session counts as broken."""

UPDATE_ID: Final = "session-update"
_EMPTY_BUFFER: Final = "input_audio_buffer_commit_empty"
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."


class Phase(StrEnum):
    """How far the set-up is."""

    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"


_READY: Final = Phase.READY
"""Looked up for every frame: a member of an enumeration takes its time."""


class TranscriptionSession:
    """What one socket carries: take messages to send and events to tell after every call of a method.

    Args:
        settings: What to ask for.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self.phase = Phase.CONNECTING
        self._settings = settings
        self._outgoing: deque[str] = deque()
        self._waiting: deque[str] = deque()
        """Messages that must not be sent before the session is ready."""
        self._events: deque[SpeechEvent] = deque()
        self._heard = 0
        """Bytes of call audio taken."""
        self._recent = bytearray()
        """The last of them."""
        self._sent = 0
        """Bytes appended to OpenAI's buffer, also those that still wait; OpenAI counts its times in them."""
        self._committed = 0
        """How many of those are committed."""
        self._speaking = False
        """Whether OpenAI hears speech."""
        self._stopped: dict[str, int] = {}
        """Items whose speech has ended and whose commit is on its way, with the audio heard by then."""
        self._told: int | None = None
        """Bytes sent when the turn detector last reported speech that is not committed."""
        self._open = False
        """Without server VAD: whether an utterance is being sent."""
        self._paused: int | None = None
        """Without server VAD: bytes heard when the turn detector reported the pause that lasts."""
        self._next_from = 0
        """Without server VAD: bytes heard before the audio that may open the next utterance."""
        self._last_sound = 0
        """Bytes heard when speech was last reported to begin or end."""
        self._commits: dict[str, int] = {}
        """Our commits without an answer, with the audio heard by then."""
        self._commit_count = 0
        self._items = Items()
        self._shown = ""
        self._failures = 0
        self._refused = 0
        self._ended = False

    def take_messages(self) -> list[str]:
        """Messages to send, oldest first, each once."""
        if not self._outgoing:
            return []
        messages = list(self._outgoing)
        self._outgoing.clear()
        return messages

    def take_events(self) -> list[SpeechEvent]:
        """What was heard, oldest first, each once."""
        if not self._events:
            return []
        events = list(self._events)
        self._events.clear()
        return events

    @property
    def recent(self) -> bytes:
        """The last half second of call audio."""
        return bytes(self._recent)

    @property
    def utterance_open(self) -> bool:
        """Whether an utterance is being sent without server VAD."""
        return self._open

    @property
    def is_quiet(self) -> bool:
        """Whether nothing would be lost by going on with another session."""
        busy = self._has_speech or self._pending or len(self._items)
        return self.phase is Phase.READY and not busy and self._heard - self._last_sound >= QUIET

    @property
    def is_ending(self) -> bool:
        """Whether the session was ended."""
        return self._ended

    @property
    def is_finished(self) -> bool:
        """Whether the session was ended and its last words came."""
        return self._ended and not self._pending

    def connected(self) -> None:
        """The socket is open: configure the session."""
        self.phase = Phase.CONFIGURING
        self._outgoing.append(session_update(self._settings, UPDATE_ID))

    def pass_on(self, audio: bytes) -> str:
        """Take the next call audio where nothing is due but to send it on, and give the message; else empty.

        It does what `send` does, and most audio comes in calm.
        """
        calm = self.phase is _READY and self._settings.server_vad and not (self._ended or self._outgoing)
        if not calm or self._events or self._commits or self._stopped or len(self._items):
            return ""
        self._keep(audio)
        return self._appended(audio)

    def send(self, audio: bytes) -> None:
        """Take the next call audio."""
        if self._ended:
            return
        self._keep(audio)
        if self._settings.server_vad or self._open:
            self._append(audio)

    def speech_started(self) -> None:
        """The turn detector heard speech begin."""
        self._last_sound = self._heard
        if self._settings.server_vad:
            self._told = self._sent
            return
        if not self._open:
            self._open = True
            begin = max(self._heard - len(self._recent), self._next_from)
            if begin < self._heard:
                self._append(bytes(self._recent[begin - self._heard :]))
        self._paused = None

    def speech_stopped(self) -> None:
        """The turn detector heard speech pause."""
        self._last_sound = self._heard
        self._paused = self._heard

    def finish_utterance(self) -> None:
        """The turn is over: commit what is not committed, or give an empty final when there is nothing to wait for."""
        if self._has_speech and self._sent - self._committed >= SHORTEST:
            self._commit()
        elif not self._pending:
            self._give(Heard("", final=True))
        if self._open and self._paused is not None:
            self._open = False
            self._next_from = self._paused - TAIL

    def end(self) -> None:
        """No more audio comes: commit the rest, if there is a voice in it, and wait for the last words."""
        self._ended = True
        has_voice = self._has_speech or (self._settings.server_vad and self._is_audible())
        if has_voice and self._sent - self._committed >= SHORTEST:
            self._commit()
        self._tell_stop(ago=0.0)

    def require_answers(self) -> None:
        """Raises `VendorTimeout` when an utterance is not transcribed although it was over long ago."""
        if not self._pending:
            return
        due = [*self._commits.values(), *self._stopped.values()]
        if (oldest := self._items.oldest) is not None:
            due.append(oldest)
        if self.phase is Phase.READY and due and self._heard - min(due) > ANSWER_LIMIT:
            raise VendorTimeout(
                f"OpenAI did not transcribe an utterance within {seconds(ANSWER_LIMIT):g} s",
                vendor=VENDOR,
                operation="transcribe",
            )

    def receive(self, message: str | bytes) -> None:
        """Take a message of OpenAI.

        Raises:
            VendorRejected: The set-up was refused, or not granted as asked.
            VendorError: The session can do no more: what was not given as final has to be said to another one.
        """
        event = parsed(message)
        kind = event.get("type")
        match kind:
            case "session.created":
                self._on_created(event)
            case "session.updated":
                self._on_updated(event)
            case "error":
                self._on_error(event.get("error"))
            case "input_audio_buffer.speech_started":
                self._on_speech_started(event)
            case "input_audio_buffer.speech_stopped":
                self._on_speech_stopped(event)
            case "input_audio_buffer.committed":
                self._on_committed(event)
            case str() if kind.startswith(_TRANSCRIPTION):
                self._on_transcription(kind.removeprefix(_TRANSCRIPTION), event)
            case _:
                pass  # items, rate limits, and what later versions of the API add

    @property
    def _pending(self) -> bool:
        """Whether words are due."""
        return bool(self._commits or self._stopped or self._items.oldest is not None)

    @property
    def _has_speech(self) -> bool:
        """Whether there is speech that is not committed, as far as anybody has told."""
        return self._open or self._speaking or self._told is not None

    def _is_audible(self) -> bool:
        """Whether there is a sound at the end that OpenAI may not have told of yet; silence has no words to lose."""
        recent = self._recent[-(self._sent - self._committed) :]
        return any(
            is_audible(bytes(recent[at : at + FRAME_BYTES])) for at in range(0, len(recent), FRAME_BYTES)
        )

    def _on_created(self, event: dict[str, Any]) -> None:
        session = event.get("session")
        kind = session.get("type") if isinstance(session, dict) else None
        if kind not in (None, "transcription"):
            raise VendorRejected(
                f"OpenAI opened a session of the type {kind!r:.40}, not one for transcription",
                vendor=VENDOR,
                operation="set up",
            )

    def _on_updated(self, event: dict[str, Any]) -> None:
        if self.phase is Phase.READY:
            return
        if difference := unmet(self._settings, event.get("session")):
            raise VendorRejected(
                f"OpenAI did not set the session up as asked: {difference}", vendor=VENDOR, operation="set up"
            )
        self.phase = Phase.READY
        self._outgoing += self._waiting
        self._waiting.clear()

    def _on_error(self, error: Any) -> None:
        if self.phase is not Phase.READY:
            raise refusal(error, "set up transcription")
        said = error if isinstance(error, dict) else {}
        empty = said.get("code") == _EMPTY_BUFFER
        named = said.get("event_id")
        commit = named if isinstance(named, str) else ""
        if commit not in self._commits and empty:
            commit = next(iter(self._commits), "")
        failure = refusal(error, "transcribe")
        if type(failure) is not VendorRejected:
            raise failure
        if commit in self._commits:
            # Mostly a commit that met OpenAI's own: the words are on their way, or there are none.
            del self._commits[commit]
            if not self._pending:
                self._give(Heard("", final=True))
        if not empty:
            self._refused += 1
            if self._refused > REFUSALS:
                raise failure
            logger.warning("%s", failure)

    def _on_speech_started(self, event: dict[str, Any]) -> None:
        self._last_sound = self._heard
        if not self._speaking and not self._ended:
            begin = milliseconds(event, "audio_start_ms") + self._settings.prefix_padding_ms
            self._speaking = True
            self._give(SpeechEdge(speaking=True, ago=self._ago(begin)))

    def _on_speech_stopped(self, event: dict[str, Any]) -> None:
        item_id = text(event, "item_id")
        end = milliseconds(event, "audio_end_ms")
        self._last_sound = self._heard
        if not self._items.knows(item_id):
            self._stopped[item_id] = self._heard
        if self._told is not None and self._told <= _bytes(end):
            self._told = None
        # The end that OpenAI names is that of the audio it takes, the silence it waited for included.
        self._tell_stop(ago=self._ago(end - self._settings.silence_duration_ms))
        self._committed = max(self._committed, min(_bytes(end), self._sent))

    def _on_committed(self, event: dict[str, Any]) -> None:
        item_id, previous = text(event, "item_id"), event.get("previous_item_id")
        self._stopped.pop(item_id, None)
        if self._commits:
            del self._commits[next(iter(self._commits))]
        self._items.commit(item_id, previous if isinstance(previous, str) else None, self._heard)
        self._give_words()

    def _on_transcription(self, what: str, event: dict[str, Any]) -> None:
        match what:
            case "delta":
                delta = event.get("delta")
                self._items.add(text(event, "item_id"), delta if isinstance(delta, str) else "")
            case "completed":
                self._failures = 0
                self._items.finish(text(event, "item_id"), text(event, "transcript"), self._heard)
            case "failed":
                self._on_failed(event)
        self._give_words()

    def _on_failed(self, event: dict[str, Any]) -> None:
        """Give up one utterance whose audio is the matter; anything else, or a second time, is an error."""
        failure = refusal(event.get("error"), "transcribe an utterance")
        self._failures += 1
        if type(failure) is not VendorRejected or self._failures > 1:
            raise failure
        logger.warning("transcriber openai: %s; this utterance is given up", failure)
        self._items.finish(text(event, "item_id"), None, self._heard)

    def _keep(self, audio: bytes) -> None:
        self._heard += len(audio)
        self._recent += audio
        del self._recent[:-PRE_ROLL]

    def _append(self, audio: bytes) -> None:
        self._put(self._appended(audio))

    def _appended(self, audio: bytes) -> str:
        """The message that appends audio to OpenAI's buffer; it counts as sent."""
        self._sent += len(audio)
        payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
        return f'{{"type":"input_audio_buffer.append","audio":"{payload}"}}'

    def _commit(self) -> None:
        self._commit_count += 1
        event_id = f"commit-{self._commit_count}"
        self._commits[event_id] = self._heard
        self._committed = self._sent
        self._told = None
        # OpenAI reports no end of speech for an utterance that we commit while it lasts.
        self._tell_stop(ago=0.0)
        self._put(f'{{"type":"input_audio_buffer.commit","event_id":"{event_id}"}}')

    def _put(self, message: str) -> None:
        (self._outgoing if self.phase is Phase.READY else self._waiting).append(message)

    def _tell_stop(self, *, ago: float) -> None:
        if self._speaking:
            self._speaking = False
            self._give(SpeechEdge(speaking=False, ago=ago, closes=True))

    def _ago(self, at: int) -> float:
        return max(0.0, seconds(self._sent - _bytes(at)))

    def _give_words(self) -> None:
        if len(self._items) > MAX_ITEMS:
            raise VendorUnavailable(
                f"OpenAI transcribes none of the last {MAX_ITEMS} utterances",
                vendor=VENDOR,
                operation="transcribe",
            )
        for final in self._items.take_finals():
            self._shown = ""
            self._give(Heard(final, final=True))
        interim = self._items.interim
        if interim and interim != self._shown:
            self._shown = interim
            self._give(Heard(interim, final=False))

    def _give(self, event: SpeechEvent) -> None:
        last = self._events[-1] if self._events else None
        if isinstance(last, Heard) and not last.final and isinstance(event, Heard):
            self._events.pop()
        self._events.append(event)


def _bytes(ms: int) -> int:
    return ms * SAMPLE_RATE // 1000
