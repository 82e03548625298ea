"""One OpenAI speech-to-speech session, without I/O.

The client opens the socket and asks for the whole session in one `session.update`. Only when `session.updated` echoes
it, the voice included, is anything sent or said: a reply before that would come in OpenAI's own voice and lock it.
On a SIP line the call was taken with a body that OpenAI may have refused after all; that is told here, as an error
about `initial_session_update`, and is repaired once.

Events and their fields: OpenAI SDK, `types/realtime/*_event.py`. Errors after the set-up leave the session open
(`realtime_error_event.py`); only those that concern the whole account or session end it.
"""

import binascii
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import (
    KeyPressed,
    RealtimeEvent,
    SessionExpiring,
    SessionReady,
    VendorComplained,
)
from openclaw_voicecall.errors import VendorAuthError, VendorError, VendorRejected
from openclaw_voicecall.providers._messages import json_object
from openclaw_voicecall.providers.openai.caller import Caller
from openclaw_voicecall.providers.openai.outbox import Outbox
from openclaw_voicecall.providers.openai.refusals import VENDOR, refusal
from openclaw_voicecall.providers.openai.replies import Replies
from openclaw_voicecall.providers.openai.voice_settings import (
    VoiceSettings,
    attention,
    formats,
    full_session,
    least_session,
    past,
    unconfirmed,
    voice_alone,
)

logger = logging.getLogger(__name__)

SESSION_LIMIT: Final = 3600.0
"""Seconds after which OpenAI ends a session, without a warning."""
WARN_BEFORE: Final = 180.0
"""Seconds before that."""
COMPLAINTS: Final = 8
"""Refusals in a row, with nothing that works between them, after which the session counts as broken."""

SET_UP: Final = "set the session up"
TALK: Final = "talk"
ACCEPT_ID: Final = "initial_session_update"
"""How errors name the body that a SIP call was taken with."""
_UPDATE: Final = "session.update"
_BUSY: Final = "conversation_already_has_active_response"
_BUSY_WORDS: Final = "Conversation already has an active response"
_NOTHING_TO_CANCEL: Final = "response_cancel_not_active"
_CANCEL_WORDS: Final = "Cancellation failed"
_LAST_CODES: Final = frozenset({"session_expired", "beta_api_shape_disabled"})
"""Codes of errors that are the end of the session."""
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
_PHONE_FORMATS: Final = frozenset({"audio/pcmu", "audio/pcma"})
_PLAYBACK: Final = "output_audio_buffer."


class Phase(StrEnum):
    """How far the set-up is."""

    CONNECTING = "connecting"
    CONFIGURING = "configuring"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Remains:
    """What a socket leaves behind for the next one on the same SIP call."""

    formats: tuple[str, ...] = ()
    """Of the call's audio, as the session named them when all was well."""
    talking: bool = False
    """Whether a reply was being made."""
    sounding: bool = False
    """Whether one was being played."""


class LineLost(VendorRejected):
    """The session has lost the audio format of its SIP call, and nothing brings it back."""


class VoiceSession:
    """What one socket carries: take messages to send and events to tell after every call of a method.

    Args:
        settings: What to ask for.
        clock: Monotonic time.
        age: Seconds that the session at OpenAI is old already.
        before: What an earlier socket on it has left.
    """

    def __init__(
        self, settings: VoiceSettings, clock: Clock, *, age: float = 0.0, before: Remains | None = None
    ) -> None:
        self.phase = Phase.CONNECTING
        self._settings = settings
        self._clock = clock
        self._expires_at = clock.monotonic() - age + SESSION_LIMIT
        self._warned = False
        self._events: deque[RealtimeEvent] = deque()
        self._outbox = Outbox()
        self._replies = Replies(settings, self._outbox, self._events.append)
        self._caller = Caller(settings, self._events.append)
        self._attends = True
        self._asked: dict[str, Any] = {}
        """The last configuration that was asked for as a whole."""
        self._updates: deque[tuple[str, dict[str, Any]]] = deque()
        """Updates without an answer, by their ids, oldest first, with what each asks for."""
        self._repaired = False
        """Whether the session was set up again since it was last as asked."""
        self._accept_refused: VendorError | None = None
        self._formats: tuple[str, ...] = ()
        """Of the audio on a SIP line, as the session's echo names them."""
        self._before = before or Remains()
        self._first_formats = self._before.formats
        """The same, as the session named them before anything was asked for."""
        self._complaints = 0
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "response.output_audio.delta": self._replies.on_audio,
            "response.output_audio.done": self._replies.on_audio_done,
            "response.output_audio_transcript.delta": self._replies.on_text,
            "response.output_text.delta": self._replies.on_text,
            "response.output_item.done": self._replies.on_item_done,
            "input_audio_buffer.speech_started": self._caller.on_started,
            "input_audio_buffer.speech_stopped": self._caller.on_stopped,
        }

    @property
    def attends(self) -> bool:
        """Whether the caller's speech is to be answered."""
        return self._attends

    @property
    def remains(self) -> Remains:
        """What is left once the socket is gone."""
        return Remains(
            self._formats or self._first_formats, self._replies.is_talking, self._replies.is_sounding
        )

    def take_messages(self) -> list[str]:
        """Messages to send, oldest first, each once."""
        return self._outbox.take()

    def take_events(self) -> list[RealtimeEvent]:
        """What happened, oldest first, each once."""
        events = list(self._events)
        self._events.clear()
        return events

    def connected(self) -> None:
        """The socket is open: configure the session."""
        self.phase = Phase.CONFIGURING
        # What nobody steers any more must not go on over what is said next, and its end was written down.
        if self._before.talking:
            self._outbox.put("response.cancel", early=True)
        if self._before.talking or self._before.sounding:
            self._outbox.put("output_audio_buffer.clear", early=True)
        self._ask(full_session(self._settings, attends=self._attends, first=not self._settings.attached))

    def tick(self) -> None:
        """Time went on."""
        now = self._clock.monotonic()
        self._replies.tick(now)
        self._caller.tick(now)
        left = self._expires_at - now
        if left <= WARN_BEFORE and not self._warned and self.phase is Phase.READY:
            self._warned = True
            self._events.append(SessionExpiring(max(0.0, left)))

    def send(self, audio: bytes) -> None:
        """Take the next caller audio; before the session is ready it waits."""
        if self._settings.sip or not audio:
            return
        self._caller.sent(len(audio))
        payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
        self._outbox.put("input_audio_buffer.append", audio=payload)

    def say(self, text: str, *, asked: str) -> None:
        """Have a text said word for word, after what is being said."""
        self.tick()
        self._replies.want(asked, text=text)

    def answer(self, text: str = "", *, asked: str) -> None:
        """Have the caller answered, after what is being said."""
        self.tick()
        self._replies.answer(text, asked)

    def cut(self, reply: str, heard: Sequence[tuple[str, int]]) -> None:
        """End a reply, and say what was heard of it."""
        self._replies.cut(reply, heard)

    def attend(self, listens: bool) -> None:
        """Whether the caller's speech is answered and interrupts."""
        if listens == self._attends:
            return
        self._attends = listens
        if self.phase is Phase.READY:
            self._ask(attention(self._settings, attends=listens))

    def give_result(self, call: str, output: str, *, asked: str = "", answer: bool = True) -> None:
        """The result of a function."""
        self.tick()
        self._replies.give_result(call, output, asked=asked, answer=answer)

    def receive(self, message: str | bytes) -> None:
        """Take a message of OpenAI. What is no event, or is not known, changes nothing.

        Raises:
            VendorRejected: The set-up was refused, or not granted as asked.
            VendorError: The session can do no more.
        """
        event = json_object(message)
        kind = event.get("type")
        self.tick()
        match kind:
            case "error":
                self._on_error(event.get("error"))
                return
            case "session.created":
                self._first_formats = self._first_formats or formats(event.get("session"))
            case "session.updated":
                self._on_updated(event.get("session"))
            case "response.created" | "response.done":
                response = event.get("response")
                if isinstance(response, dict):
                    created = kind == "response.created"
                    (self._replies.on_created if created else self._replies.on_done)(response)
            case "input_audio_buffer.dtmf_event_received":
                digit = event.get("event")
                if isinstance(digit, str) and len(digit) == 1 and digit in "0123456789*#ABCDabcd":
                    self._events.append(KeyPressed(digit.upper()))
            case "input_audio_buffer.committed":
                self._caller.on_committed(event)
                self._replies.answer_due = self._attends
            case str() if kind in self._handlers:
                self._handlers[kind](event)
            case str() if kind.startswith(_TRANSCRIPTION):
                self._caller.on_words(kind.removeprefix(_TRANSCRIPTION), event)
            case str() if kind.startswith(_PLAYBACK):
                self._replies.on_playback(kind.removeprefix(_PLAYBACK), event)
            case _:
                return  # items, rate limits, and what later versions of the API add
        self._complaints = 0

    def _ask(self, session: dict[str, Any]) -> None:
        if "instructions" in session:
            self._asked = session
        self._updates.append((self._outbox.put(_UPDATE, early=True, session=session), session))

    def _on_updated(self, echo: Any) -> None:
        if not self._updates:
            return
        _, asked = self._updates.popleft()
        difference = unconfirmed(asked, echo)
        if self.phase is not Phase.READY:
            if self._updates and difference:
                return  # the answer to a set-up that another has taken the place of
            if difference:
                raise VendorRejected(
                    f"OpenAI did not set the session up as asked: {difference}",
                    vendor=VENDOR,
                    operation=SET_UP,
                )
            self._require_line(echo)
            self._begin(asked, echo)
            return
        self._require_line(echo)
        if difference and not self._updates:
            self._complain(_UPDATE, f"the session is not as asked: {difference}")
            self._repair()
        elif not difference:
            self._repaired = False

    def _require_line(self, echo: Any) -> None:
        """On a SIP line nobody may touch the formats that were negotiated: the caller would hear static.

        Raises:
            LineLost: They were changed, or are those of a session that no call was set up for.
        """
        found = formats(echo)
        if not self._settings.sip or not found:
            return
        changed = self._formats and found != self._formats
        phone = bool(self._first_formats) and set(self._first_formats) <= _PHONE_FORMATS
        unset = (phone or self._accept_refused is not None) and not set(found) <= _PHONE_FORMATS
        if changed or unset:
            raise LineLost(
                f"OpenAI lost the audio format of the call ({', '.join(found)}): the caller hears static",
                vendor=VENDOR,
                operation=SET_UP,
            ) from self._accept_refused
        self._formats = found

    def _begin(self, asked: dict[str, Any], echo: Any) -> None:
        """The session is as asked: let out what has waited, after what was said before."""
        self.phase = Phase.READY
        if not self._settings.attached:
            for item in past(self._settings.history):
                self._outbox.put("conversation.item.create", early=True, item=item)
        elif difference := unconfirmed(voice_alone(self._settings), echo):
            self._complain(_UPDATE, f"the session is not as asked: {difference}")
        detection = asked["audio"]["input"]["turn_detection"]
        if detection["create_response"] is not self._attends:
            self._ask(attention(self._settings, attends=self._attends))
        self._outbox.open()
        self._events.append(SessionReady())
        self._replies.ready()

    def _on_error(self, error: Any) -> None:
        said = error if isinstance(error, dict) else {}
        named, code, message = (_text(said, key) for key in ("event_id", "code", "message"))
        failure = refusal(error, TALK if self.phase is Phase.READY else SET_UP)
        if code in _LAST_CODES or type(failure) is VendorAuthError:
            raise failure
        if named == ACCEPT_ID:
            self._on_accept_refused(failure)
        elif code == _NOTHING_TO_CANCEL or message.startswith(_CANCEL_WORDS):
            pass  # the reply was over before we knew
        elif self.phase is not Phase.READY:
            self._on_set_up_refused(named, failure)
        elif code == _BUSY or message.startswith(_BUSY_WORDS):
            self._replies.busy()
        else:
            self._on_refused(named, _text(said, "param"), failure)

    def _on_accept_refused(self, failure: VendorError) -> None:
        """What the call was taken with is not in force: ask again, once, for what the call cannot do without."""
        self._complain("accept", str(failure))
        if self._accept_refused is None:
            self._accept_refused = failure
            self._ask(least_session(self._settings, attends=self._attends))

    def _on_set_up_refused(self, named: str, failure: VendorError) -> None:
        at = next((at for at, (event_id, _) in enumerate(self._updates) if event_id == named), 0)
        if self._accept_refused is None or len(self._updates) < 2:
            raise failure
        del self._updates[at]
        self._complain(_UPDATE, str(failure))

    def _on_refused(self, named: str, param: str, failure: VendorError) -> None:
        """A message of ours was refused. Errors may fail to name it; then what they are about tells."""
        kind = self._outbox.kind(named)
        nameless = not kind
        updates = [event_id for event_id, _ in self._updates]
        if named in updates or (nameless and updates and param.startswith("session")):
            del self._updates[updates.index(named) if named in updates else 0]
            self._complain(_UPDATE, str(failure))
            self._repair()
        elif self._replies.owns(named) or (
            nameless and self._replies.is_asking and param.startswith("response")
        ):
            self._replies.refused(str(failure))
        else:
            self._complain(kind, str(failure))
        self._complaints += 1
        if self._complaints > COMPLAINTS:
            raise failure

    def _repair(self) -> None:
        """Ask for everything once more: of a refused update nothing may be in force."""
        if not self._repaired:
            self._repaired = True
            first = not (self._replies.has_sounded or self._settings.attached)
            session = full_session(self._settings, attends=self._attends, first=first)
            # Tracing that is in force already cannot be named again, and it is nothing that the caller hears.
            session.pop("tracing", None)
            self._ask(session)

    def _complain(self, what: str, detail: str) -> None:
        logger.warning("openai %s: %s", what or "session", detail)
        self._events.append(VendorComplained(what, detail))


def _text(node: dict[str, Any], key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""
