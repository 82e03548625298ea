"""Lines as they are outside of a laboratory: noises, echoes of the agent's own voice, and an ear that hears through."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.testing.emulators.twilio import Person

RATE = 8000
FULL_SCALE = 32768.0
KEY = 1600
"""Samples by which an ear knows the beginning of a text: 200 ms."""
CHUNK = 160
"""Samples of which an ear says whether they are there: 20 ms."""
KEPT = 64
"""Utterances that an ear knows where it is in them."""
LOOP = 8 * RATE
"""Samples after which a noise begins again."""
TAPS = np.array([1.0, -0.6, 0.25, 0.0, 0.15, -0.1])
"""What the telephone does to the agent's voice on its way round: thinner, and with an edge."""

Wave = Any
"""Samples as floats, full scale being 32768."""


def wave_of(audio: bytes) -> Wave:
    """The samples of mu-law audio."""
    return np.frombuffer(ulaw_to_pcm(bytes(audio)), "<i2").astype(float)


def audio_of(wave: Wave) -> bytes:
    """Mu-law audio of samples."""
    return pcm_to_ulaw(np.clip(wave, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())


def at_level(wave: Wave, dbfs: float) -> Wave:
    """The same, as loud as told on average."""
    return wave * (FULL_SCALE * 10 ** (dbfs / 20) / np.sqrt(np.mean(wave**2)))


def hiss(seed: int = 1) -> Wave:
    """The noise of a bad line, or of a fan."""
    return np.random.default_rng(seed).normal(0, 1, LOOP)


def car(seed: int = 2) -> Wave:
    """A car: a low rumble that swells and ebbs, and the road."""
    source = np.random.default_rng(seed)
    rumble = np.convolve(source.normal(0, 1, LOOP), np.ones(16) / 4, "same")
    swell = np.interp(np.arange(LOOP), np.arange(0, LOOP + 1, LOOP // 10), source.uniform(0.7, 1.3, 11))
    return (rumble + source.normal(0, 0.4, LOOP)) * swell


def hum(seed: int = 3) -> Wave:
    """The mains."""
    time = np.arange(LOOP) / RATE
    tones = sum(np.sin(2 * np.pi * 100 * harmonic * time) / harmonic for harmonic in (1, 2, 3))
    return tones + np.random.default_rng(seed).normal(0, 0.02, LOOP)


def music(seed: int = 4) -> Wave:
    """Music on hold: plucked notes, four a second."""
    source, notes = np.random.default_rng(seed), []
    time = np.arange(RATE // 4) / RATE
    for _ in range(LOOP * 4 // RATE):
        pitch = 220 * 2 ** (source.integers(0, 20) / 12)
        notes.append(
            sum(np.sin(2 * np.pi * pitch * part * time) * np.exp(-5 * part * time) for part in (1, 2, 3))
        )
    return np.concatenate(notes)


def cough(seed: int = 5) -> bytes:
    """Two rough bursts without a voice."""
    source = np.random.default_rng(seed)
    burst = source.normal(0, 1, 1400) * np.exp(-np.arange(1400) / 500)
    gap = np.zeros(700)
    return audio_of(at_level(np.concatenate([burst, gap, burst]), -18))


@dataclass
class Room:
    """What the microphone of a telephone hears besides its owner.

    Args:
        phone: Whose telephone it is.
        noise: What sounds around it, over and over; nothing if None.
        dbfs: How loud.
        since: Seconds after the answer at which it sets in.
        echo: By how many decibels what is heard comes back quieter; None for not at all.
        delay: Seconds after which it does.
    """

    phone: Person
    noise: Wave | None = None
    dbfs: float = -40.0
    since: float = 0.0
    until: float = 1e9
    echo: float | None = None
    delay: float = 0.1
    _sound: Wave = field(init=False)

    def __post_init__(self) -> None:
        self._sound = None if self.noise is None else at_level(self.noise, self.dbfs)

    def __call__(self, start: int, voice: bytes) -> bytes:
        count = len(voice)
        if self._sound is None and self.echo is None:
            return voice
        wave = wave_of(voice)
        if self._sound is not None:
            at = np.arange(start, start + count)
            audible = (at >= self.since * RATE) & (at < self.until * RATE)
            wave = wave + self._sound[at % LOOP] * audible
        if self.echo is not None:
            wave = wave + self._echo_of(start, count)
        return audio_of(wave)

    def _echo_of(self, start: int, count: int) -> Wave:
        end = start + count - round(self.delay * RATE)
        begin = end - count - len(TAPS) + 1
        heard = bytes(self.phone.heard[max(0, begin) : max(0, end)])
        back = np.zeros(count + len(TAPS) - 1)
        if heard:
            back[-len(heard) :] = wave_of(heard)
        return np.convolve(back, TAPS, "valid") * 10 ** (-self.echo / 20)


@dataclass
class _Stream:
    """What the ear has found in one utterance so far."""

    searched: int = 0
    found: dict[str, int] = field(default_factory=dict)
    """Texts, each with the sample at which it begins."""
    there: dict[str, set[int]] = field(default_factory=dict)
    """Which 20 ms pieces of each were heard."""


class Ear:
    """A transcriber that knows what may be said, and hears it through noise, also when it is an echo.

    It compares with the sound of each text. What lies below `threshold` it does not hear, as no recogniser does.

    Args:
        threshold: dBFS of a voice that is just heard.
    """

    def __init__(self, threshold: float = -50.0) -> None:
        self._least = FULL_SCALE * 10 ** (threshold / 20)
        self._texts: dict[str, Wave] = {}
        self._levels: dict[str, float] = {}
        self._spectra: dict[tuple[str, int, int], Any] = {}
        self._streams: dict[bytes, _Stream] = {}
        """By the audio that was searched last; the newest at the end."""

    def learn(self, text: str, audio: bytes) -> bytes:
        """Know this text by this sound."""
        wave = wave_of(audio)
        self._texts[text], self._levels[text] = _sharp(wave), float(np.sqrt(np.mean(wave**2)))
        return audio

    async def __call__(self, audio: bytes) -> str:
        """The words in the audio of an utterance; asked again and again while it grows."""
        wave = _sharp(wave_of(audio))
        before = next((known for known in reversed(self._streams) if audio.startswith(known)), None)
        stream = self._streams.pop(before) if before is not None else _Stream()
        self._streams[audio] = stream
        while len(self._streams) > KEPT:
            del self._streams[next(iter(self._streams))]
        self._search(stream, wave)
        return " ".join(
            words
            for text, begin in sorted(stream.found.items(), key=lambda item: item[1])
            if (words := self._words(stream, text, begin, wave))
        )

    def _search(self, stream: _Stream, wave: Wave) -> None:
        """Find where texts begin in what was not searched yet, by their first sounds, or by later ones."""
        begin = max(0, stream.searched - KEY)
        window = wave[begin:]
        if len(window) < KEY:
            return
        stream.searched = max(0, len(wave) - KEY)
        size = 1 << (len(window) + KEY - 1).bit_length()
        spectrum = np.fft.rfft(window, size)
        for text, part in self._parts():
            if text in stream.found:
                continue
            key = self._texts[text][part : part + KEY]
            match = np.fft.irfft(spectrum * self._spectrum(text, part, size), size)[: len(window) - KEY + 1]
            at = int(np.argmax(np.abs(match)))
            if self._is_there(window[at : at + KEY], key, self._levels[text], 0.25):
                stream.found[text] = begin + at - part

    def _parts(self) -> Iterator[tuple[str, int]]:
        """Texts, each with the places in its first half second that it is known by."""
        for text, sound in self._texts.items():
            for part in range(0, min(len(sound) - KEY + 1, RATE // 2), 1200):
                yield text, part

    def _spectrum(self, text: str, part: int, size: int) -> Any:
        known = text, part, size
        if known not in self._spectra:
            self._spectra[known] = np.conj(np.fft.rfft(self._texts[text][part : part + KEY], size))
        return self._spectra[known]

    def _words(self, stream: _Stream, text: str, begin: int, wave: Wave) -> str:
        sound, there = self._texts[text], stream.there.setdefault(text, set())
        total = len(sound) // CHUNK
        for chunk in range(total):
            at = begin + chunk * CHUNK
            if chunk in there or at < 0 or at + CHUNK > len(wave):
                continue
            key = sound[chunk * CHUNK : (chunk + 1) * CHUNK]
            if self._is_there(wave[at : at + CHUNK], key, self._levels[text], 0.3):
                there.add(chunk)
        position, words = 0, []
        for word in text.split():
            first = text.index(word, position)
            position = first + len(word)
            span = range(
                first * total // len(text), max(position * total // len(text), first * total // len(text) + 1)
            )
            if sum(chunk in there for chunk in span) * 2 >= len(span):
                words.append(word)
        return " ".join(words)

    def _is_there(self, piece: Wave, key: Wave, level: float, alike: float) -> bool:
        """Whether a piece holds this sound, loud enough to be heard. `level` is that of the whole text."""
        power = float(np.dot(key, key))
        if not power:
            return False
        factor = float(np.dot(piece, key)) / power
        likeness = factor * np.sqrt(power) / np.sqrt(float(np.dot(piece, piece)) + 1.0)
        return likeness >= alike and factor * level >= self._least


def _sharp(wave: Wave) -> Wave:
    """A wave with its hiss brought out, which is different in every voice, and its hum, which is not, taken away."""
    return np.diff(wave, n=2, prepend=[0.0, 0.0]) / 2.5
