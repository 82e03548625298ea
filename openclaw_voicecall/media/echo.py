"""Our own voice that comes back from the far end: told from a caller's voice by how loud it can be at most.

Telephones and telephone lines send a part of what is played into them back, 10 to 50 dB quieter and up to some tenths
of a second later. Whoever takes that for a caller silences the agent with its own words, again and again.

For every delay that an echo may have, the gate keeps the loudest echo that fits all that was heard so far: what comes
back is never louder than what is heard. A line without an echo shows so within the agent's first word, and from then on
every sound on it is the caller's. On a line with one, what is heard while the agent speaks counts as an echo where it
is no louder than the loudest that fits, and is turned down to the noise of the line before anybody listens to it.

Times only tell how what is played lies to what is heard; all the delay of the network is in it. Takes 18 microseconds
for 20 ms while the agent speaks and shortly after, 1 otherwise.
"""

import math
from collections import deque
from typing import Any, Final

import numpy as np

from openclaw_voicecall.media.audio import FRAME_BYTES, FRAME_MS, SAMPLE_RATE
from openclaw_voicecall.media.g711 import audioop
from openclaw_voicecall.media.level import rms_dbfs

LONGEST_DELAY: Final = 1.2
"""Seconds from when we reckon that the carrier plays something until its echo is here: the network twice, the jitter
buffers in it, and the echo's own way."""

_SLOT: Final = FRAME_MS / 1000
_LAGS: Final = round(LONGEST_DELAY / _SLOT)
_QUIET: Final = -96.0
_LOUD: Final = -45.0
"""What we play tells something about its echo only where it is louder than this."""
_FIRST_GAIN: Final = -20.0
"""The loudest echo that is believed in before anything was heard, in decibels against what was played."""
_LOUDEST_GAIN: Final = -14.0
"""Whoever is louder than such an echo is heard on any line."""
_LEAST_GAIN: Final = -50.0
_MARGIN: Final = 6.0
"""Decibels by which an echo may be louder than reckoned: lines colour it."""
_FALL: Final = 0.25
"""How fast the reckoning follows an echo that is quieter than reckoned: parts of the difference a frame."""
_RISE: Final = 0.12
"""Decibels a frame by which it rises otherwise."""
_SPREAD: Final = 3
"""Frames by which the delay of an echo may differ from the one that was learned."""
_SPREAD_EVERY: Final = 5
_FORGIVEN: Final = 10.0
"""Decibels by which it rises when the agent fell silent for nothing."""
_CERTAIN: Final = 12.0
"""Decibels above the loudest echo that make a voice, summed up over frames."""
_DOUBTFUL: Final = 4.0
"""Decibels above the loudest echo from which on a frame is left as it is, although it makes no voice alone."""
_HOLD: Final = 12
"""Frames for which a voice is heard on through its own gaps."""
_FLOOR_FRAMES: Final = 100
_INAUDIBLE: Final = -58.0
_JUMP: Final = 0.2
_DRIFT: Final = 0.005


class EchoGate:
    """Takes the agent's echo out of one call's caller audio.

    Args:
        lead: Seconds that audio may be announced ahead.
    """

    def __init__(self, *, lead: float = 1.0) -> None:
        self._size = _LAGS + math.ceil((lead + 2.0) / _SLOT)
        # Written twice, so that any stretch of it lies in one piece.
        self._played: Any = np.full(2 * self._size, _QUIET)
        self._written = -1
        """The last slot of 20 ms, counted from the clock's zero, that is up to date."""
        self._sounded = -self._size
        """The last slot in which something was played."""
        self._gain: Any = np.full(_LAGS, _FIRST_GAIN)
        self._reach: Any = self._gain.copy()
        """The gain of a delay, or of one near it."""
        self._top = _FIRST_GAIN
        """The highest of these."""
        self._peak = _QUIET
        """The loudest that was ever played."""
        self._learned = 0
        self._time = -math.inf
        self._levels: deque[float] = deque(maxlen=_FLOOR_FRAMES)
        self._evidence = 0.0
        self._open = 0
        self.removed = 0
        """Frames that were taken for an echo."""

    def played(self, audio: bytes, starts: float) -> None:
        """Mu-law audio that the carrier begins to play at this time, in seconds of the caller's clock."""
        slot = round(starts / _SLOT)
        self._advance(slot - 1)
        for at in range(0, len(audio), FRAME_BYTES):
            level = rms_dbfs(audio[at : at + FRAME_BYTES])
            self._peak = max(self._peak, level)
            self._write(slot, level)
            if level > _LOUD:
                self._sounded = max(self._sounded, slot)
            slot += 1
        self._written = max(self._written, slot - 1)

    def silenced(self, now: float) -> None:
        """Nothing of what was announced is played from now on."""
        first = round(now / _SLOT)
        for slot in range(max(first, self._written - self._size + 1), self._written + 1):
            self._write(slot, _QUIET)
        self._sounded = min(self._sounded, first - 1)

    def forgive(self) -> None:
        """What was taken for the caller was none: the echo may have become louder."""
        self._gain = np.minimum(self._gain + _FORGIVEN, np.maximum(self._gain, _FIRST_GAIN))
        self._spread()

    def clean(self, audio: bytes, now: float) -> bytes:
        """Caller audio that has just come, its echo turned down; as long as what was given."""
        if len(audio) == FRAME_BYTES:
            return self._clean(audio, now)
        out = []
        for at in range(0, len(audio), FRAME_BYTES):
            frame = audio[at : at + FRAME_BYTES]
            out.append(self._clean(frame, now - (len(audio) - at - len(frame)) / SAMPLE_RATE))
        return b"".join(out)

    def _clean(self, frame: bytes, now: float) -> bytes:
        level = rms_dbfs(frame)
        self._levels.append(level)
        slot = self._slot(now)
        if slot - self._sounded >= _LAGS:
            # A voice that was heard while nothing played says nothing about what comes back next.
            self._open, self._evidence = 0, 0.0
        elif self._is_echo(level, slot):
            self.removed += 1
            return self._turned_down(frame, level)
        return frame

    def _slot(self, now: float) -> int:
        """The slot of a frame that has just come: frames that come late belong where they would have come in time."""
        expected = self._time + _SLOT
        late = now - expected
        self._time = now if not 0.0 <= late < _JUMP else expected + _DRIFT * late
        return round(self._time / _SLOT)

    def _is_echo(self, level: float, slot: int) -> bool:
        if self._peak + self._top < _INAUDIBLE:
            self._open, self._evidence = 0, 0.0
            return False
        self._advance(slot)
        first = (slot - _LAGS + 1) % self._size
        played = self._played[first : first + _LAGS]
        echo = played + self._reach
        loudest = float(echo[echo.argmax()])
        if loudest < _INAUDIBLE:
            self._open, self._evidence = 0, 0.0
            return False
        excess = level - loudest - _MARGIN
        if excess < 0:
            self._learn(level - self._gain - played)
        if self._open:
            self._open = _HOLD if excess > 0 else self._open - 1
            return False
        self._evidence = max(0.0, self._evidence + min(excess, _CERTAIN))
        if self._evidence < _CERTAIN:
            # A voice begins with a single frame, and one of an echo does no harm.
            return excess < _DOUBTFUL
        self._open, self._evidence = _HOLD, 0.0
        return False

    def _learn(self, louder: Any) -> None:
        """Follow what is heard; `louder` is by how much that is more than reckoned for each delay."""
        np.minimum(louder, 0.0, out=louder)
        louder *= _FALL
        louder += _RISE
        self._gain += louder
        self._learned += 1
        if self._learned % _SPREAD_EVERY == 0:
            self._spread()

    def _spread(self) -> None:
        """Each utterance may come back a little sooner or later than the last: carriers have buffers."""
        np.clip(self._gain, _LEAST_GAIN, _LOUDEST_GAIN, out=self._gain)
        padded = np.pad(self._gain, _SPREAD, constant_values=_LEAST_GAIN)
        self._reach = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SPREAD + 1).max(axis=1)
        self._top = float(self._reach.max())

    def _turned_down(self, frame: bytes, level: float) -> bytes:
        floor = min(self._levels)
        if level <= floor:
            return frame
        factor = 10.0 ** ((floor - level) / 20.0)
        return audioop.lin2ulaw(audioop.mul(audioop.ulaw2lin(frame, 2), 2, factor), 2)

    def _advance(self, slot: int) -> None:
        """Nothing is played in the slots up to this one that were not written."""
        for each in range(max(self._written + 1, slot - self._size + 1), slot + 1):
            self._write(each, _QUIET)
        self._written = max(self._written, slot)

    def _write(self, slot: int, level: float) -> None:
        index = slot % self._size
        self._played[index] = self._played[index + self._size] = level
