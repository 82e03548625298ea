"""The two-channel recording."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.media.audio import SAMPLE_RATE, silence
from openclaw_voicecall.media.g711 import ulaw_to_pcm
from openclaw_voicecall.media.recording import MAX_AHEAD_SECONDS, StereoRecorder, wav_header

pytestmark = pytest.mark.unit

FRAME = 160


def channels(stereo: bytes) -> tuple[bytes, bytes]:
    samples = np.frombuffer(stereo, "<i2").reshape(-1, 2)
    return samples[:, 0].tobytes(), samples[:, 1].tobytes()


def mark(number: int, size: int = FRAME) -> bytes:
    return bytes([number % 120]) * size


def linear(*parts: bytes) -> bytes:
    return ulaw_to_pcm(b"".join(parts))


def test_both_parties_are_placed_by_their_time_and_gaps_are_silent() -> None:
    recorder = StereoRecorder()
    recorder.caller(0.02, mark(1))
    recorder.agent(0.06, mark(2))
    left, right = channels(recorder.take(0.1))
    assert left == linear(silence(20), mark(1), silence(60))
    assert right == linear(silence(60), mark(2), silence(20))


def test_taking_goes_on_where_it_stopped() -> None:
    recorder = StereoRecorder()
    recorder.caller(0.0, mark(1, 480))
    first = recorder.take(0.025)
    assert recorder.taken == 0.025
    assert recorder.take(0.02) == b""
    assert channels(first + recorder.take(0.08))[0] == linear(mark(1, 480), silence(20))


@given(st.lists(st.floats(-0.019, 0.019), min_size=3, max_size=60))
def test_jitter_of_frames_makes_neither_gaps_nor_overlaps(jitter: list[float]) -> None:
    recorder = StereoRecorder()
    for number, wobble in enumerate([0.0, *jitter]):
        recorder.caller(1.0 + number * 0.02 + wobble, mark(number))
    left, _ = channels(recorder.take(1.0 + (len(jitter) + 1) * 0.02))
    assert left == linear(silence(1000), *(mark(number) for number in range(len(jitter) + 1)))


def test_a_real_pause_stays_one_and_a_drift_is_set_right() -> None:
    recorder = StereoRecorder()
    recorder.caller(0.0, mark(1))
    recorder.caller(0.059, mark(2))
    recorder.caller(0.12, mark(3))
    left, _ = channels(recorder.take(0.16))
    assert left == linear(mark(1), mark(2), silence(80), mark(3), silence(20))


def test_a_jump_back_overwrites() -> None:
    recorder = StereoRecorder()
    recorder.caller(0.0, mark(1, 800))
    recorder.caller(0.02, mark(2))
    assert channels(recorder.take(0.1))[0] == linear(mark(1), mark(2), mark(1, 480))


def test_what_the_carrier_cleared_is_not_in_the_recording() -> None:
    recorder = StereoRecorder()
    recorder.agent(0.0, mark(1, 1600))
    recorder.clear_agent(0.05)
    recorder.agent(0.1, mark(2))
    assert channels(recorder.take(0.14))[1] == linear(mark(1, 400), silence(50), mark(2), silence(20))


def test_audio_after_a_clear_does_not_continue_what_was_cleared() -> None:
    recorder = StereoRecorder()
    recorder.agent(0.0, mark(1, 800))
    recorder.clear_agent(0.02)
    recorder.agent(0.09, mark(2))
    assert channels(recorder.take(0.11))[1] == linear(mark(1), silence(70), mark(2))


def test_clearing_what_was_taken_changes_nothing_and_clearing_nothing_is_fine() -> None:
    recorder = StereoRecorder()
    recorder.clear_agent(0.0)
    recorder.agent(0.0, mark(1, 800))
    recorder.take(0.05)
    recorder.clear_agent(0.02)
    assert channels(recorder.take(0.1))[1] == linear(silence(50))


def test_audio_for_a_time_that_was_taken_is_dropped_and_counted() -> None:
    recorder = StereoRecorder()
    recorder.take(0.05)
    recorder.caller(0.0, mark(1))
    recorder.agent(0.04, mark(2))
    assert recorder.dropped == 160 + 80
    assert channels(recorder.take(0.06))[1] == linear(mark(2, 80))


def test_the_part_that_is_not_late_is_placed_over_what_is_there() -> None:
    recorder = StereoRecorder()
    recorder.agent(0.0, mark(1, 800))
    recorder.take(0.05)
    recorder.agent(0.04, mark(2))
    assert recorder.dropped == 80
    assert channels(recorder.take(0.1))[1] == linear(mark(2, 80), mark(1, 320))


def test_a_wrong_time_cannot_eat_the_memory() -> None:
    recorder = StereoRecorder()
    recorder.agent(1e9, mark(1))
    assert recorder.dropped == 160
    recorder.caller(MAX_AHEAD_SECONDS - 0.01, mark(2))
    assert recorder.dropped == 160 + 80


audio = st.lists(
    st.tuples(st.booleans(), st.integers(0, 300), st.integers(1, 900), st.integers(1, 119)), max_size=25
)


@given(audio, st.lists(st.integers(0, 400), max_size=25))
def test_the_recording_equals_a_timeline_painted_at_once_however_it_is_taken(
    pieces: list[tuple[bool, int, int, int]], takes: list[int]
) -> None:
    """Each party's audio comes in order, with pauses of at least 40 ms or none, before its time is taken."""
    recorder = StereoRecorder()
    painted = {True: bytearray(b"\xff" * 400_000), False: bytearray(b"\xff" * 400_000)}
    ends = {True: 0, False: 0}
    out, taken = b"", 0
    for index, (is_caller, pause, length, value) in enumerate(pieces):
        start = max(ends[is_caller] + (pause + 320 if pause > 100 else 0), 0)
        if start < taken:
            start = max(taken, ends[is_caller] + 320)
        sound = bytes([value]) * length
        (recorder.caller if is_caller else recorder.agent)(start / SAMPLE_RATE, sound)
        painted[is_caller][start : start + length] = sound
        ends[is_caller] = start + length
        if index < len(takes):
            taken = max(taken, min(ends.values()) - takes[index])
            out += recorder.take(taken / SAMPLE_RATE)
    total = max(ends.values()) + 100
    left, right = channels(out + recorder.take(total / SAMPLE_RATE))
    assert left == linear(bytes(painted[True][:total]))
    assert right == linear(bytes(painted[False][:total]))
    assert recorder.dropped == 0


def test_memory_holds_only_what_was_not_taken() -> None:
    recorder = StereoRecorder()
    for second in range(300):
        recorder.caller(second, silence(1000))
        recorder.agent(second, silence(1000))
        recorder.take(second + 0.5)
    assert len(recorder._caller.samples) + len(recorder._agent.samples) <= 2 * 8000


def test_the_header_is_read_by_others() -> None:
    data = bytes(range(200)) * 2
    with wave.open(io.BytesIO(wav_header(len(data)) + data)) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) == (2, 8000, 2)
        assert sound.readframes(1000) == data
    assert len(wav_header(0)) == 44
    assert wav_header(5_000_000_000)[40:] == b"\xff" * 4
