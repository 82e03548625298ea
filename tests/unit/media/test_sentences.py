"""Cutting a stream of text into what is spoken piece by piece."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openclaw_voicecall.media.sentences import MAX_CHARS, SentenceSplitter

pytestmark = pytest.mark.unit


def split(text: str, size: int = 10_000, **options: object) -> list[str]:
    splitter = SentenceSplitter(**options)  # type: ignore[arg-type]  # options are the splitter's own
    pieces = [piece for at in range(0, len(text), size) for piece in splitter.push(text[at : at + size])]
    return pieces + splitter.finish()


def test_sentences_leave_one_by_one_and_the_last_at_the_end() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("Hello there. How") == ["Hello there."]
    assert splitter.push(" are you? I") == []
    assert splitter.push("'m fine.") == ["How are you?"]
    assert splitter.push(" ") == []
    assert splitter.finish() == ["I'm fine."]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Dr. Smith is here. He waits.", ["Dr. Smith is here.", "He waits."]),
        ("It costs 3.5 dollars. Cheap.", ["It costs 3.5 dollars.", "Cheap."]),
        ("Eat fruit, e.g. apples. Yes.", ["Eat fruit, e.g. apples.", "Yes."]),
        ("Come at 5 a.m. tomorrow. Ok.", ["Come at 5 a.m. tomorrow.", "Ok."]),
        ("Come at 5 p.m. Friday. Ok.", ["Come at 5 p.m. Friday.", "Ok."]),
        ("See https://a.example.com/x.html now. Ok.", ["See https://a.example.com/x.html now.", "Ok."]),
        ("Take No. 5 and wait. Ok.", ["Take No. 5 and wait.", "Ok."]),
        ("Is it? No. That is wrong.", ["Is it?", "No.", "That is wrong."]),
        ("Read vol. 2 first. Ok.", ["Read vol. 2 first.", "Ok."]),
        ("It is approx. 5 miles. Ok.", ["It is approx. 5 miles.", "Ok."]),
        ("I live in the U.S. He does not.", ["I live in the U.S.", "He does not."]),
        ("Mr. J. Smith called. Ok.", ["Mr. J. Smith called.", "Ok."]),
        ("Really?! Yes! Good.", ["Really?!", "Yes!", "Good."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("**Hello.** What is it?", ["**Hello.**", "What is it?"]),
        ('What is it? "Go." Then he left.', ["What is it?", '"Go."', "Then he left."]),
        ('He left. "Go on," she said. Ok.', ["He left.", '"Go on," she said.', "Ok."]),
        ("(I know.) Good.", ["(I know.)", "Good."]),
        ("See [the docs. All](https://x.example). Ok.", ["See [the docs. All](https://x.example).", "Ok."]),
        ("Run `a. B` now. Ok.", ["Run `a. B` now.", "Ok."]),
        ("今日は。元気ですか？「はい。」よし", ["今日は。", "元気ですか？", "「はい。」", "よし"]),
    ],
)
def test_what_ends_a_sentence_and_what_does_not(text: str, pieces: list[str]) -> None:
    assert split(text, first_clause_words=0) == pieces


def test_a_line_break_ends_a_sentence_and_a_list_marker_stays_with_its_item() -> None:
    text = "Two steps\n1. Open it. Wait.\n2. Close it\r\n- Done\n\n* Bye"
    assert split(text) == ["Two steps", "1. Open it.", "Wait.", "2. Close it", "- Done", "* Bye"]
    assert split("Options: 1. Go on.") == ["Options: 1. Go on."]


def test_the_first_clause_leaves_early_and_only_the_first() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("Let me see what I have, ") == ["Let me see what I have,"]
    assert splitter.push("there are two, three, or four of them, maybe") == []
    assert splitter.finish() == ["there are two, three, or four of them, maybe"]


@pytest.mark.parametrize(
    "mark", ["we go on, ", "we go on; ", "we go on: ", "we go on - ", "we go on – ", "we go on—"]
)
def test_every_clause_mark_will_do(mark: str) -> None:
    assert SentenceSplitter().push("Yes and" + mark.replace("we", " we")) == ["Yes and " + mark.strip()]


@pytest.mark.parametrize(
    "text",
    [
        "Well, so it is",
        "It has 1,000 or 2:30 or well-known x",
        "Look at [this one here, so",
        "| one | two and three, ",
    ],
)
def test_a_short_clause_a_number_or_open_markup_does_not_leave_early(text: str) -> None:
    assert SentenceSplitter().push(text) == []


def test_the_length_of_the_first_clause_is_a_setting() -> None:
    assert SentenceSplitter(first_clause_words=2).push("Well then, ") == ["Well then,"]
    assert SentenceSplitter(first_clause_words=0).push("Let me see what I have, ") == []


def test_fenced_code_is_not_spoken_whatever_the_tokens() -> None:
    text = "Do this:\n```python\nprint('Hi. You')\n```\nThen `x` is set. Bye. ```never closed. No"
    pieces = ["Do this:", "Then `x` is set.", "Bye."]
    assert [split(text, size) for size in (1, 2, 3, 7, 1000)] == [pieces] * 5


def test_the_splitter_starts_afresh_after_the_end() -> None:
    splitter = SentenceSplitter()
    splitter.push("Open ```fence")
    splitter.finish()
    assert splitter.push("Again it leaves early, ") == ["Again it leaves early,"]


def test_a_run_on_is_cut_at_a_clause_or_between_words_or_anywhere() -> None:
    clause = "this goes on and on and on, "
    for text in (clause * 30, clause.replace(",", "") * 30, "x" * 1000):
        pieces = split(text, first_clause_words=0)
        assert all(len(piece) <= MAX_CHARS for piece in pieces)
        assert len(pieces) <= len(text) / MAX_CHARS * 1.5 + 1
    assert all(piece.endswith(",") for piece in split(clause * 30, first_clause_words=0))


def test_the_rules_of_the_language_are_used_where_there_are_any() -> None:
    text = "Heute ist der 3. Mai. Morgen nicht."
    assert split(text, language="de-DE") == ["Heute ist der 3. Mai.", "Morgen nicht."]
    assert split("One. Two.", language="tlh") == ["One.", "Two."]
    assert split("One. Two.", language="") == ["One.", "Two."]


SEAMS = ["\n", "\n\n", "- ", "1. ", "x" * 90]
WORDS = "Hello world. Dr. Smith, e.g. 5 No. 3.5 `x` — Why? “Yes.” (a. b) [l ](u) | … ... 。 元気 U.S. **B.** I https://a.b/c.d"
words = st.sampled_from([*SEAMS, *WORDS.split()])
prose = st.lists(words, max_size=40).map(" ".join)


@given(st.one_of(prose, st.text(max_size=120)), st.lists(st.integers(1, 9), min_size=1, max_size=30))
@example("a ``` b", [1])
def test_any_chunking_gives_the_same_pieces_and_loses_nothing(text: str, sizes: list[int]) -> None:
    splitter, pieces, at, turn = SentenceSplitter(), [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces += splitter.push(text[at : at + size])
        at, turn = at + size, turn + 1
    pieces += splitter.finish()
    assert pieces == split(text)
    assert all(piece == piece.strip() and piece for piece in pieces)
    assert all(len(piece) <= MAX_CHARS for piece in pieces)
    if "```" not in text:
        assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "It is nine o'clock now.",
        "How can I help you?",
        "That is great news!",
        "Sam is here today.",
        "I have made a note of that.",
    ],
)
def test_a_sentence_that_can_only_be_over_does_not_wait_for_the_next_token(text: str) -> None:
    splitter = SentenceSplitter(first_clause_words=0)
    assert splitter.push(text) == []
    assert splitter.settle() == [text]
    assert splitter.push(" And") == []
    assert splitter.finish() == ["And"]


@pytest.mark.parametrize(
    "text",
    [
        "It costs about 3.",
        "I will ask Dr.",
        "He lives in the U.",
        "Please visit example.",
        "Write to me at sam@example.",
        "You find it on example.",
        "The file is readme.",
        "Read the page www.example.",
        "Eat some fruit, e.g.",
        "I spoke with Mr.",
        'He said: "I am done.',
        "(It is done already.",
        "Fine.",
        "Two options: a.",
        "My name is Ada.",
        "See [the docs.",
        "Das ist der dritte.",
        "It is approx.",
        "Hm, well...",
    ],
)
def test_a_sentence_that_may_go_on_waits(text: str) -> None:
    language = "de" if text.startswith("Das") else "en"
    splitter = SentenceSplitter(language, first_clause_words=0)
    splitter.push(text)
    assert splitter.settle() == []


@given(st.text(alphabet='ab .!?"3,DT`\n', max_size=60), st.integers(1, 5))
def test_settling_loses_and_doubles_nothing(text: str, size: int) -> None:
    splitter = SentenceSplitter()
    pieces = []
    for at in range(0, len(text), size):
        pieces += [*splitter.push(text[at : at + size]), *splitter.settle()]
    pieces += splitter.finish()
    if "```" not in text:
        assert "".join("".join(pieces).split()) == "".join(text.split())
