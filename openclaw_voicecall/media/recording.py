"""Both sides of a call on one timeline, as two-channel sound."""

import struct
from typing import Final

from openclaw_voicecall.media.audio import SAMPLE_RATE, ULAW_SILENCE
from openclaw_voicecall.media.g711 import audioop

SNAP_SECONDS: Final = 0.04
"""Audio that starts less than this off the end of what came before continues it: that is jitter, not a pause."""
MAX_AHEAD_SECONDS: Final = 120.0
"""Audio placed further than this after the last sample taken is dropped, so a wrong time cannot eat the memory."""


class _Track:
    """One channel: mu-law samples from the last taken one on."""

    def __init__(self) -> None:
        self.samples = bytearray()
        self.end: int | None = None
        """The sample after the newest audio, from the beginning of the recording; None without any yet."""

    def put(self, start: float, audio: bytes, taken: int) -> int:
        """Place audio, and return how many samples of it cannot be placed any more."""
        at = round(start * SAMPLE_RATE)
        if self.end is not None and abs(at - self.end) < SNAP_SECONDS * SAMPLE_RATE:
            at = self.end
        self.end = at + len(audio)
        late = min(max(taken - at, 0), len(audio))
        begin = at + late - taken
        room = max(0, round(MAX_AHEAD_SECONDS * SAMPLE_RATE) - begin)
        placed = audio[late : late + room]
        if placed:
            if begin > len(self.samples):
                self.samples += ULAW_SILENCE * (begin - len(self.samples))
            self.samples[begin : begin + len(placed)] = placed
        return len(audio) - len(placed)

    def cut(self, at: int, taken: int) -> None:
        del self.samples[max(0, at - taken) :]
        if self.end is not None:
            self.end = min(self.end, at)

    def take(self, count: int) -> bytes:
        audio = bytes(self.samples[:count])
        del self.samples[:count]
        return audio + ULAW_SILENCE * (count - len(audio))


class StereoRecorder:
    """Places both parties' audio by its time and gives it out as stereo: left the caller, right the agent.

    Times are seconds since the recording began. Within a party, audio that starts where the last ended, give or take
    less than 40 ms, continues it without a gap or an overlap; beyond that it is placed at its own time, over
    what was there. Give the carrier's timestamps rather than times of arrival: frames that arrive in a bunch
    would otherwise overwrite each other. Memory holds what was not taken yet, so take regularly.
    """

    def __init__(self) -> None:
        self._caller = _Track()
        self._agent = _Track()
        self._taken = 0
        self.dropped = 0
        """Samples that came too late, after their time was taken, or were placed absurdly far ahead."""

    @property
    def taken(self) -> float:
        """Seconds of the recording given out so far."""
        return self._taken / SAMPLE_RATE

    def caller(self, start: float, audio: bytes) -> None:
        """Place caller audio, mu-law."""
        self.dropped += self._caller.put(start, audio, self._taken)

    def agent(self, start: float, audio: bytes) -> None:
        """Place agent audio, mu-law; `start` is when the carrier plays it and may lie in the near future."""
        self.dropped += self._agent.put(start, audio, self._taken)

    def clear_agent(self, at: float) -> None:
        """Drop agent audio at and after this time: the carrier was told to clear it."""
        self._agent.cut(round(at * SAMPLE_RATE), self._taken)

    def take(self, until: float) -> bytes:
        """Interleaved s16le stereo of everything before `until` that was not taken yet; gaps are silence."""
        count = round(until * SAMPLE_RATE) - self._taken
        if count <= 0:
            return b""
        self._taken += count
        left = audioop.ulaw2lin(self._caller.take(count), 2)
        right = audioop.ulaw2lin(self._agent.take(count), 2)
        return audioop.add(audioop.tostereo(left, 2, 1, 0), audioop.tostereo(right, 2, 0, 1), 2)


def wav_header(data_bytes: int, channels: int = 2, rate: int = SAMPLE_RATE, bits: int = 16) -> bytes:
    """The 44 bytes before PCM data in a WAV file; sizes beyond 4 GiB are given as the largest there is."""
    block = channels * bits // 8
    limit = 0xFFFFFFFF
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        min(36 + data_bytes, limit),
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate,
        rate * block,
        block,
        bits,
        b"data",
        min(data_bytes, limit),
    )
