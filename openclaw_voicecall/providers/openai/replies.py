"""What the model says on one call: what it is asked for, what it is saying, what was heard of it, and its tool calls.

One reply can be under way at a time; OpenAI begins some by itself, when the caller is done. What is asked for waits
until it is free, also where OpenAI was quicker than we. Events: OpenAI SDK, `types/realtime/response_*_event.py`.
"""

import binascii
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openclaw_voicecall.api.realtime import (
    PlaybackBegan,
    PlaybackEnded,
    RealtimeEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyText,
    ToolCalled,
)
from openclaw_voicecall.media.audio import SAMPLE_RATE
from openclaw_voicecall.providers.openai.outbox import Outbox
from openclaw_voicecall.providers.openai.refusals import without_keys
from openclaw_voicecall.providers.openai.voice_settings import (
    ASKED_KEY,
    VoiceSettings,
    caller_message,
    reply,
    tool_result,
)

BYTES_PER_MS: Final = SAMPLE_RATE // 1000
BEGIN_LIMIT: Final = 10.0
"""Seconds in which a reply that was asked for must begin."""
BUSY_LIMIT: Final = 2.0
"""Seconds after which a reply is asked for again, if OpenAI says that another is under way and none shows."""
_KEPT: Final = 64
_STATUSES: Final = frozenset({"completed", "cancelled", "failed", "incomplete"})


@dataclass(slots=True)
class _Wish:
    """A reply that is asked for."""

    name: str
    """Our own name of it."""
    asked: str
    text: str | None = None
    """What is to be said word for word."""
    items: tuple[dict[str, Any], ...] = ()
    """What the conversation is to hold before."""
    event_id: str = ""
    since: float = 0.0


@dataclass(slots=True)
class _Call:
    """A function call of a reply."""

    answered: bool = False
    wants_reply: bool = False
    asked: str = ""


@dataclass(slots=True)
class _Spoken:
    """A stretch of speech."""

    index: int
    size: int = 0
    """Bytes of audio that OpenAI has made of it."""
    whole: bool = False
    truncated: bool = False


@dataclass(slots=True)
class _Reply:
    """A reply that has begun."""

    id: str
    asked: str
    cut: bool = False
    done: bool = False
    items: dict[str, _Spoken] = field(default_factory=dict)
    calls: dict[str, _Call] = field(default_factory=dict)


class Replies:
    """All replies of one session.

    Args:
        settings: What the session was asked for.
        outbox: Where messages go.
        tell: Takes what happens.
    """

    def __init__(
        self, settings: VoiceSettings, outbox: Outbox, tell: Callable[[RealtimeEvent], None]
    ) -> None:
        self.has_sounded = False
        """Whether anything was said, after which the voice can be named no more."""
        self.answer_due = False
        """Whether OpenAI is about to answer the caller by itself."""
        self._settings = settings
        self._outbox = outbox
        self._tell = tell
        self._ready = False
        self._now = 0.0
        self._count = 0
        self._wishes: deque[_Wish] = deque()
        self._issued: _Wish | None = None
        self._busy_since: float | None = None
        """When OpenAI said that a reply is under way, of which nothing is known here."""
        self._replies: dict[str, _Reply] = {}
        self._playing = ""

    @property
    def is_asking(self) -> bool:
        """Whether a reply was asked for that has not begun."""
        return self._issued is not None

    @property
    def is_talking(self) -> bool:
        """Whether a reply is being made, as far as is known."""
        return self._is_active or self._busy_since is not None

    @property
    def is_sounding(self) -> bool:
        """Whether one is being played on a SIP line."""
        return bool(self._playing)

    def ready(self) -> None:
        """Replies may be asked for now."""
        self._ready = True
        self._next()

    def tick(self, now: float) -> None:
        """Time goes on; `now` is monotonic, seconds."""
        self._now = now
        if self._busy_since is not None and now - self._busy_since > BUSY_LIMIT:
            self._busy_since = None
        if self._issued is not None and now - self._issued.since > BEGIN_LIMIT:
            self._give_up(self._issued, f"it did not begin within {BEGIN_LIMIT:g} s")
        self._next()

    def want(self, asked: str, *, text: str | None = None, items: tuple[dict[str, Any], ...] = ()) -> None:
        """Ask for a reply: this text, or an answer of the model's own once the conversation holds the items."""
        self._count += 1
        self._wishes.append(_Wish(f"reply-{self._count}", asked, text, items))
        self._next()

    def answer(self, text: str, asked: str) -> None:
        """Ask for an answer to the caller, who has also sent this text if there is any."""
        self.want(asked, items=(caller_message(text),) if text else ())

    def give_result(self, call: str, output: str, *, asked: str, answer: bool) -> None:
        """Hand over what a function gave; the model goes on when all calls of the reply have theirs."""
        owner = next((each for each in self._replies.values() if call in each.calls), None)
        if owner is None:
            if asked:  # whoever waits for the reply is not to wait for ever
                self._tell(ReplyEnded("", "failed", "the function call belongs to another session", asked))
            return
        entry = owner.calls[call]
        if not entry.answered:
            self._outbox.put("conversation.item.create", item=tool_result(call, output))
            entry.answered, entry.wants_reply, entry.asked = True, answer, asked
            self._go_on(owner)

    def cut(self, reply_id: str, heard: Sequence[tuple[str, int]]) -> None:
        """End a reply, and say what of each of its items was heard, in milliseconds."""
        known = self._replies.get(reply_id)
        if known is None:
            return
        again, known.cut = known.cut, True
        if not known.done and not again:
            self._outbox.put("response.cancel", response_id=reply_id)
        if self._settings.sip:
            # What the caller has heard is known to OpenAI best: it plays the reply, and truncates it by itself.
            if not again and (self._playing == reply_id or not known.done):
                self._outbox.put("output_audio_buffer.clear")
            return
        times = dict(heard)
        for item_id, spoken in known.items.items():
            if again and item_id not in times:
                continue
            made = spoken.size // BYTES_PER_MS
            at = min(max(times.get(item_id, 0), 0), made)
            # Truncation takes the item's words away, too: what was heard to its end keeps them.
            if made and not spoken.truncated and not (spoken.whole and at == made):
                spoken.truncated = True
                self._outbox.put(
                    "conversation.item.truncate",
                    item_id=item_id,
                    content_index=spoken.index,
                    audio_end_ms=at,
                )

    def owns(self, event_id: str) -> bool:
        """Whether a message of ours asked for the reply that is to begin next."""
        return self._issued is not None and bool(event_id) and self._issued.event_id == event_id

    def refused(self, detail: str) -> None:
        """OpenAI refuses to begin the reply that was asked for."""
        if self._issued is not None:
            self._give_up(self._issued, detail)
            self._next()

    def busy(self) -> None:
        """OpenAI says that a reply is under way: what was asked for is asked for again after it."""
        wish, self._issued = self._issued, None
        if wish is not None:
            self._wishes.appendleft(wish)
        if not self._is_active:
            self._busy_since = self._now

    def on_created(self, response: dict[str, Any]) -> None:
        """`response.created`."""
        if (reply_id := _text(response, "id")) and reply_id not in self._replies:
            self._begin(reply_id, response)

    def on_done(self, response: dict[str, Any]) -> None:
        """`response.done`, whatever became of the reply."""
        if not (reply_id := _text(response, "id")):
            return
        known = self._replies.get(reply_id) or self._begin(reply_id, response)
        if known.done:
            return
        status = _text(response, "status")
        output = response.get("output")
        for item in output if isinstance(output, list) and status == "completed" else ():
            if isinstance(item, dict):
                self._call(known, item)
        known.done = True
        for spoken in known.items.values():
            spoken.whole = True
        self._busy_since = None
        self._tell(
            ReplyEnded(
                reply_id,
                status if status in _STATUSES else "failed",
                _why(response.get("status_details")),
                known.asked,
            )
        )
        self._go_on(known)
        self._forget()
        self._next()

    def on_audio(self, event: dict[str, Any]) -> None:
        """`response.output_audio.delta`."""
        known, item_id = self._live(event), _text(event, "item_id")
        if known is None or not item_id or self._settings.sip:
            return
        try:
            audio = binascii.a2b_base64(_text(event, "delta").encode("ascii"))
        except ValueError:
            return
        index = event.get("content_index")
        spoken = known.items.setdefault(
            item_id, _Spoken(index if isinstance(index, int) and 0 <= index < _KEPT else 0)
        )
        if audio:
            spoken.size += len(audio)
            self.has_sounded = True
            self._tell(ReplyAudio(known.id, item_id, audio))

    def on_text(self, event: dict[str, Any]) -> None:
        """`response.output_audio_transcript.delta` and `response.output_text.delta`."""
        known, item_id, text = self._live(event), _text(event, "item_id"), _text(event, "delta")
        if known is not None and item_id and text:
            self._tell(ReplyText(known.id, item_id, text))

    def on_audio_done(self, event: dict[str, Any]) -> None:
        """`response.output_audio.done`: no more audio comes of an item."""
        known = self._replies.get(_text(event, "response_id"))
        spoken = known.items.get(_text(event, "item_id")) if known is not None else None
        if spoken is not None:
            spoken.whole = True

    def on_item_done(self, event: dict[str, Any]) -> None:
        """`response.output_item.done`: the earliest moment at which a function call is whole."""
        item, known = event.get("item"), self._replies.get(_text(event, "response_id"))
        if known is not None and not known.done and isinstance(item, dict):
            self._call(known, item)

    def on_playback(self, what: str, event: dict[str, Any]) -> None:
        """`output_audio_buffer.started`, `stopped` and `cleared`, on a SIP line."""
        reply_id = _text(event, "response_id")
        if what == "started" and reply_id:
            self.has_sounded = True
            self._playing = reply_id
            self._tell(PlaybackBegan(reply_id))
        elif what in ("stopped", "cleared") and (ended := reply_id or self._playing):
            self._playing = "" if self._playing == ended else self._playing
            self._tell(PlaybackEnded(ended, cut=what == "cleared"))

    @property
    def _is_active(self) -> bool:
        return any(not each.done for each in self._replies.values())

    def _next(self) -> None:
        """Ask for the next reply, if nothing is in its way."""
        free = self._ready and self._issued is None and self._busy_since is None and not self._is_active
        if not free or not self._wishes:
            return
        wish = self._wishes.popleft()
        for item in wish.items:
            self._outbox.put("conversation.item.create", item=item)
        wish.items = ()
        wish.since = self._now
        wish.event_id = self._outbox.put(
            "response.create", response=reply(self._settings, wish.name, text=wish.text)
        )
        self._issued = wish

    def _begin(self, reply_id: str, response: dict[str, Any]) -> _Reply:
        wish = self._wish_of(response)
        if wish is not None:
            self._issued = None
        else:
            self.answer_due = False
        self._busy_since = None
        known = self._replies[reply_id] = _Reply(reply_id, wish.asked if wish is not None else "")
        self._tell(ReplyBegan(reply_id, known.asked))
        return known

    def _wish_of(self, response: dict[str, Any]) -> _Wish | None:
        metadata = response.get("metadata")
        name = metadata.get(ASKED_KEY) if isinstance(metadata, dict) else None
        wish = self._issued
        if name is not None:
            return wish if wish is not None and wish.name == name else None
        # A server that knows no metadata: by order, unless it was about to speak by itself.
        return None if "metadata" in response or self.answer_due else wish

    def _live(self, event: dict[str, Any]) -> _Reply | None:
        """The reply that an event is about, as long as anybody is to hear more of it."""
        reply_id = _text(event, "response_id")
        if not reply_id:
            return None
        known = self._replies.get(reply_id) or self._begin(reply_id, {"metadata": None})
        return None if known.cut or known.done else known

    def _call(self, known: _Reply, item: dict[str, Any]) -> None:
        call, name = _text(item, "call_id"), _text(item, "name")
        whole = item.get("type") == "function_call" and item.get("status") in (None, "completed")
        if whole and call and name and call not in known.calls:
            known.calls[call] = _Call()
            self._tell(ToolCalled(call, name, _text(item, "arguments"), known.id))

    def _go_on(self, known: _Reply) -> None:
        """Have the model go on after its functions, once the reply is over and every result is there."""
        calls = known.calls.values()
        if not known.done or not calls or not all(call.answered for call in calls):
            return
        wanting = [call for call in calls if call.wants_reply]
        known.calls = {}
        if wanting:
            self.want(next((call.asked for call in reversed(wanting) if call.asked), ""))

    def _give_up(self, wish: _Wish, detail: str) -> None:
        self._issued = None
        self._tell(ReplyEnded(wish.name, "failed", detail, wish.asked))

    def _forget(self) -> None:
        """Drop replies of long ago that nobody can ask for any more."""
        over = [each.id for each in self._replies.values() if each.done and not each.calls]
        for reply_id in over[: max(0, len(over) - _KEPT)]:
            del self._replies[reply_id]


def _why(details: Any) -> str:
    said = details if isinstance(details, dict) else {}
    error = said.get("error")
    words = [_text(error, "message"), _text(error, "code")] if isinstance(error, dict) else []
    return without_keys(" ".join(word for word in (_text(said, "reason"), *words) if word))


def _text(node: dict[str, Any], key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""
