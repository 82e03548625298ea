"""What a synthesizer delivers of one utterance, judged by the ear: bytes are no sound."""

from typing import Final

from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.audio import FRAME_BYTES, seconds
from openclaw_voicecall.media.level import is_audible

VOID: Final = 0.7
"""Seconds of silence at the beginning of an utterance after which there is nothing in it."""
PAUSE: Final = 3.0
"""Seconds of silence in an utterance that are no pause of a speaker any more."""
SPOKEN: Final = 0.045
"""Seconds of sound a character takes at least: what lasts as long was said, and the silence after it is no loss."""
ENDLESS: Final = (10.0, 0.5)
"""Seconds, and seconds more for each character, that an utterance may last."""


class Delivery:
    """The audio of one utterance by one synthesizer.

    Args:
        text: What is to be spoken.
    """

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._held = bytearray()
        self._rest = b""
        self._sound = self._quiet = self._total = 0.0
        self.audible = False
        """Whether anything of it can be heard. Until then nothing is given out."""
        self.complete = False
        """Whether all of it was said, although more comes."""

    def take(self, audio: bytes) -> bytes:
        """Take the next mu-law audio of any size, and give what may be played.

        Raises:
            VendorError: There is no sound in it, or the sound stops or never ends.
        """
        self._total += seconds(len(audio))
        whole = self._rest + audio
        cut = len(whole) - len(whole) % FRAME_BYTES
        self._rest = whole[cut:]
        for at in range(0, cut, FRAME_BYTES):
            self._judge(whole[at : at + FRAME_BYTES])
        if self.audible:
            self._require_speech()
            out = bytes(self._held) + audio
            self._held.clear()
            return out
        self._held += audio
        if seconds(len(self._held)) >= VOID:
            raise VendorError("the audio is silent", operation="speak")
        return b""

    def end(self) -> bytes:
        """There is no more: what may still be played.

        Raises:
            VendorError: Nothing of it can be heard.
        """
        if self._rest:
            self._judge(self._rest)
        if self.audible:
            return bytes(self._held)
        why = "the audio is silent" if self._total else "the synthesizer gave no audio"
        raise VendorError(why, operation="speak")

    def _judge(self, frame: bytes) -> None:
        if is_audible(frame):
            self.audible = True
            self._quiet = 0.0
            self._sound += seconds(len(frame))
        else:
            self._quiet += seconds(len(frame))

    def _require_speech(self) -> None:
        fixed, for_each = ENDLESS
        if self._total > fixed + for_each * self._length:
            raise VendorError("the audio does not end", operation="speak")
        if self._quiet >= PAUSE:
            if self._sound < SPOKEN * self._length:
                raise VendorError("the audio falls silent", operation="speak")
            self.complete = True
