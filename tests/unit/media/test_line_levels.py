"""What of sent audio can be heard, and a sound of our own that nobody takes for anything else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import silence
from openclaw_voicecall.media.g711 import pcm_to_ulaw, ulaw_to_pcm
from openclaw_voicecall.media.level import PlayedMeter, is_audible, rms_dbfs
from openclaw_voicecall.media.tones import BeepDetector, attention, beep
from openclaw_voicecall.media.vad import EnergyVad

pytestmark = pytest.mark.unit

LOUD = beep(20)
QUIET = silence(20)


def test_only_what_can_be_heard_counts():
    meter = PlayedMeter()
    assert meter.push(QUIET * 50, 10.0) is None
    assert meter.push(QUIET * 5 + LOUD * 10 + QUIET * 5, 11.0) == pytest.approx(11.1)
    assert meter.seconds(20.0) == pytest.approx(0.2)
    assert meter.last(20.0) == pytest.approx(11.3)


def test_what_was_sent_ahead_is_heard_only_when_its_time_has_come():
    meter = PlayedMeter()
    meter.push(LOUD * 50, 10.0)
    assert meter.seconds(9.0) == 0.0
    assert meter.last(9.0) is None
    assert meter.seconds(10.25) == pytest.approx(0.25)
    assert meter.last(10.25) == pytest.approx(10.25), "it plays"


def test_what_is_cleared_was_not_heard():
    meter = PlayedMeter()
    meter.push(LOUD * 50, 10.0)
    meter.push(LOUD * 50, 12.0)
    meter.cut(10.5)
    assert meter.seconds(20.0) == pytest.approx(0.5)
    assert meter.last(20.0) == pytest.approx(10.5)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.booleans()), max_size=120),
    st.floats(0, 60),
)
def test_the_seconds_are_those_of_the_loud_frames_however_many_there_are(pieces, now):
    meter, starts, expected = PlayedMeter(), 0.0, 0.0
    for gap, frames, loud in pieces:
        starts += gap
        meter.push((LOUD if loud else QUIET) * frames, starts)
        length = 0.02 * frames
        expected += loud * max(0.0, min(length, now - starts))
        starts += length
    if starts <= now or len(pieces) < 60:
        assert meter.seconds(now) == pytest.approx(expected, abs=0.001 * len(pieces) + 1e-6)


def attenuated(ulaw: bytes, factor: float) -> bytes:
    samples = np.frombuffer(ulaw_to_pcm(ulaw), "<i2") * factor
    return pcm_to_ulaw(samples.astype("<i2").tobytes())


def test_the_sound_of_ours_is_audible_and_no_louder_than_a_voice():
    sound = attention()
    frames = [sound[at : at + 160] for at in range(0, len(sound), 160)]
    assert sum(map(is_audible, frames)) * 0.02 > 1.0
    assert max(map(rms_dbfs, frames)) < -12.0


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("offset", [0, 24, 40, 80, 119])
def test_its_echo_is_no_speech_and_no_beep(factor, offset):
    heard = silence(2000) + silence(offset / 8) + attenuated(attention(), factor) + silence(1000)
    beeps = BeepDetector()
    assert not [at for at in range(0, len(heard), 160) if beeps.push(heard[at : at + 160])]
    assert EnergyVad().push(heard) == []
