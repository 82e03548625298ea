"""The audio a phone makes and judges by itself: silence, noise, tones, loudness, WAV files.

All of it is raw G.711 mu-law, 8000 Hz, one byte a sample; a frame is 20 ms. It is written apart from the service's
own codec on purpose: a witness that shared its code would share its mistakes. There is no numpy here, because
importing it takes longer than the rest of the phone's start.
"""

import math
import random
import wave
from array import array
from collections.abc import Iterator
from functools import cache
from pathlib import Path

RATE = 8000
FRAME = 160
"""Samples, and bytes, of a frame."""
FRAME_SECONDS = FRAME / RATE
SILENCE = b"\xff" * FRAME

_FULL_SCALE = 32768.0
_DTMF_ROWS = (697, 770, 852, 941)
_DTMF_COLUMNS = (1209, 1336, 1477, 1633)
_DTMF_KEYS = "123A456B789C*0#D"


def _decode_byte(code: int) -> int:
    """One mu-law code as a 16-bit sample (ITU-T G.711, table 2)."""
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


_SAMPLES = array("h", (_decode_byte(code) for code in range(256)))
_SQUARES = tuple(float(sample) * sample for sample in _SAMPLES)


@cache
def _codes() -> bytes:
    """The mu-law code of every 14-bit sample, from -8192 up: G.711 keeps no more bits than that."""
    return bytes(_encode_sample(level << 2) for level in range(-8192, 8192))


def _encode_sample(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 0x84
    exponent = magnitude.bit_length() - 8
    return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0F)) & 0xFF


def decode(audio: bytes) -> "array[int]":
    """Mu-law as 16-bit samples."""
    return array("h", map(_SAMPLES.__getitem__, audio))


def encode(samples: "array[int]") -> bytes:
    """16-bit samples as mu-law."""
    codes = _codes()
    return bytes([codes[(sample >> 2) + 8192] for sample in samples])


def loudness(audio: bytes) -> float:
    """The level of mu-law audio in dBFS (RMS, full scale sine is -3), -100 for silence."""
    if not audio:
        return -100.0
    power = sum(map(_SQUARES.__getitem__, audio)) / len(audio)
    return max(-100.0, 10 * math.log10(power / _FULL_SCALE**2)) if power else -100.0


def mix(audio: bytes, samples: "array[int]") -> bytes:
    """Add samples to mu-law audio of the same length, clipping what gets too loud."""
    return encode(
        array("h", (max(-32768, min(32767, a + b)) for a, b in zip(decode(audio), samples, strict=True)))
    )


def noise_frames(dbfs: float, seed: int = 0) -> "Iterator[array[int]]":
    """Endless white noise of a level, frame by frame: three seconds of it, over and over."""
    source = random.Random(seed)
    scale = _FULL_SCALE * 10 ** (dbfs / 20)
    frames = [
        array("h", (max(-32768, min(32767, round(source.gauss(0.0, scale)))) for _ in range(FRAME)))
        for _ in range(150)
    ]
    while True:
        yield from frames


def tone(frequencies: tuple[float, ...], seconds: float, dbfs: float = -12.0) -> bytes:
    """A tone of one or more frequencies in Hz. `dbfs` is the level of each."""
    peak = _FULL_SCALE * 10 ** (dbfs / 20) * math.sqrt(2)
    steps = [2 * math.pi * frequency / RATE for frequency in frequencies]
    return encode(
        array(
            "h",
            (
                max(-32768, min(32767, round(sum(peak * math.sin(step * n) for step in steps))))
                for n in range(round(seconds * RATE))
            ),
        )
    )


def dtmf_tone(digit: str, seconds: float = 0.1) -> bytes:
    """The two tones of a key."""
    row, column = divmod(_DTMF_KEYS.index(digit), 4)
    return tone((_DTMF_ROWS[row], _DTMF_COLUMNS[column]), seconds, -16.0)


def read_audio(path: Path) -> bytes:
    """The mu-law audio of a file: raw `.ulaw`, or a WAV file of 8000 Hz, one channel, 16-bit PCM.

    Raises:
        ValueError: The file cannot be read or holds something else; the text says what is needed.
    """
    try:
        if path.suffix == ".ulaw":
            audio = path.read_bytes()
            if audio[:4] == b"RIFF":
                raise ValueError(f"{path} is a WAV file; name it .wav")
            return audio
        with wave.open(str(path), "rb") as file:
            shape = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            if shape != (RATE, 1, 2):
                raise ValueError(
                    f"{path} must be 8000 Hz, one channel, 16-bit: sox IN -r 8000 -c 1 -b 16 OUT"
                )
            samples = array("h")
            samples.frombytes(file.readframes(file.getnframes()))
            return encode(samples)
    except (OSError, EOFError, wave.Error) as error:
        raise ValueError(f"{path} cannot be read as audio: {error}") from error


def write_recording(path: Path, said: bytes, heard: bytes) -> None:
    """Write both directions of a line as a stereo WAV file, 16-bit: left what was said, right what was heard."""
    length = max(len(said), len(heard))
    both = array("h", bytes(4 * length))
    both[0 : 2 * len(said) : 2] = decode(said)
    both[1 : 2 * len(heard) : 2] = decode(heard)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(both.tobytes())
