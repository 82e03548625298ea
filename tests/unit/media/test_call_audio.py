"""Call audio: units, cutting into frames, G.711, levels."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.errors import CodecError
from openclaw_voicecall.media import g711
from openclaw_voicecall.media.audio import FRAME_BYTES, ULAW_SILENCE, AudioFormat, Rechunker, seconds, silence
from openclaw_voicecall.media.level import SILENCE_DBFS, LevelMeter, is_audible, rms_dbfs
from openclaw_voicecall.media.tones import beep, white_noise

pytestmark = pytest.mark.unit


def test_a_frame_is_twenty_milliseconds() -> None:
    assert seconds(FRAME_BYTES) == 0.02
    assert silence(20) == ULAW_SILENCE * FRAME_BYTES
    assert len(silence(0.3)) == 2


def test_formats_know_their_speed_and_refuse_what_they_do_not_know() -> None:
    assert AudioFormat().seconds(8000) == 1.0
    assert AudioFormat("s16le", 24000, 2).bytes_per_second == 96000
    with pytest.raises(ValueError, match="known are mulaw, alaw, s16le"):
        AudioFormat("opus")
    with pytest.raises(ValueError, match="positive"):
        AudioFormat(sample_rate=0)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_rechunked_pieces_have_one_size_and_join_to_the_input(pieces: list[bytes], size: int) -> None:
    rechunker = Rechunker(size)
    cut = [chunk for piece in pieces for chunk in rechunker.push(piece)]
    assert all(len(chunk) == size for chunk in cut)
    assert rechunker.pending < size
    assert b"".join(cut) + rechunker.flush() == b"".join(pieces)
    assert rechunker.flush() == b""


def test_a_rechunker_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Rechunker(0)


def test_every_ulaw_byte_survives_the_way_through_linear_samples() -> None:
    every = bytes(range(256))
    # 0x7F is mu-law's second zero; it comes back as the first one.
    assert g711.pcm_to_ulaw(g711.ulaw_to_pcm(every)) == every.replace(b"\x7f", b"\xff")
    assert g711.pcm_to_alaw(g711.alaw_to_pcm(every)) == every


def test_ulaw_decodes_as_the_standard_says() -> None:
    samples = np.frombuffer(g711.ulaw_to_pcm(b"\x00\x80\xff\x7f\xfe"), "<i2")
    assert samples.tolist() == [-32124, 32124, 0, 0, 8]
    assert np.frombuffer(g711.alaw_to_pcm(b"\xd5\x55\xaa\x2a"), "<i2").tolist() == [8, -8, 32256, -32256]


@given(st.lists(st.integers(-32635, 32635), min_size=1))
def test_linear_samples_come_back_within_the_step_of_their_size(samples: list[int]) -> None:
    pcm = np.array(samples, "<i2").tobytes()
    for encode, decode in ((g711.pcm_to_ulaw, g711.ulaw_to_pcm), (g711.pcm_to_alaw, g711.alaw_to_pcm)):
        back = np.frombuffer(decode(encode(pcm)), "<i2")
        for before, after in zip(samples, back.tolist(), strict=True):
            assert abs(before - after) <= max(16, abs(before) / 16)


@given(st.binary(max_size=400))
def test_transcoding_equals_going_through_linear_samples(audio: bytes) -> None:
    assert g711.ulaw_to_alaw(audio) == g711.pcm_to_alaw(g711.ulaw_to_pcm(audio))
    assert g711.alaw_to_ulaw(audio) == g711.pcm_to_ulaw(g711.alaw_to_pcm(audio))
    assert len(g711.ulaw_to_alaw(audio)) == len(audio)


@pytest.mark.parametrize("encode", [g711.pcm_to_ulaw, g711.pcm_to_alaw])
def test_half_a_sample_is_refused(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(CodecError, match="whole number"):
        encode(b"\x00\x00\x00")


def test_levels_are_against_full_scale() -> None:
    assert rms_dbfs(b"\x00\x80" * 80) == pytest.approx(20 * math.log10(32124 / 32768), abs=0.01)
    assert rms_dbfs(silence(20)) == SILENCE_DBFS
    assert rms_dbfs(b"") == SILENCE_DBFS
    assert rms_dbfs(beep(1000)) == pytest.approx(-13.0, abs=0.2), "a sine is 3 dB below its peak"
    assert rms_dbfs(white_noise(2000, -30, 1)) == pytest.approx(-30.0, abs=0.3)


def test_comfort_noise_is_not_audible_and_a_quiet_voice_is() -> None:
    assert not is_audible(white_noise(20, -60, 1))
    assert is_audible(white_noise(20, -35, 1))
    assert is_audible(white_noise(20, -60, 1), threshold_dbfs=-70)
    assert not is_audible(b"")


def test_the_meter_adds_up_audible_time_and_says_when_it_was() -> None:
    meter = LevelMeter()
    audio = silence(100) + beep(60) + silence(240)
    for at in range(0, len(audio), 90):
        piece = audio[at : at + 90]
        meter.push(piece, 5.0 + seconds(at + len(piece)))
    assert meter.total_ms == 400
    assert meter.audible_ms == 60
    assert meter.first_audible == pytest.approx(5.1)
    assert meter.last_audible == pytest.approx(5.16)


def test_a_meter_that_heard_nothing_has_no_times() -> None:
    meter = LevelMeter()
    meter.push(silence(100), 1.0)
    assert (meter.audible_ms, meter.first_audible, meter.last_audible) == (0.0, None, None)
