"""Recognises audio it was shown before, to the sample: an ear that cannot be kind to lost or broken frames."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Recognizer = Callable[[bytes], Awaitable[str]]
"""Takes mu-law 8 kHz audio of one utterance and gives its words."""

CHUNK = 160
"""Bytes that are compared at a time: 20 ms."""
LEAP = 8000
"""Bytes that are looked through at a time for the end of a silence."""
PATIENCE = 3 * 8000
"""Bytes of other sound after which the same clip counts as said again: 3 s."""


@dataclass(slots=True)
class Found:
    """A clip, or a part of one, in some audio."""

    clip: str
    """All the words of the clip."""
    start: int
    """Byte offset of its first recognised sound."""
    end: int
    """Byte offset after its last recognised sound."""
    chunks: list[int] = field(default_factory=list)
    """Which 20 ms pieces of the clip were there, in order."""
    total: int = 0
    """How many pieces the clip has."""

    @property
    def whole(self) -> bool:
        """Whether nothing of the clip is missing."""
        return len(self.chunks) == self.total

    @property
    def text(self) -> str:
        """The words of which at least half was there. Words lie in a clip as their letters lie in its text."""
        there = set(self.chunks)
        length, position, words = len(self.clip), 0, []
        for word in self.clip.split():
            begin = self.clip.index(word, position)
            position = begin + len(word)
            span = range(
                begin * self.total // length,
                max(position * self.total // length, begin * self.total // length + 1),
            )
            if sum(chunk in there for chunk in span) * 2 >= len(span):
                words.append(word)
        return " ".join(words)


class ClipBook:
    """Audio with its words. Call it with the audio of an utterance to have it transcribed."""

    def __init__(self) -> None:
        self._where: dict[bytes, tuple[str, int]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, text: str, audio: bytes) -> bytes:
        """Learn mu-law 8 kHz audio and return it. Pieces without change, such as silence, are not looked for."""
        pieces = [audio[at : at + CHUNK] for at in range(0, len(audio) - CHUNK + 1, CHUNK)]
        telling = [piece for piece in pieces if len(set(piece)) > 2]
        if text not in self._sizes:
            self._sizes[text] = len(telling)
            for index, piece in enumerate(telling):
                self._where.setdefault(piece, (text, index))
        return audio

    async def __call__(self, audio: bytes) -> str:
        """The words in this audio, in order; empty when nothing in it is known."""
        return " ".join(found.text for found in self.read(audio) if found.text)

    def read(self, audio: bytes) -> list[Found]:
        """Every clip or part of a clip in this audio, in order."""
        finds: list[Found] = []
        at, where = 0, self._where
        while at <= len(audio) - CHUNK:
            piece = audio[at : at + CHUNK]
            hit = where.get(piece)
            if hit is None:
                # Pieces without change are of no clip: most of a call is silence.
                at += 1 if piece[-1] != piece[0] or piece.count(piece[0]) < CHUNK else _same(audio, at)
                continue
            text, index = hit
            last = finds[-1] if finds else None
            if last is None or last.clip != text or index <= last.chunks[-1] or at - last.end > PATIENCE:
                last = Found(text, at, at, total=self._sizes[text])
                finds.append(last)
            last.chunks.append(index)
            at += CHUNK
            last.end = at
        return finds


def _same(audio: bytes, at: int) -> int:
    """By how much a piece that begins here may be moved on while all that enters it is the same."""
    end = at + CHUNK
    ahead = audio[end : end + LEAP]
    return len(ahead) - len(ahead.lstrip(audio[at : at + 1])) + 1
