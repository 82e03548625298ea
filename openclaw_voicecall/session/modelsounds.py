"""Sound that a speech-to-speech model makes, on its way to the line.

The line asks for the sound of each utterance, as it asks a synthesizer. What the model has made by then is passed on at
once, and everything after it in the moment it comes: nothing waits for a task to be scheduled.
"""

import asyncio
from typing import Final

from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.static import StaticDetector
from openclaw_voicecall.session.deadline import Deadline
from openclaw_voicecall.session.voice import Ear, MakesSpeech, Order, Outcome

PROBED: Final = 1600
"""Bytes of a session's first sound that are listened to before any of it is played: 200 ms tell noise from a voice."""


class Sound:
    """The audio of one utterance."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._ear: Ear | None = None
        self._over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.made = 0
        """Bytes so far, mu-law 8 kHz."""

    def add(self, audio: bytes) -> None:
        """The model has made more of it."""
        self.made += len(audio)
        if self._ear is not None:
            self._ear.push(audio)
        else:
            self._kept += audio

    def end(self, failure: str = "") -> None:
        """There is no more of it; `failure` tells why it breaks off."""
        if not self._over.done():
            began = self.made > 0
            self._over.set_result(Outcome(not failure and began, began, failure or "the model gave no audio"))

    async def play(self, ear: Ear) -> Outcome:
        """Give the line what there is and will be, until its end."""
        self._ear = ear
        if self._kept:
            ear.push(bytes(self._kept))
            self._kept.clear()
        return await self._over


class ModelVoice:
    """The voice of a call that a model speaks on; what the model does not say itself, a synthesizer says.

    Args:
        instead: Speaks what the model has made no sound for.
    """

    def __init__(self, instead: MakesSpeech) -> None:
        self._instead = instead
        self._sounds: dict[int, Sound] = {}

    def open(self, utterance: int) -> Sound:
        """The model makes this utterance."""
        sound = self._sounds[utterance] = Sound()
        return sound

    def forget(self, utterance: int) -> None:
        """Nobody asks for it any more."""
        self._sounds.pop(utterance, None)

    def give_up(self, why: str) -> bool:
        """Wait no longer for the synthesizer that is at work; false when none is."""
        return self._instead.give_up(why)

    async def make(self, order: Order, deadline: Deadline, ear: Ear) -> Outcome:
        """Speak one utterance."""
        sound = self._sounds.pop(order.utterance, None)
        return await (self._instead.make(order, deadline, ear) if sound is None else sound.play(ear))


class Probe:
    """Listens to the sound of a session, and holds its very beginning back until it is known to be no noise."""

    def __init__(self) -> None:
        self._detector = StaticDetector()
        self._held = bytearray()
        self._open = False

    def take(self, audio: bytes) -> bytes:
        """The next sound of the model; gives what may be played. Raises `StaticOnLine` when it is noise."""
        if self._detector.push(audio):
            raise StaticOnLine(
                "what it says is noise: its audio is not in the agreed format", operation="talk"
            )
        if self._open:
            return audio
        self._held += audio
        return self.end() if len(self._held) >= PROBED else b""

    def end(self) -> bytes:
        """The sound is complete: what was held back of it."""
        self._open = self._open or bool(self._held)
        held = bytes(self._held)
        self._held.clear()
        return held


class StaticOnLine(VendorError):
    """Audio is noise: its format is not the agreed one."""
