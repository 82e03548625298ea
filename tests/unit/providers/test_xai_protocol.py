"""What xAI's messages mean: interims, chunks and utterances that repeat them, and what is never said twice."""

import json

import pytest

from openclaw_voicecall.api.speech import Heard
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.providers.xai.listening_protocol import (
    FINALIZE,
    XaiListening,
    close_error,
    language_of,
    query,
)

pytestmark = pytest.mark.unit

SECOND = b"\xff" * 8000


def partial(text, start=None, duration=None, **flags):
    times = {} if start is None else {"start": start, "duration": duration}
    return json.dumps({"type": "transcript.partial", "text": text} | times | flags)


def chunk(text, *times):
    return partial(text, *times, is_final=True, speech_final=False)


def utterance(text, *times):
    return partial(text, *times, is_final=True, speech_final=True)


def done(text):
    return json.dumps({"type": "transcript.done", "text": text, "duration": 1.0})


def listening(seconds=0):
    heard = XaiListening()
    for _ in range(seconds):
        heard.audio_sent(SECOND)
    return heard


def feed(heard, *messages):
    return [event for message in messages for event in heard.receive(message)]


def test_it_is_ready_when_xai_says_so():
    heard = listening()
    assert not heard.ready
    feed(heard, '{"type":"transcript.created","id":"x"}')
    assert heard.ready


@pytest.mark.parametrize("timed", [True, False])
def test_an_utterance_repeats_its_chunks(timed):
    times = ((0, 1), (0, 3), (3, 1), (0, 4)) if timed else ((), (), (), ())
    events = feed(
        listening(4),
        partial("my", *times[0]),
        chunk("my number is", *times[1]),
        partial("five", *times[2]),
        utterance("My number is five.", *times[3]),
    )
    assert events == [
        Heard("my", final=False),
        Heard("my number is", final=False),
        Heard("my number is five", final=False),
        Heard("My number is five.", final=True),
    ]


def test_an_utterance_that_holds_only_its_end_is_put_together():
    events = feed(listening(5), chunk("my number is", 0, 3), utterance("five", 2.9, 1.5))
    assert events[-1] == Heard("my number is five", final=True)


def test_an_utterance_without_text_keeps_its_chunks():
    events = feed(listening(5), chunk("my number is", 0, 3), utterance("", 0, 4))
    assert events[-1] == Heard("my number is", final=True)


def test_an_interim_that_repeats_the_chunks_is_not_shown_twice():
    events = feed(listening(5), chunk("my number is", 0, 3), partial("my number is five", 0, 4))
    assert events[-1] == Heard("my number is five", final=False)


@pytest.mark.parametrize("answer", [chunk, utterance])
def test_the_answer_to_finalize_closes_the_utterance(answer):
    heard = listening(2)
    assert heard.finish() == FINALIZE
    assert feed(heard, answer("hello", 0, 1.8)) == [Heard("hello", final=True)]
    assert heard.owed == 0


def test_a_chunk_that_was_under_way_is_no_answer():
    heard = listening(8)
    heard.finish()
    assert feed(heard, chunk("hello", 0, 3)) == [Heard("hello", final=False)]
    assert feed(heard, utterance("hello there", 0, 7)) == [Heard("hello there", final=True)]


@pytest.mark.parametrize("timed", [True, False])
def test_what_finalize_locked_is_not_said_again(timed):
    times = (0, 2) if timed else ()
    heard = listening(2)
    heard.finish()
    feed(heard, chunk("hello there", *times))
    assert feed(heard, utterance("Hello, there.", *times)) == []
    assert feed(heard, utterance("Hello, there. Bye", *times)) == [Heard("Bye", final=True)]


@pytest.mark.parametrize("timed", [True, False])
def test_the_same_word_said_twice_is_two_utterances(timed):
    heard = listening(4)
    times = [(0, 1.5), (1.4, 1.5)] if timed else [(), ()]
    events = [feed(heard, utterance("yes", *each)) for each in times]
    assert events == [[Heard("yes", final=True)]] * 2


def test_a_beginning_that_overlaps_the_last_utterance_a_little_is_kept():
    heard = listening(5)
    feed(heard, utterance("please call me back", 0, 3))
    assert feed(heard, utterance("and be quick", 2.6, 2)) == [Heard("and be quick", final=True)]


def test_without_an_answer_the_best_text_is_final_and_is_not_said_again():
    heard = listening(5)
    feed(heard, chunk("my number is", 0, 3), partial("five", 3, 1))
    heard.finish()
    assert list(heard.overdue()) == [Heard("my number is five", final=True)]
    assert feed(heard, utterance("my number is five six", 0, 5)) == [Heard("six", final=True)]


def test_a_late_chunk_brings_only_what_it_adds():
    heard = listening(5)
    feed(heard, chunk("my number is", 0, 3), partial("five", 3, 1))
    heard.finish()
    list(heard.overdue())
    assert feed(heard, chunk("five six", 3, 2))[-1] == Heard("six", final=False)
    assert list(heard.last_words()) == [Heard("six", final=True)]


def test_two_unanswered_requests_in_a_row_are_counted():
    heard = listening(1)
    for _ in range(2):
        heard.finish()
        assert list(heard.overdue()) == [Heard("", final=True)]
    assert heard.unanswered == 2
    feed(heard, "anything")
    assert heard.unanswered == 0


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("and bye", "and bye"),
        ("Hello, there. And bye", "And bye"),
        ("", "and b"),
    ],
    ids=["the rest", "everything", "nothing"],
)
def test_the_last_words_are_what_no_utterance_covered(text, last):
    heard = listening(5)
    feed(heard, utterance("hello there", 0, 2), partial("and b", 2, 1))
    assert feed(heard, done(text)) == [Heard(last, final=True)]
    assert heard.done


@pytest.mark.parametrize("text", ["", "hello there", "Hello there."])
def test_nothing_is_added_at_the_end_when_all_was_said(text):
    heard = listening(5)
    feed(heard, utterance("hello there", 0, 2))
    assert feed(heard, done(text)) == []
    assert list(heard.last_words()) == []


def test_an_error_stands_until_xai_shows_that_it_goes_on():
    heard = listening(1)
    feed(heard, '{"type":"error","message":"bad  thing"}')
    assert heard.complaint == "bad thing"
    feed(heard, partial("hello"))
    assert heard.complaint == ""


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        "",
        "[]",
        "null",
        '{"type":7}',
        '{"type":"transcript.partial"}',
        '{"type":"x"}',
        "[" * 100_000,
        partial(None),
        partial("", "a", "b"),
        partial("", 10**400, 1),
        utterance(""),
    ],
)
def test_messages_that_make_no_sense_are_ignored(message):
    assert feed(listening(1), message) == []


def test_a_close_says_what_xai_complained_about():
    assert isinstance(close_error(1008, "", "bad audio"), VendorRejected)
    assert isinstance(close_error(1011, "", ""), VendorUnavailable)
    assert "1008 bad audio" in str(close_error(1008, "", "bad audio"))


def test_endpointing_is_always_said_because_xais_own_is_too_short():
    common = {"model": None, "language": None, "interim_results": True}
    assert query(**common, endpointing_ms=None)["endpointing"] == "400"
    assert query(**common, endpointing_ms=0)["endpointing"] == "0"


@pytest.mark.parametrize(("tag", "language"), [("en-US", "en"), ("fil-PH", "fil"), ("cy", None), ("", None)])
def test_only_languages_that_xai_knows_are_said(tag, language):
    assert language_of(tag) == language
