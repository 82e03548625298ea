"""DTMF digits as tones in the agent's own audio, for carriers that take none beside a media stream."""

from openclaw_voicecall.media.audio import seconds, silence
from openclaw_voicecall.media.tones import dtmf_tone

TONE_MS = 120
"""A key's tone; receivers need 40 ms (ITU-T Q.24), and voice codecs on the way eat into it."""
GAP_MS = 80
"""Silence between two keys."""
PAUSES_MS = {"w": 500, "W": 1000}
"""Pauses between keys, as carriers write them."""
HEARD = 0.06
"""Seconds of a tone after which the far side has taken it for a key, so that it must not come again."""


class ToneQueue:
    """Which keys are on their way on one call, so that none is lost or doubled when the carrier's buffer is cleared."""

    def __init__(self) -> None:
        self._on_their_way: list[tuple[str, float]] = []
        """Each key with the monotonic time at which it begins to sound."""

    def add(self, digits: str, starts: float) -> bytes:
        """The mu-law audio of these keys, which the carrier begins to play at `starts`."""
        audio = bytearray()
        for digit in digits:
            self._on_their_way.append((digit, starts + seconds(len(audio))))
            if digit in PAUSES_MS:
                audio += silence(PAUSES_MS[digit])
            else:
                audio += dtmf_tone(digit.upper(), TONE_MS) + silence(GAP_MS)
        return bytes(audio)

    def take_unheard(self, now: float) -> str:
        """The buffer was cleared: the keys that have not sounded, which have to be sent again."""
        unheard = "".join(digit for digit, starts in self._on_their_way if starts + HEARD > now)
        self._on_their_way.clear()
        return unheard
