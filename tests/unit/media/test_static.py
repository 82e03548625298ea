"""Noise that a wrong audio format makes, and everything on a telephone line that is not that."""

import base64
import random
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.g711 import audioop, pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.static import StaticDetector
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.unit

RATE = 8000
SPEECH = {
    path.stem: path.read_bytes()
    for path in sorted((Path(__file__).parents[2] / "data" / "speech-asterisk").glob("*.ulaw"))
}
AUDIBLE = 32768 * 10 ** (-45 / 20)


def frames(audio):
    return [audio[at : at + 160] for at in range(0, len(audio) - 159, 160)]


def told_after(audio):
    """Milliseconds of sound until it is told that this is noise; None if it is not."""
    detector, sound = StaticDetector(), 0
    for frame in frames(audio):
        sound += 20 * (audioop.rms(ulaw_to_pcm(frame), 2) >= AUDIBLE)
        if detector.push(frame):
            return sound
    return None


def louder(audio, db):
    return pcm_to_ulaw(audioop.mul(ulaw_to_pcm(audio), 2, 10 ** (db / 20)))


def at_level(wave, dbfs):
    """A wave at a level against full scale, as mu-law."""
    wave = np.asarray(wave, dtype=float)
    scaled = wave / np.sqrt(np.mean(wave**2)) * 32768 * 10 ** (dbfs / 20)
    return pcm_to_ulaw(np.clip(scaled, -32768, 32767).astype("<i2").tobytes())


def tones(*pitches, seconds=2.0):
    at = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * pitch * at) for pitch in pitches)


def music(seed):
    """Chords with harmonics that fade, and a drum on every beat."""
    source, beats = np.random.default_rng(seed), []
    at = np.arange(RATE // 2) / RATE
    for _ in range(6):
        chord = sum(
            np.sin(2 * np.pi * pitch * harmonic * at) / harmonic
            for pitch in source.uniform(100, 800, 3)
            for harmonic in range(1, 5)
        )
        beats.append(chord * np.exp(-3 * at) + 2 * source.normal(0, 1, len(at)) * np.exp(-30 * at))
    return np.concatenate(beats)


WRONG = {
    "PCM of 8 kHz as mu-law": ulaw_to_pcm,
    "PCM of 24 kHz as mu-law": lambda audio: audioop.ratecv(ulaw_to_pcm(audio), 2, 1, 8000, 24000, None)[0],
    "swapped PCM as mu-law": lambda audio: audioop.byteswap(ulaw_to_pcm(audio), 2),
    "mu-law as PCM of 8 kHz": lambda audio: pcm_to_ulaw(even(audio)),
    "mu-law as PCM of 16 kHz": lambda audio: pcm_to_ulaw(
        audioop.ratecv(even(audio), 2, 1, 16000, 8000, None)[0]
    ),
    "mu-law as PCM of 24 kHz": lambda audio: pcm_to_ulaw(
        audioop.ratecv(even(audio), 2, 1, 24000, 8000, None)[0]
    ),
    "mu-law as swapped PCM": lambda audio: pcm_to_ulaw(audioop.byteswap(even(audio), 2)),
    "compressed bytes as mu-law": lambda audio: zlib.compress(ulaw_to_pcm(audio), 9),
}


def even(audio):
    return audio[: len(audio) // 2 * 2]


@pytest.mark.parametrize("wrong", WRONG)
def test_speech_in_a_wrong_format_is_told_within_a_fifth_of_a_second_of_sound(wrong):
    told = {name: told_after(WRONG[wrong](audio)) for name, audio in SPEECH.items() if len(audio) > 2 * RATE}
    assert len(told) > 40
    missed = [name for name, after in told.items() if after is None]
    assert not missed
    assert np.median(list(told.values())) <= 200
    assert max(told.values()) <= 600


def test_base64_that_nobody_decoded_is_told_within_the_first_word():
    """Its silence is a constant, and is heard as silence."""
    assert max(told_after(base64.b64encode(audio)) or 9999 for audio in SPEECH.values()) <= 1500


def test_random_bytes_are_told_at_once():
    for seed in range(50):
        assert told_after(random.Random(seed).randbytes(1600)) == 160


@pytest.mark.parametrize("db", [-20, -10, 0, 6])
def test_no_recording_of_speech_is_taken_for_noise(db):
    assert [name for name, audio in SPEECH.items() if told_after(louder(audio, db)) is not None] == []


@pytest.mark.parametrize("voice", ["", "marin", "cedar", "alloy", "ash"])
def test_the_voices_of_the_emulators_are_not_taken_for_noise(voice):
    for text in ("hello, how can I help you today?", "a", "the meeting is at four o'clock on Monday"):
        assert told_after(babble(text, seed=voice)) is None


@pytest.mark.parametrize("row", [697, 770, 852, 941])
@pytest.mark.parametrize("column", [1209, 1336, 1477, 1633])
def test_keys_are_not_taken_for_noise(row, column):
    for level in (-20, -12, -7.5):
        assert told_after(at_level(tones(row, column), level)) is None


@pytest.mark.parametrize(
    "pitches",
    [
        (440, 480),
        (480, 620),
        (350, 440),
        (440,),
        (1000,),
        (1400,),
        (1100,),
        (2100,),
        (2000,),
        (3000,),
        (3400,),
    ],
)
def test_tones_of_the_line_are_not_taken_for_noise(pitches):
    for level in (-40, -20, -9, -6.2):
        assert told_after(at_level(tones(*pitches), level)) is None


@pytest.mark.parametrize("seed", range(10))
def test_music_is_not_taken_for_noise(seed):
    for level in (-30, -20, -15):
        assert told_after(at_level(music(seed), level)) is None


@pytest.mark.parametrize("level", [-70, -50, -40, -30, -25, -20])
def test_hiss_and_the_noise_of_a_room_are_not_taken_for_it(level):
    source = np.random.default_rng(level + 100)
    hiss = source.normal(0, 1, 5 * RATE)
    fan = np.convolve(hiss, np.ones(12) / 12, "same") + 0.3 * tones(50, 100, 150, seconds=5.0)
    assert told_after(at_level(hiss, level)) is None
    assert told_after(at_level(fan, level)) is None


@pytest.mark.parametrize("seed", range(5))
def test_wind_in_the_microphone_is_not_taken_for_noise(seed):
    steps = np.random.default_rng(seed).normal(0, 1, 5 * RATE + 799)
    wind = np.convolve(steps, np.ones(800) / 800, "valid")
    voice = np.frombuffer(ulaw_to_pcm(SPEECH["demo-congrats"][: 5 * RATE]), "<i2").astype(float)
    for level in (-25, -18, -12):
        gust = wind / np.sqrt(np.mean(wind**2)) * 32768 * 10 ** (level / 20)
        assert told_after(at_level(wind, level)) is None
        assert told_after(pcm_to_ulaw(np.clip(voice + gust, -32768, 32767).astype("<i2").tobytes())) is None


def test_speech_in_the_noise_of_a_street_is_not_taken_for_it():
    source = np.random.default_rng(7)
    for audio in SPEECH.values():
        voice = np.frombuffer(ulaw_to_pcm(audio), "<i2").astype(float)
        noise = source.normal(0, 32768 * 10 ** (-28 / 20), len(voice))
        assert told_after(pcm_to_ulaw(np.clip(voice + noise, -32768, 32767).astype("<i2").tobytes())) is None


def test_silence_in_any_form_is_not_taken_for_noise():
    for quiet in (b"\xff", b"\x7f", b"\xff\x7f", b"\xfe\x7e\xff"):
        assert told_after(quiet * 8000) is None


def test_the_nothing_of_another_format_is_told_too():
    """Zeros are silence in PCM; in mu-law they are the loudest direct current there is."""
    assert told_after(bytes(3200)) == 160


def test_noise_in_the_middle_of_speech_is_told():
    speech = SPEECH["demo-congrats"][: 3 * RATE]
    assert told_after(speech) is None
    assert told_after(speech + random.Random(1).randbytes(1600)) is not None


def test_a_voice_after_noise_is_a_voice_again():
    detector = StaticDetector()
    assert detector.push(random.Random(1).randbytes(3200))
    detector.push(SPEECH["demo-congrats"][:RATE])
    assert not detector.push(SPEECH["demo-congrats"][RATE : 4 * RATE])


@given(st.lists(st.integers(1, 700), min_size=1, max_size=60), st.integers(0, 2**16))
def test_it_does_not_matter_how_audio_is_cut(sizes, seed):
    audio = SPEECH["hello-world"][:3200] + random.Random(seed).randbytes(4000)
    pieces, at, cut = StaticDetector(), 0, False
    for size in sizes:
        cut = pieces.push(audio[at : at + size]) or cut
        at += size
    assert cut == StaticDetector().push(audio[:at])


@settings(max_examples=50)
@given(st.binary(max_size=4000))
def test_any_bytes_are_taken(audio):
    assert StaticDetector().push(audio) in (True, False)


def test_it_costs_next_to_nothing():
    speech = [frame for audio in SPEECH.values() for frame in frames(audio)][:4000]
    noise = frames(random.Random(3).randbytes(160 * 4000))
    for sound in (speech, noise):
        costs = []
        for _ in range(5):
            detector, begun = StaticDetector(), time.process_time()
            for frame in sound:
                detector.push(frame)
            costs.append((time.process_time() - begun) / len(sound))
        assert (
            min(costs) < 30e-6
        )  # 4 and 8 microseconds where this was written; the rest is for slow machines
