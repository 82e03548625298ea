"""Telephone tones, made and heard."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import seconds, silence
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.level import rms_dbfs
from openclaw_voicecall.media.tones import BeepDetector, beep, busy_tone, dtmf_tone, ringback, white_noise

pytestmark = pytest.mark.unit


def beeps(audio: bytes, piece: int = 160) -> list[float]:
    """When beeps were reported, in seconds of audio."""
    detector = BeepDetector()
    return [
        seconds(at + piece) for at in range(0, len(audio), piece) if detector.push(audio[at : at + piece])
    ]


def pcm(audio: bytes) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.frombuffer(ulaw_to_pcm(audio), "<i2").astype(float)


def mixed(*sounds: bytes) -> bytes:
    total = np.sum([pcm(each) for each in sounds], axis=0)
    return pcm_to_ulaw(np.clip(total, -32768, 32767).astype("<i2").tobytes())


def voice(ms: int) -> bytes:
    """A buzz with the harmonics of a voice and a pitch that glides."""
    time = np.arange(ms * 8) / 8000
    phase = 2 * np.pi * (120 * time + 15 * np.sin(2 * np.pi * 1.5 * time))
    signal = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 25))
    return pcm_to_ulaw((5000 * signal).clip(-32768, 32767).astype("<i2").tobytes())


def strongest(audio: bytes, count: int) -> list[int]:
    spectrum = np.abs(np.fft.rfft(pcm(audio)))
    return sorted(round(int(bin_) * 8000 / len(audio)) for bin_ in np.argsort(spectrum)[-count:])


@settings(max_examples=40)
@given(st.floats(400, 2000), st.integers(150, 900), st.integers(0, 159))
def test_a_beep_is_reported_once_whatever_its_pitch_length_and_place(hz: float, ms: int, offset: int) -> None:
    audio = silence(200) + bytes(b"\xff" * offset) + beep(ms, hz) + silence(600)
    (at,) = beeps(audio)
    began = 0.2 + seconds(offset)
    assert at <= began + (0.44 if ms >= 400 else ms / 1000 + 0.26)


@given(st.integers(1, 2000))
@settings(max_examples=20)
def test_a_beep_is_found_however_the_audio_arrives(piece: int) -> None:
    assert len(beeps(silence(300) + beep(300) + silence(2000), piece)) == 1


def test_a_long_beep_is_reported_while_it_lasts_and_not_again_at_its_end() -> None:
    (at,) = beeps(silence(200) + beep(2000) + silence(500))
    assert at == pytest.approx(0.6, abs=0.03)


def test_two_beeps_are_two() -> None:
    assert len(beeps(silence(200) + beep(500) + silence(800) + beep(300) + silence(500))) == 2


def test_a_beep_after_a_greeting_is_heard_through_the_noise_of_the_line() -> None:
    audio = voice(2500) + silence(300) + beep(400, 1400) + silence(800)
    (at,) = beeps(mixed(audio, white_noise(4000, -35, seed=1)))
    assert at == pytest.approx(3.2, abs=0.1)


@pytest.mark.parametrize("ms", [20, 60, 100])
def test_a_short_blip_is_no_beep(ms: int) -> None:
    assert beeps(silence(200) + beep(ms) + silence(500)) == []


@pytest.mark.parametrize("hz", [200, 350, 2100, 3000])
def test_tones_out_of_the_band_are_no_beeps(hz: float) -> None:
    assert beeps(silence(200) + beep(600, hz) + silence(500)) == []


def test_a_tone_too_quiet_to_be_meant_is_no_beep() -> None:
    samples = np.rint(pcm(beep(600)) * 0.01).astype("<i2").tobytes()
    assert beeps(silence(200) + pcm_to_ulaw(samples) + silence(500)) == []


def sweep(ms: int, low: float, high: float) -> bytes:
    time = np.arange(ms * 8) / 8000
    phase = 2 * np.pi * (low * time + (high - low) * time**2 / (2 * ms / 1000))
    return pcm_to_ulaw(np.rint(9000 * np.sin(phase)).astype("<i2").tobytes())


def chord(ms: int) -> bytes:
    return mixed(beep(ms, 440), beep(ms, 554), beep(ms, 659))


@pytest.mark.parametrize(
    "sound",
    [
        ringback(8000),
        busy_tone(4000),
        mixed(beep(3000, 350), beep(3000, 440)),
        b"".join(dtmf_tone(digit, 300) + silence(200) for digit in "0123456789*#ABCD"),
        beep(330, 950) + beep(330, 1400) + beep(330, 1800) + silence(1000),
        b"".join(beep(250, hz) for hz in (523, 587, 659, 698, 784, 659, 587, 523)) + silence(500),
        chord(2000) + silence(300),
        sweep(1500, 600, 1200),
        white_noise(5000, -15, seed=3),
        voice(5000),
        silence(1000),
    ],
    ids=[
        "ringback",
        "busy",
        "dial tone",
        "keys",
        "special information",
        "melody",
        "chord",
        "siren",
        "hiss",
        "voice",
        "silence",
    ],
)
def test_what_is_no_beep(sound: bytes) -> None:
    assert beeps(silence(200) + sound + silence(400)) == []


def test_keys_are_their_two_tones() -> None:
    assert strongest(dtmf_tone("1", 1000), 2) == [697, 1209]
    assert strongest(dtmf_tone("#", 1000), 2) == [941, 1477]
    assert strongest(dtmf_tone("D", 1000), 2) == [941, 1633]
    assert len(dtmf_tone("5", 80)) == 640


@pytest.mark.parametrize("digit", ["", "E", "12", "a"])
def test_there_is_no_tone_for_other_keys(digit: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        dtmf_tone(digit, 100)


def test_ringback_and_busy_have_their_tones_and_their_rhythm() -> None:
    ring = ringback(6500)
    assert len(ring) == 52000
    assert strongest(ring[:8000], 2) == [440, 480]
    assert ring[16000:48000] == silence(4000)
    assert ring[48000:] == ring[:4000]
    busy = busy_tone(1200)
    assert strongest(busy[:4000], 2) == [480, 620]
    assert busy[4000:8000] == silence(500)
    assert len(ringback(100)) == 800


def test_noise_is_repeatable_and_differs_by_seed() -> None:
    assert white_noise(100, -20, 1) == white_noise(100, -20, 1)
    assert white_noise(100, -20, 1) != white_noise(100, -20, 2)
    assert rms_dbfs(white_noise(2000, -20, 1)) == pytest.approx(-20, abs=0.3)
