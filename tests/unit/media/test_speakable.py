"""Text made ready for a voice."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openclaw_voicecall.media.speakable import speakable

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        (
            "**Bold**, *italic*, __under__ and ~~gone~~ `code_name`.",
            "Bold, italic, under and gone code name.",
        ),
        ("# Title\n\nText", "Title. Text"),
        ("See [the docs](https://a.example/b(c)) and ![a cat](cat.png).", "See the docs and a cat."),
        ("See [this][1] too.[^2]", "See this too."),
        ("- one\n- two\n+ three", "one. two. three"),
        ("1. Open it.\n2) Close it", "1, Open it. 2, Close it"),
        ("- [x] done\n- [ ] open", "done. open"),
        ("> quoted\n> more", "quoted. more"),
        ("| Name | Age |\n|---|:--:|\n| Ann | 5 |", "Name, Age. Ann, 5"),
        ("Before\n\n---\n\nafter", "Before. after"),
        ("Say:\n```sh\nrm -rf /\n```\nDone", "Say: Done"),
        ("It is \\*not\\* bold", "It is not bold"),
        ("<b>Hi</b> <speak>you</speak><br/><!-- no --> <|end|>there", "Hi you there"),
        ("Tom &amp; Ann &lt;3", "Tom and Ann 3"),
        ("Tom &amp;amp; Ann", "Tom and Ann"),
    ],
)
def test_markup_goes_and_its_text_stays(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Go to https://www.example.com/a/b?c=1#d.", "Go to example dot com."),
        ("Go to <http://user:pw@docs.example.org:8080/x>, now", "Go to docs dot example dot org, now"),
        ("Go to www.example.fi or example.com/path", "Go to example dot fi or example dot com"),
        ("Write to sam@example.com!", "Write to sam at example dot com!"),
        (
            "Write to a.b-c_d+e@x.example.org",
            "Write to a dot b dash c underscore d plus e at x dot example dot org",
        ),
    ],
)
def test_addresses_become_words(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Call 555-0142.", "Call 5 5 5, 0 1 4 2."),
        ("Call +15550001234 now", "Call plus 1, 5 5 5, 0 0 0, 1 2 3 4 now"),
        ("(212) 555-0187", "2 1 2, 5 5 5, 0 1 8 7"),
        ("212.555.0187 or 2125550187", "2 1 2, 5 5 5, 0 1 8 7 or 2 1 2, 5 5 5, 0 1 8 7"),
        ("1-800-555-0199", "1, 8 0 0, 5 5 5, 0 1 9 9"),
        ("+44 20 7946 0958", "plus 4 4, 2 0, 7 9 4 6, 0 9 5 8"),
        ("+442079460958", "plus 4 4, 2 0 7, 9 4 6, 0 9 5 8"),
        ("+4930123456", "plus 4 9, 3 0 1, 2 3, 4 5 6"),
    ],
)
def test_phone_numbers_are_read_digit_by_digit_with_pauses(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize(
    "text",
    [
        "It costs $3.50 or €1,234,567.",
        "At 5:30 p.m. on 2024-01-02 in 1999.",
        "Dr. Smith has 12 of 100-200 things.",
        "Version 2.0.1 at 192.168.0.1 is 3.14 old.",
        "Well-known, isn't it? Yes! (Really.)",
        "Она сказала: да. 你好，世界。",
        "Order 12345 ships in 10-12 days.",
        "+5 degrees and -3.5 outside.",
    ],
)
def test_what_synthesizers_read_well_stays_as_it_is(text: str) -> None:
    assert speakable(text) == text


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Q&A is 50% off", "Q and A is 50 percent off"),
        ("Fruit, e.g. apples, i.e. food, etc.", "Fruit, for example, apples, that is, food, et cetera."),
        ("Cats vs. dogs w/o fleas", "Cats versus dogs without fleas"),
        ("It is ~5 or #1 at 20°C", "It is about 5 or number 1 at 20 degrees Celsius"),
        ("5 * 3 = 15 and 3 < 5", "5 times 3 equals 15 and 3 less than 5"),
        ("Home -> Settings → Phone, 10–20 min", "Home to Settings to Phone, 10 to 20 min"),
        ("Well — yes -- no - ok", "Well, yes, no, ok"),
        ("Wait... what? Hmm… Ok...", "Wait, what? Hmm. Ok."),
        ("Stop!!! Really?!?", "Stop! Really?"),
        ("Hi\tthere \x00\x1byou\u200b\ufeff", "Hi there you"),
        ("Great 👍🏽 job 🎉 1️⃣ 🇩🇪 👨‍👩‍👧!", "Great job 1!"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_symbols_become_words_or_go(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize(
    "text", ["", "  \n", "***", "---", "😀", "```\ncode\n```", "|---|", "?!", "<br>", "\x00", "…"]
)
def test_nothing_to_say_is_empty(text: str) -> None:
    assert speakable(text) == ""


def test_english_words_stand_in_only_in_english() -> None:
    text = "50 % & **mehr** auf https://www.beispiel.de/x, a@b.de"
    assert speakable(text, "de-DE") == "50 % & mehr auf beispiel.de, a@b.de"
    assert speakable("5 & 6", "en-GB") == "5 and 6"


def test_of_text_made_to_change_for_ever_the_words_are_kept() -> None:
    spoken = speakable("&" + "amp;" * 100 + "lt; Hello", "de")
    assert spoken.endswith("amp amp lt Hello")
    assert speakable(spoken, "de") == spoken


SEAMS = ["\n", " ", "# ", "- ", "1. ", "😀", "\u200d", "\x00", "\ud800"]
MARKUP = "* ** _ ` ``` # | [a](b) ![ ]( ) <b> < > &amp; & lt; % e.g. ... … — -- - ~ \\ = { ] @ ° w/ C#"
WORDS = '+1555000 1234 555-0142 a@b.co https://a.b/c www. .com x Word 5 . , : ! ? " ( “'
snippets = st.lists(st.sampled_from([*SEAMS, *MARKUP.split(), *WORDS.split()]), max_size=25).map("".join)


@settings(max_examples=400)
@given(st.one_of(snippets, st.text(max_size=60)), st.sampled_from(["en", "de", ""]))
@example("&amp;" * 40 + "lt;b", "en")
def test_it_is_the_same_again_and_has_no_markdown(text: str, language: str) -> None:
    spoken = speakable(text, language)
    assert speakable(spoken, language) == spoken
    assert not set(spoken) & set("*#`|\\[]<>{}~_\n\t\x00")
    assert spoken == spoken.strip()
    assert spoken == "" or any(char.isalnum() for char in spoken)


@pytest.mark.parametrize(
    "text",
    [
        *(pattern * 20000 for pattern in ("[", "<", "< ", "!", "1", "a@", "<!--", "&amp;")),
        *(pattern * 30000 + "x" for pattern in ("|", ".", ", ", "-", " ")),
        "<" + "a." * 20000,
    ],
    ids=lambda text: text[:4],
)
def test_long_nonsense_takes_no_long_time(text: str) -> None:
    began = time.process_time()
    spoken = speakable(text)
    assert speakable(spoken) == spoken
    assert time.process_time() - began < 5
