"""What call audio is: raw mu-law, 8000 Hz, one channel, one byte a sample; 160 bytes are a frame of 20 ms."""

from dataclasses import dataclass
from typing import Final

SAMPLE_RATE: Final = 8000
"""Hz; with mu-law also bytes per second."""
FRAME_MS: Final = 20
FRAME_BYTES: Final = 160
ULAW_SILENCE: Final = b"\xff"
"""One sample of silence: mu-law codes zero as 0xFF."""

_SAMPLE_BYTES: Final = {"mulaw": 1, "alaw": 1, "s16le": 2}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio bytes are to be read; the default is the call audio of this package.

    Args:
        encoding: `mulaw`, `alaw` or `s16le` (signed 16 bit, little endian).
        sample_rate: Hz.
        channels: Interleaved channels.

    Raises:
        ValueError: The encoding is another word, or a number is not positive.
    """

    encoding: str = "mulaw"
    sample_rate: int = SAMPLE_RATE
    channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in _SAMPLE_BYTES:
            raise ValueError(f"unknown encoding {self.encoding!r}; known are {', '.join(_SAMPLE_BYTES)}")
        if self.sample_rate <= 0 or self.channels <= 0:
            raise ValueError("sample rate and channels must be positive")

    @property
    def bytes_per_second(self) -> int:
        """Bytes that one second takes."""
        return _SAMPLE_BYTES[self.encoding] * self.sample_rate * self.channels

    def seconds(self, nbytes: int) -> float:
        """How long `nbytes` of this format last."""
        return nbytes / self.bytes_per_second


class Rechunker:
    """Cuts a stream of pieces of any size into pieces of one size.

    Args:
        size: Bytes of each piece given out.

    Raises:
        ValueError: `size` is not positive.
    """

    def __init__(self, size: int) -> None:
        if size <= 0:
            raise ValueError("the size of a piece must be positive")
        self._size = size
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes taken and not yet given out."""
        return len(self._rest)

    def push(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return every piece that is now whole."""
        size = self._size
        if self._rest:
            data = self._rest + data
        elif len(data) == size:
            return [data]
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def flush(self) -> bytes:
        """Give out what is left, less than one piece and maybe nothing."""
        rest, self._rest = self._rest, b""
        return rest


def seconds(nbytes: int) -> float:
    """How long `nbytes` of call audio last."""
    return nbytes / SAMPLE_RATE


def silence(ms: float) -> bytes:
    """Call audio without sound, `ms` milliseconds long to the nearest sample."""
    return ULAW_SILENCE * round(ms * SAMPLE_RATE / 1000)
