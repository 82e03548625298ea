"""The caller's audio on its way to a speech-to-speech model, and what can be told of it without the model."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.media.audio import seconds
from openclaw_voicecall.media.echo import EchoGate
from openclaw_voicecall.media.static import StaticDetector
from openclaw_voicecall.media.tones import BeepDetector
from openclaw_voicecall.session.arrivals import Arrivals
from openclaw_voicecall.session.deafness import DeafnessWatch

KEPT: Final = 20.0
"""Seconds of what the caller said that are kept for the next session while it is unanswered."""
PRE_ROLL: Final = 0.6
"""Seconds kept while nobody speaks."""
LAST_WORDS_LIMIT: Final = 2.5
"""Seconds that the end of a call waits for the words that were said right before it."""


class ModelEars:
    """What the caller says, as far as can be told here.

    Args:
        clock: Monotonic time.
        echo: Takes the agent's own voice out of what comes back, or None.
        note: Takes a journal word of the shell and its data.
        hear_beeps: Whether an answering machine's beep may come.
    """

    def __init__(
        self,
        clock: Clock,
        echo: EchoGate | None,
        note: Callable[[str, dict[str, Any]], None],
        *,
        hear_beeps: bool = False,
    ) -> None:
        self._clock = clock
        self._echo = echo
        self._note = note
        self.arrivals = Arrivals()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._speaking = False
        self._owed = 0
        self._watch = DeafnessWatch()
        self._static = StaticDetector()
        self._beeps = BeepDetector() if hear_beeps else None
        self._is_static = False
        self._words_came = asyncio.Event()
        self._paused = asyncio.Event()
        self._paused.set()

    @property
    def speaking(self) -> bool:
        """Whether the model hears the caller speak."""
        return self._speaking

    @property
    def voice_sounds(self) -> bool:
        """Whether the caller speaks now, as far as can be told."""
        return self._speaking or self._watch.voice_sounds

    @property
    def voice_unanswered(self) -> bool:
        """Whether the caller said something whose words have not come."""
        return self._speaking or self._owed > 0

    @property
    def words_owed(self) -> bool:
        """Whether the caller has said something and the model has not noticed."""
        return self._watch.words_owed

    def take(self, audio: bytes, *, heard: bool) -> tuple[bytes, bool]:
        """Take the next caller audio.

        Args:
            audio: Mu-law 8 kHz.
            heard: Whether a session is there to hear it.

        Returns:
            What the model is to hear, and whether it must be deaf.
        """
        now = self._clock.monotonic()
        self.arrivals.came(seconds(len(audio)), now)
        if self._static.push(audio) and not self._is_static:
            self._is_static = True
            detail = "what comes of the caller is noise: its audio is not in the agreed format"
            self._note("line-static", {"hop": "carrier", "direction": "caller", "detail": detail})
        if self._echo is not None:
            audio = self._echo.clean(audio, now)
        deaf = self._watch.push(audio)
        self._keep(audio, heard=heard)
        if self.voice_sounds:
            self._paused.clear()
        else:
            self._paused.set()
        return audio, deaf

    def beeped(self, audio: bytes) -> bool:
        """Whether a machine has beeped, once this audio has come, too."""
        return self._beeps is not None and self._beeps.push(audio)

    def unanswered(self) -> tuple[bytes, ...]:
        """What a fresh session has missed of what the caller says."""
        missed = self._watch.voice_unanswered or self._watch.words_owed or self.voice_unanswered
        self._watch.told_again()
        self._speaking = False
        return tuple(self._kept) if missed else ()

    def edge(self, *, speaking: bool) -> None:
        """The model hears the caller begin to speak, or pause."""
        self._speaking = speaking
        self._owed += not speaking
        self._watch.answered(unfinished=speaking)

    def answered(self) -> None:
        """The model answers: it has heard."""
        self._watch.answered()

    def words(self, *, final: bool) -> None:
        """Words of the caller have come."""
        self._watch.answered(unfinished=not final)
        if final:
            self._owed = max(0, self._owed - 1)
            self._words_came.set()

    async def last_words(self) -> None:
        """The line is gone: wait for the words of what was said before, not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_LIMIT):
                while self._owed:
                    self._words_came.clear()
                    await self._words_came.wait()

    async def paused(self) -> None:
        """Wait until the caller is not speaking."""
        await self._paused.wait()

    def _keep(self, audio: bytes, *, heard: bool) -> None:
        self._kept.append(audio)
        self._kept_bytes += len(audio)
        waiting = self._watch.voice_unanswered or self.voice_unanswered or not heard
        while self._kept and seconds(self._kept_bytes) > (KEPT if waiting else PRE_ROLL):
            self._kept_bytes -= len(self._kept.popleft())
