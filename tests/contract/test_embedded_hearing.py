"""What of a speech model's text is believed, and how texts are compared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.media.wav import encode_ulaw
from openclaw_voicecall.providers.embedded.hearing import Hearing, tidy
from openclaw_voicecall.testing.wer import WordErrors, number_words, spoken_words, word_errors

pytestmark = pytest.mark.contract


class Parrot:
    """A model that always writes the same, and keeps what it was given."""

    def __init__(self, text):
        self.text = text
        self.given = []

    def decode(self, audio, rate):
        self.given.append(audio)
        return self.text


def sound(milliseconds, level):
    """Noise of this length and level (dBFS) between two seconds of silence, as mu-law."""
    burst = np.random.default_rng(2).normal(0, 10 ** (level / 20), milliseconds * 8)
    wave = np.concatenate([np.zeros(8000), burst, np.zeros(8000)])
    return encode_ulaw((np.clip(wave, -1, 1) * 32767).astype(np.int16))


@pytest.mark.parametrize(
    ("written", "believed"),
    [
        ("Hello there.", "Hello there."),
        ("♪ ♪ ♪", ""),
        ("[music] Hello (laughs) there.", "Hello there."),
        ("...", ""),
        ("No, no, no!", "No, no, no!"),
        ("the " * 40, "the"),
        ("I think so. " * 12, "I think so."),
        ("Well, " + "go on and " * 9 + "stop", "Well, go on and stop"),
        ("1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1"),
    ],
)
def test_what_nobody_says_is_removed(written, believed):
    assert tidy(written) == believed


@given(st.text(max_size=200))
def test_tidying_never_makes_a_text_longer_and_twice_is_as_good_as_once(text):
    once = tidy(text)
    assert len(once) <= len(text)
    assert tidy(once) == once


@pytest.mark.parametrize("audio", [b"", b"\xff" * 8000, sound(500, -60), sound(20, -10)])
def test_the_model_is_not_asked_about_silence_and_clicks(audio):
    model = Parrot("You")
    assert Hearing(model).words(audio) == ""
    assert model.given == []


def test_favourite_phrases_of_the_model_need_enough_sound():
    short, long = sound(100, -20), sound(400, -20)
    assert Hearing(Parrot("Thank you.")).words(short) == ""
    assert Hearing(Parrot("Thank you.")).words(long) == "Thank you."
    assert Hearing(Parrot("Stop!")).words(short) == "Stop!"


def test_quiet_speech_is_raised_and_loud_speech_is_left_as_it_is():
    quiet, loud = Parrot("a"), Parrot("a")
    Hearing(quiet).words(sound(400, -40))
    Hearing(loud).words(sound(400, -15))
    assert loudness(quiet) == pytest.approx(-20, abs=1.5)
    assert loudness(loud) == pytest.approx(-15, abs=0.5)


def loudness(model):
    burst = model.given[0][8000:-8000]
    return 10 * np.log10(np.mean(burst**2))


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Press 1, or 2!", "press one or two"),
        ("It's 3:45 PM.", "it's three forty five p m"),
        ("at 10:00 a.m.", "at ten a m"),
        ("call 555-0142", "call five five five zero one four two"),
        ("in 1999 and 2026", "in nineteen ninety nine and two zero two six"),
        ("$4.50 or $3", "four dollars and fifty cents or three dollars"),
        ("the 21st and the 30th", "the twenty first and the thirtieth"),
        ("1,200 people, 50%", "one thousand two hundred people fifty percent"),
        ("OK, good-bye.", "okay goodbye"),
    ],
)
def test_the_same_words_are_the_same_however_they_are_written(said, heard):
    assert spoken_words(said) == heard.split()


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("one two three", "one two three", 0),
        ("one two three", "one three", 1),
        ("one two three", "one two two three", 1),
        ("one two three", "one too three", 1),
        ("one two three", "", 3),
        ("", "you", 1),
    ],
)
def test_wrong_missing_and_added_words_are_errors(said, heard, errors):
    assert word_errors([(said, heard)]) == WordErrors(errors, len(said.split()))


def test_the_rate_is_over_all_words():
    assert word_errors([("a b c d", "a b c d"), ("e", "f")]).rate == pytest.approx(0.2)
    assert WordErrors(2, 0).rate == 1.0
    assert number_words(214_005) == "two hundred and fourteen thousand five"
