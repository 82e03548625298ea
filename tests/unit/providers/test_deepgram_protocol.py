"""What Deepgram's messages mean: which words make an utterance, what ends it, and what is never said twice."""

import json

import pytest

from openclaw_voicecall.api.speech import Heard, SpeechEdge
from openclaw_voicecall.errors import VendorRejected, VendorUnavailable
from openclaw_voicecall.providers.deepgram.listening_protocol import (
    FINALIZE,
    DeepgramListening,
    close_error,
    language_of,
    query,
)

pytestmark = pytest.mark.unit

SECOND = b"\xff" * 8000


def results(text, start=0.0, duration=1.0, words=(), **flags):
    words = [{"word": "w", "start": begin, "end": end} for begin, end in words]
    channel = {"alternatives": [{"transcript": text, "confidence": 1.0, "words": words}]}
    return json.dumps({"type": "Results", "start": start, "duration": duration, "channel": channel} | flags)


def final(text, **more):
    return results(text, is_final=True, **more)


def listening(seconds=0, *, edges=False):
    heard = DeepgramListening(edges=edges)
    for _ in range(seconds):
        list(heard.audio_sent(SECOND))
    return heard


def feed(heard, *messages):
    return [event for message in messages for event in heard.receive(message)]


def test_final_stretches_are_put_together_until_speech_is_final():
    events = feed(
        listening(3),
        results("my number"),
        final("My number is"),
        results("five", start=1.0),
        final("five five.", start=1.0, speech_final=True),
    )
    assert events == [
        Heard("my number", final=False),
        Heard("My number is", final=False),
        Heard("My number is five", final=False),
        Heard("My number is five five.", final=True),
    ]


def test_an_interim_that_does_not_change_is_not_repeated():
    assert len(feed(listening(1), results("hello"), results("hello"))) == 1


def test_an_utterance_end_closes_what_noise_kept_open():
    events = feed(listening(3), final("hello"), json.dumps({"type": "UtteranceEnd", "last_word_end": 0.9}))
    assert events[-1] == Heard("hello", final=True)


def test_silence_says_nothing():
    assert feed(listening(3), final(""), final("", start=1.0, speech_final=True)) == []


def test_words_that_deepgram_takes_back_are_closed_with_an_empty_final():
    events = feed(listening(1), results("uh"), final("", speech_final=True))
    assert events[-1] == Heard("", final=True)


def test_the_answer_to_finalize_closes_the_utterance_even_without_words():
    heard = listening(1)
    assert heard.finish() == FINALIZE
    assert feed(heard, final("", from_finalize=True)) == [Heard("", final=True)]
    assert heard.owed == 0


def test_an_answer_without_its_mark_is_known_by_the_audio_it_covers():
    heard = listening(2)
    heard.finish()
    assert feed(heard, final("hello", duration=2.0)) == [Heard("hello", final=True)]


def test_a_stretch_that_was_under_way_is_no_answer():
    heard = listening(2)
    heard.finish()
    assert feed(heard, final("hello", duration=1.0)) == [Heard("hello", final=False)]
    assert feed(heard, final("there", start=1.0, from_finalize=True)) == [Heard("hello there", final=True)]


def test_two_that_ask_get_two_answers():
    heard = listening(1)
    heard.finish()
    list(heard.audio_sent(SECOND))
    heard.finish()
    events = feed(heard, final("hello", duration=2.0, from_finalize=True))
    assert events == [Heard("hello", final=True), Heard("", final=True)]


def test_without_an_answer_the_interim_is_final_and_is_not_said_again():
    heard = listening(2)
    feed(heard, results("call me", duration=1.5))
    heard.finish()
    assert list(heard.overdue()) == [Heard("call me", final=True)]
    assert feed(heard, results("call me", duration=2.0)) == []
    assert feed(heard, final("Call me back", duration=2.0, from_finalize=True)) == [Heard("back", final=True)]


def test_words_of_the_next_utterance_are_not_taken_for_repeated_ones():
    heard = listening(2)
    feed(heard, results("yes", duration=2.0))
    heard.finish()
    list(heard.overdue())
    list(heard.audio_sent(SECOND))
    assert feed(heard, final("yes", start=2.0, speech_final=True)) == [Heard("yes", final=True)]


def test_nothing_heard_when_overdue_loses_nothing_later():
    heard = listening(2)
    heard.finish()
    assert list(heard.overdue()) == [Heard("", final=True)]
    assert feed(heard, final("hello", duration=2.0, speech_final=True)) == [Heard("hello", final=True)]


def test_two_unanswered_requests_in_a_row_are_counted_and_any_message_is_a_sign_of_life():
    heard = listening(1)
    for _ in range(2):
        heard.finish()
        list(heard.overdue())
    assert heard.unanswered == 2
    feed(heard, '{"type":"Whatever"}')
    assert heard.unanswered == 0


def test_the_last_words_are_what_no_final_closed():
    heard = listening(2)
    feed(heard, final("hello"), results("there", start=1.0))
    assert list(heard.last_words()) == [Heard("hello there", final=True)]
    assert list(heard.last_words()) == []


def test_edges_say_how_much_audio_lies_since_then():
    heard = listening(4, edges=True)
    started = feed(heard, json.dumps({"type": "SpeechStarted", "timestamp": 1.5}))
    ended = feed(heard, final("hello", start=1.0, duration=2.5, words=[(1.6, 2.0)], speech_final=True))
    assert started == [SpeechEdge(speaking=True, ago=2.5)]
    assert ended == [SpeechEdge(speaking=False, ago=2.0), Heard("hello", final=True)]


def test_words_are_speech_even_if_deepgram_did_not_say_that_it_started():
    heard = listening(2, edges=True)
    events = feed(heard, results("hello", words=[(0.5, 0.9)]))
    assert events == [SpeechEdge(speaking=True, ago=1.5), Heard("hello", final=False)]


def test_an_answer_to_finalize_is_no_new_speech():
    heard = listening(2, edges=True)
    heard.finish()
    assert feed(heard, final("hello", duration=2.0, from_finalize=True)) == [Heard("hello", final=True)]


@pytest.mark.parametrize("by", ["a stretch without words", "time"])
def test_a_noise_that_started_as_speech_ends(by):
    heard = listening(1, edges=True)
    feed(heard, json.dumps({"type": "SpeechStarted", "timestamp": 1.0}))
    if by == "time":
        events = [event for _ in range(4) for event in heard.audio_sent(SECOND)]
    else:
        events = feed(heard, final("", start=1.0, duration=2.0))
    assert [event.speaking for event in events] == [False]


@pytest.mark.parametrize(
    "message",
    [
        b"\x00",
        "",
        "[]",
        "null",
        '{"type":7}',
        '{"type":"Results"}',
        '{"type":"Results","start":0,"duration":1,"channel":{"alternatives":[]}}',
        '{"type":"Results","start":null,"duration":1,"channel":{"alternatives":[{"transcript":"x"}]}}',
        '{"type":"Results","start":0,"duration":1,"channel":{"alternatives":[{"transcript":null}]}}',
        '{"type":"SpeechStarted","timestamp":"now"}',
        '{"type":"ConfigureSuccess"}',
        '{"type":"Metadata"}',
        "[" * 100_000,
        results("hello", start=10**400),
    ],
)
def test_messages_that_make_no_sense_are_ignored(message):
    assert feed(listening(1), message) == []


def test_an_error_says_what_deepgram_says():
    with pytest.raises(VendorRejected, match="could not read it"):
        feed(listening(), '{"type":"Error","variant":"SchemaError","description":"could not read it"}')
    with pytest.raises(VendorUnavailable, match="broken"):
        feed(listening(), '{"type":"Error","variant":"Internal","description":"broken"}')


def test_a_close_for_bad_data_is_our_fault_and_any_other_is_not():
    assert isinstance(close_error(1008, "DATA-0000"), VendorRejected)
    assert isinstance(close_error(1011, "NET-0001"), VendorUnavailable)
    assert "NET-0001" in str(close_error(1011, "NET-0001"))


def test_utterance_end_is_asked_for_only_with_interims():
    common = {"model": "nova-3", "language": "en", "endpointing_ms": None, "vad_events": True}
    assert query(**common, interim_results=True)["utterance_end_ms"] == "1000"
    assert "utterance_end_ms" not in query(**common, interim_results=False)


@pytest.mark.parametrize(
    ("tag", "language"), [("en", "en"), ("en-US", "en-US"), ("de-DE", "de"), ("pt-BR", "pt-BR"), ("FR", "fr")]
)
def test_a_region_is_kept_where_deepgram_knows_it(tag, language):
    assert language_of(tag) == language
