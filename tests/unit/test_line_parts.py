"""The parts of the line meter that need no call: what is delivered, what is echoed, what time is left."""

import pytest

from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.media.audio import silence
from openclaw_voicecall.media.tones import beep
from openclaw_voicecall.session.deadline import HEARD_BY, LEAST, Deadline, Deadlines
from openclaw_voicecall.session.delivery import Delivery
from openclaw_voicecall.session.echoes import EVERY, LATE, Echoes

pytestmark = pytest.mark.unit

TEXT = "It is noon, and the sun shines."


def test_audio_is_given_out_from_its_first_sound_on_with_the_pause_before_it():
    delivery = Delivery(TEXT)
    assert delivery.take(silence(400)) == b""
    assert delivery.take(beep(100)) == silence(400) + beep(100)
    assert delivery.take(silence(300)) == silence(300)
    assert delivery.end() == b""


@pytest.mark.parametrize("size", [1, 97, 160, 5600])
def test_silence_is_found_out_before_any_of_it_is_played(size):
    delivery, audio = Delivery(TEXT), silence(700)
    pieces = [audio[at : at + size] for at in range(0, len(audio), size)]
    assert not any(delivery.take(piece) for piece in pieces[:-1])
    with pytest.raises(VendorError, match="the audio is silent"):
        delivery.take(pieces[-1])


def test_a_short_utterance_of_silence_is_none():
    delivery = Delivery(TEXT)
    delivery.take(silence(300))
    with pytest.raises(VendorError, match="the audio is silent"):
        delivery.end()


def test_an_utterance_without_a_byte_is_none():
    with pytest.raises(VendorError, match="gave no audio"):
        Delivery(TEXT).end()


def test_a_sound_shorter_than_a_frame_is_one():
    delivery = Delivery("a")
    assert delivery.take(beep(10)) == b""
    assert delivery.end() == beep(10)


def test_a_voice_that_falls_silent_in_the_middle_has_failed():
    delivery = Delivery(TEXT)
    delivery.take(beep(500))
    with pytest.raises(VendorError, match="falls silent"):
        delivery.take(silence(3000))


def test_silence_after_all_was_said_is_no_failure():
    delivery = Delivery(TEXT)
    delivery.take(beep(2000))
    delivery.take(silence(3000))
    assert delivery.complete


def test_an_utterance_has_an_end():
    delivery = Delivery("Yes.")
    for _ in range(12):
        delivery.take(beep(1000))
    with pytest.raises(VendorError, match="does not end"):
        delivery.take(beep(1000))


def ask(echoes: Echoes, until: float) -> list[str]:
    """The questions asked while audio is sent, a tenth of a second at a time."""
    return [name for tenth in range(round(until * 10)) if (name := echoes.question((tenth + 1) / 10))]


def test_echoes_are_asked_for_now_and_then():
    assert len(ask(Echoes(), 6.0)) == 1 + round(6.0 / EVERY) - 1


def test_a_far_end_that_never_echoed_is_not_blamed():
    echoes = Echoes()
    ask(echoes, 6.0)
    assert echoes.silent_since(60.0) is None


def test_a_far_end_that_echoes_no_more_plays_nothing():
    echoes = Echoes()
    first, *_ = ask(echoes, 6.0)
    assert echoes.echoed(first, 0.3)
    assert echoes.silent_since(1.6 + LATE - 0.1) is None
    assert echoes.silent_since(1.6 + LATE + 0.1) == pytest.approx(0.3, abs=0.2)


def test_an_echo_of_a_later_question_answers_the_earlier_ones():
    echoes = Echoes()
    questions = ask(echoes, 6.0)
    assert echoes.echoed(questions[-1], 6.0)
    assert echoes.silent_since(60.0) is None


def test_marks_of_others_are_none_of_ours_but_prove_that_echoes_come():
    echoes = Echoes()
    ask(echoes, 6.0)
    assert not echoes.echoed("1:7", 0.2)
    assert echoes.silent_since(60.0) is not None


def test_after_a_clear_echoes_are_due_at_once():
    echoes = Echoes()
    first, *_ = ask(echoes, 6.0)
    echoes.echoed(first, 0.3)
    echoes.cleared(1.0)
    assert echoes.silent_since(1.0 + LATE - 0.1) is None
    assert echoes.silent_since(1.0 + LATE + 0.1) is not None


def test_nothing_is_known_of_a_new_stream():
    echoes = Echoes()
    echoes.echoed(ask(echoes, 6.0)[0], 0.3)
    echoes.forget()
    assert echoes.silent_since(60.0) is None


@pytest.mark.parametrize("written", [0.0, 3.0, 6.0, 7.9, 8.5])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_voices_that_fail_one_after_the_other_take_no_longer_than_was_promised(written, count):
    deadline = Deadline(1, 100.0, 120.0)
    now = 100.0 + written
    for index in range(count):
        now += deadline.voice_limit(now, first=not index, left=count - index)
    assert now <= max(100.0 + HEARD_BY, 100.0 + written + count * LEAST)


def test_a_voice_is_given_its_usual_time_where_the_promise_is_kept_or_broken_already():
    deadline = Deadline(1, 100.0, 120.0)
    assert deadline.voice_limit(101.0, first=True, left=2) == 3.0
    assert deadline.voice_limit(101.0, first=False, left=1) == 2.0
    assert deadline.voice_limit(113.0, first=True, left=2) == 3.0
    deadline.late = True
    assert deadline.voice_limit(109.0, first=False, left=1) == 2.0, "the caller was told"


def test_every_responder_that_is_left_has_the_same_time():
    deadline = Deadlines().begin(1, 100.0, waited=1.0, reply_within=20.0)
    assert deadline.asked == 99.0
    assert [deadline.words_limit(100.0, left=left) for left in (1, 2, 4)] == [20.0, 10.0, 5.0]
    assert deadline.words_limit(125.0, left=1) == 0.0


def test_a_turn_that_nobody_began_has_all_its_time():
    deadlines = Deadlines()
    deadlines.begin(2, 100.0)
    assert deadlines.of(2, 105.0).asked == 100.0
    assert deadlines.of(7, 105.0).asked == 105.0
