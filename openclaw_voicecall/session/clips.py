"""What can be played at once, whatever is broken: phrases whose audio is kept, and a sound of our own."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol, runtime_checkable

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.speech import Synthesizer
from openclaw_voicecall.core.events import ClipPlayed, Event
from openclaw_voicecall.core.transcript import heard_prefix
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.tones import attention
from openclaw_voicecall.session.chain import Chain

ROUNDING: Final = 0.02
"""Seconds by which a clip may seem cut that was heard to its end."""
LONGEST: Final = 5.0
"""Seconds of a phrase; a longer one would be in the way of what comes after it."""


@runtime_checkable
class KeepsPhrases(Protocol):
    """A synthesizer that has the audio of some phrases at hand."""

    def kept(self, phrase: str, language: str, voice: str) -> bytes:
        """The whole mu-law audio of a phrase; empty where it is not there."""
        ...

    def keeps(self, utterance: str, language: str, voice: str) -> bool:
        """Whether the audio of this very utterance is there."""
        ...


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio to bridge a silence with."""

    audio: bytes
    text: str = ""
    """Its words; empty for a sound."""


class Clips:
    """Finds clips for one call.

    Args:
        chain: The synthesizer and its fallbacks, any of which may keep phrases.
        phrases: What is said while a reply is awaited.
        late: What is said, once in a turn, when it takes long.
        language: BCP 47 tag.
        voice: As in the requests to the synthesizers.
    """

    def __init__(
        self, chain: Chain[Synthesizer], phrases: Sequence[str], late: str, *, language: str, voice: str
    ) -> None:
        self._chain = chain
        self._phrases = phrases
        self._late = late
        self._language = language
        self._voice = voice
        self._last = ""

    def find(self, *, late: bool, said: Iterable[str] = ()) -> Clip:
        """A phrase whose audio is at hand, or a sound.

        Args:
            late: Whether the caller is to hear that it takes long.
            said: Texts that were said just now, or are about to be.
        """
        avoid = {self._last, *said}
        for text in (self._late,) if late else self._phrases:
            if text and text not in avoid and (audio := self._kept(text)):
                self._last = text
                return Clip(audio, text)
        self._last = ""
        return Clip(_sound())

    def _kept(self, text: str) -> bytes:
        for link in self._chain:
            if isinstance(link.provider, KeepsPhrases):
                audio = link.provider.kept(text, self._language, self._voice)
                if audio and seconds(len(audio)) <= LONGEST:
                    return audio
        return b""


class PlayedClip:
    """The clip that plays now, and what was heard of it.

    Args:
        post: Takes events for the core.
        clock: Monotonic time.
    """

    def __init__(self, post: Callable[[Event], None], clock: Clock) -> None:
        self._post = post
        self._clock = clock
        self._clip: Clip | None = None
        self._begins = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def plays(self) -> bool:
        """Whether a clip is under way."""
        return self._clip is not None

    def begin(self, clip: Clip, at: float) -> None:
        """A clip is played from this time on."""
        self._clip, self._begins = clip, at
        lasts = at + seconds(len(clip.audio)) - self._clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, lasts), self.stop)

    def stop(self) -> None:
        """It is over, or cut: what was heard of its words is written down."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        clip, self._clip = self._clip, None
        if clip is None:
            return
        heard, whole = self._clock.monotonic() - self._begins, seconds(len(clip.audio))
        cut = heard < whole - ROUNDING
        text = heard_prefix(clip.text, max(0.0, heard), whole) if cut else clip.text
        if text:
            self._post(ClipPlayed(text, interrupted=cut))


@cache
def _sound() -> bytes:
    return attention()
