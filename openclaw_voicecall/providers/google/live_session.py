"""One session with Gemini Live, without I/O: what was asked for, what is being said, and what that means to us.

Gemini names neither turns nor replies, and tells neither when the caller begins to speak nor whether it heard what
was cut. So replies are counted here: one goes from the first audio of the model's turn to `turnComplete`,
`interrupted` or a function call. Speech of the caller begins with the first words of a transcript or with
`interrupted`, and ends when the model's turn begins.

Sources: google-genai SDK, types.py (LiveServerContent: after an interruption there is no `generationComplete`, only
`turnComplete`; transcripts come in no order with the model's turn; LiveServerToolCallCancellation).
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.realtime import (
    RealtimeEvent,
    RealtimeRequest,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyText,
    SessionExpiring,
    SessionReady,
    ToolCalled,
)
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.providers._talking import heard_words
from openclaw_voicecall.providers.google import wire
from openclaw_voicecall.providers.google.caller import Caller
from openclaw_voicecall.providers.google.calls import Calls, Results
from openclaw_voicecall.providers.google.config import GoogleRealtimeConfig, takes_turns_of_text
from openclaw_voicecall.providers.google.sound import CallerSound, ModelSound

SILENCE: Final = b"\xff"
BYTES_PER_MS: Final = 8
LATE_WORDS: Final = 0.5
"""Seconds that the words of a reply may come after its last sound. `turnComplete` comes when Gemini thinks that it was
played, which is too late for the end of it."""
GOOD_ENDS: Final = ("", "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT")


@dataclass(slots=True)
class _Reply:
    """A stretch of the model's speech."""

    id: str
    item: str
    asked: str
    said: str = ""
    sent: int = 0
    """Bytes of mu-law that were given on."""


class GeminiLiveSession:
    """The protocol of one session; see `Talk`.

    Args:
        config: The settings.
        request: What the session is opened with.
    """

    vendor = wire.VENDOR
    goodbye = ""

    def __init__(self, config: GoogleRealtimeConfig, request: RealtimeRequest) -> None:
        self.ready = False
        self._model = config.model
        self._setup = wire.setup(config, request)
        self._messages: list[str] = []
        self._events: list[RealtimeEvent] = []
        self._early = bytearray()
        self._asks: deque[tuple[str, str]] = deque()
        """Texts that wait for their turn, with their names."""
        self._asked: str | None = None
        """Name of the text that the model was given and has not begun to answer."""
        self._up, self._down = CallerSound(), ModelSound()
        self._listens = True
        self._reply: _Reply | None = None
        self._past: deque[_Reply] = deque(maxlen=4)
        """Replies that are over; what was heard of them may still be told."""
        self._count = 0
        self._muted = False
        """Whether the rest of the model's turn is dropped."""
        self._interrupted = False
        """Whether the turn was interrupted and its `turnComplete` is still to come."""
        self._generated = False
        """Whether all of the turn is here and its `turnComplete` is still to come: the model lets it be played."""
        self._breaks = False
        """Whether a message of ours breaks off what the model does, so that the caller did not."""
        self._ends_at: float | None = None
        """When a reply that is here as a whole gets no more words."""
        self._early_words = ""
        """What the model says in a turn that has made no sound yet."""
        self._calls = Calls()
        self._caller = Caller(self._events)
        self._note = ""

    def connected(self) -> None:
        """The first message is the set-up; nothing else may go before it is confirmed."""
        self._messages.append(wire.dumped(self._setup))

    def take_messages(self) -> list[str]:
        """What is to be sent and was not yet."""
        taken, self._messages = self._messages, []
        return taken

    def take_events(self) -> list[RealtimeEvent]:
        """What happened and was not told yet."""
        taken = list(self._events)
        self._events.clear()
        return taken

    @property
    def wake_at(self) -> float | None:
        """When a reply is to end whose `turnComplete` is still to come."""
        return self._ends_at

    def wake(self, now: float) -> None:
        """End a reply that is here as a whole."""
        if self._ends_at is not None and now >= self._ends_at:
            self._end_reply("completed")
            self._next()

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that Google closed."""
        return wire.closed(code, reason)

    def send(self, audio: bytes) -> None:
        """Take the caller's audio. While the model is not to attend, it hears silence instead."""
        if not self.ready:
            self._early += audio if self._listens else SILENCE * len(audio)
            return
        heard = audio if self._listens else SILENCE * len(audio)
        self._send(wire.audio(self._up.push(heard)))

    def say(self, text: str, *, asked: str) -> None:
        """Have a text said, word for word."""
        quoted = text.replace('"', "'")
        self._ask(f'Say exactly this, word for word, and nothing else: "{quoted}"', asked)

    def answer(self, text: str, *, asked: str) -> None:
        """Have the caller answered, or a message of theirs."""
        self._ask(text or "Answer the caller now.", asked)

    def cut(self, reply: str, heard: Sequence[tuple[str, int]], now: float) -> None:
        """Drop the rest of a reply, and remember what was heard of it for the model's sake."""
        current = self._reply
        known = [each for each in (current, *self._past) if each is not None and each.id == reply]
        if not known:
            return
        if current is not None and current.id == reply:
            self._end_reply("cancelled")
            self._muted = True
        if any(item == known[0].item for item, _ in heard) and known[0].said:
            milliseconds = sum(each for item, each in heard if item == known[0].item)
            self._remember(heard_words(known[0].said, known[0].sent / BYTES_PER_MS, milliseconds))
        elif not heard:
            self._remember("")
        self._next()

    def attend(self, listens: bool) -> None:
        """Whether the model hears the caller: its detection cannot be changed in a session that is open."""
        self._listens = listens

    def give_result(self, call: str, output: str, *, asked: str, answer: bool) -> None:
        """The result of a function. All results of one message of calls go back together."""
        if self._calls.give(call, output, asked=asked, answer=answer):
            self._next()
        elif answer and (name := self._calls.take_wanted(call)):
            self._ask(f"The function {name} has given this: {output}\nTell the caller what follows.", asked)
        elif asked:  # the caller has called it off, so nothing follows
            self._events.append(ReplyEnded(self._new_id(), "cancelled", "called off", asked))

    def receive(self, message: str | bytes, now: float) -> None:
        """Take a message of Google's. One that is not understood says nothing."""
        parsed = wire.parsed(message)
        self.wake(now)
        takers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "setupComplete": self._set_up,
            "serverContent": self._content,
            "toolCall": self._called,
            "toolCallCancellation": self._called_off,
            "voiceActivity": self._activity,
            "goAway": self._go_away,
        }
        for key, take in takers.items():
            if (value := wire.part(parsed, key)) is not None:
                take(value)
        if self._generated and self._reply is not None and self._ends_at is None:
            self._ends_at = now + LATE_WORDS

    def _set_up(self, confirmed: dict[str, Any]) -> None:
        if self.ready:
            return
        self.ready = True
        self._events.append(SessionReady())
        if self._early:
            self._send(wire.audio(self._up.push(bytes(self._early))))
            self._early.clear()
        self._next()

    def _content(self, content: dict[str, Any]) -> None:
        interim = wire.text(wire.part(content, "interimInputTranscription"), "text")
        heard = wire.part(content, "inputTranscription")
        if interim or heard:
            over_model = self._reply is not None
            self._caller.words(wire.text(heard, "text"), interim, over_model=over_model)
            if (heard or {}).get("finished") is True:
                self._caller.finish()
        if content.get("interrupted") is True:
            self._interrupt()
        self._speak(wire.sound(content), wire.text(wire.part(content, "outputTranscription"), "text"))
        if content.get("generationComplete") is True:
            self._caller.finish()
            self._flush()
            self._generated = True
        if content.get("turnComplete") is True:
            self._complete(wire.text(content, "turnCompleteReason"))

    def _activity(self, activity: dict[str, Any]) -> None:
        match activity.get("voiceActivityType"):
            case "ACTIVITY_START":
                self._caller.speaks()
            case "ACTIVITY_END":
                self._caller.pauses()

    def _interrupt(self) -> None:
        """The caller spoke over the model; or a text of ours did, where it may: see `_next`."""
        ours, self._breaks = self._breaks, False
        self._muted = self._generated = False
        self._interrupted, self._early_words = True, ""
        self._caller.finish()
        if not ours:
            self._caller.speaks()
            self._ask_failed("cancelled", "interrupted")
        self._end_reply("cancelled")

    def _speak(self, pcm: bytes, words: str) -> None:
        if self._muted or (self._interrupted and not pcm):
            return
        if not pcm and self._reply is None:
            self._early_words += words
            return
        if pcm and self._reply is None:
            self._begin_reply()
        reply = self._reply
        if reply is None:
            return
        if pcm and (audio := self._down.push(pcm)):
            reply.sent += len(audio)
            self._events.append(ReplyAudio(reply.id, reply.item, audio))
        if words:
            reply.said += words
            self._events.append(ReplyText(reply.id, reply.item, words))

    def _begin_reply(self) -> None:
        self._interrupted = self._generated = self._breaks = False
        self._caller.pauses()
        asked, self._asked = self._asked or "", None
        self._reply = reply = _Reply(self._new_id(), f"item_{self._count}", asked)
        self._events.append(ReplyBegan(reply.id, asked))
        if self._early_words:
            reply.said, self._early_words = self._early_words, ""
            self._events.append(ReplyText(reply.id, reply.item, reply.said))

    def _flush(self, reply: _Reply | None = None) -> None:
        """The very last sound of a reply must not wait until the model thinks that it was played."""
        reply = reply or self._reply
        if reply is not None and reply.sent and (rest := self._down.finish()):
            reply.sent += len(rest)
            self._events.append(ReplyAudio(reply.id, reply.item, rest))

    def _end_reply(self, status: str, detail: str = "") -> None:
        reply, self._reply, self._ends_at = self._reply, None, None
        if reply is None:
            return
        if status == "completed":
            self._flush(reply)
        self._down = ModelSound()
        self._past.append(reply)
        self._events.append(ReplyEnded(reply.id, status, detail, reply.asked))

    def _ask_failed(self, status: str, detail: str) -> None:
        """What the model was given to say or answer comes to nothing."""
        asked, self._asked = self._asked, None
        if asked:
            self._events.append(ReplyEnded(self._new_id(), status, detail, asked))

    def _complete(self, reason: str) -> None:
        """The model's turn is over. The one of an interrupted or cut reply tells nothing new."""
        if not self._interrupted:  # else the caller goes on speaking
            self._caller.finish()
        if self._reply is not None and not self._interrupted:
            good = reason in GOOD_ENDS
            self._end_reply("completed" if good else "failed", "" if good else reason)
        elif not (self._interrupted or self._muted or self._generated):
            self._ask_failed("incomplete", reason or "the model said nothing")
        self._interrupted = self._muted = self._generated = self._breaks = False
        self._early_words = ""
        self._next()

    def _called(self, call: dict[str, Any]) -> None:
        wanted = {
            wire.text(each, "id"): each
            for each in wire.objects(call, "functionCalls")
            if wire.text(each, "id") and wire.text(each, "name")
        }
        if not wanted:
            return
        self._caller.finish()
        if self._reply is None:
            self._begin_reply()
        reply = self._reply.id if self._reply else ""
        self._muted = False
        for name, each in wanted.items():
            arguments = json.dumps(wire.part(each, "args") or {})
            self._events.append(ToolCalled(name, wire.text(each, "name"), arguments, reply))
        self._calls.add({name: wire.text(each, "name") for name, each in wanted.items()})
        self._end_reply("completed")

    def _called_off(self, cancellation: dict[str, Any]) -> None:
        ids = cancellation.get("ids")
        for call in ids if isinstance(ids, list) else []:
            if isinstance(call, str):
                self._calls.call_off(call, wanted=self._asked is not None)
        self._next()

    def _go_away(self, notice: dict[str, Any]) -> None:
        self._events.append(SessionExpiring(wire.seconds(wire.text(notice, "timeLeft"))))

    def _ask(self, text: str, asked: str) -> None:
        self._asks.append((text, asked))
        self._next()

    def _next(self) -> None:
        """Give the model what it is to have next, once it is silent.

        A text breaks off what the model does. That is right where it says what was cut, where it only waits until its
        reply must have been played, and where it waits for a function that takes its time.
        """
        while self.ready and self._reply is None and self._asked is None:
            if (results := self._calls.take_results()) is not None:
                self._return(results)
            elif self._asks:
                text, self._asked = self._asks.popleft()
                if self._note:
                    text, self._note = f"{self._note}\n{text}", ""
                self._breaks = self._muted or self._generated or self._calls.are_under_way
                self._send(wire.words(self._model, text))
            else:
                break

    def _return(self, results: Results) -> None:
        if results.outputs:
            self._send(wire.results(results.outputs))
            # Gemini goes on by itself after a result; where nobody wants it to, that is not heard.
            self._muted = not results.answer
            self._asked = results.asked if results.answer else None
        elif results.asked:
            self._events.append(ReplyEnded(self._new_id(), "cancelled", "called off", results.asked))

    def _remember(self, heard: str) -> None:
        """Tell the model what was heard: at once where it takes such notes, else with the next text it is given."""
        heard = heard.replace('"', "'")
        what = f"only this: '{heard}'" if heard else "nothing of it"
        text = (
            f"(You were interrupted. Of what you said last the caller has heard {what}. Do not answer this.)"
        )
        if takes_turns_of_text(self._model):
            self._breaks = self._muted
            self._send(wire.note(text))
        else:
            self._note = text

    def _send(self, message: Mapping[str, Any]) -> None:
        self._messages.append(wire.dumped(message))

    def _new_id(self) -> str:
        self._count += 1
        return f"reply_{self._count}"
