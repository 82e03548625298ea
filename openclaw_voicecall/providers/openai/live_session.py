"""One session with GPT-Live, without I/O: what was asked for, what is being said, and what that means to us.

GPT-Live listens and talks at the same time and knows no turns: there are pieces of audio and of transcripts, no
beginnings and no ends. So both are told from the clock here: a reply goes from the first sound after a pause to the
last one before the next, and so do words of the caller. Interrupting is the model's business; what was heard of a
reply can only be told to it in words.

Functions are called by a Responses backend that the model delegates to; its events come inside `response.event`.

Source: OpenAI SDK, `types/live/` (server_event.py; the docstrings of InputTranscriptDeltaEvent, DelegationCreatedEvent,
ResponseEvent, SessionClosedEvent).
"""

import base64
import binascii
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.realtime import (
    CallerSaid,
    CallOver,
    KeyPressed,
    RealtimeEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyText,
    SessionExpiring,
    SessionReady,
    VendorComplained,
)
from openclaw_voicecall.api.speech import SpeechEdge
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.providers._messages import json_object
from openclaw_voicecall.providers._talking import heard_words
from openclaw_voicecall.providers.openai import live_settings
from openclaw_voicecall.providers.openai.live_backend import Backend
from openclaw_voicecall.providers.openai.live_settings import Granted, Pauses
from openclaw_voicecall.providers.openai.refusals import VENDOR, refusal, without_keys

OPERATION: Final = "talk"
BYTES_PER_MS: Final = 8
_SILENT: Final = bytes([*range(0x78, 0x80), *range(0xF8, 0x100)])
"""Mu-law codes that nobody hears."""
_NO_TOOL: Final = (
    "There is nobody to ask and nothing to look up. Answer from what you know, or say that you cannot."
)


@dataclass(slots=True)
class _Reply:
    id: str
    item: str
    asked: str
    began: float
    until: float
    """When it is over, unless more of it comes."""
    said: str = ""
    sent: int = 0
    """Bytes of its audio that were given on."""


class GptLiveSession:
    """The protocol of one session; see `Talk`.

    Args:
        start: The first message, or an empty one where the session runs already.
        granted: What `session.started` must confirm.
        clock: The time.
        pauses: What counts as an end.
    """

    vendor = VENDOR
    goodbye = json.dumps(live_settings.close())

    def __init__(self, start: str, granted: Granted, clock: Clock, pauses: Pauses) -> None:
        self.ready = False
        self._start = start
        self._granted = granted
        self._clock = clock
        self._pauses = pauses
        self._messages: list[str] = []
        self._events: list[RealtimeEvent] = []
        self._early = bytearray()
        self._muted = False
        self._asks: deque[tuple[str, str]] = deque()
        """Texts that wait for silence, with their names."""
        self._asked: str | None = None
        """Name of what the model was given to say and has not begun with."""
        self._sent_names: dict[str, str] = {}
        """By the name of a message that asks for speech, what it was asked for as."""
        self._reply: _Reply | None = None
        self._past: deque[_Reply] = deque(maxlen=4)
        self._dropping: float | None = None
        """Until when the rest of a reply that was cut is thrown away, unless more of it comes."""
        self._early_words = ""
        self._heard: str | None = None
        """What the caller says, while it is not final."""
        self._heard_until = 0.0
        self._speaking = False
        self._started_at = 0.0
        self._turn = 0
        self._backend = Backend()
        self._count = 0

    def connected(self) -> None:
        """The socket is open: the session may start."""
        if self._start:
            self._messages.append(self._start)

    def take_messages(self) -> list[str]:
        """What is to be sent and was not yet."""
        taken, self._messages = self._messages, []
        return taken

    def take_events(self) -> list[RealtimeEvent]:
        """What happened and was not told yet."""
        taken, self._events = self._events, []
        return taken

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that OpenAI closed without a word."""
        said = without_keys(reason) or "no reason given"
        kind = VendorRejected if code in (1003, 1007, 1008, 4000) else VendorUnavailable
        return kind(
            f"OpenAI ended the session ({code}): {said}", vendor=VENDOR, operation=OPERATION, status=code
        )

    @property
    def wake_at(self) -> float | None:
        """When the next pause is long enough."""
        times = [self._reply.until] if self._reply else []
        if self._dropping is not None:
            times.append(self._dropping)
        if self._heard is not None:
            times.append(self._heard_until)
        return min(times, default=None)

    def wake(self, now: float) -> None:
        """End what has been silent for long enough."""
        if self._heard is not None and now >= self._heard_until:
            self._finish_caller(now)
        if self._dropping is not None and now >= self._dropping:
            self._dropping = None
        if self._reply is not None and now >= self._reply.until:
            # A model that stops while the caller talks was talked over.
            self._end_reply("completed" if self._heard is None else "cancelled")
        self._next()

    def send(self, audio: bytes) -> None:
        """Take the caller's audio."""
        if not self.ready:
            self._early += audio
            return
        self._send(live_settings.audio(audio))

    def say(self, text: str, *, asked: str) -> None:
        """Have a text said, word for word."""
        self._ask(live_settings.exactly(text), asked)

    def answer(self, text: str, *, asked: str) -> None:
        """Have the caller answered, or a message of theirs."""
        message = f"The caller has sent this: {text}. " if text else ""
        self._ask(f"{message}Answer the caller now.", asked)

    def cut(self, reply: str, heard: Sequence[tuple[str, int]], now: float) -> None:
        """Drop the rest of a reply, and tell the model what was heard of it."""
        current = self._reply
        known = next((each for each in (current, *self._past) if each and each.id == reply), None)
        if known is None:
            return
        if known is current:
            self._end_reply("cancelled")
            self._dropping = now + self._pauses.cut
        milliseconds = sum(each for item, each in heard if item == known.item)
        words = heard_words(known.said, known.sent / BYTES_PER_MS, milliseconds).replace('"', "'")
        what = f"only this: '{words}'" if words else "nothing of it"
        note = f"You were interrupted. Stop saying it. Of what you said last the caller has heard {what}."
        self._send(live_settings.thinking(self._name("heard"), note))
        self._next()

    def attend(self, listens: bool) -> None:
        """Whether the model hears the caller."""
        if self._muted == listens:
            self._muted = not listens
            if self.ready:
                self._send(live_settings.mute(self._name("mute"), muted=self._muted))

    def give_result(self, call: str, output: str, *, asked: str, answer: bool) -> None:
        """The result of a function. The backend goes on once all of its response are there."""
        if not self._backend.is_waited_for(call):
            return
        self._send(live_settings.result(self._name("result"), call, output))
        goes_on, follows = self._backend.take_result(call, asked=asked, answer=answer)
        if goes_on:
            # What follows may come without a pause after a "one moment" that is still being said.
            self._end_reply("completed")
            self._asked, name = follows, self._name("go-on")
            self._sent_names[name] = follows
            self._send(live_settings.go_on(name))

    def receive(self, message: str | bytes, now: float) -> None:
        """Take a message of OpenAI's. One that is not understood says nothing. Raises `VendorError` at the end."""
        self.wake(now)
        event = json_object(message)
        takers: Mapping[str, Callable[[dict[str, Any], float], None]] = {
            "session.started": self._started,
            "session.output_audio.delta": self._sound,
            "session.output_transcript.delta": self._words,
            "session.input_transcript.delta": self._hear,
            "session.delegation.created": self._delegated,
            "response.event": self._helped,
            "session.closed": self._closed,
            "error": self._error,
            "transport.dtmf.received": self._key,
        }
        kind = event.get("type")
        if isinstance(kind, str) and kind in takers:
            takers[kind](event, now)

    def _started(self, event: dict[str, Any], now: float) -> None:
        if self.ready:
            return
        session = event.get("session")
        told = session if isinstance(session, dict) else {}
        encoding, voice = live_settings.granted(told)
        wanted = self._granted
        # What is not told is not contradicted: a voice of one's own, for one, is no word.
        if (encoding or wanted.encoding) != wanted.encoding or (voice or wanted.voice) != wanted.voice:
            raise VendorRejected(
                f"OpenAI started the session with {encoding or 'no encoding'} and the voice {voice or 'none'} "
                f"instead of {wanted.encoding} and {wanted.voice}",
                vendor=VENDOR,
                operation=OPERATION,
            )
        self.ready, self._started_at = True, now
        self._events.append(SessionReady())
        expires = told.get("expires_at")
        if isinstance(expires, int) and (left := expires - self._clock.wall()) > 0:
            self._events.append(SessionExpiring(left))
        if self._muted:
            self._send(live_settings.mute(self._name("mute"), muted=True))
        if self._early:
            self._send(live_settings.audio(bytes(self._early)))
            self._early.clear()
        self._next()

    def _sound(self, event: dict[str, Any], now: float) -> None:
        try:
            audio = base64.b64decode(_text(event, "delta"), validate=True)
        except (binascii.Error, ValueError):
            return
        sounds = bool(audio.strip(_SILENT))
        if self._dropping is not None:
            self._dropping = now + self._pauses.cut if sounds else self._dropping
            return
        if sounds:
            self._go_on_talking(now)
        if self._reply is not None and audio:
            self._reply.sent += len(audio)
            self._events.append(ReplyAudio(self._reply.id, self._reply.item, audio))

    def _words(self, event: dict[str, Any], now: float) -> None:
        words = _text(event, "delta")
        if self._dropping is not None or not words:
            return
        if self._reply is None:
            self._early_words += words
            return
        self._go_on_talking(now)
        self._tell(self._reply, words)

    def _go_on_talking(self, now: float) -> _Reply:
        if self._reply is None:
            if self._heard is not None:  # the model answers, so the caller is done
                self._finish_caller(now)
            asked, self._asked = self._asked or "", None
            self._count += 1
            name, until = f"reply_{self._count}", now + self._pauses.reply
            self._reply = _Reply(name, f"item_{self._count}", asked, now, until)
            self._events.append(ReplyBegan(self._reply.id, asked))
            if self._early_words:
                self._tell(self._reply, self._early_words)
                self._early_words = ""
        self._reply.until = now + self._pauses.reply
        return self._reply

    def _tell(self, reply: _Reply, words: str) -> None:
        reply.said += words
        self._events.append(ReplyText(reply.id, reply.item, words))

    def _end_reply(self, status: str) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            self._past.append(reply)
            self._events.append(ReplyEnded(reply.id, status, "", reply.asked))

    def _hear(self, event: dict[str, Any], now: float) -> None:
        words = _text(event, "delta")
        if self._heard is None:
            if not words.strip():
                return
            self._turn += 1
            self._heard = ""
            if not self._is_late(event):
                self._speaking = True
                self._events.append(SpeechEdge(True))
        self._heard += words
        self._heard_until = now + self._pauses.caller
        self._events.append(CallerSaid(f"caller_{self._turn}", self._heard.strip(), False))

    def _is_late(self, event: Mapping[str, Any]) -> bool:
        """Whether words of the caller were spoken before the reply began that is heard now: they interrupt nothing."""
        at = event.get("start_ms")
        if self._reply is None or not isinstance(at, int):
            return False
        return at < (self._reply.began - self._started_at) * 1000

    def _finish_caller(self, now: float) -> None:
        text, self._heard = (self._heard or "").strip(), None
        if self._speaking:
            self._speaking = False
            last_word = self._heard_until - self._pauses.caller
            self._events.append(SpeechEdge(False, max(0.0, now - last_word)))
        self._events.append(CallerSaid(f"caller_{self._turn}", text, True))

    def _delegated(self, event: dict[str, Any], now: float) -> None:
        """The model wants help. A backend gives it by itself; where there is none, the model must be told so."""
        delegation = event.get("delegation")
        if isinstance(delegation, dict) and delegation.get("target") == "client":
            name = delegation.get("id")
            if isinstance(name, str):
                self._send(live_settings.commentary(self._name("help"), _NO_TOOL, name))

    def _helped(self, event: dict[str, Any], now: float) -> None:
        def reply() -> str:
            """Only in a reply can a function be called, said or not; in one that was cut, in vain."""
            if self._dropping is not None and self._past:
                return self._past[-1].id
            return self._go_on_talking(now).id

        self._events += self._backend.receive(event, reply)

    def _closed(self, event: dict[str, Any], now: float) -> None:
        reason = _text(event, "reason")
        if reason == "remote_hangup":
            self._events.append(CallOver("the caller hung up"))
            return
        words = {
            "expired": "it has lasted as long as sessions may",
            "content": "a filter of OpenAI's objected to what was said",
            "connection_lost": "OpenAI lost the connection",
            "close_requested": "somebody asked for it",
        }
        kind = VendorRejected if reason == "content" else VendorUnavailable
        raise kind(
            f"OpenAI ended the session: {words.get(reason, reason[:80] or 'no reason given')}",
            vendor=VENDOR,
            operation=OPERATION,
        )

    def _error(self, event: dict[str, Any], now: float) -> None:
        """A refusal of one message, unless nothing has started yet."""
        error = event.get("error")
        said = error if isinstance(error, dict) else {}
        failure = refusal(said, "talk")
        if not self.ready:
            raise failure
        name = _text(said, "client_event_id") or _text(event, "client_event_id")
        self._events.append(VendorComplained(name.rpartition("-")[0] or name, str(failure)))
        asked = self._sent_names.pop(name, None)
        if asked is not None and self._asked == asked:
            self._asked = None
            self._count += 1
            self._events.append(ReplyEnded(f"reply_{self._count}", "failed", str(failure), asked))
            self._next()

    def _key(self, event: dict[str, Any], now: float) -> None:
        if digit := _text(event, "event")[:1]:
            self._events.append(KeyPressed(digit))

    def _ask(self, text: str, asked: str) -> None:
        self._asks.append((text, asked))
        self._next()

    def _next(self) -> None:
        """Give the model the next text, once it is silent."""
        talks = self._reply is not None or self._dropping is not None
        if not self.ready or talks or self._asked is not None or not self._asks:
            return
        text, self._asked = self._asks.popleft()
        name = self._name("say")
        self._sent_names = {name: self._asked}
        self._send(live_settings.commentary(name, text))

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._count}"

    def _send(self, message: Mapping[str, Any]) -> None:
        if self.ready:
            self._messages.append(json.dumps(message, separators=(",", ":")))


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""
