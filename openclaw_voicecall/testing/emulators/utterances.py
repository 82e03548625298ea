"""What emulators of streaming speech recognition share: an ear that cuts audio into utterances and reads them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from openclaw_voicecall.testing.emulators.clips import Recognizer
from openclaw_voicecall.testing.emulators.openai_vad import STEP_BYTES, ServerVad, dbfs, speech_level

RATE = 8000
"""Bytes a second of mu-law audio."""
CHARACTER = 480
"""Bytes of audio that a character of a scripted text takes, as in `voices`."""
NEVER = 10**9
"""Milliseconds of silence that do not come."""


class What(Enum):
    """What was heard."""

    STARTED = "started"
    INTERIM = "interim"
    CHUNK = "chunk"
    """A stretch whose words do not change any more, in the middle of an utterance or of silence."""
    ENDED = "ended"
    """The last stretch of an utterance."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of the audio and its words. Times are seconds from the start of the stream."""

    what: What
    text: str
    start: float
    end: float
    voice_start: float
    voice_end: float
    whole: str
    """The words of the utterance so far, earlier chunks too."""
    whole_start: float

    def words(self) -> list[tuple[str, float, float]]:
        """The words with their times, spread evenly over the voice."""
        words = self.text.split()
        step = (self.voice_end - self.voice_start) / max(len(words), 1)
        return [
            (word, round(self.voice_start + index * step, 3), round(self.voice_start + (index + 1) * step, 3))
            for index, word in enumerate(words)
        ]


class Script:
    """Texts of utterances in their order, for whoever has no recognizer. Shared by all streams of an emulator."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(texts)

    def next(self) -> str:
        """The words of the next utterance; none when all were said."""
        return self._texts.pop(0) if self._texts else ""


class Ear:
    """Hears one stream of mu-law audio at 8000 Hz.

    Args:
        recognizer: Gives the words of audio; without one the script does.
        script: Texts of utterances.
        endpointing_ms: Silence that ends an utterance; None for never.
        interim_ms: Audio between two interims.
        chunk_ms: Longest stretch of audio; at its end its words are final.
    """

    def __init__(
        self,
        recognizer: Recognizer | None,
        script: Script,
        *,
        endpointing_ms: int | None,
        interim_ms: int,
        chunk_ms: int = 3000,
    ) -> None:
        self._recognizer = recognizer
        self._script = script
        self._interim = interim_ms * RATE // 1000
        self._chunk = chunk_ms * RATE // 1000
        silence = NEVER if endpointing_ms is None else endpointing_ms
        self._vad = ServerVad(prefix_padding_ms=0, silence_duration_ms=silence)
        self.audio = bytearray()
        """Everything that was heard."""
        self._read = 0
        self._from = 0
        self._utterance_from = 0
        self._interim_at = 0
        self._words: list[str] = []
        self._scripted: str | None = None

    @property
    def now(self) -> float:
        """Seconds of audio that were heard."""
        return self._read / RATE

    @property
    def speaking(self) -> bool:
        """Whether an utterance goes on."""
        return self._vad.speaking

    @property
    def unread(self) -> float:
        """Seconds of audio whose words are not final yet."""
        return (len(self.audio) - self._from) / RATE

    async def push(self, audio: bytes) -> list[Heard]:
        """Take the next audio, of any size; return what was heard, oldest first."""
        self.audio += audio
        found = []
        while len(self.audio) - self._read >= STEP_BYTES:
            step = bytes(self.audio[self._read : self._read + STEP_BYTES])
            self._read += STEP_BYTES
            edges = self._vad.push(step)
            if edges and edges[0].speaking:
                self._interim_at = self._read
                if self._recognizer is None:
                    self._scripted = self._script.next()
                found.append(self._heard(What.STARTED, "", voice=(edges[0].at, self._read)))
            elif edges:
                found.append(await self._final(What.ENDED))
            elif self._vad.speaking and self._read - self._interim_at >= self._interim:
                self._interim_at = self._read
                found.append(self._heard(What.INTERIM, await self._text(final=False)))
            elif self._read - self._from >= self._chunk and (self._recognizer or not self._vad.speaking):
                found.append(await self._final(What.CHUNK))
        return found

    async def finish(self) -> Heard:
        """The utterance is over by order of the client: the rest of it."""
        self._read = len(self.audio)
        heard = await self._final(What.ENDED)
        self._vad.restart()
        return heard

    async def _final(self, what: What) -> Heard:
        heard = self._heard(what, await self._text(final=True))
        self._words.append(heard.text)
        self._from = self._interim_at = self._read
        if what is What.ENDED or not self._vad.speaking:
            self._utterance_from = self._read
            self._words.clear()
            self._scripted = None
        return heard

    async def _text(self, *, final: bool) -> str:
        if self._recognizer is not None:
            # The whole utterance is read each time: a word on the edge of two chunks would be read twice, or never.
            whole = await self._recognizer(bytes(self.audio[self._utterance_from : self._read]))
            return " ".join(whole.split()[sum(len(chunk.split()) for chunk in self._words) :])
        text = self._scripted or ""
        return text if final else text[: (self._read - self._from) // CHARACTER].rpartition(" ")[0]

    def _heard(self, what: What, text: str, voice: tuple[int, int] | None = None) -> Heard:
        start, end = voice or self._voice()
        return Heard(
            what,
            text,
            self._from / RATE,
            self._read / RATE,
            start / RATE,
            end / RATE,
            " ".join(part for part in (*self._words, text) if part),
            self._utterance_from / RATE,
        )

    def _voice(self) -> tuple[int, int]:
        loud = [
            at
            for at in range(self._from, self._read, STEP_BYTES)
            if dbfs(bytes(self.audio[at : at + STEP_BYTES])) >= speech_level(0.5)
        ]
        return (loud[0], loud[-1] + STEP_BYTES) if loud else (self._from, self._read)
