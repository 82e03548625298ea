"""The fuzzing kit finds what it should: planted mistakes of each kind, small, repeatable, and nothing else."""

import json
import re
from pathlib import Path
from random import Random

import pytest

from openclaw_voicecall.testing import fuzzing
from openclaw_voicecall.testing.fuzzing import LineGuide, Target, check, fuzz
from openclaw_voicecall.testing.fuzzing_kinds import Binary, JsonText, Raw, Series, Text, Tree, rendered

pytestmark = pytest.mark.unit

SAMPLE = json.dumps({"name": "Ann", "age": 41, "tags": ["a", "b"], "more": {"x": None}})


class Refused(Exception):
    """What the parsers here may raise."""


def target(feed, **options):
    defaults = {
        "name": "planted",
        "kind": JsonText(4000),
        "make": lambda random: SAMPLE,
        "refusals": (Refused,),
    }
    return Target(feed=feed, **{**defaults, **options})


def careful(text):
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused from None
    return data


def no_age_as_text(text):
    data = careful(text)
    if isinstance(data, dict) and isinstance(data.get("age"), str):
        raise AttributeError("an age has no letters")


def no_half_characters(text):
    json.dumps(careful(text), ensure_ascii=False).encode()


def no_infinity(text):
    json.dumps(careful(text), allow_nan=False)


@pytest.mark.parametrize(
    ("feed", "what"),
    [
        (no_age_as_text, "AttributeError"),
        (no_half_characters, "UnicodeEncodeError"),
        (no_infinity, "ValueError"),
        (lambda text: json.loads(text) and None, "JSONDecodeError"),
        (lambda text: [careful(text)["name"]], "KeyError"),
    ],
)
def test_a_planted_mistake_is_found(feed, what):
    outcome = fuzz(target(feed), seconds=5, seed=7, most_findings=1)
    assert any(finding.what.startswith(what) for finding in outcome.findings)
    assert "seed 7" in outcome.report()


def test_what_is_found_is_made_small():
    def no_zero(text):
        assert "\0" not in text

    (finding,) = fuzz(target(no_zero, kind=Text(4000)), seconds=5, seed=3, most_findings=1).findings
    assert finding.shown == repr("\0")


def test_a_careful_parser_has_no_findings_and_its_refusals_are_counted():
    outcome = fuzz(target(careful), seconds=0.3, seed=1)
    assert outcome.findings == []
    assert 0 < outcome.refused < outcome.executions


def test_the_same_seed_gives_the_same_inputs():
    def inputs(seed):
        taken = []
        fuzz(target(taken.append), seconds=0, seed=seed)
        return taken

    assert inputs(5) == inputs(5)
    assert inputs(5) != inputs(6)


def test_what_once_did_harm_is_fed_first_each_time():
    taken = []
    fuzz(target(taken.append, known=("x", "y")), seconds=0, seed=1)
    assert taken[:2] == ["x", "y"]


def test_a_valid_input_must_not_be_refused():
    def refuse(text):
        raise Refused

    (finding,) = fuzz(target(refuse), seconds=0, seed=1).findings
    assert finding.what.startswith("a valid input was refused")


def test_slow_inputs_and_endless_ones_are_found():
    slow = re.compile(r"(a|a)*b")
    found = check(target(slow.match, seconds=0.01), "a" * 20)
    assert found is not None
    assert found.what.startswith(("slower", "still busy"))

    def endless(text):
        while True:
            pass

    found = check(target(endless, seconds=0.01), "")
    assert found is not None
    assert found.what == "still busy after 0.2 s"


def test_even_an_exit_is_a_finding():
    found = check(target(lambda text: exit(3)), "")
    assert found is not None
    assert found.what.startswith("SystemExit")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Text(300), "Hello, world."),
        (Binary(300), b"RIFF\x00\x01"),
        (JsonText(3000), SAMPLE),
        (Tree(300), json.loads(SAMPLE)),
        (Series(JsonText(3000), most=9), [SAMPLE, SAMPLE]),
    ],
)
def test_mutants_are_of_their_kind_and_within_bounds(kind, value):
    random, mutants = Random(2), [value]
    for _ in range(3000):
        mutant = kind.mutate(random, random.choice(mutants), value)
        assert type(mutant) is type(value) or isinstance(kind, Tree)
        match kind:
            case Text(longest) | Binary(longest) | JsonText(longest):
                assert len(mutant) <= longest
            case Series():
                assert len(mutant) <= kind.most
        mutants.append(mutant)
        del mutants[1:-50]


def test_json_that_came_as_text_has_whole_characters_and_may_have_halves_as_escapes():
    random, kind = Random(1), JsonText()
    mutants = [kind.mutate(random, SAMPLE, SAMPLE) for _ in range(3000)]
    assert all(mutant.encode() for mutant in mutants if mutant)
    assert any(r"\ud800" in mutant for mutant in mutants)


def test_every_smaller_input_is_smaller():
    assert set(Text().smaller("ab")) == {"a", "b"}
    assert all(len(less) < 6 for less in Binary().smaller(b"abcdef"))
    assert all(len(less) < len(SAMPLE) for less in JsonText().smaller(SAMPLE))


def test_raw_json_is_written_as_it_is():
    assert rendered({"a": [Raw("1e999"), "é", None]}) == r'{"a":[1e999,"\u00e9",null]}'


def test_with_a_guide_inputs_that_reach_new_lines_are_built_upon():
    def deep(text):
        if text[:1] != "{":
            return
        if text[1:2] != "{":
            return
        if text[2:3] == "{":
            raise KeyError("three deep")

    guided = target(deep, kind=Text(50), make=lambda random: "x")
    with LineGuide(Path(__file__).parent) as guide:
        outcome = fuzz(guided, seconds=10, seed=4, guide=guide, most_findings=1)
        assert guide.lines > 0
    assert outcome.kept >= 2
    assert [finding.what.partition(" ")[0] for finding in outcome.findings] == ["KeyError"]


def test_the_guide_leaves_other_code_alone():
    with LineGuide(Path(fuzzing.__file__).parent / "nowhere") as guide:
        guide.look()
        json.loads(SAMPLE)
        guide.look(away=True)
        assert not guide.fresh()
