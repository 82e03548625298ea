"""Sound that says whose it is: every 20 ms are a tone that stands for one symbol.

So the vendor that hears an utterance knows which call and turn it is of, and the telephone that hears an answer knows
which question it belongs to, whatever the service has mixed up in between. Loudness rises and falls as syllables do,
because detectors of speech take an even tone for what it is.
"""

import base64
import math
from collections import Counter
from collections.abc import Iterator

RATE, FRAME = 8000, 160
FRAME_MS = 20
FRAMES = 75
"""Of an utterance: 1.5 s."""

_BASE, _SYNC = 16, 16
_FIELDS = 7
"""Symbols of a number: the mark that begins it, three of the call, two of the turn, and a check."""
_LOWEST_HZ, _STEP_HZ = 400, 150
_LOUD = 400
"""A sample above this is loud, about -38 dBFS; a frame is, when a quarter of its samples are."""
_OFFSETS = range(0, FRAME, 8)
CALLS, TURNS = _BASE**3, _BASE**2
"""How many numbers there are."""


def _decode(code: int) -> int:
    inverted = ~code & 0xFF
    value = (((inverted & 0x0F) << 3) + 0x84) << ((inverted & 0x70) >> 4)
    return 0x84 - value if inverted & 0x80 else value - 0x84


def _encode(sample: int) -> int:
    biased = min(abs(sample), 32635) + 0x84
    exponent = biased.bit_length() - 8
    return ~((0x80 if sample < 0 else 0) | (exponent << 4) | ((biased >> (exponent + 3)) & 0x0F)) & 0xFF


_IS_LOUD = bytes(abs(_decode(code)) > _LOUD for code in range(256))
_IS_POSITIVE = bytes(code >> 7 for code in range(256))


def is_loud(audio: bytes) -> bool:
    """Whether mu-law audio can be heard."""
    return audio.translate(_IS_LOUD).count(1) * 4 >= len(audio)


def _tone(symbol: int, place: int) -> bytes:
    pitch = 2 * math.pi * (_LOWEST_HZ + _STEP_HZ * symbol) / RATE
    samples = []
    for index in range(FRAME):
        time = (place * FRAME + index) / RATE
        syllable = 0.55 + 0.45 * math.cos(2 * math.pi * 5 * time)
        flutter = 0.4 + 0.6 * (0.5 + 0.5 * math.sin(2 * math.pi * 23 * time))
        samples.append(_encode(round(12000 * syllable * flutter * math.sin(pitch * index))))
    return bytes(samples)


_TONES = [[_tone(symbol, place) for place in range(FRAMES)] for symbol in range(_BASE + 1)]
_PAYLOADS = [[base64.b64encode(frame) for frame in tones] for tones in _TONES]
SILENCE = base64.b64encode(b"\xff" * FRAME)
"""A silent frame as a message carries it."""


def _symbols(call: int, turn: int) -> list[int]:
    digits = [call // 256 % 16, call // 16 % 16, call % 16, turn // 16 % 16, turn % 16]
    return [_SYNC, *digits, _check(digits)]


def _check(digits: list[int]) -> int:
    return sum((place + 3) * digit for place, digit in enumerate(digits)) % _BASE


def utterance(call: int, turn: int) -> list[bytes]:
    """What a caller says, frame by frame, each in base64."""
    symbols = _symbols(call, turn)
    return [_PAYLOADS[symbols[place % _FIELDS]][place] for place in range(FRAMES)]


def speech(frames: int, number: tuple[int, int] | None) -> bytes:
    """What an agent says, with a number or without one, so many frames of it."""
    symbols = _symbols(*number) if number else [_SYNC]
    return b"".join(_TONES[symbols[place % len(symbols)]][place % FRAMES] for place in range(frames))


def number_in(audio: bytes) -> tuple[int, int] | None:
    """Call and turn that sound tells most often; None where it tells none. Frames may begin anywhere."""
    best: Counter[tuple[int, int]] = Counter()
    for offset in _OFFSETS:
        heard = [_symbol(audio[at : at + FRAME]) for at in range(offset, len(audio) - FRAME + 1, FRAME)]
        for number, times in Counter(_numbers(heard)).items():
            best[number] = max(best[number], times)
        if offset == 0 and len(best) == 1 and best.total() > 1:
            break  # mostly frames are where they are looked for first
    return best.most_common(1)[0][0] if best else None


def _numbers(heard: list[int]) -> Iterator[tuple[int, int]]:
    for at in range(len(heard) - _FIELDS + 1):
        if heard[at] != _SYNC:
            continue
        digits = heard[at + 1 : at + _FIELDS - 1]
        if all(0 <= digit < _BASE for digit in digits) and heard[at + _FIELDS - 1] == _check(digits):
            yield digits[0] * 256 + digits[1] * 16 + digits[2], digits[3] * 16 + digits[4]


def _symbol(frame: bytes) -> int:
    """The symbol of a frame, by how often it changes its sign; -1 for none."""
    if not is_loud(frame):
        return -1
    signs = frame.translate(_IS_POSITIVE)
    changes = signs.count(b"\x00\x01") + signs.count(b"\x01\x00")
    lowest, step = _LOWEST_HZ * FRAME_MS / 500, _STEP_HZ * FRAME_MS / 500
    symbol = round((changes - lowest) / step)
    return symbol if abs(lowest + step * symbol - changes) <= 2 else -1
