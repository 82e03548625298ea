"""Sample rates, and how long a sample waits while its rate is changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openclaw_voicecall.errors import CodecError
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.resample import StreamResampler, UlawEncoder

pytestmark = pytest.mark.unit

RATES = [16000, 22050, 24000, 44100, 48000]


def tone(rate: int, ms: int, hz: float = 440.0) -> bytes:
    time = np.arange(rate * ms // 1000) / rate
    return np.rint(12000 * np.sin(2 * np.pi * hz * time)).astype("<i2").tobytes()


def resampled(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    resampler = StreamResampler(from_rate, to_rate)
    return resampler.push(pcm) + resampler.finish()


@settings(max_examples=40)
@given(st.sampled_from([8000, *RATES]), st.lists(st.integers(1, 3001), max_size=20))
def test_any_cutting_of_the_input_gives_the_same_output(rate: int, cuts: list[int]) -> None:
    pcm = tone(rate, 150)
    resampler = StreamResampler(rate, 8000)
    out, at = b"", 0
    for cut in cuts:
        out += resampler.push(pcm[at : at + cut])
        at += cut
    out += resampler.push(pcm[at:]) + resampler.finish()
    assert out == resampled(pcm, rate, 8000)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_length_its_place_and_its_level(rate: int) -> None:
    out = np.frombuffer(resampled(tone(rate, 500), rate, 8000), "<i2").astype(float)
    expected = np.frombuffer(tone(8000, 500), "<i2").astype(float)
    assert abs(len(out) - len(expected)) <= 1
    middle = slice(400, 3600)
    assert np.max(np.abs(out[middle] - expected[middle])) < 60


def test_what_is_above_the_new_band_is_filtered_out() -> None:
    out = np.frombuffer(resampled(tone(24000, 300, 7000), 24000, 8000), "<i2").astype(float)
    assert np.max(np.abs(out[400:-400])) < 60


def test_upsampling_keeps_the_tone_as_well() -> None:
    out = np.frombuffer(resampled(tone(8000, 300), 8000, 16000), "<i2").astype(float)
    expected = np.frombuffer(tone(16000, 300), "<i2").astype(float)
    assert np.max(np.abs(out[800:4000] - expected[800:4000])) < 60


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "longest"),
    [(16000, 8000, 120), (22050, 8000, 85), (24000, 8000, 80), (48000, 8000, 80), (8000, 16000, 120)],
)
def test_an_impulse_comes_out_in_its_place_and_waits_no_longer_than_documented(
    from_rate: int, to_rate: int, longest: float
) -> None:
    frame = from_rate // 50
    waits = []
    for lead_in in range(20, 200, 20):
        samples = np.zeros(from_rate, "<i2")
        place = from_rate * lead_in // 1000 + frame // 2
        samples[place] = 30000
        resampler = StreamResampler(from_rate, to_rate)
        out = b""
        for at in range(0, from_rate, frame):
            before = len(out) // 2
            out += resampler.push(samples[at : at + frame].tobytes())
            peak_at = round(place * to_rate / from_rate)
            if before <= peak_at < len(out) // 2:
                waits.append((at + frame - place) * 1000 / from_rate)
        out += resampler.finish()
        values = np.abs(np.frombuffer(out, "<i2").astype(int))
        assert abs(int(np.argmax(values)) - place * to_rate / from_rate) <= 1
    assert max(waits) <= longest + 10, "the impulse is in the middle of its frame"
    assert max(waits) > 20, "soxr does hold samples back; if this fails, the docstring is out of date"


def test_equal_rates_pass_samples_through_at_once() -> None:
    resampler = StreamResampler(8000, 8000)
    assert resampler.push(b"\x01\x02\x03") == b"\x01\x02"
    assert resampler.push(b"\x04") == b"\x03\x04"
    assert resampler.finish() == b""


def test_loud_edges_are_limited_and_do_not_wrap_around() -> None:
    square = np.repeat(np.tile(np.array([32767, -32768], "<i2"), 60), 60).tobytes()
    out = np.frombuffer(resampled(square, 24000, 8000), "<i2").astype(int)
    assert out.max() == 32767
    assert np.max(np.abs(np.diff(np.sign(out[out != 0])))) == 2
    assert (np.diff(np.sign(out[100:-100])) != 0).sum() <= 121, "a wrap would add changes of sign"


def test_a_finished_resampler_takes_nothing_more() -> None:
    resampler = StreamResampler(16000, 8000)
    resampler.push(b"\x00")
    resampler.finish()
    with pytest.raises(CodecError, match="finished"):
        resampler.push(b"\x00\x00")
    with pytest.raises(CodecError, match="finished"):
        resampler.finish()


def test_rates_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        StreamResampler(0, 8000)


def test_the_encoder_makes_call_audio_of_the_right_length() -> None:
    pcm = tone(22050, 1000)
    encoder = UlawEncoder(22050)
    out = b"".join(encoder.push(pcm[at : at + 777]) for at in range(0, len(pcm), 777)) + encoder.finish()
    assert abs(len(out) - 8000) <= 1
    assert out == pcm_to_ulaw(resampled(pcm, 22050, 8000))
    assert UlawEncoder(8000).push(ulaw_to_pcm(b"\x12\x34")) == b"\x12\x34"
