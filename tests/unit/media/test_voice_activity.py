"""The energy detector on made-up voices, tones and noises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import seconds, silence
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.tones import beep, dtmf_tone, white_noise
from openclaw_voicecall.media.vad import FLOOR_SECONDS, Edge, EnergyVad

pytestmark = pytest.mark.unit


def voice(ms: int, dbfs: float = -20.0) -> bytes:
    """Something with the energy of speech: a buzz of 120 Hz in syllables of 200 ms that fall and rise."""
    time = np.arange(ms * 8) / 8000
    buzz = sum(np.sin(2 * np.pi * 120 * harmonic * time) / harmonic for harmonic in range(1, 20))
    syllables = 0.15 + 0.85 * np.abs(np.sin(np.pi * (time + 0.03) / 0.2))
    signal = buzz * syllables
    signal *= 10 ** (dbfs / 20) * 32768 / np.sqrt(np.mean(signal**2))
    return pcm_to_ulaw(np.clip(signal, -32768, 32767).astype("<i2").tobytes())


def mixed(one: bytes, other: bytes) -> bytes:
    size = min(len(one), len(other))
    total = sum(np.frombuffer(ulaw_to_pcm(each[:size]), "<i2").astype(int) for each in (one, other))
    return pcm_to_ulaw(np.clip(total, -32768, 32767).astype("<i2").tobytes())


def edges(audio: bytes, piece: int = 160, **options: float) -> list[tuple[bool, float]]:
    """Each edge with the time, in seconds of audio, at which the detector places it."""
    vad = EnergyVad(**options)
    found = []
    for at in range(0, len(audio), piece):
        now = seconds(min(at + piece, len(audio)))
        found += [(edge.speaking, now - edge.ago) for edge in vad.push(audio[at : at + piece])]
    return found


def test_speech_is_placed_where_it_began_and_where_it_ended() -> None:
    found = edges(silence(2000) + voice(1000) + silence(1000))
    assert found == [(True, pytest.approx(2.0, abs=0.03)), (False, pytest.approx(3.0, abs=0.03))]


def test_the_start_is_told_after_sixty_milliseconds_and_the_end_after_three_hundred() -> None:
    vad = EnergyVad()
    told = []
    audio = silence(2000) + voice(1000) + silence(1000)
    for at in range(0, len(audio), 160):
        told += [(edge, seconds(at + 160)) for edge in vad.push(audio[at : at + 160])]
        assert vad.speaking == (len(told) == 1)
    (start, start_told), (stop, stop_told) = told
    assert start.speaking
    assert start_told <= 2.0 + 0.1
    assert start_told - start.ago == pytest.approx(2.0, abs=0.03)
    assert not stop.speaking
    assert stop_told == pytest.approx(3.3, abs=0.04)
    assert stop.ago == pytest.approx(0.3, abs=0.03)


def test_a_pause_shorter_than_the_limit_does_not_end_speech() -> None:
    audio = silence(1000) + voice(600) + silence(220) + voice(600) + silence(800)
    assert [speaking for speaking, _ in edges(audio)] == [True, False]
    assert [speaking for speaking, _ in edges(audio, stop_ms=150)] == [True, False, True, False]


def test_a_click_is_no_speech() -> None:
    assert edges(silence(1000) + voice(30) + silence(1000)) == []
    assert edges(silence(1000) + voice(30) + silence(1000), start_ms=20)


def test_who_speaks_from_the_first_moment_is_heard() -> None:
    found = edges(voice(1500) + silence(800))
    assert found[0] == (True, pytest.approx(0.0, abs=0.1))
    assert [speaking for speaking, _ in found] == [True, False]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 1700), min_size=1, max_size=30))
def test_the_edges_do_not_depend_on_how_the_audio_arrives(pieces: list[int]) -> None:
    audio = silence(500) + voice(700) + silence(700)
    vad, at, found = EnergyVad(), 0, []
    for piece in [*pieces, len(audio)]:
        chunk = audio[at : at + piece]
        at += len(chunk)
        found += [(edge.speaking, seconds(at) - edge.ago) for edge in vad.push(chunk)]
    assert found == [(speaking, pytest.approx(time, abs=1e-6)) for speaking, time in edges(audio)]


def test_speech_that_falls_below_the_level_of_its_start_goes_on() -> None:
    quieter = mixed(silence(800), pcm_to_ulaw((np.frombuffer(ulaw_to_pcm(beep(800)), "<i2") // 12).tobytes()))
    audio = silence(2000) + voice(600) + quieter + silence(1000)
    found = edges(mixed(audio, white_noise(4400, -40, seed=3)))
    assert [time for _, time in found] == [pytest.approx(2.0, abs=0.05), pytest.approx(3.4, abs=0.05)]


def test_a_voice_after_a_long_tone_is_not_placed_at_the_beginning_of_the_tone() -> None:
    found = edges(silence(2000) + beep(1500) + voice(1000) + silence(500))
    assert [speaking for speaking, _ in found] == [True, False]
    assert 3.1 <= found[0][1] <= 3.6


def test_two_edges_may_come_out_of_one_piece() -> None:
    audio = silence(500) + voice(700) + silence(700)
    started, stopped = EnergyVad().push(audio)
    assert started == Edge(True, pytest.approx(1.4, abs=0.03))
    assert stopped == Edge(False, pytest.approx(0.7, abs=0.03))


@pytest.mark.parametrize(
    "sound",
    [
        b"".join(dtmf_tone(digit, 120) + silence(80) for digit in "0123456789*#"),
        dtmf_tone("5", 1500),
        beep(3000, 1000),
        beep(500, 1100) + silence(3000),
    ],
    ids=["dialled digits", "a key held down", "a tone", "a calling fax"],
)
def test_tones_are_no_speech_however_loud(sound: bytes) -> None:
    assert edges(silence(3000) + sound + silence(1000)) == []


@pytest.mark.parametrize("dbfs", [-60, -45, -35, -28])
def test_a_noisy_line_is_not_a_talking_one(dbfs: float) -> None:
    assert edges(white_noise(8000, dbfs, seed=4)) == []


@pytest.mark.parametrize("dbfs", [-50, -40, -35])
def test_speech_is_found_above_the_noise_of_the_line(dbfs: float) -> None:
    audio = mixed(silence(3000) + voice(1000) + silence(1500), white_noise(5500, dbfs, seed=2))
    found = edges(audio)
    assert [speaking for speaking, _ in found] == [True, False]
    assert [time for _, time in found] == [pytest.approx(3.0, abs=0.1), pytest.approx(4.0, abs=0.1)]


def test_a_noise_that_sets_in_is_learned_and_speech_is_found_above_it() -> None:
    quiet = silence(3000)
    audio = quiet + mixed(silence(4000) + voice(1000) + silence(1500), white_noise(6500, -35, seed=2))
    found = edges(audio)
    assert found[-2:] == [(True, pytest.approx(7.0, abs=0.1)), (False, pytest.approx(8.0, abs=0.1))]
    assert all(time < 3.0 + FLOOR_SECONDS + 0.2 for _, time in found[:-2])


def test_the_floor_is_the_level_of_the_line() -> None:
    vad = EnergyVad()
    vad.push(white_noise(3000, -40, seed=1))
    assert vad.floor_dbfs == pytest.approx(-40, abs=1.5)
    vad.push(silence(300))
    assert vad.floor_dbfs == -65
