"""A media stream that is too slow, and a vendor that is quicker than our own ear: what the watches make of them."""

import pytest

from openclaw_voicecall.media.audio import FRAME_BYTES, silence
from openclaw_voicecall.session.deafness import END_PATIENCE, VOICE, DeafnessWatch
from openclaw_voicecall.session.meter import LineMeter
from openclaw_voicecall.testing.emulators.voices import babble

pytestmark = pytest.mark.unit

FRAME = 0.02


class Clock:
    """Time that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def push(watch: DeafnessWatch, audio: bytes) -> list[bool]:
    pieces = [audio[at : at + FRAME_BYTES] for at in range(0, len(audio), FRAME_BYTES)]
    return [watch.push(piece) for piece in pieces]


def test_audio_that_comes_slower_than_it_was_said_gets_behind():
    clock = Clock()
    meter = LineMeter(clock)
    meter.stream_began()
    for number in range(100):
        meter.heard(160, 0.0, clock.now, voice=False, timestamp=number * FRAME)
        clock.now += 3 * FRAME
    assert meter.behind() == pytest.approx(99 * 2 * FRAME)
    for number in range(100, 400):  # what the network held back comes all at once
        meter.heard(160, 0.0, clock.now, voice=False, timestamp=number * FRAME)
    assert meter.behind() == 0.0


def test_a_new_stream_is_not_behind():
    clock = Clock()
    meter = LineMeter(clock)
    meter.heard(160, 0.0, clock.now, voice=False, timestamp=0.0)
    clock.now += 5.0
    meter.heard(160, 0.0, clock.now, voice=False, timestamp=FRAME)
    assert meter.behind() > 4.0
    meter.stream_began()
    assert meter.behind() == 0.0


def test_a_vendor_that_hears_a_short_word_begin_before_we_do_owes_its_end():
    word = babble("Open?")
    assert len(word) / 8000 < VOICE
    watch = DeafnessWatch()
    push(watch, silence(500))
    watch.answered(unfinished=True)
    push(watch, word)
    assert any(push(watch, silence(round(1000 * END_PATIENCE) + 500)))


def test_a_short_noise_that_no_vendor_takes_for_a_voice_is_owed_nothing():
    watch = DeafnessWatch()
    push(watch, silence(500) + babble("Open?"))
    assert not any(push(watch, silence(10_000)))
