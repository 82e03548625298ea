"""The measures of the testing kit, on sounds whose answers are known."""

from pathlib import Path

import numpy as np
import pytest

from openclaw_voicecall.testing.audio import (
    Samples,
    longest_gap,
    offset_ms,
    read_ulaw,
    read_wav,
    rms_dbfs,
    segments,
    split_channels,
    write_ulaw,
    write_wav,
)

pytestmark = pytest.mark.unit

RATE = 8000


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.int16)


def tone(seconds: float, level: int = 8000) -> Samples:
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def babble(seconds: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 3000, round(seconds * RATE)).astype(np.int16)


def test_segments_start_and_end_where_the_sound_does() -> None:
    heard = segments(np.concatenate([silence(0.5), tone(1), silence(0.7), tone(0.3), silence(0.2)]), RATE)
    assert [(round(one.start, 2), round(one.end, 2)) for one in heard] == [(0.5, 1.5), (2.2, 2.5)]
    assert heard[0].duration == pytest.approx(1.0, abs=0.01)


def test_a_short_pause_does_not_split_a_segment() -> None:
    pcm = np.concatenate([tone(0.5), silence(0.1), tone(0.5)])
    assert len(segments(pcm, RATE, min_gap_ms=200)) == 1
    assert len(segments(pcm, RATE, min_gap_ms=50)) == 2


def test_what_is_below_the_threshold_cannot_be_heard() -> None:
    quiet = tone(1, level=50)
    assert not segments(quiet, RATE, threshold_dbfs=-45)
    assert segments(quiet, RATE, threshold_dbfs=-65)


def test_the_last_bit_of_a_capture_is_not_cut_off() -> None:
    assert segments(tone(0.1003), RATE)[-1].end == pytest.approx(0.1003, abs=1 / RATE)


def test_the_longest_gap_is_found_with_its_place() -> None:
    pcm = np.concatenate(
        [silence(2), tone(0.5), silence(0.04), tone(0.5), silence(0.3), tone(0.5), silence(2)]
    )
    gap = longest_gap(pcm, RATE)
    assert gap.start == pytest.approx(3.04, abs=0.006)
    assert gap.duration == pytest.approx(0.3, abs=0.011)


def test_a_steady_sound_has_no_gap() -> None:
    assert longest_gap(np.concatenate([silence(1), tone(1), silence(1)]), RATE).duration == 0


def test_a_gap_in_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        longest_gap(silence(1), RATE)


def test_loudness_is_relative_to_full_scale() -> None:
    assert rms_dbfs(tone(1, level=32767)) == pytest.approx(-3.01, abs=0.01)
    assert rms_dbfs(tone(1, level=3277)) == pytest.approx(-23.01, abs=0.02)
    assert rms_dbfs(silence(1)) == float("-inf")
    assert rms_dbfs(silence(0)) == float("-inf")


@pytest.mark.parametrize("samples", [0, 1, 7, 8, 80, 4001])
def test_a_delay_is_measured_to_the_sample(samples: int) -> None:
    sound = babble(1)
    late = np.concatenate([np.zeros(samples, dtype=np.int16), sound])
    assert offset_ms(sound, late) == pytest.approx(samples / 8, abs=0.02)
    assert offset_ms(late, sound) == pytest.approx(-samples / 8, abs=0.02)


def test_a_delay_is_found_in_noise_and_at_another_level() -> None:
    sound = babble(1)
    late = np.concatenate([silence(0.25), sound // 4, silence(1)])
    late = (late + babble(len(late) / RATE, seed=2) // 10).astype(np.int16)
    assert offset_ms(sound, late) == pytest.approx(250, abs=0.1)


def test_different_sounds_have_no_offset() -> None:
    with pytest.raises(ValueError, match="not the same sound"):
        offset_ms(babble(1, seed=1), babble(1, seed=2))


def test_silence_has_no_offset() -> None:
    with pytest.raises(ValueError, match="not the same sound"):
        offset_ms(babble(1), silence(1))


def test_a_recorded_call_splits_into_caller_and_agent(tmp_path: Path) -> None:
    write_wav(tmp_path / "call.wav", RATE, tone(0.2), babble(0.1))
    caller, agent = split_channels(tmp_path / "call.wav")
    assert np.array_equal(caller, tone(0.2))
    assert np.array_equal(agent[: len(babble(0.1))], babble(0.1))
    assert read_wav(tmp_path / "call.wav").rate == RATE


def test_a_recording_of_one_channel_is_no_call(tmp_path: Path) -> None:
    write_wav(tmp_path / "mono.wav", RATE, tone(0.2))
    with pytest.raises(ValueError, match="1 channels"):
        split_channels(tmp_path / "mono.wav")


def test_raw_mu_law_has_one_byte_a_sample(tmp_path: Path) -> None:
    write_ulaw(tmp_path / "call.ulaw", tone(0.2))
    assert (tmp_path / "call.ulaw").stat().st_size == 1600
    assert rms_dbfs(read_ulaw(tmp_path / "call.ulaw")) == pytest.approx(rms_dbfs(tone(0.2)), abs=0.1)
