"""What of a model's writing is said: no thinking, no wrapping, and the same words however the text arrives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openclaw_voicecall.providers.chat.spoken import SPOKEN_KEYS, SpokenText

pytestmark = pytest.mark.unit

PIECES = [
    "Hello.", " ", "\n", "<", ">", "think>", "<think>", "</think>", "<THINK>", "{", "}", "[", "]", '"', "'", ":", ",",
    '{"spoken": "', '{"text":"', '"}', "```", "```json\n", "\\", "\\u00e9", "\\ud83d\\ude00", "\\n", "`", "a < b",
    "<tool_call>", "</tool_call>", "über", "🙂", "reply", "1",
]  # fmt: skip


def spoken(*deltas: str) -> str:
    words = SpokenText()
    return "".join(words.push(delta) for delta in deltas)


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({place % (len(text) + 1) for place in places})
    return [text[start:end] for start, end in zip([0, *marks], [*marks, len(text)], strict=True)]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.lists(st.integers(min_value=0)))
def test_the_words_do_not_depend_on_how_the_text_was_cut(text, places):
    assert spoken(*cut(text, places)) == spoken(text)


@given(st.text(), st.lists(st.integers(min_value=0)))
def test_any_text_can_arrive_in_any_pieces(text, places):
    assert spoken(*cut(text, places)) == spoken(text)


@given(st.text(alphabet=st.characters(exclude_characters="<[{`", exclude_categories=["Cs"])))
def test_plain_text_is_left_alone(text):
    assert spoken(text) == text.lstrip()


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<")),
    st.booleans(),
    st.lists(st.integers(min_value=0)),
    st.sampled_from(sorted(SPOKEN_KEYS)),
)
def test_a_json_contract_gives_its_words_and_nothing_else(words, ascii_only, places, key):
    written = json.dumps({"mood": "calm", key: words, "end": False}, ensure_ascii=ascii_only)
    assert spoken(*cut(written, places)).strip() == words.strip()


@given(st.text(alphabet=st.characters(exclude_characters="<", exclude_categories=["Cs"])))
def test_nothing_of_the_thinking_is_said(thought):
    assert spoken(f"<think>{thought}</think>Good morning.") == "Good morning."


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<think>He wants a table.</think>\n\nFor how many people?", "For how many people?"),
        ("<THINKING>Hm.</THINKING> Yes.", "Yes."),
        ("Yes. <reasoning>Why not.</reasoning>It is open.", "Yes. It is open."),
        ("<think>cut off in the middle", ""),
        ("was thinking</think>It is open.", "was thinkingIt is open."),
        ("<think>a</think>b<think>c</think>d", "bd"),
        ('Sure.<tool_call>{"name": "look"}</tool_call>', "Sure."),
        ("Is 3 < 4? <b>Yes</b>, <thin", "Is 3 < 4? <b>Yes</b>, "),
    ],
)
def test_thinking_written_into_the_text_is_dropped(written, said):
    assert spoken(written) == said


@pytest.mark.parametrize(
    "written",
    [
        '{"spoken": "Hello."}',
        '{"spoken":"Hello."}',
        '  {\n  "spoken": "Hello."\n}\n',
        '```json\n{"spoken": "Hello."}\n```',
        '```\n{"spoken": "Hello."}```',
        '[{"text": "Hello."}]',
        '{"response": {"text": "Hello."}}',
        '{"spoken": ["Hello."]}',
        '{"thought": "He greets. {\\"say\\"}", "Text": "Hello.", "spoken": "Hello."}',
        '{"meta": {"text": "no"}, "list": ["no", {"text": "no"}], "n": 3, "text": "Hello."}',
        '{"text": "", "spoken": "Hello."}',
        "{'spoken': 'Hello.'}",
        '<think>JSON it is.</think>{"spoken": "Hello."}',
        '{"spoken": "<think>Quick.</think>Hello."}',
        '{"spoken": "Hel\\u006co."}',
        '{"spoken": "Hello."',
    ],
)
def test_of_a_json_contract_only_the_words_are_said(written):
    assert spoken(written).strip() == "Hello."


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"spoken": "One.\\nTwo \\"2\\"."}', 'One.\nTwo "2".'),
        ('{"spoken": "\\u00dcber \\ud83d\\ude42 da\\/"}', "Über 🙂 da/"),
        ('{"spoken": ["One.", "Two."]}', "One.\nTwo."),
        ('{"spoken": "One."}\n{"spoken": "Two."}', "One.\n\nTwo."),
        ('```json\n{"spoken": "One."}\n```\nTwo.', "One.\nTwo."),
        ('Well: {"spoken": "One."}', "Well: One."),
        ('{"spoken": "\\ud83d alone \\uzzzz"}', " alone "),
    ],
)
def test_the_words_are_decoded(written, said):
    assert spoken(written).strip() == said.strip()


@pytest.mark.parametrize("written", ["{}", '{"action": "end_call"}', '{"spoken": 3}', "```json\n", "[", "{"])
def test_json_without_words_says_nothing(written):
    assert spoken(written) == ""


@pytest.mark.parametrize(
    "written",
    [
        "Use {name} here.",
        "See [1] and [2].",
        "Type `ls` now.",
        "A [ {b} ] c",
        "```python\nx = 1\n```\nDone.",
        "{ x }.",
    ],
)
def test_braces_in_prose_stay(written):
    assert spoken(written) == written


def test_the_words_of_a_contract_leave_as_they_come():
    words = SpokenText()
    assert words.push('{"spo') == ""
    assert words.push('ken": "Good mor') == "Good mor"
    assert words.push("ning.") == "ning."
    assert words.push('", "internal": "') == "\n"
    assert words.push('secret"}') == ""
