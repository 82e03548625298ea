"""Deepgram's streaming API for speech to text, `/v1/listen`, without I/O.

Raw audio goes up as binary messages, `KeepAlive`, `Finalize` and `CloseStream` as text. What comes down are `Results`
(interim, or final for a stretch of audio), `SpeechStarted`, `UtteranceEnd`, `Metadata` before the close, and `Error`.
Source: Deepgram SDK 7, `deepgram/listen/v1/client.py` (parameters) and `deepgram/listen/v1/types/`; Deepgram's pages
on Finalize, KeepAlive, CloseStream, endpointing and UtteranceEnd.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from openclaw_voicecall.api.speech import Heard, SpeechEdge, SpeechEvent
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.providers._messages import json_object

VENDOR: Final = "deepgram"
OPERATION: Final = "transcribe"

KEEP_ALIVE: Final = '{"type":"KeepAlive"}'
FINALIZE: Final = '{"type":"Finalize"}'
CLOSE_STREAM: Final = '{"type":"CloseStream"}'

ENDPOINTING_MS: Final = 300
UTTERANCE_END_MS: Final = 1000
"""Silence between words after which `UtteranceEnd` comes; Deepgram takes no less."""
NOISE_LIMIT: Final = 3.0
"""Seconds of audio after `SpeechStarted` without a word; then it was no speech."""
_SLACK: Final = 0.1
"""Seconds by which times in messages may differ from the audio that was sent."""
_NO_SPEECH: Final = 1.0
"""Seconds of audio after `SpeechStarted` in which a final stretch must have words, if it was speech."""
_REGIONS: Final = frozenset(
    {"de-CH", "en-AU", "en-GB", "en-IN", "en-NZ", "en-US", "es-419", "fr-CA", "nl-BE", "pt-BR", "pt-PT"}
    | {"zh-CN", "zh-HK", "zh-TW"}
)

LONGEST: Final = 1e6
"""Seconds; no stream is longer, and a time beyond is none."""
LONGEST_TEXT: Final = 20_000
"""Characters of one utterance that are kept."""


def query(
    *, model: str, language: str, endpointing_ms: int | None, interim_results: bool, vad_events: bool
) -> dict[str, str]:
    """The parameters of a stream of telephone audio."""
    parameters = {
        "model": model,
        "language": language,
        "encoding": "mulaw",
        "sample_rate": "8000",
        "channels": "1",
        "smart_format": "true",
        "interim_results": _word(interim_results),
        "endpointing": str(ENDPOINTING_MS if endpointing_ms is None else endpointing_ms),
        "vad_events": _word(vad_events),
    }
    if interim_results:  # UtteranceEnd is made from them, and refused without
        parameters["utterance_end_ms"] = str(UTTERANCE_END_MS)
    return parameters


def language_of(tag: str) -> str:
    """Deepgram's word for a BCP 47 tag: most languages are known without a region only."""
    return tag if tag in _REGIONS else tag.partition("-")[0].lower()


@dataclass(frozen=True, slots=True)
class Stretch:
    """One `Results`: what was said in a stretch of the audio. Times are seconds since the stream began."""

    text: str
    start: float
    end: float
    first_word: float
    """Where its first word begins."""
    last_word: float
    """Where its last word ends."""
    is_final: bool
    speech_final: bool
    from_finalize: bool


class DeepgramListening:
    """What was sent, what was heard, and what is owed on one stream.

    An utterance is made of the final stretches up to one that ends it: `speech_final`, the answer to `Finalize`, or
    `UtteranceEnd`. Deepgram answers `Finalize` only when much audio is left to be read, so an answer is not awaited
    for ever: the caller of this class says when it is `overdue`.

    Args:
        edges: Whether Deepgram was asked for voice activity.
    """

    vendor = VENDOR
    goodbye = CLOSE_STREAM
    keep_alive = KEEP_ALIVE
    ready = True
    done = False
    complaint = ""

    def __init__(self, *, edges: bool) -> None:
        self.edges = edges
        """Whether speech edges are reported. A turn detector that hears the call, too, has them switched off."""
        self.sent = 0.0
        """Seconds of audio that were sent."""
        self.unanswered = 0
        """Finals in a row that were overdue, with no message of any kind between them."""
        self._parts: list[str] = []
        self._interim = ""
        self._shown = False
        self._owed: list[float] = []
        self._given = 0
        self._given_until = 0.0
        self._speech_at: float | None = None

    @property
    def owed(self) -> int:
        """How many finals were asked for and have not come."""
        return len(self._owed)

    def audio_sent(self, audio: bytes) -> Iterator[SpeechEvent]:
        """Count audio that goes out. Speech without a word is taken back after a while."""
        self.sent += seconds(len(audio))
        speech_at = self._speech_at
        if speech_at is not None and not self._text() and self.sent - speech_at > NOISE_LIMIT:
            yield from self._speech_ended(self.sent)

    def detector_spoke(self) -> None:
        """A turn detector hears the call, too: its edges count."""
        self.edges = False

    def finish(self) -> str:
        """The message that asks for the final of everything sent so far."""
        self._owed.append(self.sent)
        return FINALIZE

    def overdue(self) -> Iterator[SpeechEvent]:
        """The final that is owed longest did not come: what was heard of it is final now."""
        if self._owed:
            self._given, self._given_until = len(self._interim.split()), self._owed.pop(0)
            self.unanswered += 1
            yield self._close()

    def last_words(self) -> Iterator[SpeechEvent]:
        """What is left when the stream is over."""
        if self._text() or self._owed:
            self._owed.clear()
            yield self._close()

    def receive(self, message: str | bytes) -> Iterator[SpeechEvent]:
        """Facts in one message of Deepgram; none in those that are not known.

        Raises:
            VendorError: Deepgram reports an error.
        """
        parsed = json_object(message)
        self.unanswered = 0
        match parsed.get("type"):
            case "Results":
                if (stretch := _stretch(parsed)) is not None:
                    yield from self._hear(stretch)
            case "SpeechStarted":
                yield from self._speech_began(_number(parsed.get("timestamp"), self.sent))
            case "UtteranceEnd":
                yield from self._speech_ended(_number(parsed.get("last_word_end"), self.sent))
                if self._parts:
                    yield from self._conclude(0)
            case "Error":
                raise _error(parsed)

    def closed(self, code: int | None, reason: str) -> VendorError:
        """The error for a socket that Deepgram closed."""
        return close_error(code, reason)

    def _hear(self, stretch: Stretch) -> Iterator[SpeechEvent]:
        text = self._unsaid(stretch)
        answers = self._answers(stretch, text)
        if text and not answers:  # an answer brings old words, and says nothing of who speaks now
            yield from self._speech_began(stretch.first_word)
        if not stretch.is_final:
            if text != self._interim:
                self._interim = text
                yield self._show()
            return
        self._interim = ""
        if text and sum(map(len, self._parts)) < LONGEST_TEXT:
            self._parts.append(text)
        # The edge comes before the final, so that nobody takes the final for one in the middle of speech.
        if stretch.speech_final or self._was_noise(stretch):
            yield from self._speech_ended(stretch.last_word)
        ended = stretch.speech_final or stretch.from_finalize
        if answers or (ended and not self._owed):
            del self._owed[:answers]
            yield from self._conclude(answers)
        elif text:
            yield self._show()

    def _answers(self, stretch: Stretch, text: str) -> int:
        """How many of the finals that are owed this stretch settles."""
        if not stretch.is_final or not self._owed:
            return 0
        covered = sum(asked <= stretch.end + _SLACK for asked in self._owed)
        ended = stretch.speech_final and bool(text or self._parts)
        return max(covered, int(stretch.from_finalize or ended))

    def _conclude(self, answers: int) -> Iterator[SpeechEvent]:
        """Close the utterance. Without words that is said only to those who asked, or who saw words before."""
        if answers or self._shown or self._parts:
            yield self._close()
        for _ in range(answers - 1):
            yield Heard("", final=True)

    def _show(self) -> Heard:
        self._shown = True
        return Heard(self._text(), final=False)

    def _close(self) -> Heard:
        final = Heard(self._text(), final=True)
        self._parts.clear()
        self._interim, self._shown = "", False
        return final

    def _text(self) -> str:
        return " ".join(part for part in (*self._parts, self._interim) if part)[:LONGEST_TEXT]

    def _unsaid(self, stretch: Stretch) -> str:
        """The words of a stretch without those that an overdue final has given already."""
        if stretch.start >= self._given_until - _SLACK:
            self._given = 0
        words = stretch.text.split()
        unsaid = " ".join(words[self._given :])
        if stretch.is_final:
            passed = stretch.end >= self._given_until - _SLACK
            self._given = 0 if passed else max(0, self._given - len(words))
        return unsaid

    def _was_noise(self, stretch: Stretch) -> bool:
        if self._speech_at is None or self._parts or stretch.text:
            return False
        return stretch.end - self._speech_at > _NO_SPEECH

    def _speech_began(self, at: float) -> Iterator[SpeechEvent]:
        if self._speech_at is None:
            self._speech_at = at
            if self.edges:
                yield SpeechEdge(speaking=True, ago=max(0.0, self.sent - at))

    def _speech_ended(self, at: float) -> Iterator[SpeechEvent]:
        if self._speech_at is not None:
            self._speech_at = None
            if self.edges:
                yield SpeechEdge(speaking=False, ago=max(0.0, self.sent - at))


def close_error(code: int | None, reason: str) -> VendorError:
    """The error for a socket that Deepgram closed: 1008 says that it cannot read what we send."""
    kind = VendorRejected if code == 1008 else VendorUnavailable
    why = f"{code} {reason}".strip()
    return kind(f"deepgram closed the stream: {why}", vendor=VENDOR, operation=OPERATION, status=code)


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def _stretch(message: Mapping[str, Any]) -> Stretch | None:
    try:
        best = message["channel"]["alternatives"][0]
        text = " ".join(best["transcript"].split())[:LONGEST_TEXT]
        words = [(_time(word["start"]), _time(word["end"])) for word in best.get("words") or ()]
        start = _time(message["start"])
        end = start + _time(message["duration"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return Stretch(
        text,
        start,
        end,
        first_word=words[0][0] if words else start,
        last_word=words[-1][1] if words else end,
        is_final=message.get("is_final") is True,
        speech_final=message.get("speech_final") is True,
        from_finalize=message.get("from_finalize") is True,
    )


def _time(value: Any) -> float:
    """Seconds of the stream. Raises `ValueError` or its like for anything else."""
    seconds = float(value)
    if not 0 <= seconds < LONGEST:
        raise ValueError("no time of a stream")
    return seconds


def _number(value: Any, otherwise: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LONGEST:
        return float(value)
    return otherwise


def _error(message: Mapping[str, Any]) -> VendorError:
    kind = VendorRejected if message.get("variant") == "SchemaError" else VendorUnavailable
    said = " ".join(str(message.get("description") or "no reason given").split())[:300]
    return kind(f"deepgram reports an error: {said}", vendor=VENDOR, operation=OPERATION)
