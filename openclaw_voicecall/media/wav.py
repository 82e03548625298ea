"""WAV files as telephony writes them: 16-bit PCM and G.711, one or more channels. Bytes in, samples out."""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openclaw_voicecall.errors import CodecError

Samples = NDArray[np.int16]
"""Linear 16-bit samples of one channel."""

_PCM: Final = 1
_A_LAW: Final = 6
_MU_LAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE


@dataclass(frozen=True, slots=True)
class Sound:
    """Decoded audio: sample rate in Hz and the samples of each channel, all of one length."""

    rate: int
    channels: tuple[Samples, ...]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.channels[0]) / self.rate


def decode_wav(data: bytes) -> Sound:
    """Decode a WAV file, also one that was cut off or whose writer never filled in the sizes.

    Raises:
        CodecError: It is no WAV file, or its encoding is not PCM 8/16 bit, A-law or mu-law.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise CodecError("not a WAV file: the RIFF/WAVE header is missing")
    layout: tuple[int, int, int, int] | None = None
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + size]
        if name == b"fmt ":
            layout = _layout(body)
        elif name == b"data":
            if layout is None:
                raise CodecError("not a WAV file: its samples come before their format")
            return _sound(body, *layout)
        position += 8 + size + size % 2
    raise CodecError("the WAV file holds no samples")


def encode_wav(rate: int, *channels: Samples) -> bytes:
    """A 16-bit PCM WAV file of these channels; shorter ones are filled with silence."""
    length = max(len(channel) for channel in channels)
    frames = np.zeros((length, len(channels)), dtype="<i2")
    for index, channel in enumerate(channels):
        frames[: len(channel), index] = channel
    body = frames.tobytes()
    width = 2 * len(channels)
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, len(channels), rate, rate * width, width, 16)
    riff = struct.pack("<4sI4s", b"RIFF", 4 + len(header) + 8 + len(body), b"WAVE")
    return riff + header + struct.pack("<4sI", b"data", len(body)) + body


def decode_ulaw(audio: bytes) -> Samples:
    """Linear samples of G.711 mu-law."""
    return _MU_LAW_TABLE[np.frombuffer(audio, dtype=np.uint8)]


def encode_ulaw(samples: Samples) -> bytes:
    """G.711 mu-law of linear samples; decoding it again gives the nearest of the 255 levels."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    code = ~(sign | exponent << 4 | mantissa) & 0xFF
    return bytes(code.astype(np.uint8))


def _layout(body: bytes) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise CodecError("the WAV file's format chunk is too short")
    encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if encoding == _EXTENSIBLE and len(body) >= 26:
        encoding = struct.unpack_from("<H", body, 24)[0]
    if not channels or not rate:
        raise CodecError("the WAV file names no channels or no sample rate")
    return encoding, channels, rate, bits


def _sound(body: bytes, encoding: int, channels: int, rate: int, bits: int) -> Sound:
    if encoding == _PCM and bits == 16:
        samples = np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.int16)
    elif encoding == _PCM and bits == 8:
        samples = ((np.frombuffer(body, dtype=np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
    elif encoding == _MU_LAW and bits == 8:
        samples = decode_ulaw(body)
    elif encoding == _A_LAW and bits == 8:
        samples = _A_LAW_TABLE[np.frombuffer(body, dtype=np.uint8)]
    else:
        raise CodecError(
            f"WAV encoding {encoding} with {bits} bits is not supported; use 16-bit PCM or G.711"
        )
    frames = samples[: len(samples) // channels * channels].reshape(-1, channels)
    return Sound(rate, tuple(np.ascontiguousarray(frames[:, index]) for index in range(channels)))


def _mu_law_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = code >> 4 & 7
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent > 0, (mantissa + 0x100) << np.maximum(exponent - 1, 0), mantissa)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_MU_LAW_TABLE = _mu_law_table()
_A_LAW_TABLE = _a_law_table()
