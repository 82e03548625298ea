"""xAI's streaming API for speech to text, `/v1/stt`, without I/O.

Everything is set in the query. The server says `transcript.created`; audio that comes before is thrown away. Then raw
audio goes up as binary messages, `finalize` (the utterance is over) and `audio.done` (the stream is over) as text.
What comes down are `transcript.partial`, `transcript.done` and `error`. A partial is an interim, a locked chunk of
about three seconds (`is_final`), or a whole utterance (`speech_final`, too), which repeats its chunks.
Source: xAI's documentation, "Speech to Text" (streaming) and its API reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.speech import Heard, SpeechEvent
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.media.audio import seconds, silence
from openclaw_voicecall.providers._messages import json_object

VENDOR: Final = "xai"
OPERATION: Final = "transcribe"

FINALIZE: Final = '{"type":"finalize"}'
AUDIO_DONE: Final = '{"type":"audio.done"}'
SILENCE: Final = silence(100)
"""What keeps a stream open: xAI knows no message for that."""

ENDPOINTING_MS: Final = 400
"""xAI's own default was 10 ms for long: an utterance for every breath."""
_TAIL: Final = 1.5
"""Seconds of silence before `finalize` that its answer may leave out."""
_LANGUAGES: Final = frozenset(
    {"ar", "cs", "da", "de", "en", "es", "fa", "fil", "fr", "hi", "id", "it", "ja", "ko", "mk", "ms", "nl"}
    | {"pl", "pt", "ro", "ru", "sv", "th", "tr", "vi"}
)
"""Languages whose numbers xAI can write; the model hears others, too, without being told."""

LONGEST: Final = 1e6
"""Seconds; no stream is longer, and a time beyond is none."""
LONGEST_TEXT: Final = 20_000
"""Characters of one utterance that are kept."""
MOST_WORDS: Final = 100_000
"""Words of one stream that are remembered, to know them again; a day of talk."""


def query(
    *, model: str | None, language: str | None, endpointing_ms: int | None, interim_results: bool
) -> dict[str, str]:
    """The parameters of a stream of telephone audio."""
    parameters = {
        "sample_rate": "8000",
        "encoding": "mulaw",
        "interim_results": "true" if interim_results else "false",
        "endpointing": str(ENDPOINTING_MS if endpointing_ms is None else endpointing_ms),
    }
    if language:
        parameters["language"] = language
    if model:
        parameters["model"] = model
    return parameters


def language_of(tag: str) -> str | None:
    """Name of a language, given as a BCP 47 tag, at xAI; None for a language that it does not want to be told of."""
    language = tag.partition("-")[0].lower()
    return language if language in _LANGUAGES else None


Stretch = tuple[float, float]
"""Where in the audio something begins and ends, seconds since the stream began."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One `transcript.partial`."""

    text: str
    stretch: Stretch | None
    """None where xAI gives no times."""
    is_final: bool
    speech_final: bool


@dataclass(slots=True)
class Given:
    """The last final, which xAI may repeat: a whole utterance comes again after its chunks, or after `finalize`."""

    words: list[str]
    stretch: Stretch | None
    tail: int
    """How many of its words came after the last locked chunk."""
    tail_stretch: Stretch | None
    forced: bool
    """Whether it was asked for, so that xAI may not know yet that the utterance is over."""


class XaiListening:
    """What was sent, what was heard, and what is owed on one stream.

    Nobody says that xAI answers every `finalize`, so an answer is not awaited for ever: the caller of this class says
    when it is `overdue`.
    """

    vendor = VENDOR
    goodbye = AUDIO_DONE
    keep_alive = SILENCE

    def __init__(self) -> None:
        self.ready = False
        """Whether xAI takes audio."""
        self.done = False
        """Whether xAI has said its last word."""
        self.complaint = ""
        """xAI's last `error`, until it shows that it goes on all the same."""
        self.sent = 0.0
        """Seconds of audio that were sent."""
        self.unanswered = 0
        """Finals in a row that were overdue, with no message of any kind between them."""
        self._chunks: list[str] = []
        self._locked: Stretch | None = None
        """Where the chunks lie."""
        self._interim = ""
        self._interim_is_whole = False
        self._shown = False
        self._owed: list[float] = []
        self._given: Given | None = None
        self._said: list[str] = []

    @property
    def owed(self) -> int:
        """How many finals were asked for and have not come."""
        return len(self._owed)

    def audio_sent(self, audio: bytes) -> Sequence[SpeechEvent]:
        """Count audio that goes out; nothing comes of it."""
        self.sent += seconds(len(audio))
        return ()

    def detector_spoke(self) -> None:
        """Nothing to be told: xAI gives no edges."""

    def finish(self) -> str:
        """The message that asks for the final of everything sent so far."""
        self._owed.append(self.sent)
        return FINALIZE

    def overdue(self) -> Iterator[SpeechEvent]:
        """The final that is owed longest did not come: what was heard of it is final now."""
        if self._owed:
            self.unanswered += 1
            yield self._close(self._text(), until=self._owed.pop(0), forced=True)

    def last_words(self) -> Iterator[SpeechEvent]:
        """What is left when the stream is over."""
        if self._text() or self._owed:
            self._owed.clear()
            yield self._close(self._text(), until=None, forced=True)

    def receive(self, message: str | bytes) -> Iterator[SpeechEvent]:
        """Facts in one message of xAI; none in those that are not known."""
        parsed = json_object(message)
        kind = parsed.get("type")
        self.unanswered = 0
        if isinstance(kind, str) and kind.startswith("transcript."):
            self.complaint = ""
        match kind:
            case "transcript.created":
                self.ready = True
            case "transcript.partial":
                yield from self._hear(_piece(parsed))
            case "transcript.done":
                self.done = True
                yield from self._hear_last(_text(parsed))
            case "error":
                self.complaint = _text(parsed, "message") or "no reason given"

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that xAI closed, or that is of no use after its complaint."""
        return close_error(code, reason, self.complaint)

    def _hear(self, piece: Piece) -> Iterator[SpeechEvent]:
        text = self._unsaid(piece)
        if not piece.is_final:
            if text != self._interim:
                self._interim = text
                self._interim_is_whole = self._repeats_chunks(piece)
                yield self._show()
            return
        if piece.speech_final:
            if not self._repeats_chunks(piece, otherwise=True):
                text = _join(*self._chunks, text)
            text = text or _join(*self._chunks)
        else:
            self._lock(piece, text)
            text = _join(*self._chunks)
        self._interim, self._interim_is_whole = "", False
        answers = self._answers(piece, text)
        if answers or (piece.speech_final and not self._owed):
            del self._owed[:answers]
            if text or answers or self._shown:
                until = piece.stretch[1] if piece.stretch else None
                yield self._close(text, until=until, forced=not piece.speech_final)
            for _ in range(answers - 1):
                yield Heard("", final=True)
        elif text:
            yield self._show()

    def _hear_last(self, text: str) -> Iterator[SpeechEvent]:
        """Take what no utterance has covered. Some servers repeat all that was ever said instead."""
        words, said = text.split(), self._said
        plain = _plain(words)
        if said and plain[: len(said)] == said:
            words = words[len(said) :]
        elif not self._text() and plain == said[len(said) - len(plain) :]:
            words = []
        before = _join(*self._chunks).split()
        if len(words) < len(before):
            words = before + words
        last = " ".join(words) or self._text()
        if last or self._owed:
            self._owed.clear()
            yield self._close(last, until=None, forced=True)

    def _lock(self, piece: Piece, text: str) -> None:
        if not text:
            return
        if self._repeats_chunks(piece):
            self._chunks.clear()
            self._locked = None
        if sum(map(len, self._chunks)) < LONGEST_TEXT:
            self._chunks.append(text)
        if piece.stretch is not None:
            self._locked = (self._locked or piece.stretch)[0], piece.stretch[1]

    def _answers(self, piece: Piece, text: str) -> int:
        """How many of the finals that are owed this piece settles."""
        if not self._owed:
            return 0
        if piece.stretch is None:
            return int(bool(text) or not piece.speech_final)
        covered = sum(asked <= piece.stretch[1] + _TAIL for asked in self._owed)
        return max(covered, int(piece.speech_final and bool(text)))

    def _show(self) -> Heard:
        self._shown = True
        return Heard(self._text(), final=False)

    def _close(self, text: str, *, until: float | None, forced: bool) -> Heard:
        plain = _plain(text.split())
        locked, tail = self._locked, 0 if self._interim_is_whole else len(self._interim.split())
        self._given = Given(
            plain,
            stretch=(locked[0] if locked else self._given_until(), until) if until is not None else None,
            tail=tail,
            tail_stretch=(locked[1], until) if locked and tail and until is not None else None,
            forced=forced,
        )
        if len(self._said) < MOST_WORDS:
            self._said += plain
        self._chunks.clear()
        self._locked = None
        self._interim, self._interim_is_whole, self._shown = "", False, False
        return Heard(text, final=True)

    def _given_until(self) -> float:
        return self._given.stretch[1] if self._given and self._given.stretch else 0.0

    def _text(self) -> str:
        return self._interim if self._interim_is_whole else _join(*self._chunks, self._interim)

    def _repeats_chunks(self, piece: Piece, *, otherwise: bool = False) -> bool:
        """Whether a piece holds the chunks, too; `otherwise` where xAI gives no times."""
        if piece.stretch is None or self._locked is None:
            return otherwise
        return _repeats(piece.stretch, self._locked)

    def _unsaid(self, piece: Piece) -> str:
        """The words of a piece without those that the last final has given already."""
        given, words = self._given, piece.text.split()
        if given is None or not given.words:
            return piece.text
        if piece.stretch is None or given.stretch is None:
            count = len(given.words)
            known = given.forced and _plain(words[:count]) == given.words
            return " ".join(words[count:]) if known else piece.text
        if _repeats(piece.stretch, given.stretch):
            return " ".join(words[len(given.words) :])
        if given.tail_stretch is not None and _repeats(piece.stretch, given.tail_stretch):
            return " ".join(words[given.tail :])
        return piece.text


def close_error(code: int | None, reason: str, complaint: str) -> VendorError:
    """The error for a socket that xAI closed: 1003, 1007 and 1008 say that it does not like what we send."""
    kind = VendorRejected if code in (1003, 1007, 1008) else VendorUnavailable
    why = " ".join(str(part) for part in (code, reason, complaint) if part)
    return kind(f"xai closed the stream: {why}", vendor=VENDOR, operation=OPERATION, status=code)


def _repeats(later: Stretch, earlier: Stretch) -> bool:
    """Whether what came later begins in the first half of what came before: ends and beginnings overlap a little."""
    return later[0] < sum(earlier) / 2


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)[:LONGEST_TEXT]


def _plain(words: list[str]) -> list[str]:
    """Words as they compare: xAI writes them otherwise when it repeats them."""
    return ["".join(letter for letter in word.casefold() if letter.isalnum()) for word in words]


def _text(message: Mapping[str, Any], key: str = "text") -> str:
    value = message.get(key)
    return " ".join(value.split())[:LONGEST_TEXT] if isinstance(value, str) else ""


def _piece(message: Mapping[str, Any]) -> Piece:
    start, duration = _number(message.get("start")), _number(message.get("duration"))
    return Piece(
        _text(message),
        None if start is None or duration is None else (start, start + duration),
        is_final=message.get("is_final") is True or message.get("speech_final") is True,
        speech_final=message.get("speech_final") is True,
    )


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LONGEST:
        return float(value)
    return None
